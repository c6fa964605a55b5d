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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LettingGo {
    /// A value that no name held went with its expression.
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
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The file.
    pub file: Arc<str>,
    /// The function.
    pub function: Arc<str>,
    /// The line, from 1.
    pub line: u32,
    /// How something goes there.
    pub how: LettingGo,
    /// The name that held it.
    pub name: Option<Arc<str>>,
}

impl fmt::Display for Place {
    /// `hidden_states was bound anew in forward (families/gpt2.yaml:41)`
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

/// Places as running code comes to them.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// All places, by their numbers.
    pub all: Vec<Place>,
    numbers: FxHashMap<(usize, u64), PlaceId>,
}

impl Places {
    /// Goes on where another list ends: its places keep their numbers.
    pub fn after(all: Vec<Place>) -> Places {
        Places { all, numbers: FxHashMap::default() }
    }

    /// The number of the place with that key: the address of the function's code, the line, the local's number and how it
    /// goes. `make` gives a place that is new.
    pub fn number(
        &mut self,
        (function, line, local, how): (usize, u32, Option<u16>, LettingGo),
        make: impl FnOnce() -> Place,
    ) -> PlaceId {
        let local = local.map_or(0, |local| u64::from(local) + 1);
        let key = (function, u64::from(line) << 32 | local << 8 | how as u64);
        if let Some(known) = self.numbers.get(&key) {
            return *known;
        }
        let number = PlaceId(self.all.len() as u32);
        self.all.push(make());
        self.numbers.insert(key, number);
        number
    }
}
