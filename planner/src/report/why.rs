//! Who made a tensor, who held it, and what let go of it: `memplan why`.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::bytes::Bytes;
use crate::replay::Replay;
use crate::trace::{AllocationId, Category, Cause, Event, Trace};
use crate::words::nearest::nearest;

/// How many allocations of a name are told of.
const MOST: usize = 4;

/// The life of an allocation: the events at which it is made, becomes something else and goes.
struct Life {
    id: AllocationId,
    made: usize,
    becomes: Vec<(usize, Category)>,
    gone: Option<(usize, Cause)>,
}

/// What is known of the tensors of that name, those of the last step first; the name is a parameter's or a module's path, an
/// operator, `OPERATOR of PATH`, or `#NUMBER`.
///
/// # Errors
/// A name that nothing has, in one line.
pub fn text(replay: &Replay, name: &str) -> Result<String, String> {
    let trace = &replay.trace;
    let mut found: Vec<AllocationId> = ids(trace).filter(|id| is_called(trace, *id, name)).collect();
    if found.is_empty() {
        let names: BTreeSet<String> = ids(trace).map(|id| trace.tensor(&trace.allocation(id))).collect();
        let close = nearest(name, names.iter().map(String::as_str));
        let hint = close.first().map_or_else(String::new, |close| format!("; did you mean `{close}`?"));
        return Err(format!("nothing in the run is called `{name}`{hint}"));
    }
    let count = found.len();
    let alive_at_peak = |id: &AllocationId| replay.at_peak.iter().any(|live| live.id == *id);
    found.sort_by_key(|id| (!alive_at_peak(id), std::cmp::Reverse(trace.allocation(*id).bytes)));
    found.truncate(MOST);
    let mut text = String::new();
    for life in lives(trace, &found) {
        text.push_str(&told(replay, &life));
    }
    if count > MOST {
        let _ = writeln!(text, "and {} more of that name: `#NUMBER` tells of one", count - MOST);
    }
    Ok(text)
}

fn ids(trace: &Trace) -> impl Iterator<Item = AllocationId> {
    (0..trace.allocation_count() as u32).map(AllocationId)
}

fn is_called(trace: &Trace, id: AllocationId, name: &str) -> bool {
    let allocation = trace.allocation(id);
    let number = || name.strip_prefix('#').and_then(|number| number.parse::<u32>().ok());
    trace.tensor(&allocation) == name
        || trace.parameter(&allocation) == Some(name)
        || trace.module(&allocation) == name
        || trace.operator(&allocation) == name
        || number() == Some(id.0)
}

/// The lives of these allocations, in their order.
fn lives(trace: &Trace, of: &[AllocationId]) -> Vec<Life> {
    let mut lives: Vec<Life> = of.iter().map(|id| Life { id: *id, made: 0, becomes: Vec::new(), gone: None }).collect();
    for (number, event) in trace.events().enumerate() {
        let (Event::Allocate(id) | Event::Free(id, _) | Event::Becomes(id, _)) = event else { continue };
        let Some(life) = lives.iter_mut().find(|life| life.id == id) else { continue };
        match event {
            Event::Allocate(_) => life.made = number,
            Event::Becomes(_, category) => life.becomes.push((number, category)),
            Event::Free(_, cause) => life.gone = Some((number, cause)),
            Event::Phase(_) => {}
        }
    }
    lives
}

fn told(replay: &Replay, life: &Life) -> String {
    let trace = &replay.trace;
    let allocation = trace.allocation(life.id);
    let Bytes(bytes) = allocation.bytes;
    let phase = |event| replay.phase_at(event).map_or_else(|| "at the end".to_owned(), |phase| format!("in {phase}"));
    let module = Some(trace.module(&allocation)).filter(|path| !path.is_empty()).unwrap_or("the model");
    let mut text = format!("#{} {}: {bytes} bytes ({})\n", life.id.0, trace.tensor(&allocation), allocation.bytes);
    let _ = writeln!(text, "  made  by {} of {module}, {}", trace.asked_by(&allocation), phase(life.made));
    if let Some(place) = allocation.place.and_then(|place| trace.places.get(place.0 as usize)) {
        let _ = writeln!(text, "        {} ({}:{})", place.function, place.file, place.line);
    }
    let _ = writeln!(text, "  for   {}", allocation.category.name());
    for (event, category) in &life.becomes {
        let _ = writeln!(text, "  then  {}, {}", category.name(), phase(*event));
    }
    match life.gone {
        None => text.push_str("  stays to the end of the run\n"),
        Some((event, cause)) => {
            let _ = writeln!(text, "  went  {}: {}", phase(event), reason(trace, cause));
        }
    }
    text
}

/// What let go, in words.
fn reason(trace: &Trace, cause: Cause) -> String {
    let text = |name| trace.names.text(name);
    match cause {
        Cause::Unknown => "the file does not say what let go of it".to_owned(),
        Cause::Operator(name) => format!("{} had run, and nothing else held it", text(name)),
        Cause::Node(name) => format!("{} had run, for which it was a temporary", text(name)),
        Cause::Gradient(name) => format!("{} had run, for which it was the incoming gradient", text(name)),
        Cause::Saved(name) => format!("{} had run, and let go of what it had saved", text(name)),
        Cause::Python(place) => {
            trace.places.get(place.0 as usize).map_or_else(|| "a line of Python".to_owned(), ToString::to_string)
        }
        Cause::Frame(module) => {
            let path = trace.modules.get(module.index()).map_or("", |path| path);
            format!("the frame of the checkpointed call of {path} went")
        }
    }
}
