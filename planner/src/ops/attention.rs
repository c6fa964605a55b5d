//! Scaled dot-product attention: the backend that PyTorch picks, its forward and its backward, from their plans.

use std::cell::RefCell;
use std::rc::Rc;

use smallvec::smallvec;

use super::call::one as one_shape;
use super::operands::one;
use super::reduce::sum_scratch;
use super::{Call, Lowered, Operands, Returns, Row, Shapes};
use crate::dtype::Dtype;
use crate::lower::autograd::Gradients;
use crate::lower::checkpoint::Saved;
use crate::lower::context::Context;
use crate::lower::kernels::attention::{self, Backend, Buffer, Held, Layout, Mask, Problem, Step};
use crate::lower::tensor::{Storage, Tensor, TensorData};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "scaled_dot_product_attention",
        signature: "query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, enable_gqa=False",
        returns: Returns::One,
        source: "aten/src/ATen/native/transformers/attention.cpp, cuda/sdp_utils.cpp, cuda/attention.cu",
        shapes: shape,
        lower: |context, a| {
            let problem = problem(context, a)?;
            attend(context, a, problem)
        },
    },
    // As native_multi_head_attention asks for it: other code runs where PyTorch picks the math kernel.
    Row {
        name: "fused_attention",
        signature: "query, key, value",
        returns: Returns::One,
        source: "aten/src/ATen/native/transformers/cuda/attention.cu, native_multi_head_attention_cuda",
        shapes: shape,
        lower: |context, a| {
            let problem = problem(context, a)?;
            match choice(context, &problem)? {
                Backend::Math => Err("multi-head attention in inference is known with fused kernels alone".to_owned()),
                _ => attend(context, a, problem),
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
                Step::Blas => context.use_blas(),
                Step::Sum { from, to } => sum_scratch(context, &from.shape, &from.strides, to, dtype),
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
    let tracks = |tensor: &Tensor| context.grad_enabled && tensor.requires_grad();
    Ok(Problem {
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
        grouped: operands.flag(6),
        requires_grad: inputs.map(tracks),
    })
}

fn attend(context: &mut Context, operands: &Operands, problem: Problem) -> Lowered {
    let inputs = [operands.tensor(0)?, operands.tensor(1)?, operands.tensor(2)?];
    let mask = operands.optional(3);
    let backend = choice(context, &problem)?;
    let plan = attention::forward(&context.device, &problem, backend).map_err(|error| error.to_string())?;
    let [forward_name, node, backward_name] = names(backend);
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
    memory.run(context, forward_name, &plan.buffers, &plan.steps, problem.dtype);
    let output = memory
        .tensor(plan.output.0, &plan.layout, problem.dtype)
        .ok_or_else(|| "the attention's result is empty".to_owned())?;
    if !records {
        return one(output);
    }
    if plan.saved.contains(&Held::Output) {
        kept.held.push((Held::Output, context.save(&output)));
    }
    memory.buffers[plan.output.0] = None;
    kept.keep_buffers(context, memory, &plan.buffers);
    let kept = RefCell::new(kept);
    let apply = move |context: &mut Context, g: &mut [Option<Tensor>]| {
        let Some(incoming) = g[0].take() else { return Gradients::new() };
        // What can be run forward can be run backward, unless the gradient has a layout that the kernel refuses.
        let Ok(plan) = attention::backward(&context.device, &problem, backend, &layout(&incoming)) else {
            return Gradients::new();
        };
        let mut memory = std::mem::take(&mut *kept.borrow_mut()).into_memory(context);
        memory.held.push((Held::Gradient, incoming));
        memory.run(context, backward_name, &plan.buffers, &plan.steps, problem.dtype);
        let incoming = memory.held.iter().find(|(held, _)| *held == Held::Gradient).map(|(_, tensor)| tensor.clone());
        let gradient = |gradient: Option<attention::Gradient>| {
            let gradient = gradient?;
            match gradient.buffer {
                Some(buffer) => memory.tensor(buffer.0, &gradient.layout, problem.dtype),
                None => incoming.clone(),
            }
        };
        plan.gradients.into_iter().map(gradient).collect()
    };
    let edges = [Some(inputs[0]), Some(inputs[1]), Some(inputs[2]), mask];
    context.record(node, &edges, &[&output], Box::new(apply));
    one(output)
}

/// What a call's node keeps: tensors of the caller, its result, and buffers of its plan by their number.
#[derive(Default)]
struct Kept {
    held: Vec<(Held, Saved)>,
    buffers: Vec<(usize, Saved)>,
}

impl Kept {
    /// Buffers count as vectors of bytes: those that two kernels keep differ in their sizes.
    fn keep_buffers(&mut self, context: &mut Context, memory: Memory, buffers: &[Buffer]) {
        for ((number, storage), buffer) in memory.buffers.into_iter().enumerate().zip(buffers) {
            if let Some(storage) = storage {
                let tensor = TensorData::new(storage, Dtype::U8, smallvec![buffer.bytes], smallvec![1]);
                self.buffers.push((number, context.save(&tensor)));
            }
        }
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
