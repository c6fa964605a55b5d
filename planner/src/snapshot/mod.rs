//! Plans to keep: what a plan says, as a small text that can be reviewed, read again and compared with a later plan.
//!
//! ```text
//! RunOptions -- take --> Snapshot -- to_string --> YAML in a repository -- parse --> Snapshot --+
//!    ^                                            |                                         +-- compare --> Comparison
//!    +------------------ run: --------------------+-- take, again ----------> Snapshot -----+
//! ```
//!
//! # Definitions
//!
//! - *peak of a phase*: the highest of all steps.
//! - *holder*: a module, with those that differ from it by a layer's number alone, and what of the memory that is alive at the
//!   peak it asked for; parameters, their gradients and states are held by the module that has the parameter.

mod check;
mod compare;
mod document;
mod holders;
mod listed;
mod most;

use std::path::Path;

use crate::bytes::Bytes;
use crate::model::Model;
use crate::model::named::HubId;
use crate::model::opened::{OpenError, Opened};
use crate::plan::{Plan, PlanError, plan, recorded};
use crate::read::gpus::Gpu;
use crate::read::run_file::RunFileError;
use crate::replay::Replay;
use crate::run::{Mode, RunOptions};
use crate::trace::Event;
use crate::trace::file::{self, Head, TraceError};

pub use check::{Checked, Found, Refusal, Tolerance, ToleranceError, Verdict, check, check_against};
pub use compare::{Comparison, Fact, Held, Kind, Moved, compare};
pub use document::{is_snapshot, parse, read};
pub use holders::{HeldTensor, Holder};
pub use most::Most;

/// What is kept of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// The version of the program that planned.
    pub program: String,
    /// The specs that were planned with.
    pub spec: SpecVersion,
    /// The run, with the defaults that decide most written out.
    pub run: RunOptions,
    /// The architecture that was planned.
    pub architecture: String,
    /// How many parameters it has; 0 of a trace, which does not say.
    pub parameters: u64,
    /// Whether the run fits.
    pub fits: bool,
    /// Allocations and frees.
    pub events: u64,
    /// The peaks of the whole run.
    pub peaks: Peaks,
    /// The phases, in the order in which they first end, with their highest peaks.
    pub phases: Vec<(String, Peaks)>,
    /// What the memory at the peak is for, with what the allocator adds.
    pub categories: Vec<(String, Bytes)>,
    /// Who holds it, largest first: of a plan all, of a file the largest.
    pub holders: Vec<Holder>,
    /// What holders that are not listed hold.
    pub others: Bytes,
    /// The most of each category and of each module at any one time.
    pub most: Most,
}

/// Which specs a plan was made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecVersion {
    /// What the model's family was read from.
    pub model: String,
    /// What the optimizer was read from, in training.
    pub optimizer: Option<String>,
    /// A digest of the specs' texts: another one says that something in them was edited.
    pub digest: String,
}

/// Peak allocated and reserved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peaks {
    /// `max_memory_allocated`.
    pub allocated: Bytes,
    /// `max_memory_reserved`.
    pub reserved: Bytes,
}

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file is not what it should be.
    #[error(transparent)]
    File(#[from] RunFileError),
    /// A later program wrote the file.
    #[error(
        "{path}: snapshot format {found}, this program knows {}: a later version of memplan wrote it",
        document::FORMAT
    )]
    Format {
        /// The file.
        path: String,
        /// The format that it names.
        found: u64,
    },
    /// What is asked for cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The run cannot be planned.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The trace cannot be read.
    #[error(transparent)]
    Trace(#[from] TraceError),
}

impl SnapshotError {
    /// The model of the hub that lies in no local cache, where that is the reason.
    pub fn not_cached(&self) -> Option<&HubId> {
        if let SnapshotError::Open(error) = self { error.not_cached() } else { None }
    }
}

/// Plans what options say, or replays the trace that they name, and keeps what comes of it.
///
/// # Errors
/// Whatever keeps the run from being planned or the trace from being replayed.
pub fn take(options: RunOptions) -> Result<Snapshot, SnapshotError> {
    let options = options.complete()?;
    if let Some(path) = options.model.as_deref().filter(|name| file::is_trace(name)) {
        let gpu = options.gpu.is_some().then(|| options.named_gpu(None)).transpose()?;
        let (head, replay) = recorded::replay(file::read(Path::new(path))?, &options, gpu.as_ref())?;
        return Ok(of_trace(&head, &options, &replay));
    }
    let Opened { model, run, gpu } = options.open()?;
    let plan = plan(&model, &run, &gpu)?;
    Ok(of((&model, &gpu), &options, &plan))
}

/// Plans a run that is written as a run file has it: `model: gpt2`, `batch: 4`, a line each.
///
/// # Errors
/// Text that is no run; whatever keeps the run from being planned.
pub fn of_run(text: &str) -> Result<Snapshot, SnapshotError> {
    take(crate::read::run_file::parse("run".as_ref(), text)?)
}

