//! Estimates of models that nothing describes: what they say, their exit codes, and what is refused.

use serde_json::{Map, Value, json};

use crate::support::{Folder, assert_snapshot, call, json_of, report};

/// A config of a small decoder that no family has.
fn config() -> Map<String, Value> {
    let config = json!({
        "architectures": ["ZooForCausalLM"], "hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 8,
        "num_key_value_heads": 2, "intermediate_size": 512, "vocab_size": 4000, "tie_word_embeddings": false,
        "torch_dtype": "bfloat16",
    });
    config.as_object().unwrap().clone()
}

/// Its tensors, but for the norms.
fn header() -> Map<String, Value> {
    let mut header = Map::new();
    let mut add = |name: String, shape: [u64; 2]| {
        _ = header.insert(
            format!("{name}.weight"),
            json!({ "dtype": "BF16", "shape": shape, "data_offsets": [0, 2 * shape[0] * shape[1]] }),
        );
    };
    add("embed".to_owned(), [4000, 256]);
    for layer in 0..4 {
        for (name, shape) in
            [("q", [256, 256]), ("kv", [128, 256]), ("o", [256, 256]), ("up", [1024, 256]), ("down", [256, 512])]
        {
            add(format!("layers.{layer}.{name}"), shape);
        }
    }
    add("lm_head".to_owned(), [4000, 256]);
    header
}

/// The config with one other entry, or without it.
fn with(key: &str, value: Value) -> Map<String, Value> {
    let mut config = config();
    config.insert(key.to_owned(), value);
    config.retain(|_, value| !value.is_null());
    config
}

#[test]
fn what_is_not_known_is_estimated_and_says_so() {
    let folder = Folder::new();
    let model = folder.model("zoo", &config(), &header());
    let said = report(&["plan", &model, "--seq", "256", "--gpu", "t4"]);
    assert!(said.contains("\nestimate, not a plan: fits: at most "), "{said}");
    assert_snapshot("estimates", &said.replace(&model, "ZOO"));
}

#[test]
fn each_verdict_has_a_code() {
    let folder = Folder::new();
    let model = folder.model("zoo", &config(), &header());
    for (capacity, code, verdict, fits) in [
        ("1GiB", 0, "fits", json!(true)),
        ("40MiB", 1, "does not fit", json!(false)),
        ("80MiB", 4, "may fit", Value::Null),
    ] {
        let arguments = ["plan", &model, "--batch", "2", "--capacity", capacity];
        let output = call(&arguments);
        assert_eq!(output.status.code(), Some(code), "{capacity}");
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.starts_with(&format!("estimate, not a plan: {verdict}: ")), "{said}");
        let answer = json_of(&[&arguments[..], &["--format", "json"]].concat());
        assert_eq!((&answer["exact"], &answer["verdict"], &answer["fits"]), (&json!(false), &json!(verdict), &fits));
        let bounds = |key: &str| (answer[key]["low"].as_u64().unwrap(), answer[key]["high"].as_u64().unwrap());
        // weights, gradients and two states in bf16 of what the headers list
        let elements: u64 = header()
            .values()
            .map(|tensor| {
                tensor["shape"].as_array().unwrap().iter().map(|size| size.as_u64().unwrap()).product::<u64>()
            })
            .sum();
        assert_eq!(bounds("weights"), (2 * elements, 2 * elements));
        assert_eq!(bounds("gradients"), (2 * elements, 2 * elements));
        assert!(bounds("peak_allocated").0 >= 8 * elements && bounds("peak_allocated").1 <= bounds("peak_reserved").1);
    }
    assert_eq!(json_of(&["plan", "gpt2", "--format", "json"])["exact"], json!(true));
}

#[test]
fn configs_have_other_names_and_parts() {
    let folder = Folder::new();
    let older = json!({ "architectures": ["ZooLMHeadModel"], "n_embd": 256, "n_layer": 4, "n_head": 8, "n_inner": null,
        "vocab_size": 4000, "n_positions": 512, "multi_query": true });
    let mut text = config();
    text.remove("architectures");
    let beside = json!({ "architectures": ["ZooForConditionalGeneration"], "text_config": text, "vision_config": { "hidden_size": 8 } });
    let experts = with("num_experts", json!(8));
    let mut experts = experts;
    experts.extend(json!({ "num_experts_per_tok": 2, "moe_intermediate_size": 128 }).as_object().unwrap().clone());
    let masked = with("architectures", json!(["ZooForMaskedLM"]));
    let latent = with("kv_lora_rank", json!(64));
    for (name, config) in [
        ("older", older.as_object().unwrap().clone()),
        ("beside", beside.as_object().unwrap().clone()),
        ("experts", experts),
        ("masked", masked),
        ("latent", latent),
    ] {
        // the weights of other parts are told by headers alone
        let (path, start) = match name {
            "beside" => (folder.model(name, &config, &header()), "estimate, not a plan: fits: "),
            _ => {
                folder.write(&format!("{name}/config.json"), Value::Object(config).to_string());
                (folder.argument(name), "estimate, not a plan, of config.json alone: fits: ")
            }
        };
        for mode in ["train", "infer", "generate"] {
            let output = call(&["plan", &path, "--mode", mode]);
            let said = String::from_utf8(output.stdout).unwrap();
            if (name, mode) == ("masked", "generate") {
                assert_eq!(output.status.code(), Some(2));
                continue;
            }
            assert!(said.starts_with(start), "{name} {mode}: {said}");
            let words: Vec<&str> = said.split_whitespace().collect();
            assert_eq!(words.join(" ").contains("of text_config alone"), name == "beside", "{said}");
        }
    }
}

#[test]
fn what_has_no_outline_is_refused_in_a_line() {
    let folder = Folder::new();
    let mut said = String::new();
    for (key, value) in [
        ("hidden_size", json!(0)),
        ("hidden_size", json!(-1)),
        ("hidden_size", json!("large")),
        ("hidden_size", json!(1_000_000_000_000_u64)),
        ("vocab_size", Value::Null),
        ("num_attention_heads", json!(7)),
        ("is_encoder_decoder", json!(true)),
        ("layer_types", json!(["linear_attention", "full_attention"])),
        ("mamba_d_state", json!(16)),
        ("index_n_heads", json!(4)),
        ("vision_config", json!({ "hidden_size": 8 })),
        ("quantization_config", json!({ "quant_method": "gptq" })),
        ("architectures", json!(["ZooForImageClassification"])),
    ] {
        folder.write("zoo/config.json", Value::Object(with(key, value)).to_string());
        let path = folder.argument("zoo");
        said += &report(&["plan", &path]).replace(&path, "ZOO");
    }
    folder.write("zoo/config.json", Value::Object(config()).to_string());
    let path = folder.argument("zoo");
    for flags in [&["--fsdp", "2"][..], &["--compare"], &["--trainable", "nothing"], &["--lora", "r=8"]] {
        said += &report(&[&["plan", &path], flags].concat()).replace(&path, "ZOO");
    }
    said += &report(&["fit", &path]).replace(&path, "ZOO");
    assert_snapshot("estimates_refused", &said);
}
