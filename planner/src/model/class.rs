//! A class of torch.nn in a file of the user's own: `model.py:Net`. The file is read, never run, with what it imports beside it.
//!
//! ```text
//! model.py:Net, --init depth=12, --input x=float32[batch,3,224,224]
//!      -> import -> a spec in memory, whose lines say where in model.py they stand -> Family
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use import::plain::{Forward, PlainError, Wanted};
use import::{Import, Names, Sources, World};

use super::export::{Dimension, Exported, Input, Origin, Symbol};
use super::places;
use super::{Model, ModelError};
use crate::files;
use crate::graph;
use crate::read::spec::Shelf;
use crate::run::{Construction, GivenInput, GivenInputs, GivenSize};
use crate::words::nearest::nearest;

/// A file with the class that is meant, if one is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassPlace {
    /// The file.
    pub file: PathBuf,
    /// The class, or the function that makes the model.
    pub class: Option<String>,
}

/// Why a class is no model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClassError {
    /// No such file.
    #[error("{}: no such file", file.display())]
    NoFile {
        /// The file.
        file: PathBuf,
    },
    /// No class is named where the file has several, or none.
    #[error("{}: which class? {}", file.display(), listed(file, .has))]
    Unnamed {
        /// The file.
        file: PathBuf,
        /// The classes that it has.
        has: Vec<String>,
    },
    /// The file has no class of that name.
    #[error("{}: there is no class or function `{name}`{}", file.display(), near(.nearest))]
    Missing {
        /// The file.
        file: PathBuf,
        /// The name.
        name: String,
        /// The nearest that it has.
        nearest: Vec<String>,
    },
    /// An input that forward takes and that is not given, or one that it does not take.
    #[error("{0}")]
    Inputs(String),
    /// What the source says.
    #[error("{0}")]
    Source(String),
}

fn listed(file: &Path, classes: &[String]) -> String {
    match classes {
        [] => "it has no class of torch.nn".to_owned(),
        all => {
            let named = all.iter().take(6).map(|class| format!("{}:{class}", file.display()));
            named.collect::<Vec<_>>().join(", ")
        }
    }
}

fn near(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!("; near: {}", names.join(", ")) }
}

/// The class that a model's name means: `model.py:Net`, or `model.py` alone; None where it means none.
pub fn place(name: &str) -> Option<ClassPlace> {
    let is_python = |path: &str| Path::new(path).extension().is_some_and(|extension| extension == "py");
    if is_python(name) {
        return Some(ClassPlace { file: name.into(), class: None });
    }
    let (file, class) = name.rsplit_once(':')?;
    let is_name = !class.is_empty() && class.chars().all(|c| c.is_alphanumeric() || c == '_');
    (is_python(file) && is_name).then(|| ClassPlace { file: file.into(), class: Some(class.to_owned()) })
}

/// Opens the class; `name` is what it is called.
///
/// # Errors
/// No such file or class; a file that is no Python; arguments or inputs that it does not take, or that are missing.
pub fn open(
    name: &str,
    place: &ClassPlace,
    (init, inputs): (&Construction, &GivenInputs),
    shelf: &Shelf,
) -> Result<Model, ModelError> {
    if !place.file.is_file() {
        return Err(ClassError::NoFile { file: place.file.clone() }.into());
    }
    let work = || spec(place, init, inputs);
    let failed = |error: std::io::Error| ClassError::Source(format!("a thread cannot be started: {error}"));
    let (class, text) = import::on_a_deep_stack(work).map_err(failed)??;
    let file: Arc<str> = format!("{}, as a spec", place.file.display()).into();
    let mut family = shelf.family(&file, &text)?;
    places::take_from_source(&mut family, &text);
    let exported = exported(inputs);
    if let Some(architecture) = family.architectures.get_mut(&class) {
        architecture.takes_images = exported.takes_images();
    }
    Ok(Model {
        name: name.to_owned(),
        family,
        exported: Some(exported),
        architecture: class,
        config: serde_json::Map::new(),
        config_file: None,
        dtype: None,
        weights: None,
    })
}

/// The class that is meant, and the text of its spec.
fn spec(place: &ClassPlace, init: &Construction, inputs: &GivenInputs) -> Result<(String, String), ClassError> {
    let source = ClassError::Source;
    let (roots, dotted) = located(&place.file);
    let known = graph::callable_names().map_err(|error| source(error.to_string()))?.into_iter().collect();
    let sources = Sources::with(Vec::new(), files::text).beside(roots);
    let names = Names::plain().map_err(source)?;
    let mut import = Import::new(World { sources, names, known });
    let class = match &place.class {
        Some(class) => class.clone(),
        None => {
            let mut has = import.modules_of(&dotted).map_err(|fault| source(fault.to_string()))?;
            match has.len() {
                1 => has.remove(0),
                _ => return Err(ClassError::Unnamed { file: place.file.clone(), has }),
            }
        }
    };
    let wanted = Wanted { file: &dotted, name: &class, arguments: &init.0 };
    let model = import.plain_model(wanted).map_err(|error| match error {
        PlainError::Missing { has, name, .. } => {
            let nearest = nearest(&name, has.iter().map(String::as_str)).into_iter().map(str::to_owned).collect();
            ClassError::Missing { file: place.file.clone(), name, nearest }
        }
        other => source(other.to_string()),
    })?;
    if let Some(forward) = &model.forward {
        check(forward, inputs)?;
    }
    Ok((class, model.spec(written(inputs))))
}

