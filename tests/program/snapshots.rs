//! `memplan snapshot`, `check` and `diff`, in a repository that is made for the test.

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::support::{Folder, answer, assert_snapshot, memplan, recorded};

/// A repository with snapshots in it; the program runs there.
struct Repository(Folder);

impl Repository {
    fn new() -> Repository {
        Repository(Folder::new())
    }

    fn output(&self, arguments: &[&str]) -> Output {
        memplan(arguments).current_dir(self.0.join("")).output().unwrap()
    }

    /// What a call prints, and its exit code.
    fn call(&self, arguments: &[&str]) -> (String, i32) {
        let output = self.output(arguments);
        let text = [output.stdout, output.stderr].concat();
        (
            String::from_utf8(text).unwrap().replace(self.0.join("").to_str().unwrap(), "DIR/"),
            output.status.code().unwrap(),
        )
    }

    fn report(&self, arguments: &[&str]) -> String {
        let (text, code) = self.call(arguments);
        format!("$ memplan {}\n{text}exit code {code}\n", arguments.join(" "))
    }

    fn keep(&self, name: &str, run: &[&str]) {
        let path = format!("memplan/{name}.yaml");
        let (text, code) = self.call(&[&["snapshot"], run, &["-o", &path]].concat());
        assert_eq!((&*text, code), ("", 0), "{run:?}");
    }

    fn edit(&self, name: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.0.join(name)).unwrap();
        assert!(text.contains(from), "{name}: {from}");
        fs::write(self.0.join(name), text.replacen(from, to, 1)).unwrap();
    }

    fn json(&self, arguments: &[&str]) -> Value {
        answer(arguments, &self.output(arguments).stdout)
    }
}

const GPT2: [&str; 7] = ["gpt2", "--batch", "2", "--seq", "256", "--gpu", "rtx4090"];

fn shipped(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("specs").join(path)).unwrap()
}

#[test]
fn a_snapshot_is_a_text_to_review() {
    let repository = Repository::new();
    let (text, code) = repository.call(&[&["snapshot"], &GPT2[..]].concat());
    assert_eq!(code, 0);
    let text = text.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    let digest = text.lines().find(|line| line.starts_with("  digest: ")).unwrap().to_owned();
    let text = text.replace(&digest, "  digest: DIGEST");
    let (head, holders) = text.split_once("holders:\n").unwrap();
    assert_snapshot("snapshot_run", head);
    let (holders, most) = holders.split_once("most-of-categories:\n").unwrap();
    assert_snapshot("snapshot_holders", holders);
    assert_snapshot("snapshot_most", most);
    assert!(text.lines().all(|line| line.chars().count() <= 100));
}

#[test]
fn what_is_kept_is_planned_again_the_same() {
    let repository = Repository::new();
    let (config, header) = recorded("minilm-l6");
    let model = repository.0.model("models/minilm", &config, &header);
    let runs: [&[&str]; 9] = [
        &GPT2,
        &["gpt2", "--mode", "generate", "--new-tokens", "3", "--cache", "static"],
        &["resnet18", "--batch", "4", "--precision", "amp-fp16"],
        &["llama-3.2-1b", "--lora", "r=16,targets=q_proj+v_proj", "--quantize", "nf4", "--double-quant", "false"],
        &["llama-3.2-1b", "--fsdp", "8,reshard=false,param_dtype=bf16", "--clip", "1.0"],
        &["gpt2", "--checkpoint", "transformer.h.0,transformer.h.1:mm+addmm", "--accumulate", "2"],
        &["gpt2", "--capacity", "1GiB", "--allocator", "expandable_segments:True", "--zero-grad", "before-forward"],
        &["gpt2", "--trainable", "ln_.*", "--optimizer", "sgd,momentum=0.9", "--sdpa", "math"],
        &[&model, "--mode", "infer"],
    ];
    for (number, run) in runs.iter().enumerate() {
        repository.keep(&format!("{number}"), run);
    }
    let (text, code) = repository.call(&["check"]);
    assert_eq!((code, text.lines().last()), (0, Some("9 same")), "{text}");
    let kept = fs::read_to_string(repository.0.join("memplan/8.yaml")).unwrap();
    assert!(kept.contains("\n  model: models/minilm\n"), "a folder of the repository is named from there: {kept}");
}

