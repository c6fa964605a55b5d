//! An estimate as text and as JSON: bounds, how they were made, and the ways to a plan.

use serde::Serialize;

use super::SCHEMA;
use super::json::OutsideReport;
use super::table::{Align, table, wrapped};
use super::text::{headed, releases};
use crate::bytes::Bytes;
use crate::estimate::{Estimate, Range, STAND_INS, Verdict, WAYS};
use crate::read::gpus::Gpu;
use crate::run::{Mode, Run};
use crate::words::quote;

/// An estimate with what was estimated.
#[derive(Clone, Copy, Debug)]
pub struct Estimated<'a> {
    /// What the user called the model.
    pub name: &'a str,
    /// The run.
    pub run: &'a Run,
    /// The GPU.
    pub gpu: &'a Gpu,
    /// Why there is no plan, in words.
    pub reason: &'a str,
    /// The estimate.
    pub estimate: &'a Estimate,
}

/// `memplan plan --format json` where there is no plan.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct EstimateReport {
    /// The version of the answers.
    pub schema: u32,
    /// An estimate is not exact: false.
    pub exact: bool,
    /// Why there is no plan.
    pub reason: String,
    /// What the user called the model.
    pub model: String,
    /// The class that its config names.
    pub architecture: String,
    /// The section of the config that the estimate is of, where the model has other parts: no inputs of theirs are in the figures.
    pub section: Option<String>,
    /// The run: flags that are not the defaults.
    pub run: String,
    /// What the run does.
    pub mode: Mode,
    /// The precision that was estimated.
    pub precision: &'static str,
    /// The GPU by its key.
    pub gpu: String,
    /// `fits`: at most as much is needed as is free; `does not fit`: at least more is; `may fit`.
    pub verdict: &'static str,
    /// The same: true, false, or null where it may fit.
    pub fits: Option<bool>,
    /// The most that is allocated at once.
    pub peak_allocated: RangeReport,
    /// The most that is reserved at once.
    pub peak_reserved: RangeReport,
    /// The bytes that the allocator may take from the GPU.
    pub capacity: Bytes,
    /// What lies outside the allocator.
    pub outside_allocator: Option<OutsideReport>,
    /// Whether headers list the weights; else they are estimated from the config as well.
    pub has_headers: bool,
    /// How many parameters there are.
    pub parameters: CountReport,
    /// Bytes of the weights as the run has them.
    pub weights: RangeReport,
    /// The most bytes of gradients.
    pub gradients: RangeReport,
    /// The most bytes that the optimizer keeps.
    pub optimizer_states: RangeReport,
    /// The most of all else at once.
    pub activations: RangeReport,
    /// Keys and values of past tokens at their most.
    pub kv_cache: RangeReport,
    /// What the bounds were made by.
    pub stand_ins: Vec<StandInReport>,
    /// How to come to a plan.
    pub ways: Vec<&'static str>,
}

/// Bounds in bytes.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct RangeReport {
    /// At least.
    pub low: Bytes,
    /// At most.
    pub high: Bytes,
}

/// Bounds of a number.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct CountReport {
    /// At least.
    pub low: u64,
    /// At most.
    pub high: u64,
}

/// A model that stands for the one that is not described.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct StandInReport {
    /// Its name.
    pub name: &'static str,
    /// What it has.
    pub what: &'static str,
}

impl From<Range<Bytes>> for RangeReport {
    fn from(Range { low, high }: Range<Bytes>) -> RangeReport {
        RangeReport { low, high }
    }
}

/// An estimate in the form that is written out.
pub fn json(estimated: &Estimated<'_>) -> EstimateReport {
    let Estimated { name, run, gpu, reason, estimate } = *estimated;
    EstimateReport {
        schema: SCHEMA,
        exact: false,
        reason: reason.to_owned(),
        model: name.to_owned(),
        architecture: estimate.architecture.clone(),
        section: estimate.section.map(str::to_owned),
        run: run.flags_from(&Run::default()).to_string(),
        mode: run.mode,
        precision: estimate.precision.word(),
        gpu: gpu.key.clone(),
        verdict: word(estimate.verdict()),
        fits: match estimate.verdict() {
            Verdict::Fits => Some(true),
            Verdict::DoesNotFit => Some(false),
            Verdict::MayFit => None,
        },
        peak_allocated: estimate.allocated.into(),
        peak_reserved: estimate.reserved.into(),
        capacity: estimate.capacity,
        outside_allocator: estimate.outside.clone().map(|outside| OutsideReport {
            least: outside.least,
            most: outside.most,
            source: outside.source,
        }),
        has_headers: estimate.has_headers,
        parameters: CountReport { low: estimate.parameters.low, high: estimate.parameters.high },
        weights: estimate.weights.into(),
        gradients: estimate.gradients.into(),
        optimizer_states: estimate.optimizer_states.into(),
        activations: estimate.activations.into(),
        kv_cache: estimate.cache.into(),
        stand_ins: STAND_INS.into_iter().map(|(name, what)| StandInReport { name, what }).collect(),
        ways: WAYS.to_vec(),
    }
}

