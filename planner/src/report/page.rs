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
use crate::replay::Replay;
use crate::snapshot::Comparison;
use crate::trace::ByCategory;
use crate::trace::file::Head;
use crate::words::quote;

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
struct Data<'a> {
    plan: PlanData<'a>,
    against: Option<PlanData<'a>>,
    changes: Option<ComparisonReport>,
}

/// What a page shows: a plan, or a trace from a file.
pub struct Subject<'a> {
    title: String,
    /// What is said of it in words and figures, in the keys of a plan's JSON.
    report: Value,
    replay: &'a Replay,
}

impl<'a> Subject<'a> {
    /// A plan.
    ///
    /// # Errors
    /// Figures that JSON cannot hold; there are none.
    pub fn plan(planned: &Planned<'a>) -> Result<Subject<'a>, serde_json::Error> {
        let report = serde_json::to_value(json::report(planned))?;
        Ok(Subject { title: title(planned), report, replay: planned.plan })
    }

    /// A trace from a file.
    ///
    /// # Errors
    /// As of a plan.
    pub fn trace(head: &Head, replay: &'a Replay) -> Result<Subject<'a>, serde_json::Error> {
        let mut report = serde_json::to_value(super::replay::report(head, replay))?;
        report["model"] = json!({"name": head.id});
        report["run"] = json!({"words": head.run, "torch": head.torch, "allocator": head.allocator});
        report["gpu"] = json!({"name": head.device});
        (report["warnings"], report["notes"]) = (json!([]), json!([]));
        Ok(Subject { title: head.title(), report, replay })
    }
}

/// A plan or a trace on the page.
#[derive(Serialize)]
struct PlanData<'a> {
    title: &'a str,
    report: &'a Value,
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

/// The page of a plan or trace with its last step in an arena, if that was packed, beside another if there is one, with what differs.
///
/// # Errors
/// Figures that JSON cannot hold; there are none.
pub fn page(
    subject: &Subject<'_>,
    arena: Option<&Arena<'_>>,
    against: Option<(&Subject<'_>, &Comparison)>,
) -> Result<String, serde_json::Error> {
    let data = Data {
        plan: PlanData { arena: arena.map(arena::shown), ..plan_data(subject) },
        against: against.map(|(other, _)| plan_data(other)),
        changes: against.map(|(_, comparison)| changes::report(comparison)),
    };
    // Within a script's element nothing may look like its end.
    let data = shown_in_json(&serde_json::to_string(&data)?.replace('<', "\\u003c"));
    let title = quick_xml::escape::escape(quote::visible(&subject.title));
    let scripts = SCRIPTS.join("\n");
    Ok(filled(&[("title", &title), ("style", STYLE), ("script", &scripts), ("data", &data)]))
}

/// JSON whose texts hide nothing where they are shown: what would is written out.
fn shown_in_json(json: &str) -> String {
    let shown = |c: char| if quote::is_invisible(c) { format!("\\{}", c.escape_unicode()) } else { c.into() };
    if json.contains(quote::is_invisible) { json.chars().map(shown).collect() } else { json.to_owned() }
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

fn plan_data<'a>(subject: &'a Subject<'_>) -> PlanData<'a> {
    let replay = subject.replay;
    let history = history(replay, STRETCHES, NEAR_PEAK);
    let (groups, alive) = alive(replay, &history, ALIVE);
    let numbers = |alive: &crate::history::Alive| [alive.group as u64, alive.count, alive.bytes.0];
    PlanData {
        title: &subject.title,
        report: &subject.report,
        categories: NAMES,
        colours: COLOURS,
        events: history.events,
        peak: replay.whole().peak_event,
        samples: history.samples.iter().map(sample).collect(),
        alive: alive.iter().map(|moment| moment.iter().flat_map(numbers).collect()).collect(),
        phases: phases(replay),
        modules: modules(replay),
        tensors: tensors(replay),
        segments: history.segments.iter().map(|segment| shown(replay, &history, &groups, segment)).collect(),
        groups: groups.into_iter().map(|group| [group.module, group.what]).collect(),
        arena: None,
    }
}

fn sample(sample: &Sample) -> Vec<u64> {
    let Sample { from, to, event, allocated, reserved, categories } = sample;
    let fixed = [*from as u64, *to as u64, *event as u64, allocated.0, reserved.0];
    fixed.into_iter().chain(categories.each().map(|bytes| bytes.0)).chain([sample.slack().0]).collect()
}

fn phases(replay: &Replay) -> Vec<Value> {
    let trace = &replay.trace;
    let end = |(event, number): (usize, u32)| {
        let phase = trace.phases.get(number as usize)?;
        Some(json!([event, phase.step, phase.name.as_ref()]))
    };
    trace.phase_ends(0).filter_map(end).collect()
}

fn modules(replay: &Replay) -> Vec<Value> {
    let row = |(path, categories): (String, ByCategory)| {
        let bytes = categories.each().map(|bytes| Value::from(bytes.0));
        Value::Array(std::iter::once(Value::from(path)).chain(bytes).chain([Value::from(0)]).collect())
    };
    modules_at_peak(replay).into_iter().map(|held| row((held.module, held.categories))).collect()
}

fn tensors(replay: &Replay) -> Vec<Value> {
    let largest = replay.siblings_at_peak().into_iter().take(TENSORS);
    largest
        .map(|tensor| json!([tensor.bytes, tensor.count, tensor.category as usize, tensor.place, tensor.by]))
        .collect()
}

fn shown(replay: &Replay, history: &History, groups: &[Group], segment: &SegmentView) -> Segment {
    let block = |block: &crate::allocate::BlockView| {
        let owner = history.owners.get(&block.id).filter(|_| block.state == BlockState::Used);
        let live = owner.and_then(|id| replay.at_peak.iter().find(|live| live.id == *id));
        let (group, category) = match live {
            Some(live) => {
                let (module, what) = replay.place(&replay.trace.allocation(live.id));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_hides_in_the_data() {
        let json = serde_json::to_string("a\u{202e}b\u{200b}").expect("a text");
        let shown: String = serde_json::from_str(&shown_in_json(&json)).expect("JSON");
        assert_eq!(shown, r"a\u{202e}b\u{200b}");
    }
}
