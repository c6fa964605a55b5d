//! FSDP's groups of parameters: which are gathered together, and how each is cut into shards
//! (torch/distributed/fsdp/_fully_shard/_fsdp_init.py, _fsdp_param.py).

use std::rc::Rc;

use crate::dtype::Dtype;
use crate::graph::{Dims, Graph, ModuleId, Parameter};
use crate::lower::LowerError;
use crate::lower::autograd::{Edge, Leaf};
use crate::lower::context::Context;
use crate::lower::parameters::{self, Trained};
use crate::lower::tensor::{Storage, Tensor, TensorData, contiguous_strides};
use crate::run::{Fsdp, LoadedTo};

/// Where a group is in a step (`TrainingState`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    #[default]
    Idle,
    Forward,
    BeforeBackward,
    AfterBackward,
}

/// A parameter of a group.
pub(super) struct Sharded {
    /// Its index among the graph's parameters.
    pub number: u32,
    /// The parameter that the module computes with.
    pub tensor: Tensor,
    /// The type of its shard.
    pub dtype: Dtype,
    /// The elements of all ranks' shards: the first dimension is rounded up to a multiple of the ranks.
    pub padded: u64,
    /// Where autograd gathers its gradient, if it is trained.
    pub leaf: Option<Rc<Leaf>>,
    /// The shard's memory.
    pub _kept: Rc<Storage>,
    /// Where its shard's gradient goes, if it is trained.
    pub shard: Option<Rc<Leaf>>,
}

/// Parameters that are gathered and reduced together: a block's, or the model's others.
pub(super) struct Group {
    pub module: ModuleId,
    pub parameters: Vec<Sharded>,
    pub phase: Phase,
    pub unsharded: bool,
    /// `_all_gather_result`
    pub gathered: Option<Rc<Storage>>,
    /// `_post_forward_indices`
    pub forwards: Vec<usize>,
}

impl Group {
    /// Lets the parameters go.
    pub fn reshard(&mut self) {
        if std::mem::take(&mut self.unsharded) {
            self.parameters.iter().for_each(|parameter| parameter.tensor.storage.release());
        }
    }
}

/// Shards the blocks, one after another, and then what is left of the model; gives the model's group first.
pub(super) fn shard(context: &mut Context, options: &Fsdp) -> Vec<Group> {
    let mut members = members(&context.graph);
    let (_, of_model) = members.remove(0);
    members.push((ModuleId(0), of_model));
    let full = std::mem::take(&mut context.training.trained);
    let load = options.loaded_to(context.graph.is_quantized());
    let mut materialized = if load == LoadedTo::Meta { to_empty(context, options) } else { Vec::new() };
    let mut groups: Vec<Group> = Vec::new();
    for (module, numbers) in members {
        if load == LoadedTo::Cpu {
            move_to_device(context, module, &numbers);
        }
        let mut cut: Vec<Sharded> = Vec::with_capacity(numbers.len());
        for number in numbers {
            let trained = full.iter().any(|trained| trained.leaf.parameter == number);
            let made = materialized.get_mut(number as usize).and_then(Option::take);
            cut.extend(shard_parameter(context, options, number, trained, made));
        }
        cut.iter().for_each(|parameter| parameter.tensor.storage.release());
        let (phase, forwards) = (Phase::Idle, Vec::new());
        groups.push(Group { module, parameters: cut, phase, unsharded: false, gathered: None, forwards });
    }
    let place = |trained: &Trained| full.iter().position(|other| other.leaf.parameter == trained.leaf.parameter);
    context.training.trained.sort_by_key(place);
    groups.rotate_right(1);
    groups
}

/// The model, then its blocks, each with its parameters, a module's own after its children's (_fsdp_init.py,
/// `_get_managed_modules`).
fn members(graph: &Graph) -> Vec<(ModuleId, Vec<u32>)> {
    let mut groups = vec![(ModuleId(0), Vec::new())];
    for (number, module) in graph.modules.iter().enumerate() {
        if module.block && block_of(graph, &module.path) == Some(number) {
            groups.push((ModuleId(number as u32), Vec::new()));
        }
    }
    let mut met = vec![false; graph.parameters.len()];
    for number in &graph.applied {
        let parameter = &graph.parameters[*number as usize];
        if parameter.buffer || std::mem::replace(&mut met[*number as usize], true) {
            continue;
        }
        let module = group_of(graph, parameter);
        if let Some((_, numbers)) = groups.iter_mut().find(|(member, _)| *member == module) {
            numbers.push(*number);
        }
    }
    groups.retain(|(module, numbers)| *module == ModuleId(0) || !numbers.is_empty());
    groups
}

/// Whose group a parameter or buffer belongs to: the outermost block's that it lies in, else the model's.
fn group_of(graph: &Graph, parameter: &Parameter) -> ModuleId {
    let path = &graph.modules[parameter.module.index()].path;
    block_of(graph, path).map_or(ModuleId(0), |block| ModuleId(block as u32))
}

/// The outermost block that a path leads into.
fn block_of(graph: &Graph, path: &str) -> Option<usize> {
    let within = |block: &str| path.strip_prefix(block).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    graph.modules.iter().position(|module| module.block && within(&module.path))
}

