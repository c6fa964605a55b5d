//! A plan as JSON. Sizes are integers in bytes; a key that does not apply is null.

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{LARGEST, Planned, SCHEMA, options};
use crate::bytes::Bytes;
use crate::ops::Unknown;
use crate::plan::host::{HostMemory, HostPart, When};
use crate::replay::Replay;
use crate::run::{Attention, CacheKind, Kernel, Mode, Precision, QuantizedType};
use crate::trace::Category;

/// `memplan plan --format json`.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "the keys of the report are explained where they need it")]
pub struct Report {
    pub schema: u32,
    /// Always true: an estimate, which is not, has another schema.
    pub exact: bool,
    pub model: ModelReport,
    pub run: RunReport,
    pub gpu: GpuReport,
    pub fits: bool,
    /// Of the whole run: without a limit where it does not fit. So are `phases`, `at_peak` and `largest`.
    pub peak_allocated: Bytes,
    pub peak_reserved: Bytes,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spread: Option<SpreadReport>,
    /// The bytes that the allocator may take from the GPU.
    pub capacity: Bytes,
    /// What is left of it at the peak.
    pub headroom: Option<Bytes>,
    pub out_of_memory: Option<OutOfMemoryReport>,
    pub given_back: Option<GivenBackReport>,
    pub outside_allocator: Option<OutsideReport>,
    /// What the run keeps in the host's memory, at most.
    pub host: Bytes,
    /// What the host's memory needs, where that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_memory: Option<HostReport>,
    pub step: StepReport,
    pub parameters: ParametersReport,
    pub phases: Vec<PhaseReport>,
    /// By category; with `allocator_slack` they add up to `peak_allocated`.
    pub at_peak: IndexMap<String, Bytes>,
    /// Keys and values of past tokens, in runs that keep any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_cache: Option<CacheReport>,
    pub largest: Vec<TensorReport>,
    pub warnings: Vec<String>,
    pub notes: Vec<String>,
    /// Parameters that the weights lack, and tensors of the weights that the architecture has no use for.
    pub missing: Vec<String>,
    pub unexpected: Vec<String>,
    /// What is wrong, where more than a tenth of the parameters is missing or without use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mismatch: Option<String>,
    /// The operators of an export that are not known, with the bytes in doubt.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown_operators: Vec<UnknownReport>,
}

/// An operator that is not known, in one forward.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "the keys say it")]
pub struct UnknownReport {
    pub name: String,
    pub calls: u64,
    /// Its inputs and outputs, all calls together.
    pub bytes_in_doubt: Bytes,
}

impl From<Unknown> for UnknownReport {
    fn from(Unknown { name, calls, bytes }: Unknown) -> UnknownReport {
        UnknownReport { name, calls, bytes_in_doubt: bytes }
    }
}

/// The model.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "as in the report")]
pub struct ModelReport {
    pub name: String,
    /// The architecture that was planned.
    pub architecture: String,
    pub family: String,
    /// What the family's spec was read from.
    pub source: String,
}

