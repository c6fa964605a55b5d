//! What runs while a program is lowered: the log, the device, grad mode, and the memory that libraries keep.

use std::any::Any;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::LowerError;
use super::autocast;
use super::autograd::{Apply, Edge, Leaf, Node};
use super::checkpoint::{self, Frame, Recomputation, Saved};
use super::device::Device;
use super::kernels::step::Step;
use super::optimizer::Attributes;
use super::parameters::Trained;
use super::tensor::{Log, Storage, Tensor, TensorData, contiguous_strides};
use super::timeline::{Mark, Timeline};
use super::workspaces::Workspaces;
use crate::bytes::Bytes;
use crate::dtype::Dtype;
use crate::graph::{CheckpointId, Dims, Graph, ModuleId, TensorId};
use crate::ops::Known;
use crate::time::{Cost, Unit, Work};
use crate::trace::{Allocation, Category, Cause, Name, PlaceId};

/// The threads that ask for memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thread {
    /// Python's.
    Forward,
    /// The autograd engine's for the device.
    Backward,
}

/// Who asks for memory: a module, the node of autograd that runs, a line of Python.
pub(super) struct Asking {
    module: ModuleId,
    node: Option<(&'static str, Name)>,
    place: Option<PlaceId>,
    cause: Cause,
}

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
    /// How the run is spread over several GPUs, if it is.
    pub parallel: Option<crate::run::Parallel>,
    /// The names of the parameters that are trained; all where None is given.
    pub trainable: Option<regex::Regex>,
    /// The optimizer; None where nothing is trained.
    pub optimizer: Option<Arc<crate::read::optimizers::Optimizer>>,
    /// The environment variables that libraries read.
    pub variables: crate::run::Variables,
    /// Whether whatever Python reads from the device is zero, as on the emulated device of the records.
    pub reads_zeros: bool,
}

