//! The choice against all choices, one by one.

use serde_json::{Value, json};

use super::evaluate::Evaluator;
use super::measure::measure;
use super::model::Pick;
use super::{Chooser, Granularity, Measure, Wanted};
use crate::bytes::Bytes;
use crate::plan::Emulation;
use crate::read::gpus::{Gpu, GpuCatalogue};
use crate::read::model::Model;
use crate::read::spec::Shelf;
use crate::run::{Precision, Run};

fn model(architecture: &str, config: Value) -> Model {
    Model {
        name: "a small one".to_owned(),
        family: Shelf::default().family_of_architecture(architecture).expect("sound specs").expect("a known family"),
        architecture: architecture.to_owned(),
        config: config.as_object().cloned().unwrap_or_default(),
        dtype: None,
        weights: None,
    }
}

fn gpu() -> Gpu {
    GpuCatalogue::load(None).expect("the shipped GPUs are sound").find("h200").expect("in the catalogue").clone()
}

struct Case {
    model: Model,
    run: Run,
    granularity: Granularity,
    only: Option<&'static str>,
}

/// Every set with its cost and peaks, and how many sets the model's peak is above.
fn all_sets(case: &Case, gpu: &Gpu) -> Vec<(u64, u64, u64, bool)> {
    let (model, run) = (&case.model, &case.run);
    let evaluator = Evaluator::new(model, run.clone(), gpu, Emulation::RECORDS, u64::MAX).expect("a plan");
    let only = case.only.map(|pattern| regex::Regex::new(pattern).expect("a pattern"));
    let measured = measure(&evaluator, case.granularity, only.as_ref()).expect("a model");
    let sets = measured.model.all_within(i64::MAX, u64::MAX, 20_000).expect("few candidates");
    let peaks = |chosen: &Vec<Pick>| {
        let peaks = evaluator.peaks(measured.model.checkpointing(chosen)).expect("a plan").expect("PyTorch runs it");
        let live = measured.model.peak(chosen);
        if live > peaks.live {
            println!("{}: model {live}, plan {}", measured.model.checkpointing(chosen), peaks.live);
        }
        (measured.model.cost(chosen), peaks.allocated.0, peaks.reserved.0, live <= peaks.live)
    };
    sets.iter().map(peaks).collect()
}

fn check(case: &Case) {
    let gpu = gpu();
    let sets = all_sets(case, &gpu);
    let sound = sets.iter().all(|(.., sound)| *sound);
    println!("{} sets, sound {sound}", sets.len());
    for measure in [Measure::Reserved, Measure::Allocated] {
        let peak = |set: &(u64, u64, u64, bool)| if measure == Measure::Reserved { set.2 } else { set.1 };
        let (least, most) = (sets.iter().map(peak).min().expect("a set"), sets.iter().map(peak).max().expect("a set"));
        for part in 0..=8 {
            let budget = least + (most - least) * part / 8;
            let cheapest = sets.iter().filter(|set| peak(set) <= budget).map(|set| set.0).min();
            let wanted = Wanted {
                measure,
                granularity: case.granularity,
                only: case.only.map(|pattern| regex::Regex::new(pattern).expect("a pattern")),
                effort: u64::MAX,
                ..Wanted::within(Bytes(budget))
            };
            let chooser = Chooser::emulated(&case.model, &case.run, &gpu, &wanted, Emulation::RECORDS);
            let answer = chooser.and_then(|chooser| chooser.choose(wanted.budget)).expect("an answer");
            let choice = answer.choice.expect("a choice");
            assert_eq!(Some(choice.recompute_flops), cheapest, "{measure:?} within {budget}");
            assert!(choice.optimal, "{measure:?} within {budget}: not proved");
            assert!(choice.peaks.by(measure).0 <= budget);
        }
    }
}

fn case(architecture: &str, config: Value, run: Run, granularity: Granularity, only: Option<&'static str>) -> Case {
    Case { model: model(architecture, config), run, granularity, only }
}

