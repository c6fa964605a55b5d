//! Models whose folder brings its own Python source.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::support::{call, json_of};

fn tinylm() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/truth/own/tinylm")
}

/// A copy of the folder, with one of its files changed.
fn changed(file: &str, change: impl Fn(String) -> String) -> TempDir {
    let folder = TempDir::new().unwrap();
    for entry in fs::read_dir(tinylm()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    let path = folder.path().join(file);
    fs::write(&path, change(fs::read_to_string(&path).unwrap())).unwrap();
    folder
}

fn complaint(folder: &Path) -> String {
    let output = call(&["plan", folder.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn it_is_planned_from_its_source() {
    let folder = tinylm();
    let plan = json_of(&["plan", folder.to_str().unwrap(), "--batch", "2", "--seq", "72", "--json"]);
    assert_eq!(plan["model"]["architecture"], "TinyLMForCausalLM");
    // tests/truth/own.jsonl, tinylm-train-bf16, as PyTorch recorded it
    assert_eq!(plan["peak_allocated"], 47_260_672);
}

#[test]
fn its_source_becomes_a_spec_that_plans_the_same() {
    let folder = tinylm();
    let spec = TempDir::new().unwrap();
    let spec = spec.path().join("own.yaml");
    fs::create_dir_all(spec.parent().unwrap()).unwrap();
    assert_eq!(call(&["import", folder.to_str().unwrap(), "-o", spec.to_str().unwrap()]).status.code(), Some(0));
    let peak = |model: &Path| {
        json_of(&["plan", model.to_str().unwrap(), "--precision", "bf16", "--json"])["peak_allocated"].clone()
    };
    assert_eq!(peak(&spec), peak(&folder));
}

#[test]
fn what_cannot_be_said_is_named_with_file_and_line() {
    let loops = changed("modeling_tinylm.py", |text| {
        text.replace(
            "        b, t, w = x.shape\n",
            "        while len(x) > 9:\n            x = x[1:]\n        b, t, w = x.shape\n",
        )
    });
    let complaint = complaint(loops.path());
    assert!(complaint.contains("modeling_tinylm.py:31: a while loop is not known, in model.blocks.0"), "{complaint}");
}

#[test]
fn a_source_that_is_none_is_one_line() {
    let broken = changed("modeling_tinylm.py", |text| text.replace("class Block(", "class Block(("));
    let complaint_of_it = complaint(broken.path());
    assert!(complaint_of_it.contains("modeling_tinylm.py:13: this is no Python"), "{complaint_of_it}");
    let absent =
        changed("config.json", |text| text.replace("modeling_tinylm.TinyLMForCausalLM", "modeling_tinylm.Other"));
    let complaint_of_it = complaint(absent.path());
    assert!(complaint_of_it.contains("\"TinyLMForCausalLM\" is not known"), "{complaint_of_it}");
}
