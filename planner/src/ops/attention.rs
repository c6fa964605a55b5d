//! Scaled dot-product attention: the backend that PyTorch picks, its forward and its backward, from their plans.

use std::cell::RefCell;
use std::rc::Rc;

use smallvec::smallvec;

use super::call::one as one_shape;
use super::operands::one;
use super::reduce::sum_scratch;
use super::{Autocast, Call, Class, Lowered, Operands, Returns, Row, Shapes};
use crate::dtype::Dtype;
use crate::lower::autograd::Gradients;
use crate::lower::checkpoint::Saved;
use crate::lower::context::Context;
use crate::lower::kernels::attention::{self, Buffer, Forward, Held, Layout, Mask, Problem, Step};
use crate::lower::measured::four;
use crate::lower::tensor::{Storage, Tensor, TensorData};
use crate::read::profiles::AttentionKey;
use crate::run::Backend;
use crate::versions::Change;

/// Attention as PyTorch has it.
pub const SCALED_DOT_PRODUCT_ATTENTION: &str = "scaled_dot_product_attention";

/// Attention as the package flash-attn has it.
pub const FLASH_ATTENTION: &str = "flash_attention";

/// The least compute capability that the package takes.
const FLASH_FROM: (u32, u32) = (8, 0);

pub(super) const ROWS: &[Row] = &[
    Row {
        name: SCALED_DOT_PRODUCT_ATTENTION,
        signature: "query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, enable_gqa=False",
        returns: Returns::One,
        source: "aten/src/ATen/native/transformers/attention.cpp, cuda/sdp_utils.cpp, cuda/attention.cu",
        class: Class::Attention,
        autocast: Autocast::Lower,
        savable: &[
            "_scaled_dot_product_cudnn_attention.default",
            "_scaled_dot_product_efficient_attention.default",
            "_scaled_dot_product_flash_attention.default",
        ],
        aten: &[(
            "scaled_dot_product_attention.default",
            "query, key, value, attn_mask=None, dropout_p:rate=0.0, is_causal=False, enable_gqa=False",
            "scale",
        )],
        shapes: shape,
        lower: |context, a| {
            let problem = problem(context, a)?;
            let backend = choice(context, &problem)?;
            attend(context, a, problem, backend)
        },
    },
    // PyTorch's own flash kernels are a copy of the package's (aten/src/ATen/native/transformers/cuda/flash_attn): what both take
    // is the same by their sources, in which order the package asks for it was not compared.
    Row {
        name: FLASH_ATTENTION,
        signature: "query, key, value, dropout_p=0.0, is_causal=False",
        returns: Returns::One,
        source: "Dao-AILab/flash-attention 2.8, csrc/flash_attn/flash_api.cpp, mha_fwd and mha_bwd",
        class: Class::Attention,
        autocast: Autocast::Lower,
        savable: &[],
        aten: &[],
        shapes: shape,
        lower: |context, a| {
            if context.device.compute_capability < FLASH_FROM {
                return Err(
                    "flash_attention_2 takes GPUs of compute capability 8.0 or more: --attention sdpa".to_owned()
                );
            }
            let mut problem = problem(context, a)?;
            if !matches!(problem.dtype, Dtype::F16 | Dtype::BF16) {
                return Err(
                    "flash_attention_2 takes float16 and bfloat16 alone: --precision bf16 or amp-bf16".to_owned()
                );
            }
            (problem.mask, problem.dropout, problem.grouped) = (None, a.float(3).unwrap_or(0.0), true);
            problem.causal = a.flag(4) && problem.query.shape[2] == problem.key.shape[2];
            attend(context, a, problem, Backend::Flash)
        },
    },
    // As native_multi_head_attention asks for it: other code runs where PyTorch picks the math kernel.
    Row {
        name: "fused_attention",
        signature: "query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, enable_gqa=False, of=None",
        returns: Returns::One,
        source: "aten/src/ATen/native/transformers/cuda/attention.cu, native_multi_head_attention_cuda",
        class: Class::Attention,
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[],
        shapes: shape,
        lower: |context, a| {
            let problem = problem(context, a)?;
            // kernels are chosen by the input itself (sdp_utils_cpp.h, check_last_dim_stride_equals_1)
            if a.optional(7).is_some_and(|of| of.strides.last() != Some(&1)) {
                return Err("multi-head attention in inference of a transposed input is not known: make it contiguous"
                    .to_owned());
            }
            match choice(context, &problem)? {
                Backend::Math => Err("multi-head attention in inference is known with fused kernels alone".to_owned()),
                backend => attend(context, a, problem, backend),
            }
        },
    },
];

