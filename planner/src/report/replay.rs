//! A replayed trace as JSON. Sizes are integers in bytes.

use indexmap::IndexMap;
use serde::Serialize;

use super::SCHEMA;
use super::json::{self, PhaseReport};
use crate::bytes::Bytes;
use crate::replay::Replay;
use crate::trace::file::Head;

/// `memplan replay --format json`.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "the keys say it")]
pub struct ReplayReport {
    pub schema: u32,
    pub model: String,
    pub run: String,
    pub device: String,
    pub torch: String,
    pub allocator: String,
    pub fits: bool,
    pub capacity: Bytes,
    pub headroom: Option<Bytes>,
    pub peak_allocated: Bytes,
    pub peak_reserved: Bytes,
    pub phases: Vec<PhaseReport>,
    /// By category; with `allocator_slack` they add up to `peak_allocated`.
    pub at_peak: IndexMap<String, Bytes>,
}

/// The report of a trace that was replayed.
pub fn report(head: &Head, replay: &Replay) -> ReplayReport {
    let whole = replay.whole();
    ReplayReport {
        schema: SCHEMA,
        model: head.id.clone(),
        run: head.run.clone(),
        device: head.device.clone(),
        torch: head.torch.clone(),
        allocator: head.allocator.clone(),
        fits: replay.fits(),
        capacity: replay.capacity,
        headroom: replay.headroom(),
        peak_allocated: whole.peak_allocated,
        peak_reserved: whole.peak_reserved,
        phases: json::phases(replay),
        at_peak: json::categories(replay),
    }
}
