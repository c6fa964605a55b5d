//! A plan's event stream in the format of the recorded traces (tests/truth/traces), one event a line.
//!
//! ```text
//! {"alloc": 1536, "stream": 1, "by": "mm < AddmmBackward0", "tensor": ..., "op": "mm", "module": ..., "category": ...}
//! -5                      the allocation number 4, counted from 0, is freed
//! ```

use std::io::{self, Write};

use serde::Serialize;

use super::{Planned, json};
use crate::bytes::Bytes;
use crate::schedule::{Allocation, Category, Event};

/// What stands before the events.
#[derive(Serialize)]
struct Head<'a> {
    id: &'a str,
    device: &'a str,
    max_allocated: Bytes,
    max_reserved: Bytes,
    phases: Vec<PhaseEnd>,
}

/// A phase's figures, and how many events there were up to its end.
#[derive(Serialize)]
struct PhaseEnd {
    #[serde(flatten)]
    figures: json::PhaseReport,
    requested: Bytes,
    allocations: u64,
    frees: u64,
}

/// An allocation.
#[derive(Serialize)]
struct Asked<'a> {
    alloc: Bytes,
    #[serde(skip_serializing_if = "is_default_stream")]
    stream: u32,
    by: String,
    tensor: String,
    op: &'a str,
    module: &'a str,
    /// What it is for when it is made.
    category: String,
}

/// Writes the events of a plan.
///
/// # Errors
/// What the writer says.
pub fn write(planned: &Planned<'_>, to: &mut impl Write) -> io::Result<()> {
    let whole = planned.plan.whole();
    let head = Head {
        id: &planned.model.name,
        device: &planned.gpu.name,
        max_allocated: whole.peak_allocated,
        max_reserved: whole.peak_reserved,
        phases: phase_ends(planned),
    };
    let head = serde_json::to_string(&head)?;
    write!(to, "{}, \"events\": [", head.strip_suffix('}').unwrap_or(&head))?;
    let mut separator = "\n";
    for event in &planned.plan.stream.events {
        match event {
            Event::Allocate(id) => {
                to.write_all(separator.as_bytes())?;
                serde_json::to_writer(&mut *to, &asked(planned, &planned.plan.stream.allocations[id.index()]))?;
            }
            Event::Free(id) => write!(to, "{separator}-{}", id.index() + 1)?,
            Event::Becomes(..) | Event::Phase(_) => continue,
        }
        separator = ",\n";
    }
    to.write_all(b"\n]}\n")
}

fn asked<'a>(planned: &'a Planned<'a>, allocation: &'a Allocation) -> Asked<'a> {
    Asked {
        alloc: allocation.bytes,
        stream: allocation.stream,
        by: allocation.asked_by(),
        tensor: tensor(planned, allocation),
        op: allocation.op,
        module: planned.plan.module(allocation),
        category: allocation.category.key(),
    }
}

/// A name for what has none in PyTorch: the parameter's, or the module's with what the operator gives.
pub(super) fn tensor(planned: &Planned<'_>, allocation: &Allocation) -> String {
    let module = planned.plan.module(allocation);
    match (planned.plan.parameter(allocation), allocation.category) {
        (Some(parameter), Category::Parameters | Category::Buffers) => parameter.to_owned(),
        (Some(parameter), _) => format!("{} of {parameter}", allocation.op),
        (None, _) if module.is_empty() => allocation.op.to_owned(),
        (None, _) => format!("{} of {module}", allocation.op),
    }
}

fn phase_ends(planned: &Planned<'_>) -> Vec<PhaseEnd> {
    let stream = &planned.plan.stream;
    let mut figures = json::phases(planned).into_iter();
    let mut ends = Vec::new();
    let (mut requested, mut allocations, mut frees) = (Bytes(0), 0, 0);
    for event in &stream.events {
        match event {
            Event::Allocate(id) => {
                requested += stream.allocations[id.index()].bytes;
                allocations += 1;
            }
            Event::Free(id) => {
                requested -= stream.allocations[id.index()].bytes;
                frees += 1;
            }
            Event::Phase(_) => {
                let Some(figures) = figures.next() else { break };
                ends.push(PhaseEnd { figures, requested, allocations, frees });
            }
            Event::Becomes(..) => {}
        }
    }
    ends
}

fn is_default_stream(stream: &u32) -> bool {
    *stream == 0
}
