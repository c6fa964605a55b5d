//! A step's buffers in one arena: its size against the bound and the caching allocator, and the layout.

use indexmap::IndexSet;
use serde::Serialize;

use super::SCHEMA;
use super::table::{Align, table};
use crate::arena::{Arena, Placed};
use crate::bytes::Bytes;
use crate::trace::{Category, Lifetime};

use Align::{Left, Right};

/// An arena for people; `name` says what is packed: `gpt2: GPT2LMHeadModel`.
pub fn text(name: &str, arena: &Arena<'_>) -> String {
    let Arena { replay, places, size, stays, lower_bound, .. } = arena;
    let steps = replay.trace.phases.last().map_or(0, |phase| phase.step + 1);
    let verdict = match arena.capacity {
        None => format!("packed: {size} in one arena"),
        Some(capacity) if arena.fits() => format!("fits: {size} of {capacity} in one arena"),
        Some(capacity) => format!("does not fit: {size} in one arena, {capacity} are given"),
    };
    let more = |bytes: Bytes| {
        let share = 100.0 * (bytes.0 as f64 / lower_bound.0.max(1) as f64 - 1.0);
        format!("{share:+.2} %")
    };
    let row =
        |name: &str, bytes: Bytes, remark: String| [name.to_owned(), bytes.0.to_string(), bytes.to_string(), remark];
    let rows = [
        row("lower bound", *lower_bound, "the most that is alive at once, in such multiples".to_owned()),
        row("arena", *size, format!("{} above it, {}", more(*size), arena.status)),
        row("  of which stays", *stays, "parameters, buffers and optimizer states, laid out first".to_owned()),
        row(
            "caching allocator",
            arena.reserved,
            format!("{} reserved, of which {} allocated", more(arena.reserved), arena.allocated),
        ),
        row("  expandable segments", arena.expandable, format!("{} reserved", more(arena.expandable))),
    ];
    format!(
        "{verdict}\n\nmodel  {name}\nstep   the last of {steps}: {} buffers, offsets in multiples of {} bytes\n\n{}",
        places.len(),
        arena.alignment.0,
        table([Left, Right, Right, Left], &rows)
    )
}

/// `memplan pack MODEL --format json`: an arena; sizes and offsets are bytes, times are events of the step.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct JsonArena {
    schema: u32,
    #[cfg_attr(feature = "schemas", schemars(extend("enum" = packing::Status::ALL.map(packing::Status::name))))]
    status: &'static str,
    fits: bool,
    capacity: Option<Bytes>,
    lower_bound: Bytes,
    arena: Bytes,
    stays: Bytes,
    allocated: Bytes,
    reserved: Bytes,
    reserved_expandable: Bytes,
    alignment: Bytes,
    buffers: usize,
    layout: Vec<JsonPlace>,
}

/// An arena on a page: rows of numbers are arrays.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    size: Bytes,
    lower_bound: Bytes,
    reserved: Bytes,
    expandable: Bytes,
    status: &'static str,
    /// Events of the step.
    length: u64,
    /// from, until, offset, bytes, category, name.
    places: Vec<[u64; 6]>,
    /// Whose buffers are.
    names: Vec<String>,
}

/// The arena for a page.
pub(super) fn shown(arena: &Arena<'_>) -> Shown {
    let trace = &arena.replay.trace;
    let mut names: IndexSet<String> = IndexSet::new();
    let place = |placed: &Placed| {
        let Lifetime { id, category, from, until, .. } = placed.life;
        let allocation = trace.allocation(id);
        let name = names.insert_full(trace.tensor(&allocation)).0 as u64;
        [from, until, placed.offset.0, allocation.bytes.0, category as u64, name]
    };
    let places = arena.places.iter().map(place).collect();
    let length = arena.places.iter().map(|placed| placed.life.until).max().unwrap_or(0);
    let Arena { size, lower_bound, reserved, expandable, status, .. } = *arena;
    Shown { size, lower_bound, reserved, expandable, status, length, places, names: names.into_iter().collect() }
}

/// A buffer in its place.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
struct JsonPlace {
    tensor: String,
    module: String,
    op: String,
    category: Category,
    bytes: Bytes,
    offset: Bytes,
    lower: u64,
    upper: u64,
}

/// The arena for programs.
pub fn json(arena: &Arena<'_>) -> JsonArena {
    let trace = &arena.replay.trace;
    let place = |placed: &Placed| {
        let allocation = trace.allocation(placed.life.id);
        JsonPlace {
            tensor: trace.tensor(&allocation),
            module: trace.module(&allocation).to_owned(),
            op: trace.operator(&allocation).to_owned(),
            category: placed.life.category,
            bytes: allocation.bytes,
            offset: placed.offset,
            lower: placed.life.from,
            upper: placed.life.until,
        }
    };
    JsonArena {
        schema: SCHEMA,
        status: arena.status,
        fits: arena.fits(),
        capacity: arena.capacity,
        lower_bound: arena.lower_bound,
        arena: arena.size,
        stays: arena.stays,
        allocated: arena.allocated,
        reserved: arena.reserved,
        reserved_expandable: arena.expandable,
        alignment: arena.alignment,
        buffers: arena.places.len(),
        layout: arena.places.iter().map(place).collect(),
    }
}
