//! What would make a run fit: a line a change and the smallest combination for people, every figure for programs.

use serde::Serialize;

use super::SCHEMA;
use super::table::{Align, below, broken_at, wrapped};
use crate::advise::{
    Advice, CHOSEN, CHOSEN_CODE, CHOSEN_COST, CHOSEN_SOURCE, Change, Class, Combination, Slot, Variant,
};
use crate::bytes::Bytes;
use crate::model::Model;
use crate::read::gpus::Gpu;
use crate::run::Precision;

use Align::{Left, Right};

/// Flags that are longer are told by the change's name.
const LONGEST: usize = 52;

/// An advice with what it is for.
#[derive(Clone, Copy, Debug)]
pub struct Advised<'a> {
    /// The model.
    pub model: &'a Model,
    /// The GPU.
    pub gpu: &'a Gpu,
    /// The advice.
    pub advice: &'a Advice,
}

/// The advice for people; its first line is the verdict of the run as given.
pub fn text(advised: &Advised<'_>) -> String {
    let Advised { model, gpu, advice } = advised;
    let (needed, free) = (advice.given.reserved, advice.capacity);
    let verdict = match advice.given.headroom(free) {
        Some(left) => format!("fits: {needed} of {free} free, {left} to spare"),
        None => format!("does not fit: {needed} needed, {free} free"),
    };
    let subject = format!("{} in {} on {}", model.name, advice.precision, gpu.name);
    format!("{verdict}\n\n{subject}\n\n{}{}", changes(advised), conclusion(advised))
}

fn changes(Advised { advice, gpu, .. }: &Advised<'_>) -> String {
    let header = ["paid with", "saves", "reserved", "step", ""].map(str::to_owned);
    let heading = |class: Class| [class.word(), "", "", "", ""].map(str::to_owned);
    let line = |change: &Change| {
        [
            format!("  {}", shown(change)),
            signed(saves(advice, change)),
            change.peaks.reserved.to_string(),
            change.effort.seconds(gpu).map_or_else(|| "-".to_owned(), super::seconds),
            if change.peaks.fits { "fits" } else { "" }.to_owned(),
        ]
    };
    let shown: Vec<&Change> =
        advice.changes.iter().filter(|change| saves(advice, change) > 0 || change.peaks.fits).collect();
    let classes = shown.chunk_by(|before, after| before.cost.class == after.cost.class);
    let within = classes.flat_map(|changes| {
        let class = changes.first().map(|change| heading(change.cost.class));
        class.into_iter().chain(changes.iter().map(|change| line(change)))
    });
    let lines: Vec<[String; 5]> = std::iter::once(header).chain(within).collect();
    broken_at(0, [Left, Right, Right, Right, Left], &lines)
}

/// A change's flags, or its name where they are long.
fn shown(change: &Change) -> String {
    let flags = change.variant.flags.to_string();
    if flags.len() <= LONGEST { flags } else { format!("({})", change.name) }
}

/// What a change takes off the peak reserved; below zero where it adds.
fn saves(advice: &Advice, change: &Change) -> i64 {
    advice.given.reserved.0 as i64 - change.peaks.reserved.0 as i64
}

fn signed(bytes: i64) -> String {
    let sign = if bytes < 0 { "-" } else { "" };
    format!("{sign}{}", Bytes(bytes.unsigned_abs()))
}

