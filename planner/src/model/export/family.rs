//! The family of an exported program: a class for each module, with what it holds and does.

use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;
use rustc_hash::FxHashMap;

use super::arguments::dtype;
use super::code::{Code, call, int, list, literal};
use super::error::Problem;
use super::facts::Facts;
use super::flatten::Program;
use super::inputs::{self, Exported};
use super::modules::{Module, Modules, join, split};
use super::tree::Calls;
use super::wire::Size;
use super::write::Writer;
use crate::dtype::Dtype;
use crate::read::spec::syntax::{Expression, Function, Literal, Position, Statement, StatementKind};
use crate::read::spec::{
    Architecture, Buffer, Class, Definition, Family, Field, FieldType, ImageRows, Sdpa, Shelf, SpecError,
};
use crate::words::quote;

/// What a family is made of.
pub struct Parts<'p, 'a> {
    pub program: &'p Program<'a>,
    pub calls: &'p Calls<'a>,
    pub modules: &'p Modules,
    pub facts: &'p Facts,
}

/// The functions that every exported program uses.
///
/// # Errors
/// A wrong spec.
pub fn base(path: &Path, shelf: &Shelf) -> Result<Family, SpecError> {
    let file: Arc<str> = path.display().to_string().into();
    shelf.family(&file, "name: exported\nsource: torch.export\nuses: [exports]\n")
}

/// The class of linear layers, which quantised ones and adapters take the place of.
const LINEAR: &str = "torch.nn.modules.linear.Linear";

/// The global name of a module's class.
fn class_name(path: &str) -> String {
    format!("module {path}")
}

