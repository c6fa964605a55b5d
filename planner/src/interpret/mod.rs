//! Runs the code of specs: the walk over statements and expressions, with Python's order of evaluation and of letting go.
//!
//! The walk is here, once; what values are and what is done to them is said by the machine that runs the code:
//!
//! ```text
//! graph/machine.rs             shapes, tensors and modules    when a program is unrolled
//! lower/optimizer/machine.rs   storages and numbers           when memory is asked for
//! ```
//!
//! A function's frame holds its locals until it returns; a loop's names stay bound after it, a comprehension's are its own;
//! an expression's intermediates go when it has been evaluated.

pub mod nested;
mod walk;

use std::rc::Rc;
use std::sync::Arc;

pub use nested::{Extent, Nested};
pub use walk::Interpreter;

use crate::read::spec::syntax::*;
use crate::trace::{Code, LettingGo, Standing};

/// A running function and its locals, by the numbers of their names.
pub struct Frame<'a, V> {
    pub function: &'a Function,
    pub slots: Vec<Option<V>>,
    /// The line that runs.
    pub line: u32,
}

impl<'a, V: Clone> Frame<'a, V> {
    /// A frame without locals.
    pub fn new(function: &'a Function) -> Self {
        Frame { function, slots: vec![None; function.names.len()], line: 0 }
    }

    /// Where it stands, with what goes there.
    fn standing(&self, local: Option<NameId>, how: LettingGo) -> Standing {
        Standing { function: address(self.function), line: self.line, local: local.map(|name| name.0), how }
    }

    fn slot(&mut self, name: NameId) -> &mut Option<V> {
        &mut self.slots[usize::from(name.0)]
    }
}

/// The address of a function's code, which tells functions apart while they run.
pub fn address(function: &Function) -> usize {
    std::ptr::from_ref(function) as usize
}

/// A function as traces tell of it.
pub fn code(function: &Function) -> Code {
    let locals = function.names.iter().map(|name| (&**name).into()).collect();
    Code { file: (&*function.file).into(), function: function.name.as_str().into(), locals }
}

/// The arguments of a call.
#[derive(Clone, Debug)]
pub struct Given<V> {
    pub positional: Vec<V>,
    pub named: Named<V>,
}

/// Values with names, in order.
pub type Named<V> = Vec<(Arc<str>, V)>;

type Locals<'a, M> = Frame<'a, <M as Semantics>::Value>;
type Outcome<M, T = <M as Semantics>::Value> = Result<T, <M as Semantics>::Error>;

/// What values are and what is done to them: all that a machine has to say to be an [`Interpreter`].
pub trait Semantics: Sized {
    /// Cloning a value is taking a reference, dropping it is letting go.
    type Value: Clone;
    /// What a call is found to call, before its arguments are evaluated.
    type Callee;
    type Error;
    /// A place in the code, as the machine keeps it.
    type Place;
    /// What a machine keeps of a loop from one iteration to the next.
    type Loop: Default;

    /// How deep running statements and expressions nest.
    fn depth(&mut self) -> &mut usize;
    /// How much has been evaluated.
    fn spent(&mut self) -> &mut usize;
    fn error<T>(&self, message: impl Into<String>) -> Outcome<Self, T>;
    /// The error with the place of a statement that it left; the innermost comes first.
    fn placed(&mut self, error: Self::Error, file: &str, at: Position) -> Self::Error;

    /// Where the code stands.
    fn place(&self) -> Self::Place;
    /// The code goes there.
    fn go_to(&mut self, place: Self::Place);
    /// A function begins to run.
    fn enter(&mut self, function: &Function);
    /// The code comes to a line of a function, and what goes there goes as it says.
    fn reach(&mut self, standing: Standing);

    fn literal(literal: &Literal) -> Self::Value;
    fn sequence(values: Vec<Self::Value>) -> Self::Value;
    /// How far a value goes down ([`Nested`]).
    fn extent(value: &Self::Value) -> Extent;
    fn truth(&self, value: &Self::Value) -> Outcome<Self, bool>;
    /// What a loop goes through.
    fn elements(&mut self, value: &Self::Value) -> Outcome<Self, Rc<Nested<Vec<Self::Value>>>>;

    /// What a name means that no local has.
    fn global(&mut self, name: &Arc<str>) -> Outcome<Self>;
    fn attribute(&mut self, owner: &Self::Value, name: &Arc<str>) -> Outcome<Self>;
    fn set_attribute(&mut self, owner: &Self::Value, name: &Arc<str>, value: Self::Value) -> Outcome<Self, ()>;
    fn index(&mut self, owner: Self::Value, subscripts: Vec<Subscript<Self::Value>>) -> Outcome<Self>;

    fn unary(&mut self, operator: Unary, operand: Self::Value) -> Outcome<Self>;
    fn binary(&mut self, operator: Binary, left: Self::Value, right: Self::Value) -> Outcome<Self>;
    /// What `old += new` binds.
    fn update(&mut self, operator: Binary, old: Self::Value, new: Self::Value) -> Outcome<Self>;

    fn callee(&mut self, frame: &mut Locals<'_, Self>, callee: &Expression) -> Outcome<Self, Self::Callee>;
    fn call(&mut self, callee: Self::Callee, given: Given<Self::Value>) -> Outcome<Self>;

    /// Whether letting go of a value can free memory.
    fn can_hold_memory(value: &Self::Value) -> bool;

    // ---- what a machine may do otherwise ------------------------------------------------------------------------

    /// Comes before each iteration of a loop over these elements, whose next is `at`: how many iterations the machine has done
    /// by itself, so that the loop goes on behind them.
    fn iterate(
        &mut self,
        _: &mut Locals<'_, Self>,
        _: &mut Self::Loop,
        _: &[Self::Value],
        _at: usize,
    ) -> Outcome<Self, usize> {
        Ok(0)
    }

    /// A function with the locals that it took along.
    fn closure(&self, _: &Arc<Function>, _: Vec<Option<Self::Value>>) -> Outcome<Self> {
        self.error("there are no lambdas here")
    }

    /// A dictionary of keys and their values.
    fn dictionary(&self, _: Vec<(Self::Value, Self::Value)>) -> Outcome<Self> {
        self.error("there are no dictionaries here")
    }

    /// The entries of a dictionary, as named arguments.
    fn entries(&self, _: &Self::Value) -> Outcome<Self, Named<Self::Value>> {
        self.error("there are no dictionaries here")
    }

    /// The value that is to be bound to a target.
    fn value_for(&mut self, frame: &mut Locals<'_, Self>, _: &Target, e: &Expression) -> Outcome<Self> {
        self.evaluate(frame, e)
    }
}
