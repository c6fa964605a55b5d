//! The forward program, unrolled: which operators run over which tensors, in which order, and when Python lets go of each.
//!
//! A spec's code is run the way Python would run it, over tensors that have only a shape. What Python's reference counts
//! would do is what Rust's ownership does here: a [`value::Value`] that holds a tensor notes a [`Step::Drop`] when the
//! last of its kind goes.
//!
//! ```text
//! hidden_states = attn_output + residual      ->  Op(add) [attn_output, residual] -> t7;  Drop(t3) the old hidden_states
//! ```
//!
//! The graph knows nothing of element types, precision or autograd: `x.to(y.dtype)` stays an operator whose argument is
//! [`DtypeArgument::Of`] a tensor.

mod build;
mod builtins;
mod call;
mod captures;
mod checkpoint;
mod containers;
mod copies;
mod cuts;
mod decisions;
mod einsum;
mod exchange;
mod foresee;
mod function;
mod hooked;
mod host;
mod index;
mod lives;
mod machine;
mod numbers;
mod python;
mod repeat;
mod saved;
mod spans;
mod state;
mod stored;
mod tape;
mod unroll;
mod value;

use std::fmt;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::dtype::Dtype;
use crate::ops::{self, Operator};
use crate::run::{Attention, LossKind, SavedOperators};
use crate::trace::{Place, PlaceId};
use crate::words::quote;

pub use crate::ids::{CallId, CheckpointId, FunctionId, ModuleId, OpId, RepeatId, TensorId};
pub use cuts::{Segment, segments};
pub use function::CustomFunction;
pub use repeat::{Growth, Repeat, grown};
pub use spans::lay;
pub use stored::{Choice, Loading, Piece, Role, StoredLayers, Which};
pub use unroll::{AUTOCAST, CacheLayout, HALF, Loop, READS_ZEROS, RECORDS, unroll};

/// Sizes of a tensor's dimensions, outermost first.
pub type Dims = SmallVec<[u64; 5]>;

/// A checkpointed call of a module, as Python runs it again in backward.
#[derive(Clone, Debug, Default)]
pub struct Checkpoint {
    /// The module that is called.
    pub module: ModuleId,
    /// The tensors among the call's arguments, which it holds beside Python's own names; of a reentrant call without its
    /// `inputs`.
    pub arguments: Vec<TensorId>,
    /// What autograd sees of a reentrant call; None of a non-reentrant one, which it sees through.
    pub reentrant: Option<ReentrantCall>,
    /// The operators whose results it saves; None where no policy is given.
    pub saves: Option<Arc<SavedOperators>>,
    /// The second run of the module's forward. Regions run again in the reverse of their order, each before the one
    /// before it: what the first run left in Python's objects (a cache) is as it will be then.
    pub recompute: Vec<Step>,
    /// What Python lets go when the region's last saved tensor has been used: what objects among the arguments held, unless
    /// a later call of the same backward holds them too.
    pub release: Vec<Step>,
    /// The last call of the same backward.
    pub last: Option<CheckpointId>,
}

/// A reentrant checkpoint's call, which is one function to autograd (torch/utils/checkpoint.py, `CheckpointFunction`).
#[derive(Clone, Debug, Default)]
pub struct ReentrantCall {
    /// The positional arguments that are tensors: gradients flow through them alone.
    pub inputs: Vec<TensorId>,
    /// What it gave.
    pub results: Vec<TensorId>,
    /// What its second run gives.
    pub recomputed: Vec<TensorId>,
}

/// A call of the model or of a block, with the tensors that a hook on it sees: those in its positional and named arguments,
/// in its tuples and dictionaries, and in what it returns.
#[derive(Clone, Debug)]
pub struct Call {
    /// What is called.
    pub module: ModuleId,
    /// Tensors among the arguments.
    pub arguments: Vec<TensorId>,
    /// Tensors among the results.
    pub results: Vec<TensorId>,
}

/// A module of the model's tree.
#[derive(Clone, Debug)]
pub struct Module {
    /// Its path, e.g. `transformer.h.0.attn`; empty for the model itself.
    pub path: String,
    /// The name of its class.
    pub class: Arc<str>,
    /// Whether it stands in a list of modules, as a model's blocks do.
    pub block: bool,
    /// How often it is called.
    pub calls: u32,
    /// Whether each call gave tensors and nothing else.
    pub gives_tensors: bool,
}

/// A parameter or a buffer of the model.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Its full name, e.g. `transformer.h.0.attn.c_attn.weight`; of a tied parameter the one that
    /// `model.named_parameters()` gives.
    pub name: String,
    /// The module that owns it under that name.
    pub module: ModuleId,
    /// Its place in `model.named_parameters()`; buffers have none.
    pub place: Option<u32>,
    /// The tensor that it is in the program.
    pub tensor: TensorId,
    /// Its shape.
    pub shape: Dims,
    /// Its type; the type of the run's weights where none is fixed.
    pub dtype: Option<Dtype>,
    /// Whether it is a buffer: no gradient, no optimizer state.
    pub buffer: bool,
    /// Whether checkpoints hold it.
    pub stored: bool,
    /// How it comes to the device.
    pub origin: Origin,
    /// Whether it needs no gradient: it belongs to a quantised layer, or others are trained in its stead, as adapters are.
    pub frozen: bool,
}