/// `model.to_empty(device)` on a model that was sharded on the meta device: the first rank's shards, which need no padding, and
/// the buffers, as `Module._apply` meets them. A tied parameter is made anew each time, in place of what it was
/// (torch/nn/modules/module.py, `_apply`: `swap_tensors`). With offload, shards are made on the host. The shards by their
/// parameters.
fn to_empty(context: &mut Context, options: &Fsdp) -> Vec<Option<Rc<Storage>>> {
    let graph = context.graph.clone();
    let mut made: Vec<Option<Rc<Storage>>> = vec![None; graph.parameters.len()];
    for number in &graph.applied {
        let parameter = &graph.parameters[*number as usize];
        let Some((_, full)) = context.program.loaded.get(*number as usize) else { continue };
        let full = full.clone();
        if parameter.buffer {
            fill(context, *number, &full);
            continue;
        }
        let bytes = shard_of(&full.sizes, options).iter().product::<u64>() * full.dtype.size();
        let make = |context: &mut Context| context.allocate_for("empty_like", bytes, Some(*number));
        let shard = parameters::loaded_for(context, parameter, |context| match options.offload {
            true => context.on_host(make),
            false => make(context),
        });
        made[*number as usize] = Some(shard);
    }
    made
}

/// _fsdp_init.py, `_move_states_to_device`: a group's parameters come to the device, then its modules' buffers.
fn move_to_device(context: &mut Context, module: ModuleId, numbers: &[u32]) {
    let graph = context.graph.clone();
    let own = |number: &u32| {
        let parameter = &graph.parameters[*number as usize];
        parameter.buffer && group_of(&graph, parameter) == module
    };
    let buffers = graph.applied.iter().copied().filter(own);
    for number in numbers.iter().copied().chain(buffers) {
        let Some((_, full)) = context.program.loaded.get(number as usize) else { continue };
        let full = full.clone();
        if full.storage.is_nothing() {
            fill(context, number, &full);
        }
    }
}

/// A parameter or a buffer gets its memory.
fn fill(context: &mut Context, number: u32, full: &Tensor) {
    let graph = context.graph.clone();
    let bytes = full.sizes.iter().product::<u64>() * full.dtype.size();
    parameters::loaded_for(context, &graph.parameters[number as usize], |context| {
        full.storage.refill(context.allocation("load", bytes, Some(number)));
    });
}

/// The sizes of the first rank's shard, which no other's exceeds: the first dimension over the ranks, rounded up.
fn shard_of(sizes: &Dims, options: &Fsdp) -> Dims {
    let mut cut = sizes.clone();
    if let Some(first) = cut.first_mut() {
        *first = first.div_ceil(options.ranks);
    }
    cut
}

/// _fsdp_param.py, `_init_sharded_param`: the first rank's shard, unless it is made already; with offload it is made on the
/// device and moved.
fn shard_parameter(
    context: &mut Context,
    options: &Fsdp,
    number: u32,
    trained: bool,
    made: Option<Rc<Storage>>,
) -> Option<Sharded> {
    let graph = context.graph.clone();
    let parameter = &graph.parameters[number as usize];
    let loaded = context.program.loaded.get(number as usize)?.1.clone();
    if loaded.sizes.is_empty() {
        let message = format!("{} has no dimension that fully_shard could cut", parameter.name);
        let error = LowerError { op: "fully_shard", module: parameter.module, message };
        context.failure.get_or_insert(error);
        return None;
    }
    let sizes = shard_of(&loaded.sizes, options);
    let elements: u64 = sizes.iter().product();
    let bytes = elements * loaded.dtype.size();
    let cut = |context: &mut Context| {
        let cut = context.allocate_for("new_zeros", bytes, Some(number));
        if !options.offload {
            return cut;
        }
        context.on_host(|host| host.allocate_for("_to_copy", bytes, Some(number)))
    };
    let kept = made.unwrap_or_else(|| parameters::loaded_for(context, parameter, cut));
    let dtype = options.param_dtype.filter(|_| loaded.dtype.is_floating()).unwrap_or(loaded.dtype);
    let leaf_of = |sizes: &Dims, dtype: Dtype| {
        let (sizes, strides) = (sizes.clone(), contiguous_strides(sizes));
        Rc::new(Leaf {
            parameter: number,
            sizes,
            strides,
            dtype,
            module: parameter.module,
            gradient: Default::default(),
            variable: None,
        })
    };
    let tensor = TensorData::new(loaded.storage.clone(), dtype, loaded.sizes.clone(), loaded.strides.clone());
    let leaf = trained.then(|| leaf_of(&loaded.sizes, dtype));
    if let Some(leaf) = &leaf {
        tensor.gradient.replace(Edge::Leaf(leaf.clone()));
    }
    context.program.loaded[number as usize].1 = tensor.clone();
    let shard = trained.then(|| leaf_of(&sizes, loaded.dtype));
    if let Some(leaf) = &shard {
        let tensor = TensorData::new(kept.clone(), loaded.dtype, sizes.clone(), leaf.strides.clone());
        context.training.trained.push(Trained { tensor, leaf: leaf.clone() });
    }
    Some(Sharded { number, tensor, dtype: loaded.dtype, padded: elements * options.ranks, leaf, shard, _kept: kept })
}