/// The state of a lowering.
pub struct Context {
    pub(crate) log: Rc<Log>,
    /// The GPU.
    pub device: Device,
    /// The run's settings.
    pub settings: Settings,
    /// Whether autograd records.
    pub grad_enabled: bool,
    thread: Thread,
    sequence: u64,
    module: ModuleId,
    node: Option<(&'static str, Name)>,
    /// The line of Python that runs, or whose operator made the node that runs.
    pub(super) place: Option<PlaceId>,
    /// The CUDA stream that is current: 0 is the default one, the others are numbered as they first allocate.
    pub(super) stream: u32,
    /// What new allocations are for.
    pub category: Category,
    /// The program.
    pub(super) graph: Arc<Graph>,
    /// The program's tensors that are alive, by their number.
    pub(super) values: Vec<Option<Tensor>>,
    /// The checkpointed call that runs forward.
    pub(super) frame: Option<Rc<Frame>>,
    /// The reentrant checkpoint's call that runs forward.
    pub(super) reentrant: Option<checkpoint::reentrant::Running>,
    /// The checkpointed call that runs again.
    pub(super) recomputation: Option<Recomputation>,
    /// Frames that are gone and whose arguments wait to be let go.
    pub(super) gone_frames: Rc<RefCell<checkpoint::GoneFrames>>,
    /// What went wrong where nothing could be returned.
    pub(super) failure: Option<LowerError>,
    /// Where calls and nodes lie, if that is asked for.
    pub(super) timeline: Option<Timeline>,
    /// The checkpointed call whose second run computes.
    pub(super) runs_again: Option<CheckpointId>,
    /// Autocast's regions and kept casts.
    pub autocast: autocast::Regions,
    /// What loading has put on the device, to be bound to the program's tensors.
    pub(super) loaded: Vec<(TensorId, Tensor)>,
    /// The parameters that are trained, in the order of `model.parameters()`.
    pub(super) trained: Vec<Trained>,
    /// What data parallel training keeps.
    pub(super) parallel: Option<Box<super::parallel::State>>,
    /// What the optimizer keeps, by the position in `trained`.
    pub(super) states: FxHashMap<u32, Rc<Attributes>>,
    /// The optimizer's options, and what it keeps beside the parameters' states.
    pub(super) group: Option<Rc<Attributes>>,
    /// What the loss scaler keeps.
    pub(super) scaler: Rc<Attributes>,
    /// The parameter on whose behalf memory is asked for.
    pub(super) parameter: Option<u32>,
    /// What lies on the host, in a stream of its own.
    pub(super) host: Rc<Log>,
    /// The types of the program's tensors, which code may ask for after their end.
    pub(super) dtypes: Vec<Option<Dtype>>,
    /// Scales and tables of quantised weights.
    pub(super) quantization: Vec<Rc<Storage>>,
    /// The table that bitsandbytes makes once and keeps (functional.py, `name2qmap`).
    pub(super) dynamic_codes: Option<Rc<Storage>>,
    /// The shapes that Triton's kernels were tuned for.
    pub(crate) tuned: rustc_hash::FxHashSet<(u64, u64, u64)>,
    /// What cuBLAS and cuBLASLt take and keep.
    pub(super) workspaces: Workspaces,
}

impl Context {
    pub(super) fn new(device: Device, settings: Settings, graph: Arc<Graph>) -> Context {
        let log = Log::of(graph.places.clone());
        Context {
            host: Rc::new(log.beside()),
            log: Rc::new(log),
            workspaces: Workspaces::new(&device, &settings.variables),
            place: None,
            device,
            grad_enabled: settings.training,
            settings,
            thread: Thread::Forward,
            sequence: 0,
            module: ModuleId(0),
            node: None,
            stream: 0,
            category: Category::Temporaries,
            values: vec![None; graph.shapes.len()],
            dtypes: vec![None; graph.shapes.len()],
            quantization: Vec::new(),
            dynamic_codes: None,
            graph,
            frame: None,
            reentrant: None,
            recomputation: None,
            gone_frames: Rc::default(),
            failure: None,
            timeline: None,
            runs_again: None,
            autocast: autocast::Regions::default(),
            loaded: Vec::new(),
            trained: Vec::new(),
            parallel: None,
            states: FxHashMap::default(),
            group: None,
            scaler: Rc::default(),
            parameter: None,
            tuned: Default::default(),
        }
    }

    // ---- memory -------------------------------------------------------------------------------------------------

    /// Asks for memory on behalf of an operator.
    pub fn allocate(&mut self, op: &'static str, bytes: u64) -> Rc<Storage> {
        self.allocate_for(op, bytes, self.parameter)
    }

    pub(super) fn allocate_for(&mut self, op: &'static str, bytes: u64, parameter: Option<u32>) -> Rc<Storage> {
        if self.is_stopped() {
            return self.log.nothing();
        }
        let allocation = self.allocation(op, bytes, parameter);
        self.log.allocate(allocation)
    }

    /// Python's last reference to a tensor of the program goes.
    pub(super) fn drop_tensor(&mut self, tensor: TensorId, cause: Cause) {
        let outer = self.log.blame(cause);
        self.values[tensor.index()] = None;
        self.log.blame(outer);
    }

    /// Lets something go for a cause.
    pub(super) fn let_go<T>(&mut self, value: T, cause: Cause) {
        let outer = self.log.blame(cause);
        drop(value);
        self.log.blame(outer);
    }

    /// The architecture for which CUB's kernels were built.
    pub(crate) fn cub(&self) -> super::kernels::cub::Architecture {
        let own = || super::kernels::cub::Architecture::of(&self.device);
        self.settings.cub.unwrap_or_else(own)
    }

    /// The thread that runs.
    pub(super) fn thread(&self) -> Thread {
        self.thread
    }

