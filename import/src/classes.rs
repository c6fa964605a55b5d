//! Classes with what they inherit: the order in which Python looks for methods and attributes.

use std::rc::Rc;

use python_ast::{Arguments, Decorator, Expr, Stmt, StmtClassDef, StmtFunctionDef};

use crate::meaning::{Meaning, World};
use crate::source::{Fault, Module, text};

/// A class of a source, with the file that it stands in.
#[derive(Clone, Debug)]
pub struct Defined {
    /// The file.
    pub module: Rc<Module>,
    /// The class.
    pub class: Rc<StmtClassDef>,
}

/// A class with all that it derives from.
#[derive(Clone, Debug)]
pub struct Lineage {
    /// The class, then its bases in Python's order of resolution, as far as they are read.
    pub classes: Vec<Defined>,
    /// The bases that are not read: `transformers.modeling_utils.PreTrainedModel`.
    pub foreign: Vec<String>,
}

/// A function within a class.
#[derive(Clone, Debug)]
pub struct Method {
    /// Where in the lineage its class stands.
    pub place: usize,
    class: Rc<StmtClassDef>,
    /// Where in the class's body it stands.
    at: usize,
}

/// How a method is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MethodKind {
    /// On an object.
    Plain,
    /// As an attribute of an object.
    Property,
    /// Without an object.
    Static,
}

impl Lineage {
    /// The lineage of a class: depth first, each base at its last place, as C3 orders what transformers has.
    ///
    /// # Errors
    /// A base that is no class, or whose file is no Python.
    pub fn of(world: &World, module: &Rc<Module>, class: &Rc<StmtClassDef>) -> Result<Lineage, Fault> {
        let mut all = Vec::new();
        collect(world, module, class, &mut all, 0)?;
        let mut lineage = Lineage { classes: Vec::new(), foreign: Vec::new() };
        for (place, ancestor) in all.iter().enumerate() {
            match ancestor {
                Ancestor::Defined(defined) => {
                    let again = |other: &Ancestor| matches!(other, Ancestor::Defined(other) if Rc::ptr_eq(&other.class, &defined.class));
                    if !all[place + 1..].iter().any(again) {
                        lineage.classes.push(defined.clone());
                    }
                }
                Ancestor::Foreign(name) if !lineage.foreign.contains(name) => lineage.foreign.push(name.clone()),
                Ancestor::Foreign(_) => {}
            }
        }
        Ok(lineage)
    }

    /// The first method of that name from a place in the lineage on.
    pub fn method(&self, name: &str, from: usize) -> Option<Method> {
        self.classes.iter().enumerate().skip(from).find_map(|(place, defined)| {
            let is_it =
                |statement: &Stmt| matches!(statement, Stmt::FunctionDef(function) if function.name.as_str() == name);
            let at = defined.class.body.iter().position(is_it)?;
            Some(Method { place, class: defined.class.clone(), at })
        })
    }

    /// What a class of the lineage is called in the names of methods that `super()` reaches: with its file where another has its name.
    pub fn owner(&self, place: usize) -> String {
        let defined = &self.classes[place];
        let name = defined.class.name.as_str();
        let is_other = |other: &Defined| other.class.name.as_str() == name && !Rc::ptr_eq(&other.class, &defined.class);
        match self.classes.iter().take(place).any(is_other) {
            true => format!("{}_{name}", defined.module.name.rsplit('.').next().unwrap_or_default()),
            false => name.to_owned(),
        }
    }

    /// The names of all methods but those that Python itself calls and those that fill or describe weights, in order.
    pub fn methods(&self) -> Vec<String> {
        const LEFT: [&str; 7] = [
            "reset_parameters",
            "init_weights",
            "_init_weights",
            "init_non_persistent_buffers",
            "_load_from_state_dict",
            "extra_repr",
            "train",
        ];
        let mut names: Vec<String> = Vec::new();
        for statement in self.classes.iter().flat_map(|defined| &defined.class.body) {
            if let Stmt::FunctionDef(function) = statement {
                let name = function.name.as_str();
                if (!name.starts_with("__") || name == "__call__")
                    && !LEFT.contains(&name)
                    && !names.iter().any(|known| known == name)
                {
                    names.push(name.to_owned());
                }
            }
        }
        names
    }

    /// What a text is that stands in the first class that gives it.
    pub fn text(&self, name: &str) -> Option<String> {
        self.attribute(name).and_then(|(_, value)| text(value))
    }

