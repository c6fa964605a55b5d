//! Runs iteration by iteration and folded: the same trace, the same cost, the same figures.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Emulation, prepare, wanted};
use crate::allocate::{AllocatorOptions, BlockId, CachingAllocator, Outcome, drive, simulate_with};
use crate::bytes::{Bytes, MIB};
use crate::graph::{Graph, Step, unroll};
use crate::lower::lower_with_timeline;
use crate::lower::timeline::Timeline;
use crate::model::Model;
use crate::read::gpus::GpuCatalogue;
use crate::run::RunOptions;
use crate::time::Speeds;
use crate::trace::{Cursor, Trace, live_after};

/// Models of the families that generate, as small as they can be: windows are crossed, kinds of layers take turns.
fn models() -> Vec<(&'static str, Value)> {
    let plain = json!({
        "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 32, "vocab_size": 128, "max_position_embeddings": 4096
    });
    let with = |more: Value| {
        let mut config = plain.clone();
        let entries = more.as_object().cloned().unwrap_or_default();
        config.as_object_mut().expect("an object").extend(entries);
        config
    };
    vec![
        ("LlamaForCausalLM", plain.clone()),
        ("MistralForCausalLM", with(json!({"sliding_window": 40}))),
        ("Qwen3ForCausalLM", plain.clone()),
        ("Gemma2ForCausalLM", with(json!({"sliding_window": 40}))),
        ("Gemma3ForCausalLM", with(json!({"sliding_window": 40, "num_hidden_layers": 8}))),
        ("MixtralForCausalLM", with(json!({"num_local_experts": 4}))),
        ("GPT2LMHeadModel", json!({"n_embd": 64, "n_layer": 3, "n_head": 4, "vocab_size": 128, "n_positions": 4096})),
        (
            "T5ForConditionalGeneration",
            json!({"d_model": 64, "d_kv": 16, "d_ff": 96, "num_layers": 3, "num_heads": 4, "vocab_size": 128}),
        ),
        (
            "DeepseekV3ForCausalLM",
            with(json!({
                "n_routed_experts": 8, "num_experts_per_tok": 2, "n_group": 2, "topk_group": 1, "first_k_dense_replace": 1,
                "moe_intermediate_size": 32, "kv_lora_rank": 32, "q_lora_rank": 48, "qk_rope_head_dim": 16,
                "qk_nope_head_dim": 16, "v_head_dim": 16, "num_key_value_heads": 4
            })),
        ),
    ]
}

/// A lowered run, folded and not; None where the model has no such cache.
struct Both {
    folded: (Trace, Timeline),
    plain: (Trace, Timeline),
    repeats: usize,
}

fn both(model: &Model, flags: &[(&str, &str)]) -> Option<Both> {
    let catalogue = GpuCatalogue::load(None).expect("the shipped GPUs are sound");
    let gpu = catalogue.find("h100").expect("a GPU");
    let options =
        flags.iter().try_fold(RunOptions::of("a small one"), |options, (key, value)| options.with(key, value));
    let run = options.expect("options").run();
    let prepared = prepare(model, &run, gpu, Emulation::default()).ok()?;
    let lowered = |graph: &Arc<Graph>| {
        let lowered = lower_with_timeline(graph, &prepared.device, prepared.settings.clone(), Speeds::of(gpu));
        lowered.expect("a trace")
    };
    let mut told = wanted(model, &run, Emulation::default()).expect("a loop");
    told.folds = false;
    let architecture = model.architecture(false).expect("an architecture");
    let plain = Arc::new(unroll(&model.family, architecture, &model.config, &told).expect("a program"));
    assert!(!plain.steps.iter().any(|step| matches!(step, Step::Repeat(_))));
    let repeats = prepared.graph.repeats.len();
    Some(Both { folded: lowered(&prepared.graph), plain: lowered(&plain), repeats })
}

fn is_same(architecture: &str, flags: &[(&str, &str)], both: &Both) {
    let Both { folded: (folded, costs), plain: (plain, other), .. } = both;
    let what = || format!("{architecture}, {flags:?}");
    assert!(folded == plain, "{}: another trace", what());
    assert_eq!(folded.most_alive(|bytes| bytes.0), plain.most_alive(|bytes| bytes.0), "{}", what());
    assert_eq!(costs.whole(), other.whole(), "{}", what());
    assert_eq!(costs.cudnn.attention, other.cudnn.attention, "{}", what());
    assert!(costs.marks == other.marks, "{}: other marks", what());
}

