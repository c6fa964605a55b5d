//! A plan: the whole pipeline, from a model and a run to figures.

mod blame;
mod checks;
pub mod compare;
pub mod effort;
mod figures;
#[cfg(test)]
mod folded;
pub mod footprint;
pub mod host;
pub mod recorded;
mod returned;

use crate::run::Lora;
use std::borrow::Cow;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use serde::Deserialize;

pub use figures::ParameterTotals;

use crate::allocate::{Addresses, AllocatorOptions, OptionsError, simulate};
use crate::bytes::Bytes;
use crate::dtype::Dtype;
use crate::graph::{
    AUTOCAST, CacheLayout, Graph, GraphError, HALF, Loop, Parameter, READS_ZEROS, RECORDS, lay, unroll,
};
use crate::lower::context::Settings;
use crate::lower::device::Device;
use crate::lower::kernels::cub::Architecture;
use crate::lower::measured::CudnnCalls;
use crate::lower::timeline::Mark;
use crate::lower::{LowerError, lower, lower_with_timeline};
use crate::model::export::Origin;
use crate::model::quantization::{Quantization, QuantizationError};
use crate::model::{Agreement, Model, ModelError, agree, loading};
use crate::read::gpus::Gpu;
use crate::read::optimizers::{self, Optimizer, OptimizerError};
use crate::read::spec::SpecError;
use crate::read::specs;
use crate::read::yaml;
use crate::replay::{Replay, UNLIMITED};
use crate::run::{Attention, Construction, GivenInputs, LossKind, Mode, Precision, Run, RunError, ZeroGrad};
use crate::time::{Cost, Link, Speeds};
use crate::trace::{Category, Trace};
use crate::versions::{Rules, Versions};

/// Memory that a process needs on the GPU outside the allocator.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutsideAllocator {
    /// The least that is known of.
    pub least: Bytes,
    /// What plans leave room for.
    pub most: Bytes,
    /// Where the figures come from.
    pub source: String,
}

/// Where the emulated device of the records differs from a GPU; the default is a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Emulation {
    /// The architecture whose kernels CUB runs, whatever the GPU.
    pub cub: Option<Architecture>,
    /// Whether whatever Python reads from the device is zero: transformers then takes a plain batch without a cache for
    /// packed sequences, and makes a mask.
    pub reads_zeros: bool,
    /// How the driver's addresses go.
    pub addresses: Addresses,
}

impl Default for Emulation {
    /// A GPU, whose driver's addresses nobody knows.
    fn default() -> Emulation {
        Emulation { cub: None, reads_zeros: false, addresses: Addresses::Unknown }
    }
}

impl Emulation {
    /// The emulated device of the public records.
    pub const RECORDS: Emulation =
        Emulation { cub: Some(Architecture::Sm90), reads_zeros: true, addresses: Addresses::Rising };
}

/// A plan.
#[derive(Debug)]
pub struct Plan {
    /// The architecture that was planned: the model's, or the one that adds a loss to it.
    pub architecture: String,
    /// The precision that the run was planned in.
    pub precision: Precision,
    /// The names of the parameters that are trained; all where None is given.
    pub trainable: Option<regex::Regex>,
    /// The optimizer of a run that trains.
    pub optimizer: Option<Arc<Optimizer>>,
    /// The program.
    pub graph: Arc<Graph>,
    /// Its trace, and what the allocator makes of it.
    pub replay: Replay,
    /// How far the checkpoint and the architecture agree.
    pub agreement: Agreement,
    /// Peak allocated and reserved of the same loop under `torch.no_grad()`, where it records for nothing.
    pub without_grad: Option<(Bytes, Bytes)>,
    /// What lies outside the allocator; None where the capacity was given.
    pub outside: Option<OutsideAllocator>,
    /// What a step computes, and how long that takes.
    pub step: Step,
    /// The calls of cuDNN, whose workspaces only it knows.
    pub cudnn: CudnnCalls,
    /// Where in the trace the calls of modules and the nodes of autograd lie.
    pub marks: Vec<(usize, Mark)>,
}

