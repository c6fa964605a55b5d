//! What is accepted is written and read back the same: run files whose values are put together at random, and the plans that
//! are kept of such runs. (`fuzzed.rs` asks the same of changed texts; specs, configs and files of GPUs have no writer.)

use std::ffi::OsStr;
use std::path::Path;

use planner::allocate::AllocatorOptions;
use planner::read::{run_file, yaml};
use planner::run::{OPTIONS, Region};
use planner::words::quote;
use planner::{RunOptions, snapshot};
use proptest::prelude::*;
use proptest::sample::select;

/// What options are given: a word of each form that some option takes, and texts that YAML takes for something else.
const WORDS: [&str; 53] = [
    "0",
    "1",
    "3",
    "18446744073709551615",
    "1.5",
    "1e3",
    "-1",
    "true",
    "false",
    "on",
    "off",
    "null",
    "~",
    "none",
    "full",
    "auto",
    "train",
    "infer",
    "generate",
    "eval-with-grad",
    "fp16",
    "amp-bf16",
    "adamw,fused=true",
    "sgd",
    "h.0,h.1:mm+addmm",
    "@list",
    "mm,addmm",
    "after-step",
    "before-forward",
    "8",
    "8,bucket_cap_mb=3,static_graph=true",
    "8,reshard=false,offload",
    "^h\\.1",
    "r=16,alpha=0.1,dropout=0.05,targets=q+v",
    "r=4,bias=all,modules_to_save=norm+head",
    "nf4",
    "int8",
    "eager",
    "math",
    "paged",
    "fp8",
    "20GiB",
    "expandable_segments:True",
    "2.10",
    "5.18",
    "uv.lock",
    "CUBLAS_WORKSPACE_CONFIG=:16:8",
    "image=14x15",
    "s72=8",
    "cross-entropy",
    "a: b # c",
    "'\"\\ \u{1b}\u{202e}é",
    " x ",
];

/// Options of a run, each said by some word that it takes.
fn options() -> impl Strategy<Value = RunOptions> {
    let words = prop::collection::vec((0..OPTIONS.len(), select(WORDS.to_vec())), 0..80);
    words.prop_map(|words| {
        let mut options = RunOptions::default();
        for (number, word) in words {
            if let Ok(set) = (OPTIONS[number].parse)(OsStr::new(word)) {
                set(&mut options);
            }
        }
        // one of the three ways to say it, as a run file must; a kept plan has the releases in place of the environment
        let (ddp, fsdp) = (options.ddp.take(), options.fsdp.take());
        if options.parallel.is_none() {
            (options.ddp, options.fsdp) = if ddp.is_some() { (ddp, None) } else { (None, fsdp) };
        }
        RunOptions { env: None, ..options }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn runs_are_read_back(options in options()) {
        let written = yaml::write(&options).unwrap();
        prop_assert_eq!(run_file::parse(Path::new("run.yaml"), &written).unwrap(), options, "{}", written);
    }

    #[test]
    fn plans_of_runs_are_read_back(options in options(), holders in 0..14usize, figures in prop::collection::vec(any::<u64>(), 4)) {
        let mut kept = taken();
        kept.run = RunOptions { torch: options.torch.or(kept.run.torch), transformers: options.transformers.or(kept.run.transformers), ..options };
        kept.holders.truncate(holders);
        for (holder, bytes) in kept.holders.iter_mut().zip(figures) {
            holder.bytes.0 = bytes;
        }
        let read = snapshot::parse(Path::new("kept.yaml"), &kept.to_string()).unwrap();
        prop_assert_eq!(&read.run, &kept.run);
        prop_assert_eq!(read.to_string(), kept.to_string());
        prop_assert_eq!(snapshot::parse(Path::new("kept.yaml"), &read.to_string()).unwrap(), read);
    }
}

/// What is kept of a small plan, with more holders than are listed.
fn taken() -> snapshot::Snapshot {
    use std::sync::OnceLock;
    static TAKEN: OnceLock<snapshot::Snapshot> = OnceLock::new();
    TAKEN.get_or_init(|| snapshot::of_run("model: gpt2\nmode: infer\nsteps: 1\nseq: 8\n").expect("a plan")).clone()
}

#[test]
fn the_words_reach_every_option() {
    for option in OPTIONS.iter().filter(|option| option.flag.is_some()) {
        assert!(WORDS.iter().any(|word| (option.parse)(OsStr::new(word)).is_ok()), "{}", option.key);
    }
    assert!(taken().holders.len() > 10);
}

#[test]
fn plans_that_list_more_than_is_written() {
    let listed: String = (0..30).map(|number| format!("  h.{number}:\n    all: {}\n", u64::MAX - number)).collect();
    let text = taken().to_string().replace("\nholders:\n", &format!("\nholders:\n{listed}"));
    let read = snapshot::parse(Path::new("kept.yaml"), &text).unwrap();
    assert_eq!((read.holders.len(), read.others.0), (10, u64::MAX));
    assert_eq!(snapshot::parse(Path::new("kept.yaml"), &read.to_string()).unwrap(), read);
}

#[test]
fn lists_of_modules_are_read_back() {
    let listed = Region::listed("# the first\nh.0, h.1 # and more\nh.2:mm,#h.3\n,,\n").unwrap();
    let written: Vec<String> = listed.iter().map(Region::to_string).collect();
    assert_eq!(written, ["h.0", "h.1", "h.2:mm"]);
    assert_eq!(Region::listed(&written.join(",")), Ok(listed));
}

#[test]
fn complaints_about_words_hide_nothing() {
    let word = format!("\u{1b}[1m\u{202e}=\u{202e}{}", "x".repeat(5000));
    let options = OPTIONS.iter().filter_map(|option| (option.parse)(OsStr::new(&word)).err());
    let keys = ["max_split_size_mb", "garbage_collection_threshold", "expandable_segments", "\u{202e}"];
    let allocators = keys.iter().flat_map(|key| {
        let texts = [format!("{key}:{word}"), format!("{key}:[{word}"), format!("{key}{word}")];
        texts.into_iter().filter_map(|text| text.parse::<AllocatorOptions>().err()).map(|error| error.to_string())
    });
    let said: Vec<String> = options.chain(allocators).collect();
    assert!(said.len() > 30);
    for line in said {
        assert!(!line.contains(|c: char| c.is_control() || quote::is_invisible(c)), "{line:?}");
        assert!(line.chars().count() < 1000, "{line}");
    }
}
