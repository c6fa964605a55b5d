//! A class of torch.nn, or a function that makes a model, in a file of the user's own: no config says how it is made, so its
//! construction is a call, whose arguments are Python.
//!
//! ```text
//! model.py: class GPT(nn.Module): def __init__(self, config: GPTConfig)       --init n_layer=6
//!      -> made_model(config): return GPT(GPTConfig(n_layer=6))
//! ```

use std::rc::Rc;

use python_ast::{Expr, ExprCall, Keyword, Parameters, Stmt, StmtFunctionDef};
use python_parser::parse_expression;

use crate::classes::{Defined, Lineage};
use crate::family::{Architecture, Family, Import, fields_of, is_dataclass};
use crate::meaning::Meaning;
use crate::source::{Binding, Fault, Module};
use crate::translate::{Code, Standing, Translator};
use crate::write;

/// What torch.nn's modules derive from.
const MODULE: &str = "torch.nn.Module";

/// The function that makes the model.
const MADE: &str = "made_model";

/// The function that gives a run's inputs.
pub const INPUTS: &str = "given_inputs";

/// The libraries that a spec of torch.nn uses: later ones stand behind earlier ones.
pub const USES: [&str; 6] = ["given", "torch_nn", "torch", "nn", "vision", "loops"];

/// What to read.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The dotted name of the file.
    pub file: &'a str,
    /// The class, or the function that makes the model.
    pub name: &'a str,
    /// The arguments that it is made with, as Python: `12, width=256`.
    pub arguments: &'a str,
}

/// Why there is no model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlainError {
    /// The source.
    #[error(transparent)]
    Source(#[from] Fault),
    /// The file has no class or function of that name.
    #[error("{file}: there is no class or function `{name}`")]
    Missing {
        /// The file.
        file: String,
        /// The name.
        name: String,
        /// What it has: classes of modules, then functions.
        has: Vec<String>,
    },
    /// The arguments that it is to be made with.
    #[error("{place}: {message}")]
    Arguments {
        /// Where the construction stands.
        place: String,
        /// What is wrong with them.
        message: String,
    },
}

/// What the model's forward takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Where it stands: `model.py:31`.
    pub place: String,
    /// Its parameters, and whether they have to be given.
    pub parameters: Vec<(String, bool)>,
    /// Whether it takes any others by name.
    pub takes_more: bool,
}

/// A model that was read.
#[derive(Debug)]
pub struct PlainModel {
    /// What is written of it; inputs are still to be said.
    pub family: Family,
    /// The name of its class, or of the function that makes it.
    pub class: String,
    /// What its forward takes; None where a function makes a model of a class that its code alone knows.
    pub forward: Option<Forward>,
}

impl PlainModel {
    /// The text of its spec, with the lines of the function that gives a run's inputs.
    pub fn spec(mut self, inputs: Vec<String>) -> String {
        self.family.functions.insert(INPUTS.to_owned(), Code { parameters: "model, run".to_owned(), lines: inputs });
        write::spec(&self.family)
    }
}

/// A call's parameters, as far as they count here.
struct Takes {
    names: Vec<(String, bool)>,
    positional: usize,
    takes_more: bool,
}

