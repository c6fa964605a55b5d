//! A plan as a trace in Chrome's format, which Perfetto and chrome://tracing open: one microsecond an event, a counter a category,
//! slices for phases, for the calls of modules, and for the modules whose nodes run backward.
//!
//! Format: "Trace Event Format", Google, <https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU>.

use std::io::{self, Write};

use rustc_hash::FxHashMap;
use serde_json::{Value, json};

use crate::bytes::Bytes;
use crate::history::history;
use crate::ids::ModuleId;
use crate::lower::timeline::Mark;
use crate::replay::Replay;
use crate::trace::Trace;

/// The rows of slices.
const PHASES: u32 = 1;
const FORWARD: u32 = 2;
const BACKWARD: u32 = 3;

/// Writes a replay, with where the calls of modules and the nodes of autograd lie, as far as that is known.
///
/// # Errors
/// What the writer says.
pub fn write(replay: &Replay, marks: &[(usize, Mark)], to: &mut impl Write) -> io::Result<()> {
    to.write_all(b"{\"displayTimeUnit\": \"ns\", \"traceEvents\": [\n")?;
    let mut events = names();
    events.extend(phases(&replay.trace));
    events.extend(modules(&replay.trace, marks));
    events.extend(counters(replay));
    for (number, event) in events.iter().enumerate() {
        if number > 0 {
            to.write_all(b",\n")?;
        }
        serde_json::to_writer(&mut *to, event)?;
    }
    to.write_all(b"\n]}\n")
}

fn names() -> Vec<Value> {
    let rows = [(PHASES, "phases"), (FORWARD, "modules, called"), (BACKWARD, "modules, backward")];
    let thread = |(tid, name)| json!({"ph": "M", "pid": 1, "tid": tid, "name": "thread_name", "args": {"name": name}});
    let process = json!({"ph": "M", "pid": 1, "name": "process_name", "args": {"name": "memplan"}});
    std::iter::once(process).chain(rows.into_iter().map(thread)).collect()
}

fn slice(row: u32, name: &str, from: usize, to: usize) -> Value {
    json!({"ph": "X", "pid": 1, "tid": row, "name": name, "ts": from, "dur": to - from})
}

fn phases(trace: &Trace) -> Vec<Value> {
    let mut start = 0;
    let mut slices = Vec::new();
    for (number, phase) in trace.phase_ends(0) {
        let name = trace.phases.get(phase as usize).map(ToString::to_string).unwrap_or_default();
        slices.push(slice(PHASES, &name, start, number + 1));
        start = number + 1;
    }
    slices
}

/// Calls as they nest, and in backward the modules whose nodes run one after another.
fn modules(trace: &Trace, marks: &[(usize, Mark)]) -> Vec<Value> {
    let path = |module: ModuleId| match trace.modules.get(module.index()) {
        Some(path) if !path.is_empty() => &**path,
        _ => "the model",
    };
    let mut slices = Vec::new();
    let mut open: Vec<(ModuleId, usize)> = Vec::new();
    // The module that was being called when autograd made the node of each sequence number.
    let mut made_by: FxHashMap<u64, ModuleId> = FxHashMap::default();
    let mut last = 0;
    let mut running: Option<(ModuleId, usize)> = None;
    for (at, mark) in marks {
        if let Mark::Enter(_, sequence) | Mark::Exit(_, sequence) = mark {
            let caller = open.last().map_or(ModuleId(0), |(module, _)| *module);
            made_by.extend((last.min(*sequence)..*sequence).map(|node| (node, caller)));
            last = *sequence;
        }
        let module = match mark {
            Mark::Node(sequence) => made_by.get(sequence).copied(),
            _ => None,
        };
        if let Some((before, from)) = running.filter(|(before, _)| Some(*before) != module) {
            slices.push(slice(BACKWARD, path(before), from, *at));
            running = None;
        }
        running = running.or(module.map(|module| (module, *at)));
        match mark {
            Mark::Enter(module, _) => open.push((*module, *at)),
            Mark::Exit(..) => slices.extend(open.pop().map(|(module, from)| slice(FORWARD, path(module), from, *at))),
            Mark::Node(_) | Mark::Done => {}
        }
    }
    slices
}

/// A point wherever a counter changes: one a category, with allocated and reserved.
fn counters(replay: &Replay) -> Vec<Value> {
    let history = history(replay, replay.trace.event_count(), 0);
    let mut points = Vec::new();
    let mut before: Vec<Option<Bytes>> = vec![None; super::colours::NAMES.len() + 2];
    for sample in &history.samples {
        let named =
            super::colours::NAMES.iter().copied().zip(sample.categories.each().into_iter().chain([sample.slack()]));
        let counters = [("allocated", sample.allocated), ("reserved", sample.reserved)].into_iter().chain(named);
        for ((name, bytes), before) in counters.zip(&mut before) {
            if *before != Some(bytes) && (before.is_some() || bytes.0 > 0) {
                *before = Some(bytes);
                points.push(json!({"ph": "C", "pid": 1, "name": name, "ts": sample.event, "args": {"bytes": bytes}}));
            }
        }
    }
    points
}