#[test]
fn gpt2_with_blocks_attention_and_mlp() {
    let config = json!({"n_layer": 3, "n_embd": 192, "n_head": 6, "vocab_size": 503});
    let run = Run { batch: 4, seq: 128, precision: Some(Precision::Fp32), ..Run::default() };
    let only = Some(r"^transformer\.h\.\d+(\.attn|\.mlp)?$");
    check(&case("GPT2LMHeadModel", config, run, Granularity::Module, only));
}

#[test]
fn llama_under_autocast() {
    let config = json!({"hidden_size": 128, "intermediate_size": 500, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": 303});
    let run = Run { batch: 4, seq: 128, precision: Some(Precision::AmpBf16), ..Run::default() };
    let only = Some(r"^model\.layers\.\d+(\.self_attn|\.mlp|\.input_layernorm)?$");
    check(&case("LlamaForCausalLM", config, run, Granularity::Module, only));
}

#[test]
fn bert_with_accumulation_and_eager_attention() {
    let config = json!({"hidden_size": 96, "intermediate_size": 300, "num_hidden_layers": 4, "num_attention_heads": 3,
        "vocab_size": 303});
    let (attention, accumulate) = (crate::run::Attention::Eager, 2);
    let run = Run { batch: 3, seq: 90, precision: Some(Precision::Fp32), attention, accumulate, ..Run::default() };
    check(&case("BertForSequenceClassification", config, run, Granularity::Block, None));
}

#[test]
fn every_module_of_a_block() {
    let config = json!({"hidden_size": 96, "intermediate_size": 400, "num_hidden_layers": 1, "num_attention_heads": 3,
        "num_key_value_heads": 3, "vocab_size": 203});
    let run = Run { batch: 4, seq: 200, precision: Some(Precision::Bf16), ..Run::default() };
    check(&case("Qwen2ForCausalLM", config, run, Granularity::Module, None));
}

#[test]
fn qwen2_with_two_blocks_of_modules() {
    let config = json!({"hidden_size": 96, "intermediate_size": 400, "num_hidden_layers": 3, "num_attention_heads": 3,
        "num_key_value_heads": 3, "vocab_size": 203});
    let run = Run { batch: 4, seq: 200, precision: Some(Precision::AmpBf16), use_cache: Some(false), ..Run::default() };
    let only = Some(r"^model\.layers\.\d+(\.self_attn|\.mlp|\.mlp\.act_fn)?$");
    check(&case("Qwen2ForCausalLM", config, run, Granularity::Module, only));
}

/// A larger budget never costs more, and the same question has the same answer.
#[test]
fn a_larger_budget_never_costs_more() {
    let config = json!({"n_layer": 6, "n_embd": 192, "n_head": 6, "vocab_size": 503});
    let run = Run { batch: 4, seq: 128, precision: Some(Precision::AmpBf16), ..Run::default() };
    let (model, gpu) = (model("GPT2LMHeadModel", config), gpu());
    let wanted = Wanted { granularity: Granularity::Block, ..Wanted::within(Bytes(0)) };
    let chooser = Chooser::emulated(&model, &run, &gpu, &wanted, Emulation::RECORDS).expect("candidates");
    let most = chooser.choose(Bytes(u64::MAX)).expect("an answer").without.reserved.0;
    let mut last = u64::MAX;
    let mut found = 0;
    for part in 8..=16 {
        let answer = |chooser: &Chooser| chooser.choose(Bytes(most / 16 * part)).expect("an answer").choice;
        let choice = answer(&chooser);
        assert_eq!(choice, answer(&chooser));
        let Some(choice) = choice else { continue };
        found += 1;
        assert!(choice.recompute_flops <= last, "{part} sixteenths cost more than less");
        assert!(choice.lower_bound_flops <= choice.recompute_flops);
        last = choice.recompute_flops;
    }
    assert!(found >= 3, "only {found} budgets have a choice");
}
