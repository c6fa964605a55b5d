//! Choices of checkpoints: for people, for programs, and as code that applies them.

use indexmap::{IndexMap, IndexSet};
use serde::Serialize;

use super::SCHEMA;
use super::table::{Align, table, wrapped};
use crate::bytes::Bytes;
use crate::checkpoint::{Answer, Choice, Chosen, Currency, Form, Measure, Peaks, Wanted};
use crate::model::Model;
use crate::read::gpus::Gpu;
use crate::replay::{ranges, split};
use crate::run::{Region, Run};
use crate::time::Cost;

/// What was asked.
pub struct Asked<'a> {
    /// The model.
    pub model: &'a Model,
    /// The run.
    pub run: &'a Run,
    /// The GPU.
    pub gpu: &'a Gpu,
    /// The budget and what else is wanted.
    pub wanted: &'a Wanted,
}

/// The answer for people.
pub fn text(asked: &Asked<'_>, answer: &Answer) -> String {
    let Asked { model, run, gpu, wanted } = asked;
    let budget = wanted.budget;
    let mut text = verdict(wanted, answer);
    let size = size(asked);
    text.push_str(&format!("\nmodel  {}: {}\nrun    {size}, {}\n", model.name, model.architecture, run.optimizer));
    text.push_str(&format!("gpu    {}\nbudget {budget} {}\n\n", gpu.name, wanted.measure.word()));
    let row = |name: &str, peaks: &Peaks| [name.to_owned(), peaks.allocated.to_string(), peaks.reserved.to_string()];
    let mut rows = vec![["", "peak allocated", "peak reserved"].map(str::to_owned)];
    rows.push(row("without checkpoints", &answer.without));
    rows.extend(answer.choice.as_ref().map(|choice| row("with this choice", &choice.peaks)));
    rows.extend(answer.with_all.as_ref().map(|peaks| row("with all of them", peaks)));
    text.push_str(&table([Align::Left, Align::Right, Align::Right], &rows));
    if let Some(choice) = answer.choice.as_ref().filter(|choice| !choice.modules.is_empty()) {
        text.push('\n');
        text.push_str(&modules(choice, answer.step));
    }
    text.push_str(&left_out(&answer.refused));
    text
}

/// The modules that could not be chosen, and what lets them run.
fn left_out(refused: &[String]) -> String {
    let Some(first) = refused.first() else { return String::new() };
    let more = if refused.len() > 1 { format!(" and {} more", refused.len() - 1) } else { String::new() };
    let line = format!(
        "{first}{more} cannot run again while the layers are handed a cache: --use-cache off lets them be checkpointed"
    );
    format!("\n{}", wrapped(&line, "left out:", "  "))
}

fn size(asked: &Asked<'_>) -> String {
    let run = asked.run;
    if asked.model.takes_images() {
        let image = run.image.map_or(String::new(), |image| format!(", image {image}"));
        return format!("batch {}{image}", run.batch);
    }
    format!("batch {}, seq {}", run.batch, run.seq)
}

/// Whether a choice fits, in a line or two.
pub fn verdict(wanted: &Wanted, answer: &Answer) -> String {
    let (budget, measure) = (wanted.budget, wanted.measure);
    let Some(choice) = &answer.choice else {
        let least = answer.least.unwrap_or_default();
        let without = answer.without.by(measure);
        let all = answer.with_all.as_ref().map(|peaks| format!(", with all of them {}", peaks.by(measure)));
        let all = all.unwrap_or_default();
        return format!(
            "does not fit: within {budget} no choice was found; without checkpoints {without} are \
             {0}{all}, and below {least} no choice gets\n",
            measure.word()
        );
    };
    if choice.modules.is_empty() {
        return format!("fits: without checkpoints, {} {} of {budget}\n", choice.peaks.by(measure), measure.word());
    }
    let (verb, noun) = words(choice.currency);
    let of_step = |cost: u64| percent(cost, choice.currency.of(answer.step));
    let share = of_step(choice.currency.of(choice.recompute));
    let proof = if choice.optimal {
        format!("no choice {verb} less")
    } else {
        let least = of_step(choice.lower_bound);
        format!("at least {least} is needed by any choice; whether one of less than {share} exists is not proved")
    };
    format!(
        "fits: {} {} of {budget}, with {} {} checkpointed; {share} more {noun} a step\n{proof}\n",
        choice.peaks.by(measure),
        measure.word(),
        choice.modules.len(),
        if has_spans(choice) { "regions" } else { "modules" }
    )
}

/// Whether runs of calls are among what is checkpointed.
fn has_spans(choice: &Choice) -> bool {
    choice.modules.iter().any(|chosen| chosen.region.span().is_some())
}