/// A plan is the replay of its trace, with what was planned.
impl Deref for Plan {
    type Target = Replay;

    fn deref(&self) -> &Replay {
        &self.replay
    }
}

/// What a step of a run costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Operations, second runs counted in, and their time on the GPU.
    pub cost: Cost,
    /// Whether something is known of the GPU's speeds; without it there is no time.
    pub timed: bool,
    /// Whether these were measured: the time is an estimate then, and else the least that the work can take.
    pub measured: bool,
    /// Seconds of copies to and from the host, of a run that keeps its parameters there: at least its shard in and its
    /// gradients out, once. None without such a run, or where nothing is known of the link.
    pub copies: Option<f64>,
}

impl Step {
    /// Its time, where something is known of the GPU's speeds: an estimate where they were measured, else the least that the
    /// work can take. Communication and the host are not part of it.
    pub fn seconds(&self) -> Option<f64> {
        self.timed.then(|| self.cost.seconds())
    }
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Many plans of a run that is too large for so many.
    #[error(
        "about {plans} runs like this one would be planned, of {calls} calls of operators each, and runs of {most} are \
         planned so often at most: fewer layers, --steps or --accumulate, or plan each change by itself"
    )]
    TooLargeForMany {
        /// How many plans it would be.
        plans: u64,
        /// The calls that are written out for one.
        calls: u64,
        /// The most.
        most: u64,
    },
    /// The run cannot be.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The model cannot be read.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The allocator's options are wrong.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The program cannot be unrolled.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The program of a model's config.json cannot be unrolled.
    #[error("{}: {keys}{error}", crate::words::quote::path(.path))]
    Config {
        /// The config.
        path: PathBuf,
        /// The entries that the error names the values of, each with what it is; empty where there is none.
        keys: String,
        /// The reason.
        error: Box<GraphError>,
    },
    /// An operator cannot run.
    #[error("{error}, in {}", crate::words::quote::cut(.module))]
    Lower {
        /// The reason, in words.
        error: LowerError,
        /// The module that called the operator.
        module: String,
    },
    /// The architecture has no `generate`.
    #[error("{architecture} cannot generate: `--mode generate` is for causal language models")]
    CannotGenerate {
        /// The architecture.
        architecture: String,
    },
    /// The architecture keeps no keys and values.
    #[error("{architecture} keeps no keys and values of past tokens: --cache is for causal language models")]
    NoCache {
        /// The architecture.
        architecture: String,
    },
    /// The checkpoint stores quantised weights that cannot be planned.
    #[error(transparent)]
    StoredQuantized(#[from] QuantizationError),
    /// A spec is wrong.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The optimizer cannot be chosen.
    #[error(transparent)]
    Optimizer(#[from] OptimizerError),
    /// A trace from a file is replayed with an option that only a plan can obey.
    #[error("{key} is for plans: a trace is replayed as it was written")]
    OfPlans {
        /// The option.
        key: String,
    },
    /// The published weights have a type that cannot be run.
    #[error("the model's weights are {found}, which no precision computes in: give --precision fp32, bf16 or fp16")]
    Precision {
        /// Their type.
        found: crate::dtype::Dtype,
    },
}

impl PlanError {
    /// Whether the run comes to a statement of a model's source that no spec can say, so that an estimate can stand for its plan.
    pub fn is_undescribed(&self) -> bool {
        let message = match self {
            PlanError::Graph(error) => &error.message,
            PlanError::Config { error, .. } => &error.message,
            _ => return false,
        };
        let place = message.split_once(".py:").and_then(|(_, rest)| rest.split_once(": "));
        place.is_some_and(|(line, _)| !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit()))
    }

    /// The path of the module whose code or operator is at fault, where one is.
    pub(crate) fn module(&self) -> Option<&str> {
        match self {
            PlanError::Graph(error) => Some(&error.module),
            PlanError::Config { error, .. } => Some(&error.module),
            PlanError::Lower { module, .. } => Some(module),
            _ => None,
        }
    }
}

