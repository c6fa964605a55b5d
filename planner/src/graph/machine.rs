//! Runs the code of specs: statements and expressions, with Python's order of evaluation and of letting go.

use std::cell::RefCell;
use std::rc::Rc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::value::{Attributes, Object, Reference, ShapeQuestion, Value};
use super::{Dims, DtypeArgument, GraphError, Module, ModuleId, Op, Parameter, Step, TensorId};
use crate::dtype::Dtype;
use crate::ops::{self, Operator};
use crate::read::spec::Definition;
use crate::read::spec::syntax::*;

/// What running code gives.
pub type Outcome<T> = Result<T, Box<GraphError>>;

/// The deepest nesting of calls: far beyond any model, well within the stack.
const DEPTH: usize = 200;

/// The most operators that a program may have: a bound on hostile specs and sizes.
const OPERATORS: usize = 20_000_000;

/// The most modules that a model may have, for the same reason.
pub(super) const MODULES: usize = 1_000_000;

/// A running program: what is known, and what has been recorded so far.
pub struct Machine {
    pub(super) definitions: FxHashMap<Rc<str>, Definition>,
    pub(super) globals: FxHashMap<Rc<str>, Value>,
    pub(super) steps: Rc<RefCell<Vec<Step>>>,
    pub(super) modules: Vec<Module>,
    pub(super) parameters: Vec<Parameter>,
    /// The tensors that `parameters` lists: a tied parameter is one tensor under two names.
    pub(super) listed: FxHashSet<TensorId>,
    /// The weights that are quantised.
    pub(super) quantized: FxHashMap<TensorId, super::Quantized>,
    /// The parameters that were made without a gradient.
    pub(super) frozen: FxHashSet<TensorId>,
    pub(super) shapes: Vec<Dims>,
    pub(super) ops: Vec<Op>,
    /// The modules whose calls are checkpointed.
    pub(super) checkpointed: FxHashSet<ModuleId>,
    /// Whether they are as `use_reentrant=True` does it.
    pub(super) reentrant: bool,
    /// The module whose output needs a gradient.
    pub(super) input_embedding: Option<ModuleId>,
    /// Where the modules of adapters begin: they are in training mode as they were made.
    pub(super) adapters_from: usize,
    /// The checkpointed calls whose backward is to come.
    pub(super) pending: Vec<super::checkpoint::Pending>,
    pub(super) checkpoints: Vec<super::Checkpoint>,
    /// The calls of the model and of its blocks.
    pub(super) calls: Vec<super::Call>,
    /// The modules whose code runs, outermost first.
    pub(super) running: Vec<ModuleId>,
    pub(super) depth: usize,
}

/// The locals of a running function.
pub(super) type Frame = Vec<Option<Value>>;

/// What a statement leads to.
enum Flow {
    Next,
    Return(Value),
}

impl Machine {
    pub(super) fn new(definitions: FxHashMap<Rc<str>, Definition>) -> Machine {
        Machine {
            definitions,
            globals: FxHashMap::default(),
            steps: Rc::default(),
            modules: Vec::new(),
            parameters: Vec::new(),
            listed: FxHashSet::default(),
            quantized: FxHashMap::default(),
            frozen: FxHashSet::default(),
            shapes: Vec::new(),
            ops: Vec::new(),
            checkpointed: FxHashSet::default(),
            reentrant: false,
            input_embedding: None,
            adapters_from: usize::MAX,
            pending: Vec::new(),
            checkpoints: Vec::new(),
            calls: Vec::new(),
            running: Vec::new(),
            depth: 0,
        }
    }

    // ---- errors -------------------------------------------------------------------------------------------------

    pub(super) fn error<T>(&self, message: impl Into<String>) -> Outcome<T> {
        let module = self.running.last().map_or(String::new(), |module| self.modules[module.index()].path.clone());
        Err(Box::new(GraphError { at: Vec::new(), module, message: message.into() }))
    }

    // ---- tensors ------------------------------------------------------------------------------------------------

    /// A new tensor of that shape, and Python's reference to it.
    pub(super) fn tensor(&mut self, shape: Dims) -> Value {
        let tensor = TensorId(self.shapes.len() as u32);
        self.shapes.push(shape);
        Value::Tensor(Rc::new(Reference { tensor, steps: self.steps.clone() }))
    }

    pub(super) fn shape(&self, tensor: TensorId) -> &Dims {
        &self.shapes[tensor.index()]
    }