/// What a choice with less of it does less, and what that is.
fn words(currency: Currency) -> (&'static str, &'static str) {
    match currency {
        Currency::Flops => ("computes", "operations"),
        Currency::Time => ("takes", "time"),
    }
}

/// A cost for people.
fn amount(cost: Cost, currency: Currency) -> String {
    match currency {
        Currency::Flops => cost.flops.to_string(),
        Currency::Time => super::seconds(cost.seconds()),
    }
}

fn percent(part: u64, whole: u64) -> String {
    let share = 100.0 * part as f64 / whole.max(1) as f64;
    // two digits at least of what is not nothing
    let digits = if part == 0 { 2 } else { (1 - share.log10().floor() as i32).clamp(2, 8) as usize };
    format!("{share:.digits$} %")
}

/// The modules, folded by their layers' numbers, the runs of calls, and below them what they save: a number for each set of operators.
fn modules(choice: &Choice, step: Cost) -> String {
    let currency = choice.currency;
    let mut kinds: IndexMap<(&str, &str, Bytes, Cost, String), Vec<u64>> = IndexMap::new();
    let mut sets: IndexSet<String> = IndexSet::new();
    for module in &choice.modules {
        // the ends of a run of calls are no layers that could be folded
        let path = &*module.region.path;
        let (before, number, after) = if module.region.span().is_some() { (path, None, "") } else { split(path) };
        let saved = module.region.save.as_ref().map(|saved| sets.insert_full(saved.to_string()).0 + 1);
        let saved = saved.map_or(String::new(), |number| format!("({number})"));
        let kind = kinds.entry((before, after, module.saves, module.recompute, saved)).or_default();
        kind.extend(number);
    }
    let what = if has_spans(choice) { "region" } else { "module" };
    let mut rows = vec![[what, "saves", words(currency).1, "of a step", ""].map(str::to_owned)];
    for ((before, after, saves, cost, saved), numbers) in kinds {
        let count = numbers.len().max(1) as u64;
        let place = format!("{before}{}{after}", ranges(numbers));
        let place = if count > 1 { format!("{place} x{count}") } else { place };
        let all = cost.times(count);
        let share = percent(currency.of(all), currency.of(step));
        rows.push([place, Bytes(saves.0 * count).to_string(), amount(all, currency), share, saved]);
    }
    let mut text = table([Align::Left, Align::Right, Align::Right, Align::Right, Align::Left], &rows);
    for (number, set) in sets.iter().enumerate() {
        let names = set.replace(',', ", ").replace("_scaled_dot_product", "\n    _scaled_dot_product");
        text.push_str(format!("({}) keeps what these give: {names}", number + 1).replace(": \n", ":\n").trim_end());
        text.push('\n');
    }
    text
}

/// The trade-off for people.
pub fn curve(points: &[(Bytes, Choice)], measure: Measure, step: Cost) -> String {
    let currency = points.first().map_or(Currency::Flops, |(_, choice)| choice.currency);
    let mut rows = vec![["budget", measure.word(), words(currency).1, "modules", ""].map(str::to_owned)];
    rows.extend(points.iter().map(|(budget, choice)| {
        let proof = if choice.optimal { "least" } else { "" };
        let share = format!("+{}", percent(currency.of(choice.recompute), currency.of(step)));
        let peak = choice.peaks.by(measure).to_string();
        [budget.to_string(), peak, share, choice.modules.len().to_string(), proof.to_owned()]
    }));
    table([Align::Right, Align::Right, Align::Right, Align::Right, Align::Left], &rows)
}

/// Peaks in JSON, in bytes.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct JsonPeaks {
    peak_allocated: u64,
    peak_reserved: u64,
}

impl From<&Peaks> for JsonPeaks {
    fn from(peaks: &Peaks) -> JsonPeaks {
        JsonPeaks { peak_allocated: peaks.allocated.0, peak_reserved: peaks.reserved.0 }
    }
}

/// A module or a run of calls in JSON.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct JsonModule {
    /// Its path, or `FIRST..LAST`.
    module: String,
    /// The operators whose results it saves.
    save: Vec<String>,
    saved_bytes: u64,
    recompute_flops: u64,
    recompute_seconds: Option<f64>,
}

/// A choice in JSON.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct JsonChoice {
    modules: Vec<String>,
    details: Vec<JsonModule>,
    peak_allocated: u64,
    peak_reserved: u64,
    recompute_flops: u64,
    /// By the GPU's roofline.
    recompute_seconds: Option<f64>,
    /// What was to be least.
    cost: Currency,
    optimal: bool,
    /// Where operations were to be least; else null.
    lower_bound_flops: Option<u64>,
    /// Where time was; else null.
    lower_bound_seconds: Option<f64>,
}