/// How a parameter comes to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// With the model, as it is.
    Model,
    /// With the model, quantised on the way.
    Quantized(Quantized),
    /// Afterwards, as an adapter, first in the type of the layer that it adapts.
    Adapter {
        /// That type; the run's weights' where None is given.
        first: Option<Dtype>,
    },
    /// Afterwards, with the adapters that are the two parameters before it: DoRA's magnitude of the weight that they adapt.
    Magnitude {
        /// Whether that weight is stored the other way round.
        transposed: bool,
    },
    /// Afterwards, with a copy of a module that is trained whole (peft's `modules_to_save`).
    Copied,
}

impl Origin {
    /// How many weights so many stored elements are.
    pub fn unpacked(self, elements: u64) -> u64 {
        match self {
            Origin::Quantized(Quantized::FourBit { .. }) => elements.saturating_mul(2),
            _ => elements,
        }
    }
}

/// The form of a quantised weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantized {
    /// Two elements a byte, in blocks of 64 with a scale each; nested: the scales are quantised as well.
    FourBit {
        /// Whether the scales are quantised.
        nested: bool,
    },
    /// A byte an element, with a scale a row.
    Int8,
}

impl Quantized {
    /// How many scales so many elements have in 4 bits (bitsandbytes 0.50.2, nn/modules.py, `Params4bit`, the default).
    pub fn scales(elements: u64) -> u64 {
        elements.div_ceil(64)
    }

    /// How many scales so many scales have (bitsandbytes 0.50.2, functional.py, `quantize_4bit`).
    pub fn nested_scales(scales: u64) -> u64 {
        scales.div_ceil(256)
    }
}

impl Parameter {
    /// Whether it needs a gradient in a run that trains the parameters of these names.
    pub fn needs_gradient(&self, trainable: Option<&regex::Regex>) -> bool {
        let chosen = trainable.map_or(!self.frozen, |chosen| chosen.is_match(&self.name));
        let floating = self.dtype.is_none_or(Dtype::is_floating);
        !self.buffer && floating && chosen
    }
}

/// A type that an operator is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DtypeArgument {
    /// This one.
    Fixed(Dtype),
    /// That of the run's weights.
    Weights,
    /// Whatever that tensor has.
    Of(TensorId),
}

/// An argument of an operator's call.
#[derive(Clone, Debug, PartialEq)]
pub enum Argument {
    /// `None`
    None,
    /// `True`, `False`
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// A text.
    Text(Arc<str>),
    /// A type.
    Dtype(DtypeArgument),
    /// A tensor.
    Tensor(TensorId),
    /// A list or tuple.
    List(Vec<Argument>),
}

impl Argument {
    /// Gives tensors within it other names.
    fn rename(&mut self, names: &FxHashMap<TensorId, TensorId>) {
        match self {
            Argument::Tensor(tensor) | Argument::Dtype(DtypeArgument::Of(tensor)) => {
                *tensor = *names.get(tensor).unwrap_or(tensor);
            }
            Argument::List(items) => items.iter_mut().for_each(|item| item.rename(names)),
            _ => {}
        }
    }

    fn is_like(
        &self,
        other: &Argument,
        tensors: &mut impl FnMut(TensorId, TensorId) -> bool,
        integers: &mut impl FnMut(i64, i64) -> bool,
    ) -> bool {
        match (self, other) {
            (Argument::Tensor(a), Argument::Tensor(b)) => tensors(*a, *b),
            (Argument::Dtype(DtypeArgument::Of(a)), Argument::Dtype(DtypeArgument::Of(b))) => tensors(*a, *b),
            (Argument::Int(a), Argument::Int(b)) => integers(*a, *b),
            (Argument::List(a), Argument::List(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.is_like(b, tensors, integers))
            }
            (a, b) => a == b,
        }
    }
}

/// An operator's call.
#[derive(Clone, Debug)]
pub struct Op {
    /// What is called.
    pub operator: &'static Operator,
    /// With what.
    pub arguments: SmallVec<[Argument; 4]>,
    /// What it gives.
    pub outputs: SmallVec<[TensorId; 2]>,
    /// The module whose code called it.
    pub module: ModuleId,
    /// The line that called it.
    pub place: PlaceId,
}

impl Op {
    /// Gives tensors among the arguments other names.
    pub fn rename(&mut self, names: &FxHashMap<TensorId, TensorId>) {
        self.arguments.iter_mut().for_each(|argument| argument.rename(names));
    }