/// Plans a run of a model on a GPU.
///
/// # Errors
/// Whatever keeps the run from being planned: sizes, shapes, unknown operators, weights that do not fit.
pub fn plan(model: &Model, run: &Run, gpu: &Gpu) -> Result<Plan, PlanError> {
    plan_with(model, run, gpu, Emulation::default())
}

/// Plans as the emulated device of the records would run it.
///
/// # Errors
/// As `plan`.
pub fn plan_with(model: &Model, run: &Run, gpu: &Gpu, emulation: Emulation) -> Result<Plan, PlanError> {
    let prepared = prepare(model, run, gpu, emulation)?;
    let without = Settings { training: false, ..prepared.settings.clone() };
    let Prepared { graph, device, settings, options, precision, optimizer, agreement, capacity, outside } = prepared;
    let (trace, timeline) =
        lower_with_timeline(&graph, &device, settings, Speeds::of(gpu)).map_err(|error| named(error, &graph))?;
    let measured = gpu.has_measured_speeds();
    let step = Step {
        cost: timeline.whole().shared(run.steps),
        timed: timeline.speeds.is_some(),
        measured,
        copies: copies(&trace, gpu),
    };
    let without_grad = match run.mode {
        Mode::EvalWithGrad => lower(&graph, &device, without).ok().map(|trace| {
            let outcome = simulate(&trace, &options, Some(UNLIMITED));
            (outcome.peak_allocated, outcome.peak_reserved)
        }),
        _ => None,
    };
    let replay = Replay::of(trace, options, capacity);
    let architecture = model.architecture(run.mode.records())?.name.clone();
    let trainable = run.trainable.as_ref().map(|pattern| pattern.0.clone());
    Ok(Plan {
        architecture,
        precision,
        trainable,
        optimizer,
        graph,
        replay,
        agreement,
        without_grad,
        outside,
        step,
        cudnn: timeline.cudnn,
        marks: timeline.marks,
    })
}

/// A run that can be lowered.
pub(crate) struct Prepared {
    pub graph: Arc<Graph>,
    pub device: Device,
    pub settings: Settings,
    pub options: AllocatorOptions,
    pub precision: Precision,
    pub optimizer: Option<Arc<Optimizer>>,
    pub agreement: Agreement,
    pub capacity: Bytes,
    pub outside: Option<OutsideAllocator>,
}

/// Checks a run and unrolls its program.
///
/// # Errors
/// As `plan`.
pub(crate) fn prepare(model: &Model, run: &Run, gpu: &Gpu, emulation: Emulation) -> Result<Prepared, PlanError> {
    run.check()?;
    let quantization = model.quantization()?;
    if let Some(quantization) = &quantization {
        checks::stored(run, quantization)?;
        quantization.check(run, gpu)?;
    }
    let options: AllocatorOptions = run.allocator.parse()?;
    let options = options.of_release(Rules::of(run.versions()), emulation.addresses);
    let optimizer = optimizer(run)?;
    let precision = precision(model, run, quantization.as_ref())?;
    let mut graph = program(model, run, emulation)?;
    checks::trainable(run, &graph.parameters)?;
    checks::magnitudes(run, precision.dtype(), &graph.parameters)?;
    let architecture = model.architecture(run.mode.records())?;
    let plain = stored_parameters(model, run, &graph)?;
    let agreement = agree(model, architecture, &plain)?;
    if !run.allow_mismatch {
        agreement.check(model, architecture)?;
    }
    let total = run.capacity.unwrap_or(gpu.memory.total);
    let loaded = match &quantization {
        Some(quantization) => loading(model, architecture, &plain, quantization, precision.dtype(), total)?,
        None => None,
    };
    drop(plain);
    if let Some((loading, types)) = loaded {
        graph.loading = Some(loading);
        for (number, dtype) in types {
            graph.parameters[number].dtype = Some(dtype);
        }
    }
    let settings = Settings {
        training: run.mode.records(),
        trainable: run.trainable.as_ref().map(|pattern| pattern.0.clone()),
        weights: precision.dtype(),
        autocast: precision.autocast(),
        cub: emulation.cub,
        profile: gpu.profile.clone().filter(|_| emulation == Emulation::default()),
        parallel: run.parallel.iter().cloned().collect(),
        attention_kernel: run.sdpa.0.filter(|_| run.attention.unwrap_or_default() == Attention::Sdpa),
        optimizer: optimizer.clone(),
        variables: run.variables.clone(),
        reads_zeros: emulation.reads_zeros,
    };
    let (capacity, outside) = free(run, gpu)?;
    let device = device(gpu, run.versions());
    Ok(Prepared {
        graph: Arc::new(graph),
        device,
        settings,
        options,
        precision,
        optimizer,
        agreement,
        capacity,
        outside,
    })
}

