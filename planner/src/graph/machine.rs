//! What running code of a spec is over tensors that have only a shape: names, attributes, and what is true of values.

use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::call::Given;
use super::decisions::{Decisions, Kind};
use super::foresee::Foreseen;
use super::repeat::{Repeat, Watched};
use super::tape::Tape;
use super::value::{Object, Reference, ShapeQuestion, Value};
use super::{Dims, DtypeArgument, GraphError, Module, ModuleId, Op, Parameter, TensorId};
use crate::dtype::Dtype;
use crate::interpret::nested::HIGHEST;
use crate::interpret::{Extent, Frame, Interpreter, Nested, Semantics};
use crate::ops;
use crate::read::spec::Definition;
use crate::read::spec::syntax::*;
use crate::run::SavedOperators;
use crate::trace::Standing;
use crate::versions::Rules;

/// What running code gives.
pub type Outcome<T> = Result<T, Box<GraphError>>;

/// The most modules that a model may have: a bound on hostile specs.
pub(super) const MODULES: usize = 1_000_000;

/// A running program: what is known, and what has been recorded so far.
pub struct Machine {
    pub(super) definitions: FxHashMap<Arc<str>, Definition>,
    /// What hooks of models capture whose forward runs, innermost last.
    pub(super) captures: Vec<Option<super::captures::Capture>>,
    /// What functions that remember gave.
    pub(super) remembered: FxHashMap<Rc<str>, Value>,
    pub(super) globals: FxHashMap<Arc<str>, Value>,
    pub(super) tape: Rc<Tape>,
    pub(super) modules: Vec<Module>,
    pub(super) parameters: Vec<Parameter>,
    /// The parameters and buffers as `Module._apply` meets them.
    pub(super) applied: Vec<u32>,
    /// The tensors that `parameters` lists: a tied parameter is one tensor under two names.
    pub(super) listed: FxHashSet<TensorId>,
    /// The weights that are quantised.
    pub(super) quantized: FxHashMap<TensorId, super::Quantized>,
    /// The parameters that were made without a gradient.
    pub(super) frozen: FxHashSet<TensorId>,
    pub(super) shapes: Vec<Dims>,
    pub(super) ops: Vec<Op>,
    /// The modules whose calls are checkpointed, with the operators whose results those save.
    pub(super) checkpointed: FxHashMap<ModuleId, Option<Arc<SavedOperators>>>,
    /// The operators whose results the checkpointed calls of a function save.
    pub(super) saved_of_calls: Option<Arc<SavedOperators>>,
    /// Whether they are as `use_reentrant=True` does it.
    pub(super) reentrant: bool,
    /// The module whose output needs a gradient.
    pub(super) input_embedding: Option<ModuleId>,
    /// The modules of adapters: they are in training mode as they were made.
    pub(super) adapters: Range<usize>,
    /// The checkpointed calls whose backward is to come.
    pub(super) pending: Vec<super::checkpoint::Pending>,
    pub(super) checkpoints: Vec<super::Checkpoint>,
    /// The calls of functions with gradients of their own.
    pub(super) functions: Vec<super::CustomFunction>,
    /// Iterations that happen again.
    pub(super) repeats: Vec<Repeat>,
    /// Whether the run's own loops are watched for such.
    pub(super) watches_loops: bool,
    /// The calls of iterations that are written once, beside those that are written.
    pub(super) calls_again: u64,
    /// What is decided by integers, while a loop is watched.
    pub(super) decisions: Rc<Decisions>,
    /// How often what runs now runs in all, by the loops around it.
    pub(super) around: Rc<Cell<u64>>,
    /// The calls of the model and of its blocks.
    pub(super) calls: Vec<super::Call>,
    /// The modules whose code runs, outermost first.
    pub(super) running: Vec<ModuleId>,
    /// Whether the run is under autocast.
    pub(super) autocasts: bool,
    /// The type of the weights, where it is known.
    pub(super) weights: Option<Dtype>,
    /// Whether a tensor may be of float16.
    pub(super) has_half: bool,
    /// Whether autograd records, outside `torch.no_grad()`.
    pub(super) records: bool,
    /// Within how many pieces of code that run on the host the code stands: tensors are the host's then.
    pub(super) on_host: usize,
    /// How many modules are being made: tensors without a type are of the weights' then.
    pub(super) building: usize,
    /// The types of tensors that are known before memory is planned.
    pub(super) types: FxHashMap<TensorId, Dtype>,
    /// The tensors that were made there.
    pub(super) host: FxHashMap<TensorId, super::host::HostTensor>,
    /// Integers of tensors that are known.
    pub(super) numbers: super::numbers::Numbers,
    pub(super) depth: usize,
    pub(super) spent: usize,
    /// The rules of the run's releases.
    pub(super) rules: Rules,
}