    /// Whether another call, from the same line, is the same where tensors and integers of the one stand for those of the other.
    pub fn is_like(
        &self,
        other: &Op,
        mut tensors: impl FnMut(TensorId, TensorId) -> bool,
        mut integers: impl FnMut(i64, i64) -> bool,
    ) -> bool {
        std::ptr::eq(self.operator, other.operator)
            && self.place == other.place
            && self.arguments.len() == other.arguments.len()
            && self.outputs.len() == other.outputs.len()
            && self.arguments.iter().zip(&other.arguments).all(|(a, b)| a.is_like(b, &mut tensors, &mut integers))
    }
}

/// One step of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// An operator runs.
    Op(OpId),
    /// Python's last reference to the tensor goes, at that place.
    Drop(TensorId, PlaceId),
    /// A module's call begins.
    Enter(ModuleId),
    /// A module's call has returned.
    Exit(ModuleId),
    /// A call of the model or of a block begins: hooks before it.
    EnterCall(CallId),
    /// A call of the model or of a block has returned: hooks after it.
    ExitCall(CallId),
    /// A checkpointed call begins.
    EnterCheckpoint(CheckpointId),
    /// A checkpointed call has returned.
    ExitCheckpoint(CheckpointId),
    /// A function with a gradient of its own begins.
    EnterFunction(FunctionId),
    /// A function with a gradient of its own has returned.
    ExitFunction(FunctionId),
    /// The last iteration of a loop happens again, so many times.
    Repeat(RepeatId),
}

/// A program and the model that it runs.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// The module tree, parents before children; the model itself is the first.
    pub modules: Vec<Module>,
    /// Parameters and buffers in the order in which `model.to(device)` moves them.
    pub parameters: Vec<Parameter>,
    /// The same, by their index, as `Module._apply` and `fully_shard` meet them once adapters are in the tree; a tied one each time.
    pub applied: Vec<u32>,
    /// Shapes of all tensors, by [`TensorId`].
    pub shapes: Vec<Dims>,
    /// All calls, by [`OpId`].
    pub ops: Vec<Op>,
    /// What happens, in order.
    pub steps: Vec<Step>,
    /// The calls of the model and of its blocks, by [`CallId`].
    pub calls: Vec<Call>,
    /// The checkpointed calls, by [`CheckpointId`].
    pub checkpoints: Vec<Checkpoint>,
    /// The calls of functions with gradients of their own, by [`FunctionId`].
    pub functions: Vec<CustomFunction>,
    /// Iterations that happen again, by [`RepeatId`].
    pub repeats: Vec<Repeat>,
    /// The loss of a class, where its outputs said it.
    pub loss: Option<LossKind>,
    /// How the checkpoint's tensors come to the device, where it stores weights quantised.
    pub loading: Option<Loading>,
    /// The lines that ran, by [`PlaceId`].
    pub places: Vec<Place>,
}

impl Graph {
    /// Whether weights come to the device one by one and are quantised there, or are stored quantised.
    pub fn is_quantized(&self) -> bool {
        let quantized = |parameter: &Parameter| matches!(parameter.origin, Origin::Quantized(_));
        self.loading.is_some() || self.parameters.iter().any(quantized)
    }

    /// How the model computes attention, by what its calls are; None without any.
    pub fn attention(&self) -> Option<Attention> {
        let calls = |name: &str| self.ops.iter().any(|op| op.operator.name == name);
        let ways = [
            (ops::FLASH_ATTENTION, Attention::FlashAttention2),
            (ops::SCALED_DOT_PRODUCT_ATTENTION, Attention::Sdpa),
            (ops::SOFTMAX, Attention::Eager),
        ];
        ways.iter().find(|(name, _)| calls(name)).map(|(_, way)| *way)
    }
}

/// The tensors within an argument.
pub fn tensors_of(argument: &Argument) -> Vec<TensorId> {
    match argument {
        Argument::Tensor(tensor) => vec![*tensor],
        Argument::List(items) => items.iter().flat_map(tensors_of).collect(),
        _ => Vec::new(),
    }
}

/// Why a program could not be unrolled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphError {
    /// Where in a spec: `file:line:column`, innermost first.
    pub at: Vec<String>,
    /// The path of the module whose code ran.
    pub module: String,
    /// The reason, in words.
    pub message: String,
    /// Whether the run is to blame as a whole, and no line or module.
    pub is_of_run: bool,
}

impl fmt::Display for GraphError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&quote::message(&self.message))?;
        if self.is_of_run {
            return Ok(());
        }
        if !self.module.is_empty() {
            write!(f, ", in {}", quote::cut(&self.module))?;
        }
        match self.at.first() {
            Some(at) => write!(f, " ({at})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for GraphError {}

/// What code of specs can call without saying where it is from: operators, the functions of this module, and what the embedded
/// library defines.
///
/// # Errors
/// A file of the embedded library that is no spec: its tests see that there is none.
pub fn callable_names() -> Result<std::collections::BTreeSet<String>, crate::read::spec::SpecError> {
    let mut names: std::collections::BTreeSet<String> =
        crate::ops::all().keys().map(|name| (*name).to_owned()).collect();
    names.extend(builtins::names().map(str::to_owned));
    names.extend(crate::read::spec::library_names()?);
    Ok(names)
}