/// Seconds, where something takes any: without a roofline nothing does.
fn seconds(cost: Cost) -> Option<f64> {
    (cost == Cost::default() || cost.nanoseconds > 0).then(|| cost.seconds())
}

impl From<&Choice> for JsonChoice {
    fn from(choice: &Choice) -> JsonChoice {
        let detail = |chosen: &Chosen| JsonModule {
            module: chosen.region.path.clone(),
            save: chosen.region.save.iter().flat_map(|saved| saved.names()).map(str::to_owned).collect(),
            saved_bytes: chosen.saves.0,
            recompute_flops: chosen.recompute.flops,
            recompute_seconds: seconds(chosen.recompute),
        };
        JsonChoice {
            modules: choice.modules.iter().map(|chosen| chosen.region.path.clone()).collect(),
            details: choice.modules.iter().map(detail).collect(),
            peak_allocated: choice.peaks.allocated.0,
            peak_reserved: choice.peaks.reserved.0,
            recompute_flops: choice.recompute.flops,
            recompute_seconds: seconds(choice.recompute),
            cost: choice.currency,
            optimal: choice.optimal,
            lower_bound_flops: (choice.currency == Currency::Flops).then_some(choice.lower_bound),
            lower_bound_seconds: (choice.currency == Currency::Time).then(|| choice.lower_bound as f64 / 1e9),
        }
    }
}

/// `memplan checkpoint --format json`: the answer; sizes are bytes, and the keys of a choice are there where one fits.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct JsonAnswer {
    schema: u32,
    fits: bool,
    budget: u64,
    measure: Measure,
    #[serde(flatten)]
    choice: Option<JsonChoice>,
    step_flops: u64,
    step_seconds: Option<f64>,
    /// Whether times come from a profile; else they are the least that the work can take.
    measured_speeds: bool,
    without: JsonPeaks,
    with_all: Option<JsonPeaks>,
    least: Option<u64>,
    /// Modules that PyTorch refuses to run again while the layers are handed a cache.
    refused: Vec<String>,
}

/// The answer for programs.
pub fn json(asked: &Asked<'_>, answer: &Answer) -> JsonAnswer {
    JsonAnswer {
        schema: SCHEMA,
        fits: answer.choice.is_some(),
        budget: asked.wanted.budget.0,
        measure: asked.wanted.measure,
        choice: answer.choice.as_ref().map(JsonChoice::from),
        step_flops: answer.step.flops,
        step_seconds: seconds(answer.step),
        measured_speeds: asked.gpu.has_measured_speeds(),
        without: (&answer.without).into(),
        with_all: answer.with_all.as_ref().map(JsonPeaks::from),
        least: answer.least.map(|least| least.0),
        refused: answer.refused.clone(),
    }
}

/// `memplan checkpoint --curve --format json`: the trade-off, a row a budget.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct JsonCurve {
    schema: u32,
    rows: Vec<JsonPoint>,
}

/// A point of a curve in JSON.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct JsonPoint {
    budget: u64,
    #[serde(flatten)]
    choice: JsonChoice,
}

/// The trade-off for programs.
pub fn curve_json(points: &[(Bytes, Choice)]) -> JsonCurve {
    let row = |(budget, choice): &(Bytes, Choice)| JsonPoint { budget: budget.0, choice: choice.into() };
    JsonCurve { schema: SCHEMA, rows: points.iter().map(row).collect() }
}

/// What applies a choice.
pub fn emit(asked: &Asked<'_>, choice: &Choice, form: Form) -> String {
    let regions = || choice.modules.iter().map(|chosen| &chosen.region);
    let remark = format!(
        "# {}, {}: {} of {} {}\n",
        asked.model.name,
        size(asked),
        choice.peaks.by(asked.wanted.measure),
        asked.wanted.budget,
        asked.wanted.measure.word()
    );
    if form == Form::File {
        return regions().fold(remark, |text, region| format!("{text}{region}\n"));
    }
    let loads = match form {
        Form::Transformers => format!(
            "from transformers import {0}\n\nmodel = {0}.from_pretrained(...)\n{1}apply_checkpoints(model)\nmodel.train()\n",
            asked.model.architecture,
            if asked.run.use_cache == Some(false) { "model.config.use_cache = False\n" } else { "" }
        ),
        _ => "# apply_checkpoints(model), before DistributedDataParallel or fully_shard\n".to_owned(),
    };
    let modules = || regions().filter(|region| region.span().is_none());
    let spans: Vec<&Chosen> = choice.modules.iter().filter(|chosen| chosen.region.span().is_some()).collect();
    let applies = if modules().any(|region| region.save.is_some()) { applies_saving } else { applies };
    let code = applies(&mut modules(), &spans);
    format!("{remark}{code}\n\n{loads}")
}

