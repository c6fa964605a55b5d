//! Mixtures of experts: plans, and checkpoints as they are published, a tensor an expert.

use serde_json::{Map, Value, json};

use crate::support::{Folder, assert_snapshot, json_of, report};

type Tensors = Vec<(String, Vec<u64>)>;

fn header(tensors: &Tensors) -> Map<String, Value> {
    let entry = |(name, shape): &(String, Vec<u64>)| {
        let bytes = 2 * shape.iter().product::<u64>();
        (name.clone(), json!({"dtype": "BF16", "shape": shape, "data_offsets": [0, bytes]}))
    };
    tensors.iter().map(entry).collect()
}

fn named(prefix: &str, tensors: &[(&str, &[u64])]) -> Tensors {
    tensors.iter().map(|(name, shape)| (format!("{prefix}{name}"), shape.to_vec())).collect()
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

/// One layer of 4 experts, as mistralai publishes them.
fn mixtral() -> (Map<String, Value>, Tensors) {
    let config = object(json!({
        "architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "dtype": "bfloat16", "num_hidden_layers": 1,
        "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 100,
        "num_local_experts": 4,
    }));
    let mut tensors = named("", &[("lm_head.weight", &[100, 32]), ("model.embed_tokens.weight", &[100, 32])]);
    tensors.extend(named("model.", &[("norm.weight", &[32])]));
    let layer: &[(&str, &[u64])] = &[
        ("self_attn.q_proj.weight", &[32, 32]),
        ("self_attn.k_proj.weight", &[16, 32]),
        ("self_attn.v_proj.weight", &[16, 32]),
        ("self_attn.o_proj.weight", &[32, 32]),
        ("input_layernorm.weight", &[32]),
        ("post_attention_layernorm.weight", &[32]),
        ("block_sparse_moe.gate.weight", &[4, 32]),
    ];
    tensors.extend(named("model.layers.0.", layer));
    for expert in 0..4 {
        let parts: &[(&str, &[u64])] = &[("w1.weight", &[48, 32]), ("w2.weight", &[32, 48]), ("w3.weight", &[48, 32])];
        tensors.extend(named(&format!("model.layers.0.block_sparse_moe.experts.{expert}."), parts));
    }
    (config, tensors)
}

/// One layer of 4 experts, as deepseek-ai publishes them, and a tensor of the layer that predicts further tokens.
fn deepseek() -> (Map<String, Value>, Tensors) {
    let config = object(json!({
        "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "torch_dtype": "bfloat16",
        "num_hidden_layers": 1, "first_k_dense_replace": 0, "hidden_size": 32, "intermediate_size": 48,
        "moe_intermediate_size": 16, "num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 100,
        "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 2, "topk_group": 1, "kv_lora_rank": 16,
        "q_lora_rank": 24, "qk_rope_head_dim": 8, "qk_nope_head_dim": 16, "v_head_dim": 16,
    }));
    let mut tensors = named("", &[("lm_head.weight", &[100, 32]), ("model.embed_tokens.weight", &[100, 32])]);
    tensors.extend(named("model.", &[("norm.weight", &[32]), ("layers.61.eh_proj.weight", &[32, 64])]));
    let layer: &[(&str, &[u64])] = &[
        ("self_attn.q_a_proj.weight", &[24, 32]),
        ("self_attn.q_a_layernorm.weight", &[24]),
        ("self_attn.q_b_proj.weight", &[48, 24]),
        ("self_attn.kv_a_proj_with_mqa.weight", &[24, 32]),
        ("self_attn.kv_a_layernorm.weight", &[16]),
        ("self_attn.kv_b_proj.weight", &[64, 16]),
        ("self_attn.o_proj.weight", &[32, 32]),
        ("input_layernorm.weight", &[32]),
        ("post_attention_layernorm.weight", &[32]),
        ("mlp.gate.weight", &[4, 32]),
        ("mlp.gate.e_score_correction_bias", &[4]),
        ("mlp.shared_experts.gate_proj.weight", &[16, 32]),
        ("mlp.shared_experts.up_proj.weight", &[16, 32]),
        ("mlp.shared_experts.down_proj.weight", &[32, 16]),
    ];
    tensors.extend(named("model.layers.0.", layer));
    for expert in 0..4 {
        let parts: &[(&str, &[u64])] =
            &[("gate_proj.weight", &[16, 32]), ("up_proj.weight", &[16, 32]), ("down_proj.weight", &[32, 16])];
        tensors.extend(named(&format!("model.layers.0.mlp.experts.{expert}."), parts));
    }
    (config, tensors)
}

#[test]
fn experts_are_merged_from_the_tensors_of_each() {
    let folder = Folder::new();
    for (name, (config, tensors)) in [("mixtral", mixtral()), ("deepseek", deepseek())] {
        let model = folder.model(name, &config, &header(&tensors));
        let plan = json_of(&["plan", &model, "--format", "json"]);
        assert_eq!((&plan["missing"], &plan["unexpected"]), (&json!([]), &json!([])), "{name}");
        assert!(plan["notes"].to_string().contains("experts"), "{}", plan["notes"]);
    }
}

#[test]
fn experts_that_are_not_whole_or_quantised_are_errors() {
    let folder = Folder::new();
    let (config, mut tensors) = mixtral();
    tensors.retain(|(name, _)| !name.ends_with("experts.3.w3.weight"));
    let part = folder.model("part", &config, &header(&tensors));
    let (mut config, tensors) = deepseek();
    let stored =
        json!({"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [16, 16]});
    config.insert("quantization_config".to_owned(), stored);
    let fp8 = folder.model("fp8", &config, &header(&tensors));
    let errors = [
        folder.error("an expert too few", &["plan", "--full", &part]),
        folder.error("experts in FP8", &["plan", "--full", &fp8, "--mode", "infer", "--gpu", "h100"]),
    ];
    assert_snapshot("errors_experts", &errors.concat());
}

#[test]
fn mixtures_are_planned() {
    let run =
        ["plan", "--full", "mixtral-8x7b", "--mode", "generate", "--gpu", "h200", "--seq", "1000", "--new-tokens", "2"];
    assert_snapshot("plan_mixtral_generate", &report(&run));
    let run = [
        "plan",
        "--full",
        "deepseek-v3",
        "--fsdp",
        "64,load=gpu",
        "--checkpoint",
        "full",
        "--seq",
        "2048",
        "--steps",
        "2",
    ];
    assert_snapshot("plan_deepseek_fsdp", &report(&run));
}

#[test]
fn experts_that_stay_are_named() {
    let report = report(&["plan", "mixtral-8x7b", "--qlora", "--seq", "512", "--gpu", "h200"]);
    let said = "warning: 84.00 GiB stay in bfloat16: 64 parameters of experts are no";
    assert!(report.contains(said), "{report}");
}
