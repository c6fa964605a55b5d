//! `memplan advise`: text, JSON, and that every advice, put behind the run's flags, does what it says.

use crate::support::{Folder, assert_snapshot, call, json_of, report};

#[test]
fn what_to_change() {
    let calls: [(&str, &[&str]); 4] = [
        ("advise_gpt2", &["gpt2", "--batch", "8", "--seq", "1024", "--gpu", "rtx3060"]),
        ("advise_llama", &["llama-3.2-1b", "--seq", "2048", "--gpu", "rtx4060"]),
        (
            "advise_bert",
            &["bert-base", "--mode", "eval-with-grad", "--batch", "32", "--seq", "512", "--capacity", "3GiB"],
        ),
        ("advise_resnet", &["resnet50", "--batch", "64", "--capacity", "4GiB", "--gpu", "t4"]),
    ];
    for (name, run) in calls {
        assert_snapshot(name, &report(&[&["advise"], run].concat()));
    }
    assert_snapshot("advise_fits", &report(&["advise", "t5-small", "--mode", "generate", "--gpu", "t4"]));
}

/// Flags of every advice, behind those of the run: the plan of the real command line has the peaks, and fits, as was said.
fn applied(run: &[&str]) {
    let json = ["--format", "json"];
    let advice = json_of(&[&["advise"], run, &json].concat());
    let rows = advice["changes"].as_array().unwrap().iter();
    let rows: Vec<_> = rows.chain([&advice["combination"]].into_iter().filter(|row| !row.is_null())).collect();
    assert!(rows.len() > 4, "{run:?}");
    for row in rows {
        let flags: Vec<&str> = row["flags"].as_str().unwrap().split_whitespace().collect();
        // --fsdp takes the place of --ddp, which does not go with it
        let given: Vec<&str> = match flags.contains(&"--fsdp") {
            true => run.iter().filter(|word| !word.starts_with("--ddp")).copied().collect(),
            false => run.to_vec(),
        };
        let plan = json_of(&[&["plan"], &given[..], &flags, &json].concat());
        for key in ["fits", "peak_allocated", "peak_reserved"] {
            assert_eq!(plan[key], row[key], "{flags:?}: {key}");
        }
        let saved = |key: &str| advice[key].as_i64().unwrap() - plan[key].as_i64().unwrap();
        let said = [row["saves"].as_i64().unwrap(), row["saves_allocated"].as_i64().unwrap()];
        assert_eq!(said, [saved("peak_reserved"), saved("peak_allocated")], "{flags:?}");
        assert_eq!(plan["host"], row["host"], "{flags:?}");
    }
    let combination = &advice["combination"];
    assert!(combination.is_null() || combination["fits"] == true);
}

#[test]
fn every_advice_does_what_it_says() {
    applied(&["gpt2", "--batch", "6", "--seq", "512", "--capacity", "3GiB", "--optimizer", "adamw,foreach=true"]);
    applied(&["distilgpt2", "--batch", "4", "--ddp=2", "--capacity", "1GiB", "--zero-grad", "before-backward"]);
    applied(&[
        "llama-3.2-1b",
        "--batch",
        "2",
        "--seq",
        "300",
        "--precision",
        "fp32",
        "--attention",
        "eager",
        "--gpu",
        "t4",
    ]);
    applied(&["bert-base", "--batch", "12", "--fsdp", "2,reshard=false", "--capacity", "1500MiB", "--clip", "1"]);
    applied(&["vit-base-patch16-224", "--mode", "infer", "--batch", "20", "--capacity", "400MiB"]);
    applied(&["resnet18", "--batch", "18", "--capacity", "500MiB", "--optimizer", "sgd"]);
}

#[test]
fn exit_codes_and_mistakes() {
    let code = |arguments: &[&str]| call(&[&["advise", "distilgpt2"], arguments].concat()).status.code();
    assert_eq!(code(&["--gpu", "t4"]), Some(0));
    assert_eq!(code(&["--capacity", "1GiB", "--batch", "4", "--seq", "512"]), Some(0), "a combination fits");
    assert_eq!(code(&["--capacity", "8MiB"]), Some(1));
    let folder = Folder::new();
    let errors = [
        folder.error("no model", &["advise"]),
        folder.error("beyond the positions", &["advise", "gpt2", "--seq", "1025"]),
        folder.error("an unknown GPU", &["advise", "gpt2", "--gpu", "rtx5099"]),
        folder.error("an unknown model as a flag", &["advise", "gpt2", "--model", "gpt2-huge"]),
    ];
    assert_snapshot("errors_advise", &errors.concat());
}
