//! `inspect`, `gpus` and `models`.

use crate::support::{Folder, assert_snapshot, json_of, recorded, report};

#[test]
fn inspect_lists_parameters_by_type_and_module() {
    let folder = Folder::new();
    let (config, header) = recorded("gpt2");
    let model = folder.model("gpt2", &config, &header);
    assert_snapshot("inspect_gpt2", &folder.report(&["inspect", &model]));
    let file = format!("{model}/model.safetensors");
    assert_eq!(json_of(&["inspect", &file, "--format", "json"])["parameters"], 124_439_808);
}

#[test]
fn inspect_reads_models_of_unknown_architectures() {
    let folder = Folder::new();
    let (config, header) = recorded("t5-small");
    let model = folder.model("t5-small", &config, &header);
    assert_snapshot("inspect_t5", &folder.report(&["inspect", &model]));
}

#[test]
fn gpus_are_listed() {
    let text = report(&["gpus"]);
    let shown = |line: &&str| ["$", "gpu ", "a100", "h", "rtx4090", "t4", "exit"].iter().any(|s| line.starts_with(s));
    let lines: Vec<&str> = text.lines().filter(shown).collect();
    assert_snapshot("gpus", &lines.join("\n"));
    let json = json_of(&["gpus", "--format", "json"]);
    assert_eq!(json["schema"], 1);
    assert!(json["gpus"].as_array().unwrap().len() >= 98);
}

#[test]
fn models_are_listed() {
    let text = report(&["models"]);
    let (models, architectures) = text.split_once("\n\n").unwrap();
    let shown =
        |line: &&str| ["$", "model ", "b", "gpt2", "llama", "resnet", "vit"].iter().any(|s| line.starts_with(s));
    assert_snapshot("models", &models.lines().filter(shown).collect::<Vec<_>>().join("\n"));
    assert_snapshot("models_architectures", architectures);
    let json = json_of(&["models", "--format", "json"]);
    assert!(json["models"].as_array().unwrap().iter().any(|model| model["name"] == "llama-3.1-405b"));
}
