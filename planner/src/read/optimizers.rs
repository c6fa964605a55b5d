//! The optimizers: what each keeps and what its step allocates, written as PyTorch's Python has it (`specs/optimizers`).
//!
//! ```text
//! specs/optimizers/adam.yaml:   optimizers: {adamw: {step: adam_step, options: ..., fixed: ...}}   functions: adam_step(...): ...
//! --optimizer adamw,fused=true  -- choose -->  Optimizer: options with their values, functions to run at each step
//! ```

use std::path::Path;
use std::sync::{Arc, LazyLock, OnceLock};

use indexmap::IndexMap;
use rustc_hash::FxHashMap;
use serde::Deserialize;

use super::spec::changes::SpecChange;
use super::spec::read_text;
use super::spec::syntax::{Function, Position};
use super::spec::{self, SpecError};
use super::specs;
use crate::run::OptimizerChoice;
use crate::words::{names, quote};

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
    pub settings: Vec<(Arc<str>, Setting)>,
    /// The function that runs when it is made.
    pub init: Option<Arc<Function>>,
    /// The function that runs at each step.
    pub step: Arc<Function>,
    /// The functions of its file.
    functions: Arc<Functions>,
    /// Gradient clipping and the loss scaler, once one of them was asked for.
    companions: OnceLock<Arc<Functions>>,
}

type Functions = FxHashMap<Arc<str>, Arc<Function>>;

impl Optimizer {
    /// The function of that name which its code may call.
    pub fn function(&self, name: &str) -> Option<Arc<Function>> {
        let companion = || match (self.companions.get()?, name) {
            (_, "optimizer_step") => Some(&self.step),
            (companions, _) => companions.get(name),
        };
        self.functions.get(name).or_else(companion).cloned()
    }

