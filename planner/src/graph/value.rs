//! The values of running spec code, with Python's lifetimes: cloning a value is taking a reference.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;

use super::tape::Tape;
use super::{DtypeArgument, ModuleId, TensorId};
use crate::interpret::nested::{HIGHEST, LISTS};
use crate::interpret::{Extent, Nested};
use crate::ops::{Default, Operator};
use crate::read::spec::syntax::Function;
use crate::read::spec::{Buffer, Class, FieldType};

/// Names to values, in the order of their first assignment.
pub type Attributes = IndexMap<Arc<str>, Value, FxBuildHasher>;

/// Python's reference to a tensor; when the last goes, the program gets a [`super::Step::Drop`].
#[derive(Debug)]
pub struct Reference {
    /// Which tensor; it has another name behind a repetition in which its sizes grew.
    pub tensor: Cell<TensorId>,
    /// Where its going is noted; None where the reference counts for nothing.
    pub tape: Option<Rc<Tape>>,
}

impl Drop for Reference {
    fn drop(&mut self) {
        if let Some(tape) = &self.tape {
            tape.drop_tensor(self.tensor.get());
        }
    }
}

/// An instance of a class, or a bag of attributes (`class` is None): a config, an output.
#[derive(Debug)]
pub struct Object {
    pub class: Option<Arc<Class>>,
    pub module: Option<ModuleId>,
    pub attributes: RefCell<Attributes>,
    /// What of them is the module's.
    pub owned: RefCell<Owned>,
    /// How many levels of values may lie within it; see [`Nested`]. None while it is made: nothing may hold it then.
    pub height: Cell<Option<u32>>,
}

/// The attributes that `nn.Module` registers, in order.
#[derive(Clone, Debug, Default)]
pub struct Owned {
    /// Children: modules, lists of modules or None.
    pub children: Vec<Arc<str>>,
    /// Parameters, with the types that the source gives them.
    pub parameters: Vec<(Arc<str>, Option<FieldType>)>,
    /// Buffers, with the types that the source gives them, and whether checkpoints hold them.
    pub buffers: Vec<(Arc<str>, Option<FieldType>, bool)>,
}

impl Owned {
    /// What a class declares.
    pub fn of(class: &Class) -> Owned {
        let buffer = |buffer: &Buffer| (buffer.field.name.clone(), buffer.dtype, buffer.persistent);
        Owned {
            children: class.children.iter().map(|(name, _)| name.clone()).collect(),
            parameters: class.parameters.iter().map(|(field, dtype)| (field.name.clone(), *dtype)).collect(),
            buffers: class.buffers.iter().map(buffer).collect(),
        }
    }
}

/// A function that the program itself provides.
pub type Builtin = fn(&mut super::machine::Machine, super::call::Given) -> super::machine::Outcome<Value>;

/// A value of running spec code.
#[derive(Clone, Debug)]
pub enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Arc<str>),
    Dtype(DtypeArgument),
    Tensor(Rc<Reference>),
    Sequence(Rc<Nested<Vec<Value>>>),
    Dictionary(Rc<Nested<Attributes>>),
    Object(Rc<Object>),
    Class(Arc<Class>),
    Function(Arc<Function>),
    Method(Rc<Object>, Arc<Function>),
    /// A lambda, with the locals that it took along.
    Closure(Arc<Function>, Rc<Nested<Vec<Value>>>),
    Builtin(Builtin),
    Operator(&'static Operator),
    /// An operator called as a method: the tensor is its first argument.
    TensorMethod(Rc<Reference>, &'static Operator),
    /// A function of the library called as a method: the tensor is its first argument.
    TensorFunction(Rc<Reference>, Arc<Function>),
    /// What code can call, under names that a local may hide: `library.dropout`.
    Library,
    /// A method of a tensor that asks for its shape.
    ShapeMethod(TensorId, ShapeQuestion),
}

/// What `x.size()`, `x.dim()` and `x.numel()` ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShapeQuestion {
    Size,
    Dim,
    Count,
}

impl Object {
    /// The method of that name.
    pub fn method(&self, name: &str) -> Option<&Arc<Function>> {
        self.class.as_ref()?.methods.get(name)
    }

    /// Another object of its class, with these attributes.
    pub fn copied(&self, attributes: Attributes) -> Object {
        let (class, module) = (self.class.clone(), self.module);
        let owned = RefCell::new(self.owned.borrow().clone());
        Object { class, module, attributes: RefCell::new(attributes), owned, height: self.height.clone() }
    }

