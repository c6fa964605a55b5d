//! `memplan buy`: text, JSON, budgets, serving, and that offers are plans.

use crate::support::{Folder, assert_snapshot, call, json_of, report};

#[test]
fn how_many_of_which() {
    let calls: [(&str, &[&str]); 4] = [
        ("buy_gpt2", &["gpt2-large", "--batch", "8", "--seq", "1024", "--gpu", "t4,l4,rtx3060,rtx4090,a100-40gb,l20"]),
        (
            "buy_llama",
            &["llama-3.1-8b", "--seq", "4096", "--max-gpus", "16", "--gpu", "l4,a100-40gb,h100", "--budget", "50/h"],
        ),
        (
            "buy_bert",
            &["bert-base", "--batch", "64", "--seq", "512", "--gpu", "rtx3060,rtx4090,t4", "--budget", "2000"],
        ),
        ("buy_resnet", &["resnet50", "--batch", "512", "--gpu", "rtx3060,h100", "--max-gpus", "1"]),
    ];
    for (name, run) in calls {
        assert_snapshot(name, &report(&[&["buy"], run].concat()));
    }
}

#[test]
fn serving() {
    let serve = ["buy", "llama-3.1-8b", "--serve", "--quantize", "nf4", "--requests", "4", "--context", "2048"];
    assert_snapshot("buy_serve", &report(&[&serve[..], &["--gpu", "l4,rtx3060,rtx4090"]].concat()));
}

/// The flags of an offer, behind those of the run, plan what was offered.
#[test]
fn offers_are_plans() {
    let run = ["gpt2", "--batch", "12", "--seq", "512"];
    let bought = json_of(&[&["buy"], &run[..], &["--gpu", "t4,rtx3050,rtx4090", "--format", "json"]].concat());
    let rows = bought["rows"].as_array().unwrap();
    assert!(rows.iter().any(|row| row["strategy"] == "zero-2" && row["exact"] == false && row["flags"].is_null()));
    for row in rows.iter().filter(|row| row["exact"] == true) {
        let flags = row["flags"].as_str().unwrap().split_whitespace();
        let gpu = ["--gpu", row["gpu"].as_str().unwrap(), "--format", "json"];
        let plan = json_of(&[&["plan"], &run[..], &flags.collect::<Vec<_>>(), &gpu].concat());
        for key in ["peak_allocated", "peak_reserved", "capacity", "host"] {
            assert_eq!(plan[key], row[key], "{row}");
        }
        assert_eq!(plan["fits"], true, "{row}");
    }
    let hourly = |row: &serde_json::Value| row["hourly"]["usd"].as_f64();
    assert!(rows.iter().filter_map(hourly).collect::<Vec<_>>().is_sorted());
    assert!(rows.iter().map(|row| hourly(row).is_none()).collect::<Vec<_>>().is_sorted(), "without a price last");
}

#[test]
fn what_cannot_be_bought() {
    assert_eq!(call(&["buy", "llama-3.1-405b", "--gpu", "t4", "--max-gpus", "2"]).status.code(), Some(1));
    let folder = Folder::new();
    let errors = [
        folder.error("no budget", &["buy", "gpt2", "--budget", "400/d"]),
        folder.error("no GPUs", &["buy", "gpt2", "--max-gpus", "0"]),
        folder.error("requests without serving", &["buy", "gpt2", "--requests", "4"]),
        folder.error("no room for a prompt", &["buy", "gpt2", "--serve", "--context", "8"]),
        folder.error("two modes", &["buy", "gpt2", "--serve", "--mode", "train"]),
        folder.error("no generation", &["buy", "bert-base", "--serve"]),
        folder.error("beyond the positions", &["buy", "gpt2", "--seq", "1025"]),
    ];
    assert_snapshot("errors_buy", &errors.concat());
}

#[test]
fn what_lacks_is_said() {
    let serve = ["buy", "llama-3.1-70b", "--serve", "--requests", "50", "--context", "4096", "--gpu", "h100,h200"];
    assert_snapshot("buy_lacking", &report(&serve));
    assert_snapshot("buy_beyond", &report(&["buy", "gpt2", "--gpu", "t4,l4", "--budget", "1"]));
    let small = json_of(&["buy", "gpt2", "--serve", "--gpu", "t4", "--format", "json"]);
    assert_eq!(small["rows"][0]["gpu"], "t4");
}