fn conclusion(advised: &Advised<'_>) -> String {
    let advice = advised.advice;
    if advice.given.fits {
        return below(left_out(advice).into_iter().chain(timed(advised)));
    }
    let (verdict, combination) = match (&advice.combination, &advice.nearest) {
        (Some(found), _) => ("the smallest combination that fits", found),
        (None, Some(nearest)) => ("nothing that was tried fits; the nearest", nearest),
        (None, None) => return below(["nothing is known that would change this run".to_owned()]),
    };
    let mut text = format!("\n{}", wrapped(&format!("{verdict}: {}", figures(advice, combination)), "", "  "));
    text.push_str(&wrapped(&words(&combination.variant), "  ", "    "));
    for (number, place) in combination.changes.iter().enumerate() {
        let change = &advice.changes[*place];
        let chosen = combination.chosen.is_some() && change.slot == Slot::Checkpoints;
        let [name, cost, code, source] = match chosen {
            true => [CHOSEN, CHOSEN_COST, CHOSEN_CODE, CHOSEN_SOURCE],
            false => [change.name, change.words, &change.code, change.source],
        };
        text.push_str(&wrapped(&format!("{}. {name}: {cost}", number + 1), "  ", "     "));
        text.push_str(&wrapped(&format!("{code} ({source})"), "     ", "     "));
    }
    text + &below([not_tried(advice)].into_iter().chain(left_out(advice)).chain(timed(advised)))
}

/// The flags as a shell takes them.
fn words(variant: &Variant) -> String {
    let plain = |value: &str| value.chars().all(|c| c.is_ascii_alphanumeric() || "-_.,:=+/@%".contains(c));
    let word = |(flag, value): &(&str, String)| match value.as_str() {
        "" => format!("--{flag}"),
        value if plain(value) => format!("--{flag} {value}"),
        value => format!("--{flag} '{value}'"),
    };
    variant.flags.0.iter().map(word).collect::<Vec<_>>().join(" ")
}

fn figures(advice: &Advice, combination: &Combination) -> String {
    let again = combination.effort.recomputed.flops;
    let share = 100.0 * again as f64 / combination.effort.computed.flops.max(1) as f64;
    let more = if again > 0 { format!(", {share:.1} % more operations a step") } else { String::new() };
    let host = Some(combination.host).filter(|host| host.0 > 0);
    let host = host.map_or_else(String::new, |host| format!(", {host} in the host's memory"));
    format!("{} of {} free{more}{host}", combination.peaks.reserved, advice.capacity)
}

fn not_tried(advice: &Advice) -> String {
    format!(
        "combinations planned: {}; not planned: {}, parts and weaker forms of what does not fit, and what is larger or paid \
         dearer than what fits",
        advice.tried, advice.untried
    )
}

/// What times are.
fn timed(Advised { advice, gpu, .. }: &Advised<'_>) -> Option<String> {
    let given = super::seconds(advice.effort.seconds(gpu)?);
    Some(match gpu.has_measured_speeds() {
        true => format!("step: an estimate by the GPU's profile, without communication and the host; as given {given}"),
        false => format!(
            "step: the least that the work can take by the GPU's datasheet, not measured, without communication and the host; as \
             given {given}"
        ),
    })
}

/// Changes that are not shown.
fn left_out(advice: &Advice) -> Option<String> {
    let nothing = advice.changes.iter().filter(|change| saves(advice, change) <= 0 && !change.peaks.fits);
    let names: Vec<String> = nothing.map(shown).collect();
    (!names.is_empty()).then(|| format!("alone these save nothing here: {}", names.join("; ")))
}

/// `memplan advise --format json`. Sizes of memory are bytes.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "the keys are explained where they need it")]
pub struct AdviceReport {
    pub schema: u32,
    pub model: String,
    pub gpu: String,
    pub precision: Precision,
    pub fits: bool,
    /// Of the run as given; without a limit where it does not fit.
    pub peak_allocated: Bytes,
    pub peak_reserved: Bytes,
    /// The bytes that the allocator may take from the GPU.
    pub capacity: Bytes,
    pub headroom: Option<Bytes>,
    /// Operations of a step as given.
    pub step_flops: u64,
    /// Its time on the GPU, without communication and the host.
    pub step_seconds: Option<f64>,
    /// Whether the GPU's speeds were measured; else times are the least that the work can take.
    pub measured_speeds: bool,
    /// The cheapest first.
    pub changes: Vec<ChangeRow>,
    /// The smallest combination that fits, an empty one where the run fits as given; null where none was found.
    pub combination: Option<CombinationRow>,
    /// Where none was found, what comes nearest.
    pub nearest: Option<CombinationRow>,
    /// Combinations of two and more that were planned, and how many were not.
    pub tried: u64,
    pub untried: u64,
}