/// What is kept of a plan.
pub fn of((model, gpu): (&Model, &Gpu), options: &RunOptions, plan: &Plan) -> Snapshot {
    let what = What {
        spec: spec(model, plan),
        run: filled(options, (model, gpu), plan),
        architecture: plan.architecture.clone(),
        parameters: plan.parameters().count,
    };
    kept(what, plan)
}

/// What is kept of a trace that was replayed with these options; how many parameters there are it does not say.
pub fn of_trace(head: &Head, options: &RunOptions, replay: &Replay) -> Snapshot {
    let model = format!("a trace, {}, planned for {}", head.run, head.device);
    let digest = format!("{:08x}", crc32fast::hash(format!("{}{}{}", head.id, head.run, head.torch).as_bytes()));
    let what = What {
        spec: SpecVersion { model, optimizer: None, digest },
        run: RunOptions { torch: head.torch.parse().ok(), ..options.clone() },
        architecture: head.id.clone(),
        parameters: 0,
    };
    kept(what, replay)
}

/// What a replay does not say.
struct What {
    spec: SpecVersion,
    run: RunOptions,
    architecture: String,
    parameters: u64,
}

fn kept(what: What, replay: &Replay) -> Snapshot {
    let named = |(category, bytes): (crate::trace::Category, Bytes)| (category.name().to_owned(), bytes);
    let slack = [("allocator slack".to_owned(), replay.slack_at_peak())];
    let counts = |event: &Event| matches!(event, Event::Allocate(_) | Event::Free(..));
    let whole = replay.whole();
    Snapshot {
        program: env!("CARGO_PKG_VERSION").to_owned(),
        spec: what.spec,
        run: what.run,
        architecture: what.architecture,
        parameters: what.parameters,
        fits: replay.fits(),
        events: replay.trace.events().filter(counts).count() as u64,
        peaks: Peaks { allocated: whole.peak_allocated, reserved: whole.peak_reserved },
        phases: phases(replay),
        categories: replay.categories_at_peak().into_iter().map(named).chain(slack).collect(),
        holders: holders::holders(replay),
        others: Bytes(0),
        most: most::most(replay),
    }
}

fn spec(model: &Model, plan: &Plan) -> SpecVersion {
    let optimizer = plan.optimizer.as_ref();
    let digests = [model.family.digest, optimizer.map_or(0, |optimizer| optimizer.digest)];
    SpecVersion {
        model: model.family.source.clone(),
        optimizer: optimizer.map(|optimizer| optimizer.source.clone()),
        digest: format!("{:08x}", crc32fast::hash(digests.map(u32::to_le_bytes).as_flattened())),
    }
}

fn phases(replay: &Replay) -> Vec<(String, Peaks)> {
    let mut phases: Vec<(String, Peaks)> = Vec::new();
    for figures in &replay.whole().phases {
        let Some(phase) = replay.trace.phases.get(figures.phase as usize) else { continue };
        let known = phases.iter().position(|(name, _)| **name == *phase.name);
        let place = known.unwrap_or_else(|| {
            phases.push((phase.name.to_string(), Peaks::default()));
            phases.len() - 1
        });
        let peaks = &mut phases[place].1;
        peaks.allocated = peaks.allocated.max(figures.peak_allocated);
        peaks.reserved = peaks.reserved.max(figures.peak_reserved);
    }
    phases
}

/// The options with what is planned where nobody said, for the keys that people edit.
fn filled(options: &RunOptions, (model, gpu): (&Model, &Gpu), plan: &Plan) -> RunOptions {
    let mut options = options.clone();
    options.take_sizes(model);
    let run = options.run();
    let image = model.image_of(&run);
    let stored = model.quantization().is_ok_and(|stored| stored.is_some());
    RunOptions {
        mode: Some(run.mode),
        batch: Some(run.batch),
        seq: image.is_none().then_some(run.seq),
        image,
        new_tokens: options.new_tokens.or((run.mode == Mode::Generate).then_some(run.new_tokens)),
        precision: options.precision.or((!stored).then_some(plan.precision)),
        optimizer: options.optimizer.clone().or((run.mode == Mode::Train).then_some(run.optimizer)),
        steps: Some(run.steps),
        torch: Some(run.torch),
        transformers: Some(run.transformers),
        gpu: if options.vram.is_some() { options.gpu.clone() } else { Some(gpu.key.clone()) },
        ..options
    }
}

/// Compares the plan of a run with the snapshot that insta keeps of it: `assert_plan!("model: gpt2\nbatch: 4")`, or with the
/// snapshot's name before it. The crate that calls it depends on insta.
#[macro_export]
macro_rules! assert_plan {
    ($run:expr) => {
        match $crate::snapshot::of_run($run) {
            Ok(snapshot) => insta::assert_snapshot!(snapshot.to_string()),
            Err(error) => panic!("{error}"),
        }
    };
    ($name:expr, $run:expr) => {
        match $crate::snapshot::of_run($run) {
            Ok(snapshot) => insta::assert_snapshot!($name, snapshot.to_string()),
            Err(error) => panic!("{error}"),
        }
    };
}