fn shape(call: &Call) -> Shapes {
    let (query, key, value) = (call.shape(0)?, call.shape(1)?, call.shape(2)?);
    let fits = query.len() == 4 && key.len() == 4 && value.len() == 4 && query[3] == key[3] && key[..3] == value[..3];
    if !fits {
        return Err(format!("query {query:?}, key {key:?} and value {value:?} do not go together"));
    }
    one_shape(smallvec![query[0], query[1], query[2], value[3]])
}

fn layout(tensor: &Tensor) -> Layout {
    Layout { shape: tensor.sizes.to_vec(), strides: tensor.strides.to_vec() }
}

/// The memory of a call's plan as it runs: its buffers, and what it holds of the caller's.
#[derive(Default)]
struct Memory {
    buffers: Vec<Option<Rc<Storage>>>,
    held: Vec<(Held, Tensor)>,
    /// The gradient of the mask, once it is done.
    handed: Option<Rc<Storage>>,
}

impl Memory {
    fn run(&mut self, context: &mut Context, op: &'static str, buffers: &[Buffer], steps: &[Step], dtype: Dtype) {
        self.buffers.resize(buffers.len(), None);
        for step in steps {
            match step {
                Step::Allocate(id) => self.buffers[id.0] = Some(context.allocate(op, buffers[id.0].bytes)),
                Step::Free(id) => self.buffers[id.0] = None,
                Step::Release(held) => {
                    if let Some(place) = self.held.iter().position(|(known, _)| known == held) {
                        self.held.remove(place);
                    }
                }
                Step::Hand { buffer, shared: true } => self.handed = self.buffers[buffer.0].clone(),
                Step::Hand { buffer, shared: false } => self.handed = self.buffers[buffer.0].take(),
                Step::Blas => context.use_blas(),
                Step::Sum { from, to } => sum_scratch(context, &from.shape, &from.strides, to, dtype),
            }
        }
    }

    /// The whole call; its fused operator is one to those that look below autograd.
    fn run_forward(&mut self, context: &mut Context, op: &'static str, plan: &Forward, dtype: Dtype) {
        self.run(context, op, &plan.buffers, &plan.steps[..plan.kernel.start], dtype);
        let outputs = context.aten_outputs(op, |context| {
            self.run(context, op, &plan.buffers, &plan.steps[plan.kernel.clone()], dtype);
            plan.results.iter().filter_map(|id| self.bytes(id.0, &plan.buffers)).collect()
        });
        for (id, output) in plan.results.iter().zip(outputs) {
            self.buffers[id.0] = Some(output.storage.clone());
        }
        self.run(context, op, &plan.buffers, &plan.steps[plan.kernel.end..], dtype);
    }

    /// A buffer as a vector of bytes: those that two kernels keep differ in their sizes.
    fn bytes(&self, number: usize, buffers: &[Buffer]) -> Option<Tensor> {
        let storage = self.buffers.get(number)?.clone()?;
        Some(TensorData::new(storage, Dtype::U8, smallvec![buffers.get(number)?.bytes], smallvec![1]))
    }

    /// Lets go of what nobody keeps, in the order in which the call's locals go: the fused operator's results, as their tuple has them,
    /// then what was made before them.
    fn let_go(mut self, plan: &Forward) {
        let (before, after): (Vec<_>, Vec<_>) = plan.results.iter().copied().partition(|id| id.0 < plan.output.0);
        for id in after.into_iter().chain(before) {
            if let Some(buffer) = self.buffers.get_mut(id.0) {
                *buffer = None;
            }
        }
    }

