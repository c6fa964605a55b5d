//! What a plan's event file says beside the events ([`crate::trace::file`]).

use serde::Serialize;

use super::{Planned, json, text};
use crate::bytes::Bytes;
use crate::trace::file::Head;
use crate::trace::{Cursor, Event};

/// A phase's figures, and how many events there were up to its end.
#[derive(Serialize)]
struct PhaseEnd {
    #[serde(flatten)]
    figures: json::PhaseReport,
    requested: Bytes,
    allocations: u64,
    frees: u64,
}

/// The head of a plan's event file.
pub fn head(planned: &Planned<'_>) -> Head {
    let whole = planned.plan.whole();
    Head {
        id: planned.model.name.clone(),
        device: planned.gpu.name.clone(),
        run: text::run_line(planned),
        torch: planned.run.torch.to_string(),
        allocator: planned.run.allocator.clone(),
        capacity: Some(planned.plan.capacity),
        max_allocated: whole.peak_allocated,
        max_reserved: whole.peak_reserved,
        phases: phase_ends(planned),
    }
}

fn phase_ends(planned: &Planned<'_>) -> Vec<serde_json::Value> {
    let mut figures = json::phases(planned.plan).into_iter();
    let mut ends = Vec::new();
    let (mut allocations, mut frees) = (0, 0);
    let mut cursor = Cursor::new(&planned.plan.trace);
    while let Some((_, event)) = cursor.step() {
        match event {
            Event::Allocate(_) => allocations += 1,
            Event::Free(..) => frees += 1,
            Event::Phase(_) => {
                let Some(figures) = figures.next() else { break };
                let requested = cursor.bytes().total();
                ends.extend(serde_json::to_value(PhaseEnd { figures, requested, allocations, frees }));
            }
            Event::Becomes(..) => {}
        }
    }
    ends
}