impl Takes {
    fn of(parameters: &Parameters, leaves_first: bool) -> Takes {
        let skipped = usize::from(leaves_first);
        let names = parameters.iter_non_variadic_params().skip(skipped);
        let names = names.map(|parameter| (parameter.name().to_string(), parameter.default.is_none()));
        let positional = (parameters.posonlyargs.len() + parameters.args.len()).saturating_sub(skipped);
        Takes { names: names.collect(), positional, takes_more: parameters.kwarg.is_some() }
    }

    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|(known, _)| known == name)
    }

    fn listed(&self) -> String {
        self.names.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

impl Import {
    /// The classes of modules that a file defines, in order.
    ///
    /// # Errors
    /// A file that is not there or is no Python.
    pub fn modules_of(&self, file: &str) -> Result<Vec<String>, Fault> {
        let module = self.plain_module(file)?;
        let mut names = Vec::new();
        for (name, binding) in &module.bindings {
            if let Binding::Class(class) = binding
                && self.is_module(&Lineage::of(&self.world, &module, class)?)
            {
                names.push(name.clone());
            }
        }
        Ok(names)
    }

    fn plain_module(&self, file: &str) -> Result<Rc<Module>, Fault> {
        let missing = || Fault { file: file.to_owned(), line: 0, message: "there is no such file".into() };
        self.world.sources.module(file)?.ok_or_else(missing)
    }

    fn is_module(&self, lineage: &Lineage) -> bool {
        lineage.derives_from(MODULE) || lineage.classes.iter().skip(1).any(|base| base.module.name == "torch.nn")
    }

    /// Reads a class of torch.nn, or a function that makes a model.
    ///
    /// # Errors
    /// A file that is no Python; a class that is not there, or arguments that it does not take.
    pub fn plain_model(&mut self, wanted: Wanted<'_>) -> Result<PlainModel, PlainError> {
        (self.marks, self.plain) = (true, true);
        let module = self.plain_module(wanted.file)?;
        let made = self.construction(&module, wanted)?;
        let forward = match &made.class {
            Some(lineage) => self.forward_of(lineage)?,
            None => None,
        };
        let mut family = Family {
            name: wanted.name.to_owned(),
            source: module.file.clone(),
            uses: USES.to_vec(),
            ..Family::default()
        };
        let architecture =
            Architecture { inputs: INPUTS, made: Some(MADE.to_owned()), sdpa: true, ..Default::default() };
        family.architectures.insert(wanted.name.to_owned(), architecture);
        self.gather(&mut family, None)?;
        let lines = vec![format!("return {}", made.text)];
        family.functions.insert(MADE.to_owned(), Code { parameters: "config".to_owned(), lines });
        Ok(PlainModel { family, class: wanted.name.to_owned(), forward })
    }

    fn forward_of(&self, lineage: &Lineage) -> Result<Option<Forward>, PlainError> {
        let class = &lineage.classes[0];
        if !self.is_module(lineage) {
            let message = format!("{} is no nn.Module", class.class.name);
            return Err(class.module.fault(class.class.range, message).into());
        }
        let Some(method) = lineage.method("forward", 0) else {
            return Err(class.module.fault(class.class.range, format!("{} has no forward", class.class.name)).into());
        };
        let at = &lineage.classes[method.place].module;
        let function = method.function();
        let takes = Takes::of(&function.parameters, true);
        let place = format!("{}:{}", at.file, at.line(function.range));
        Ok(Some(Forward { place, parameters: takes.names, takes_more: takes.takes_more }))
    }

    /// The call that makes the model, in words, and its class where it is known.
    fn construction(&mut self, module: &Rc<Module>, wanted: Wanted<'_>) -> Result<Made, PlainError> {
        let name = wanted.name;
        let missing = |import: &Import| {
            let functions = module.bindings.iter().filter(|(_, binding)| matches!(binding, Binding::Function(_)));
            let functions = functions.map(|(name, _)| name.clone()).collect::<Vec<_>>();
            let has = import.modules_of(wanted.file).unwrap_or_default().into_iter().chain(functions).collect();
            PlainError::Missing { file: module.file.clone(), name: name.to_owned(), has }
        };
        let dotted = match module.bindings.get(name) {
            Some(Binding::Import(dotted)) => dotted.clone(),
            Some(_) => format!("{}.{name}", module.name),
            None => return Err(missing(self)),
        };
        match self.world.definition(&dotted)? {
            Some(Meaning::Class(defined)) => self.of_class(module, &defined, wanted.arguments),
            Some(Meaning::Function(file, function)) => self.of_function(module, (file, function), wanted.arguments),
            _ => Err(missing(self)),
        }
    }

    fn of_class(&mut self, module: &Rc<Module>, defined: &Defined, arguments: &str) -> Result<Made, PlainError> {
        let lineage = Lineage::of(&self.world, &defined.module, &defined.class)?;
        let init = lineage.method("__init__", 0);
        let takes = match &init {
            Some(init) => Takes::of(&init.function().parameters, true),
            None => Takes { names: Vec::new(), positional: 0, takes_more: false },
        };
        let range = init.as_ref().map_or(defined.class.range, |init| init.function().range);
        let at = init.as_ref().map_or(&defined.module, |init| &lineage.classes[init.place].module);
        let place = format!("{}:{}", at.file, at.line(range));
        let called = defined.class.name.to_string();
        let call = self.parsed(arguments, &place)?;
        let mut said = self.positional(module, &call, (&place, &called, &takes))?;
        let given = call.arguments.args.len();
        let mut of_config = Vec::new();
        for keyword in &call.arguments.keywords {
            match &keyword.arg {
                Some(name) if takes.has(name.as_str()) => said.push(self.named(module, keyword, &place)?),
                _ => of_config.push(keyword),
            }
        }
        let is_given = |number: usize, name: &str| number < given || call.arguments.find_keyword(name).is_some();
        let open = takes.names.iter().enumerate().filter(|(number, (name, _))| !is_given(*number, name));
        let open: Vec<(String, bool)> = open.map(|(_, known)| known.clone()).collect();
        for (name, required) in open {
            let parameters = init.as_ref().map(|init| init.function().parameters.clone());
            let config = match parameters {
                Some(parameters) if required || !of_config.is_empty() => self.config_of(at, &parameters, &name)?,
                _ => None,
            };
            match config {
                Some(config) => {
                    let entries = std::mem::take(&mut of_config);
                    said.push(format!("{name}={}", self.config_call(module, &config, &entries, &place)?));
                }
                None if required => {
                    let message =
                        format!("{called} needs `{name}`: give --init {name}=...; it takes {}", takes.listed());
                    return Err(PlainError::Arguments { place, message });
                }
                None => {}
            }
        }
        for keyword in of_config {
            if let (Some(name), false) = (&keyword.arg, takes.takes_more) {
                let message = format!("{called} takes no `{name}`: it takes {}", takes.listed());
                return Err(PlainError::Arguments { place, message });
            }
            said.push(self.named(module, keyword, &place)?);
        }
        let class = self.want_class(defined.clone());
        Ok(Made { text: format!("{class}({})", said.join(", ")), class: Some(lineage) })
    }

    fn of_function(
        &mut self,
        module: &Rc<Module>,
        (file, function): (Rc<Module>, Rc<StmtFunctionDef>),
        arguments: &str,
    ) -> Result<Made, PlainError> {
        let takes = Takes::of(&function.parameters, false);
        let place = format!("{}:{}", file.file, file.line(function.range));
        let called = function.name.to_string();
        let call = self.parsed(arguments, &place)?;
        let mut said = self.positional(module, &call, (&place, &called, &takes))?;
        for keyword in &call.arguments.keywords {
            if let Some(name) = keyword.arg.as_ref().filter(|name| !takes.takes_more && !takes.has(name.as_str())) {
                let message = format!("{called} takes no `{name}`: it takes {}", takes.listed());
                return Err(PlainError::Arguments { place, message });
            }
            said.push(self.named(module, keyword, &place)?);
        }
        let given = call.arguments.args.len();
        let missing = takes.names.iter().enumerate().find(|(number, (name, required))| {
            *required && *number >= given && call.arguments.find_keyword(name).is_none()
        });
        if let Some((_, (name, _))) = missing {
            let message = format!("{called} needs `{name}`: give --init {name}=...; it takes {}", takes.listed());
            return Err(PlainError::Arguments { place, message });
        }
        let class = self.class_made(&file, &function, 0)?;
        let function = self.want_function(file, function);
        Ok(Made { text: format!("{function}({})", said.join(", ")), class })
    }

    /// The class of what a function returns, where its last statement says it.
    pub(crate) fn class_made(
        &self,
        file: &Rc<Module>,
        function: &StmtFunctionDef,
        depth: usize,
    ) -> Result<Option<Lineage>, Fault> {
        let Some(Stmt::Return(returned)) = function.body.last() else { return Ok(None) };
        let mut value = returned.value.as_deref();
        if let Some(Expr::Name(name)) = value {
            value = function.body.iter().find_map(|statement| match statement {
                Stmt::Assign(assign) => {
                    let is_it = matches!(&assign.targets[..], [Expr::Name(target)] if target.id == name.id);
                    is_it.then_some(&*assign.value)
                }
                _ => None,
            });
        }
        let Some(Expr::Call(call)) = value else { return Ok(None) };
        let Some(dotted) = self.world.dotted(file, &call.func, &|_| false) else { return Ok(None) };
        match self.world.definition(&dotted)? {
            Some(Meaning::Class(defined)) => Lineage::of(&self.world, &defined.module, &defined.class).map(Some),
            Some(Meaning::Function(file, function)) if depth < 8 => self.class_made(&file, &function, depth + 1),
            _ => Ok(None),
        }
    }

    /// The arguments as a call.
    fn parsed(&self, arguments: &str, place: &str) -> Result<ExprCall, PlainError> {
        let wrong = |reason: String| PlainError::Arguments {
            place: place.to_owned(),
            message: format!("--init `{arguments}` is no list of arguments: {reason}"),
        };
        let parsed = parse_expression(&format!("f({arguments})")).map_err(|error| wrong(error.error.to_string()))?;
        match *parsed.into_syntax().body {
            Expr::Call(call) if matches!(&*call.func, Expr::Name(_)) => Ok(call),
            _ => Err(wrong("write depth=12, width=256".to_owned())),
        }
    }

    fn positional(
        &mut self,
        module: &Rc<Module>,
        call: &ExprCall,
        (place, called, takes): (&str, &str, &Takes),
    ) -> Result<Vec<String>, PlainError> {
        if call.arguments.args.len() > takes.positional {
            let message = format!(
                "{called} takes {} arguments without a name, --init has {}: it takes {}",
                takes.positional,
                call.arguments.args.len(),
                takes.listed()
            );
            return Err(PlainError::Arguments { place: place.to_owned(), message });
        }
        call.arguments.args.iter().map(|value| self.value(module, value, place)).collect()
    }

    fn named(&mut self, module: &Rc<Module>, keyword: &Keyword, place: &str) -> Result<String, PlainError> {
        let value = self.value(module, &keyword.value, place)?;
        Ok(match &keyword.arg {
            Some(name) => format!("{name}={value}"),
            None => format!("**{value}"),
        })
    }

    /// A value of `--init`, whose names are those of the file.
    fn value(&mut self, module: &Rc<Module>, value: &Expr, place: &str) -> Result<String, PlainError> {
        let said = Translator::new(self, module.clone(), None, Standing::Free).constant(value);
        said.map_err(|fault| PlainError::Arguments {
            place: place.to_owned(),
            message: format!("--init: {}", fault.message),
        })
    }

    /// The class of a config that a parameter takes: the one of its annotation, or the only one that the file has.
    fn config_of(&self, file: &Rc<Module>, parameters: &Parameters, name: &str) -> Result<Option<Defined>, Fault> {
        let parameter = parameters.iter_non_variadic_params().find(|parameter| parameter.name().as_str() == name);
        let annotation = parameter.and_then(|parameter| parameter.parameter.annotation.as_deref());
        let dotted = annotation.and_then(|annotation| self.world.dotted(file, annotation, &|_| false));
        if let Some(dotted) = dotted
            && let Some(Meaning::Class(defined)) = self.world.definition(&dotted)?
        {
            return Ok(Some(defined));
        }
        if annotation.is_some() || !["config", "cfg", "args", "conf", "hparams", "params"].contains(&name) {
            return Ok(None);
        }
        let mut found = Vec::new();
        for (name, binding) in &file.bindings {
            let dotted = match binding {
                Binding::Class(_) => format!("{}.{name}", file.name),
                Binding::Import(dotted) => dotted.clone(),
                _ => continue,
            };
            let Some(Meaning::Class(defined)) = self.world.definition(&dotted)? else { continue };
            let lineage = Lineage::of(&self.world, &defined.module, &defined.class)?;
            let is_config = is_dataclass(&defined.class) || name.ends_with("Config") || name.ends_with("Args");
            if is_config && !self.is_module(&lineage) {
                found.push(defined);
            }
        }
        Ok(if found.len() == 1 { found.pop() } else { None })
    }

    /// The call that makes a config, with the entries that are given.
    fn config_call(
        &mut self,
        module: &Rc<Module>,
        defined: &Defined,
        entries: &[&Keyword],
        place: &str,
    ) -> Result<String, PlainError> {
        let lineage = Lineage::of(&self.world, &defined.module, &defined.class)?;
        let takes = match lineage.method("__init__", 0) {
            Some(init) => Takes::of(&init.function().parameters, true),
            None => {
                let fields = fields_of(&lineage).into_iter().map(|(name, default)| (name, default.is_none()));
                Takes { names: fields.collect(), positional: 0, takes_more: false }
            }
        };
        let called = defined.class.name.to_string();
        let mut said = Vec::new();
        for keyword in entries {
            if let Some(name) = keyword.arg.as_ref().filter(|name| !takes.takes_more && !takes.has(name.as_str())) {
                let message = format!("{called} has no `{name}`: it has {}", takes.listed());
                return Err(PlainError::Arguments { place: place.to_owned(), message });
            }
            said.push(self.named(module, keyword, place)?);
        }
        let is_given =
            |name: &str| entries.iter().any(|keyword| keyword.arg.as_ref().is_some_and(|arg| arg.as_str() == name));
        if let Some((name, _)) = takes.names.iter().find(|(name, required)| *required && !is_given(name)) {
            let message = format!("{called} needs `{name}`: give --init {name}=...; it has {}", takes.listed());
            return Err(PlainError::Arguments { place: place.to_owned(), message });
        }
        let class = self.want_class(defined.clone());
        Ok(format!("{class}({})", said.join(", ")))
    }
}

/// How a model is made.
struct Made {
    text: String,
    class: Option<Lineage>,
}
