//! `memplan sweep`: tables, CSV, JSON, refused rows, and lists that cannot be.

use crate::support::{Folder, assert_snapshot, json_of, report};

#[test]
fn combinations() {
    let calls = [
        report(&[
            "sweep",
            "distilgpt2",
            "--batch",
            "1..3",
            "--seq",
            "512,1025",
            "--checkpoint",
            "none,full",
            "--gpu",
            "t4",
        ]),
        report(&["sweep", "bert-base", "--batch", "64", "--precision", "fp32,amp-bf16", "--gpu", "t4,h100"]),
        report(&[
            "sweep",
            "resnet18",
            "--batch",
            "8..32..12",
            "--image",
            "64,224",
            "--mode",
            "infer",
            "--format",
            "csv",
        ]),
        report(&["sweep", "distilgpt2", "--batch", "0", "--seq", "8", "--format", "csv"]),
        report(&[
            "sweep",
            "gpt2",
            "--batch",
            "8",
            "--seq",
            "1024",
            "--checkpoint",
            "none,auto",
            "--gpu",
            "rtx3060,rtx4090",
        ]),
    ];
    assert_snapshot("sweep", &calls.join("\n"));
}

/// The same flags give the same bytes.
#[test]
fn rows_are_plans() {
    let swept = json_of(&["sweep", "t5-small", "--batch", "2,70", "--seq", "96", "--gpu", "t4", "--format", "json"]);
    for row in swept["rows"].as_array().unwrap() {
        let batch = row["batch"].to_string();
        let plan = json_of(&["plan", "t5-small", "--batch", &batch, "--seq", "96", "--gpu", "t4", "--format", "json"]);
        for key in ["fits", "peak_allocated", "peak_reserved", "capacity", "headroom"] {
            assert_eq!(plan[key], row[key], "{key}");
        }
        assert_eq!(plan["run"]["precision"], row["precision"]);
    }
    assert_eq!(swept["rows"].as_array().unwrap().len(), 2);
}

/// What is chosen is said, and planned by its own flag is the same.
#[test]
fn chosen_checkpoints_are_said() {
    let run = ["gpt2", "--batch", "8", "--seq", "1024", "--gpu", "rtx3060", "--format", "json"];
    let swept = json_of(&[&["sweep"], &run[..], &["--checkpoint", "auto"]].concat());
    let row = &swept["rows"][0];
    let plan = json_of(&[&["plan"], &run[..], &["--checkpoint", row["chosen"].as_str().unwrap()]].concat());
    assert_eq!((&row["checkpoint"], &row["fits"]), (&"auto".into(), &true.into()));
    for key in ["fits", "peak_allocated", "peak_reserved"] {
        assert_eq!(plan[key], row[key], "{key}");
    }
}

#[test]
fn lists_that_cannot_be() {
    let folder = Folder::new();
    let errors = [
        folder.error("a range downwards", &["sweep", "gpt2", "--batch", "8..1"]),
        folder.error("no number", &["sweep", "gpt2", "--batch", "1,x"]),
        folder.error("no step", &["sweep", "gpt2", "--seq", "1..8..0"]),
        folder.error("three points", &["sweep", "gpt2", "--seq", "1..8..2..3"]),
        folder.error("an unknown precision", &["sweep", "gpt2", "--precision", "fp32,int3"]),
        folder.error("too many", &["sweep", "gpt2", "--batch", "1..2000", "--seq", "1..1000"]),
        folder.error("tokens for images", &["sweep", "resnet18", "--seq", "8,16"]),
        folder.error("an unknown form", &["sweep", "gpt2", "--format", "text"]),
    ];
    assert_snapshot("errors_sweep", &errors.concat());
}
