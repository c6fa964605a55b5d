//! What each choice people make to fit a run on a GPU saves: each lever alone, then all together.

use super::{PlanError, plan};
use crate::bytes::Bytes;
use crate::model::Model;
use crate::read::gpus::Gpu;
use crate::run::QuantizedType::{self, Int8, Nf4};
use crate::run::{Attention, Checkpointing, Mode, Parallel, Precision, Run};

/// One choice.
struct Lever {
    /// The flags that make it; None where their values depend on the run.
    flags: Option<&'static str>,
    /// Whether it is part of "all": of two that exclude each other one is, and none that trains something else or takes more
    /// GPUs.
    in_all: bool,
    /// Makes it; false where it changes nothing in this run.
    apply: fn(&mut Run) -> bool,
}

const LEVERS: [Lever; 22] = [
    Lever { flags: Some("--precision amp-bf16"), in_all: false, apply: |run| precision(run, Precision::AmpBf16) },
    Lever { flags: Some("--precision bf16"), in_all: true, apply: |run| precision(run, Precision::Bf16) },
    Lever { flags: Some("--checkpoint full"), in_all: true, apply: checkpoint },
    Lever {
        flags: Some("--checkpoint full --reentrant"),
        in_all: false,
        apply: |run| checkpoint(run) && run.parallel.is_none() && set(&mut run.reentrant, true),
    },
    Lever {
        flags: None,
        in_all: true,
        apply: |run| {
            let whole = run.accumulate.saturating_mul(run.batch);
            training(run) && set(&mut run.batch, 1) && set(&mut run.accumulate, whole)
        },
    },
    Lever {
        flags: Some("--optimizer adamw,foreach=false"),
        in_all: false,
        apply: |run| optimizer(run, "adamw,foreach=false"),
    },
    Lever {
        flags: Some("--optimizer adamw,fused=true"),
        in_all: false,
        apply: |run| optimizer(run, "adamw,fused=true"),
    },
    Lever { flags: Some("--optimizer adamw8bit"), in_all: true, apply: |run| optimizer(run, "adamw8bit") },
    Lever { flags: Some("--optimizer paged_adamw8bit"), in_all: false, apply: |run| optimizer(run, "paged_adamw8bit") },
    Lever { flags: Some("--optimizer lion8bit"), in_all: false, apply: |run| optimizer(run, "lion8bit") },
    Lever { flags: Some("--optimizer adafactor"), in_all: false, apply: |run| optimizer(run, "adafactor") },
    Lever { flags: Some("--optimizer momentum"), in_all: false, apply: |run| optimizer(run, "momentum") },
    Lever { flags: Some("--optimizer sgd"), in_all: false, apply: |run| optimizer(run, "sgd") },
    Lever {
        flags: Some("--attention sdpa"),
        in_all: true,
        apply: |run| run.attention == Some(Attention::Eager) && set(&mut run.attention, Some(Attention::Sdpa)),
    },
    Lever {
        flags: Some("--allocator expandable_segments:True"),
        in_all: true,
        apply: |run| run.allocator.is_empty() && set(&mut run.allocator, "expandable_segments:True".to_owned()),
    },
    Lever { flags: Some("--lora r=16"), in_all: false, apply: adapters },
    Lever {
        flags: Some("--lora r=16 --quantize int8"),
        in_all: false,
        apply: |run| adapters(run) && quantize(run, Int8),
    },
    Lever {
        flags: Some("--lora r=16 --quantize nf4"),
        in_all: false,
        apply: |run| adapters(run) && quantize(run, Nf4),
    },
    Lever { flags: Some("--quantize int8"), in_all: false, apply: |run| !training(run) && quantize(run, Int8) },
    Lever { flags: Some("--quantize nf4"), in_all: true, apply: |run| !training(run) && quantize(run, Nf4) },
    Lever { flags: Some("--fsdp 8"), in_all: false, apply: |run| parallel(run, "8") },
    Lever { flags: Some("--fsdp 8,offload"), in_all: false, apply: |run| parallel(run, "8,offload") },
];

fn checkpoint(run: &mut Run) -> bool {
    training(run) && run.checkpoint == Checkpointing::Off && set(&mut run.checkpoint, Checkpointing::Full)
}

fn adapters(run: &mut Run) -> bool {
    let trains_all = training(run) && run.lora.is_none() && run.trainable.is_none();
    run.lora = "r=16".parse().ok();
    trains_all
}

fn quantize(run: &mut Run, form: QuantizedType) -> bool {
    run.quantize.is_none() && set(&mut run.quantize, Some(form))
}

fn parallel(run: &mut Run, words: &str) -> bool {
    let alone = training(run) && run.parallel.is_none();
    run.parallel = Parallel::fsdp(words).ok();
    alone
}

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
        let words = lever.flags.map_or_else(|| alone.flags_from(&start).to_string(), str::to_owned);
        rows.push(compared(words.clone(), &planned));
        if lever.in_all && (lever.apply)(&mut all) {
            flags.push(words);
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