#[test]
fn folded_generation_is_the_same_trace() {
    let mut folded = 0;
    for (architecture, config) in models() {
        let model = Model::small(architecture, config);
        for cache in ["dynamic", "static", "paged"] {
            for more in
                [&[][..], &[("torch", "2.11")], &[("attention", "eager")], &[("batch", "3"), ("precision", "fp32")]]
            {
                let mut flags = vec![("mode", "generate"), ("seq", "20"), ("new-tokens", "60"), ("steps", "2")];
                flags.extend([("cache", cache)].iter().chain(more.iter()));
                let Some(both) = both(&model, &flags) else { continue };
                is_same(architecture, &flags, &both);
                folded += usize::from(both.repeats > 0);
            }
        }
    }
    assert!(folded > 25, "{folded} runs were folded");
}

#[test]
fn five_hundred_tokens_are_the_same() {
    let (architecture, config) = models().swap_remove(0);
    let flags = [("mode", "generate"), ("seq", "100"), ("new-tokens", "512"), ("steps", "1"), ("batch", "2")];
    let both = both(&Model::small(architecture, config), &flags).expect("a run");
    is_same(architecture, &flags, &both);
}

fn by_events(trace: &Trace, options: &AllocatorOptions, capacity: Option<Bytes>) -> Outcome {
    let mut allocator = CachingAllocator::new(options.clone(), capacity);
    drive(trace, &mut allocator, |_, _, _| {})
}

/// All that an outcome says but the numbers of blocks, which are the allocator's own.
fn figures(outcome: &Outcome) -> impl PartialEq + std::fmt::Debug {
    let Outcome { phases, peak_allocated, peak_reserved, peak_event, given_back, out_of_memory, segments, .. } =
        outcome;
    let mut segments = segments.clone();
    for block in segments.iter_mut().flat_map(|segment| &mut segment.blocks) {
        block.id = BlockId::EMPTY;
    }
    let peaks = (*peak_allocated, *peak_reserved, *peak_event);
    (phases.clone(), peaks, given_back.clone(), *out_of_memory, segments)
}

/// What is passed over changes nothing, whatever the allocator's options, with and without enough memory.
#[test]
fn rounds_change_no_figure() {
    let small = json!({
        "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 3, "num_attention_heads": 4,
        "num_key_value_heads": 4, "vocab_size": 512
    });
    let model = Model::small("LlamaForCausalLM", small);
    // keys of a layer pass 1 MiB, and so into the large pool, after about ten tokens
    let flags = [("mode", "generate"), ("seq", "22"), ("new-tokens", "90"), ("steps", "2"), ("batch", "64")];
    let both = both(&model, &flags).expect("a run");
    let trace = &both.folded.0;
    assert!(both.repeats > 0);
    let mut out_of_memory = 0;
    for options in [
        "",
        "expandable_segments:True",
        "max_split_size_mb:20",
        "roundup_power2_divisions:4",
        "garbage_collection_threshold:0.6,per_process_memory_fraction:0.7",
    ] {
        let options: AllocatorOptions = options.parse().expect("options");
        let whole = by_events(trace, &options, Some(Bytes(1 << 40)));
        let least = whole.peak_allocated.0 - 16 * MIB;
        let step = (whole.peak_reserved.0 + 16 * MIB - least) / 16;
        let capacities = (0..16).map(|part| Bytes(least + part * step));
        for capacity in capacities.chain([Bytes(1 << 40)]) {
            let expected = by_events(trace, &options, Some(capacity));
            let found = simulate_with(trace, &options, Some(capacity), 67);
            assert_eq!(figures(&found), figures(&expected), "{options:?} within {capacity}");
            out_of_memory += usize::from(expected.out_of_memory.is_some());
            let mut highest = found.heights.iter().map(|height| height.allocated);
            assert!(expected.out_of_memory.is_some() || highest.any(|allocated| allocated == expected.peak_allocated));
        }
    }
    assert!((10..70).contains(&out_of_memory), "{out_of_memory} of 85 were out of memory");
}

