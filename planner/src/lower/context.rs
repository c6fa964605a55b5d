//! What runs while a program is lowered, in parts: each holds what one concern keeps.
//!
//! ```text
//! device, settings, graph   what does not change
//! memory          the log, and who asks for memory and what for      memory.rs
//! program         the program's tensors that are alive
//! autograd        grad mode, the thread, nodes' sequence numbers     recording.rs
//! checkpointing   calls that run forward without saving, or again    ../checkpoint.rs
//! training        trained parameters, optimizer and scaler           ../optimizer
//! libraries       what cuBLAS, bitsandbytes and Triton keep          ../workspaces.rs
//! parallel        hooks of the ways in which the run is spread       ../parallel
//! autocast        regions and kept casts                             ../autocast.rs
//! timeline        what calls cost, where that is asked for           costs.rs
//! ```
//!
//! What holds for a while only (a category, a module, a CUDA stream, grad mode) is set for a closure and taken back behind it.

mod costs;
mod memory;
mod recording;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::LowerError;
use super::autocast;
use super::checkpoint::{self, Frame, Recomputation};
use super::device::Device;
use super::optimizer::Attributes;
use super::parameters::Trained;
use super::tensor::{Storage, Tensor};
use super::timeline::Timeline;
use super::workspaces::Workspaces;
use crate::dtype::Dtype;
use crate::graph::{CheckpointId, Dims, Graph, TensorId};

pub(super) use memory::Memory;
pub use memory::dense_strides;
pub(super) use recording::Recording;
pub use recording::{Thread, detach};

/// Settings of a run on which operators depend.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether backward may come, so that gradients and optimizer states are kept for the parameters that need them.
    pub training: bool,
    /// The type of the weights.
    pub weights: Dtype,
    /// The lower type of autocast, if the run uses it.
    pub autocast: Option<Dtype>,
    /// The architecture for which CUB's kernels were built; the device's own where None is given. The emulated device of
    /// the records runs those of 9.0 whatever GPU it stands for.
    pub cub: Option<super::kernels::cub::Architecture>,
    /// The attention kernel asked for.
    pub attention_kernel: Option<crate::run::Backend>,
    /// What was measured on the GPU: the workspaces of cuDNN's calls.
    pub profile: Option<std::sync::Arc<crate::read::profiles::Profile>>,
    /// How the run is spread over several GPUs: each way has hooks of its own, all of them act.
    pub parallel: Vec<crate::run::Parallel>,
    /// The names of the parameters that are trained; all where None is given.
    pub trainable: Option<regex::Regex>,
    /// The optimizer; None where nothing is trained.
    pub optimizer: Option<Arc<crate::read::optimizers::Optimizer>>,
    /// The environment variables that libraries read.
    pub variables: crate::run::Variables,
    /// Whether whatever Python reads from the device is zero, as on the emulated device of the records.
    pub reads_zeros: bool,
}

impl Settings {
    /// Whether parameters are cut into shards.
    pub(super) fn is_sharded(&self) -> bool {
        self.parallel.iter().any(|way| matches!(way, crate::run::Parallel::Fsdp(_)))
    }
}

/// The state of a lowering.
pub struct Context {
    /// The GPU.
    pub device: Device,
    /// The run's settings.
    pub settings: Settings,
    /// The program.
    pub(super) graph: Arc<Graph>,
    /// The log, and who asks for memory.
    pub(crate) memory: Memory,
    /// The program's tensors.
    pub(super) program: Program,
    /// Grad mode and what numbers nodes.
    pub(super) autograd: Recording,
    /// Checkpointed calls.
    pub(super) checkpointing: Checkpointing,
    /// Functions with a gradient of their own that run forward.
    pub(super) functions: Vec<super::function::Running>,
    /// The trained parameters, and what their optimizer keeps.
    pub(super) training: Training,
    /// What libraries keep.
    pub(crate) libraries: Libraries,
    /// What the ways of spreading the run do and keep.
    pub(super) parallel: Vec<Box<dyn super::parallel::Hooks>>,
    /// Autocast's regions and kept casts.
    pub autocast: autocast::Regions,
    /// Where calls and nodes lie and what they cost, if that is asked for.
    pub(super) timeline: Option<Timeline>,
    /// For how many calls the one that runs stands, itself among them.
    pub(super) weight: u64,
    /// What went wrong where nothing could be returned.
    pub(super) failure: Option<LowerError>,
}

