//! Configurations that are wrong, absurd or untidy.

use serde_json::{Map, Value, json};

use crate::support::{Folder, assert_snapshot, json_of, memplan, recorded};

/// A folder of a recorded model with some entries of its config changed.
fn changed(folder: &Folder, model: &str, changes: &Value) -> String {
    let (mut config, header) = recorded(model);
    config.extend(changes.as_object().unwrap().clone());
    folder.model("model", &config, &header)
}

#[test]
fn absurd_configurations() {
    let folder = Folder::new();
    let plan = |model: &str, changes: Value| {
        let path = changed(&folder, model, &changes);
        folder.error(&format!("{model} {changes}"), &["plan", &path, "--mode", "infer"])
    };
    let errors = [
        plan("gpt2", json!({"n_embd": 0})),
        plan("gpt2", json!({"n_embd": -1})),
        plan("gpt2", json!({"n_embd": "768"})),
        plan("gpt2", json!({"n_embd": null})),
        plan("gpt2", json!({"n_embd": 1e300})),
        plan("gpt2", json!({"n_embd": 9_223_372_036_854_775_807_u64})),
        plan("gpt2", json!({"n_embd": 769})),
        plan("gpt2", json!({"n_layer": 1_000_000_000})),
        plan("gpt2", json!({"n_layer": 1_000_000})),
        plan("gpt2", json!({"n_head": 0})),
        plan("gpt2", json!({"n_head": 7})),
        plan("gpt2", json!({"n_inner": "wide"})),
        plan("gpt2", json!({"activation_function": "nope"})),
        plan("gpt2", json!({"resid_pdrop": "often"})),
        plan("llama-3.2-1b", json!({"num_key_value_heads": 3})),
        plan("llama-3.2-1b", json!({"num_key_value_heads": 0})),
        plan("llama-3.2-1b", json!({"head_dim": 0})),
        plan("llama-3.2-1b", json!({"vocab_size": 1_000_000_000_000_000_u64})),
        plan("mistral-7b", json!({"sliding_window": "x"})),
        plan("bert-base-classify", json!({"num_attention_heads": 5})),
        plan("bert-base-classify", json!({"hidden_size": [1]})),
    ];
    assert_snapshot("errors_absurd_configs", &errors.concat());
}

#[test]
fn configurations_that_cannot_be_used() {
    let folder = Folder::new();
    let plan = |what: &str, changes: Value| {
        let path = changed(&folder, "gpt2", &changes);
        folder.error(what, &["plan", &path])
    };
    let errors = [
        plan("an unknown architecture", json!({"architectures": ["FooForImageClassification"]})),
        plan("no architecture", json!({"architectures": []})),
        plan("architectures of another kind", json!({"architectures": 3})),
        plan("architectures null", json!({"architectures": null})),
        plan("a type that is none", json!({"dtype": "int8"})),
        plan("a number for a type", json!({"dtype": 5})),
        {
            let path = changed(&folder, "gpt2", &json!({}));
            folder.error("an unknown --architecture", &["plan", &path, "--architecture", "Foo"])
        },
        {
            folder.write("model/config.json", "{\"n_embd\": 768,\n oops}");
            folder.error("no JSON", &["plan", &folder.argument("model")])
        },
        {
            folder.write("model/config.json", "[1, 2]");
            folder.error("a list", &["plan", &folder.argument("model")])
        },
        {
            folder.write("bare/README.md", "no model");
            folder.error("no config", &["plan", &folder.argument("bare")])
        },
    ];
    assert_snapshot("errors_configs", &errors.concat());
}

#[test]
fn either_spelling_of_the_type_decides_the_precision() {
    let folder = Folder::new();
    let precision = |changes: Value| {
        let (config, header) = recorded("gpt2");
        let mut config: Map<String, Value> = config.into_iter().filter(|(key, _)| key != "dtype").collect();
        config.extend(changes.as_object().unwrap().clone());
        let path = folder.model("model", &config, &header);
        json_of(&["plan", &path, "--mode", "infer", "--format", "json"])["run"]["precision"].clone()
    };
    assert_eq!(precision(json!({"dtype": "bfloat16"})), "bf16");
    assert_eq!(precision(json!({"torch_dtype": "float16"})), "fp16");
    assert_eq!(precision(json!({"torch_dtype": "torch.bfloat16"})), "bf16");
    assert_eq!(precision(json!({})), "fp32");
}

/// The config's class of an imported family takes a token's number that is 0, and lists of such; what is no number is refused.
#[test]
fn imported_families_take_the_tokens_that_their_class_takes() {
    let folder = Folder::new();
    let plan = |entries: &str| {
        let config = format!(
            r#"{{"architectures": ["GPTNeoXForCausalLM"], "num_hidden_layers": 1, "hidden_size": 64, "num_attention_heads": 4, {entries}}}"#
        );
        folder.write("config.json", config);
        memplan(&["plan", &folder.argument(""), "--mode", "infer"]).output().unwrap()
    };
    assert_eq!(plan(r#""bos_token_id": 0, "eos_token_id": [0, 2]"#).status.code(), Some(0));
    let refused = plan(r#""intermediate_size": "256""#);
    assert_eq!(refused.status.code(), Some(2));
    let line = String::from_utf8(refused.stderr).unwrap();
    assert!(line.contains(r#"key "intermediate_size""#), "{line}");
}