    /// Whether a region that runs again has all it needs, so that nothing runs any more.
    pub(super) fn is_stopped(&self) -> bool {
        self.recomputation.as_ref().is_some_and(|again| again.stopped)
    }

    /// Runs something whose memory lies on the host.
    pub(super) fn on_host<T>(&mut self, run: impl FnOnce(&mut Context) -> T) -> T {
        let device = std::mem::replace(&mut self.log, self.host.clone());
        let result = run(self);
        self.log = device;
        result
    }

    /// Whether the trained parameters, and so their gradients and the optimizer, lie on the host.
    pub(super) fn optimizes_on_host(&self) -> bool {
        matches!(&self.settings.parallel, Some(crate::run::Parallel::Fsdp(fsdp)) if fsdp.offload)
    }

    /// An allocation by whoever runs now.
    pub(super) fn allocation(&self, op: &'static str, bytes: u64, parameter: Option<u32>) -> Allocation {
        Allocation {
            bytes: Bytes(bytes),
            cuda_stream: self.stream,
            operator: self.log.name(op),
            node: self.node.map(|(_, name)| name),
            module: self.module,
            category: self.category,
            parameter,
            place: self.place,
        }
    }

    /// A new contiguous tensor.
    pub fn empty(&mut self, op: &'static str, sizes: &[u64], dtype: Dtype) -> Tensor {
        self.empty_strided(op, sizes.into(), contiguous_strides(sizes), dtype)
    }

    /// A new tensor with strides that leave no gaps.
    pub fn empty_strided(&mut self, op: &'static str, sizes: Dims, strides: Dims, dtype: Dtype) -> Tensor {
        let bytes = sizes.iter().product::<u64>() * dtype.size();
        let storage = self.allocate(op, bytes);
        TensorData::new(storage, dtype, sizes, strides)
    }

    /// A new tensor with the sizes and type of another, and its strides where it is dense
    /// (aten/src/ATen/native/TensorFactories.cpp, `empty_like` with the preserved memory format).
    pub fn empty_like(&mut self, op: &'static str, like: &TensorData) -> Tensor {
        self.empty_like_as(op, like, like.dtype)
    }

    /// The same with another type.
    pub fn empty_like_as(&mut self, op: &'static str, like: &TensorData, dtype: Dtype) -> Tensor {
        let strides = if like.is_dense() { like.strides.clone() } else { dense_strides(like) };
        self.empty_strided(op, like.sizes.clone(), strides, dtype)
    }

    /// What a kernel allocates and frees, in its own order; gives its results, if it lists them: what it does not free.
    pub fn scratch(&mut self, op: &'static str, steps: &[Step]) -> SmallVec<[Rc<Storage>; 4]> {
        let mut held: SmallVec<[Option<Rc<Storage>>; 4]> = SmallVec::new();
        let mut results = SmallVec::new();
        for step in steps {
            match step {
                Step::Allocate(bytes) => {
                    let storage = self.allocate(op, *bytes);
                    held.push(Some(storage));
                }
                Step::Output(bytes) => {
                    let storage = self.allocate(op, *bytes);
                    results.push(storage);
                }
                Step::Free(number) => held[*number] = None,
            }
        }
        results
    }

    // ---- autograd -----------------------------------------------------------------------------------------------

    /// Whether an operator over these tensors is recorded.
    pub fn records(&self, inputs: &[&Tensor]) -> bool {
        self.grad_enabled && inputs.iter().any(|input| input.requires_grad())
    }

    /// Keeps a tensor for backward: its memory, without its place in the graph.
    pub fn save(&mut self, tensor: &Tensor) -> Saved {
        let kept = self.frame.is_none();
        if kept && matches!(tensor.storage.category(), Category::Temporaries | Category::KvCache) {
            tensor.storage.becomes(Category::SavedActivations);
        }
        checkpoint::save(self, detach(tensor))
    }

    /// Whether what is saved now is not held, but computed again for backward.
    pub(crate) fn saves_for_later(&self) -> bool {
        self.frame.is_some()
    }

