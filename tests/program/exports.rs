//! Exported programs on the command line, and models that a user wrote as a spec.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use flate2::read::GzDecoder;
use serde_json::Value;
use zip::write::SimpleFileOptions;

use crate::support::{Folder, assert_snapshot, json_of, report};

/// A graph of `tests/truth/exports/graphs`.
fn graph(id: &str) -> String {
    graph_of("exports", id)
}

/// A graph of a set.
fn graph_of(set: &str, id: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/truth/{set}/graphs/{id}.json.gz"));
    let mut text = String::new();
    GzDecoder::new(fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text
}

/// Archives of PyTorch 2.8 and of 2.11 give the same plan: tests/truth/export_versions.py. Without a table of weights, which 2.8
/// does not write, what is tied is not known.
#[test]
fn old_archives_are_read() {
    let folder = Folder::new();
    let planned = |version: &str| {
        let path = format!("{}/tests/truth/exports/versions/{version}.json.gz", env!("CARGO_MANIFEST_DIR"));
        let mut text = String::new();
        GzDecoder::new(fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
        let name = format!("{version}.pt2");
        let mut archive = zip::ZipWriter::new(fs::File::create(folder.join(&name)).unwrap());
        archive.start_file("net/models/model.json", SimpleFileOptions::default()).unwrap();
        archive.write_all(text.as_bytes()).unwrap();
        archive.finish().unwrap();
        let report = json_of(&["plan", &folder.argument(&name), "--batch", "8", "--format", "json"]);
        assert!(report["notes"].to_string().contains("has no table of weights"), "{}", report["notes"]);
        [&report["peak_allocated"], &report["peak_reserved"], &report["parameters"]["count"]].map(Value::clone)
    };
    let old = planned("2.8.0");
    assert_eq!(old, planned("2.11.0"));
    assert_eq!(old[2], 2_881_792);
}

/// Writes the archive of a graph as `torch.export.save` lays it out; weights are left out, as nobody reads them.
fn save(folder: &Folder, name: &str, text: &str) -> String {
    let whole: Value = serde_json::from_str(text).unwrap();
    let mut archive = zip::ZipWriter::new(fs::File::create(folder.join(name)).unwrap());
    for (entry, text) in
        [("models/model.json", text), ("data/weights/model_weights_config.json", &whole["weights_config"].to_string())]
    {
        archive.start_file(format!("model/{entry}"), SimpleFileOptions::default()).unwrap();
        archive.write_all(text.as_bytes()).unwrap();
    }
    archive.finish().unwrap();
    folder.argument(name)
}

/// Exports of weights without bytes give all of them one path: they are no more tied than without a table.
#[test]
fn weights_without_bytes_are_not_tied() {
    let folder = Folder::new();
    let mut whole: Value = serde_json::from_str(&graph("bert-infer")).unwrap();
    let mut planned = |name: &str, has_table: bool| {
        let mut archive = zip::ZipWriter::new(fs::File::create(folder.join(name)).unwrap());
        let mut add = |entry: &str, text: &str| {
            archive.start_file(format!("model/{entry}"), SimpleFileOptions::default()).unwrap();
            archive.write_all(text.as_bytes()).unwrap();
        };
        add("models/model.json", &whole.to_string());
        if has_table {
            let table = whole["weights_config"]["config"].as_object_mut().unwrap();
            table.values_mut().for_each(|payload| payload["path_name"] = "weight_0".into());
            add("data/weights/model_weights_config.json", &whole["weights_config"].to_string());
            add("data/weights/weight_0", "");
        }
        archive.finish().unwrap();
        json_of(&["plan", &folder.argument(name), "--mode", "infer", "--format", "json"])
    };
    let (without, empty) = (planned("a.pt2", false), planned("b.pt2", true));
    assert_eq!(empty["parameters"], without["parameters"]);
    assert!(empty["notes"].to_string().contains("none of them has a byte"), "{}", empty["notes"]);
}

fn shown(folder: &Folder, arguments: &[&str]) -> String {
    report(arguments).replace(&folder.argument(""), "DIR/")
}

#[test]
fn an_export_is_planned() {
    let folder = Folder::new();
    let model = save(&folder, "bert.pt2", &graph("bert-train"));
    assert_snapshot(
        "export-bert",
        &shown(&folder, &["plan", "--full", &model, "--checkpoint", "bert.encoder.layer.0"]),
    );
    let model = save(&folder, "mobilenet.pt2", &graph("mobilenet-v3-infer"));
    assert_snapshot(
        "export-mobilenet",
        &shown(&folder, &["plan", "--full", &model, "--mode", "infer", "--precision", "amp-bf16"]),
    );
}

/// Without blocks, runs of calls between cut points are chosen; they are planned again as they are written.
#[test]
fn runs_of_calls_are_chosen_where_there_are_no_blocks() {
    let folder = Folder::new();
    let unet = save(&folder, "unet.pt2", &graph_of("cutpoints", "unet"));
    let choose = ["checkpoint", &unet, "--budget", "450MiB", "--granularity", "block"];
    assert_snapshot("checkpoint_cut_points", &shown(&folder, &choose));
    let choice = json_of(&[&choose[..], &["--format", "json"]].concat());
    let file = report(&[&choose[..], &["--emit", "file"]].concat());
    let (_, listed) = file.split_once('\n').unwrap();
    folder.write("chosen.txt", listed.strip_suffix("exit code 0\n").unwrap());
    let path = format!("@{}", folder.join("chosen.txt").display());
    let plan = json_of(&["plan", &unet, "--checkpoint", &path, "--format", "json"]);
    assert_eq!(plan["peak_reserved"], choice["peak_reserved"]);
    assert_eq!(plan["peak_allocated"], choice["peak_allocated"]);
    let vgg = save(&folder, "vgg11_bn.pt2", &graph_of("cutpoints", "vgg11-bn"));
    for (name, model, budget) in [("unet", &unet, "450MiB"), ("vgg", &vgg, "5GiB")] {
        let run = ["checkpoint", model, "--budget", budget, "--granularity", "block", "--emit", "torch"];
        let code = shown(&folder, &run);
        let lines = code.lines().take_while(|line| !line.starts_with("def apply_checkpoints"));
        assert_snapshot(&format!("checkpoint_cut_points_{name}_torch"), &lines.collect::<Vec<_>>().join("\n"));
    }
}

#[test]
fn operators_that_are_not_known_are_named() {
    let folder = Folder::new();
    let text = graph("mobilenet-v3-infer").replace("aten.hardsigmoid.default", "mylib.gate.default");
    let model = save(&folder, "mine.pt2", &text);
    let report = shown(&folder, &["plan", "--full", &model, "--mode", "infer"]);
    let warning =
        report.lines().skip_while(|line| !line.starts_with("warning:")).take_while(|line| !line.starts_with("note:"));
    assert_snapshot("export-unknown", &warning.collect::<Vec<_>>().join("\n"));
    let unknown = &json_of(&["plan", &model, "--mode", "infer", "--format", "json"])["unknown_operators"];
    assert_eq!(unknown[0]["name"], "mylib.gate.default");
    assert_eq!(unknown[0]["calls"], 8);
}

#[test]
fn what_an_export_does_not_allow_is_refused() {
    let folder = Folder::new();
    let bert = save(&folder, "bert.pt2", &graph("bert-train"));
    let deit = save(&folder, "deit.pt2", &graph("deit-infer"));
    fs::write(folder.join("torn.pt2"), b"PK\x03\x04").unwrap();
    let torn = folder.argument("torn.pt2");
    let refusals: Vec<String> = [
        vec!["plan", "--full", &bert, "--batch", "9"],
        vec!["plan", "--full", &bert, "--seq", "64"],
        vec!["plan", "--full", &bert, "--image", "64"],
        vec!["plan", "--full", &bert, "--dim", "s0=8"],
        vec!["plan", "--full", &bert, "--dim", "s0"],
        vec!["plan", "--full", &bert, "--mode", "generate"],
        vec!["plan", "--full", &bert, "--attention", "eager"],
        vec!["plan", "--full", &bert, "--checkpoint", "bert.nowhere"],
        vec!["plan", "--full", &deit, "--loss", "output"],
        vec!["plan", "--full", &deit, "--loss", "mse"],
        vec!["plan", "--full", "gpt2", "--loss", "sum"],
        vec!["plan", "--full", &torn],
        vec!["graph", &bert, "--module", "bert.nowhere"],
    ]
    .iter()
    .map(|arguments| shown(&folder, arguments).replace(&folder.argument(""), "DIR/"))
    .collect();
    assert_snapshot("export-refusals", &refusals.concat());
}

#[test]
fn a_graph_is_shown() {
    let folder = Folder::new();
    let bert = save(&folder, "bert.pt2", &graph("bert-train"));
    let layer = ["graph", &bert, "--module", "bert.encoder.layer.0.attention"];
    assert_snapshot("graph-bert", &shown(&folder, &layer));
    assert_snapshot("graph-dot", &report(&["graph", "gpt2", "--module", "transformer.h.0.mlp.c_fc", "--dot"]));
    let whole = json_of(&["graph", "gpt2", "--json"]);
    let operators = whole["operators"].as_array().unwrap();
    assert!(operators.iter().any(|call| call["operator"] == "cross_entropy"));
    assert!(operators.iter().all(|call| call["operator"] != "backward"));
}

#[test]
fn operators_are_listed() {
    let list = json_of(&["ops", "--format", "json"]);
    let operators = list["operators"].as_array().unwrap();
    let conv = operators.iter().find(|operator| operator["name"] == "conv2d").unwrap();
    assert_eq!(conv["overloads"], 2);
    assert!(conv["source"].as_str().unwrap().contains("Convolution.cpp"));
    let names: Vec<&str> = operators.iter().map(|operator| operator["name"].as_str().unwrap()).collect();
    assert!(names.is_sorted() && names.len() > 100, "{}", names.len());
    // each overload is an operator of the list, a function that composes several, or its own argument
    for overload in list["overloads"].as_array().unwrap() {
        let is = overload["is"].as_str().unwrap_or("aten_same");
        assert!(is.starts_with("aten_") || names.contains(&is), "{overload}");
    }
    assert!(report(&["ops"]).contains("overloads of ATen in exports"));
}

/// The worked example of specs/README.md: PyTorch 2.11 ran it on the emulated device, with these peaks.
#[test]
fn the_example_of_the_specs_is_planned() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("specs/README.md")).unwrap();
    let example = readme.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let folder = Folder::new();
    fs::write(folder.join("gated_lm.yaml"), example).unwrap();
    let model = folder.argument("gated_lm.yaml");
    let plan = json_of(&[
        "plan",
        "--full",
        &model,
        "--batch",
        "8",
        "--seq",
        "512",
        "--torch",
        "2.11",
        "--transformers",
        "5.17",
        "--format",
        "json",
    ]);
    assert_eq!(plan["peak_allocated"], 3_578_622_976_u64);
    assert_eq!(plan["peak_reserved"], 4_179_623_936_u64);
    fs::write(folder.join("empty.yaml"), "name: empty\nsource: nowhere\n").unwrap();
    let none = shown(&folder, &["plan", "--full", &folder.argument("empty.yaml")]);
    assert!(none.contains("no architecture: name the model's module under `architectures`"), "{none}");
}
