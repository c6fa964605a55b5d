//! Archives that nobody's PyTorch wrote: each is refused in one line, in bounded time and memory.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::exports::{archive, chain, meta, node, program};
use planner::model::{Model, open};
use planner::plan::plan;
use planner::read::gpus::GpuCatalogue;
use planner::read::spec::Shelf;
use planner::run::{Mode, Run};
use serde_json::{Value, json};

/// What is said of an archive with these entries.
fn refusal(entries: &[(&str, &[u8])]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.pt2");
    archive(&path, entries);
    said(&path)
}

/// What is said of a file; it takes no more than seconds.
fn said(path: &Path) -> String {
    let began = Instant::now();
    let text = match open(path.to_str().expect("a path"), None, &Shelf::default()) {
        Ok(model) => planned(&model).err().unwrap_or_else(|| "planned".to_owned()),
        Err(error) => error.to_string(),
    };
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}: {text}", began.elapsed());
    let text = text.replace(&path.display().to_string(), "FILE");
    assert!(!text.contains('\n') && text.len() < 600, "{text}");
    text
}

/// Plans a model for inference, with the batch that it has.
fn planned(model: &Model) -> Result<(), String> {
    let catalogue = GpuCatalogue::load(None).expect("the shipped GPUs are sound");
    let gpu = catalogue.find("h200").expect("in the catalogue");
    let run = Run { mode: Mode::Infer, batch: 8, steps: 1, ..Run::default() };
    plan(model, &run, gpu).map(|_| ()).map_err(|error| error.to_string())
}

fn of(program: &Value) -> String {
    refusal(&[("m/models/model.json", program.to_string().as_bytes())])
}

#[test]
fn what_is_no_archive() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.pt2");
    for bytes in [&b""[..], b"PK", b"not a zip at all", &[0; 4096]] {
        std::fs::write(&path, bytes).expect("a file");
        assert!(said(&path).starts_with("FILE: not an archive of torch.export.save: "), "{}", said(&path));
    }
    archive(&path, &[("m/models/model.json", chain(3).to_string().as_bytes())]);
    let whole = std::fs::read(&path).expect("an archive");
    for cut in [whole.len() - 1, whole.len() / 2, 30] {
        std::fs::write(&path, &whole[..cut]).expect("a file");
        assert!(said(&path).starts_with("FILE: not an archive"), "{}", said(&path));
    }
    std::fs::write(&path, &whole).expect("a file");
    assert_eq!(said(&path), "planned");
}

/// Archives as PyTorch ends them: with the end record of zip64 before the other one, which is not saturated. Guessing where such an
/// archive begins fails where its first entry's name has 30 letters.
#[test]
fn archives_of_any_name_as_torch_ends_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = chain(3).to_string();
    for length in 1..=64 {
        let stem = "x".repeat(length);
        let path = folder.path().join(format!("{stem}.pt2"));
        let [weight, graph] = ["data/weights/weight_0", "models/model.json"].map(|name| format!("{stem}/{name}"));
        archive(&path, &[(&weight, b"data"), (&graph, text.as_bytes())]);
        let mut whole = std::fs::read(&path).expect("an archive");
        let end = whole.len() - 22;
        let number = |at: usize| u32::from_le_bytes(whole[at..at + 4].try_into().expect("four bytes"));
        let (size, start) = (u64::from(number(end + 12)), u64::from(number(end + 16)));
        let mut record = b"PK\x06\x06".to_vec();
        record.extend(44u64.to_le_bytes());
        record.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        [2u64, 2, size, start].iter().for_each(|field| record.extend(field.to_le_bytes()));
        record.extend(b"PK\x06\x07\0\0\0\0");
        record.extend((end as u64).to_le_bytes());
        record.extend(1u32.to_le_bytes());
        whole.splice(end..end, record);
        std::fs::write(&path, &whole).expect("a file");
        assert_eq!(said(&path), "planned", "{length} letters");
    }
}

#[test]
fn archives_of_something_else() {
    let text = chain(3).to_string();
    let says = |entries: &[(&str, &[u8])], what: &str| {
        let text = refusal(entries);
        assert!(text.contains(what), "{text}");
    };
    says(&[("m/data.pkl", b"x"), ("m/data/0", b"x")], "it holds what torch.save wrote");
    says(&[("m/constants.pkl", b"x")], "it holds TorchScript");
    says(&[("serialized_exported_program.json", b"{}")], "written by a PyTorch before 2.8");
    says(&[("m/data/aotinductor/model/x.so", b"x")], "a compiled program");
    says(&[("m/models/a.json", text.as_bytes()), ("m/models/b.json", text.as_bytes())], "it holds 2 programs");
    // names are compared, never opened
    says(&[("../../models/x/model.json", text.as_bytes())], "it holds no models/*.json");
    says(&[("m/models/../../etc/model.json", text.as_bytes())], "it holds no models/*.json");
}

#[test]
fn bombs() {
    let zeros = vec![b' '; (256 << 20) + 1];
    let text = refusal(&[("m/models/model.json", &zeros)]);
    assert!(text.ends_with("the largest that is read is 268435456"), "{text}");
    let brackets = vec![b'['; 30_000_000];
    let text = refusal(&[("m/models/model.json", &brackets)]);
    assert!(text.contains("the number of signs in the graph's JSON is 30000000"), "{text}");
    let text = refusal(&[("m/models/model.json", &brackets[..100_000])]);
    assert!(text.contains("models/*.json: line 1"), "{text}");
    let many: Vec<String> = (0..250_000).map(|number| format!("m/data/weights/weight_{number}_{:0>40}", "")).collect();
    let mut entries: Vec<(&str, &[u8])> = many.iter().map(|name| (name.as_str(), &b""[..])).collect();
    let text = chain(3).to_string();
    entries.push(("m/models/model.json", text.as_bytes()));
    let text = refusal(&entries);
    assert!(text.contains("its directory is larger than any program's"), "{text}");
}

