//! `DistributedDataParallel`: gradients are reduced in buckets (torch/csrc/distributed/c10d/reducer.cpp,
//! torch/nn/parallel/distributed.py).
//!
//! At first one bucket for each type of parameter. The second forward rebuilds them in the order in which gradients
//! became ready, the first full at 1 MiB, all others at 25; the old ones go before the new ones are made. Every forward
//! broadcasts the module's buffers: those of one type are copied together, if there are several.
//!
//! With `static_graph` the first iteration counts how often each gradient is added to, reduces all of them at its end and
//! hands out copies of the model's results; the second one takes note of the order.
//!
//! Gradients are copied into the buckets and back; with `gradient_as_bucket_view` they become views of them. Neither the
//! reduction nor the division by the number of ranks takes memory.

use std::collections::VecDeque;
use std::rc::Rc;

use super::Hooks;
use crate::bytes::MIB;
use crate::dtype::Dtype;
use crate::graph::{CallId, ModuleId, Parameter, TensorId};
use crate::lower::LowerError;
use crate::lower::autograd::Leaf;
use crate::lower::context::Context;
use crate::lower::tensor::{Storage, Tensor, TensorData};
use crate::run::Ddp;
use crate::trace::Category;

/// `dist._DEFAULT_FIRST_BUCKET_BYTES`
const FIRST_BUCKET: u64 = MIB;
/// `DistributedDataParallel(bucket_cap_mb=None)`
const BUCKET: u64 = 25 * MIB;
/// `DistributedDataParallel.broadcast_bucket_size`
const BROADCAST_BUCKET: u64 = 250 * MIB;
/// Broadcasts under way at once (torch/csrc/distributed/c10d/comm.cpp).
const IN_FLIGHT: usize = 2;

/// The reducer of a module.
pub(in crate::lower) struct Reducer {
    options: Ddp,
    /// The parameters with gradients, in the order of `model.parameters()`.
    leaves: Vec<Rc<Leaf>>,
    /// The buckets' memory.
    buckets: Vec<Rc<Storage>>,
    /// The bucket of each parameter.
    place: Vec<usize>,
    /// The parameters whose gradients are ready, in that order, until the buckets are rebuilt.
    ready: Vec<usize>,
    rebuilt: bool,
    /// What a static graph is known by.
    known: Option<StaticGraph>,
}

/// reducer.cpp, `static_graph_`.
struct StaticGraph {
    /// How often each gradient was added to in the first iteration (`numGradHooksTriggeredMap_`).
    triggers: Vec<u32>,
    /// How often each is still to be added to in this iteration.
    left: Vec<u32>,
    /// Whether the first iteration is over.
    learned: bool,
    /// `local_used_map_dev_`
    _used: Rc<Storage>,
}

impl Reducer {
    /// The reducer of the model that has been loaded.
    pub(super) fn new(context: &mut Context, options: Ddp) -> Reducer {
        let leaves: Vec<_> = context.training.trained.iter().map(|trained| trained.leaf.clone()).collect();
        let place = vec![0; leaves.len()];
        let (buckets, ready) = Default::default();
        let mut reducer = Reducer { options, leaves, buckets, place, ready, rebuilt: false, known: None };
        if reducer.options.init_sync {
            reducer.verify(context);
            let sizes = module_sizes(context);
            broadcast(context, &sizes);
        }
        let sizes: Vec<(u64, Dtype)> = reducer.leaves.iter().map(|leaf| size(leaf)).collect();
        let mut assigned = assign(&sizes, &[u64::MAX]);
        assigned.sort_by_key(|bucket| bucket.iter().copied().min());
        assigned.reverse();
        reducer.make_buckets(context, &assigned);
        if reducer.options.static_graph {
            let count = reducer.leaves.len();
            let _used = context.allocate("local_used_map", 4 * count as u64);
            let (triggers, left) = (vec![0; count], vec![0; count]);
            reducer.known = Some(StaticGraph { triggers, left, learned: false, _used });
        }
        reducer
    }

    /// reducer.cpp, `verify_params_across_processes`: every rank's number of parameters, then all sizes and strides, travel as
    /// 64-bit numbers.
    fn verify(&self, context: &mut Context) {
        let numbers: u64 = self.leaves.iter().map(|leaf| 2 * leaf.sizes.len() as u64).sum();
        let counts: Vec<_> = (0..=self.options.ranks).map(|_| context.allocate("verify_params", 8)).collect();
        let metadata = context.allocate("verify_params", 8 * numbers);
        drop(metadata);
        drop(counts);
    }