/// What the allocator may take of a GPU, and what lies outside it; None where the capacity was given.
pub(crate) fn free(run: &Run, gpu: &Gpu) -> Result<(Bytes, Option<OutsideAllocator>), SpecError> {
    if let Some(capacity) = run.capacity {
        return Ok((capacity, None));
    }
    let outside = outside(gpu)?;
    Ok((Bytes(gpu.memory.total.0.saturating_sub(outside.most.0)), Some(outside)))
}

/// The bytes that the allocator may take from the GPU.
///
/// # Errors
/// A wrong spec.
pub fn capacity(run: &Run, gpu: &Gpu) -> Result<Bytes, PlanError> {
    Ok(free(run, gpu)?.0)
}

/// An error of lowering with the module that called the operator.
pub(crate) fn named(error: LowerError, graph: &Graph) -> PlanError {
    let module = graph.modules[error.module.index()].path.clone();
    PlanError::Lower { error, module: if module.is_empty() { "the model".to_owned() } else { module } }
}

/// The parameters as checkpoints name them: those of the model before layers are quantised or adapted.
fn stored_parameters<'a>(model: &Model, run: &Run, graph: &'a Graph) -> Result<Cow<'a, [Parameter]>, PlanError> {
    if model.weights.is_none() || (run.lora.is_none() && run.quantize.is_none()) {
        return Ok(Cow::Borrowed(&graph.parameters));
    }
    let plain = Run { lora: None, quantize: None, steps: 1, accumulate: 1, new_tokens: 1, ..run.clone() };
    Ok(Cow::Owned(program(model, &plain, Emulation::default())?.parameters))
}

/// The forward program of a run: what the plan unrolls.
///
/// # Errors
/// As `plan`.
pub fn program(model: &Model, run: &Run, emulation: Emulation) -> Result<Graph, PlanError> {
    program_with(model, run, emulation, (&[], true))
}

