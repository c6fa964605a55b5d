//! What each choice people make to fit a run on a GPU saves: each lever alone, then all together.

use super::{PlanError, plan};
use crate::bytes::Bytes;
use crate::graph::Checkpointing;
use crate::read::gpus::Gpu;
use crate::read::model::Model;
use crate::run::{Attention, Mode, Precision, Run};

/// One choice.
struct Lever {
    /// The flags that make it.
    flags: &'static str,
    /// Whether it is part of "all": of two that exclude each other, one is.
    in_all: bool,
    /// Makes it; false where it changes nothing in this run.
    apply: fn(&mut Run) -> bool,
}

const LEVERS: [Lever; 9] = [
    Lever { flags: "--precision amp-bf16", in_all: false, apply: |run| precision(run, Precision::AmpBf16) },
    Lever { flags: "--precision bf16", in_all: true, apply: |run| precision(run, Precision::Bf16) },
    Lever {
        flags: "--checkpoint full",
        in_all: true,
        apply: |run| training(run) && set(&mut run.checkpoint, Checkpointing::Full),
    },
    Lever {
        flags: "--batch 1 with --accumulate",
        in_all: true,
        apply: |run| {
            let whole = run.accumulate.saturating_mul(run.batch);
            training(run) && set(&mut run.batch, 1) && set(&mut run.accumulate, whole)
        },
    },
    Lever { flags: "--optimizer adamw,fused=true", in_all: false, apply: |run| optimizer(run, "adamw,fused=true") },
    Lever { flags: "--optimizer adamw8bit", in_all: true, apply: |run| optimizer(run, "adamw8bit") },
    Lever { flags: "--optimizer pagedadamw8bit", in_all: false, apply: |run| optimizer(run, "pagedadamw8bit") },
    Lever { flags: "--attention sdpa", in_all: true, apply: |run| set(&mut run.attention, Attention::Sdpa) },
    Lever {
        flags: "--allocator expandable_segments:True",
        in_all: true,
        apply: |run| run.allocator.is_empty() && set(&mut run.allocator, "expandable_segments:True".to_owned()),
    },
];

fn set<T: PartialEq>(place: &mut T, value: T) -> bool {
    let changes = *place != value;
    *place = value;
    changes
}

fn training(run: &Run) -> bool {
    run.mode == Mode::Train
}

fn precision(run: &mut Run, wanted: Precision) -> bool {
    run.precision == Some(Precision::Fp32) && set(&mut run.precision, Some(wanted))
}

fn optimizer(run: &mut Run, words: &str) -> bool {
    match words.parse() {
        Ok(choice) => training(run) && set(&mut run.optimizer, choice),
        Err(_) => false,
    }
}

/// A run with one lever, or with all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// The flags; empty for the run as given.
    pub flags: String,
    /// Peak allocated.
    pub peak_allocated: Bytes,
    /// Peak reserved.
    pub peak_reserved: Bytes,
    /// Whether it fits.
    pub fits: bool,
}

/// Plans the run as given, with each lever that changes it, and with all of them. A lever that cannot be planned here (an
/// optimizer that refuses the weights' type) is left out.
///
/// # Errors
/// What keeps the run as given from being planned.
pub fn compare(model: &Model, run: &Run, gpu: &Gpu) -> Result<Vec<Compared>, PlanError> {
    let given = plan(model, run, gpu)?;
    let start = Run { precision: Some(given.precision), ..run.clone() };
    let mut rows = vec![compared(String::new(), &given)];
    let mut all = start.clone();
    let mut flags = Vec::new();
    for lever in &LEVERS {
        let mut alone = start.clone();
        if !(lever.apply)(&mut alone) {
            continue;
        }
        let Ok(planned) = plan(model, &alone, gpu) else { continue };
        rows.push(compared(lever.flags.to_owned(), &planned));
        if lever.in_all && (lever.apply)(&mut all) {
            flags.push(lever.flags);
        }
    }
    if flags.len() > 1
        && let Ok(planned) = plan(model, &all, gpu)
    {
        rows.push(compared(format!("all: {}", flags.join(" ")), &planned));
    }
    Ok(rows)
}

fn compared(flags: String, planned: &super::Plan) -> Compared {
    let outcome = planned.unlimited.as_ref().unwrap_or(&planned.outcome);
    let (peak_allocated, peak_reserved) = (outcome.peak_allocated, outcome.peak_reserved);
    Compared { flags, peak_allocated, peak_reserved, fits: planned.outcome.out_of_memory.is_none() }
}