    /// With `gradient_as_bucket_view`, lets a gradient be a view of its bucket.
    fn view(&self, number: usize) {
        let leaf = &self.leaves[number];
        let storage = &self.buckets[self.place[number]];
        let mut gradient = leaf.gradient.borrow_mut();
        let lies_there = gradient.as_ref().is_none_or(|gradient| Rc::ptr_eq(&gradient.storage, storage));
        if self.options.gradient_as_bucket_view && !lies_there {
            let view = TensorData::new(storage.clone(), leaf.dtype, leaf.sizes.clone(), leaf.strides.clone());
            *gradient = Some(view);
        }
    }

    /// reducer.cpp, `rebuild_buckets`, `sync_bucket_indices`: the new order travels from rank 0 as 32-bit numbers.
    fn rebuild(&mut self, context: &mut Context) {
        self.rebuilt = true;
        let ready = std::mem::take(&mut self.ready);
        let lacking = self.leaves.len().saturating_sub(ready.len());
        if lacking > 0 {
            let message = format!(
                "{lacking} of the parameters got no gradient, which PyTorch refuses without find_unused_parameters"
            );
            let error = LowerError { op: "DistributedDataParallel", module: ModuleId(0), message };
            context.failure.get_or_insert(error);
            return;
        }
        let sizes: Vec<(u64, Dtype)> = ready.iter().map(|number| size(&self.leaves[*number])).collect();
        let limits = match self.options.bucket_cap_mb {
            None => vec![FIRST_BUCKET, BUCKET],
            Some(mebibytes) => vec![mebibytes * MIB],
        };
        let mut assigned = assign(&sizes, &limits);
        assigned.iter_mut().flatten().for_each(|number| *number = ready[*number]);
        let indices = context.allocate("rebuild_buckets", 4 * (ready.len() as u64 + 1));
        let counts = context.allocate("rebuild_buckets", 4 * assigned.len() as u64);
        drop(counts);
        drop(indices);
        self.make_buckets(context, &assigned);
    }

    /// reducer.cpp, `initialize_buckets`: a gradient that lies in an old bucket moves to its new one.
    fn make_buckets(&mut self, context: &mut Context, assigned: &[Vec<usize>]) {
        let views = self.options.gradient_as_bucket_view;
        let purpose = if views { Category::Gradients } else { Category::Communication };
        self.buckets.clear();
        for (place, bucket) in assigned.iter().enumerate() {
            let bytes = bucket.iter().map(|number| size(&self.leaves[*number]).0).sum();
            self.buckets.push(context.counted_as(purpose, |context| context.allocate("bucket", bytes)));
            for number in bucket {
                self.place[*number] = place;
                self.view(*number);
            }
        }
    }
}

impl Hooks for Reducer {
    /// `DistributedDataParallel._pre_forward`.
    fn before_call(&mut self, context: &mut Context, call: CallId) {
        if context.graph.calls[call.index()].module != ModuleId(0) {
            return;
        }
        if context.grad_enabled() && !self.rebuilt && !self.ready.is_empty() {
            context.counted_as(Category::Communication, |context| self.rebuild(context));
        }
        if let Some(known) = &mut self.known {
            known.left.clone_from(&known.triggers);
        }
        let sizes = buffer_sizes(context);
        broadcast(context, &sizes);
    }

    /// torch/nn/parallel/distributed.py, `_DDPSink`: copies of the results, until a first backward has passed them.
    fn after_call(&mut self, context: &mut Context, call: CallId) {
        let program = context.graph.clone();
        let call = &program.calls[call.index()];
        let learning = self.known.as_ref().is_some_and(|known| !known.learned);
        if !learning || call.module != ModuleId(0) {
            return;
        }
        let present = |id: &TensorId| Some((*id, context.program.values[id.index()].clone()?));
        let results: Vec<(TensorId, Tensor)> = call.results.iter().filter_map(present).collect();
        let copies: Vec<Tensor> = results.iter().map(|(_, result)| context.empty_like("clone", result)).collect();
        let inputs: Vec<Option<&Tensor>> = results.iter().map(|(_, result)| Some(result)).collect();
        let outputs: Vec<&Tensor> = copies.iter().collect();
        let pass = |_: &mut Context, gradients: &mut [Option<Tensor>]| gradients.iter_mut().map(Option::take).collect();
        context.record("_DDPSinkBackward", &inputs, &outputs, Box::new(pass));
        for ((id, result), copy) in results.iter().zip(&copies) {
            if result.requires_grad() {
                context.program.values[id.index()] = Some(copy.clone());
            }
        }
    }