    /// Records a call of an operator; the arguments are let go after it.
    pub(super) fn emit(&mut self, operator: &'static Operator, arguments: Vec<Value>) -> Outcome<Value> {
        let converted: Outcome<smallvec::SmallVec<[super::Argument; 4]>> =
            arguments.iter().map(|argument| self.argument(argument)).collect();
        let converted = match converted {
            Ok(converted) => converted,
            Err(mut error) => {
                error.message = format!("{}: {}", operator.name, error.message);
                return Err(error);
            }
        };
        let shapes = match (operator.shapes)(&ops::Call::new(&self.shapes, &converted)) {
            Ok(shapes) => shapes,
            Err(message) => return self.error(format!("{}: {message}", operator.name)),
        };
        if self.ops.len() >= OPERATORS {
            return self.error(format!("the program has more than {OPERATORS} operators"));
        }
        let mut outputs = Vec::with_capacity(shapes.len());
        let mut ids = smallvec::SmallVec::new();
        for shape in shapes {
            let bytes = shape.iter().try_fold(8u64, |product, size| product.checked_mul((*size).max(1)));
            if bytes.is_none_or(|bytes| bytes > 1 << 50) {
                return self.error(format!("{}: a tensor of shape {shape:?} is larger than any memory", operator.name));
            }
            ids.push(TensorId(self.shapes.len() as u32));
            outputs.push(self.tensor(shape));
        }
        let module = self.running.last().copied().unwrap_or(ModuleId(0));
        self.steps.borrow_mut().push(Step::Op(super::OpId(self.ops.len() as u32)));
        self.ops.push(Op { operator, arguments: converted, outputs: ids, module });
        drop(arguments);
        if operator.name == "backward" {
            self.run_pending_again()?;
        }
        Ok(match (operator.returns, outputs.len()) {
            (ops::Returns::Tuple, _) => Value::sequence(outputs),
            (_, 0) => Value::None,
            _ => outputs.swap_remove(0),
        })
    }

    pub(super) fn argument(&self, value: &Value) -> Outcome<super::Argument> {
        use super::Argument as A;
        Ok(match value {
            Value::None => A::None,
            Value::Bool(flag) => A::Bool(*flag),
            Value::Int(number) => A::Int(*number),
            Value::Float(number) => A::Float(*number),
            Value::Text(text) => A::Text(text.clone()),
            Value::Dtype(dtype) => A::Dtype(*dtype),
            Value::Tensor(reference) => A::Tensor(reference.tensor),
            Value::Sequence(items) => A::List(items.iter().map(|item| self.argument(item)).collect::<Outcome<_>>()?),
            other => return self.error(format!("{} cannot be an argument of an operator", other.kind())),
        })
    }

    // ---- functions ----------------------------------------------------------------------------------------------

    /// Runs a function whose frame is filled; gives what it returns, after its locals are gone.
    pub(super) fn run(&mut self, function: &Function, mut frame: Frame) -> Outcome<Value> {
        if self.depth >= DEPTH {
            return self.error(format!("calls nest deeper than {DEPTH} levels"));
        }
        self.depth += 1;
        let flow = self.block(function, &mut frame, &function.body);
        self.depth -= 1;
        Ok(match flow? {
            Flow::Return(value) => value,
            Flow::Next => Value::None,
        })
    }

    fn block(&mut self, function: &Function, frame: &mut Frame, statements: &[Statement]) -> Outcome<Flow> {
        for statement in statements {
            match self.statement(function, frame, statement) {
                Ok(Flow::Next) => {}
                Ok(flow) => return Ok(flow),
                Err(mut error) => {
                    let Position { line, column } = statement.at;
                    error.at.push(format!("{}:{line}:{column}", function.file));
                    return Err(error);
                }
            }
        }
        Ok(Flow::Next)
    }

    fn statement(&mut self, function: &Function, frame: &mut Frame, statement: &Statement) -> Outcome<Flow> {
        match &statement.kind {
            StatementKind::Evaluate(expression) => drop(self.evaluate(function, frame, expression)?),
            StatementKind::Assign(target, expression) => {
                let value = self.evaluate(function, frame, expression)?;
                self.assign(function, frame, target, value)?;
            }
            StatementKind::Update(target, operator, expression) => {
                let old = self.read(function, frame, target)?;
                let new = self.evaluate(function, frame, expression)?;
                let value = self.update(*operator, old, new)?;
                self.assign(function, frame, target, value)?;
            }
            StatementKind::Return(None) => return Ok(Flow::Return(Value::None)),
            StatementKind::Return(Some(expression)) => {
                return Ok(Flow::Return(self.evaluate(function, frame, expression)?));
            }
            StatementKind::If(branches, otherwise) => {
                for (condition, body) in branches {
                    let condition = self.evaluate(function, frame, condition)?;
                    if self.truth(&condition)? {
                        return self.block(function, frame, body);
                    }
                }
                return self.block(function, frame, otherwise);
            }
            StatementKind::For(target, source, body) => {
                let source = self.evaluate(function, frame, source)?;
                for element in self.elements(&source)?.iter() {
                    self.assign(function, frame, target, element.clone())?;
                    if let Flow::Return(value) = self.block(function, frame, body)? {
                        return Ok(Flow::Return(value));
                    }
                }
            }
            StatementKind::Delete(names) => {
                for name in names {
                    frame[usize::from(name.0)] = None;
                }
            }
        }
        Ok(Flow::Next)
    }

