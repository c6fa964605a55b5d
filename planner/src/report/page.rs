//! A plan as one page to look at: the timeline, the modules, the largest tensors, the segments, the settings. It needs no network.
//!
//! The page's own files lie in `page/`; what they show is the JSON of [`Data`] within it. Rows of numbers are arrays, since
//! there are thousands of them; the files say what stands where.

use serde::Serialize;
use serde_json::{Value, json};

use super::arena::{self, Shown};
use super::changes::{self, ComparisonReport};
use super::colours::{COLOURS, NAMES};
use super::{Planned, json, text};
use crate::allocate::{BlockState, PoolKind, SegmentView};
use crate::arena::Arena;
use crate::bytes::Bytes;
use crate::history::{Group, History, Sample, alive, history, modules_at_peak};
use crate::snapshot::Comparison;
use crate::trace::{ByCategory, Event};

/// How many stretches a timeline is shown in: more than a screen has columns.
const STRETCHES: usize = 2400;
/// How many events before and after the peak are shown one by one.
const NEAR_PEAK: usize = 600;
/// How many groups of tensors are named at each moment.
const ALIVE: usize = 8;
/// How many tensors the table has.
const TENSORS: usize = 60;

const HTML: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPTS: [&str; 6] = [
    include_str!("page/units.js"),
    include_str!("page/timeline.js"),
    include_str!("page/segments.js"),
    include_str!("page/arena.js"),
    include_str!("page/treemap.js"),
    include_str!("page/page.js"),
];

/// All that a page shows.
#[derive(Serialize)]
struct Data {
    plan: PlanData,
    against: Option<PlanData>,
    changes: Option<ComparisonReport>,
}