/// How many folders above a file are looked into for what it imports.
const ABOVE: usize = 4;

/// Where what a file imports is looked for, and what it is called from there: from the folder that holds its package, where it is
/// in one.
fn located(file: &Path) -> (Vec<PathBuf>, String) {
    let mut folder = file.parent().unwrap_or(Path::new("")).to_owned();
    let mut names = vec![file.file_stem().unwrap_or_default().to_string_lossy().into_owned()];
    let mut roots = vec![folder.clone()];
    while folder.join("__init__.py").is_file()
        && let (Some(above), Some(name)) = (folder.parent().map(Path::to_owned), folder.file_name())
    {
        names.insert(0, name.to_string_lossy().into_owned());
        folder = above;
    }
    roots.insert(0, folder.clone());
    for above in folder.ancestors().skip(1).take(ABOVE) {
        roots.push(above.to_owned());
    }
    let mut seen = Vec::new();
    roots.retain(|root| {
        !seen.contains(root) && {
            seen.push(root.clone());
            true
        }
    });
    (roots, names.join("."))
}

/// The inputs against what forward takes.
fn check(forward: &Forward, inputs: &GivenInputs) -> Result<(), ClassError> {
    let place = &forward.place;
    let takes = forward.parameters.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    for name in inputs.0.keys() {
        if !forward.takes_more && !forward.parameters.iter().any(|(known, _)| known == name) {
            return Err(ClassError::Inputs(format!("{place}: forward takes no `{name}`: it takes {takes}")));
        }
    }
    let missing = forward.parameters.iter().find(|(name, required)| *required && !inputs.0.contains_key(name));
    match missing {
        Some((name, _)) => Err(ClassError::Inputs(format!(
            "{place}: forward needs `{name}`: give --input {name}=TYPE[SIZES], such as {name}=float32[8,3,224,224] or \
             {name}=int64[8,512]; it takes {takes}"
        ))),
        None => Ok(()),
    }
}

/// The lines of the function that gives a run's inputs.
fn written(inputs: &GivenInputs) -> Vec<String> {
    let mut entries = Vec::new();
    for (name, input) in &inputs.0 {
        let value = match input {
            GivenInput::Value(text) => text.clone(),
            GivenInput::Tensor(dtype, sizes) => {
                let sizes = sizes.iter().map(|size| match size {
                    GivenSize::Number(number) => number.to_string(),
                    GivenSize::Named(name) => format!("_config.{name}"),
                });
                let sizes = sizes.collect::<Vec<_>>().join(", ");
                format!("as_input(zeros([{sizes}], {}))", dtype.map_or("weights_dtype", |dtype| dtype.name()))
            }
        };
        entries.push(format!("\"{name}\": {value}"));
    }
    let takes_tokens = if exported(inputs).inputs.iter().any(|input| !input.floating) { "True" } else { "False" };
    vec![
        format!("inputs = {{{}}}", entries.join(", ")),
        "if run.mode == \"what_it_returns\":".to_owned(),
        format!("  return {{\"inputs\": inputs, \"takes_tokens\": {takes_tokens}}}"),
        "if not run.labels:".to_owned(),
        "  return inputs".to_owned(),
        "labels = as_input(zeros([_config.labels], int64)) if _config.loss == \"cross-entropy\" else None".to_owned(),
        "return {\"inputs\": inputs, \"labels\": labels}".to_owned(),
    ]
}

/// What is to be known of the inputs: their sizes, and those that a run says.
fn exported(given: &GivenInputs) -> Exported {
    let mut symbols: Vec<Symbol> = Vec::new();
    let mut inputs = Vec::new();
    for (name, input) in &given.0 {
        let GivenInput::Tensor(dtype, sizes) = input else { continue };
        let sizes = sizes.iter().map(|size| match size {
            GivenSize::Number(number) => Dimension::Fixed(*number),
            GivenSize::Named(name) => {
                if !symbols.iter().any(|symbol| symbol.name == *name) {
                    symbols.push(Symbol { name: name.clone(), hint: None, range: (1, None) });
                }
                Dimension::Symbol(name.clone())
            }
        });
        let sizes = sizes.collect();
        let floating = dtype.is_none_or(|dtype| dtype.is_floating());
        inputs.push(Input { name: name.clone(), sizes, dtype: *dtype, floating });
    }
    Exported {
        origin: Origin::Class,
        inputs,
        symbols,
        loss: None,
        has_loss: false,
        scores: Vec::new(),
        training: None,
        has_table: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_means_a_class_where_it_says_a_file_of_python() {
        let found =
            |file: &str, class: Option<&str>| Some(ClassPlace { file: file.into(), class: class.map(str::to_owned) });
        assert_eq!(place("net/model.py:Net"), found("net/model.py", Some("Net")));
        assert_eq!(place("model.py"), found("model.py", None));
        assert_eq!(place("org/model"), None);
        assert_eq!(place("model.py:"), None);
        assert_eq!(place("model.yaml:Net"), None);
    }
}