    fn tensor(&self, buffer: usize, layout: &Layout, dtype: Dtype) -> Option<Tensor> {
        let storage = self.buffers.get(buffer)?.clone()?;
        Some(TensorData::new(storage, dtype, layout.shape[..].into(), layout.strides[..].into()))
    }
}

fn names(backend: Backend) -> [&'static str; 3] {
    match backend {
        Backend::Flash => [
            "_scaled_dot_product_flash_attention",
            "ScaledDotProductFlashAttentionBackward0",
            "_scaled_dot_product_flash_attention_backward",
        ],
        Backend::Efficient => [
            "_scaled_dot_product_efficient_attention",
            "ScaledDotProductEfficientAttentionBackward0",
            "_scaled_dot_product_efficient_attention_backward",
        ],
        Backend::Cudnn => [
            "_scaled_dot_product_cudnn_attention",
            "ScaledDotProductCudnnAttentionBackward0",
            "_scaled_dot_product_cudnn_attention_backward",
        ],
        Backend::Math => ["_scaled_dot_product_attention_math", "math attention backward", "math attention backward"],
    }
}

fn choice(context: &Context, problem: &Problem) -> Result<Backend, String> {
    let wanted = context.settings.attention_kernel;
    attention::choose(&context.device, problem, wanted).map_err(|error| error.to_string())
}

/// What a call asks for.
fn problem(context: &Context, operands: &Operands) -> Result<Problem, String> {
    let inputs = [operands.tensor(0)?, operands.tensor(1)?, operands.tensor(2)?];
    let tracks = |tensor: &Tensor| context.grad_enabled() && tensor.requires_grad();
    // one head of keys and values serves all queries without enable_gqa too: measured in torch 2.15
    let is_one = |tensor: &Tensor| tensor.sizes.get(1) == Some(&1);
    let one_serves = is_one(inputs[1]) && is_one(inputs[2]) && context.device.rules.has(Change::EfficientGroups);
    Ok(Problem {
        cudnn_workspaces: [0; 2],
        query: layout(inputs[0]),
        key: layout(inputs[1]),
        value: layout(inputs[2]),
        dtype: inputs[0].dtype,
        mask: operands.optional(3).map(|mask| Mask {
            layout: layout(mask),
            boolean: mask.dtype == Dtype::Bool,
            requires_grad: tracks(mask),
        }),
        dropout: operands.float(4).unwrap_or(0.0),
        causal: operands.flag(5),
        grouped: operands.flag(6) || one_serves,
        requires_grad: inputs.map(tracks),
    })
}

/// How a profile knows a call: one that hides nothing but what is to come, and drops nothing.
fn key(operands: &Operands, [query, key, _]: [&Tensor; 3]) -> Option<AttentionKey> {
    let plain = operands.optional(3).is_none() && operands.float(4).unwrap_or(0.0) == 0.0;
    let (dtype, causal) = (query.dtype.name().to_owned(), operands.flag(5));
    let (query, key) = (four(&query.sizes)?, four(&key.sizes)?);
    plain.then_some(AttentionKey { query, key, dtype, causal })
}

