//! What fits where: a line a GPU for people, every figure for programs.

use serde::Serialize;

use super::SCHEMA;
use super::table::{Align, below, table};
use crate::bytes::{Bytes, GIB};
use crate::fit::search::BEYOND;
use crate::fit::{Axis, Found, Limit, Room, Row, Stop};
use crate::model::Model;
use crate::plan::footprint::Peaks;
use crate::read::gpus::Gpu;
use crate::run::{Mode, Precision, Run};
use crate::trace::file::Head;

use Align::{Left, Right};

/// The answers for people.
pub fn text(model: &Model, run: &Run, rows: &[Row]) -> String {
    let axes = Axis::of(model);
    let words = axes.map(|axis| word(run, axis));
    let mut lines = vec![["", "free", "peak", "left", "", words[0], "next", words[1], "next"].map(str::to_owned)];
    lines.push(["gpu", "GiB", "GiB", "GiB", "share", "up to", "GiB", "up to", "GiB"].map(str::to_owned));
    lines.extend(rows.iter().map(line));
    let columns = [Left, Right, Right, Right, Right, Right, Right, Right, Right];
    let remarks = below(remarks(model, run, rows));
    format!("{}\n\n{}{remarks}", subject(model, run, rows), table(columns, &lines))
}

/// What the largest sizes are of.
fn word(run: &Run, axis: Axis) -> &'static str {
    match (axis, run.mode) {
        (Axis::Batch, Mode::Generate) => "requests",
        (Axis::Batch, _) => "batch",
        (Axis::Seq, Mode::Generate) => "prompt",
        (Axis::Seq, _) => "seq",
        (Axis::Image, _) => "image",
    }
}

fn subject(model: &Model, run: &Run, rows: &[Row]) -> String {
    let precision = rows.iter().find_map(|row| Some(row.found.as_ref().ok()?.precision));
    let mut words = vec![run.mode.to_string()];
    words.extend(precision.map(|precision| precision.to_string()));
    words.extend(Axis::of(model).map(|axis| format!("{axis} {}", axis.size(model, run))));
    words.extend((run.mode == Mode::Generate).then(|| format!("{} new tokens", run.new_tokens)));
    format!("{}: {}", model.name, words.join(", "))
}

fn line(row: &Row) -> [String; 9] {
    let (name, free) = (row.gpu.key.clone(), gib(row.capacity));
    let Ok(Found { given, limits, .. }) = &row.found else {
        let dash = || "-".to_owned();
        return [name, free, dash(), dash(), "refused".to_owned(), dash(), dash(), dash(), dash()];
    };
    let [name, free, peak, left, share] = room_left(&row.gpu, row.capacity, *given);
    let limit = |place: usize| limits.get(place).map_or_else(Default::default, cells);
    let ([batch, batch_next], [seq, seq_next]) = (limit(0), limit(1));
    [name, free, peak, left, share, batch, batch_next, seq, seq_next]
}

/// A GPU, its memory, the peak of a run and what is left.
fn room_left(gpu: &Gpu, capacity: Bytes, given: Peaks) -> [String; 5] {
    let left = capacity.0 as f64 - given.reserved.0 as f64;
    let (left, share) = match given.fits {
        true => (format!("{:.2}", left / GIB as f64), format!("{:.1} %", 100.0 * left / capacity.0 as f64)),
        false => (String::new(), "no fit".to_owned()),
    };
    [gpu.key.clone(), gib(capacity), gib(given.reserved), left, share]
}

/// The largest size and the peak of the next.
fn cells(limit: &Limit) -> [String; 2] {
    let largest = limit.largest.map_or_else(|| "none".to_owned(), |(size, _)| size.to_string());
    let next = match limit.stop {
        Stop::Memory(reserved) => gib(reserved),
        Stop::Refused(_) => "refused".to_owned(),
    };
    [largest, next]
}

fn gib(bytes: Bytes) -> String {
    format!("{:.2}", bytes.0 as f64 / GIB as f64)
}

/// What the table does not say: what its columns are, what is refused, what a model was not made for.
fn remarks(model: &Model, run: &Run, rows: &[Row]) -> Vec<String> {
    let mut remarks = vec![format!(
        "up to: the largest that fits, all else as given; next: what one more would reserve; none of the {BEYOND} sizes \
         beyond it fits"
    )];
    let refused = |axis: Axis| {
        let limits = rows.iter().filter_map(|row| row.found.as_ref().ok()).flat_map(|found| &found.limits);
        let mut limits = limits.filter(move |limit| limit.axis == axis);
        limits.find_map(|limit| match &limit.stop {
            Stop::Refused(reason) => Some(format!("{axis} {} is refused: {reason}", limit.next)),
            Stop::Memory(_) => None,
        })
    };
    remarks.extend(Axis::of(model).into_iter().filter_map(refused));
    let errors = rows.iter().filter_map(|row| Some(format!("{}: {}", row.gpu.key, row.found.as_ref().err()?)));
    remarks.extend(errors);
    if let Some(positions) = positions(model)
        && rows.iter().any(|row| longest(row, run) > positions)
    {
        remarks.push(format!(
            "note: max_position_embeddings of the model's config is {positions}: it runs longer sequences, but was not made \
             for them"
        ));
    }
    remarks
}

/// How many tokens a model was made for.
fn positions(model: &Model) -> Option<u64> {
    model.entry("max_position_embeddings")?.as_u64()
}

/// The longest sequence that a row tells of, with what is generated.
fn longest(row: &Row, run: &Run) -> u64 {
    let limits = row.found.iter().flat_map(|found| &found.limits).filter(|limit| limit.axis == Axis::Seq);
    let generated = if run.mode == Mode::Generate { run.new_tokens } else { 0 };
    limits.filter_map(|limit| Some(limit.largest?.0 + generated)).max().unwrap_or(0)
}