impl Machine {
    pub(super) fn new(definitions: FxHashMap<Arc<str>, Definition>, rules: Rules) -> Machine {
        Machine {
            definitions,
            captures: Vec::new(),
            remembered: FxHashMap::default(),
            globals: FxHashMap::default(),
            tape: Rc::default(),
            modules: Vec::new(),
            parameters: Vec::new(),
            applied: Vec::new(),
            listed: FxHashSet::default(),
            quantized: FxHashMap::default(),
            frozen: FxHashSet::default(),
            shapes: Vec::new(),
            ops: Vec::new(),
            checkpointed: FxHashMap::default(),
            saved_of_calls: None,
            reentrant: false,
            input_embedding: None,
            adapters: 0..0,
            pending: Vec::new(),
            checkpoints: Vec::new(),
            functions: Vec::new(),
            repeats: Vec::new(),
            watches_loops: false,
            calls_again: 0,
            decisions: Rc::default(),
            around: Rc::new(Cell::new(1)),
            calls: Vec::new(),
            running: Vec::new(),
            autocasts: false,
            weights: None,
            has_half: true,
            records: false,
            on_host: 0,
            building: 0,
            types: FxHashMap::default(),
            host: FxHashMap::default(),
            numbers: super::numbers::Numbers::default(),
            depth: 0,
            spent: 0,
            rules,
        }
    }

    /// A new tensor of that shape, and Python's reference to it.
    pub(super) fn tensor(&mut self, shape: Dims) -> Value {
        let tensor = TensorId(self.shapes.len() as u32);
        self.shapes.push(shape);
        Value::Tensor(Rc::new(Reference { tensor: tensor.into(), tape: Some(self.tape.clone()) }))
    }

    pub(super) fn shape(&self, tensor: TensorId) -> &Dims {
        &self.shapes[tensor.index()]
    }

    pub(super) fn sizes(&self, tensor: TensorId) -> Value {
        Value::sequence(self.shape(tensor).iter().map(|size| Value::Int(*size as i64)).collect())
    }

    fn object_attribute(&mut self, object: &Rc<Object>, name: &Arc<str>) -> Outcome<Value> {
        if let Some(value) = object.attributes.borrow().get(name) {
            return Ok(value.clone());
        }
        if let Some(class) = &object.class {
            if let Some(method) = class.methods.get(name) {
                return match class.properties.contains(name) {
                    true => {
                        self.call_method(object.clone(), method, Given { positional: Vec::new(), named: Vec::new() })
                    }
                    false => Ok(Value::Method(object.clone(), method.clone())),
                };
            }
            // modeling_utils.py, ModuleUtilsMixin.dtype: the type of the first parameter
            if object.module.is_some()
                && &**name == "dtype"
                && let Some(first) = first_parameter(object)
            {
                return Ok(Value::Dtype(DtypeArgument::Of(first)));
            }
            return self.error(format!("{} has no attribute `{name}`", class.name));
        }
        self.error(format!("there is no `{name}` in the config"))
    }
}

fn first_parameter(module: &Object) -> Option<TensorId> {
    let (owned, attributes) = (module.owned.borrow(), module.attributes.borrow());
    let own = owned.parameters.iter().find_map(|(name, _)| match attributes.get(name) {
        Some(Value::Tensor(reference)) => Some(reference.tensor.get()),
        _ => None,
    });
    own.or_else(|| owned.children.iter().find_map(|name| first_parameter_of(attributes.get(name)?)))
}

fn first_parameter_of(value: &Value) -> Option<TensorId> {
    match value {
        Value::Object(object) if object.module.is_some() => first_parameter(object),
        Value::Sequence(values) => values.iter().find_map(first_parameter_of),
        _ => None,
    }
}

impl Semantics for Machine {
    type Value = Value;
    type Callee = Value;
    type Error = Box<GraphError>;
    type Place = Standing;
    type Loop = (Watched, Foreseen);

    fn depth(&mut self) -> &mut usize {
        &mut self.depth
    }

    fn spent(&mut self) -> &mut usize {
        &mut self.spent
    }