    fn assign(&mut self, function: &Function, frame: &mut Frame, target: &Target, value: Value) -> Outcome<()> {
        match target {
            Target::Name(name) => frame[usize::from(name.0)] = Some(value),
            Target::Attribute(owner, name) => {
                let owner = self.evaluate(function, frame, owner)?;
                let Value::Object(object) = &owner else {
                    return self.error(format!("{} has no attributes to assign", owner.kind()));
                };
                let old = object.attributes.borrow_mut().insert(name.clone(), value);
                drop(old);
            }
            Target::Sequence(targets) => {
                let elements = self.elements(&value)?;
                drop(value);
                if elements.len() != targets.len() {
                    let message = format!("{} names cannot take {} values", targets.len(), elements.len());
                    return self.error(message);
                }
                for (number, target) in targets.iter().enumerate() {
                    self.assign(function, frame, target, elements[number].clone())?;
                }
            }
        }
        Ok(())
    }

    fn read(&mut self, function: &Function, frame: &mut Frame, target: &Target) -> Outcome<Value> {
        match target {
            Target::Name(name) => self.name(function, frame, *name),
            Target::Attribute(owner, name) => {
                let owner = self.evaluate(function, frame, owner)?;
                self.attribute(&owner, name)
            }
            Target::Sequence(_) => self.error("a sequence cannot be updated"),
        }
    }

    fn update(&mut self, operator: Binary, old: Value, new: Value) -> Outcome<Value> {
        if let Value::Tensor(_) = old {
            let name = match operator {
                Binary::Add => "add_",
                Binary::Subtract => "sub_",
                Binary::Multiply => "mul_",
                _ => "div_",
            };
            let Some(operator) = ops::named(name) else {
                return self.error(format!("no operator is called `{name}`"));
            };
            self.emit(operator, vec![old.clone(), new])?;
            return Ok(old);
        }
        self.binary(operator, old, new)
    }

    // ---- expressions --------------------------------------------------------------------------------------------

    pub(super) fn evaluate(&mut self, function: &Function, frame: &mut Frame, e: &Expression) -> Outcome<Value> {
        match &e.kind {
            ExpressionKind::None => Ok(Value::None),
            ExpressionKind::Bool(flag) => Ok(Value::Bool(*flag)),
            ExpressionKind::Int(number) => Ok(Value::Int(*number)),
            ExpressionKind::Float(number) => Ok(Value::Float(*number)),
            ExpressionKind::Text(text) => Ok(Value::Text(text.clone())),
            ExpressionKind::Name(name) => self.name(function, frame, *name),
            ExpressionKind::Attribute(owner, name) => {
                let owner = self.evaluate(function, frame, owner)?;
                self.attribute(&owner, name)
            }
            ExpressionKind::Index(owner, items) => {
                let owner = self.evaluate(function, frame, owner)?;
                self.index(function, frame, owner, items)
            }
            ExpressionKind::Call(callee, arguments) => {
                let callee = self.evaluate(function, frame, callee)?;
                let given = self.arguments(function, frame, arguments)?;
                self.call(callee, given)
            }
            ExpressionKind::Unary(operator, operand) => {
                let operand = self.evaluate(function, frame, operand)?;
                self.unary(*operator, operand)
            }
            ExpressionKind::Binary(operator, left, right) => {
                let left = self.evaluate(function, frame, left)?;
                let right = self.evaluate(function, frame, right)?;
                self.binary(*operator, left, right)
            }
            ExpressionKind::And(left, right) => {
                let left = self.evaluate(function, frame, left)?;
                if self.truth(&left)? { self.evaluate(function, frame, right) } else { Ok(left) }
            }
            ExpressionKind::Or(left, right) => {
                let left = self.evaluate(function, frame, left)?;
                if self.truth(&left)? { Ok(left) } else { self.evaluate(function, frame, right) }
            }
            ExpressionKind::Choice(parts) => {
                let [condition, value, otherwise] = &**parts;
                let condition = self.evaluate(function, frame, condition)?;
                let chosen = if self.truth(&condition)? { value } else { otherwise };
                self.evaluate(function, frame, chosen)
            }
            ExpressionKind::Sequence(elements) => {
                let given = self.arguments(function, frame, elements)?;
                Ok(Value::sequence(given.positional))
            }
            ExpressionKind::Comprehension(comprehension) => self.comprehension(function, frame, comprehension),
            ExpressionKind::Dictionary(entries) => {
                let mut dictionary = Attributes::default();
                for (key, value) in entries {
                    let Value::Text(key) = self.evaluate(function, frame, key)? else {
                        return self.error("the keys of a dictionary are texts");
                    };
                    let value = self.evaluate(function, frame, value)?;
                    dictionary.insert(key, value);
                }
                Ok(Value::Dictionary(Rc::new(dictionary)))
            }
        }
    }