#[test]
fn editing_the_run_plans_another() {
    let repository = Repository::new();
    repository.keep("gpt2", &GPT2);
    repository.edit("memplan/gpt2.yaml", "  batch: 2\n", "  batch: 4\n");
    assert_snapshot("check_grew", &repository.report(&["check"]));
    assert_eq!(repository.call(&["check", "memplan/gpt2.yaml", "--tolerance", "90%"]).1, 0);
    assert_eq!(repository.call(&["check", "--tolerance", "64MiB"]).1, 1);
    assert_eq!(repository.call(&["check", "--update"]).1, 0);
    assert_eq!(repository.call(&["check"]), ("memplan/gpt2.yaml: same\n".to_owned(), 0));
    repository.edit("memplan/gpt2.yaml", "  batch: 4\n", "  batch: 1\n");
    let (text, code) = repository.call(&["check"]);
    assert!(code == 0 && text.starts_with("memplan/gpt2.yaml: shrank: "), "{text}");
}

#[test]
fn another_snapshot_takes_the_place_of_a_plan() {
    let repository = Repository::new();
    repository.keep("gpt2", &GPT2);
    repository.call(&[&["snapshot"], &GPT2[..], &["--batch", "8", "-o", "now.yaml"]].concat());
    let against = ["check", "--against", "now.yaml"];
    let (text, code) = repository.call(&against);
    assert!(code == 1 && text.starts_with("memplan/gpt2.yaml: grew: "), "{text}");
    assert_eq!(repository.call(&[&against[..], &["--update"]].concat()).1, 0);
    assert_eq!(repository.call(&against), ("memplan/gpt2.yaml: same\n".to_owned(), 0));
    let (text, code) = repository.call(&["check", "--against", "missing.yaml"]);
    assert!(code == 2 && text.contains("missing.yaml"), "{text}");
}

#[test]
fn a_spec_that_is_edited_to_cost_memory_fails_and_the_module_is_named() {
    let repository = Repository::new();
    let spec = shipped("models/gpt2.yaml").replace("\n  gpt2: {", "\n  mine: {");
    repository.0.write("specs/models/mine.yaml", &spec);
    repository.keep("mine", &["mine", "--specs", "specs", "--batch", "4", "--seq", "512"]);
    assert_eq!(repository.call(&["check"]).1, 0);
    let (cheap, costly) = ("= self.act(hidden_states)", "= self.act(hidden_states) * self.act(hidden_states)");
    repository.edit("specs/models/mine.yaml", cheap, costly);
    let (text, code) = repository.call(&["check"]);
    assert_eq!(code, 1, "{text}");
    let digest = |line: &&str| line.starts_with("  digest of the specs: ");
    let digests = text.lines().find(digest).unwrap().to_owned();
    assert_snapshot("check_spec", &text.replace(&digests, "  digest of the specs: DIGEST -> DIGEST"));
    let (annotation, _) = repository.call(&["check", "--format", "github"]);
    assert!(annotation.contains("module transformer.h.[0-11].mlp.act"), "{annotation}");
    assert!(annotation.contains("another version"), "{annotation}");
    let checked = &repository.json(&["check", "--format", "json"])["snapshots"][0];
    assert_eq!((&checked["status"], &checked["other_version"]), (&"grew".into(), &true.into()));
    let moved = checked["comparison"]["moved"].as_array().unwrap();
    for kind in ["category", "module", "tensor", "phase"] {
        assert!(moved.iter().any(|moved| moved["kind"] == kind), "{kind}");
    }
    let first = moved.iter().find(|moved| moved["kind"] == "module").unwrap();
    assert_eq!(first["name"], "transformer.h.[0-11].mlp.act");
}

#[test]
fn what_is_not_growth_is_told_apart() {
    let repository = Repository::new();
    repository.keep("fine", &GPT2);
    repository.keep("program", &GPT2);
    repository.edit("memplan/program.yaml", &format!("memplan: {}", env!("CARGO_PKG_VERSION")), "memplan: 0.0.1");
    repository.keep("spec", &GPT2);
    repository.edit("memplan/spec.yaml", "transformers 5.", "transformers 4.");
    repository.keep("gone", &GPT2);
    repository.edit("memplan/gone.yaml", "model: gpt2", "model: models/gone");
    repository.keep("later", &GPT2);
    repository.edit("memplan/later.yaml", "snapshot: 1", "snapshot: 2");
    repository.keep("refused", &GPT2);
    repository.edit("memplan/refused.yaml", "  seq: 256", "  seq: 5000");
    repository.keep("typing", &GPT2);
    repository.edit("memplan/typing.yaml", "  batch: 2\n", "  batch: many\n");
    repository.0.write("memplan/notes.yaml", "not: a snapshot\n");
    let text = repository.report(&["check"]).replace(env!("CARGO_PKG_VERSION"), "VERSION");
    assert_snapshot("check_told_apart", &text);
    assert_eq!(repository.call(&["check", "memplan/program.yaml", "memplan/spec.yaml"]).1, 0);
}