/// A change alone.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "as in the report")]
pub struct ChangeRow {
    pub name: &'static str,
    /// What is to be added to the flags; later ones win.
    pub flags: String,
    /// What it takes off the peak reserved, and off the peak allocated; below zero where it adds.
    pub saves: i64,
    pub saves_allocated: i64,
    pub fits: bool,
    pub peak_allocated: Bytes,
    pub peak_reserved: Bytes,
    /// The bytes that the run keeps in the memory of the host.
    pub host: Bytes,
    /// What it is paid with.
    pub class: Class,
    pub cost: &'static str,
    /// Operations that are computed again in a step.
    pub recompute_flops: u64,
    /// The time of a step on the GPU, without communication and the host.
    pub step_seconds: Option<f64>,
    /// The line that makes the change, and where it is written down.
    pub code: String,
    pub source: &'static str,
}

/// Changes together.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "as in the report")]
pub struct CombinationRow {
    pub flags: String,
    /// The changes, by their places in `changes`.
    pub changes: Vec<usize>,
    pub fits: bool,
    pub peak_allocated: Bytes,
    pub peak_reserved: Bytes,
    pub headroom: Option<Bytes>,
    pub saves: i64,
    pub saves_allocated: i64,
    /// The bytes that the run keeps in the memory of the host.
    pub host: Bytes,
    /// Operations that are computed again in a step.
    pub recompute_flops: u64,
    /// The time of a step on the GPU, without communication and the host.
    pub step_seconds: Option<f64>,
}

/// The advice for programs.
pub fn json(advised: &Advised<'_>) -> AdviceReport {
    let Advised { model, gpu, advice } = advised;
    AdviceReport {
        schema: SCHEMA,
        model: model.name.clone(),
        gpu: gpu.key.clone(),
        precision: advice.precision,
        fits: advice.given.fits,
        peak_allocated: advice.given.allocated,
        peak_reserved: advice.given.reserved,
        capacity: advice.capacity,
        headroom: advice.given.headroom(advice.capacity),
        step_flops: advice.effort.computed.and(advice.effort.recomputed).flops,
        step_seconds: advice.effort.seconds(gpu),
        measured_speeds: gpu.has_measured_speeds(),
        changes: advice.changes.iter().map(|change| change_row(advised, change)).collect(),
        combination: advice.combination.as_ref().map(|combination| combination_row(advised, combination)),
        nearest: advice.nearest.as_ref().map(|combination| combination_row(advised, combination)),
        tried: advice.tried,
        untried: advice.untried,
    }
}

fn change_row(Advised { advice, gpu, .. }: &Advised<'_>, change: &Change) -> ChangeRow {
    ChangeRow {
        name: change.name,
        flags: change.variant.flags.to_string(),
        saves: saves(advice, change),
        saves_allocated: advice.given.allocated.0 as i64 - change.peaks.allocated.0 as i64,
        fits: change.peaks.fits,
        peak_allocated: change.peaks.allocated,
        peak_reserved: change.peaks.reserved,
        host: change.host,
        class: change.cost.class,
        cost: change.words,
        recompute_flops: change.effort.recomputed.flops,
        step_seconds: change.effort.seconds(gpu),
        code: change.code.clone(),
        source: change.source,
    }
}

fn combination_row(Advised { advice, gpu, .. }: &Advised<'_>, combination: &Combination) -> CombinationRow {
    let Combination { changes, variant, peaks, effort, .. } = combination;
    CombinationRow {
        flags: variant.flags.to_string(),
        changes: changes.clone(),
        fits: peaks.fits,
        peak_allocated: peaks.allocated,
        peak_reserved: peaks.reserved,
        headroom: peaks.headroom(advice.capacity),
        saves: advice.given.reserved.0 as i64 - peaks.reserved.0 as i64,
        saves_allocated: advice.given.allocated.0 as i64 - peaks.allocated.0 as i64,
        host: combination.host,
        recompute_flops: effort.recomputed.flops,
        step_seconds: effort.seconds(gpu),
    }
}