fn attend(context: &mut Context, operands: &Operands, mut problem: Problem, backend: Backend) -> Lowered {
    let inputs = [operands.tensor(0)?, operands.tensor(1)?, operands.tensor(2)?];
    let mask = operands.optional(3);
    if backend == Backend::Cudnn {
        problem.cudnn_workspaces = context.attention_workspaces(|| key(operands, inputs));
    }
    let plan = attention::forward(&context.device, &problem, backend).map_err(|error| error.to_string())?;
    let [forward_name, node, backward_name] = names(backend);
    check_selection(context, &problem, backend)?;
    let followed: Vec<&Tensor> = inputs.into_iter().chain(mask).collect();
    let records = context.records(&followed);
    let given = |held: &Held| match held {
        Held::Query => Some(inputs[0]),
        Held::Key => Some(inputs[1]),
        Held::Value => Some(inputs[2]),
        Held::Mask => mask,
        Held::Output | Held::Gradient => None,
    };
    let mut kept = Kept::default();
    for held in plan.saved.iter().filter(|_| records) {
        if let Some(tensor) = given(held) {
            kept.held.push((*held, context.save(tensor)));
        }
    }
    let mut memory = Memory::default();
    let is_region = records && backend == Backend::Math && context.saves_for_later();
    let made = if is_region {
        // the nodes of a checkpointed region hold nothing while it runs first
        let mask = problem.mask.clone().map(|mask| Mask { requires_grad: false, ..mask });
        let unheld = Problem { requires_grad: [false; 3], mask, ..problem.clone() };
        let run = attention::forward(&context.device, &unheld, backend).map_err(|error| error.to_string())?;
        memory.run(context, forward_name, &run.buffers, &run.steps, problem.dtype);
        kept.keep_sizes(context, &plan);
        run.output.0
    } else {
        memory.run_forward(context, forward_name, &plan, problem.dtype);
        plan.output.0
    };
    let output =
        memory.tensor(made, &plan.layout, problem.dtype).ok_or_else(|| "the attention's result is empty".to_owned())?;
    if !records {
        return one(output);
    }
    if plan.saved.contains(&Held::Output) {
        kept.held.push((Held::Output, context.save(&output)));
    }
    memory.buffers[made] = None;
    if !is_region {
        kept.keep_buffers(context, &memory, &plan.buffers);
    }
    memory.let_go(&plan);
    let node = Recorded { names: [node, backward_name], backend, problem: Rc::new(problem), kept };
    node.record(context, [inputs[0], inputs[1], inputs[2]], mask, &output);
    one(output)
}

/// A call that autograd recorded.
struct Recorded {
    /// Of the node, and of the operator that its backward runs.
    names: [&'static str; 2],
    backend: Backend,
    problem: Rc<Problem>,
    kept: Kept,
}

/// A backward that is under way, and the gradient that it was given where nothing has released it.
struct Running {
    plan: attention::Backward,
    memory: Memory,
    incoming: Option<Tensor>,
}

impl Running {
    fn gradient(&self, number: usize, dtype: Dtype) -> Option<Tensor> {
        let gradient = self.plan.gradients[number].as_ref()?;
        match gradient.buffer {
            Some(buffer) => self.memory.tensor(buffer.0, &gradient.layout, dtype),
            None => self.incoming.clone(),
        }
    }