    /// Notes that something went wrong which `lower` will report; gives a tensor of no bytes to go on with.
    pub(crate) fn fail(&mut self, message: &str) -> Tensor {
        let (op, module) = (self.node.map_or("backward", |(node, _)| node), self.module);
        self.failure.get_or_insert_with(|| LowerError { op, module, message: message.to_owned() });
        TensorData::new(self.log.nothing(), Dtype::U8, Dims::new(), Dims::new())
    }

    /// Outside any node, as code that runs again is; gives what `return_to_node` takes.
    pub(super) fn leave_nodes(&mut self) -> Asking {
        let outer = self.asking();
        self.node = None;
        outer
    }

    /// Back to the node that asked.
    pub(super) fn return_to_node(&mut self, outer: Asking) {
        let cause;
        Asking { module: self.module, node: self.node, place: self.place, cause } = outer;
        self.log.blame(cause);
    }

    fn asking(&self) -> Asking {
        Asking { module: self.module, node: self.node, place: self.place, cause: self.log.cause() }
    }

    /// Hangs something on the node that made `output`, as a function written in Python does (`ctx.tensors = ...`): neither
    /// checkpointing nor the end of the node's run lets it go.
    pub(crate) fn keep_with_node(&mut self, output: &Tensor, kept: Rc<dyn Any>) {
        if let Edge::Node(node, _) = &*output.gradient.borrow() {
            node.attributes.borrow_mut().push(kept);
        }
    }

    /// `tensor.requires_grad_()`: a leaf of its own, whose gradient goes with the graph.
    pub fn require_gradient(&mut self, tensor: &Tensor) {
        if self.grad_enabled && tensor.dtype.is_floating() && !tensor.requires_grad() {
            let (sizes, strides) = (tensor.sizes.clone(), tensor.strides.clone());
            let (dtype, module) = (tensor.dtype, self.module);
            let variable = Some(detach(tensor));
            let gradient = Default::default();
            let leaf = Leaf { parameter: u32::MAX, sizes, strides, dtype, module, gradient, variable };
            tensor.gradient.replace(Edge::Leaf(Rc::new(leaf)));
        }
    }

    /// Records an operator: `outputs` become results of a node whose gradients go to `inputs`.
    pub fn record(&mut self, name: &'static str, inputs: &[Option<&Tensor>], outputs: &[&Tensor], apply: Apply) {
        let edges: SmallVec<[Edge; 3]> =
            inputs.iter().map(|input| input.map_or(Edge::None, |tensor| tensor.gradient.borrow().clone())).collect();
        let metadata = outputs.iter().map(|output| (output.sizes.clone(), output.dtype)).collect();
        let node = Node::new(name, (self.module, self.place), self.sequence, edges, metadata, apply);
        self.sequence += 1;
        for (position, output) in outputs.iter().enumerate() {
            if output.dtype.is_floating() {
                output.gradient.replace(Edge::Node(node.clone(), position as u32));
            }
        }
    }

    pub(super) fn enter_backward(&mut self) -> (Thread, bool) {
        (
            std::mem::replace(&mut self.thread, super::autograd::BACKWARD),
            std::mem::replace(&mut self.grad_enabled, false),
        )
    }

    pub(super) fn leave_backward(&mut self, thread: Thread, enabled: bool) {
        self.thread = thread;
        self.grad_enabled = enabled;
    }

    pub(super) fn enter_node(&mut self, node: &Node) -> Asking {
        let outer = self.asking();
        (self.module, self.place) = node.origin;
        let name = self.log.name(node.name);
        self.node = Some((node.name, name));
        self.log.blame(Cause::Node(name));
        outer
    }

    /// The name of the node that runs.
    pub(super) fn node_name(&self) -> Name {
        self.node.map_or_else(Name::default, |(_, name)| name)
    }

