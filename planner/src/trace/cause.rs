//! Why memory goes: what held it last, and let go.

use std::fmt;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::Name;
use crate::ids::ModuleId;

/// What let go of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Nobody says: the file of another program, or one of memplan's older form.
    #[default]
    Unknown,
    /// An operator had run: a temporary of its own, or a result that nothing took.
    Operator(Name),
    /// A node of autograd had run: a temporary of its operators.
    Node(Name),
    /// A node of autograd had run: a gradient that came in.
    Gradient(Name),
    /// A node of autograd had run: what it had saved in the forward pass.
    Saved(Name),
    /// A line of Python let go of the last name.
    Python(PlaceId),
    /// The frame of a checkpointed module's call went, and what it held.
    Frame(ModuleId),
}

/// How a line of Python lets go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LettingGo {
    /// A value that no name held went with its expression.
    #[default]
    Expression,
    /// A name was bound to another value.
    Bound,
    /// A name was deleted: `del x`.
    Deleted,
    /// The function returned, and its locals went.
    Returned,
}

/// The number of a place in a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlaceId(pub u32);

/// A line of Python, or of the spec that stands for it, with what it lets go.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The file.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: u32,
    /// The function.
    pub function: Arc<str>,
    /// How something goes there.
    pub how: LettingGo,
    /// The name that held it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Arc<str>>,
}

impl fmt::Display for Place {
    /// `hidden_states was bound anew in forward (specs/models/gpt2.yaml:41)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { file, function, line, how, name } = self;
        let name = name.as_deref().unwrap_or("an object");
        match how {
            LettingGo::Expression => write!(f, "an expression ended in {function}")?,
            LettingGo::Bound => write!(f, "{name} was bound anew in {function}")?,
            LettingGo::Deleted => write!(f, "{name} was deleted in {function}")?,
            LettingGo::Returned => write!(f, "{function} returned, and its {name} went")?,
        }
        write!(f, " ({file}:{line})")
    }
}

/// Where running code stands, before that has a number: cheap to make, as it is made at every statement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Standing {
    /// The address of the function's code, for which [`Places::enter`] was called.
    pub function: usize,
    /// The line.
    pub line: u32,
    /// The number of the local that goes.
    pub local: Option<u16>,
    /// How something goes.
    pub how: LettingGo,
}

/// A function as places tell of it.
#[derive(Clone, Debug)]
pub struct Code {
    /// The file.
    pub file: Arc<str>,
    /// The function.
    pub function: Arc<str>,
    /// Its locals, by number.
    pub locals: Vec<Arc<str>>,
}

/// Places as running code comes to them.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// All places, by their numbers.
    pub all: Vec<Place>,
    numbers: FxHashMap<Standing, PlaceId>,
    functions: FxHashMap<usize, Code>,
}

impl Places {
    /// Goes on where another list ends: its places keep their numbers.
    pub fn after(all: Vec<Place>) -> Places {
        Places { all, ..Places::default() }
    }

    /// A function runs whose code lies at that address.
    pub fn enter(&mut self, function: usize, code: impl FnOnce() -> Code) {
        self.functions.entry(function).or_insert_with(code);
    }

    /// The number of the place where code stands.
    pub fn number(&mut self, standing: Standing) -> PlaceId {
        if let Some(known) = self.numbers.get(&standing) {
            return *known;
        }
        let number = PlaceId(self.all.len() as u32);
        self.all.push(self.place(standing));
        self.numbers.insert(standing, number);
        number
    }

    fn place(&self, Standing { function, line, local, how }: Standing) -> Place {
        let code = self.functions.get(&function);
        let (file, function) = code.map_or_else(Default::default, |code| (code.file.clone(), code.function.clone()));
        let name = local.and_then(|local| code?.locals.get(usize::from(local)).cloned());
        Place { file, line, function, how, name }
    }
}
