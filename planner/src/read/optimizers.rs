//! The optimizers: what each keeps and what its step allocates, written as PyTorch's Python has it (`specs/optimizers`).
//!
//! ```text
//! specs/optimizers/adam.yaml:   optimizers: {adamw: {step: adam_step, options: ..., fixed: ...}}   functions: adam_step(...): ...
//! --optimizer adamw,fused=true  -- choose -->  Optimizer: options with their values, functions to run at each step
//! ```

use std::cell::OnceCell;
use std::path::Path;
use std::rc::Rc;

use indexmap::IndexMap;
use rustc_hash::FxHashMap;
use serde::Deserialize;

use super::spec::changes::SpecChange;
use super::spec::syntax::{Function, Position};
use super::spec::{self, SpecError};
use super::specs;
use crate::choices::UnknownChoice;
use crate::run::OptimizerChoice;

/// The value of an option.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Setting {
    /// `true`, `false`
    Bool(bool),
    /// A number.
    Number(f64),
    /// `null`: as the library decides.
    Default(()),
}

/// An optimizer with its options, ready to run.
#[derive(Debug)]
pub struct Optimizer {
    /// Its name.
    pub name: String,
    /// What it was read from.
    pub source: String,
    /// A digest (CRC-32) of its file's text.
    pub digest: u32,
    /// What a user should know who steps it over FSDP2's shards.
    pub when_sharded: Option<String>,
    /// What its code finds in `group`.
    pub settings: Vec<(Rc<str>, Setting)>,
    /// The function that runs when it is made.
    pub init: Option<Rc<Function>>,
    /// The function that runs at each step.
    pub step: Rc<Function>,
    /// The functions of its file.
    functions: Functions,
    /// Gradient clipping and the loss scaler: read when one of them is first asked for.
    companions: OnceCell<Functions>,
}

type Functions = FxHashMap<Rc<str>, Rc<Function>>;

impl Optimizer {
    /// The function of that name which its code may call.
    pub fn function(&self, name: &str) -> Option<Rc<Function>> {
        self.functions.get(name).or_else(|| self.companions.get()?.get(name)).cloned()
    }

    /// A function that every optimizer may be used with: gradient clipping, or one of the loss scaler's.
    ///
    /// # Errors
    /// A wrong spec, or a function that it lacks.
    pub fn companion(&self, name: &str) -> Result<Rc<Function>, SpecError> {
        if self.companions.get().is_none() {
            let mut read = Functions::default();
            for path in COMPANIONS {
                let text = specs::embedded(path).unwrap_or_default();
                let file: Rc<str> = format!("specs/{path}").into();
                let parsed: FileText = spec::yaml(&file, text)?;
                read.extend(functions(&parsed, &file, text)?);
            }
            read.insert("optimizer_step".into(), self.step.clone());
            self.companions.get_or_init(|| read);
        }
        let missing = || {
            let files = COMPANIONS.map(|path| format!("specs/{path}")).join(", ");
            SpecError::new(&files.into(), Position::default(), &format!("there is no function `{name}`"))
        };
        self.function(name).ok_or_else(missing)
    }
}