    fn error<T>(&self, message: impl Into<String>) -> Outcome<T> {
        let module = self.running.last().map_or(String::new(), |module| self.modules[module.index()].path.clone());
        Err(Box::new(GraphError { at: Vec::new(), module, message: message.into(), is_of_run: false }))
    }

    fn placed(&mut self, mut error: Box<GraphError>, file: &str, at: Position) -> Box<GraphError> {
        error.at.push(format!("{file}:{}:{}", at.line, at.column));
        error
    }

    fn can_hold_memory(value: &Value) -> bool {
        matches!(
            value,
            Value::Tensor(_)
                | Value::Sequence(_)
                | Value::Dictionary(_)
                | Value::Object(_)
                | Value::Method(..)
                | Value::Closure(..)
                | Value::TensorMethod(..)
                | Value::TensorFunction(..)
        )
    }

    fn place(&self) -> Standing {
        self.tape.standing()
    }

    fn go_to(&mut self, place: Standing) {
        self.tape.go_to(place);
    }

    fn enter(&mut self, function: &Function) {
        self.tape.enter(function);
    }

    fn reach(&mut self, standing: Standing) {
        self.tape.go_to(standing);
    }

    fn literal(literal: &Literal) -> Value {
        match literal {
            Literal::None => Value::None,
            Literal::Bool(flag) => Value::Bool(*flag),
            Literal::Int(number) => Value::Int(*number),
            Literal::Float(number) => Value::Float(*number),
            Literal::Text(text) => Value::Text(text.clone()),
        }
    }

    fn sequence(values: Vec<Value>) -> Value {
        Value::sequence(values)
    }

    fn extent(value: &Value) -> Extent {
        value.extent()
    }

    fn closure(&self, function: &Arc<Function>, slots: Vec<Option<Value>>) -> Outcome<Value> {
        // a name that no local around it has is looked for outside when it is called
        let taken: Vec<Value> = slots.into_iter().map(|slot| slot.unwrap_or(Value::Library)).collect();
        let extent = Extent::around(taken.iter().map(Value::extent));
        Ok(Value::Closure(function.clone(), Rc::new(Nested::new(taken, extent))))
    }

    fn dictionary(&self, entries: Vec<(Value, Value)>) -> Outcome<Value> {
        let named = |(key, value): (Value, Value)| match key.key() {
            Some(key) => Ok((key, value)),
            None => self.error("the keys of a dictionary are texts or integers"),
        };
        Ok(Value::dictionary(entries.into_iter().map(named).collect::<Outcome<_>>()?))
    }

    fn entries(&self, value: &Value) -> Outcome<Vec<(Arc<str>, Value)>> {
        match value {
            Value::Object(bag) if bag.class.is_none() => {
                Ok(bag.attributes.borrow().iter().map(|(key, value)| (key.clone(), value.clone())).collect())
            }
            Value::Dictionary(entries) => Ok(entries.iter().map(|(key, value)| (key.clone(), value.clone())).collect()),
            other => self.error(format!("{} cannot be spread into named arguments", other.kind())),
        }
    }

    fn elements(&mut self, value: &Value) -> Outcome<Rc<Nested<Vec<Value>>>> {
        match value {
            Value::Sequence(values) => Ok(values.clone()),
            // torch/_tensor.py, __iter__
            Value::Tensor(_) => match self.emit_named("unbind", vec![value.clone(), Value::Int(0)])? {
                Value::Sequence(parts) => Ok(parts),
                other => self.error(format!("{} has no elements to go through", other.kind())),
            },
            Value::Dictionary(entries) => {
                let keys = entries.keys().map(|key| Value::Text(key.clone())).collect();
                Ok(Rc::new(Nested::new(keys, Extent { height: 1, count: entries.len() })))
            }
            Value::Object(object) if object.module.is_some() => {
                let children = super::containers::children(self, value)?;
                let children: Vec<Value> = children.into_iter().map(|(_, child)| child).collect();
                let extent = Extent::around(children.iter().map(Value::extent));
                Ok(Rc::new(Nested::new(children, extent)))
            }
            other => self.error(format!("{} has no elements to go through", other.kind())),
        }
    }

    fn truth(&self, value: &Value) -> Outcome<bool> {
        Ok(match value {
            Value::None => false,
            Value::Bool(flag) => *flag,
            Value::Int(number) => {
                self.decisions.note(Kind::Equal, *number, 0);
                *number != 0
            }
            Value::Float(number) => *number != 0.0,
            Value::Text(text) => !text.is_empty(),
            Value::Sequence(values) => !values.is_empty(),
            Value::Dictionary(entries) => !entries.is_empty(),
            Value::Tensor(reference) => match self.known_number(reference.tensor.get()) {
                Some(number) => {
                    self.decisions.exact(number);
                    number != 0
                }
                None => return self.error("a tensor's values are not known, so no decision can rest on them"),
            },
            _ => true,
        })
    }

