//! `scaled_dot_product_attention` on CUDA: which backend PyTorch picks, and what that backend allocates and frees.
//!
//! ```text
//! Problem --choose--> Backend --forward--> Forward { steps, output }
//!                                \-backward--> Backward { steps, gradients }   (given the layout of the output's gradient)
//! ```
//!
//! A plan is the ordered list of what the caching allocator sees between the call and its return, or while the autograd
//! nodes that the call made run. Sizes are what is asked for, before the allocator rounds. `Free` means that the plan's
//! last reference to a buffer goes; `Release` that autograd's reference to something goes that the caller may hold too (an
//! input, the output, its gradient), so that it is freed if nothing else refers to it.
//!
//! Tensors are `[batch, heads, sequence, head_dim]`. Read from PyTorch 2.11 (`aten/src/ATen/native/transformers`) and
//! compared with it on an emulated device, where cuDNN's own workspaces read 0: on a real GPU each cuDNN forward and
//! backward allocates a workspace on top, which must be measured (see [`cudnn`]).

mod choice;
pub mod cudnn;
mod efficient;
mod flash;
mod layout;
mod mask;
mod math;
mod matmul;
mod problem;
mod tape;

pub use choice::choose;
pub(crate) use flash::splits as flash_splits;
pub use layout::Layout;
pub use problem::{AttentionError, Mask, Problem};
pub use tape::{Buffer, BufferId, Held, Step};

use std::ops::Range;

use tape::{Tape, Value};

use crate::lower::device::Device;
use crate::run::Backend;

/// What the forward call does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Every buffer it allocates, by [`BufferId`].
    pub buffers: Vec<Buffer>,
    /// In order.
    pub steps: Vec<Step>,
    /// Those of the fused operator itself; empty where the call is made of several operators.
    pub kernel: Range<usize>,
    /// The buffers of what the fused operator gives.
    pub results: Vec<BufferId>,
    /// The buffer that the returned tensor lives in.
    pub output: BufferId,
    /// The returned tensor, `[batch, heads, queries, value_dim]`.
    pub layout: Layout,
    /// What autograd holds until the backward releases it, beside the buffers that `steps` leave allocated.
    pub saved: Vec<Held>,
}

/// The buffers that steps allocate and do not free, in the order of their allocation.
pub fn left_by(steps: &[Step]) -> Vec<BufferId> {
    let made = steps.iter().filter_map(|step| if let Step::Allocate(id) = step { Some(*id) } else { None });
    made.filter(|id| !steps.contains(&Step::Free(*id))).collect()
}

/// What the autograd nodes of the call do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backward {
    /// The buffers of the forward call, then those that the backward allocates.
    pub buffers: Vec<Buffer>,
    /// In order. Frees name buffers of the forward call too.
    pub steps: Vec<Step>,
    /// Of query, key, value and mask, in this order; `None` where none is required.
    pub gradients: [Option<Gradient>; 4],
}

impl Backward {
    /// What was saved goes before the incoming gradient, the last saved first: a second run gives it to locals of the node's function.
    pub fn unpacked_go_first(&mut self) {
        let Some(gradient) = self.steps.iter().position(|step| *step == Step::Release(Held::Gradient)) else { return };
        let follow = self.steps[gradient + 1..].iter();
        let count = follow.take_while(|step| matches!(step, Step::Release(_) | Step::Free(_))).count();
        self.steps[gradient..=gradient + count].reverse();
    }
}

/// A gradient as it reaches the node that made the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gradient {
    /// Where it lives. Two gradients may share a buffer; `None` is the incoming gradient's own.
    pub buffer: Option<BufferId>,
    /// Its shape, which is the input's, and strides, which need not be.
    pub layout: Layout,
}

/// What a call allocates and frees.
pub fn forward(device: &Device, problem: &Problem, backend: Backend) -> Result<Forward, AttentionError> {
    let mut tape = Tape::new(device.rules);
    let run = run(&mut tape, device, problem, backend)?;
    let saved = run.saved();
    Ok(Forward {
        output: run.output.buffer.unwrap_or_default(),
        layout: run.output.layout,
        results: left_by(&tape.steps[tape.kernel.clone()]),
        buffers: tape.buffers,
        steps: tape.steps,
        kernel: tape.kernel,
        saved,
    })
}

/// What the call's backward allocates and frees, given the layout of the gradient that reaches it.
pub fn backward(
    device: &Device,
    problem: &Problem,
    backend: Backend,
    gradient: &Layout,
) -> Result<Backward, AttentionError> {
    let mut tape = Tape::new(device.rules);
    let run = run(&mut tape, device, problem, backend)?;
    tape.steps.clear();
    let gradient = Value { held: Some(Held::Gradient), ..Value::given(gradient) };
    let gradients = match run.nodes {
        Nodes::Flash(saved) => flash::backward(&mut tape, problem, *saved, gradient),
        Nodes::Efficient(saved) => efficient::backward(&mut tape, device, problem, saved, gradient)?,
        Nodes::Cudnn(saved) => cudnn::backward(&mut tape, problem, saved, gradient),
        Nodes::Math(saved) => math::backward(&mut tape, problem, *saved, gradient),
    };
    let gradients = gradients.map(|g| g.map(|value| Gradient { buffer: value.buffer, layout: value.layout }));
    Ok(Backward { buffers: tape.buffers, steps: tape.steps, gradients })
}

/// A forward call just run: its output and what its autograd nodes hold.
struct Run {
    output: Value,
    nodes: Nodes,
}

/// What the nodes hold, by the backend that made them.
enum Nodes {
    Flash(Box<flash::Saved>),
    Efficient(efficient::Saved),
    Cudnn(cudnn::Saved),
    Math(Box<math::Saved>),
}

impl Run {
    fn saved(&self) -> Vec<Held> {
        match &self.nodes {
            Nodes::Flash(saved) => saved.held(),
            Nodes::Efficient(saved) => saved.held(),
            Nodes::Cudnn(saved) => saved.held(),
            Nodes::Math(saved) => saved.held(),
        }
    }
}

fn run(tape: &mut Tape, device: &Device, problem: &Problem, backend: Backend) -> Result<Run, AttentionError> {
    problem.check(backend)?;
    match backend {
        Backend::Flash => Ok(flash::forward(tape, device, problem)),
        Backend::Efficient => efficient::forward(tape, device, problem),
        Backend::Cudnn => cudnn::forward(tape, problem),
        Backend::Math => Ok(math::forward(tape, problem)),
    }
}