impl<'p, 'a> Parts<'p, 'a> {
    /// Adds the model to the functions that it uses.
    ///
    /// # Errors
    /// What cannot be planned.
    pub fn family(&self, mut family: Family, exported: &Exported) -> Result<Family, Problem> {
        let file = family.file.clone();
        let mut calls: FxHashMap<&str, Vec<usize>> = FxHashMap::default();
        for (number, call) in self.calls.calls.iter().enumerate() {
            calls.entry(call.path).or_default().push(number);
        }
        let (program, modules, facts) = (self.program, self.modules, self.facts);
        let mut writer = Writer { program, calls: self.calls, modules, facts, ways: FxHashMap::default() };
        let mut functions: FxHashMap<&str, Function> = FxHashMap::default();
        // modules that lie deepest first, so that the ways of their calls are known to those that call them
        let mut order: Vec<(&'a str, Vec<usize>)> = Vec::new();
        for call in self.calls.calls.iter().rev() {
            if let Some(numbers) = calls.remove(call.path) {
                order.push((call.path, numbers));
            }
        }
        for (path, numbers) in in_order_of_depth(order, self.calls) {
            let forward = writer.forward(path, &numbers, &file)?;
            writer.ways.extend(forward.ways);
            functions.insert(path, forward.function);
        }
        for (path, module) in &self.modules.0 {
            let class = Arc::new(self.class(path, module, functions.remove(path.as_str()), &file)?);
            family.definitions.insert(class_name(path).into(), Definition::Class(class.clone()));
            if path.is_empty() {
                family.definitions.insert(self.facts.class.as_str().into(), Definition::Class(class));
            }
        }
        for (name, function) in inputs::functions(exported, &file)? {
            family.definitions.insert(name, Definition::Function(Arc::new(function)));
        }
        if let Some(loss) = family.definitions.get("exported_loss_of").cloned() {
            family.definitions.insert("loss_of".into(), loss);
        }
        family.name = "exported".to_owned();
        family.defaults = exported.defaults();
        let architecture = Architecture { takes_images: exported.takes_images(), ..self.architecture() };
        family.architectures = [(self.facts.class.clone(), architecture)].into_iter().collect();
        family.always_ties = true;
        Ok(family)
    }

    fn architecture(&self) -> Architecture {
        let name = |number: &usize| self.program.states[*number].name.to_owned();
        let pairs =
            |group: &Vec<usize>| group[1..].iter().map(|other| (name(other), name(&group[0]))).collect::<Vec<_>>();
        Architecture {
            name: self.facts.class.clone(),
            inputs: inputs::INPUTS.into(),
            made: None,
            base_prefix: String::new(),
            tied: self.facts.tied.iter().flat_map(pairs).collect(),
            ignored: Vec::new(),
            renamed: Vec::new(),
            merged: Vec::new(),
            cache_argument: "past_key_values".into(),
            generates: false,
            keeps_logits: false,
            sdpa: Sdpa::Always,
            takes_images: false,
            images: None,
            takes_text: false,
            image_rows: ImageRows::default(),
            trained_as: None,
        }
    }

    fn class(&self, path: &str, module: &Module, forward: Option<Function>, file: &Arc<str>) -> Result<Class, Problem> {
        let root = path.is_empty();
        let mut constructor = Code::default();
        let parameters = if root { vec![constructor.parameter("config")] } else { Vec::new() };
        let constructor = constructor.function(class_name(path), file.clone(), parameters, Vec::new());
        let written = |write: &dyn Fn(&mut Code) -> Expression| {
            let mut code = Code::default();
            if root {
                code.number("config");
            }
            code.number("self");
            let value = write(&mut code);
            let body = vec![Statement { kind: StatementKind::Return(Some(value)), at: Position::default() }];
            code.function(class_name(path), file.clone(), Vec::new(), body)
        };
        let mut class = Class {
            name: self.class_of(path, module).into(),
            is_module: true,
            is_checkpointing_layer: false,
            constructor,
            init: None,
            attributes: Vec::new(),
            children: Vec::new(),
            elements: FxHashMap::default(),
            parameters: Vec::new(),
            buffers: Vec::new(),
            methods: FxHashMap::default(),
            properties: Default::default(),
        };
        if root {
            class.attributes.push(("config".into(), written(&|code| code.name("config"))));
        }
        for child in &module.children {
            let path = join(path, child);
            class.children.push((child.as_str().into(), written(&|code| self.make(&path, code))));
        }
        for number in &module.states {
            let state = &self.program.states[*number];
            let (shape, dtype) = self.shape(*number)?;
            let shape = written(&|_| list(shape.iter().map(|size| int(*size)).collect()));
            let field = Field { name: split(state.name).1.into(), shape };
            match state.parameter {
                true => class.parameters.push((field, dtype.map(FieldType::always))),
                false => {
                    class.buffers.push(Buffer { field, dtype: dtype.map(FieldType::always), persistent: state.stored })
                }
            }
        }
        if self.calls.classes.get(path) == Some(&LINEAR)
            && !class.parameters.iter().any(|(field, _)| &*field.name == "bias")
        {
            // a layer without a bias has one that is None, for what takes its place
            let shape = written(&|_| literal(Literal::None));
            class.parameters.push((Field { name: "bias".into(), shape }, None));
        }
        class.methods.extend(forward.map(|forward| ("forward".into(), Arc::new(forward))));
        Ok(class)
    }

    fn class_of<'m>(&'m self, path: &str, module: &Module) -> &'m str {
        let called = self.calls.classes.get(path).and_then(|class| class.rsplit('.').next());
        called.unwrap_or(if module.is_list { "ModuleList" } else { "Module" })
    }

    /// A child: a module, or a list of them.
    fn make(&self, path: &str, code: &mut Code) -> Expression {
        match self.modules.0.get(path) {
            Some(module) if module.is_list => {
                list(module.children.iter().map(|child| self.make(&join(path, child), code)).collect())
            }
            _ => {
                let class = code.name(&class_name(path));
                call(class, Vec::new())
            }
        }
    }

    /// The shape of what the model holds, and its type where it is not the weights'.
    fn shape(&self, number: usize) -> Result<(Vec<i64>, Option<Dtype>), Problem> {
        let state = &self.program.states[number];
        let fail = |what: &str| Problem::new(format!("{} {what}", quote::quoted(state.name)));
        let meta = self.program.values[state.value.index()].meta.ok_or_else(|| fail("has no shape"))?;
        let size = |size: &Size<'_>| match size {
            Size::AsInt(number) => Ok(*number),
            Size::AsExpr(_) => Err(fail("has a size that is not fixed")),
        };
        let dtype = dtype(meta.dtype).ok_or_else(|| fail("has a type that is not known"))?;
        Ok((
            meta.sizes.iter().map(size).collect::<Result<_, _>>()?,
            Some(dtype).filter(|dtype| *dtype != self.facts.weights),
        ))
    }
}

/// Modules whose calls lie deepest first.
fn in_order_of_depth<'a>(mut order: Vec<(&'a str, Vec<usize>)>, calls: &Calls<'_>) -> Vec<(&'a str, Vec<usize>)> {
    let depth = |numbers: &[usize]| numbers.iter().map(|number| calls.calls[*number].depth).max().unwrap_or(0);
    order.sort_by_key(|(_, numbers)| std::cmp::Reverse(depth(numbers)));
    order
}

/// Entries of a config.
pub type Entries = IndexMap<String, serde_json::Value>;
