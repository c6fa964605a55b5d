//! The GPU catalogue: every shipped entry loads, is plausible and is found however it is spelled.

use std::collections::BTreeSet;

use planner::bytes::{Bytes, GIB};
use planner::read::gpus::{ComputeCapability, Gpu, GpuCatalogue, GpuError, MemorySource};
use planner::read::specs;

fn shipped() -> GpuCatalogue {
    GpuCatalogue::load(None).expect("the shipped catalogue loads")
}

fn folded(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// A small valid entry; `{key}` and further lines are the test's.
fn entry(key: &str, more: &str) -> String {
    format!(
        "{key}:\n  name: Test GPU\n  memory: 23.50 GiB\n  memory_source: out-of-memory message\n  memory_nominal_gib: 24\n  \
         compute_capability: \"8.9\"\n  multiprocessors: 10\n{more}"
    )
}

fn parse_error(text: &str) -> (usize, usize, String) {
    match GpuCatalogue::default().add("mine.yaml", text) {
        Err(GpuError::Parse { line, column, message, file }) => {
            assert_eq!(file, "mine.yaml");
            (line, column, message)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn has_the_gpus_whose_figures_pytorch_gave() {
    let expected = [
        ("h200", 150109880320, (9, 0), 132, 2048, 62914560),
        ("h100", 84942979072, (9, 0), 132, 2048, 52428800),
        ("a100-80gb", 85094825984, (8, 0), 108, 2048, 41943040),
        ("a100-40gb", 42474471424, (8, 0), 108, 2048, 41943040),
        ("rtx4090", 25393692672, (8, 9), 128, 1536, 75497472),
        ("rtx3090", 25438126080, (8, 6), 82, 1536, 6291456),
    ];
    let catalogue = shipped();
    for (key, memory, (major, minor), multiprocessors, threads, l2) in expected {
        let gpu = catalogue.find(key).unwrap();
        assert_eq!(gpu.memory.total, Bytes(memory), "{key}");
        assert_eq!((gpu.memory.source, gpu.memory.within), (MemorySource::Driver, Bytes(0)), "{key}");
        assert_eq!(gpu.compute_capability, ComputeCapability::new(major, minor), "{key}");
        assert_eq!(gpu.multiprocessors, multiprocessors, "{key}");
        assert_eq!(gpu.threads_per_multiprocessor, Some(threads), "{key}");
        assert_eq!(gpu.l2, Some(Bytes(l2)), "{key}");
    }
}

#[test]
fn every_shipped_entry_is_plausible() {
    for gpu in shipped().iter() {
        let key = &gpu.key;
        let share = gpu.memory.total.0 as f64 / gpu.memory.nominal.0 as f64;
        assert!((0.85..=1.0).contains(&share), "{key}: {share} of the nominal memory");
        assert_eq!(gpu.threads_per_multiprocessor, Some(threads_of(gpu.compute_capability)), "{key}");
        assert!((10..=200).contains(&gpu.multiprocessors), "{key}");
        assert!(!gpu.sources.is_empty(), "{key}: no source");
        if matches!(gpu.memory.source, MemorySource::Driver | MemorySource::OutOfMemoryMessage) {
            assert_ne!(gpu.memory.from, gpu.memory.source.to_string(), "{key}: who printed the memory is not said");
        }
        assert!(
            gpu.prices.iter().all(|price| price.usd > 0.0 && price.date.len() == 7 && !price.source.is_empty()),
            "{key}"
        );
        check_rates(gpu);
    }
}

fn threads_of(capability: ComputeCapability) -> u32 {
    match (capability.major, capability.minor) {
        (7, 0) | (8, 0) | (9, 0) | (10, 0) | (10, 3) => 2048,
        (7, 5) => 1024,
        (8, 6) | (8, 9) | (12, 0) => 1536,
        _ => panic!("{capability} is not a capability of the catalogue"),
    }
}

/// Rates grow, or stay, as a type gets narrower; a type that came with a generation is not in an earlier one.
fn check_rates(gpu: &Gpu) {
    let rates = &gpu.rates;
    let by_width: Vec<f64> = [rates.fp32, rates.tf32, rates.fp16, rates.fp8, rates.fp4].into_iter().flatten().collect();
    assert!(by_width.is_sorted(), "{}: {rates:?}", gpu.key);
    assert!(rates.bf16.is_none() || rates.bf16 == rates.fp16, "{}: {rates:?}", gpu.key);
    assert!(by_width.iter().all(|&rate| (1e12..1e17).contains(&rate)), "{}: {rates:?}", gpu.key);
    assert!(gpu.memory_bandwidth.is_none_or(|rate| (1e11..1e13).contains(&rate)), "{}", gpu.key);
    let generation = (gpu.compute_capability.major, gpu.compute_capability.minor);
    assert!(generation >= (8, 0) || (rates.tf32.is_none() && rates.bf16.is_none()), "{}", gpu.key);
    assert!(generation >= (8, 9) || rates.fp8.is_none(), "{}", gpu.key);
    assert!(generation >= (10, 0) || rates.fp4.is_none(), "{}", gpu.key);
}

#[test]
fn keys_and_aliases_are_unique_however_spelled() {
    let mut seen = BTreeSet::new();
    let catalogue = shipped();
    for gpu in catalogue.iter() {
        for name in gpu.aliases.iter().chain([&gpu.key]) {
            assert!(seen.insert(folded(name)), "{name} is given twice");
        }
    }
    let in_files: usize = specs::embedded_files("gpus")
        .iter()
        .map(|(_, text)| text.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_alphanumeric())).count())
        .sum();
    assert_eq!(catalogue.iter().count(), in_files, "an entry replaces one of another file");
}

#[test]
fn finds_every_gpu_by_its_key_in_any_spelling_and_by_its_name() {
    let catalogue = shipped();
    for gpu in catalogue.iter() {
        for spelling in [gpu.key.clone(), gpu.key.to_uppercase().replace('-', " "), format!("NVIDIA {}", gpu.key)] {
            assert_eq!(catalogue.find(&spelling).unwrap().key, gpu.key);
        }
        match catalogue.find(&gpu.name) {
            Ok(found) => assert_eq!(found.name, gpu.name),
            Err(GpuError::Ambiguous { keys, .. }) => assert!(keys.len() > 1 && keys.contains(&gpu.key)),
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(catalogue.find("RTX 4090").unwrap().key, "rtx4090");
    assert_eq!(catalogue.find("nvidia geforce rtx-3090").unwrap().key, "rtx3090");
    assert_eq!(catalogue.find("NVIDIA H200").unwrap().key, "h200");
    assert_eq!(catalogue.find("NVIDIA A100-SXM4-80GB").unwrap().key, "a100-80gb");
}

#[test]
fn an_unknown_name_is_answered_with_its_neighbours() {
    let nearest = |name: &str| match shipped().find(name) {
        Err(GpuError::Unknown { nearest, .. }) => nearest,
        other => panic!("{other:?}"),
    };
    assert_eq!(nearest("rtx4900")[0], "rtx4090");
    assert!(nearest("a10000").iter().any(|key| key.starts_with("a100")), "{:?}", nearest("a10000"));
    assert_eq!(shipped().find("a100").unwrap().key, "a100-80gb");
    assert_eq!(nearest("").len(), 3);
    let message = shipped().find("h20O").unwrap_err().to_string();
    assert!(message.starts_with("no GPU is called \"h20O\"; the nearest are h20"), "{message}");
}

#[test]
fn an_unknown_key_is_an_error_with_its_place() {
    let (line, column, message) = parse_error(&entry("mine", "  memory_bandwith: 1e12\n"));
    assert_eq!((line, column), (8, 3));
    assert!(message.contains("unknown field `memory_bandwith`"), "{message}");
    let (line, _, message) = parse_error(&entry("mine", "  rates: {fp17: 1e12}\n"));
    assert_eq!(line, 8);
    assert!(message.contains("unknown field `fp17`"), "{message}");
}

#[test]
fn wrong_entries_are_errors() {
    let wrong = [
        (entry("Mine", ""), "is no key"),
        (entry("mine", "").replace("23.50 GiB", "25.00 GiB"), "25.00 GiB of memory, with 24.00 GiB nominal"),
        (entry("mine", "").replace("23.50 GiB", "23.50 GB"), "or text like `22478 MiB`"),
        (entry("mine", "").replace("23.50 GiB", "0"), "0 B of memory"),
        (entry("mine", "").replace("23.50 GiB", "-1"), "or text like"),
        (entry("mine", "").replace("out-of-memory message", "nominal"), "with `memory_source: nominal`"),
        (entry("mine", "").replace("  memory: 23.50 GiB\n", ""), "without `memory`"),
        (entry("mine", "").replace("\"8.9\"", "\"8\""), "is no version"),
        (entry("mine", "") + &entry("mine", ""), "is given twice"),
        ("- a list".to_owned(), "a mapping from keys to GPUs"),
        (": : :".to_owned(), ""),
        (entry("mine", "  memory_bandwidth: -1e12\n"), "-1000000000000 is not a positive figure"),
        (entry("mine", "  rates: {fp16: .nan}\n"), "NaN is not a positive figure"),
        (entry("mine", "").replace("multiprocessors: 10", "multiprocessors: 0"), "0 is not a positive figure"),
    ];
    for (text, expected) in wrong {
        let (line, _, message) = parse_error(&text);
        assert!(message.contains(expected) && line > 0, "{text}\n{line}: {message}");
    }
}

#[test]
fn memory_keeps_the_precision_of_its_source() {
    let total = |figure: &str| {
        let mut catalogue = GpuCatalogue::default();
        catalogue.add("mine.yaml", &entry("mine", "").replace("23.50 GiB", figure)).unwrap();
        let memory = catalogue.find("mine").unwrap().memory.clone();
        (memory.total, memory.within)
    };
    assert_eq!(total("23.50 GiB"), (Bytes(GIB * 47 / 2), Bytes(GIB / 100)));
    assert_eq!(total("22478 MiB"), (Bytes(22478 << 20), Bytes(1 << 20)));
    assert_eq!(total("25393692672"), (Bytes(25393692672), Bytes(0)));
}

#[test]
fn a_users_folder_replaces_and_adds() {
    let folder = tempfile::tempdir().unwrap();
    let gpus = folder.path().join("gpus");
    std::fs::create_dir(&gpus).unwrap();
    std::fs::write(gpus.join("mine.yaml"), entry("rtx4090", "") + &entry("rtx9090", "")).unwrap();
    std::fs::write(gpus.join("notes.txt"), "not a catalogue").unwrap();
    let catalogue = GpuCatalogue::load(Some(folder.path())).unwrap();
    assert_eq!(catalogue.find("RTX 4090").unwrap().name, "Test GPU");
    assert_eq!(catalogue.find("RTX 9090").unwrap().multiprocessors, 10);
    assert_eq!(catalogue.iter().count(), shipped().iter().count() + 1);
}

#[test]
fn a_folder_without_gpus_changes_nothing_and_a_broken_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(GpuCatalogue::load(Some(folder.path())).unwrap(), shipped());
    std::fs::create_dir(folder.path().join("gpus")).unwrap();
    std::fs::write(folder.path().join("gpus/mine.yaml"), entry("mine", "  colour: green\n")).unwrap();
    let message = GpuCatalogue::load(Some(folder.path())).unwrap_err().to_string();
    assert!(message.contains("mine.yaml:8:3: ") && message.contains("unknown field `colour`"), "{message}");
}

#[test]
fn embedded_specs_are_found_by_path_and_listed_in_order() {
    assert!(specs::embedded("gpus/hopper.yaml").is_some_and(|text| text.contains("NVIDIA H200")));
    assert_eq!(specs::embedded("gpus/none.yaml"), None);
    assert_eq!(specs::embedded("../Cargo.toml"), None);
    assert!(specs::embedded_files("none").is_empty());
    let paths: Vec<&str> = specs::embedded_files("gpus").into_iter().map(|(path, _)| path).collect();
    assert!(paths.is_sorted() && paths.contains(&"gpus/turing.yaml"), "{paths:?}");
}