/// What the loop of a run is told.
fn wanted(model: &Model, run: &Run, emulation: Emulation) -> Result<Loop, PlanError> {
    let precision = precision(model, run, model.quantization()?.as_ref())?;
    Ok(Loop {
        folds: true,
        mode: run.mode.function(),
        training: run.mode == Mode::Train,
        integers: vec![
            ("batch", run.batch),
            ("seq", run.seq),
            ("image", model.image_of(run).unwrap_or(0)),
            ("images", run.images.unwrap_or(0)),
            ("new_tokens", run.new_tokens),
            ("steps", run.steps),
            ("accumulate", run.accumulate),
            ("keep_losses", run.keep_losses),
        ],
        flags: vec![
            ("hold_outputs", run.hold_outputs),
            (RECORDS, run.mode.records()),
            ("clip", run.clip.is_some()),
            ("zero_before_forward", run.zero_grad == ZeroGrad::BeforeForward),
            ("zero_before_backward", run.zero_grad == ZeroGrad::BeforeBackward),
            ("scaler", run.precision == Some(Precision::AmpFp16)),
            (READS_ZEROS, emulation.reads_zeros),
            (AUTOCAST, matches!(run.precision, Some(Precision::AmpBf16 | Precision::AmpFp16))),
            (HALF, !matches!(precision, Precision::Fp32 | Precision::Bf16 | Precision::AmpBf16)),
        ],
        weights: Some(precision.dtype()),
        attention: run.attention,
        checkpoint: run.checkpoint.clone(),
        checkpoint_save: run.checkpoint_save.clone(),
        reentrant: run.reentrant,
        quantize: run.quantize.map(|kind| (kind, run.double_quant)),
        stored: model.stored_layers()?.map(Arc::new),
        lora: run.lora.clone().map(|lora| adapters(model, lora)).transpose()?,
        cache: CacheLayout {
            kind: run.cache_kind().word(),
            tokens: run.cache_tokens,
            page_tokens: run.tokens_of_page(),
            prefill_tokens: run.prefill_tokens,
            dtype: run.cache_dtype.map(|dtype| dtype.0),
        },
        rules: Rules::of(run.versions()),
    })
}

/// The forward program of a run, in which these runs of calls are entered and left as calls of modules are.
///
/// # Errors
/// As `program`; a run of calls that the program does not have.
pub(crate) fn program_with(
    model: &Model,
    run: &Run,
    emulation: Emulation,
    (spans, folds): (&[String], bool),
) -> Result<Graph, PlanError> {
    let architecture = model.architecture(run.mode.records())?;
    if run.mode == Mode::Generate && !architecture.generates {
        return Err(PlanError::CannotGenerate { architecture: architecture.name.clone() });
    }
    if run.cache.is_some() && !architecture.generates {
        return Err(PlanError::NoCache { architecture: architecture.name.clone() });
    }
    let mut wanted = wanted(model, run, emulation)?;
    let regions = if wanted.training { run.checkpoint.regions() } else { &[] };
    // runs of calls are laid into steps that are written out
    wanted.folds = folds && spans.is_empty() && regions.iter().all(|region| region.span().is_none());
    let mut config = Cow::Borrowed(&model.config);
    if let Some(cache) = run.use_cache {
        config.to_mut().insert("use_cache".to_owned(), cache.into());
    }
    let is_class = model.exported.as_ref().is_some_and(|exported| exported.origin == Origin::Class);
    if !is_class && (run.init != Construction::default() || run.input != GivenInputs::default()) {
        return Err(RunError::Contradiction("init and input are for a class of a file of Python: model.py:Net").into());
    }
    match &model.exported {
        Some(exported) => config.to_mut().extend(exported.bind(run)?),
        None if !run.dim.is_empty() || run.loss.is_some() => {
            return Err(RunError::Contradiction(
                "dim and loss are for exported programs (.pt2) and classes of a file (model.py:Net)",
            )
            .into());
        }
        None => {}
    }
    let mut found = None;
    if is_class && run.mode.records() && run.loss != Some(LossKind::Output) && run.loss != Some(LossKind::Sum) {
        let (loss, labels) = returned::loss(model, architecture, &config, &wanted)?;
        config.to_mut().insert("loss".to_owned(), loss.word().into());
        config.to_mut().insert("labels".to_owned(), labels.into());
        found = Some(loss);
    }
    let mut graph = unroll(&model.family, architecture, &config, &wanted).map_err(|error| {
        blame::config(model, run, emulation, if is_class { returned::in_source(error) } else { error })
    })?;
    graph.loss = found;
    lay(&mut graph, spans, regions, run.checkpoint_save.as_ref(), run.reentrant)?;
    Ok(graph)
}