/// Renders an estimate; its first line says that it is one, with the verdict.
pub fn text(estimated: &Estimated<'_>) -> String {
    let Estimated { name, run, gpu, reason, estimate } = *estimated;
    let Range { low, high } = estimate.reserved;
    let free = estimate.capacity;
    let needed = match estimate.verdict() {
        Verdict::Fits => format!("at most {high} needed, {free} free"),
        Verdict::DoesNotFit => format!("at least {low} needed, {free} free"),
        Verdict::MayFit => format!("{low} to {high} needed, {free} free"),
    };
    let of = if estimate.has_headers { "" } else { ", of config.json alone" };
    let head = format!("estimate, not a plan{of}: {}: {needed}\n", word(estimate.verdict()));
    let parameters = match estimate.parameters {
        Range { low, high } if low == high => format!("{} parameters", super::brief::count(low)),
        Range { low, high } => format!("{} to {} parameters", super::brief::count(low), super::brief::count(high)),
    };
    let model = format!("{}: {}, {parameters}", quote::cut(name), quote::cut(&estimate.architecture));
    let mut words = vec![run.mode.to_string(), estimate.precision.to_string()];
    words.extend([format!("batch {}", run.batch), format!("seq {}", run.seq)]);
    match run.mode {
        Mode::Train => words.push(run.optimizer.to_string()),
        Mode::Generate => words.push(format!("{} new tokens", run.new_tokens)),
        Mode::Infer | Mode::EvalWithGrad => {}
    }
    let device = format!("{}, {}; {}", gpu.name, gpu.memory.total, releases(run));
    let subject = [headed("model", &model), headed("run", &words.join(", ")), headed("gpu", &device)].concat();
    let reason = wrapped(reason, "", "  ");
    [head, reason, "\n".to_owned(), subject, bounds(estimate, run.mode), made(estimate, run), ways()].concat()
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Fits => "fits",
        Verdict::DoesNotFit => "does not fit",
        Verdict::MayFit => "may fit",
    }
}

fn bounds(estimate: &Estimate, mode: Mode) -> String {
    let row = |name: &str, Range { low, high }: Range<Bytes>| {
        let at_most = if low == high { String::new() } else { high.to_string() };
        [name.to_owned(), low.to_string(), at_most]
    };
    let rows = [
        ("peak reserved", estimate.reserved),
        ("peak allocated", estimate.allocated),
        ("  weights", estimate.weights),
        ("  gradients", estimate.gradients),
        ("  optimizer states", estimate.optimizer_states),
        ("  KV cache", estimate.cache),
        ("  activations, all else", estimate.activations),
    ];
    // in training a cache goes unused
    let is_shown =
        |name: &str, range: Range<Bytes>| range.high > Bytes(0) && !(name.ends_with("cache") && mode.records());
    let shown = rows.into_iter().filter(|(name, range)| is_shown(name, *range)).map(|(name, range)| row(name, range));
    let head = ["", "at least", "at most"].map(str::to_owned);
    let rows: Vec<[String; 3]> = std::iter::once(head).chain(shown).collect();
    table([Align::Left, Align::Right, Align::Right], &rows)
}

/// How the bounds were made.
fn made(estimate: &Estimate, run: &Run) -> String {
    let weights = match estimate.has_headers {
        true => "weights are those of the headers",
        false => "weights are estimated from the config",
    };
    let part = estimate.section.map(|section| format!("; of {section} alone: no inputs of the model's other parts"));
    let stand_ins: Vec<String> = STAND_INS.iter().map(|(name, what)| format!("a {name} stand-in ({what})")).collect();
    let text = format!("{weights}; all else lies between {}{}", stand_ins.join(" and "), part.unwrap_or_default());
    let narrower = "; --attention sdpa narrows it where the model runs so";
    let narrower = if run.attention.is_none() { narrower } else { "" };
    wrapped(&format!("{text}{narrower}"), "bounds:", "  ")
}

fn ways() -> String {
    wrapped(&WAYS.join(", "), "to plan:", "  ")
}