#[test]
fn other_forms_validate() {
    let repository = Repository::new();
    repository.keep("a,b%", &GPT2);
    repository.keep("fine", &GPT2);
    repository.keep("gone", &GPT2);
    repository.edit("memplan/a,b%.yaml", "  batch: 2\n", "  batch: 4\n");
    repository.edit("memplan/gone.yaml", "model: gpt2", "model: \"<models> & 'gone'\"");
    let xml = String::from_utf8(repository.output(&["check", "--format", "junit"]).stdout).unwrap();
    let document = roxmltree::Document::parse(&xml).unwrap();
    let suite = document.descendants().find(|node| node.has_tag_name("testsuite")).unwrap();
    let totals = ["tests", "failures", "errors"].map(|name| suite.attribute(name).unwrap());
    assert_eq!(totals, ["3", "1", "1"]);
    let messages = document.descendants().filter(|node| node.has_tag_name("failure") || node.has_tag_name("error"));
    let messages: Vec<&str> = messages.map(|node| node.attribute("message").unwrap()).collect();
    assert!(messages[0].starts_with("grew: ") && messages[0].contains("saved activations"), "{messages:?}");
    assert!(messages[1].contains("<models> & 'gone'"), "{messages:?}");
    assert_snapshot("check_github", &repository.report(&["check", "--format", "github"]));
    let json = repository.json(&["check", "--format", "json"]);
    let states: Vec<&str> =
        json["snapshots"].as_array().unwrap().iter().map(|file| file["status"].as_str().unwrap()).collect();
    assert_eq!(states, ["grew", "same", "missing model"]);
}

#[test]
fn two_models_two_runs_and_two_snapshots_are_compared() {
    let repository = Repository::new();
    assert_snapshot("diff_models", &repository.report(&["diff", "distilgpt2", "gpt2", "--batch", "4", "--seq", "512"]));
    repository.0.write("a.yaml", "model: gpt2\nbatch: 8\nseq: 512\n");
    repository.0.write("b.yaml", "model: gpt2\nbatch: 8\nseq: 512\ncheckpoint: full\n");
    assert_snapshot("diff_runs", &repository.report(&["diff", "a.yaml", "b.yaml"]));
    repository.keep("a", &["--run", "a.yaml"]);
    repository.keep("b", &["--run", "b.yaml"]);
    let kept = repository.json(&["diff", "memplan/a.yaml", "memplan/b.yaml", "--format", "json"]);
    let planned = repository.json(&["diff", "a.yaml", "b.yaml", "--format", "json"]);
    assert_eq!((&kept["peaks"], &kept["run"]), (&planned["peaks"], &planned["run"]));
    let same = repository.call(&["diff", "memplan/a.yaml", "a.yaml"]);
    assert!(same.1 == 0 && same.0.contains("\nthe same: "), "{}", same.0);
}

#[test]
fn lines_for_people_have_80_columns() {
    let repository = Repository::new();
    repository.keep("gpt2", &GPT2);
    repository.edit("memplan/gpt2.yaml", "  batch: 2\n", "  batch: 4\n");
    let check = repository.call(&["check"]).0;
    let diff = repository.call(&["diff", "distilgpt2", "gpt2", "--batch", "4"]).0;
    let plan = repository.call(&["plan", "gpt2", "--full", "--batch", "4"]).0;
    let (_, timeline) = plan.split_once("\nallocated over the events of the run\n").unwrap();
    let timeline: Vec<&str> = timeline.lines().take_while(|line| !line.is_empty()).collect();
    assert_eq!(timeline.len(), 4, "{timeline:#?}");
    for line in check.lines().chain(diff.lines()).chain(timeline) {
        assert!(line.chars().count() <= 80 && !line.contains('\u{1b}'), "{line}");
    }
}

#[test]
fn mistakes() {
    let folder = Folder::new();
    folder.write("kept.yaml", "snapshot: 1\n");
    folder.write("holders.yaml", "snapshot: 1\nholders: {a: 3}\n");
    let none = folder.argument("none");
    let errors = [
        folder.error("no folder", &["check", &none]),
        folder.error("no snapshots", &["check", &folder.argument("kept.yaml"), &none]),
        folder.error("no tolerance", &["check", "--tolerance", "much"]),
        folder.error("a negative tolerance", &["check", "--tolerance", "-1%"]),
        folder.error("no model", &["snapshot"]),
        folder.error("one side", &["diff", "gpt2"]),
        folder.error("no such side", &["diff", "gpt2", "gpt-two"]),
        folder.error("half a snapshot", &["diff", &folder.argument("kept.yaml"), "gpt2"]),
        folder.error("a snapshot with flags", &["diff", &folder.argument("kept.yaml"), "gpt2", "--batch", "2"]),
        folder.error("holders that are none", &["diff", "gpt2", &folder.argument("holders.yaml")]),
    ];
    assert_snapshot("errors_snapshots", &errors.concat());
}