    /// Fixes its height by what it holds, and its children.
    pub fn settle(&self) {
        let holds_modules = |value: &Value| match value {
            Value::Sequence(values) => {
                values.first().is_some_and(|first| matches!(first, Value::Object(_) | Value::Sequence(_) | Value::None))
            }
            _ => true,
        };
        let attributes = self.attributes.borrow();
        self.owned.borrow_mut().children.retain(|name| attributes.get(name).is_none_or(holds_modules));
        let within = Extent::around(attributes.values().map(Value::extent));
        self.height.set(Some(within.height.max(LISTS)));
    }
}

impl Value {
    /// A tuple or list.
    pub fn sequence(values: Vec<Value>) -> Value {
        let extent = Extent::around(values.iter().map(Value::extent));
        Value::Sequence(Rc::new(Nested::new(values, extent)))
    }

    /// A dictionary.
    pub fn dictionary(entries: Attributes) -> Value {
        let extent = Extent::around(entries.values().map(Value::extent));
        Value::Dictionary(Rc::new(Nested::new(entries, extent)))
    }

    /// An object without a class.
    pub fn bag(attributes: Attributes) -> Value {
        let object = Object {
            class: None,
            module: None,
            attributes: RefCell::new(attributes),
            owned: RefCell::default(),
            height: Cell::new(None),
        };
        object.settle();
        Value::Object(Rc::new(object))
    }

    /// The tensor that it is.
    pub fn tensor(&self) -> Option<TensorId> {
        match self {
            Value::Tensor(held) => Some(held.tensor.get()),
            _ => None,
        }
    }

    /// As a key of a dictionary, whose keys are all texts; None for what is no key.
    pub fn key(&self) -> Option<Arc<str>> {
        match self {
            Value::Text(key) => Some(key.clone()),
            Value::Int(key) => Some(key.to_string().into()),
            Value::Float(key) => Some(key.to_string().into()),
            Value::Sequence(parts) => {
                let parts: Option<Vec<Arc<str>>> = parts.iter().map(Value::key).collect();
                Some(format!("({})", parts?.join(", ")).into())
            }
            _ => None,
        }
    }

    /// A config, in which configs may lie that have fewer levels.
    pub fn config(attributes: Attributes, levels: u32) -> Value {
        let config = Value::bag(attributes);
        if let Value::Object(object) = &config {
            object.height.set(object.height.get().max(Some(LISTS + levels)));
        }
        config
    }

    /// How far it goes down.
    pub fn extent(&self) -> Extent {
        match self {
            Value::Sequence(values) | Value::Closure(_, values) => values.extent(),
            Value::Dictionary(entries) => entries.extent(),
            Value::Object(object) | Value::Method(object, _) => {
                Extent { height: object.height.get().unwrap_or(HIGHEST), count: 0 }
            }
            _ => Extent::default(),
        }
    }

    /// What it is called in messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::None => "None",
            Value::Bool(_) => "a boolean",
            Value::Int(_) => "an integer",
            Value::Float(_) => "a number",
            Value::Text(_) => "a text",
            Value::Dtype(_) => "a type",
            Value::Tensor(_) => "a tensor",
            Value::Sequence(_) => "a list",
            Value::Dictionary(_) => "a dictionary",
            Value::Object(_) => "an object",
            Value::Class(_) => "a class",
            Value::Closure(..) => "a lambda",
            Value::Function(_) | Value::Method(..) | Value::Builtin(_) | Value::Operator(_) => "a function",
            Value::TensorMethod(..) | Value::TensorFunction(..) | Value::ShapeMethod(..) => "a method",
            Value::Library => "the library",
        }
    }

    /// The value of a JSON value: what `config.json` holds.
    pub fn from_json(json: &serde_json::Value) -> Value {
        match json {
            serde_json::Value::Null => Value::None,
            serde_json::Value::Bool(flag) => Value::Bool(*flag),
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(integer) => Value::Int(integer),
                None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            serde_json::Value::String(text) => Value::Text(text.as_str().into()),
            serde_json::Value::Array(items) => Value::sequence(items.iter().map(Value::from_json).collect()),
            serde_json::Value::Object(entries) => {
                let entries = entries.iter().map(|(key, value)| (Arc::from(key.as_str()), Value::from_json(value)));
                Value::dictionary(entries.collect())
            }
        }
    }
}

impl From<Default> for Value {
    fn from(default: Default) -> Value {
        match default {
            Default::None => Value::None,
            Default::Bool(flag) => Value::Bool(flag),
            Default::Int(number) => Value::Int(number),
            Default::Float(number) => Value::Float(number),
        }
    }
}
