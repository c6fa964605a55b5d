//! What names mean: through imports to definitions, or to what the table says.

use std::rc::Rc;

use python_ast::{Expr, StmtFunctionDef};
use rustc_hash::FxHashSet;

use crate::classes::Defined;
use crate::names::Names;
use crate::source::{Binding, Fault, Module, Sources};

/// All that an import stands on.
#[derive(Debug)]
pub struct World {
    /// The files.
    pub sources: Sources,
    /// The table.
    pub names: Names,
    /// What specs can call: operators, functions and modules of the library.
    pub known: FxHashSet<String>,
}

/// What a dotted name is, where it is defined in a source.
#[derive(Clone, Debug)]
pub enum Meaning {
    /// A class.
    Class(Defined),
    /// A function.
    Function(Rc<Module>, Rc<StmtFunctionDef>),
    /// A value that the file computes.
    Value(Rc<Module>, Rc<Expr>),
}

impl World {
    /// The dotted name that an expression spells, through the file's imports: `nn.Linear` is `torch.nn.Linear`. None where its
    /// first name is a local, or bound nowhere.
    pub fn dotted(&self, module: &Module, expression: &Expr, is_local: &dyn Fn(&str) -> bool) -> Option<String> {
        match expression {
            Expr::Name(name) if !is_local(name.id.as_str()) => match module.bindings.get(name.id.as_str()) {
                Some(Binding::Import(dotted)) => Some(self.names.canonical(dotted)),
                Some(_) => Some(format!("{}.{}", module.name, name.id)),
                None => module.stars.iter().find_map(|star| {
                    match self.sources.module(star).ok()??.bindings.get(name.id.as_str())? {
                        Binding::Import(dotted) => Some(self.names.canonical(dotted)),
                        _ => Some(format!("{star}.{}", name.id)),
                    }
                }),
            },
            Expr::Attribute(attribute) => {
                Some(format!("{}.{}", self.dotted(module, &attribute.value, is_local)?, attribute.attr))
            }
            _ => None,
        }
    }

    /// The dotted name by which the file that defines it calls what a dotted name means, or the last one that no file defines; None where
    /// that is the name itself.
    pub fn defined_as(&self, dotted: &str) -> Option<String> {
        let mut known: Option<String> = None;
        for _ in 0..16 {
            let (file, name) = known.as_deref().unwrap_or(dotted).rsplit_once('.')?;
            let Ok(Some(module)) = self.sources.module(file) else { break };
            match module.bindings.get(name) {
                Some(Binding::Import(next)) => known = Some(self.names.canonical(next)),
                Some(_) => break,
                None => {
                    let star = module.stars.iter().find(|star| {
                        let offered = self.sources.module(star).ok().flatten();
                        offered.is_some_and(|offered| offered.bindings.contains_key(name))
                    });
                    known = Some(format!("{}.{name}", star?));
                }
            }
        }
        known
    }

    /// What defines a dotted name, through the imports of the files on the way.
    ///
    /// # Errors
    /// A file on the way that is no Python.
    pub fn definition(&self, dotted: &str) -> Result<Option<Meaning>, Fault> {
        let mut dotted = dotted.to_owned();
        for _ in 0..16 {
            let Some((file, name)) = dotted.rsplit_once('.') else { return Ok(None) };
            let Some(module) = self.sources.module(file)? else { return Ok(None) };
            dotted = match module.bindings.get(name) {
                Some(Binding::Class(class)) => {
                    return Ok(Some(Meaning::Class(Defined { module: module.clone(), class: class.clone() })));
                }
                Some(Binding::Function(function)) => {
                    return Ok(Some(Meaning::Function(module.clone(), function.clone())));
                }
                // another name of a class or a function of the file
                Some(Binding::Value(value)) => match self.dotted(&module, value, &|_| false) {
                    Some(other) if matches!(&**value, Expr::Name(name) if matches!(module.bindings.get(name.id.as_str()), Some(Binding::Class(_) | Binding::Function(_) | Binding::Import(_)))) => {
                        other
                    }
                    _ => return Ok(Some(Meaning::Value(module.clone(), value.clone()))),
                },
                Some(Binding::Import(next)) => self.names.canonical(next),
                None => return Ok(None),
            };
        }
        Ok(None)
    }
}