    /// A function that every optimizer may be used with: gradient clipping, or one of the loss scaler's.
    ///
    /// # Errors
    /// A wrong spec, or a function that it lacks.
    pub fn companion(&self, name: &str) -> Result<Arc<Function>, SpecError> {
        if self.companions.get().is_none() {
            let read = companions()?;
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
    #[error("{} is no optimizer: {}", quote::quoted(.name), names::nearest_few(name, known, "specs/optimizers/ has all"))]
    Unknown {
        /// The word that was given.
        name: String,
        /// The names of all.
        known: Vec<String>,
    },
    /// The optimizer has no such option.
    #[error("{optimizer} has no option `{}`: it has {known}", quote::cut(.key))]
    Option {
        /// The optimizer.
        optimizer: String,
        /// The word or number that was given.
        key: String,
        /// The words that are accepted.
        known: String,
    },
    /// The option cannot have this value.
    #[error("{optimizer}: {key}={}: it must be {wanted}", quote::cut(.value))]
    Value {
        /// The optimizer.
        optimizer: String,
        /// The option.
        key: String,
        /// The word or number that was given.
        value: String,
        /// The words that are accepted.
        wanted: &'static str,
    },
    /// A spec is wrong.
    #[error(transparent)]
    Spec(#[from] SpecError),
}

#[derive(Debug, Deserialize)]
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

#[derive(Clone, Debug, Deserialize)]
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

/// A file of optimizers, with its code parsed.
#[derive(Debug)]
struct OptimizerFile {
    file: Arc<str>,
    text: FileText,
    functions: Arc<Functions>,
    digest: u32,
}

impl OptimizerFile {
    fn read(file: &Arc<str>, text: &str) -> Result<OptimizerFile, SpecError> {
        let parsed: FileText = spec::yaml(file, text)?;
        let functions = spec::functions(&parsed.functions, file, text)?.into_iter();
        let functions = functions.map(|function| (Arc::from(function.name.as_str()), Arc::new(function))).collect();
        let digest = crc32fast::hash(text.as_bytes());
        Ok(OptimizerFile { file: file.clone(), text: parsed, functions: Arc::new(functions), digest })
    }

    /// The entry of an optimizer by its folded name or alias.
    fn find(&self, folded_name: &str) -> Option<(&str, &OptimizerText)> {
        let is = |name: &str, entry: &OptimizerText| {
            folded(name) == folded_name || entry.aliases.iter().any(|alias| folded(alias) == folded_name)
        };
        self.text.optimizers.iter().find(|(name, entry)| is(name, entry)).map(|(name, entry)| (&**name, entry))
    }

    /// An optimizer of this file with its options.
    fn ready(&self, choice: &OptimizerChoice, name: &str, entry: &OptimizerText) -> Result<Optimizer, OptimizerError> {
        let function = |wanted: &String| {
            let missing = format!("{name}: there is no function `{wanted}`");
            let missing = || SpecError::new(&self.file, Position::default(), &missing);
            self.functions.get(wanted.as_str()).cloned().ok_or_else(missing)
        };
        Ok(Optimizer {
            name: name.to_owned(),
            source: self.text.source.clone(),
            digest: self.digest,
            when_sharded: self.text.when_sharded.clone(),
            settings: settings(choice, name, entry)?,
            init: entry.init.as_ref().map(function).transpose()?,
            step: function(&entry.step)?,
            functions: self.functions.clone(),
            companions: OnceLock::new(),
        })
    }
}

/// A file that the program carries; it is parsed once in a process, when one of its optimizers is first asked for.
struct Shipped {
    file: Arc<str>,
    text: &'static str,
    folded: String,
    parsed: OnceLock<Arc<OptimizerFile>>,
}

static SHIPPED: LazyLock<Vec<Shipped>> = LazyLock::new(|| {
    let shipped = |(path, text): (&'static str, &'static str)| Shipped {
        file: format!("specs/{path}").into(),
        text,
        folded: folded(text),
        parsed: OnceLock::new(),
    };
    specs::embedded_files("optimizers").into_iter().map(shipped).collect()
});

impl Shipped {
    fn parsed(&self) -> Result<Arc<OptimizerFile>, SpecError> {
        if let Some(parsed) = self.parsed.get() {
            return Ok(parsed.clone());
        }
        let parsed = Arc::new(OptimizerFile::read(&self.file, self.text)?);
        Ok(self.parsed.get_or_init(|| parsed).clone())
    }
}

/// The functions of gradient clipping and of the loss scaler, read once in a process.
fn companions() -> Result<Arc<Functions>, SpecError> {
    static READ: OnceLock<Arc<Functions>> = OnceLock::new();
    if let Some(read) = READ.get() {
        return Ok(read.clone());
    }
    let mut functions = Functions::default();
    for shipped in SHIPPED.iter().filter(|shipped| COMPANIONS.iter().any(|path| shipped.file.ends_with(path))) {
        let own = shipped.parsed()?;
        functions.extend(own.functions.iter().map(|(name, function)| (name.clone(), function.clone())));
    }
    Ok(READ.get_or_init(|| Arc::new(functions)).clone())
}

/// Finds an optimizer by its name, the user's folder first, and gives its options their values.
///
/// # Errors
/// An unknown name or option, a value of the wrong kind, a wrong spec.
pub fn choose(choice: &OptimizerChoice, folder: Option<&Path>) -> Result<Optimizer, OptimizerError> {
    let wanted = folded(&choice.name);
    let own = own_files(folder)?.into_iter().filter(|(_, text)| folded(text).contains(&wanted));
    let own = own.map(|(file, text)| OptimizerFile::read(&file, &text).map(Arc::new));
    let shipped = SHIPPED.iter().filter(|shipped| shipped.folded.contains(&wanted)).map(Shipped::parsed);
    for file in own.chain(shipped) {
        let file = file?;
        if let Some((name, entry)) = file.find(&wanted) {
            return file.ready(choice, name, entry);
        }
    }
    Err(OptimizerError::Unknown { name: choice.name.clone(), known: names(folder)? })
}

/// The optimizers of a file's text, each with its options as the text has them; `file` is for errors.
///
/// # Errors
/// A wrong spec.
pub fn parse(file: &str, text: &str) -> Result<Vec<Optimizer>, OptimizerError> {
    let file = OptimizerFile::read(&file.into(), text)?;
    let ready = |(name, entry): (&String, &OptimizerText)| {
        file.ready(&OptimizerChoice { name: name.clone(), ..OptimizerChoice::default() }, name, entry)
    };
    file.text.optimizers.iter().map(ready).collect()
}

/// Every optimizer's name.
///
/// # Errors
/// A wrong spec.
pub fn names(folder: Option<&Path>) -> Result<Vec<String>, SpecError> {
    let mut names = Vec::new();
    for (file, text) in own_files(folder)? {
        names.extend(OptimizerFile::read(&file, &text)?.text.optimizers.into_keys());
    }
    for shipped in SHIPPED.iter() {
        names.extend(shipped.parsed()?.text.optimizers.keys().cloned());
    }
    Ok(names)
}

/// The files of optimizers of a user's own folder of specs: (file name for messages, text).
fn own_files(folder: Option<&Path>) -> Result<Vec<(Arc<str>, String)>, SpecError> {
    let Some(own) = folder.map(|folder| folder.join("optimizers")).filter(|own| own.is_dir()) else {
        return Ok(Vec::new());
    };
    let fail = |error: std::io::Error| {
        SpecError::new(&own.display().to_string().into(), Position::default(), &error.to_string())
    };
    let mut paths = std::fs::read_dir(&own)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>())
        .map_err(fail)?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    paths.sort_unstable();
    paths.iter().map(|path| Ok((path.display().to_string().into(), read_text(path)?))).collect()
}

fn settings(
    choice: &OptimizerChoice,
    name: &str,
    entry: &OptimizerText,
) -> Result<Vec<(Arc<str>, Setting)>, OptimizerError> {
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
    Ok(all.map(|(key, setting)| (Arc::from(key.as_str()), *setting)).collect())
}

fn switch(word: &str) -> Option<Setting> {
    match word.to_ascii_lowercase().as_str() {
        "true" => Some(Setting::Bool(true)),
        "false" => Some(Setting::Bool(false)),
        "none" | "null" => Some(Setting::Default(())),
        _ => None,
    }
}