/// The run, with the defaults filled in.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "as in the report")]
pub struct RunReport {
    pub mode: Mode,
    pub batch: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<u64>,
    pub new_tokens: Option<u64>,
    pub precision: Precision,
    pub optimizer: Option<String>,
    pub clip: Option<f64>,
    pub accumulate: Option<u64>,
    /// How the run is spread over several GPUs, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel: Option<String>,
    pub checkpoint: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub reentrant: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_cache: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_save: Option<String>,
    pub steps: u64,
    pub attention: Attention,
    pub sdpa: Kernel,
    pub hold_outputs: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trainable: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lora: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantize: Option<QuantizedType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub double_quant: Option<bool>,
    /// The form in which the checkpoint stores quantised weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored: Option<&'static str>,
    pub allocator: String,
    /// The releases whose rules the plan follows.
    pub torch: String,
    pub transformers: String,
    /// The environment or lock file that says them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub variables: IndexMap<String, String>,
    /// Options that have no key of their own above.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// Peaks by the order in which equal free blocks are taken, which the driver's addresses decide before PyTorch 2.12: the least and the most.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "as in the report")]
pub struct SpreadReport {
    pub peak_allocated: (Bytes, Bytes),
    pub peak_reserved: (Bytes, Bytes),
}

/// Keys and values of past tokens.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "as in the report")]
pub struct CacheReport {
    pub kind: CacheKind,
    /// The most that is alive at once, and of which layers; `cross_attention` is the encoder's.
    pub bytes: Bytes,
    pub full_attention: Bytes,
    pub sliding_attention: Bytes,
    pub cross_attention: Bytes,
    /// The tokens of a sequence that a cache of a fixed size holds, where they were given.
    pub tokens: Option<u64>,
    pub page_tokens: Option<u64>,
    /// The most tokens of a prompt that run at once, where they are bounded.
    pub prefill_tokens: Option<u64>,
    /// What pages hold.
    pub dtype: Option<&'static str>,
}

/// The GPU.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "as in the report")]
pub struct GpuReport {
    pub key: String,
    pub name: String,
    pub memory: Bytes,
    /// Where the figure comes from, and one unit of its last digit.
    pub memory_source: String,
    pub memory_within: Bytes,
    pub compute_capability: String,
}

/// The allocation that could not be served.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "as in the report")]
pub struct OutOfMemoryReport {
    pub step: Option<u64>,
    pub phase: Option<String>,
    pub op: String,
    pub node: Option<String>,
    pub module: String,
    pub requested: Bytes,
    pub allocated: Bytes,
    pub reserved: Bytes,
}

/// Cached blocks that go back to the driver so that the run fits.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "as in the report")]
pub struct GivenBackReport {
    pub times: usize,
    pub bytes: Bytes,
    /// Where it happens first.
    pub step: Option<u64>,
    pub phase: Option<String>,
}

/// Memory outside the allocator.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "as in the report")]
pub struct OutsideReport {
    pub least: Bytes,
    pub most: Bytes,
    pub source: String,
}

/// What the host's memory needs, for all ranks on one machine: at most.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "as in the report")]
pub struct HostReport {
    pub fits: bool,
    pub ram: Option<Bytes>,
    pub ranks: u64,
    /// Of all ranks: the larger of the next two.
    pub bytes: Bytes,
    pub loading: Bytes,
    pub running: Bytes,
    /// Of each rank.
    pub parts: Vec<HostPartReport>,
}

/// A part of it.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "as in the report")]
pub struct HostPartReport {
    pub name: &'static str,
    pub when: When,
    pub count: u64,
    pub each: Bytes,
    pub bytes: Bytes,
}

/// The operations and the time of a step.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct StepReport {
    /// Operations, second runs counted in.
    pub flops: u64,
    /// On the GPU, without communication and the host.
    pub seconds: Option<f64>,
    /// Of copies to and from the host, of a run that keeps its parameters there.
    pub copy_seconds: Option<f64>,
    /// Whether the speeds were measured; else the time is the least that the work can take.
    pub measured: bool,
    /// The profile of the GPU, if it has one.
    pub profile: Option<String>,
}

/// Parameters; what is shared counts once.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "as in the report")]
pub struct ParametersReport {
    pub count: u64,
    pub trainable: u64,
    pub bytes: Bytes,
    pub buffer_bytes: Bytes,
}

/// A phase's end, as the truth records have it; peaks are those since the end of the phase before.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "as in the report")]
pub struct PhaseReport {
    pub step: u64,
    pub phase: String,
    pub allocated: Bytes,
    pub peak_allocated: Bytes,
    pub reserved: Bytes,
    pub peak_reserved: Bytes,
}

/// A tensor that is alive at the peak.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "as in the report")]
pub struct TensorReport {
    pub bytes: Bytes,
    pub category: Category,
    pub module: String,
    pub op: String,
    pub node: Option<String>,
    /// The parameter that it is, or belongs to.
    pub parameter: Option<String>,
}