    fn global(&mut self, name: &Arc<str>) -> Outcome<Value> {
        if let Some(value) = self.globals.get(name) {
            return Ok(value.clone());
        }
        let value = match self.definitions.get(name) {
            Some(Definition::Function(function)) => Value::Function(function.clone()),
            Some(Definition::Class(class)) => Value::Class(class.clone()),
            None => {
                if let Some(builtin) = super::builtins::named(name) {
                    Value::Builtin(builtin)
                } else if let Some(operator) = ops::named(name) {
                    Value::Operator(operator)
                } else if &**name == "library" {
                    Value::Library
                } else if &**name == "weights_dtype" {
                    Value::Dtype(DtypeArgument::Weights)
                } else if let Some(dtype) = Dtype::named(name) {
                    Value::Dtype(DtypeArgument::Fixed(dtype))
                } else {
                    return self.error(format!("`{name}` is not defined"));
                }
            }
        };
        self.globals.insert(name.clone(), value.clone());
        Ok(value)
    }

    fn attribute(&mut self, owner: &Value, name: &Arc<str>) -> Outcome<Value> {
        match owner {
            Value::Object(object) => self.object_attribute(object, name),
            Value::Tensor(reference) => match &**name {
                "shape" => Ok(self.sizes(reference.tensor.get())),
                "ndim" => Ok(Value::Int(self.shape(reference.tensor.get()).len() as i64)),
                "dtype" => Ok(Value::Dtype(DtypeArgument::Of(reference.tensor.get()))),
                "device" => Ok(Value::None),
                "size" => Ok(Value::ShapeMethod(reference.tensor.get(), ShapeQuestion::Size)),
                "dim" => Ok(Value::ShapeMethod(reference.tensor.get(), ShapeQuestion::Dim)),
                "numel" => Ok(Value::ShapeMethod(reference.tensor.get(), ShapeQuestion::Count)),
                _ => match ops::named(name) {
                    Some(operator) => Ok(Value::TensorMethod(reference.clone(), operator)),
                    None => match self.definitions.get(name) {
                        Some(Definition::Function(function)) => {
                            Ok(Value::TensorFunction(reference.clone(), function.clone()))
                        }
                        _ => self.error(format!("no operator is called `{name}`")),
                    },
                },
            },
            Value::Library => self.global(name),
            // torch.return_types: values and where they were
            Value::Sequence(values) if values.len() == 2 && matches!(&**name, "values" | "indices") => {
                Ok(values[usize::from(&**name == "indices")].clone())
            }
            Value::Dictionary(entries) => match entries.get(name) {
                Some(value) => Ok(value.clone()),
                None => self.error(format!("there is no entry `{name}`")),
            },
            Value::Dtype(dtype) if matches!(&**name, "is_floating_point" | "is_complex") => {
                let asks_floats = &**name == "is_floating_point";
                match self.known_type(*dtype) {
                    DtypeArgument::Fixed(Dtype::C64) => Ok(Value::Bool(!asks_floats)),
                    DtypeArgument::Fixed(dtype) => Ok(Value::Bool(asks_floats && dtype.is_floating())),
                    DtypeArgument::Weights => Ok(Value::Bool(asks_floats)),
                    DtypeArgument::Of(_) => {
                        self.error("whether a tensor is of floating-point numbers is not known here")
                    }
                }
            }
            // a class of the importer's has its file behind its name where another one has that name
            Value::Class(class) if &**name == "__name__" => {
                let short = class.name.split("_of_").next().unwrap_or_default();
                Ok(Value::Text(short.into()))
            }
            // what a class's body gives all its objects, such as `expansion`
            Value::Class(class) if class.properties.contains(name) => match class.methods.get(name).cloned() {
                Some(constant) => self.call_function(&constant, Given { positional: Vec::new(), named: Vec::new() }),
                None => self.error(format!("{} has no attribute `{name}`", class.name)),
            },
            other => self.error(format!("{} has no attribute `{name}`", other.kind())),
        }
    }

