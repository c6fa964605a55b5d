//! The values of an optimizer's running code. Cloning one is taking a reference, so memory goes when Python would let it go.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;

use crate::dtype::Dtype;
use crate::interpret::nested::LISTS;
use crate::interpret::{Extent, Nested};
use crate::lower::tensor::Tensor;
use crate::read::optimizers::Setting;

/// An object's attributes: a parameter's state, a group's options, the optimizer itself.
pub(crate) type Attributes = RefCell<IndexMap<Arc<str>, Value, FxBuildHasher>>;

/// A tensor, and the parameter on whose behalf it was made, as a position in `Context::trained`.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    pub tensor: Tensor,
    pub owner: Option<u32>,
}

/// A value. Tensors on the host are numbers: they take no memory on the GPU.
#[derive(Clone, Debug, Default)]
pub(crate) enum Value {
    #[default]
    None,
    Bool(bool),
    Number(f64),
    Text(Arc<str>),
    Dtype(Dtype),
    Tensor(Handle),
    List(Rc<Nested<Vec<Value>>>),
    Object(Rc<Attributes>),
}

/// The arguments of a call.
pub(super) type Given = crate::interpret::Given<Value>;

impl Value {
    pub(super) fn list(values: Vec<Value>) -> Value {
        let extent = Extent::around(values.iter().map(Value::extent));
        Value::List(Rc::new(Nested::new(values, extent)))
    }

    /// How far it goes down; an object holds lists without objects alone.
    pub(super) fn extent(&self) -> Extent {
        match self {
            Value::List(values) => values.extent(),
            Value::Object(_) => Extent { height: LISTS, count: 0 },
            _ => Extent::default(),
        }
    }

    /// What it is called in messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::None => "None",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::Text(_) => "a text",
            Value::Dtype(_) => "a type",
            Value::Tensor(_) => "a tensor",
            Value::List(_) => "a list",
            Value::Object(_) => "an object",
        }
    }

    pub(super) fn truth(&self) -> Result<bool, String> {
        match self {
            Value::None => Ok(false),
            Value::Bool(flag) => Ok(*flag),
            Value::Number(number) => Ok(*number != 0.0),
            Value::Text(text) => Ok(!text.is_empty()),
            Value::List(values) => Ok(!values.is_empty()),
            Value::Object(attributes) => Ok(!attributes.borrow().is_empty()),
            Value::Dtype(_) | Value::Tensor(_) => Err(format!("no decision can rest on {}", self.kind())),
        }
    }

    pub(super) fn number(&self) -> Result<f64, String> {
        match self {
            Value::Number(number) => Ok(*number),
            Value::Bool(flag) => Ok(f64::from(u8::from(*flag))),
            other => Err(format!("a number was expected, not {}", other.kind())),
        }
    }

    pub(super) fn tensor(&self) -> Result<&Handle, String> {
        match self {
            Value::Tensor(handle) => Ok(handle),
            other => Err(format!("a tensor was expected, not {}", other.kind())),
        }
    }

    pub(super) fn elements(&self) -> Result<&Rc<Nested<Vec<Value>>>, String> {
        match self {
            Value::List(values) => Ok(values),
            other => Err(format!("a list was expected, not {}", other.kind())),
        }
    }

    /// A list of numbers as sizes.
    pub(super) fn sizes(&self) -> Result<Vec<u64>, String> {
        self.elements()?.iter().map(|size| Ok(size.number()? as u64)).collect()
    }
}

impl From<Setting> for Value {
    fn from(setting: Setting) -> Value {
        match setting {
            Setting::Bool(flag) => Value::Bool(flag),
            Setting::Number(number) => Value::Number(number),
            Setting::Default(()) => Value::None,
        }
    }
}

impl Given {
    /// The argument at a position or of that name.
    pub(super) fn get(&self, position: usize, name: &str) -> Option<&Value> {
        self.positional.get(position).or_else(|| self.named(name))
    }

    pub(super) fn named(&self, name: &str) -> Option<&Value> {
        self.named.iter().find(|(known, _)| &**known == name).map(|(_, value)| value)
    }

    pub(super) fn at(&self, position: usize) -> Result<&Value, String> {
        self.positional.get(position).ok_or_else(|| format!("argument {} is missing", position + 1))
    }
}