    /// The value of an attribute that the class body gives, with the place of its class.
    pub fn attribute(&self, name: &str) -> Option<(usize, &Expr)> {
        self.classes.iter().enumerate().find_map(|(place, defined)| {
            defined.class.body.iter().find_map(|statement| match statement {
                Stmt::Assign(assign) => {
                    let named =
                        assign.targets.iter().any(|target| matches!(target, Expr::Name(n) if n.id.as_str() == name));
                    named.then_some((place, &*assign.value))
                }
                Stmt::AnnAssign(assign) => match (&*assign.target, &assign.value) {
                    (Expr::Name(n), Some(value)) if n.id.as_str() == name => Some((place, &**value)),
                    _ => None,
                },
                _ => None,
            })
        })
    }

    /// The annotation of an attribute: `config: LlamaConfig`.
    pub fn annotation(&self, name: &str) -> Option<(usize, &Expr)> {
        self.classes.iter().enumerate().find_map(|(place, defined)| {
            defined.class.body.iter().find_map(|statement| match statement {
                Stmt::AnnAssign(assign) => match &*assign.target {
                    Expr::Name(n) if n.id.as_str() == name => Some((place, &*assign.annotation)),
                    _ => None,
                },
                _ => None,
            })
        })
    }

    /// Whether it derives from a class that is not read.
    pub fn derives_from(&self, dotted: &str) -> bool {
        self.foreign.iter().any(|name| name == dotted)
    }
}

impl Method {
    /// The function.
    pub fn function(&self) -> &StmtFunctionDef {
        match &self.class.body[self.at] {
            Stmt::FunctionDef(function) => function,
            _ => unreachable!("a method is found by its function"),
        }
    }

    /// How it is called.
    pub fn kind(&self) -> MethodKind {
        let named = |name: &str| self.is_decorated(name);
        if named("property") || named("cached_property") {
            MethodKind::Property
        } else if named("staticmethod") {
            MethodKind::Static
        } else {
            MethodKind::Plain
        }
    }

    /// Whether a decorator of that name is given that switch by that name.
    pub fn decorator_says(&self, name: &str, keyword: &str, flag: bool) -> bool {
        decorators(&self.function().decorator_list).filter(|(known, _)| *known == name).any(|(_, arguments)| {
            let given = arguments.and_then(|arguments| arguments.find_keyword(keyword)).map(|keyword| &keyword.value);
            matches!(given, Some(Expr::BooleanLiteral(given)) if given.value == flag)
        })
    }

    /// The first argument of a decorator of that name.
    pub fn decorator_argument(&self, name: &str) -> Option<&Expr> {
        let mut found = decorators(&self.function().decorator_list).filter(|(known, _)| *known == name);
        found.find_map(|(_, arguments)| arguments?.args.first())
    }

    /// Whether a decorator of that name stands before it, with or without arguments.
    pub fn is_decorated(&self, name: &str) -> bool {
        decorators(&self.function().decorator_list).any(|(known, _)| known == name)
    }
}

/// The last names of decorators, with what those are given that are called.
pub fn decorators(list: &[Decorator]) -> impl Iterator<Item = (&str, Option<&Arguments>)> {
    list.iter().filter_map(|decorator| {
        let (called, arguments) = match &decorator.expression {
            Expr::Call(call) => (&*call.func, Some(&call.arguments)),
            other => (other, None),
        };
        match called {
            Expr::Name(name) => Some((name.id.as_str(), arguments)),
            Expr::Attribute(attribute) => Some((attribute.attr.as_str(), arguments)),
            _ => None,
        }
    })
}

enum Ancestor {
    Defined(Defined),
    Foreign(String),
}

/// The deepest lineage: far beyond any source.
const DEPTH: usize = 64;

fn collect(
    world: &World,
    module: &Rc<Module>,
    class: &Rc<StmtClassDef>,
    all: &mut Vec<Ancestor>,
    depth: usize,
) -> Result<(), Fault> {
    if depth > DEPTH || all.len() > DEPTH * DEPTH {
        return Err(module.fault(class.range, format!("{} derives from itself", class.name)));
    }
    all.push(Ancestor::Defined(Defined { module: module.clone(), class: class.clone() }));
    for base in class.arguments.iter().flat_map(|arguments| &arguments.args) {
        // a class may have the name of what it derives from, which was imported before it
        let shadowed = match base {
            Expr::Name(name) if name.id == class.name.id => module.shadowed.get(name.id.as_str()).cloned(),
            _ => None,
        };
        let Some(dotted) = shadowed.or_else(|| world.dotted(module, base, &|_| false)) else { continue };
        if world.names.bases.get(&dotted).is_some_and(|base| !base.unless_read) {
            all.push(Ancestor::Foreign(dotted));
            continue;
        }
        match world.definition(&dotted)? {
            Some(Meaning::Class(defined)) => collect(world, &defined.module, &defined.class, all, depth + 1)?,
            _ => all.push(Ancestor::Foreign(dotted)),
        }
    }
    Ok(())
}
