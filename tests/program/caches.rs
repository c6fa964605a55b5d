//! `--cache`: transformers' static cache, and an engine's pages.

use serde_json::Value;

use crate::support::{Folder, assert_snapshot, json_of, recorded, report};

fn generated(model: &str, arguments: &[&str]) -> Value {
    json_of(&[&["plan", model, "--mode", "generate", "--steps", "1", "--format", "json"], arguments].concat())
}

#[test]
fn a_static_cache_of_sliding_and_full_layers() {
    let run = [
        "plan",
        "--full",
        "gemma-3-1b",
        "--mode",
        "generate",
        "--cache",
        "static",
        "--seq",
        "2000",
        "--new-tokens",
        "100",
    ];
    assert_snapshot("plan_static_cache", &report(&run));
}

#[test]
fn pages_in_fp8_of_sliding_and_full_layers() {
    let pages =
        ["--cache", "paged", "--page-tokens", "32", "--cache-dtype", "fp8", "--seq", "2000", "--new-tokens", "100"];
    let run = [&["plan", "--full", "gemma-3-1b", "--mode", "generate", "--gpu", "rtx4090"][..], &pages].concat();
    assert_snapshot("plan_pages", &report(&run));
}

/// Keys and values of 16 layers, 8 heads of 64 numbers, and a length of 8 bytes a layer.
#[test]
fn a_static_cache_holds_all_tokens_of_the_run() {
    for (batch, seq, new, given) in [(1, 100, 20, None), (3, 77, 5, None), (2, 50, 6, Some(4096))] {
        let [batch_text, seq_text, new_text] = [batch, seq, new].map(|number: u64| number.to_string());
        let tokens = given.unwrap_or(seq + new).to_string();
        let mut run = vec!["--cache", "static", "--batch", &batch_text, "--seq", &seq_text, "--new-tokens", &new_text];
        if given.is_some() {
            run.extend(["--cache-tokens", &tokens]);
        }
        let cache = &generated("llama-3.2-1b", &[&run[..], &["--precision", "bf16"]].concat())["kv_cache"];
        let expected = 16 * (2 * batch * 8 * 64 * given.unwrap_or(seq + new) * 2 + 8);
        assert_eq!((&cache["kind"], cache["bytes"].as_u64()), (&"static".into(), Some(expected)));
    }
}

/// Whole pages for each sequence; of a window those that it can lie on.
#[test]
fn pages_are_exact() {
    let elements = [("fp32", 4), ("bf16", 2), ("fp16", 2), ("fp8", 1)];
    let sizes = [(1, 100, 20, 16), (3, 700, 33, 16), (2, 1000, 1, 7), (1, 31, 1, 32), (5, 600, 100, 1)];
    for ((dtype, element), (batch, seq, new, page)) in elements.into_iter().zip(sizes).chain([(("fp8", 1), sizes[4])]) {
        let [batch_text, seq_text, new_text, page_text] = [batch, seq, new, page].map(|number: u64| number.to_string());
        let run = ["--cache", "paged", "--batch", &batch_text, "--seq", &seq_text, "--new-tokens", &new_text];
        let run = [&run[..], &["--page-tokens", &page_text, "--cache-dtype", dtype]].concat();
        let pages = (seq + new).div_ceil(page);
        // The first page holds one token of the window at the least.
        let of_a_window = (1 + (512 - 1_u64).div_ceil(page)).min(pages);
        let bytes_of =
            |layers: u64, heads: u64, dim: u64, pages: u64| layers * 2 * batch * pages * page * heads * dim * element;
        let llama = &generated("llama-3.2-1b", &run)["kv_cache"];
        assert_eq!(llama["bytes"].as_u64(), Some(bytes_of(16, 8, 64, pages)), "{run:?}");
        let gemma = &generated("gemma-3-1b", &run)["kv_cache"];
        assert_eq!(gemma["full_attention"].as_u64(), Some(bytes_of(4, 1, 256, pages)), "{run:?}");
        assert_eq!(gemma["sliding_attention"].as_u64(), Some(bytes_of(22, 1, 256, of_a_window)), "{run:?}");
        let sum = gemma["full_attention"].as_u64().unwrap() + gemma["sliding_attention"].as_u64().unwrap();
        assert_eq!(gemma["bytes"].as_u64(), Some(sum));
    }
}

#[test]
fn pages_do_not_grow() {
    let decoded = ["1", "200"].map(|new| {
        let plan = generated("gpt2", &["--cache", "paged", "--cache-tokens", "512", "--new-tokens", new]);
        assert_eq!(plan["kv_cache"]["bytes"].as_u64(), Some(12 * 2 * 512 * 768 * 4));
        let phases = plan["phases"].as_array().unwrap();
        phases.iter().find(|phase| phase["phase"] == "decode").unwrap()["allocated"].clone()
    });
    assert_eq!(decoded[0], decoded[1]);
}