    fn comprehension(&mut self, function: &Function, frame: &mut Frame, c: &Comprehension) -> Outcome<Value> {
        let source = self.evaluate(function, frame, &c.source)?;
        let mut collected = Vec::new();
        for element in self.elements(&source)?.iter() {
            self.assign(function, frame, &c.target, element.clone())?;
            let counts = match &c.condition {
                None => true,
                Some(condition) => {
                    let condition = self.evaluate(function, frame, condition)?;
                    self.truth(&condition)?
                }
            };
            if counts {
                collected.push(self.evaluate(function, frame, &c.element)?);
            }
        }
        Ok(Value::sequence(collected))
    }

    fn name(&mut self, function: &Function, frame: &Frame, name: NameId) -> Outcome<Value> {
        let number = usize::from(name.0);
        if let Some(value) = &frame[number] {
            return Ok(value.clone());
        }
        self.global(&function.names[number])
    }

    pub(super) fn global(&mut self, name: &Rc<str>) -> Outcome<Value> {
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

    pub(super) fn attribute(&mut self, owner: &Value, name: &Rc<str>) -> Outcome<Value> {
        match owner {
            Value::Object(object) => self.object_attribute(object, name),
            Value::Tensor(reference) => match &**name {
                "shape" => Ok(self.sizes(reference.tensor)),
                "ndim" => Ok(Value::Int(self.shape(reference.tensor).len() as i64)),
                "dtype" => Ok(Value::Dtype(DtypeArgument::Of(reference.tensor))),
                "device" => Ok(Value::None),
                "size" => Ok(Value::ShapeMethod(reference.tensor, ShapeQuestion::Size)),
                "dim" => Ok(Value::ShapeMethod(reference.tensor, ShapeQuestion::Dim)),
                "numel" => Ok(Value::ShapeMethod(reference.tensor, ShapeQuestion::Count)),
                _ => match ops::named(name) {
                    Some(operator) => Ok(Value::TensorMethod(reference.clone(), operator)),
                    None => self.error(format!("no operator is called `{name}`")),
                },
            },
            Value::Dictionary(entries) => match entries.get(name) {
                Some(value) => Ok(value.clone()),
                None => self.error(format!("there is no entry `{name}`")),
            },
            other => self.error(format!("{} has no attribute `{name}`", other.kind())),
        }
    }

    fn object_attribute(&mut self, object: &Rc<Object>, name: &Rc<str>) -> Outcome<Value> {
        if let Some(value) = object.attributes.borrow().get(name) {
            return Ok(value.clone());
        }
        if let Some(class) = &object.class {
            if let Some(method) = class.methods.get(name) {
                return Ok(Value::Method(object.clone(), method.clone()));
            }
            return self.error(format!("{} has no attribute `{name}`", class.name));
        }
        self.error(format!("there is no `{name}` in the config"))
    }

    pub(super) fn sizes(&self, tensor: TensorId) -> Value {
        Value::sequence(self.shape(tensor).iter().map(|size| Value::Int(*size as i64)).collect())
    }

    pub(super) fn elements(&self, value: &Value) -> Outcome<Rc<Vec<Value>>> {
        match value {
            Value::Sequence(values) => Ok(values.clone()),
            Value::Dictionary(entries) => Ok(Rc::new(entries.keys().map(|key| Value::Text(key.clone())).collect())),
            other => self.error(format!("{} has no elements to go through", other.kind())),
        }
    }

    pub(super) fn truth(&self, value: &Value) -> Outcome<bool> {
        Ok(match value {
            Value::None => false,
            Value::Bool(flag) => *flag,
            Value::Int(number) => *number != 0,
            Value::Float(number) => *number != 0.0,
            Value::Text(text) => !text.is_empty(),
            Value::Sequence(values) => !values.is_empty(),
            Value::Dictionary(entries) => !entries.is_empty(),
            Value::Tensor(_) => return self.error("a tensor's values are not known, so no decision can rest on them"),
            _ => true,
        })
    }
}