/// Why a choice of an optimizer means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptimizerError {
    /// No optimizer has this name.
    #[error(transparent)]
    Unknown(#[from] UnknownChoice),
    /// The optimizer has no such option.
    #[error("{optimizer} has no option `{key}`: it has {known}")]
    Option {
        /// The optimizer.
        optimizer: String,
        /// What was given.
        key: String,
        /// What could be given.
        known: String,
    },
    /// The option cannot have this value.
    #[error("{optimizer}: {key}={value}: it must be {wanted}")]
    Value {
        /// The optimizer.
        optimizer: String,
        /// The option.
        key: String,
        /// What was given.
        value: String,
        /// What could be given.
        wanted: &'static str,
    },
    /// A spec is wrong.
    #[error(transparent)]
    Spec(#[from] SpecError),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    #[serde(rename = "name")]
    _name: String,
    source: String,
    /// Listed for people (`spec/changes.rs`); the code asks for the releases itself.
    #[serde(default, rename = "changes")]
    _changes: Vec<SpecChange>,
    #[serde(default)]
    when_sharded: Option<String>,
    #[serde(default)]
    optimizers: IndexMap<String, OptimizerText>,
    functions: IndexMap<String, String>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct OptimizerText {
    step: String,
    #[serde(default)]
    init: Option<String>,
    #[serde(default)]
    aliases: Vec<String>,
    options: IndexMap<String, Setting>,
    #[serde(default)]
    fixed: IndexMap<String, Setting>,
}

/// Names are compared without case, `_` and `-`: `paged_adamw8bit` is bitsandbytes' `PagedAdamW8bit`.
fn folded(name: &str) -> String {
    name.to_ascii_lowercase().replace(['_', '-'], "")
}

/// What every optimizer may be used with: clipping and the loss scaler, which calls `optimizer_step`.
const COMPANIONS: [&str; 2] = ["optimizers/clip.yaml", "optimizers/grad_scaler.yaml"];

/// Finds an optimizer by its name, the user's folder first, and gives its options their values.
///
/// # Errors
/// An unknown name or option, a value of the wrong kind, a wrong spec.
pub fn choose(choice: &OptimizerChoice, folder: Option<&Path>) -> Result<Optimizer, OptimizerError> {
    let wanted = folded(&choice.name);
    for (file, text) in files(folder)? {
        if !folded(&text).contains(&wanted) {
            continue;
        }
        let parsed: FileText = spec::yaml(&file, &text)?;
        let found = parsed
            .optimizers
            .iter()
            .find(|(name, text)| folded(name) == wanted || text.aliases.iter().any(|alias| folded(alias) == wanted));
        if let Some((name, entry)) = found {
            return ready(choice, name, entry, &parsed, (&file, &text));
        }
    }
    Err(UnknownChoice { what: "optimizer", word: choice.name.clone(), choices: names(folder)?.join(", ") }.into())
}

/// Every optimizer's name.
///
/// # Errors
/// A wrong spec.
pub fn names(folder: Option<&Path>) -> Result<Vec<String>, SpecError> {
    let mut names = Vec::new();
    for (file, text) in files(folder)? {
        let parsed: FileText = spec::yaml(&file, &text)?;
        names.extend(parsed.optimizers.into_keys());
    }
    Ok(names)
}

fn files(folder: Option<&Path>) -> Result<Vec<(Rc<str>, String)>, SpecError> {
    let mut files = Vec::new();
    if let Some(own) = folder.map(|folder| folder.join("optimizers")).filter(|own| own.is_dir()) {
        let fail = |error: std::io::Error| {
            SpecError::new(&own.display().to_string().into(), Position::default(), &error.to_string())
        };
        let mut paths = std::fs::read_dir(&own)
            .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>())
            .map_err(fail)?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
        paths.sort_unstable();
        for path in paths {
            files.push((path.display().to_string().into(), std::fs::read_to_string(&path).map_err(fail)?));
        }
    }
    let embedded = specs::embedded_files("optimizers");
    files.extend(embedded.into_iter().map(|(path, text)| (format!("specs/{path}").into(), text.to_owned())));
    Ok(files)
}

fn ready(
    choice: &OptimizerChoice,
    name: &str,
    entry: &OptimizerText,
    parsed: &FileText,
    (file, text): (&Rc<str>, &str),
) -> Result<Optimizer, OptimizerError> {
    let functions = functions(parsed, file, text)?;
    let function = |wanted: &String| {
        let missing = || SpecError::new(file, Position::default(), &format!("{name}: there is no function `{wanted}`"));
        functions.get(wanted.as_str()).cloned().ok_or_else(missing)
    };
    let step = function(&entry.step)?;
    let init = entry.init.as_ref().map(function).transpose()?;
    let settings = settings(choice, name, entry)?;
    Ok(Optimizer {
        name: name.to_owned(),
        source: parsed.source.clone(),
        digest: crc32fast::hash(text.as_bytes()),
        when_sharded: parsed.when_sharded.clone(),
        settings,
        init,
        step,
        functions,
        companions: OnceCell::new(),
    })
}

fn functions(parsed: &FileText, file: &Rc<str>, text: &str) -> Result<Functions, SpecError> {
    let functions = spec::functions(&parsed.functions, file, text)?.into_iter();
    Ok(functions.map(|function| (Rc::from(function.name.as_str()), Rc::new(function))).collect())
}

fn settings(
    choice: &OptimizerChoice,
    name: &str,
    entry: &OptimizerText,
) -> Result<Vec<(Rc<str>, Setting)>, OptimizerError> {
    let mut options = entry.options.clone();
    for (key, value) in &choice.options {
        let Some(setting) = options.get_mut(key) else {
            let known = entry.options.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(OptimizerError::Option { optimizer: name.to_owned(), key: key.clone(), known });
        };
        let (parsed, wanted) = match setting {
            Setting::Number(_) => (value.parse().ok().filter(|n: &f64| n.is_finite()).map(Setting::Number), "a number"),
            Setting::Bool(_) => (switch(value).filter(|s| *s != Setting::Default(())), "true or false"),
            Setting::Default(()) => (switch(value), "true, false or none"),
        };
        let wrong =
            || OptimizerError::Value { optimizer: name.to_owned(), key: key.clone(), value: value.clone(), wanted };
        *setting = parsed.ok_or_else(wrong)?;
    }
    let all = options.iter().chain(&entry.fixed);
    Ok(all.map(|(key, setting)| (Rc::from(key.as_str()), *setting)).collect())
}

fn switch(word: &str) -> Option<Setting> {
    match word.to_ascii_lowercase().as_str() {
        "true" => Some(Setting::Bool(true)),
        "false" => Some(Setting::Bool(false)),
        "none" | "null" => Some(Setting::Default(())),
        _ => None,
    }
}
