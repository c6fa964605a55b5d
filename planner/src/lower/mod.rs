//! Lowers a forward program to what PyTorch's dispatcher, autograd engine and optimizers allocate and free.
//!
//! ```text
//! Step::Op    -> the operator's row, on storages: results, temporaries, what autograd saves   (ops/)
//! Step::Drop  -> Python's reference goes; the memory too, if autograd does not hold it        (tensor.rs)
//! backward    -> the nodes that the forward recorded, in the engine's order                   (autograd.rs)
//! ```

mod alike;
pub mod autocast;
pub mod autograd;
pub mod checkpoint;
pub mod context;
pub mod device;
mod function;
pub mod iterator;
pub mod kernels;
mod loading;
mod magnitude;
pub mod measured;
pub(crate) mod optimizer;
mod parallel;
pub mod parameters;
pub(crate) mod quantized;
mod repeat;
pub(crate) mod scaler;
mod settled;
pub mod tensor;
pub mod timeline;
mod workspaces;

use std::fmt;
use std::sync::Arc;

use crate::graph::{Argument, DtypeArgument, Graph, ModuleId, Op, Step};
use crate::ops::{Operand, Operands};
use crate::time::{Cost, Speeds};
use crate::trace::{Cause, Trace};
use crate::words::quote;
use context::{Context, Settings};
use device::Device;
use timeline::{Mark, Timeline};

/// Why a program cannot run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LowerError {
    /// The operator.
    pub op: &'static str,
    /// The module that called it.
    pub module: ModuleId,
    /// The reason, in words.
    pub message: String,
}

impl fmt::Display for LowerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.op, quote::message(&self.message))
    }
}

impl std::error::Error for LowerError {}

/// Lowers a program for a device: the event stream of the run.
///
/// # Errors
/// An operator that PyTorch would refuse, such as an attention kernel that the device lacks.
pub fn lower(graph: &Arc<Graph>, device: &Device, settings: Settings) -> Result<Trace, LowerError> {
    run_program(&mut Context::new(device.clone(), settings, graph.clone()))
}

/// The same, with where its calls and nodes lie, and what the run costs on a device of these speeds.
///
/// # Errors
/// As `lower`.
pub fn lower_with_timeline(
    graph: &Arc<Graph>,
    device: &Device,
    settings: Settings,
    speeds: Option<Speeds>,
) -> Result<(Trace, Timeline), LowerError> {
    let mut context = Context::new(device.clone(), settings, graph.clone());
    let calls = graph.checkpoints.len();
    let recomputed = vec![Cost::default(); calls];
    let timeline = Timeline { speeds, recomputed, uses_blas_lt: vec![false; calls], ..Timeline::default() };
    context.timeline = Some(timeline);
    let trace = run_program(&mut context)?;
    Ok((trace, context.timeline.take().unwrap_or_default()))
}

fn run_program(context: &mut Context) -> Result<Trace, LowerError> {
    let graph = context.graph.clone();
    for step in &graph.steps {
        take(context, &graph, step, None)?;
    }
    let mut trace = context.memory.log.take();
    trace.host = context.memory.host.take().kept_at_most();
    trace.modules = graph.modules.iter().map(|module| module.path.as_str().into()).collect();
    trace.parameters = graph.parameters.iter().map(|parameter| parameter.name.as_str().into()).collect();
    Ok(trace)
}

/// Takes a step of the program; of a call in other words, where it has grown since.
fn take(context: &mut Context, graph: &Graph, step: &Step, grown: Option<&Op>) -> Result<(), LowerError> {
    match step {
        Step::Op(id) => run(context, grown.unwrap_or(&graph.ops[id.index()])),
        Step::Drop(tensor, place) => {
            context.drop_tensor(*tensor, Cause::Python(*place));
            checkpoint::release(context);
        }
        Step::EnterCheckpoint(id) => checkpoint::enter(context, *id),
        Step::ExitCheckpoint(id) => checkpoint::exit(context, *id),
        Step::EnterFunction(id) => function::enter(context, *id),
        Step::ExitFunction(id) => function::exit(context, *id),
        Step::EnterCall(id) => parallel::before_call(context, *id),
        Step::ExitCall(id) => parallel::after_call(context, *id),
        Step::Enter(module) => context.mark(|sequence| Mark::Enter(*module, sequence)),
        Step::Exit(module) => context.mark(|sequence| Mark::Exit(*module, sequence)),
        Step::Repeat(id) => repeat::repeat(context, graph, *id)?,
    }
    match context.failure.take() {
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

/// Runs an operator; what goes wrong is left in `context.failure`.
fn run(context: &mut Context, op: &Op) {
    context.memory.place = Some(op.place);
    context.memory.log.blame(Cause::Operator(context.memory.log.name(op.operator.name)));
    if let Err(message) = context.within(op.module, |context| call(context, op)) {
        let (op, module) = (op.operator.name, op.module);
        context.failure.get_or_insert(LowerError { op, module, message });
    }
}

fn call(context: &mut Context, op: &Op) -> Result<(), String> {
    let operands = op.arguments.iter().map(|argument| operand(context, argument)).collect::<Result<_, _>>()?;
    let mut operands = Operands(operands);
    autocast::cast_arguments(context, op.operator, &mut operands);
    let outputs = (op.operator.lower)(context, &operands)?;
    for (id, tensor) in op.outputs.iter().zip(outputs) {
        context.program.dtypes[id.index()] = Some(tensor.dtype);
        context.program.values[id.index()] = Some(tensor);
    }
    for (id, tensor) in std::mem::take(&mut context.program.loaded) {
        context.program.dtypes[id.index()] = Some(tensor.dtype);
        context.program.values[id.index()] = Some(tensor);
    }
    if context.timeline.is_some() {
        context.count(op);
    }
    Ok(())
}

fn operand(context: &Context, argument: &Argument) -> Result<Operand, String> {
    let tensor = |id: crate::graph::TensorId| {
        context.program.values[id.index()].clone().ok_or_else(|| format!("tensor {} is used outside its life", id.0))
    };
    Ok(match argument {
        Argument::None => Operand::None,
        Argument::Bool(flag) => Operand::Bool(*flag),
        Argument::Int(number) => Operand::Int(*number),
        Argument::Float(number) => Operand::Float(*number),
        Argument::Text(text) => Operand::Text(text.clone()),
        Argument::Dtype(DtypeArgument::Fixed(dtype)) => Operand::Dtype(*dtype),
        Argument::Dtype(DtypeArgument::Weights) => Operand::Dtype(context.settings.weights),
        Argument::Dtype(DtypeArgument::Of(id)) => {
            let known = context.program.dtypes[id.index()];
            Operand::Dtype(known.ok_or_else(|| format!("tensor {} is asked for its type before it is made", id.0))?)
        }
        Argument::Tensor(id) => Operand::Tensor(tensor(*id)?),
        Argument::List(items) => {
            Operand::List(items.iter().map(|item| operand(context, item)).collect::<Result<_, _>>()?)
        }
    })
}