    /// reducer.cpp, `autograd_hook`, `mark_variable_ready_dense`.
    fn gradient_ready(&mut self, leaf: &Rc<Leaf>) {
        let Some(number) = self.leaves.iter().position(|known| Rc::ptr_eq(known, leaf)) else { return };
        if let Some(known) = &mut self.known {
            if !known.learned {
                known.triggers[number] += 1;
                return;
            }
            known.left[number] = known.left[number].saturating_sub(1);
            if known.left[number] > 0 {
                return;
            }
        }
        if !self.rebuilt {
            self.ready.push(number);
        }
        self.view(number);
    }

    /// reducer.cpp, `delay_all_reduce`: after the first iteration of a static graph, all gradients are ready.
    fn backward_done(&mut self, _context: &mut Context) {
        let Some(known) = self.known.as_mut().filter(|known| !known.learned) else { return };
        known.learned = true;
        (0..self.leaves.len()).for_each(|number| self.view(number));
    }
}

fn size(leaf: &Leaf) -> (u64, Dtype) {
    (leaf.sizes.iter().product::<u64>() * leaf.dtype.size(), leaf.dtype)
}

/// reducer.cpp, `compute_bucket_assignment_by_size`: tensors of one type go into one bucket until it is full; each type's
/// first bucket is full at the first limit, the next at the next, the last limit goes on. Gives positions in `sizes`.
fn assign(sizes: &[(u64, Dtype)], limits: &[u64]) -> Vec<Vec<usize>> {
    let mut full = Vec::new();
    let mut open: Vec<(Dtype, Vec<usize>, u64, usize)> = Vec::new();
    for (number, (bytes, dtype)) in sizes.iter().enumerate() {
        let place = open.iter().position(|bucket| bucket.0 == *dtype).unwrap_or(open.len());
        if place == open.len() {
            open.push((*dtype, Vec::new(), 0, 0));
        }
        let (_, numbers, filled, limit) = &mut open[place];
        numbers.push(number);
        *filled += bytes;
        if *filled >= limits[*limit] {
            full.push(std::mem::take(numbers));
            *filled = 0;
            *limit = (*limit + 1).min(limits.len() - 1);
        }
    }
    full.extend(open.into_iter().map(|bucket| bucket.1).filter(|numbers| !numbers.is_empty()));
    full
}

/// Parameters in the order of `model.named_parameters()`, trained or not, then buffers (torch/distributed/utils.py,
/// `_sync_module_states`).
fn module_sizes(context: &Context) -> Vec<(u64, Dtype)> {
    let mut parameters: Vec<&Parameter> = context.graph.parameters.iter().filter(|p| !p.buffer).collect();
    parameters.sort_by_key(|parameter| parameter.place);
    let mut sizes: Vec<(u64, Dtype)> = parameters.iter().map(|parameter| stored(context, parameter)).collect();
    sizes.extend(buffer_sizes(context));
    sizes
}

fn buffer_sizes(context: &Context) -> Vec<(u64, Dtype)> {
    let buffers = context.graph.parameters.iter().filter(|parameter| parameter.buffer);
    buffers.map(|buffer| stored(context, buffer)).collect()
}

/// The bytes and the type of a parameter or buffer.
fn stored(context: &Context, parameter: &Parameter) -> (u64, Dtype) {
    let dtype = parameter.dtype.unwrap_or(context.settings.weights);
    (parameter.shape.iter().product::<u64>() * dtype.size(), dtype)
}

/// comm.cpp, `broadcast_coalesced`: tensors of one type are copied together, a single one is sent where it lies.
fn broadcast(context: &mut Context, sizes: &[(u64, Dtype)]) {
    let mut assigned = assign(sizes, &[BROADCAST_BUCKET]);
    assigned.sort_by_key(|bucket| bucket.iter().copied().min());
    let mut in_flight: VecDeque<Option<Rc<Storage>>> = VecDeque::new();
    for bucket in assigned {
        if in_flight.len() == IN_FLIGHT {
            in_flight.pop_front();
        }
        let bytes = bucket.iter().map(|number| sizes[*number].0).sum();
        let copied = |context: &mut Context| context.allocate("broadcast_coalesced", bytes);
        in_flight.push_back((bucket.len() > 1).then(|| context.counted_as(Category::Communication, copied)));
    }
}
