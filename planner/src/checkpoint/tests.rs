//! The choice against all choices, one by one.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde_json::{Value, json};

use super::cheapest::{Among, Prefer};
use super::evaluate::Evaluator;
use super::measure::measure;
use super::model::{Candidate, Kind, Model as Chain, Needs, Pick, Savings};
use super::{Chooser, Currency, Granularity, Measure, Wanted};
use crate::bytes::Bytes;
use crate::model::Model;
use crate::plan::Emulation;
use crate::read::gpus::{Gpu, GpuCatalogue};
use crate::read::spec::Shelf;
use crate::run::{Precision, Run};
use crate::time::Cost;

/// A model of `tests/truth/cutpoints/graphs`.
fn exported(graph: &str) -> Model {
    use std::io::Read;
    let path = format!("{}/../tests/truth/cutpoints/graphs/{graph}.json.gz", env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    let file = std::fs::File::open(path).expect("a graph");
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("a text");
    let name = format!("{graph}.pt2");
    let model = crate::model::export::parse(std::path::Path::new(&name), text.as_bytes(), None, &Shelf::default());
    let crate::model::export::ExportedModel { family, exported, architecture, dtype } = model.expect("a model");
    let (exported, dtype) = (Some(exported), Some(dtype));
    Model { name, family, exported, architecture, config: Default::default(), config_file: None, dtype, weights: None }
}

fn gpu() -> Gpu {
    GpuCatalogue::load(None).expect("the shipped GPUs are sound").find("h200").expect("in the catalogue").clone()
}

struct Case {
    model: Model,
    run: Run,
    granularity: Granularity,
    currency: Currency,
    only: Option<&'static str>,
    /// Into how many parts the range of peaks is cut.
    parts: u64,
}

/// Every set with its cost and peaks, and how many sets the model's peak is above.
fn all_sets(case: &Case, gpu: &Gpu) -> Vec<(u64, u64, u64, bool)> {
    let (model, run) = (&case.model, &case.run);
    let mut evaluator = Evaluator::new(model, run.clone(), gpu, Emulation::RECORDS, u64::MAX).expect("a plan");
    let only = case.only.map(|pattern| regex::Regex::new(pattern).expect("a pattern"));
    let measured = measure(&mut evaluator, case.granularity, case.currency, only.as_ref()).expect("a model");
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
    assert!(sound, "the model is above a plan: its bounds do not hold");
    for measure in [Measure::Reserved, Measure::Allocated] {
        let peak = |set: &(u64, u64, u64, bool)| if measure == Measure::Reserved { set.2 } else { set.1 };
        let (least, most) = (sets.iter().map(peak).min().expect("a set"), sets.iter().map(peak).max().expect("a set"));
        for part in 0..=case.parts {
            let budget = least + (most - least) * part / case.parts;
            let cheapest = sets.iter().filter(|set| peak(set) <= budget).map(|set| set.0).min();
            let wanted = Wanted {
                measure,
                granularity: case.granularity,
                currency: case.currency,
                only: case.only.map(|pattern| regex::Regex::new(pattern).expect("a pattern")),
                effort: u64::MAX,
                ..Wanted::within(Bytes(budget))
            };
            let chooser = Chooser::emulated(&case.model, &case.run, &gpu, &wanted, Emulation::RECORDS);
            let answer = chooser.and_then(|chooser| chooser.choose(wanted.budget)).expect("an answer");
            let choice = answer.choice.expect("a choice");
            assert_eq!(Some(case.currency.of(choice.recompute)), cheapest, "{measure:?} within {budget}");
            assert!(choice.optimal, "{measure:?} within {budget}: not proved");
            assert!(choice.peaks.by(measure).0 <= budget);
        }
    }
}

fn case(architecture: &str, config: Value, run: Run, granularity: Granularity, only: Option<&'static str>) -> Case {
    let currency = Currency::Flops;
    Case { model: Model::small(architecture, config), run, granularity, currency, only, parts: 8 }
}

/// The same, time being what is to be least.
fn timed(case: Case) -> Case {
    Case { currency: Currency::Time, ..case }
}

#[test]
fn gpt2_with_blocks_attention_and_mlp() {
    let config = json!({"n_layer": 3, "n_embd": 192, "n_head": 6, "vocab_size": 503});
    let run = Run { batch: 4, seq: 128, precision: Some(Precision::Fp32), ..Run::default() };
    let only = Some(r"^transformer\.h\.\d+(\.attn|\.mlp)?$");
    check(&case("GPT2LMHeadModel", config.clone(), run.clone(), Granularity::Module, only));
    check(&timed(case("GPT2LMHeadModel", config, run, Granularity::Module, only)));
}

/// Runs of calls of a model without blocks, one of them in another.
#[test]
fn runs_of_calls_between_cut_points() {
    let only =
        Some(r"^(conv1a\.\.norm1b|stem\.\.%add|conv2a\.\.norm2b|conv3a\.\.norm3b|conv4a\.\.norm4a|conv4a\.\.norm4b)$");
    let run = Run { batch: 4, image: Some(128), precision: Some(Precision::Fp32), ..Run::default() };
    let (granularity, currency) = (Granularity::Block, Currency::Flops);
    check(&Case { model: exported("flat"), run, granularity, currency, only, parts: 8 });
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
    let run = Run {
        batch: 3,
        seq: 90,
        precision: Some(Precision::Fp32),
        attention: Some(attention),
        accumulate,
        ..Run::default()
    };
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

/// Stages of unlike sizes, with convolutions.
#[test]
fn resnet18() {
    let run = Run { batch: 4, image: Some(64), precision: Some(Precision::Fp32), ..Run::default() };
    let config = json!({"block": "BasicBlock", "layers": [2, 2, 2, 2], "num_classes": 10});
    check(&case("ResNet", config, run, Granularity::Block, None));
}

/// Blocks of any widths one after another.
const CHAIN: &str = "\
name: chain
source: none
uses: [nn, vision, loops]
architectures:
  Chain: {inputs: image_inputs, takes_images: true}
config: {defaults: {image_size: 32, num_classes: 10}}
modules:
  Chain(config):
    children:
      stem: Linear(config.image_size, config.widths[0])
      blocks: '[Block(config.widths[i], config.hidden[i], config.widths[i + 1]) for i in range(len(config.hidden))]'
      head: Linear(3 * config.image_size * config.widths[len(config.hidden)], config.num_classes)
    forward(x): |
      x = self.stem(x)
      for block in self.blocks:
        x = block(x)
      x = x.flatten(1)
      return self.head(x)
  Block(before, hidden, after):
    attributes: {residual: before == after}
    children:
      up: Linear(before, hidden)
      act: GELU()
      down: Linear(hidden, after)
    forward(x): |
      hidden = self.down(self.act(self.up(x)))
      return x + hidden if self.residual else hidden
";

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, rng_seed: RngSeed::Fixed(4), ..ProptestConfig::default() })]

    /// Chains of up to eight blocks, and of up to two blocks with all their modules.
    #[test]
    fn chains_of_any_widths(
        blocks in prop::collection::vec((1u64..6, 1u64..20), 1..9),
        first in 1u64..6,
        batch in 1u64..9,
        steps in 1u64..4,
        modules: bool,
        time: bool,
    ) {
        let blocks = &blocks[..if modules { blocks.len().min(2) } else { blocks.len() }];
        let widths: Vec<u64> = std::iter::once(first).chain(blocks.iter().map(|(width, _)| *width)).map(|width| 32 * width).collect();
        let hidden: Vec<u64> = blocks.iter().map(|(_, hidden)| 24 * hidden).collect();
        let model = chain(&widths, &hidden);
        let run = Run { batch, precision: Some(Precision::Fp32), steps, ..Run::default() };
        let granularity = if modules { Granularity::Module } else { Granularity::Block };
        let currency = if time { Currency::Time } else { Currency::Flops };
        check(&Case { model, run, granularity, currency, only: modules.then_some("^blocks"), parts: 8 });
    }
}

