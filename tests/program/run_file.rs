//! `--run FILE.yaml`: the flags' keys, which flags win over.

use crate::support::{Folder, assert_snapshot, json_of};

#[test]
fn a_run_file_says_what_flags_say() {
    let folder = Folder::new();
    let file = folder.argument("run.yaml");
    let text = "model: gpt2\nmode: generate\nbatch: 2\nseq: 64\nnew_tokens: 4\nprecision: bf16\noptimizer: {name: adamw}\n\
                gpu: a100-40gb\ncapacity: 8GiB\nallocator: 'expandable_segments:True'\nhold_outputs: false\nsdpa: null\n";
    folder.write("run.yaml", text);
    let run = ["plan", "--format", "json", "--run", &file];
    let flags = ["--batch", "2", "--seq", "64", "--new-tokens", "4", "--precision", "bf16", "--gpu", "a100-40gb"];
    let more = ["--capacity", "8GiB", "--allocator", "expandable_segments:True"];
    let same = [&["plan", "gpt2", "--mode", "generate", "--format", "json"][..], &flags[..], &more[..]].concat();
    assert_eq!(json_of(&run), json_of(&same));
    let json = json_of(&[&run[..], &["distilgpt2", "--batch", "3"]].concat());
    assert_eq!((&json["run"]["batch"], &json["model"]["name"]), (&3.into(), &"distilgpt2".into()));
    assert_eq!(json["run"]["seq"], 64);
}

#[test]
fn an_empty_run_file_says_nothing() {
    let folder = Folder::new();
    folder.write("run.yaml", "# nothing yet\n");
    let json = json_of(&["plan", "gpt2", "--run", &folder.argument("run.yaml"), "--format", "json"]);
    assert_eq!(json, json_of(&["plan", "gpt2", "--format", "json"]));
}

#[test]
fn mistakes_in_a_run_file() {
    let folder = Folder::new();
    let plan = |what: &str, text: &str| {
        folder.write("run.yaml", text);
        folder.error(what, &["plan", "--run", &folder.argument("run.yaml")])
    };
    let errors = [
        plan("an unknown key", "model: gpt2\nbacth: 4\n"),
        plan("a key twice", "batch: 4\nbatch: 5\n"),
        plan("two spellings of a key", "new-tokens: 4\nnew_tokens: 5\n"),
        plan("a negative number", "model: gpt2\nbatch: -4\n"),
        plan("a text for a number", "model: gpt2\nseq: long\n"),
        plan("an unknown mode", "model: gpt2\nmode: sleep\n"),
        plan("an unknown optimizer", "model: gpt2\noptimizer: {name: sgdx}\n"),
        plan("an unknown key of the optimizer", "model: gpt2\noptimizer: {name: adamw, speed: 3}\n"),
        plan("a list for an optimizer", "optimizer: [adamw]\n"),
        plan("a size without sense", "model: gpt2\ncapacity: much\n"),
        plan("a list of runs", "- model: gpt2\n"),
        plan("no YAML", "model: [gpt2\n"),
        plan("no text", "\0\0\0"),
        plan("batch 0", "model: gpt2\nbatch: 0\n"),
        plan("no model", "batch: 1\n"),
        folder.error("no file", &["plan", "--run", &folder.argument("none.yaml")]),
        folder.error("a folder", &["plan", "--run", &folder.argument("")]),
    ];
    assert_snapshot("errors_run_file", &errors.concat());
}