#[test]
fn graphs_that_do_not_hold_together() {
    let relu = |from: &str, to: &str| node("torch.ops.aten.relu.default", &[("self", from)], to, "");
    let cycle = program(&[8, 4], &[4], vec![relu("t2", "t1"), relu("t1", "t2")]);
    assert_eq!(of(&cycle), "FILE: node 1: \"t2\" is used, but nothing before gives it");
    let own = program(&[8, 4], &[4], vec![relu("t1", "t1")]);
    assert_eq!(of(&own), "FILE: node 1: \"t1\" is used, but nothing before gives it");
    let mut other = chain(3);
    other["schema_version"] = json!({ "major": 9, "minor": 0 });
    assert!(of(&other).contains("schema 9.0 is not known"), "{}", of(&other));
    let mut lacks = chain(3);
    lacks["graph_module"]["signature"] = json!({});
    assert!(of(&lacks).contains("missing field `input_specs`"), "{}", of(&lacks));
    let mut strange = chain(3);
    strange["graph_module"]["graph"]["nodes"][0]["metadata"]["nn_module_stack"] = "no commas".into();
    assert!(of(&strange).contains("the modules \"no commas\" cannot be read"), "{}", of(&strange));
}

#[test]
fn absurd_sizes() {
    let with = |name: &str, sizes: &[i64]| {
        let mut program = chain(3);
        program["graph_module"]["graph"]["tensor_values"][name] = meta(sizes);
        of(&program)
    };
    assert!(with("p_weight", &[1 << 62]).contains("is no size of a dimension"), "{}", with("p_weight", &[1 << 62]));
    assert!(with("p_weight", &[-4]).contains("is no size of a dimension"), "{}", with("p_weight", &[-4]));
    let large = with("p_weight", &[1 << 30, 1 << 30, 1 << 30]);
    assert!(large.contains("larger than any memory"), "{large}");
    let large = with("x", &[8, 1 << 39, 1 << 39]);
    assert!(large.contains("larger than any memory"), "{large}");
    assert!(with("x", &[8, -1]).contains("a size is negative"), "{}", with("x", &[8, -1]));
}

#[test]
fn more_calls_than_any_program() {
    let one = chain(1);
    let call = one["graph_module"]["graph"]["nodes"][0].to_string();
    let many = one.to_string().replacen(&call, &vec![&*call; 400_001].join(","), 1);
    let text = refusal(&[("m/models/model.json", many.as_bytes())]);
    assert_eq!(text, "FILE: it has more than 400000 calls");
}

#[test]
fn modules_that_nest_without_end() {
    let mut deep = chain(1);
    let path = vec!["a"; 300].join(".");
    deep["graph_module"]["module_call_graph"] = json!([{ "fqn": path }]);
    assert!(of(&deep).contains("lies deeper than 60 modules"), "{}", of(&deep));
    let entry = |depth: usize| format!("L{depth},{},m.Block", vec!["a"; depth].join("."));
    let stack: Vec<String> = std::iter::once("L,,m.Model".to_owned()).chain((1..100).map(entry)).collect();
    let mut deep = chain(1);
    deep["graph_module"]["graph"]["nodes"][0]["metadata"]["nn_module_stack"] = stack.join(";").into();
    assert_eq!(of(&deep), "FILE: node 1: modules nest deeper than 60");
}

#[test]
fn sizes_that_nest_without_end() {
    let expression = format!("{}Integer(1){}", "Add(".repeat(5000), ", Integer(1))".repeat(5000));
    let mut program = chain(3);
    let size = json!({ "as_expr": { "expr_str": expression, "hint": null } });
    program["graph_module"]["graph"]["tensor_values"]["x"]["sizes"][1] = size;
    assert!(of(&program).contains("cannot be read"), "{}", of(&program));
}

/// A real graph with bytes changed here and there is refused or planned, but nothing panics.
#[test]
fn changed_graphs_never_panic() {
    let path = crate::support::truth_folder().join("exports/graphs/mixer-infer.json.gz");
    let mut text = String::new();
    let file = std::fs::File::open(path).expect("a graph");
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(file), &mut text).expect("a compressed graph");
    let words =
        ["-1", "999999999999", "null", "\"x\"", "[]", "{}", "0", "as_int", "as_tensor", "aten.cat.default", "true"];
    let bytes = text.as_bytes();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |most: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % most as u64) as usize
    };
    let numbers: Vec<usize> =
        (1..bytes.len()).filter(|at| bytes[*at].is_ascii_digit() && !bytes[at - 1].is_ascii_alphanumeric()).collect();
    for _ in 0..60 {
        let mut changed = text.clone();
        for _ in 0..=random(3) {
            let at = if random(4) == 0 { random(changed.len() - 20) } else { numbers[random(numbers.len())] };
            let at = at.min(changed.len() - 1);
            if changed.is_char_boundary(at) && changed.is_char_boundary(at + 1) {
                changed.replace_range(at..=at, words[random(words.len())]);
            }
        }
        let Ok(model) = planner::model::export::parse(Path::new("x.pt2"), changed.as_bytes(), None, &Shelf::default())
        else {
            continue;
        };
        let (config, weights) = Default::default();
        let (name, dtype) = ("x.pt2".to_owned(), Some(model.dtype));
        let model = Model {
            name,
            family: model.family,
            exported: Some(model.exported),
            architecture: model.architecture,
            config,
            config_file: None,
            dtype,
            weights,
        };
        let _ = planned(&model);
    }
}