fn chain(widths: &[u64], hidden: &[u64]) -> Model {
    let family = Shelf::default().family(&"chain.yaml".into(), CHAIN).expect("a sound spec");
    Model::small_of(family, "Chain", json!({"widths": widths, "hidden": hidden}))
}

#[test]
fn a_chain_of_twelve_blocks() {
    let model = chain(
        &[64, 96, 64, 64, 32, 128, 64, 160, 64, 64, 96, 32, 64],
        &[300, 50, 70, 600, 20, 90, 90, 10, 400, 80, 60, 30],
    );
    let run = Run { batch: 4, precision: Some(Precision::Fp32), steps: 1, ..Run::default() };
    let currency = Currency::Flops;
    check(&Case { model, run, granularity: Granularity::Block, currency, only: None, parts: 3 });
}

#[test]
fn operators_of_a_llama_block() {
    let config = json!({"hidden_size": 128, "intermediate_size": 500, "num_hidden_layers": 1, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": 303});
    let run = Run { batch: 4, seq: 128, precision: Some(Precision::Bf16), use_cache: Some(false), ..Run::default() };
    check(&case("LlamaForCausalLM", config.clone(), run.clone(), Granularity::Op, None));
    check(&timed(case("LlamaForCausalLM", config, run, Granularity::Op, None)));
}

#[test]
fn operators_of_a_gpt2_block_under_autocast() {
    let config = json!({"n_layer": 1, "n_embd": 192, "n_head": 6, "vocab_size": 503});
    let run = Run { batch: 4, seq: 128, precision: Some(Precision::AmpBf16), ..Run::default() };
    check(&case("GPT2LMHeadModel", config, run, Granularity::Op, None));
}

#[test]
fn operators_of_two_bert_blocks() {
    let config = json!({"hidden_size": 96, "intermediate_size": 300, "num_hidden_layers": 2, "num_attention_heads": 3,
        "vocab_size": 303, "hidden_act": "relu", "hidden_dropout_prob": 0.0});
    let run = Run { batch: 3, seq: 90, precision: Some(Precision::Fp32), steps: 2, ..Run::default() };
    check(&case("BertForSequenceClassification", config, run, Granularity::Op, None));
}

/// A larger budget never costs more, and the same question has the same answer.
#[test]
fn a_larger_budget_never_costs_more() {
    let config = json!({"n_layer": 6, "n_embd": 192, "n_head": 6, "vocab_size": 503});
    let run = Run { batch: 4, seq: 128, precision: Some(Precision::AmpBf16), ..Run::default() };
    let (model, gpu) = (Model::small("GPT2LMHeadModel", config), gpu());
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
        assert!(choice.recompute.flops <= last, "{part} sixteenths cost more than less");
        assert!(choice.lower_bound <= choice.recompute.flops);
        last = choice.recompute.flops;
    }
    assert!(found >= 3, "only {found} budgets have a choice");
}

/// A candidate's cost, what it saves, what it needs beyond nothing, and kinds of operators with what they spare and hold.
type Drawn = (u64, (i64, i64), (i64, i64), Vec<(u64, i64)>);

fn candidate((cost, saves, needs, kinds): &Drawn, (from, to): (usize, usize)) -> Candidate {
    let flops = |flops| Cost { flops, nanoseconds: 0 };
    let kind = |(spares, holds): &(u64, i64)| Kind {
        op: "relu",
        spares: flops(*spares.min(cost) / kinds.len().max(1) as u64),
        holds: Savings { forward: *holds, backward: *holds },
    };
    Candidate {
        path: String::new(),
        from,
        to,
        cost: flops(*cost),
        saves: Savings { forward: saves.0, backward: saves.1 },
        needs: Needs { forward: needs.0, backward: needs.1 },
        takes_workspace: cost % 2 == 0,
        is_block: true,
        kinds: kinds.iter().map(kind).collect(),
    }
}

/// Parts of a forward, each with two candidates in it and one around them.
fn chain_of(parts: &[[Drawn; 3]], workspace: i64) -> Chain {
    let (mut candidates, mut segments) = (Vec::new(), vec![Needs { forward: 40, backward: 40 }]);
    for (number, [first, second, around]) in parts.iter().enumerate() {
        let at = 1 + 2 * number;
        candidates.push(candidate(first, (at, at + 1)));
        candidates.push(candidate(second, (at + 1, at + 2)));
        candidates.push(candidate(around, (at, at + 2)));
        let most = 60 + 20 * number as i64;
        segments
            .extend([Needs { forward: most, backward: most + 9 }, Needs { forward: most + 10, backward: most + 4 }]);
    }
    let most = 80 + 20 * parts.len() as i64;
    segments.push(Needs { forward: most, backward: most });
    Chain { segments, candidates, outside: 30, workspace, currency: Currency::Flops }
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let kinds = prop::collection::vec((1u64..30, -2i64..6), 0..3);
    (1u64..60, (-2i64..14, -2i64..14), (10i64..90, 10i64..90), kinds)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, rng_seed: RngSeed::Fixed(7), ..ProptestConfig::default() })]

    /// The cheapest set and the least peak of chains, by all sets one by one.
    #[test]
    fn the_cheapest_of_all_sets(
        parts in prop::collection::vec([drawn(), drawn(), drawn()], 1..4),
        workspace in prop::sample::select(vec![0i64, 7]),
    ) {
        let chain = chain_of(&parts, workspace);
        let Some(all) = chain.all_within(i64::MAX, u64::MAX, 50_000) else { return Ok(()) };
        let peaks: Vec<(i64, u64)> = all.iter().map(|set| (chain.peak(set), chain.cost(set))).collect();
        let least = peaks.iter().map(|(peak, _)| *peak).min().expect("a set");
        prop_assert_eq!(chain.least_peak(), least);
        prop_assert_eq!(chain.cheapest(least - 1, Among::All, Prefer::Late), None);
        for bound in (least..=chain.peak(&[])).step_by(5) {
            let cost = peaks.iter().filter(|(peak, _)| *peak <= bound).map(|(_, cost)| *cost).min();
            for prefer in [Prefer::Late, Prefer::Early] {
                let found = chain.cheapest(bound, Among::All, prefer).expect("a set");
                prop_assert!(chain.peak(&found.picks) <= bound);
                prop_assert_eq!(Some(chain.cost(&found.picks)), cost);
                prop_assert_eq!(Some(found.at_least), cost);
            }
            let cost = cost.expect("a set");
            let below = chain.all_within(bound, cost + 10, 50_000).expect("few sets");
            let within = peaks.iter().filter(|(peak, above)| *peak <= bound && *above < cost + 10).count();
            prop_assert_eq!(below.len(), within);
        }
    }
}

/// Thousands of parts: what is found is within the bound, and near what any set costs at least.
#[test]
fn a_chain_of_thousands_of_parts() {
    let part = |number: u64| {
        let drawn = |cost: u64, saves: i64| (cost, (saves, saves), (60, 60), vec![]);
        [drawn(5, 3 + (number % 3) as i64), drawn(40, 9), drawn(70 + number % 7, 17)]
    };
    let parts: Vec<[Drawn; 3]> = (0..3000).map(part).collect();
    let chain = chain_of(&parts, 0);
    let bound = (chain.peak(&[]) + chain.least_peak()) / 2;
    let found = chain.cheapest(bound, Among::All, Prefer::Late).expect("a set");
    let cost = chain.cost(&found.picks);
    assert!(chain.peak(&found.picks) <= bound);
    assert!(found.at_least <= cost && cost <= found.at_least + found.at_least / 100, "{} {cost}", found.at_least);
}
