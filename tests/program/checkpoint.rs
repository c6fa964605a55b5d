//! `memplan checkpoint`: choices, what applies them, and what is refused.

use crate::support::{Folder, assert_snapshot, json_of, report};

const RUN: [&str; 8] = ["checkpoint", "bert-base", "--batch", "64", "--budget", "8GiB", "--granularity", "block"];

#[test]
fn a_choice_and_its_limits() {
    assert_snapshot("checkpoint_bert", &report(&RUN));
    let none = ["checkpoint", "bert-base", "--batch", "64", "--budget", "2GiB"];
    assert_snapshot("checkpoint_none", &report(&none));
}

#[test]
fn the_trade_off() {
    // Of a model with six blocks: with twelve alike ones the search looks at thousands of sets.
    let run = ["checkpoint", "distilbert-base", "--batch", "64", "--granularity", "block", "--curve"];
    assert_snapshot("checkpoint_curve", &report(&run));
    let points = json_of(&[&run[..], &["--format", "json"]].concat());
    let costs: Vec<u64> =
        points["rows"].as_array().unwrap().iter().map(|p| p["recompute_flops"].as_u64().unwrap()).collect();
    assert!(costs.len() > 3, "{costs:?}");
    assert!(costs.windows(2).all(|pair| pair[0] > pair[1]), "{costs:?}");
}

#[test]
fn code_that_applies_it() {
    for form in ["torch", "transformers"] {
        assert_snapshot(&format!("checkpoint_{form}"), &report(&[&RUN[..], &["--emit", form]].concat()));
    }
}

const OPERATORS: [&str; 8] = ["checkpoint", "distilgpt2", "--batch", "16", "--seq", "256", "--granularity", "op"];

#[test]
fn operators_that_blocks_save() {
    let within = |budget| [&OPERATORS[..], &["--budget", budget]].concat();
    assert_snapshot("checkpoint_operators", &report(&within("4GiB")));
    assert_snapshot("checkpoint_operators_torch", &report(&[&within("4GiB")[..], &["--emit", "torch"]].concat()));
    let folder = Folder::new();
    let choice = json_of(&[&within("4GiB")[..], &["--format", "json"]].concat());
    let file = report(&[&within("4GiB")[..], &["--emit", "file"]].concat());
    let (_, listed) = file.split_once('\n').unwrap();
    folder.write("chosen.txt", listed.strip_suffix("exit code 0\n").unwrap());
    let path = format!("@{}", folder.join("chosen.txt").display());
    let run = ["plan", "distilgpt2", "--batch", "16", "--seq", "256", "--checkpoint", &path, "--format", "json"];
    assert_eq!(json_of(&run)["peak_reserved"], choice["peak_reserved"]);
    assert!(choice["details"].as_array().unwrap().iter().any(|region| region["save"][0].is_string()), "{choice}");
}

/// Where nothing fits there is no code: the verdict is a remark.
#[test]
fn no_code_without_a_choice() {
    let run = ["checkpoint", "bert-base", "--batch", "64", "--budget", "2GiB", "--emit", "torch"];
    assert_snapshot("checkpoint_no_code", &report(&run));
}

/// What is chosen, written to a file and planned, has the peaks that the choice said.
#[test]
fn a_file_is_read_back() {
    let folder = Folder::new();
    let choice = json_of(&[&RUN[..], &["--format", "json"]].concat());
    let file = report(&[&RUN[..], &["--emit", "file"]].concat());
    let (_, listed) = file.split_once('\n').unwrap();
    folder.write("chosen.txt", listed.strip_suffix("exit code 0\n").unwrap());
    let path = format!("@{}", folder.join("chosen.txt").display());
    let plan = json_of(&["plan", "bert-base", "--batch", "64", "--checkpoint", &path, "--format", "json"]);
    assert_eq!(plan["peak_reserved"], choice["peak_reserved"]);
    assert_eq!(plan["peak_allocated"], choice["peak_allocated"]);
    assert!(choice["optimal"].as_bool().unwrap());
    assert_eq!(choice["lower_bound_flops"], choice["recompute_flops"]);
}

#[test]
fn what_cannot_be_chosen() {
    let folder = Folder::new();
    let errors = [
        folder.error("inference", &["checkpoint", "gpt2", "--mode", "infer"]),
        folder.error("checkpoints already", &["checkpoint", "gpt2", "--checkpoint", "full"]),
        folder.error("no such module", &["checkpoint", "gpt2", "--only", "nothing"]),
        folder.error("no share", &["checkpoint", "gpt2", "--headroom", "half"]),
        folder.error("two budgets", &["checkpoint", "gpt2", "--budget", "2GiB", "--headroom", "5%"]),
    ];
    assert_snapshot("errors_checkpoint", &errors.concat());
}

/// Where layers are handed a cache, a second run of attention appends to it: the masks no longer go with the keys.
#[test]
fn what_cannot_run_again_is_left_out() {
    let run = ["checkpoint", "distilgpt2", "--attention", "eager", "--batch", "8", "--seq", "256", "--budget", "3GiB"];
    assert_snapshot("checkpoint_eager", &report(&run));
    let off = json_of(&[&run[..], &["--use-cache", "off", "--format", "json"]].concat());
    assert_eq!(off["refused"], serde_json::json!([]));
}
