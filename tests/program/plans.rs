//! Plans of built-in models and of folders: the text report, and the JSON.

use crate::models::is_of_timm;
use crate::support::{Folder, assert_snapshot, call, json_of, memplan, recorded, report};

fn snapshot(name: &str, arguments: &[&str]) {
    let arguments = [&["plan", "--full"], arguments].concat();
    assert_snapshot(name, &report(&arguments));
}

#[test]
fn gpt2_training() {
    snapshot("plan_gpt2_train", &["gpt2", "--batch", "4", "--seq", "512", "--precision", "fp32"]);
}

#[test]
fn gpt2_inference() {
    snapshot("plan_gpt2_infer", &["gpt2", "--mode", "infer", "--batch", "4", "--seq", "512"]);
}

#[test]
fn gpt2_generation() {
    snapshot("plan_gpt2_generate", &["gpt2", "--mode", "generate", "--seq", "100", "--new-tokens", "20"]);
}

#[test]
fn llama_training() {
    snapshot("plan_llama_train", &["llama-3.2-1b", "--precision", "bf16", "--batch", "2", "--seq", "1024"]);
}

#[test]
fn llama_generation_on_a_consumer_card() {
    let run = ["llama-3.1-8b", "--mode", "generate", "--precision", "bf16", "--gpu", "rtx4090", "--seq", "500"];
    snapshot("plan_llama_generate", &run);
}

#[test]
fn bert_training() {
    snapshot("plan_bert", &["bert-base", "--batch", "8", "--seq", "128", "--gpu", "a100-40gb"]);
}

#[test]
fn gemma_generation_with_sliding_and_full_attention() {
    let run = ["gemma-3-1b", "--mode", "generate", "--gpu", "rtx4090", "--seq", "2000", "--new-tokens", "100"];
    snapshot("plan_gemma_generate", &run);
}

#[test]
fn t5_generation_with_the_encoders_keys_and_values() {
    let run = ["flan-t5-base", "--mode", "generate", "--batch", "4", "--seq", "300", "--gpu", "a100-40gb"];
    snapshot("plan_t5_generate", &run);
}

#[test]
fn every_built_in_model_is_planned() {
    let models = json_of(&["models", "--format", "json"]);
    for model in models["models"].as_array().unwrap() {
        let name = model["name"].as_str().unwrap();
        if is_of_timm(name) {
            continue;
        }
        let plan = json_of(&["plan", name, "--mode", "infer", "--format", "json"]);
        assert!(plan["peak_allocated"].as_u64() > Some(0), "{name}");
    }
}

#[test]
fn folders_of_other_families_are_planned_without_warnings() {
    let folder = Folder::new();
    for name in ["t5-small", "qwen3-0.6b", "gemma-2-2b", "phi-3-mini"] {
        let (config, header) = recorded(name);
        let model = folder.model(name, &config, &header);
        let plan = json_of(&["plan", &model, "--mode", "infer", "--format", "json"]);
        assert_eq!(plan["warnings"], serde_json::json!([]), "{name}");
        assert_eq!((&plan["missing"], &plan["unexpected"]), (&serde_json::json!([]), &serde_json::json!([])), "{name}");
    }
}

#[test]
fn expandable_segments() {
    let run = ["gpt2", "--batch", "2", "--seq", "333", "--allocator", "expandable_segments:True"];
    snapshot("plan_expandable_segments", &run);
}

#[test]
fn a_run_that_does_not_fit() {
    snapshot("plan_does_not_fit", &["gpt2", "--batch", "16", "--seq", "1024", "--gpu", "rtx3090"]);
}

#[test]
fn a_run_that_fits_by_giving_cached_blocks_back() {
    let run = ["plan", "gpt2", "--seq", "128", "--format", "json"];
    let peaks = json_of(&run);
    let capacity = 2_800_000_000;
    assert!(
        peaks["peak_allocated"].as_u64().unwrap() < capacity && capacity < peaks["peak_reserved"].as_u64().unwrap()
    );
    let within = json_of(&[&run[..], &["--capacity", &capacity.to_string()]].concat());
    assert!(within["fits"] == true && within["given_back"].is_object(), "{}", within["given_back"]);
    snapshot("plan_gives_back", &["gpt2", "--seq", "128", "--capacity", &capacity.to_string()]);
}