/// A plan on the page.
#[derive(Serialize)]
struct PlanData {
    title: String,
    report: json::Report,
    categories: [&'static str; NAMES.len()],
    colours: [&'static str; COLOURS.len()],
    events: usize,
    peak: usize,
    /// from, to, event, allocated, reserved, bytes by category.
    samples: Vec<Vec<u64>>,
    /// Of each sample: group, count, bytes, and so on.
    alive: Vec<Vec<u64>>,
    /// module, what.
    groups: Vec<[String; 2]>,
    /// event, step, name.
    phases: Vec<Value>,
    /// path, bytes by category.
    modules: Vec<Value>,
    /// bytes, count, category, place, made by.
    tensors: Vec<Value>,
    segments: Vec<Segment>,
    arena: Option<Shown>,
}

#[derive(Serialize)]
struct Segment {
    size: Bytes,
    kind: &'static str,
    /// size, asked for, state, group, category.
    blocks: Vec<Value>,
}

/// The page of a plan with its last step in an arena, if that was packed, beside another plan if there is one, with what differs.
///
/// # Errors
/// Figures that JSON cannot hold; there are none.
pub fn page(
    planned: &Planned<'_>,
    arena: Option<&Arena<'_>>,
    against: Option<(&Planned<'_>, &Comparison)>,
) -> Result<String, serde_json::Error> {
    let data = Data {
        plan: PlanData { arena: arena.map(arena::shown), ..plan_data(planned) },
        against: against.map(|(other, _)| plan_data(other)),
        changes: against.map(|(_, comparison)| changes::report(comparison)),
    };
    // Within a script's element nothing may look like its end.
    let data = serde_json::to_string(&data)?.replace('<', "\\u003c");
    let title = quick_xml::escape::escape(title(planned));
    let scripts = SCRIPTS.join("\n");
    Ok(filled(&[("title", &title), ("style", STYLE), ("script", &scripts), ("data", &data)]))
}

/// The page's HTML with texts in their places, `{{title}}`; what looks like a place within a text is none.
fn filled(texts: &[(&str, &str)]) -> String {
    let mut pieces = HTML.split("{{");
    let mut page = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (place, rest) = piece.split_once("}}").unwrap_or(("", piece));
        let text = texts.iter().find(|(name, _)| *name == place);
        page.push_str(text.map_or("", |(_, text)| text));
        page.push_str(rest);
    }
    page
}

/// `gpt2: train, fp32, batch 4, ... on NVIDIA H200`
pub(super) fn title(planned: &Planned<'_>) -> String {
    format!("{}: {}, on {}", planned.model.name, text::words(planned).join(", "), planned.gpu.name)
}

fn plan_data(planned: &Planned<'_>) -> PlanData {
    let plan = planned.plan;
    let history = history(plan, STRETCHES, NEAR_PEAK);
    let (groups, alive) = alive(plan, &history, ALIVE);
    let numbers = |alive: &crate::history::Alive| [alive.group as u64, alive.count, alive.bytes.0];
    PlanData {
        title: title(planned),
        report: json::report(planned),
        categories: NAMES,
        colours: COLOURS,
        events: history.events,
        peak: plan.whole().peak_event,
        samples: history.samples.iter().map(sample).collect(),
        alive: alive.iter().map(|moment| moment.iter().flat_map(numbers).collect()).collect(),
        phases: phases(planned),
        modules: modules(planned),
        tensors: tensors(planned),
        segments: history.segments.iter().map(|segment| shown(planned, &history, &groups, segment)).collect(),
        groups: groups.into_iter().map(|group| [group.module, group.what]).collect(),
        arena: None,
    }
}

fn sample(sample: &Sample) -> Vec<u64> {
    let Sample { from, to, event, allocated, reserved, categories } = sample;
    let fixed = [*from as u64, *to as u64, *event as u64, allocated.0, reserved.0];
    fixed.into_iter().chain(categories.each().map(|bytes| bytes.0)).chain([sample.slack().0]).collect()
}

fn phases(planned: &Planned<'_>) -> Vec<Value> {
    let trace = &planned.plan.trace;
    let end = |(event, what): (usize, &Event)| match what {
        Event::Phase(number) => {
            let phase = trace.phases.get(*number as usize)?;
            Some(json!([event, phase.step, phase.name.as_ref()]))
        }
        _ => None,
    };
    trace.events.iter().enumerate().filter_map(end).collect()
}

fn modules(planned: &Planned<'_>) -> Vec<Value> {
    let row = |(path, categories): (String, ByCategory)| {
        let bytes = categories.each().map(|bytes| Value::from(bytes.0));
        Value::Array(std::iter::once(Value::from(path)).chain(bytes).chain([Value::from(0)]).collect())
    };
    modules_at_peak(planned.plan).into_iter().map(|held| row((held.module, held.categories))).collect()
}

fn tensors(planned: &Planned<'_>) -> Vec<Value> {
    let largest = planned.plan.siblings_at_peak().into_iter().take(TENSORS);
    largest
        .map(|tensor| json!([tensor.bytes, tensor.count, tensor.category as usize, tensor.place, tensor.by]))
        .collect()
}

fn shown(planned: &Planned<'_>, history: &History, groups: &[Group], segment: &SegmentView) -> Segment {
    let plan = planned.plan;
    let block = |block: &crate::allocate::BlockView| {
        let owner = history.owners.get(&block.id).filter(|_| block.state == BlockState::Used);
        let live = owner.and_then(|id| plan.at_peak.iter().find(|live| live.id == *id));
        let (group, category) = match live {
            Some(live) => {
                let (module, what) = plan.place(&plan.trace.allocations[live.id.index()]);
                let found = groups.iter().position(|group| group.what == what && group.module == module);
                (found.map_or(-1, |found| found as i64), live.category as usize)
            }
            None => (-1, NAMES.len() - 1),
        };
        let state = match block.state {
            BlockState::Used => "used",
            BlockState::Waiting => "waiting",
            BlockState::Free => "free",
        };
        json!([block.size, block.requested, state, group, category])
    };
    let kind = match segment.kind {
        PoolKind::Small => "small",
        PoolKind::Large => "large",
    };
    Segment { size: segment.size, kind, blocks: segment.blocks.iter().map(block).collect() }
}
