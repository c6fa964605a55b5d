//! The forms that changes take in a run: where they apply, what they set, what they cost within their class.

use super::case::Case;
use super::changes::Form;
use crate::run::{Fsdp, MOST_RANKS, OptimizerChoice, Parallel, Pattern, Precision, QuantizedType};

/// The optimizer with an option of its own.
pub(super) fn option(case: &Case, key: &str, value: &str) -> Vec<Form> {
    let mut choice = case.run.optimizer.clone();
    let given =
        choice.options.iter().any(|(known, set)| (known == key && set == value) || (known == "fused" && set == "true"));
    choice.options.retain(|(known, _)| known != "foreach" && known != "fused");
    choice.options.push((key.to_owned(), value.to_owned()));
    if given { Vec::new() } else { chosen(case, choice, 0) }
}

/// The optimizer of bitsandbytes that is the given one in another form: `adamw` in `paged_adamw8bit`.
pub(super) fn optimizer(case: &Case, before: &str, behind: &str, amount: u64) -> Vec<Form> {
    let name = format!("{before}{}{behind}", case.run.optimizer.name.to_ascii_lowercase());
    chosen(case, OptimizerChoice { name, options: Vec::new() }, amount)
}

fn chosen(case: &Case, choice: OptimizerChoice, amount: u64) -> Vec<Form> {
    let known = case.trains() && crate::read::optimizers::choose(&choice, case.run.specs.as_deref()).is_ok();
    let value = choice.name.clone();
    case.form(known, amount, value, |run| run.optimizer = choice)
}

pub(super) fn expandable(case: &Case) -> Vec<Form> {
    let mut options: Vec<&str> = case.run.allocator.split(',').filter(|option| !option.is_empty()).collect();
    let said = options.iter().any(|option| option.trim().starts_with("expandable_segments"));
    options.push("expandable_segments:True");
    let options = options.join(",");
    case.form(!said, 0, options.clone(), |run| run.allocator = options)
}

/// Micro-batches that divide the batch, each at most half as large as the one before; in training the optimizer sees as many
/// sequences as before.
pub(super) fn micro_batches(case: &Case) -> Vec<Form> {
    let batch = case.run.batch;
    let mut forms = Vec::new();
    let mut parts = 2;
    while parts <= batch && batch <= 1 << 20 {
        let Some(factor) = (parts..=batch).find(|factor| batch.is_multiple_of(*factor)) else { break };
        let accumulate = case.run.accumulate.saturating_mul(if case.trains() { factor } else { 1 });
        let size = batch / factor;
        let value = match case.trains() {
            true => format!("per_device_train_batch_size={size}, gradient_accumulation_steps={accumulate}"),
            false => format!("per_device_eval_batch_size={size}"),
        };
        forms.extend(case.form(true, factor, value, |run| (run.batch, run.accumulate) = (size, accumulate)));
        parts = factor * 2;
    }
    forms
}

/// The 16-bit type that the GPU computes in.
fn half(case: &Case) -> (&'static str, bool) {
    if case.gpu.rates.bf16.is_some() { ("bfloat16", true) } else { ("float16", false) }
}

pub(super) fn autocast(case: &Case) -> Vec<Form> {
    let (name, brain) = half(case);
    let wanted = if brain { Precision::AmpBf16 } else { Precision::AmpFp16 };
    let plain = case.precision == Precision::Fp32 && case.run.mode.records();
    case.form(plain, 1, name.to_owned(), |run| run.precision = Some(wanted))
}

/// Where gradients are recorded, weights in fp16 would need a scaler that refuses them: bf16 alone.
pub(super) fn halves(case: &Case) -> Vec<Form> {
    let (name, brain) = half(case);
    let wanted = if brain { Precision::Bf16 } else { Precision::Fp16 };
    let wide = matches!(case.precision.dtype(), crate::dtype::Dtype::F32) && (brain || !case.run.mode.records());
    case.form(wide, 4, name.to_owned(), |run| run.precision = Some(wanted))
}

pub(super) fn quantized(case: &Case, form: QuantizedType, amount: u64) -> Vec<Form> {
    let plain = !case.run.mode.records() && case.run.quantize.is_none();
    case.form(plain, amount, String::new(), |run| run.quantize = Some(form))
}

pub(super) fn adapters(case: &Case, form: Option<QuantizedType>, amount: u64) -> Vec<Form> {
    let all = case.trains() && case.run.trainable.is_none() && case.run.quantize.is_none();
    let changes = case.run.lora.is_none() || form.is_some();
    case.form(all && changes, amount, String::new(), |run| {
        run.lora = run.lora.take().or_else(|| "r=16".parse().ok());
        run.quantize = form;
    })
}

pub(super) fn frozen(case: &Case) -> Vec<Form> {
    let all = case.trains() && case.run.trainable.is_none() && case.run.lora.is_none();
    let pattern = case.last_half().and_then(|pattern| pattern.parse::<Pattern>().ok());
    case.form(all && pattern.is_some(), 1, String::new(), |run| run.trainable = pattern)
}

/// Sharded over so many GPUs, all else as given.
fn sharded(case: &Case, ranks: u64, offload: bool) -> Parallel {
    match &case.run.parallel {
        Some(Parallel::Fsdp(fsdp)) => Parallel::Fsdp(Fsdp { ranks, offload, ..fsdp.clone() }),
        _ => Parallel::Fsdp(Fsdp { offload, ..Fsdp::of(ranks) }),
    }
}

/// On one GPU, or on those that there are.
pub(super) fn offload(case: &Case) -> Vec<Form> {
    let ranks = match &case.run.parallel {
        None => 1,
        Some(Parallel::Fsdp(fsdp)) if !fsdp.offload => fsdp.ranks,
        Some(_) => return Vec::new(),
    };
    case.form(case.trains(), 2, String::new(), |run| run.parallel = Some(sharded(case, ranks, true)))
}

/// On 2, 4 and 8 times as many GPUs; in place of DDP also on as many.
pub(super) fn shards(case: &Case, offload: bool) -> Vec<Form> {
    let (ranks, least) = match &case.run.parallel {
        Some(Parallel::Ddp(ddp)) => (ddp.ranks, 1),
        Some(Parallel::Fsdp(fsdp)) if fsdp.offload && !offload => return Vec::new(),
        Some(Parallel::Fsdp(fsdp)) => (fsdp.ranks, 2),
        None => (1, 2),
    };
    let with = |times: &u64| {
        let ranks = ranks.saturating_mul(*times).min(MOST_RANKS);
        let amount = ranks * 2 + u64::from(offload);
        let parallel = sharded(case, ranks, offload);
        case.form(case.trains(), amount, format!("{ranks} GPUs"), |run| run.parallel = Some(parallel))
    };
    [1, 2, 4, 8].iter().filter(|times| **times >= least).flat_map(with).collect()
}