#[test]
fn a_run_file_says_the_same() {
    let folder = Folder::new();
    folder.write("run.yaml", "cache: paged\ncache_tokens: 300\npage-tokens: 8\ncache-dtype: fp16\n");
    let flags = ["--cache", "paged", "--cache-tokens", "300", "--page-tokens", "8", "--cache-dtype", "fp16"];
    assert_eq!(generated("gpt2", &["--run", &folder.argument("run.yaml")]), generated("gpt2", &flags));
}

#[test]
fn caches_that_cannot_be() {
    let folder = Folder::new();
    let plan = |what: &str, arguments: &[&str]| folder.error(what, &[&["plan"], arguments].concat());
    let gpt2 = |what: &str, arguments: &[&str]| {
        folder.error(what, &[&["plan", "--full", "gpt2", "--mode", "generate"], arguments].concat())
    };
    let (mut config, header) = recorded("t5-small");
    config.insert("num_decoder_layers".to_owned(), 8.into());
    let t5 = folder.model("t5", &config, &header);
    let errors = [
        plan("more layers than the encoder", &[&t5, "--mode", "generate", "--cache", "static"]),
        plan("in training", &["gpt2", "--cache", "static"]),
        plan("in an encoder", &["bert-base", "--mode", "infer", "--cache", "static"]),
        plan("pages of an encoder and a decoder", &["t5-small", "--mode", "generate", "--cache", "paged"]),
        plan(
            "keys in float32, values in bfloat16",
            &[
                "llama-3.2-1b",
                "--mode",
                "generate",
                "--cache",
                "static",
                "--precision",
                "amp-bf16",
                "--transformers",
                "5.23",
            ],
        ),
        gpt2("an unknown cache", &["--cache", "quantized"]),
        gpt2("tokens of a cache that grows", &["--cache-tokens", "400"]),
        gpt2("too short", &["--cache", "static", "--cache-tokens", "135"]),
        gpt2("no tokens", &["--cache", "static", "--cache-tokens", "0"]),
        gpt2("pages too short", &["--cache", "paged", "--cache-tokens", "135"]),
        gpt2("pages without pages", &["--cache", "static", "--page-tokens", "16"]),
        gpt2("empty pages", &["--cache", "paged", "--page-tokens", "0"]),
        gpt2("a type that the keys have", &["--cache", "static", "--cache-dtype", "bf16"]),
        gpt2("an unknown type", &["--cache", "paged", "--cache-dtype", "int4"]),
        gpt2("pages that Python reads", &["--cache", "paged", "--attention", "eager"]),
        gpt2("pages that PyTorch reads", &["--cache", "paged", "--sdpa", "math"]),
        gpt2("pages under autocast", &["--cache", "paged", "--precision", "amp-bf16"]),
        gpt2("a kernel without masks", &["--cache", "static", "--precision", "bf16", "--sdpa", "flash"]),
    ];
    assert_snapshot("errors_caches", &errors.concat());
}

/// By kinds of layers: 22 windows of 512 tokens and 4 layers that see all; and the encoder's 6 layers, of 8 heads of 64.
#[test]
fn keys_and_values_are_told_apart_by_layers() {
    let run = ["--cache", "static", "--seq", "2000", "--new-tokens", "50", "--precision", "bf16"];
    let gemma = &generated("gemma-3-1b", &run)["kv_cache"];
    let of = |layers: u64, tokens: u64| layers * (2 * tokens * 256 * 2 + 8);
    assert_eq!(gemma["sliding_attention"].as_u64(), Some(of(22, 512)));
    assert_eq!(gemma["full_attention"].as_u64(), Some(of(4, 2050)));
    for (cache, length) in [("static", 8), ("dynamic", 0)] {
        let t5 = &generated("t5-small", &["--cache", cache, "--seq", "77", "--precision", "fp32"])["kv_cache"];
        assert_eq!(t5["cross_attention"].as_u64(), Some(6 * (2 * 77 * 512 * 4 + length)), "{cache}");
    }
}

/// Engines run prompts one after the other, in chunks; one prompt in one chunk is what runs without.
#[test]
fn prefill_in_chunks() {
    let planned = |more: &[&str]| {
        let run =
            ["plan", "llama-3.2-1b", "--mode", "generate", "--cache", "paged", "--seq", "1000", "--new-tokens", "4"];
        let plan = json_of(&[&run[..], &["--format", "json"], more].concat());
        (plan["peak_allocated"].as_u64().unwrap(), plan["kv_cache"]["prefill_tokens"].clone())
    };
    let (whole, _) = planned(&["--batch", "8"]);
    let (chunks, said) = planned(&["--batch", "8", "--prefill-tokens", "256"]);
    assert!(chunks < whole && said == 256, "{chunks} {whole} {said}");
    // the prompt's ids are there once more
    let ids = 8000_u64.next_multiple_of(512);
    assert!(planned(&["--prefill-tokens", "1000"]).0 - planned(&[]).0 <= ids);
}
