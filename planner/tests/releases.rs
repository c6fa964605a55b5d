//! Plans of each release against what that release recorded: `tests/truth/torch-*/SET.jsonl.gz`, made by
//! `tests/truth/record_release.py`. The records say themselves which releases they were made with.

mod support;

use support::plans::{release_differences, report};

/// All records of a set are planned as they were recorded, event by event, but for those named.
fn all_are_the_same(release: &str, set: &str, at_least: usize, known: &[&str]) {
    let (count, wrong) = release_differences(release, set);
    assert!(count >= at_least, "{release}/{set}: only {count} records");
    let unexpected: Vec<&(String, String)> = wrong.iter().filter(|(id, _)| !known.contains(&id.as_str())).collect();
    assert!(unexpected.is_empty(), "{release}/{set}: {} of {count} differ:\n{}", unexpected.len(), report(&unexpected));
    let gone: Vec<&&str> = known.iter().filter(|id| !wrong.iter().any(|(wrong, _)| wrong == *id)).collect();
    assert!(gone.is_empty(), "{release}/{set}: {gone:?} are the same now: take them off the list");
}

#[test]
fn torch_2_9() {
    all_are_the_same("torch-2.9", "truth", 64, &[]);
}

#[test]
fn torch_2_10() {
    all_are_the_same("torch-2.10", "truth", 64, &[]);
}

/// Two runs differ in the order in which lists of temporaries go, none in a peak.
#[test]
fn torch_2_12() {
    all_are_the_same("torch-2.12", "truth", 64, &["gpt2-train-fp32-b16", "distilgpt2-train-fp32"]);
}

#[test]
fn torch_2_13() {
    all_are_the_same("torch-2.13", "truth", 63, &[]);
}

#[test]
fn torch_2_14() {
    all_are_the_same("torch-2.14", "truth", 64, &[]);
}

#[test]
fn torch_2_15() {
    all_are_the_same("torch-2.15", "truth", 64, &[]);
}

#[test]
fn torch_2_15_unseen() {
    all_are_the_same("torch-2.15", "unseen", 106, &[]);
}

#[test]
fn torch_2_15_text() {
    all_are_the_same("torch-2.15", "text", 160, &[]);
}

#[test]
fn torch_2_15_caches() {
    all_are_the_same("torch-2.15", "caches", 77, &[]);
}

/// The emulation computes with numbers that DDP's buckets were seen to keep alive: one copy stays.
#[test]
fn torch_2_15_experts() {
    all_are_the_same("torch-2.15", "experts", 81, &["deepseek-v3-ddp"]);
}

#[test]
fn torch_2_15_optimizers() {
    all_are_the_same("torch-2.15", "optimizers", 81, &[]);
}

#[test]
fn torch_2_15_adapters() {
    all_are_the_same("torch-2.15", "adapters", 61, &[]);
}

#[test]
fn torch_2_15_combinations() {
    all_are_the_same("torch-2.15", "combinations", 51, &[]);
}

/// As above: DDP on the emulation.
#[test]
fn torch_2_15_selective() {
    all_are_the_same("torch-2.15", "selective", 46, &["ddp-gpt2-save-addmm-sdpa"]);
}

/// The recorder's own loop holds a parameter that is not trained, in 2.11 as well; DDP on the emulation.
#[test]
fn torch_2_15_parallel() {
    all_are_the_same(
        "torch-2.15",
        "parallel",
        36,
        &[
            "fsdp-gpt2-trainable",
            "fsdp-llama-lora",
            "fsdp-llama-trainable-norms",
            "fsdp-gpt2-offload-trainable",
            "ddp-bert-static-frozen-amp-clip",
        ],
    );
}

#[test]
fn torch_2_15_vision() {
    all_are_the_same("torch-2.15", "vision", 58, &[]);
}