/// The program's tensors.
pub(super) struct Program {
    /// Those that are alive, by their number.
    pub values: Vec<Option<Tensor>>,
    /// Their types, which code may ask for after their end.
    pub dtypes: Vec<Option<Dtype>>,
    /// The shapes of all as they are in an iteration that happens again; those of the graph where there has been none.
    pub shapes: Option<Vec<Dims>>,
    /// What loading has put on the device, to be bound to the program's tensors.
    pub loaded: Vec<(TensorId, Tensor)>,
}

/// Checkpointed calls that are under way, and frames that are gone.
#[derive(Default)]
pub(super) struct Checkpointing {
    /// The checkpointed call that runs forward.
    pub frame: Option<Rc<Frame>>,
    /// The reentrant checkpoint's call that runs forward.
    pub reentrant: Option<checkpoint::reentrant::Running>,
    /// The checkpointed call that runs again.
    pub recomputation: Option<Recomputation>,
    /// The checkpointed call whose second run computes.
    pub runs_again: Option<CheckpointId>,
    /// Frames that are gone and whose arguments wait to be let go.
    pub gone_frames: Rc<RefCell<checkpoint::GoneFrames>>,
}

/// The trained parameters, and what their optimizer keeps.
#[derive(Default)]
pub(super) struct Training {
    /// The parameters that are trained, in the order of `model.parameters()`.
    pub trained: Vec<Trained>,
    /// What the optimizer keeps, by the position in `trained`.
    pub states: FxHashMap<u32, Rc<Attributes>>,
    /// The optimizer's options, and what it keeps beside the parameters' states.
    pub group: Option<Rc<Attributes>>,
    /// What the loss scaler keeps.
    pub scaler: Rc<Attributes>,
}

/// What libraries keep.
pub(crate) struct Libraries {
    /// What cuBLAS and cuBLASLt take and keep.
    pub(super) workspaces: Workspaces,
    /// Scales and tables of quantised weights.
    pub(super) quantization: Vec<Rc<Storage>>,
    /// The table that bitsandbytes makes once and keeps (functional.py, `name2qmap`).
    pub(super) dynamic_codes: Option<Rc<Storage>>,
    /// The shapes that Triton's kernels were tuned for.
    pub(crate) tuned: rustc_hash::FxHashSet<(u64, u64, u64)>,
}

impl Context {
    pub(super) fn new(device: Device, settings: Settings, graph: Arc<Graph>) -> Context {
        let libraries = Libraries {
            workspaces: Workspaces::new(&device, &settings.variables),
            quantization: Vec::new(),
            dynamic_codes: None,
            tuned: Default::default(),
        };
        let tensors = graph.shapes.len();
        Context {
            device,
            memory: Memory::of(graph.places.clone()),
            program: Program {
                values: vec![None; tensors],
                dtypes: vec![None; tensors],
                shapes: None,
                loaded: Vec::new(),
            },
            autograd: Recording::new(settings.training),
            settings,
            graph,
            checkpointing: Checkpointing::default(),
            functions: Vec::new(),
            training: Training::default(),
            libraries,
            parallel: Vec::new(),
            autocast: autocast::Regions::default(),
            timeline: None,
            weight: 1,
            failure: None,
        }
    }

    /// The architecture for which CUB's kernels were built.
    pub(crate) fn cub(&self) -> super::kernels::cub::Architecture {
        let own = || super::kernels::cub::Architecture::of(&self.device);
        self.settings.cub.unwrap_or_else(own)
    }

    /// Whether a region that runs again has all it needs, so that nothing runs any more.
    pub(super) fn is_stopped(&self) -> bool {
        self.checkpointing.recomputation.as_ref().is_some_and(|again| again.stopped)
    }

    /// Whether the trained parameters, and so their gradients and the optimizer, lie on the host.
    pub(super) fn optimizes_on_host(&self) -> bool {
        self.settings.parallel.iter().any(|way| matches!(way, crate::run::Parallel::Fsdp(fsdp) if fsdp.offload))
    }

    /// Runs something with the attention kernel that PyTorch picks itself, whatever a context manager asks for.
    pub(super) fn with_own_attention_kernel<T>(&mut self, run: impl FnOnce(&mut Context) -> T) -> T {
        let chosen = self.settings.attention_kernel.take();
        let result = run(self);
        self.settings.attention_kernel = chosen;
        result
    }
}