    fn set_attribute(&mut self, owner: &Value, name: &Arc<str>, value: Value) -> Outcome<()> {
        let Value::Object(object) = owner else {
            return self.error(format!("{} has no attributes to assign", owner.kind()));
        };
        // a tensor may be registered later, from the model around
        if object.height.get().is_none() || matches!(value, Value::Tensor(_)) {
            self.register(object, name, &value)?;
        }
        if value.extent().height >= object.height.get().unwrap_or(HIGHEST) {
            return self.error(format!(
                "`{name}` would hold an object that may hold its owner: give it where the owner is made"
            ));
        }
        let old = object.attributes.borrow_mut().insert(name.clone(), value);
        drop(old);
        Ok(())
    }

    fn index(&mut self, owner: Value, subscripts: Vec<Subscript<Value>>) -> Outcome<Value> {
        self.subscript(owner, subscripts)
    }

    fn unary(&mut self, operator: Unary, operand: Value) -> Outcome<Value> {
        match (operator, operand) {
            (Unary::Not, operand) => Ok(Value::Bool(!self.truth(&operand)?)),
            (Unary::Negate, Value::Int(number)) => Ok(Value::Int(-number)),
            (Unary::Negate, Value::Float(number)) => Ok(Value::Float(-number)),
            (Unary::Negate, operand @ Value::Tensor(_)) => self.emit_named("neg", vec![operand]),
            (Unary::Invert, operand @ Value::Tensor(_)) => self.emit_named("bitwise_not", vec![operand]),
            (_, operand) => self.error(format!("{} cannot be negated", operand.kind())),
        }
    }

    fn binary(&mut self, operator: Binary, left: Value, right: Value) -> Outcome<Value> {
        self.apply_binary(operator, left, right)
    }

    fn update(&mut self, operator: Binary, old: Value, new: Value) -> Outcome<Value> {
        if let Value::Tensor(_) = old {
            let name = match operator {
                Binary::Add => "add_",
                Binary::Subtract => "sub_",
                Binary::Multiply => "mul_",
                _ => "div_",
            };
            self.emit_named(name, vec![old.clone(), new])?;
            return Ok(old);
        }
        self.binary(operator, old, new)
    }

    fn iterate(
        &mut self,
        frame: &mut Frame<'_, Value>,
        (watched, foreseen): &mut (Watched, Foreseen),
        elements: &[Value],
        at: usize,
    ) -> Outcome<usize> {
        let is_step = |pair: &[Value]| matches!(pair, [Value::Int(a), Value::Int(b)] if *b == a + 1);
        if at == 0 {
            // the loops of a model's own code go through its layers, each of which is another
            let is_of_run = self.watches_loops && self.running.is_empty();
            let folds = is_of_run && elements.len() > 1 && elements.windows(2).all(is_step);
            *foreseen = self.begin_loop(elements.len(), folds);
        }
        if foreseen.folds {
            return self.watch(frame, watched, elements.len() - at);
        }
        if at == 1 { self.foresee(foreseen).map(|()| 0) } else { Ok(0) }
    }

    fn callee(&mut self, frame: &mut Frame<'_, Value>, callee: &Expression) -> Outcome<Value> {
        self.evaluate(frame, callee)
    }

    fn call(&mut self, callee: Value, mut given: Given) -> Outcome<Value> {
        match callee {
            Value::Function(function) => self.call_function(&function, given),
            Value::Method(object, function) => self.call_method(object, &function, given),
            Value::Closure(function, taken) => {
                let mut frame = Frame::new(&function);
                for (slot, value) in frame.slots.iter_mut().zip(taken.iter()) {
                    *slot = (!matches!(value, Value::Library)).then(|| value.clone());
                }
                self.bind(&mut frame, given)?;
                self.run(frame)
            }
            Value::Class(class) => self.construct(&class, given, String::new()),
            Value::Builtin(builtin) => builtin(self, given),
            Value::Operator(operator) => self.call_operator(operator, given),
            Value::TensorMethod(tensor, operator) => {
                given.positional.insert(0, Value::Tensor(tensor));
                self.call_operator(operator, given)
            }
            Value::TensorFunction(tensor, function) => {
                given.positional.insert(0, Value::Tensor(tensor));
                self.call_function(&function, given)
            }
            Value::ShapeMethod(tensor, question) => self.ask_shape(tensor, question, given),
            Value::Object(object) if object.module.is_some() => self.call_module(&object, given),
            Value::Object(object) if object.method("__call__").is_some() => self.call_object(&object, given),
            other => self.error(format!("{} cannot be called", other.kind())),
        }
    }
}