    /// Makes a module the one that asks.
    pub fn enter_module(&mut self, module: ModuleId) -> ModuleId {
        std::mem::replace(&mut self.module, module)
    }

    /// Gives the module back that asked before.
    pub fn leave_module(&mut self, outer: ModuleId) {
        self.module = outer;
    }

    /// Notes where something lies in the stream, if that is asked for.
    pub(super) fn mark(&mut self, mark: impl FnOnce(u64) -> Mark) {
        if let Some(timeline) = &mut self.timeline {
            timeline.marks.push((self.log.events(), mark(self.sequence)));
        }
    }

    // ---- costs --------------------------------------------------------------------------------------------------

    /// Counts what an operator's call costs, and what its backward will.
    pub(super) fn count(&mut self, op: &crate::graph::Op) {
        let Some(timeline) = &self.timeline else { return };
        let works = crate::ops::works(op, &self.graph.shapes, |id| self.known(id));
        let (forward, backward) = (timeline.cost(&works.forward), timeline.cost(&works.backward));
        // a reentrant region's first run is without grad mode, so that its second run alone leads to a backward
        let first_time = self.runs_again.is_none_or(|id| self.graph.checkpoints[id.index()].reentrant.is_some());
        if self.computes(op) {
            self.spend(forward);
        }
        if let Some(timeline) = self.timeline.as_mut().filter(|_| first_time && self.grad_enabled) {
            timeline.computed = timeline.computed.and(backward);
        }
    }

    /// Counts a kernel that no operator of the program asks for: how many bytes it reads and writes.
    pub(super) fn count_moved(&mut self, bytes: u64) {
        let Some(timeline) = &self.timeline else { return };
        let cost = timeline.cost(&[Work { flops: 0, bytes, unit: Unit::Arithmetic }]);
        self.spend(cost);
    }

    fn spend(&mut self, cost: Cost) {
        let Some(timeline) = &mut self.timeline else { return };
        let spent = match self.runs_again {
            Some(id) => &mut timeline.recomputed[id.index()],
            None => &mut timeline.computed,
        };
        *spent = spent.and(cost);
    }

    fn known(&self, id: TensorId) -> Option<Known> {
        let tensor = self.values[id.index()].as_ref()?;
        let spread = tensor.sizes.iter().zip(&tensor.strides);
        let elements: u64 = spread.filter(|(_, stride)| **stride > 0).map(|(size, _)| size).product();
        Some(Known {
            bytes: elements * tensor.dtype.size(),
            dtype: tensor.dtype,
            needs_gradient: tensor.requires_grad(),
            storage: Rc::as_ptr(&tensor.storage) as usize,
        })
    }

    /// Whether an operator of a second run computes: its result may have been saved, or nothing may be asked of it any more.
    fn computes(&mut self, op: &crate::graph::Op) -> bool {
        if self.runs_again.is_none() {
            return true;
        }
        let stopped = self.is_stopped();
        // an operator that the second run stops at before it computes has no memory for its result
        let result = op.outputs.first().and_then(|id| self.values[id.index()].as_ref());
        let has_result = result.is_some_and(|tensor| !tensor.storage.is_nothing());
        let spared = self.recomputation.as_mut().and_then(|again| again.spared.take());
        !spared.is_some_and(|spared| spared.all) && (!stopped || has_result)
    }
}

/// The same memory, outside the autograd graph.
pub fn detach(tensor: &Tensor) -> Tensor {
    TensorData::new(tensor.storage.clone(), tensor.dtype, tensor.sizes.clone(), tensor.strides.clone())
}

/// Strides without gaps that keep the order of a tensor's dimensions (aten/src/ATen/ExpandUtils.cpp,
/// `infer_dense_strides`).
pub fn dense_strides(like: &TensorData) -> Dims {
    super::iterator::output_strides(&like.sizes, &[(&like.sizes, &like.strides)])
}