    /// The mask's gradient that was handed out, and nothing else that holds it.
    fn handed(&mut self, dtype: Dtype) -> Option<Tensor> {
        let layout = &self.plan.gradients[3].as_ref()?.layout;
        let storage = self.memory.handed.take()?;
        Some(TensorData::new(storage, dtype, layout.shape[..].into(), layout.strides[..].into()))
    }
}

impl Recorded {
    /// One node; where the mask's gradient goes on its way early, two, the second of which runs what is left.
    fn record(self, context: &mut Context, [query, key, value]: [&Tensor; 3], mask: Option<&Tensor>, output: &Tensor) {
        let Recorded { names: [node, op], backend, problem, kept } = self;
        let dtype = problem.dtype;
        let hands =
            backend == Backend::Math && problem.mask.as_ref().is_some_and(|mask| mask.requires_grad && !mask.boolean);
        let kept = RefCell::new(kept);
        let start = move |context: &mut Context, incoming: Tensor| {
            // What can be run forward can be run backward, unless the gradient has a layout that the kernel refuses.
            let mut plan = attention::backward(&context.device, &problem, backend, &layout(&incoming)).ok()?;
            if kept.borrow().is_run_again() {
                plan.unpacked_go_first();
            }
            let mut memory = std::mem::take(&mut *kept.borrow_mut()).into_memory(context);
            memory.held.push((Held::Gradient, incoming));
            let split = plan.steps.iter().position(|step| matches!(step, Step::Hand { .. }));
            let first = split.map_or(plan.steps.len(), |at| at + 1);
            memory.run(context, op, &plan.buffers, &plan.steps[..first], dtype);
            Some((Running { plan, memory, incoming: None }, first))
        };
        if !hands {
            let apply = move |context: &mut Context, g: &mut [Option<Tensor>]| {
                let Some(incoming) = g[0].take() else { return Gradients::new() };
                let Some((mut running, _)) = start(context, incoming) else { return Gradients::new() };
                let held = running.memory.held.iter().find(|(held, _)| *held == Held::Gradient);
                running.incoming = held.map(|(_, tensor)| tensor.clone());
                (0..4).map(|number| running.gradient(number, dtype)).collect()
            };
            context.record(node, &[Some(query), Some(key), Some(value), mask], &[output], Box::new(apply));
            return;
        }
        let under_way: Rc<RefCell<Option<(Running, usize)>>> = Rc::default();
        let scores = context.empty("scores", &[0], Dtype::F32);
        let first = under_way.clone();
        let rest = move |context: &mut Context, _: &mut [Option<Tensor>]| {
            let Some((mut running, from)) = under_way.take() else { return Gradients::new() };
            let Running { plan, memory, .. } = &mut running;
            memory.run(context, op, &plan.buffers, &plan.steps[from..], dtype);
            (0..3).map(|number| running.gradient(number, dtype)).collect()
        };
        context.record(node, &[Some(query), Some(key), Some(value)], &[&scores], Box::new(rest));
        let apply = move |context: &mut Context, g: &mut [Option<Tensor>]| {
            let Some(incoming) = g[0].take() else { return Gradients::new() };
            let Some((mut running, from)) = start(context, incoming) else { return Gradients::new() };
            let mask = running.handed(dtype);
            first.replace(Some((running, from)));
            smallvec![Some(context.empty("scores", &[0], Dtype::F32)), mask]
        };
        context.record(node, &[Some(&scores), mask], &[output], Box::new(apply));
    }
}

/// What the call makes of other operators is not told apart.
fn check_selection(context: &Context, problem: &Problem, backend: Backend) -> Result<(), String> {
    match &problem.mask {
        _ if backend == Backend::Math && context.dispatches() => {
            Err("checkpoint-save with attention that PyTorch composes of other operators is not planned".to_owned())
        }
        Some(mask) if mask.boolean && context.saves("where") => {
            Err("checkpoint-save where: attention makes numbers of its mask with it, which is not planned".to_owned())
        }
        _ => Ok(()),
    }
}

/// What a call's node keeps: tensors of the caller, its result, and buffers of its plan by their number.
#[derive(Default)]
struct Kept {
    held: Vec<(Held, Saved)>,
    buffers: Vec<(usize, Saved)>,
}

impl Kept {
    fn keep_buffers(&mut self, context: &mut Context, memory: &Memory, buffers: &[Buffer]) {
        for number in 0..buffers.len() {
            if let Some(tensor) = memory.bytes(number, buffers) {
                self.buffers.push((number, context.save(&tensor)));
            }
        }
    }

    /// The sizes alone of the buffers that a call leaves.
    fn keep_sizes(&mut self, context: &mut Context, plan: &attention::Forward) {
        for id in attention::left_by(&plan.steps).into_iter().filter(|id| *id != plan.output) {
            let bytes = plan.buffers[id.0].bytes;
            let tensor = TensorData::new(context.memory.log.nothing(), Dtype::U8, smallvec![bytes], smallvec![1]);
            self.buffers.push((id.0, context.save(&tensor)));
        }
    }

    /// Whether a second run gives what is kept.
    fn is_run_again(&self) -> bool {
        let held = self.held.iter().map(|(_, saved)| saved);
        held.chain(self.buffers.iter().map(|(_, saved)| saved)).any(|saved| matches!(saved, Saved::Later(_)))
    }

    fn into_memory(self, context: &mut Context) -> Memory {
        let mut memory = Memory::default();
        for (held, saved) in self.held {
            memory.held.push((held, saved.get(context)));
        }
        for (number, saved) in self.buffers {
            memory.buffers.resize(memory.buffers.len().max(number + 1), None);
            memory.buffers[number] = Some(saved.get(context).storage.clone());
        }
        memory
    }
}