/// Python that wraps these modules' forwards.
fn applies(regions: &mut dyn Iterator<Item = &Region>, spans: &[&Chosen]) -> String {
    let listed: String = regions.map(|region| format!("    \"{}\",\n", region.path)).collect();
    let (defined, applied) = applies_spans(spans);
    format!(
        "from torch.utils.checkpoint import checkpoint

CHECKPOINTED = [
{listed}]
{defined}

def apply_checkpoints(model):
    for path in CHECKPOINTED:
        module = model.get_submodule(path)

        def forward(*args, _forward=module.forward, **kwargs):
            return checkpoint(_forward, *args, use_reentrant=False, **kwargs)

        module.forward = forward
{applied}"
    )
}

/// The same, with a policy for those that save what operators give.
fn applies_saving(regions: &mut dyn Iterator<Item = &Region>, spans: &[&Chosen]) -> String {
    let (defined, applied) = applies_spans(spans);
    let mut sets: IndexSet<Vec<String>> = IndexSet::new();
    let mut listed = String::new();
    for region in regions {
        let saved = region.save.as_ref().map_or(Vec::new(), |saved| saved.overloads().collect());
        let name =
            if saved.is_empty() { "None".to_owned() } else { format!("SAVED_{}", sets.insert_full(saved).0 + 1) };
        listed.push_str(&format!("    \"{}\": {name},\n", region.path));
    }
    let mut text = "\
from functools import partial

import torch
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts, noop_context_fn

aten = torch.ops.aten
"
    .to_owned();
    for (number, set) in sets.iter().enumerate() {
        let lines: String = set.iter().map(|name| format!("    {name},\n")).collect();
        text.push_str(&format!("SAVED_{} = [\n{lines}]\n", number + 1));
    }
    text + &format!(
        "
# what each region's operators save; all others run again
CHECKPOINTED = {{
{listed}}}
{defined}

def apply_checkpoints(model):
    for path, saved in CHECKPOINTED.items():
        module = model.get_submodule(path)
        policy = partial(create_selective_checkpoint_contexts, saved) if saved else noop_context_fn

        def forward(*args, _forward=module.forward, _policy=policy, **kwargs):
            return checkpoint(_forward, *args, use_reentrant=False, context_fn=_policy, **kwargs)

        module.forward = forward
{applied}"
    )
}

/// Python that runs children of a Sequential together, as its `forward` runs them one by one.
const RUN_CHILDREN: &str = "\
def run_all(run, x):
    for child in run:
        x = child(x)
    return x


def run_children(module, lasts, x):
    children = iter(module._modules.items())
    for name, child in children:
        last, run = lasts.get(name), [child]
        while last is not None and name != last:
            name, child = next(children)
            run.append(child)
        x = child(x) if last is None else checkpoint(run_all, run, x, use_reentrant=False)
    return x


def apply_runs(model):
    runs = {}
    for first, last in RUNS:
        runs.setdefault(first.rpartition(\".\")[0], {})[first.rpartition(\".\")[2]] = last.rpartition(\".\")[2]
    for path, lasts in runs.items():
        module = model.get_submodule(path)
        module.forward = lambda x, _module=module, _lasts=lasts: run_children(_module, _lasts, x)
";

/// Python that runs children of a Sequential together under a checkpoint: what it defines and calls. Other runs of
/// calls are named in a remark, with what is to be done in the code that calls them.
fn applies_spans(spans: &[&Chosen]) -> (String, &'static str) {
    if spans.is_empty() {
        return Default::default();
    }
    let in_sequence = |chosen: &&Chosen| chosen.in_sequence && chosen.region.save.is_none();
    let (children, others): (Vec<&Chosen>, Vec<&Chosen>) = spans.iter().copied().partition(in_sequence);
    let mut text = String::new();
    if !others.is_empty() {
        let listed: String = others.iter().map(|chosen| format!("#   {}\n", chosen.region)).collect();
        text.push_str(&format!(
            "
# To be written in the forward that makes these calls: all from the first to the last in a function of the one tensor that
# goes in, called as checkpoint(function, tensor, use_reentrant=False). `pool@1` is the second call of pool, `%cat` a
# torch.cat in the model's own forward. After a colon stands what such a function saves (create_selective_checkpoint_contexts).
{listed}"
        ));
    }
    if children.is_empty() {
        return (text, "");
    }
    let pairs = children.iter().filter_map(|chosen| chosen.region.span());
    let listed: String = pairs.map(|(first, last)| format!("    (\"{first}\", \"{last}\"),\n")).collect();
    let what = "# children of an nn.Sequential that run together, from the first to the last";
    text.push_str(&format!("\n{what}\nRUNS = [\n{listed}]\n\n\n{RUN_CHILDREN}"));
    (text, "    apply_runs(model)\n")
}
