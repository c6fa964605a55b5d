//! Weights that are broken, that belong to another model, or that are untidy as real ones are.

use serde_json::{Map, Value, json};

use crate::support::{Folder, assert_snapshot, call, json_of, recorded};

/// An F32 tensor of two elements at an offset.
fn pair(start: u64, end: u64) -> Value {
    json!({"dtype": "F32", "shape": [2], "data_offsets": [start, end]})
}

#[test]
fn broken_files() {
    let folder = Folder::new();
    let (config, _) = recorded("gpt2");
    folder.write("model/config.json", Value::Object(config).to_string());
    let model = folder.argument("model");
    let plan = |what: &str| folder.error(what, &["plan", "--full", &model]);
    let bytes = |what: &str, content: &[u8]| {
        folder.write("model/model.safetensors", content);
        plan(what)
    };
    let header = |what: &str, header: &str, data: u64| {
        folder.safetensors("model/model.safetensors", header, data);
        plan(what)
    };
    let entries = |what: &str, header_of: Value, data: u64| header(what, &header_of.to_string(), data);
    let errors = [
        bytes("an empty file", b""),
        bytes("a header beyond the file", &[&200_u64.to_le_bytes()[..], b"{}"].concat()),
        bytes("a header above 100 MB", &[&100_000_001_u64.to_le_bytes()[..], b"{}"].concat()),
        bytes("the longest header", &[&u64::MAX.to_le_bytes()[..], b"{}"].concat()),
        header("no JSON", "{\"a\": ", 0),
        header("no object", "[1]", 0),
        entries("a truncated file", json!({"a": pair(0, 8)}), 4),
        entries("bytes after the end", json!({"a": pair(0, 8)}), 9),
        entries("an overlap", json!({"a": pair(0, 8), "b": pair(4, 12)}), 12),
        entries("a gap", json!({"a": pair(0, 8), "b": pair(16, 24)}), 24),
        entries("reversed offsets", json!({"a": pair(8, 0)}), 8),
        entries("a size that is not the shape's", json!({"a": pair(0, 12)}), 12),
        entries("an unknown type", json!({"a": {"dtype": "F33", "shape": [2], "data_offsets": [0, 8]}}), 8),
        entries(
            "a shape beyond 64 bits",
            json!({"a": {"dtype": "F32", "shape": [u64::MAX, 2], "data_offsets": [0, 8]}}),
            8,
        ),
        entries("a negative dimension", json!({"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}}), 8),
        entries("a name with a line break", json!({"a\n\u{1b}[31mb": pair(0, 9)}), 9),
        entries("tensors of another model", json!({"a": pair(0, 8)}), 8),
    ];
    assert_snapshot("errors_weights", &errors.concat());
}

#[test]
fn broken_indices() {
    let folder = Folder::new();
    let (config, _) = recorded("gpt2");
    folder.write("model/config.json", Value::Object(config).to_string());
    folder.safetensors("outside.safetensors", &json!({"a": pair(0, 8)}).to_string(), 8);
    folder.safetensors("model/here.safetensors", &json!({"b": pair(0, 8)}).to_string(), 8);
    let index = |what: &str, text: &str| {
        folder.write("model/model.safetensors.index.json", text);
        folder.error(what, &["plan", "--full", &folder.argument("model")])
    };
    let map = |what: &str, map: Value| index(what, &json!({"weight_map": map}).to_string());
    let errors = [
        index("no JSON", "{\"weight_map\": "),
        index("no map", "{}"),
        map("an empty map", json!({})),
        map("a shard that lacks", json!({"a": "model-00001-of-00002.safetensors", "b": "here.safetensors"})),
        map("a shard outside of the folder", json!({"a": "../outside.safetensors"})),
        map("an absolute shard", json!({"a": "/etc/passwd"})),
        map("a tensor that its shard lacks", json!({"a": "here.safetensors"})),
        map("a shard that is no text", json!({"a": 3})),
    ];
    assert_snapshot("errors_indices", &errors.concat());
}

#[test]
fn weights_of_another_shape_are_named() {
    let folder = Folder::new();
    let (config, _) = recorded("gpt2");
    let (_, header) = recorded("gpt2-large");
    let model = folder.model("model", &config, &header);
    let mut wrong = recorded("gpt2");
    wrong.0.insert("vocab_size".to_owned(), json!(50_000));
    let errors = [
        folder.error("gpt2's config, gpt2-large's weights", &["plan", "--full", &model]),
        folder.error("another vocabulary", &["plan", "--full", &folder.model("other", &wrong.0, &wrong.1)]),
        folder.error("a file", &["plan", "--full", &folder.argument("model/model.safetensors")]),
        folder.error("inspect: nothing there", &["inspect", &folder.argument("none")]),
        folder.error("inspect: a folder without weights", &["inspect", &folder.argument("")]),
    ];
    assert_snapshot("errors_shapes", &errors.concat());
}

#[test]
fn missing_and_unexpected_tensors_are_warnings() {
    let folder = Folder::new();
    let (config, mut header) = recorded("gpt2");
    for layer in 0..4 {
        header.remove(&format!("transformer.h.{layer}.mlp.c_fc.bias")).unwrap();
    }
    header.insert("extra.weight".to_owned(), pair(0, 8));
    let model = folder.model("model", &config, &header);
    let text = folder.report(&["plan", "--full", &model, "--mode", "infer"]);
    assert_snapshot("warnings", &text[text.find("warning").unwrap()..]);
    let json = json_of(&["plan", &model, "--mode", "infer", "--format", "json"]);
    assert_eq!(json["missing"].as_array().unwrap().len(), 4);
    assert_eq!(json["unexpected"], json!(["extra.weight"]));
}

#[test]
fn untidy_checkpoints_load_as_transformers_loads_them() {
    let folder = Folder::new();
    let (config, header) = recorded("gpt2");
    let plan = |header: &Map<String, Value>| {
        let model = folder.model("model", &config, header);
        let json = json_of(&["plan", &model, "--format", "json"]);
        assert_eq!((&json["missing"], &json["unexpected"]), (&json!([]), &json!([])));
        (json["peak_allocated"].clone(), json["peak_reserved"].clone())
    };
    let tidy = plan(&header);

    let bare = |name: &String| name.trim_start_matches("transformer.").to_owned();
    let without_prefix = header.iter().map(|(name, entry)| (bare(name), entry.clone())).collect();
    assert_eq!(plan(&without_prefix), tidy, "without the base model's prefix");

    let mut with_masks = header.clone();
    for layer in 0..12 {
        let mask = json!({"dtype": "U8", "shape": [1, 1, 1024, 1024], "data_offsets": [0, 1 << 20]});
        with_masks.insert(format!("transformer.h.{layer}.attn.bias"), mask);
        with_masks.insert(
            format!("transformer.h.{layer}.attn.masked_bias"),
            json!({"dtype": "F32", "shape": [], "data_offsets": [0, 4]}),
        );
    }
    assert_eq!(plan(&with_masks), tidy, "with stored masks");

    let mut twice = header.clone();
    twice.insert("lm_head.weight".to_owned(), header["transformer.wte.weight"].clone());
    assert_eq!(plan(&twice), tidy, "with the tied head stored twice");
}

/// A config with more layers than the weights have, or fewer.
fn layered(folder: &Folder, layers: u64) -> String {
    let (mut config, header) = recorded("gpt2");
    config.insert("n_layer".to_owned(), layers.into());
    folder.model("model", &config, &header)
}

#[test]
fn weights_of_another_model_are_refused_by_every_command() {
    for (layers, what) in [(100, "of its parameters are missing"), (1, "stored without use")] {
        let folder = Folder::new();
        let model = layered(&folder, layers);
        let kept = folder.argument("kept.yaml");
        let page = folder.argument("page.html");
        for arguments in [
            &["plan", "--full", &model][..],
            &["plan", "--full", &model, "--compare"],
            &["fit", &model],
            &["advise", &model],
            &["buy", &model],
            &["sweep", &model, "--batch", "1"],
            &["checkpoint", &model, "--budget", "20GiB"],
            &["snapshot", &model, "-o", &kept],
            &["report", &model, "-o", &page],
            &["pack", &model],
            &["diff", &model, "gpt2"],
            &[
                "plan",
                "--full",
                "gpt2",
                "--weights",
                &format!("{model}/model.safetensors"),
                "--architecture",
                "GPT2LMHeadModel",
            ],
        ] {
            if arguments.contains(&"--weights") {
                assert_eq!(call(arguments).status.code(), Some(0), "the weights are those of gpt2");
                continue;
            }
            let error = folder.error("", arguments);
            assert!(error.contains("DIR/model/model.safetensors: ") && error.contains(what), "{arguments:?}: {error}");
            assert!(error.contains("--allow-mismatch"), "{error}");
        }
    }
}

#[test]
fn weights_of_another_model_are_planned_where_that_is_asked_for() {
    let folder = Folder::new();
    let model = layered(&folder, 100);
    let text = folder.report(&["plan", "--full", &model, "--allow-mismatch", "--mode", "infer"]);
    let mut lines = text.lines().skip(1);
    assert!(lines.next().unwrap().starts_with("weights of another model: 8"), "{text}");
    assert!(lines.next().unwrap().starts_with("fits: "), "{text}");
    let json = json_of(&["plan", &model, "--allow-mismatch", "--mode", "infer", "--format", "json"]);
    assert!(json["mismatch"].as_str().unwrap().contains("parameters are missing"), "{json}");
    assert!(json["missing"].as_array().unwrap().len() > 1000);
    // a kept plan keeps what was allowed
    let kept = folder.argument("kept.yaml");
    call(&["snapshot", &model, "--allow-mismatch", "-o", &kept]);
    assert_eq!(call(&["check", &kept]).status.code(), Some(0));
}

#[test]
fn a_new_head_is_no_mismatch() {
    let folder = Folder::new();
    let (mut config, header) = recorded("bert-base-classify");
    config.insert("num_labels".to_owned(), 5.into());
    let bare: Map<String, Value> = header.into_iter().filter(|(name, _)| !name.contains("classifier")).collect();
    let plan = json_of(&["plan", &folder.model("model", &config, &bare), "--mode", "infer", "--format", "json"]);
    assert_eq!((plan["missing"].as_array().unwrap().len(), plan.get("mismatch")), (2, None));
}