/// A plan in the form that is written out.
pub fn report(planned: &Planned<'_>) -> Report {
    let plan = planned.plan;
    let totals = plan.parameters();
    Report {
        schema: SCHEMA,
        exact: true,
        model: ModelReport {
            name: planned.model.name.clone(),
            architecture: plan.architecture.clone(),
            family: planned.model.family.name.clone(),
            source: planned.model.family.source.clone(),
        },
        run: run(planned),
        gpu: gpu(planned),
        fits: plan.fits(),
        peak_allocated: plan.whole().peak_allocated,
        peak_reserved: plan.whole().peak_reserved,
        spread: plan
            .outcome
            .spread
            .map(|spread| SpreadReport { peak_allocated: spread.allocated, peak_reserved: spread.reserved }),
        capacity: plan.capacity,
        headroom: plan.headroom(),
        out_of_memory: out_of_memory(planned),
        given_back: given_back(planned),
        host: plan.trace.host_bytes(),
        host_memory: plan.host_memory(planned.run).map(host_memory),
        outside_allocator: plan.outside.clone().map(|outside| OutsideReport {
            least: outside.least,
            most: outside.most,
            source: outside.source,
        }),
        step: StepReport {
            flops: plan.step.cost.flops,
            seconds: plan.step.seconds(),
            copy_seconds: plan.step.copies,
            measured: plan.step.measured,
            profile: planned.gpu.profile.as_ref().map(|profile| profile.name.clone()),
        },
        parameters: ParametersReport {
            count: totals.count,
            trainable: totals.trainable,
            bytes: totals.bytes,
            buffer_bytes: totals.buffers,
        },
        phases: phases(planned.plan),
        at_peak: categories(planned.plan),
        kv_cache: kv_cache(planned),
        largest: largest(planned),
        warnings: planned.warnings(),
        notes: planned.notes(),
        missing: plan.agreement.missing.clone(),
        unexpected: plan.agreement.unexpected.clone(),
        mismatch: plan.agreement.mismatch(),
        unknown_operators: plan.unknown_operators(planned.run).into_iter().map(UnknownReport::from).collect(),
    }
}

fn run(planned: &Planned<'_>) -> RunReport {
    let run = planned.run;
    let image = planned.model.image_of(run);
    RunReport {
        mode: run.mode,
        batch: run.batch,
        seq: image.is_none().then_some(run.seq),
        image,
        new_tokens: (run.mode == Mode::Generate).then_some(run.new_tokens),
        precision: planned.plan.precision,
        optimizer: (run.mode == Mode::Train).then(|| run.optimizer.to_string()),
        clip: run.clip.filter(|_| run.mode == Mode::Train),
        accumulate: (run.mode == Mode::Train).then_some(run.accumulate),
        parallel: run.parallel.as_ref().map(|parallel| parallel.words()),
        checkpoint: (run.mode == Mode::Train).then(|| run.checkpoint.to_string()),
        reentrant: run.reentrant,
        use_cache: run.use_cache,
        checkpoint_save: run.checkpoint_save.as_ref().map(|saved| saved.to_string()),
        steps: run.steps,
        attention: planned.plan.graph.attention().or(run.attention).unwrap_or_default(),
        sdpa: run.sdpa,
        hold_outputs: run.hold_outputs,
        trainable: run.trainable.as_ref().map(|pattern| pattern.to_string()),
        lora: run.lora.as_ref().map(|lora| lora.to_string()),
        quantize: run.quantize,
        double_quant: run.quantize.filter(|form| *form != QuantizedType::Int8).map(|_| run.double_quant),
        stored: planned.quantization().map(|stored| stored.word()),
        allocator: run.allocator.clone(),
        torch: run.torch.to_string(),
        transformers: run.transformers.to_string(),
        environment: run.env.as_ref().map(|path| path.display().to_string()),
        variables: run.variables.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        others: options::others(run),
    }
}

fn host_memory(host: HostMemory) -> HostReport {
    let part = |part: &HostPart| HostPartReport {
        name: part.name,
        when: part.when,
        count: part.count,
        each: part.each,
        bytes: part.bytes(),
    };
    HostReport {
        fits: host.fits(),
        ram: host.ram,
        ranks: host.ranks,
        bytes: host.most(),
        loading: host.total(When::Loading),
        running: host.total(When::Running),
        parts: host.parts.iter().map(part).collect(),
    }
}