/// Where a trace from a file fits, for people.
pub fn rooms_text(head: &Head, rooms: &[Room]) -> String {
    let mut lines = vec![["gpu", "free", "peak", "left", "share"].map(str::to_owned)];
    lines.push(["", "GiB", "GiB", "GiB", ""].map(str::to_owned));
    lines.extend(rooms.iter().map(|room| room_left(&room.gpu, room.capacity, room.given)));
    let made = format!("by memory alone: the kernels are those of {}", head.device);
    format!("{}: {}\n\n{}{}", head.id, head.run, table([Left, Right, Right, Right, Right], &lines), below([made]))
}

/// Where a trace from a file fits, for programs. Sizes of memory are bytes.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "the keys say it")]
pub struct RoomsReport {
    pub schema: u32,
    pub model: String,
    pub run: String,
    pub device: String,
    pub rows: Vec<RoomRow>,
}

/// A GPU.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "the keys say it")]
pub struct RoomRow {
    pub gpu: String,
    pub capacity: Bytes,
    pub fits: bool,
    pub headroom: Option<Bytes>,
    pub peak_allocated: Bytes,
    pub peak_reserved: Bytes,
    pub given_back: Bytes,
}

/// The answers of a trace for programs.
pub fn rooms_json(head: &Head, rooms: &[Room]) -> RoomsReport {
    let row = |room: &Room| RoomRow {
        gpu: room.gpu.key.clone(),
        capacity: room.capacity,
        fits: room.given.fits,
        headroom: room.given.headroom(room.capacity),
        peak_allocated: room.given.allocated,
        peak_reserved: room.given.reserved,
        given_back: room.given.given_back,
    };
    let (model, run, device) = (head.id.clone(), head.run.clone(), head.device.clone());
    RoomsReport { schema: SCHEMA, model, run, device, rows: rooms.iter().map(row).collect() }
}

/// `memplan fit --format json`. Sizes of memory are bytes.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "the keys are explained where they need it")]
pub struct FitReport {
    pub schema: u32,
    pub model: String,
    pub mode: Mode,
    pub batch: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<u64>,
    /// Tokens that the config says the model was made for.
    pub max_position_embeddings: Option<u64>,
    pub rows: Vec<FitRow>,
}

/// A GPU.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "as in the report")]
pub struct FitRow {
    pub gpu: String,
    /// The bytes that the allocator may take from the GPU.
    pub capacity: Bytes,
    pub fits: bool,
    /// What is left of the capacity; null where the run does not fit.
    pub headroom: Option<Bytes>,
    /// Of the run as given, without a limit where it does not fit.
    pub peak_allocated: Option<Bytes>,
    pub peak_reserved: Option<Bytes>,
    pub given_back: Option<Bytes>,
    pub precision: Option<Precision>,
    /// The largest that fit, all else as given; null where none does.
    pub max_batch: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_seq: Option<Option<u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_image: Option<Option<u64>>,
    /// What lies on both sides of these.
    pub limits: Vec<LimitRow>,
    /// Why the run cannot be planned on this GPU.
    pub refused: Option<String>,
}

/// Both sides of a largest size.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "as in the report")]
pub struct LimitRow {
    pub of: Axis,
    pub largest: Option<u64>,
    pub peak_reserved: Option<Bytes>,
    pub next: u64,
    /// What the next size would reserve, or why it is refused.
    pub next_peak_reserved: Option<Bytes>,
    pub next_refused: Option<String>,
}

/// The answers for programs.
pub fn json(model: &Model, run: &Run, rows: &[Row]) -> FitReport {
    let image = model.takes_images().then(|| Axis::Image.size(model, run));
    FitReport {
        schema: SCHEMA,
        model: model.name.clone(),
        mode: run.mode,
        batch: run.batch,
        seq: image.is_none().then_some(run.seq),
        image,
        max_position_embeddings: positions(model),
        rows: rows.iter().map(fit_row).collect(),
    }
}

fn fit_row(row: &Row) -> FitRow {
    let found = row.found.as_ref().ok();
    let given = found.map(|found| found.given);
    let limits = found.map_or(&[][..], |found| &found.limits);
    let largest = |axis: Axis| {
        let limit = limits.iter().find(|limit| limit.axis == axis);
        limit.map(|limit| limit.largest.map(|(size, _)| size))
    };
    FitRow {
        gpu: row.gpu.key.clone(),
        capacity: row.capacity,
        fits: row.fits(),
        headroom: row.headroom(),
        peak_allocated: given.map(|given| given.allocated),
        peak_reserved: given.map(|given| given.reserved),
        given_back: given.filter(|given| given.fits).map(|given| given.given_back),
        precision: found.map(|found| found.precision),
        max_batch: largest(Axis::Batch).flatten(),
        max_seq: largest(Axis::Seq),
        max_image: largest(Axis::Image),
        limits: limits.iter().map(limit_row).collect(),
        refused: row.found.as_ref().err().cloned(),
    }
}

fn limit_row(limit: &Limit) -> LimitRow {
    let (next_peak_reserved, next_refused) = match &limit.stop {
        Stop::Memory(reserved) => (Some(*reserved), None),
        Stop::Refused(reason) => (None, Some(reason.clone())),
    };
    LimitRow {
        of: limit.axis,
        largest: limit.largest.map(|(size, _)| size),
        peak_reserved: limit.largest.map(|(_, peaks)| peaks.reserved),
        next: limit.next,
        next_peak_reserved,
        next_refused,
    }
}