#[test]
fn what_is_alive_is_known_without_each_event() {
    let (architecture, config) = models().swap_remove(3);
    let flags = [("mode", "generate"), ("seq", "20"), ("new-tokens", "60"), ("steps", "2")];
    let both = both(&Model::small(architecture, config), &flags).expect("a run");
    let (folded, plain) = (&both.folded.0, &both.plain.0);
    for event in (0..plain.event_count()).step_by(97) {
        assert_eq!(live_after(folded, event), live_after(plain, event), "after event {event}");
        let bytes = |trace| *Cursor::new(trace).until(event).bytes();
        assert_eq!(bytes(folded), bytes(plain), "after event {event}");
    }
}

/// Runs whose steps or micro-batches happen again.
fn repeated() -> Vec<Vec<(&'static str, &'static str)>> {
    let train = |more: &[(&'static str, &'static str)]| {
        [&[("mode", "train"), ("seq", "24"), ("batch", "2"), ("steps", "2"), ("accumulate", "9")][..], more].concat()
    };
    vec![
        train(&[]),
        train(&[("precision", "amp-bf16")]),
        train(&[("precision", "amp-fp16"), ("clip", "1.0")]),
        train(&[("checkpoint", "full")]),
        train(&[("checkpoint", "full"), ("precision", "amp-bf16"), ("torch", "2.11")]),
        train(&[("checkpoint", "full"), ("reentrant", "true")]),
        train(&[("lora", "r=4")]),
        train(&[("quantize", "nf4"), ("lora", "r=4"), ("precision", "bf16")]),
        train(&[("hold-outputs", "true")]),
        train(&[("zero-grad", "before-forward"), ("attention", "eager")]),
        train(&[("ddp", "2")]),
        train(&[("fsdp", "2")]),
        train(&[("optimizer", "sgd"), ("precision", "fp32")]),
        vec![("mode", "train"), ("seq", "24"), ("steps", "11"), ("optimizer", "adamw8bit")],
        vec![("mode", "infer"), ("seq", "24"), ("steps", "12")],
        vec![("mode", "infer"), ("seq", "24"), ("steps", "12"), ("cache", "static")],
        vec![("mode", "eval-with-grad"), ("seq", "24"), ("steps", "12")],
    ]
}

#[test]
fn repeated_micro_batches_and_steps_are_the_same() {
    let (mut folded, mut shorter) = (0, 0);
    for (number, (architecture, config)) in models().into_iter().enumerate() {
        let model = Model::small(architecture, config);
        // each run for some models, and each model with some runs
        for flags in repeated().into_iter().skip(number % 3).step_by(if number < 3 { 1 } else { 3 }) {
            let Some(both) = both(&model, &flags) else { continue };
            is_same(architecture, &flags, &both);
            let costs =
                |timeline: &Timeline| timeline.recomputed.iter().fold(timeline.computed, |all, cost| all.and(*cost));
            assert_eq!(costs(&both.folded.1), costs(&both.plain.1), "{architecture}, {flags:?}");
            folded += usize::from(both.repeats > 0);
            shorter += usize::from(both.folded.0.stretches().iter().any(|stretch| stretch.times() > 4));
            for options in ["", "expandable_segments:True", "max_split_size_mb:20"] {
                let options: AllocatorOptions = options.parse().expect("options");
                let whole = by_events(&both.folded.0, &options, Some(Bytes(1 << 40)));
                for capacity in [Bytes(1 << 40), Bytes(whole.peak_reserved.0 - 1), Bytes(whole.peak_allocated.0 - 1)] {
                    let expected = by_events(&both.folded.0, &options, Some(capacity));
                    let found = simulate_with(&both.folded.0, &options, Some(capacity), 67);
                    let by_event = simulate_with(&both.plain.0, &options, Some(capacity), 67);
                    assert_eq!(
                        figures(&found),
                        figures(&expected),
                        "{architecture}, {flags:?}: {options:?} within {capacity}"
                    );
                    assert_eq!(found.heights, by_event.heights);
                }
            }
        }
    }
    assert!(folded > 70 && shorter == folded, "{folded} runs were folded, of {shorter} the trace");
}