fn kv_cache(planned: &Planned<'_>) -> Option<CacheReport> {
    if !matches!(planned.run.mode, Mode::Generate | Mode::Infer) {
        return None;
    }
    let run = planned.run;
    let paged = run.cache_kind() == CacheKind::Paged;
    let cached = planned.plan.most_cached();
    let bytes = cached.total();
    let held = run.cache_dtype.map_or(planned.plan.precision.dtype(), |dtype| dtype.0);
    (bytes > Bytes(0)).then(|| CacheReport {
        kind: run.cache_kind(),
        bytes,
        full_attention: cached.full,
        sliding_attention: cached.window,
        cross_attention: cached.cross,
        tokens: run.cache_tokens,
        page_tokens: paged.then(|| run.tokens_of_page()),
        prefill_tokens: run.prefill_tokens,
        dtype: paged.then(|| held.name()),
    })
}

fn gpu(planned: &Planned<'_>) -> GpuReport {
    let gpu = planned.gpu;
    GpuReport {
        key: gpu.key.clone(),
        name: gpu.name.clone(),
        memory: gpu.memory.total,
        memory_source: gpu.memory.source.to_string(),
        memory_within: gpu.memory.within,
        compute_capability: gpu.compute_capability.to_string(),
    }
}

fn out_of_memory(planned: &Planned<'_>) -> Option<OutOfMemoryReport> {
    let failure = planned.plan.failure()?;
    Some(OutOfMemoryReport {
        step: failure.phase.map(|phase| phase.step),
        phase: failure.phase.map(|phase| phase.name.to_string()),
        op: planned.plan.trace.operator(&failure.allocation).to_owned(),
        node: planned.plan.trace.node(&failure.allocation).map(str::to_owned),
        module: planned.plan.trace.module(&failure.allocation).to_owned(),
        requested: failure.allocation.bytes,
        allocated: failure.error.allocated,
        reserved: failure.error.reserved,
    })
}

fn given_back(planned: &Planned<'_>) -> Option<GivenBackReport> {
    let plan = planned.plan;
    let first = plan.outcome.given_back.first()?;
    let phase = plan.phase_at(first.event);
    Some(GivenBackReport {
        times: plan.outcome.given_back.len(),
        bytes: plan.given_back(),
        step: phase.map(|phase| phase.step),
        phase: phase.map(|phase| phase.name.to_string()),
    })
}

/// The figures of each phase that is reached.
pub(super) fn phases(replay: &Replay) -> Vec<PhaseReport> {
    let reached = replay.whole().phases.iter();
    reached
        .filter_map(|figures| {
            let phase = replay.trace.phases.get(figures.phase as usize)?;
            Some(PhaseReport {
                step: phase.step,
                phase: phase.name.to_string(),
                allocated: figures.allocated,
                peak_allocated: figures.peak_allocated,
                reserved: figures.reserved,
                peak_reserved: figures.peak_reserved,
            })
        })
        .collect()
}

/// The bytes at the peak by category, with what the allocator adds.
pub(super) fn categories(replay: &Replay) -> IndexMap<String, Bytes> {
    let named = replay.categories_at_peak().into_iter().map(|(category, bytes)| (category.key(), bytes));
    named.chain([("allocator_slack".to_owned(), replay.slack_at_peak())]).collect()
}

fn largest(planned: &Planned<'_>) -> Vec<TensorReport> {
    let live = planned.plan.at_peak.iter().take(LARGEST);
    live.map(|live| {
        let allocation = &planned.plan.trace.allocation(live.id);
        TensorReport {
            bytes: allocation.bytes,
            category: live.category,
            module: planned.plan.trace.module(allocation).to_owned(),
            op: planned.plan.trace.operator(allocation).to_owned(),
            node: planned.plan.trace.node(allocation).map(str::to_owned),
            parameter: planned.plan.trace.parameter(allocation).map(str::to_owned),
        }
    })
    .collect()
}
