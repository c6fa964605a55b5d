//! The model's modules: who holds what, in the order of their making.

use indexmap::{IndexMap, IndexSet};
use rustc_hash::FxBuildHasher;

use super::code::{attribute, element};
use super::error::Problem;
use super::flatten::State;
use crate::read::spec::syntax::Expression;
use crate::words::quote::quoted;

/// The most modules within modules.
const DEPTH: usize = 60;

/// The most modules.
const MODULES: usize = 200_000;

/// A module.
#[derive(Debug, Default)]
pub struct Module {
    /// The names of its children, in order.
    pub children: IndexSet<String, FxBuildHasher>,
    /// What it holds itself, by number.
    pub states: Vec<usize>,
    /// Whether it runs.
    pub is_called: bool,
    /// Whether it is a list of modules, which its owner goes through.
    pub is_list: bool,
}

/// The modules by their paths; the model itself has none.
#[derive(Debug, Default)]
pub struct Modules(pub IndexMap<String, Module, FxBuildHasher>);

/// The module that a name belongs to, and the name within it.
pub fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('.').unwrap_or(("", name))
}

/// A path of a module and a name within it.
pub fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The modules that are listed, those that run, and those that hold something.
///
/// # Errors
/// More modules, or deeper ones, than any model has.
pub fn modules<'a>(
    listed: impl Iterator<Item = &'a str>,
    called: impl Iterator<Item = &'a str>,
    states: &[State<'_>],
) -> Result<Modules, Problem> {
    let mut modules = Modules::default();
    modules.enter("")?;
    for path in listed.filter(|path| !path.contains('@')) {
        modules.enter(path)?;
    }
    for path in called {
        let place = modules.enter(path)?;
        modules.0[place].is_called = true;
    }
    for (number, state) in states.iter().enumerate() {
        let place = modules.enter(split(state.name).0)?;
        modules.0[place].states.push(number);
    }
    for module in modules.0.values_mut() {
        let mut names = module.children.iter().enumerate();
        let counted = !module.children.is_empty() && names.all(|(place, name)| *name == place.to_string());
        module.is_list = counted && !module.is_called && module.states.is_empty();
    }
    modules.0[0].is_list = false;
    Ok(modules)
}

impl Modules {
    /// Enters a module and those that it lies in.
    fn enter(&mut self, path: &str) -> Result<usize, Problem> {
        if let Some(place) = self.0.get_index_of(path) {
            return Ok(place);
        }
        if path.matches('.').count() >= DEPTH || self.0.len() >= MODULES {
            let message =
                format!("{} lies deeper than {DEPTH} modules, or is one of more than {MODULES}", quoted(path));
            return Err(Problem::new(message));
        }
        if !path.is_empty() {
            let (owner, name) = split(path);
            let owner = self.enter(owner)?;
            self.0[owner].children.insert(name.to_owned());
        }
        Ok(self.0.insert_full(path.to_owned(), Module::default()).0)
    }

    /// `base.layers[0].attention`: the module at `path` as seen from the one at `from`, which it lies in.
    pub fn reach(&self, base: Expression, from: &str, path: &str) -> Expression {
        let mut at = from.to_owned();
        let rest = if from.is_empty() { path } else { path[from.len()..].trim_start_matches('.') };
        let mut expression = base;
        for name in rest.split('.').filter(|name| !name.is_empty()) {
            let is_list = self.0.get(&at).is_some_and(|module| module.is_list);
            expression = match name.parse() {
                Ok(place) if is_list => element(expression, place),
                _ => attribute(expression, name),
            };
            at = join(&at, name);
        }
        expression
    }

    /// Whether one module lies in another.
    pub fn lies_in(path: &str, owner: &str) -> bool {
        owner.is_empty() || path.strip_prefix(owner).is_some_and(|rest| rest.starts_with('.'))
    }
}
