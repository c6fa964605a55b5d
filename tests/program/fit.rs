//! `memplan fit`: tables, JSON, exit codes, and what is refused.

use crate::support::{Folder, assert_snapshot, json_of, report};

#[test]
fn what_fits_where() {
    let calls = [
        report(&["fit", "gpt2", "--batch", "8", "--seq", "1024", "--gpu", "rtx3060,t4,rtx4090,h200"]),
        report(&["fit", "llama-3.2-1b", "--mode", "generate", "--new-tokens", "4", "--steps", "1", "--gpu", "t4"]),
        report(&["fit", "t5-small", "--batch", "600", "--gpu", "t4"]),
        report(&["fit", "resnet18", "--mode", "infer", "--gpu", "t4"]),
        report(&["fit", "bert-base", "--capacity", "300MiB"]),
    ];
    assert_snapshot("fit", &calls.join("\n"));
}

/// The figures are those of plans: of the run as given, and of the largest sizes and the next.
#[test]
fn figures_are_those_of_plans() {
    let given = ["distilgpt2", "--gpu", "t4", "--format", "json"];
    let fit = json_of(&[&["fit"], &given[..]].concat());
    let row = &fit["rows"][0];
    let plan = |flags: &[&str]| json_of(&[&["plan"], &given[..], flags].concat());
    for key in ["capacity", "fits", "headroom", "peak_allocated", "peak_reserved"] {
        assert_eq!(row[key], plan(&[])[key], "{key}");
    }
    let batch = &row["limits"][0];
    assert_eq!((&batch["of"], &batch["largest"]), (&"batch".into(), &row["max_batch"]));
    for (size, peak, fits) in [("largest", "peak_reserved", true), ("next", "next_peak_reserved", false)] {
        let plan = plan(&["--batch", &batch[size].to_string()]);
        assert_eq!((&plan["peak_reserved"], &plan["fits"]), (&batch[peak], &fits.into()), "{size}");
    }
    assert_eq!(row["max_seq"], 1024);
    assert_snapshot("fit_json", &report(&[&["fit"], &given[..]].concat()));
}

#[test]
fn all_gpus_by_their_memory() {
    let fit = json_of(&["fit", "minilm-l6", "--mode", "infer", "--steps", "1", "--gpu", "all", "--format", "json"]);
    let rows = fit["rows"].as_array().unwrap();
    assert_eq!(rows.len(), json_of(&["gpus", "--format", "json"])["gpus"].as_array().unwrap().len());
    let capacities: Vec<u64> = rows.iter().map(|row| row["capacity"].as_u64().unwrap()).collect();
    assert!(capacities.is_sorted());
    assert!(rows.iter().all(|row| row["max_batch"].as_u64() > Some(0)));
}

#[test]
fn what_cannot_be_fitted() {
    let folder = Folder::new();
    let errors = [
        folder.error("beyond the positions", &["fit", "gpt2", "--seq", "1025"]),
        folder.error("an unknown GPU", &["fit", "gpt2", "--gpu", "t4,rtx5099"]),
        folder.error("no GPU", &["fit", "gpt2", "--gpu", "t4,"]),
        folder.error("no model", &["fit"]),
        folder.error("batch 0", &["fit", "gpt2", "--batch", "0"]),
        folder.error("training alone", &["fit", "gpt2", "--mode", "infer", "--checkpoint", "full"]),
        folder.error("tokens for images", &["fit", "resnet18", "--seq", "8"]),
    ];
    assert_snapshot("errors_fit", &errors.concat());
}