/// The adapters, at the modules that peft chooses where none are named.
fn adapters(model: &Model, mut lora: Lora) -> Result<Lora, RunError> {
    if lora.targets.is_empty() {
        lora.targets.clone_from(&model.family.lora_targets);
    }
    if lora.targets.is_empty() {
        return Err(RunError::Contradiction(
            "lora: peft has no targets for this family: name them, as targets=query+value",
        ));
    }
    Ok(lora)
}

/// The optimizer of a run that trains.
fn optimizer(run: &Run) -> Result<Option<Arc<Optimizer>>, PlanError> {
    if run.mode != Mode::Train {
        return Ok(None);
    }
    Ok(Some(Arc::new(optimizers::choose(&run.optimizer, run.specs.as_deref())?)))
}

fn precision(model: &Model, run: &Run, stored: Option<&Quantization>) -> Result<Precision, PlanError> {
    match (run.precision, model.dtype) {
        (None, Some(Dtype::BF16)) if stored.is_some_and(Quantization::takes_half) => Ok(Precision::Fp16),
        (Some(precision), _) => Ok(precision),
        (None, None) => Ok(Precision::Fp32),
        (None, Some(dtype)) => Precision::of(dtype).ok_or(PlanError::Precision { found: dtype }),
    }
}

/// What FSDP's offload copies in a step (torch/distributed/fsdp/_fully_shard/_fsdp_param.py, `all_gather_inputs`;
/// _fsdp_collectives.py, `foreach_reduce`).
fn copies(trace: &Trace, gpu: &Gpu) -> Option<f64> {
    let held = |wanted: Category| trace.host.iter().find(|(category, _)| *category == wanted).map(|(_, bytes)| bytes.0);
    let parameters = held(Category::Parameters)?;
    Some(Link::of(gpu)?.seconds(parameters, held(Category::Gradients).unwrap_or(0)))
}

/// What kernels of a release ask of the GPU.
pub fn device(gpu: &Gpu, versions: Versions) -> Device {
    let capability = &gpu.compute_capability;
    let threads = gpu.threads_per_multiprocessor.map_or(2048, u64::from);
    Device {
        compute_capability: (capability.major, capability.minor),
        multiprocessors: u64::from(gpu.multiprocessors),
        threads_per_multiprocessor: threads,
        rules: Rules::of(versions),
    }
}

/// What the profile measured of a process of PyTorch's, else the bound of the specs, no less than what was measured without
/// PyTorch.
fn outside(gpu: &Gpu) -> Result<OutsideAllocator, SpecError> {
    let profile = gpu.profile.as_ref();
    if let Some((profile, bytes)) = profile.and_then(|profile| Some((profile, profile.outside()?))) {
        let source = format!(
            "measured on {} by {}: the profile {}",
            profile.measured.date, profile.measured.command, profile.name
        );
        return Ok(OutsideAllocator { least: bytes, most: bytes, source });
    }
    let bound = bound_outside()?;
    let measured = profile.and_then(|profile| Some(profile.memory.as_ref()?.blas)).unwrap_or_default();
    Ok(OutsideAllocator { least: bound.least.max(measured), most: bound.most.max(measured), ..bound })
}

fn bound_outside() -> Result<OutsideAllocator, SpecError> {
    static READ: OnceLock<OutsideAllocator> = OnceLock::new();
    if let Some(bound) = READ.get() {
        return Ok(bound.clone());
    }
    let file = "context.yaml";
    let error = |message: &str| SpecError::new(&format!("specs/{file}").into(), Default::default(), message);
    let text = specs::embedded(file).ok_or_else(|| error("the spec is missing"))?;
    let bound: OutsideAllocator = yaml::parse(text, "").map_err(|fault| error(&fault.message))?;
    Ok(READ.get_or_init(|| bound).clone())
}
