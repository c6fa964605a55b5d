//! The calls of modules: which of them runs each step, and which tensors go into a call and come out of it.
//!
//! ```text
//! nn_module_stack of a step      L__self__ ; L__self__layer1.0 ; L__self__layer1.0.relu@1
//! becomes a tree of calls        model { conv1 { conv2d }  layer1.0 { ... relu { relu_ } } }
//! into a call                    what is used within it and given outside
//! out of a call                  what is given within it and used outside
//! ```

use indexmap::{IndexMap, IndexSet};
use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};

use super::error::Problem;
use super::flatten::{Given, Kind, Origin, Program, ValueId};
use crate::ops::aten::computes_nothing;
use crate::words::quote::quoted;

/// What PyTorch writes as the class where it does not know the module (torch/export/_trace.py).
const NO_CLASS: &str = "_empty_nn_module_stack_from_metadata_hook";

/// The most modules within modules.
const DEPTH: usize = 60;

/// An ordered set.
pub type Set<T> = IndexSet<T, FxBuildHasher>;

/// What a call does, in order.
#[derive(Clone, Copy, Debug)]
pub enum Item {
    /// A step of the program.
    Step(usize),
    /// A call of a module.
    Call(usize),
}

/// A call of a module.
#[derive(Debug)]
pub struct Call<'a> {
    /// The module's path; empty for the model itself.
    pub path: &'a str,
    /// How many calls it lies in.
    pub depth: usize,
    /// The call that it lies in.
    parent: usize,
    /// What it does.
    pub items: Vec<Item>,
    /// What goes in.
    pub takes: Set<ValueId>,
    /// What comes out.
    pub gives: Set<ValueId>,
    key: &'a str,
}

/// The calls of a program; the first is that of the model.
#[derive(Debug)]
pub struct Calls<'a> {
    /// The calls, those that lie in another after it.
    pub calls: Vec<Call<'a>>,
    /// The classes of the modules that are called, by their paths.
    pub classes: IndexMap<&'a str, &'a str, FxBuildHasher>,
}

/// Finds the calls.
///
/// # Errors
/// Modules that nest too deep, or are written in a way that is not known.
pub fn calls<'a>(program: &Program<'a>) -> Result<Calls<'a>, Problem> {
    let mut calls = Calls { calls: vec![Call::new("", "", 0, 0)], classes: IndexMap::default() };
    let mut open = vec![0];
    let mut last = None;
    let mut holder = Vec::with_capacity(program.steps.len());
    for (number, step) in program.steps.iter().enumerate() {
        if let Some(modules) = step.modules.filter(|modules| last != Some(*modules)) {
            calls.go_to(modules, &mut open).map_err(|message| Problem::at(number, message))?;
            last = Some(modules);
        }
        let running = open[open.len() - 1];
        calls.calls[running].items.push(Item::Step(number));
        holder.push(running);
    }
    calls.carry(program, &holder);
    Ok(calls)
}

impl<'a> Call<'a> {
    fn new(path: &'a str, key: &'a str, parent: usize, depth: usize) -> Call<'a> {
        Call { path, depth, parent, items: Vec::new(), takes: Set::default(), gives: Set::default(), key }
    }
}

impl<'a> Calls<'a> {
    /// Ends the calls that no longer run and begins those that do.
    fn go_to(&mut self, modules: &'a str, open: &mut Vec<usize>) -> Result<(), String> {
        let mut depth = 0;
        for (place, entry) in modules.split(';').enumerate() {
            let fail = || format!("the modules {} cannot be read", quoted(modules));
            let (key, rest) = entry.split_once(',').ok_or_else(fail)?;
            let (path, class) = rest.rsplit_once(',').ok_or_else(fail)?;
            let path = path.strip_prefix("L['self'].").unwrap_or(path);
            if place == 0 || path.is_empty() || path == "L['self']" {
                if class.rsplit('.').next() != Some(NO_CLASS) {
                    self.classes.entry("").or_insert(class);
                }
                continue;
            }
            depth += 1;
            if depth > DEPTH {
                return Err(format!("modules nest deeper than {DEPTH}"));
            }
            if open.get(depth).is_some_and(|call| self.calls[*call].key == key) {
                continue;
            }
            open.truncate(depth);
            self.classes.entry(path).or_insert(class);
            let parent = open[depth - 1];
            let number = self.calls.len();
            self.calls.push(Call::new(path, key, parent, depth));
            self.calls[parent].items.push(Item::Call(number));
            open.push(number);
        }
        open.truncate(depth + 1);
        Ok(())
    }

    /// Notes what goes into each call and comes out of it.
    fn carry(&mut self, program: &Program<'a>, holder: &[usize]) {
        let mut maker: FxHashMap<ValueId, usize> = FxHashMap::default();
        let mut known: FxHashSet<(ValueId, usize)> = FxHashSet::default();
        for (step, running) in program.steps.iter().zip(holder) {
            let Kind::Call { target, arguments, gives } = &step.kind else { continue };
            if computes_nothing(target) {
                continue;
            }
            for (_, argument) in arguments {
                each_tensor(argument, &mut |value| {
                    if !matches!(program.values[value.index()].origin, Origin::State(_))
                        && known.insert((value, *running))
                    {
                        let from = maker.get(&value).copied().unwrap_or(0);
                        self.bring(value, from, *running);
                    }
                });
            }
            maker.extend(gives.values().map(|value| (value, *running)));
        }
        for value in program.outputs.iter().flatten() {
            let from = maker.get(value).copied().unwrap_or(0);
            self.bring(*value, from, 0);
        }
    }

    /// Brings a tensor from one call to another: out of those that only the first lies in, into those that only the second does.
    fn bring(&mut self, value: ValueId, mut from: usize, mut to: usize) {
        while from != to {
            if self.calls[from].depth >= self.calls[to].depth && from != 0 {
                self.calls[from].gives.insert(value);
                from = self.calls[from].parent;
            } else {
                self.calls[to].takes.insert(value);
                to = self.calls[to].parent;
            }
        }
    }
}

/// Goes through the tensors of an argument.
pub fn each_tensor(argument: &Given<'_>, visit: &mut impl FnMut(ValueId)) {
    match argument {
        Given::Tensor(value) => visit(*value),
        Given::List(items) => items.iter().for_each(|item| each_tensor(item, visit)),
        _ => {}
    }
}