#[test]
fn fine_tuning_a_folder() {
    let folder = Folder::new();
    let (config, header) = recorded("minilm-l6");
    let model = folder.model("all-MiniLM-L6-v2", &config, &header);
    let text = folder.report(&["plan", "--full", &model, "--batch", "32", "--seq", "128"]);
    assert_snapshot("plan_minilm_folder", &text);
}

#[test]
fn cudnn_attention_is_noted() {
    snapshot("plan_cudnn_note", &["llama-3.2-1b", "--mode", "infer", "--precision", "bf16", "--sdpa", "cudnn"]);
}

#[test]
fn json_has_the_documented_keys() {
    let json = json_of(&["plan", "gpt2", "--mode", "infer", "--steps", "1", "--format", "json"]);
    let lines = json.as_object().unwrap().iter().map(|(key, value)| match value.as_array() {
        Some(items) if !items.is_empty() => {
            let items: Vec<String> = items.iter().take(3).map(|item| format!("  {item}\n")).collect();
            format!("{key}: {} of\n{}", json[key].as_array().unwrap().len(), items.concat())
        }
        _ => format!("{key}: {value}\n"),
    });
    assert_snapshot("plan_json", &lines.collect::<String>());
}

#[test]
fn categories_add_up_to_the_peak() {
    let runs: [&[&str]; 5] = [
        &["gpt2"],
        &["gpt2", "--mode", "generate"],
        &["bert-base", "--precision", "bf16"],
        &["llama-3.2-1b", "--capacity", "4GiB"],
        &["distilgpt2", "--allocator", "roundup_power2_divisions:4"],
    ];
    for run in runs {
        let output = memplan(&[&["plan", "--format", "json"], run].concat()).output().unwrap();
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let parts: u64 = json["at_peak"].as_object().unwrap().values().map(|bytes| bytes.as_u64().unwrap()).sum();
        assert_eq!(parts, json["peak_allocated"].as_u64().unwrap(), "{run:?}");
        assert_eq!(output.status.code(), Some(if json["fits"] == true { 0 } else { 1 }), "{run:?}");
    }
}

#[test]
fn a_recorded_run_has_its_recorded_figures() {
    let run = ["plan", "gpt2", "--precision", "fp32", "--batch", "4", "--seq", "512", "--format", "json"];
    let json = json_of(&[&run[..], &["--torch", "2.11", "--transformers", "5.17"]].concat());
    let record = include_str!("../truth/truth.jsonl").lines().next().unwrap();
    let record: serde_json::Value = serde_json::from_str(record).unwrap();
    assert_eq!(record["id"], "gpt2-train-fp32");
    for key in ["max_allocated", "max_reserved"] {
        assert_eq!(json[key.replace("max", "peak")], record[key]);
    }
    for (ours, theirs) in json["phases"].as_array().unwrap().iter().zip(record["phases"].as_array().unwrap()) {
        for (key, value) in ours.as_object().unwrap() {
            assert_eq!(*value, theirs[key], "{theirs}");
        }
    }
}

/// What happens again is planned once, whatever its number; what would be too much is refused before the work.
#[test]
fn many_micro_batches_and_steps() {
    let run = |accumulate: &str| json_of(&["plan", "gpt2", "--accumulate", accumulate, "--format", "json"]);
    let (few, many) = (run("9"), run("10000"));
    for figure in ["peak_allocated", "peak_reserved", "at_peak"] {
        assert_eq!(few[figure], many[figure], "{figure}");
    }
    let output = call(&["plan", "--full", "gpt2", "--accumulate", "10000", "--steps", "1000"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("calls of operators") && error.contains("fewer --steps, --accumulate"), "{error}");
}
