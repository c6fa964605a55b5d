//! Optimizers, clipping and the loss scaler against PyTorch and bitsandbytes: small models, every optimizer, their options.

use crate::support::plans::planned;
use crate::support::records;
use planner::bytes::Bytes;
use planner::read::optimizers::{choose, names};
use planner::run::OptimizerChoice;

#[test]
fn every_optimizer_is_among_the_records() {
    let cases = records("optimizers.jsonl");
    let choice = |value| OptimizerChoice::from_json(value).expect("an optimizer");
    let chosen: Vec<String> =
        cases.iter().map(|r| choose(&choice(&r.case["optimizer"]), None).expect("known").name).collect();
    let missing: Vec<String> = names(None).expect("sound specs").into_iter().filter(|n| !chosen.contains(n)).collect();
    assert_eq!(missing, UNRECORDED, "record them, or say here why not");
}

/// AdamW with `fused=true` under transformers' name; SGD of 8 and 32 bits under the name that sets its momentum.
const UNRECORDED: [&str; 3] = ["adamw_torch_fused", "momentum8bit", "momentum32bit"];

#[test]
fn paged_states_are_counted_on_the_host() {
    let host = |id: &str| {
        let cases = records("optimizers.jsonl");
        planned(cases.iter().find(|record| record.id == id).expect("a record")).trace.host_bytes()
    };
    // one table of 2003 by 64: two states of a byte an element, and one of four
    assert_eq!(host("opt-pagedadamw8bit-host"), Bytes(2 * 2003 * 64));
    assert_eq!(host("opt-pagedlion32bit-host-clip"), Bytes(4 * 2003 * 64));
    assert_eq!(host("opt-adamw-amsgrad"), Bytes(0));
}

fn refusal(text: &str) -> String {
    match text.parse::<OptimizerChoice>() {
        Err(error) => error.to_string(),
        Ok(choice) => choose(&choice, None).expect_err("refused").to_string(),
    }
}

#[test]
fn what_no_optimizer_has_is_refused_in_one_line() {
    let known = "lr, momentum, dampening, weight_decay, nesterov, maximize, foreach, fused";
    assert_eq!(refusal("sgd,amsgrad=true"), format!("sgd has no option `amsgrad`: it has {known}"));
    assert_eq!(refusal("adamw,fused=7"), "adamw: fused=7: it must be true, false or none");
    assert_eq!(refusal("adamw,amsgrad=none"), "adamw: amsgrad=none: it must be true or false");
    assert_eq!(refusal("sgd,momentum=much"), "sgd: momentum=much: it must be a number");
    assert_eq!(refusal("adamw,fused"), "`fused` is no optimizer's option: write NAME,key=value,...");
    assert_eq!(refusal(""), "`` is no optimizer's option: write NAME,key=value,...");
    let unknown = refusal("sophia");
    assert!(
        unknown.starts_with("\"sophia\" is no optimizer: the nearest are ") && !unknown.contains('\n'),
        "{unknown}"
    );
    for name in names(None).expect("sound specs") {
        let misspelled = format!("{name}x");
        assert!(refusal(&misspelled).contains(&format!("`{name}`")), "{name} is not offered for {misspelled}");
    }
}

#[test]
fn names_are_read_as_bitsandbytes_and_people_write_them() {
    let name = |text: &str| choose(&text.parse().expect("an optimizer"), None).expect("known").name;
    assert_eq!(name("AdamW"), "adamw");
    assert_eq!(name("PagedAdamW8bit"), "paged_adamw8bit");
    assert_eq!(name("paged-adamw"), "paged_adamw32bit");
    assert_eq!(name("lion32bit"), "lion");
}

#[test]
fn a_folder_of_ones_own_comes_first() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("optimizers")).expect("a folder");
    let write = |text: &str| std::fs::write(folder.path().join("optimizers/mine.yaml"), text).expect("a file");
    let chosen = |text: &str| choose(&text.parse().expect("an optimizer"), Some(folder.path()));
    let head = "name: mine\nsource: me\noptimizers:\n  sgd: {step: go, options: {speed: 1}}\n";
    write(&format!(
        "{head}functions:\n  go(group, params): |\n    for p in params:\n      state(p).twice = zeros_like(p)\n"
    ));
    assert_eq!(chosen("sgd,speed=2").expect("mine").source, "me");
    assert!(chosen("adamw").expect("the shipped one").source.starts_with("torch"));
    write(&format!("{head}functions:\n  stop(group, params): |\n    return\n"));
    let error = chosen("sgd").expect_err("refused").to_string();
    assert!(error.ends_with("mine.yaml: sgd: there is no function `go`"), "{error}");
    write(&format!("{head}functions:\n  go(group, params): |\n    for p in\n"));
    let error = chosen("sgd").expect_err("refused").to_string();
    assert!(error.contains("mine.yaml:7:"), "{error}");
}

#[test]
fn every_shipped_optimizer_can_be_chosen() {
    for name in names(None).expect("sound specs") {
        let optimizer = choose(&name.parse().expect("a name"), None).expect("sound specs");
        assert_eq!(optimizer.name, name);
        assert!(!optimizer.source.is_empty());
    }
}
