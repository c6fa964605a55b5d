//! Whether a checkpoint holds what an architecture has, under the names that transformers looks for.
//!
//! A stored name may lack the base model's prefix (`h.0.attn.c_attn.weight`), or have one that the architecture lacks; old
//! names (`LayerNorm.gamma`) are renamed; tensors that are parts of one parameter are merged; stored buffers that the model
//! makes itself are passed over; a tied parameter may be absent or stored twice (transformers 5.17.0, core_model_loading.py and
//! conversion_mapping.py).

use std::path::PathBuf;

use indexmap::IndexMap;
use rustc_hash::{FxHashMap, FxHashSet};

use super::{Model, ModelError, stored};
use crate::dtype::Dtype;
use crate::graph::Parameter;
use crate::read::checkpoint::{Checkpoint, StoredTensor};
use crate::read::header;
use crate::read::spec::Architecture;
use crate::words::quote;

/// How far a checkpoint and an architecture agree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    /// Parameters that the checkpoint lacks: they would be newly initialised.
    pub missing: Vec<String>,
    /// Stored tensors that the architecture has no use for.
    pub unexpected: Vec<String>,
    /// Elements of the missing parameters.
    pub missing_elements: u64,
    /// Elements of the unexpected tensors.
    pub unexpected_elements: u64,
    /// Elements of all parameters that checkpoints of the architecture hold.
    pub elements: u64,
}

impl Agreement {
    /// What is wrong, where the checkpoint and the architecture differ by more than a tenth of the parameters: more than a new head.
    pub fn mismatch(&self) -> Option<String> {
        let beyond = |part: u64| u128::from(part) * 10 > u128::from(self.elements);
        let share = |part: u64| 100.0 * part as f64 / self.elements.max(1) as f64;
        let missing = (self.missing_elements, &self.missing, "parameters are missing: ");
        let unexpected = (self.unexpected_elements, &self.unexpected, "parameters' size is stored without use: ");
        let said = [missing, unexpected].into_iter().filter(|(part, ..)| beyond(*part)).map(|(part, names, what)| {
            let first = names.first().map_or("", String::as_str);
            format!("{:.1} % of its {what}{}, ...", share(part), quote::quoted(first))
        });
        Some(said.collect::<Vec<_>>().join(", and ")).filter(|said| !said.is_empty())
    }

    /// Refuses a checkpoint that is no model of the architecture.
    ///
    /// # Errors
    /// A mismatch.
    pub fn check(&self, model: &Model, architecture: &Architecture) -> Result<(), ModelError> {
        let file = model.weights.as_ref().and_then(|weights| weights.files.first());
        match (self.mismatch(), file) {
            (Some(what), Some(file)) => {
                Err(ModelError::Mismatch { file: file.path.clone(), architecture: architecture.name.clone(), what })
            }
            _ => Ok(()),
        }
    }
}

fn elements(shape: &[u64]) -> u64 {
    shape.iter().fold(1, |product: u64, &size| product.saturating_mul(size))
}

/// The type of the first stored weights that are floating-point numbers.
pub(super) fn first_floating(weights: &Checkpoint) -> Option<Dtype> {
    weights.tensors.values().find_map(|tensor| floating(tensor.dtype))
}

/// The type of stored weights, where they are floating-point numbers.
pub(super) fn floating(dtype: header::Dtype) -> Option<Dtype> {
    match dtype {
        header::Dtype::F32 => Some(Dtype::F32),
        header::Dtype::F16 => Some(Dtype::F16),
        header::Dtype::BF16 => Some(Dtype::BF16),
        header::Dtype::F64 => Some(Dtype::F64),
        _ => None,
    }
}

/// Compares the stored tensors with the parameters of the model.
///
/// # Errors
/// A stored tensor of another shape; a checkpoint that holds nothing of the model.
pub fn agree(model: &Model, architecture: &Architecture, parameters: &[Parameter]) -> Result<Agreement, ModelError> {
    let Some(weights) = &model.weights else { return Ok(Agreement::default()) };
    let expected = expected(parameters);
    let mut found: FxHashSet<&str> = FxHashSet::default();
    let (mut unexpected, mut unexpected_elements) = (Vec::new(), 0u64);
    let mut parts = Parts::default();
    for (stored, tensor) in &weights.tensors {
        match meant(stored, architecture, &expected) {
            Some(Meant { parameter, .. }) => {
                let parameter = &parameters[parameter];
                found.insert(&parameter.name);
                check_shape(model, architecture, stored, tensor, parameter)?;
            }
            None if stored::beside(stored, |weight| {
                meant(weight, architecture, &expected).map(|meant| &parameters[meant.parameter])
            })
            .is_some() => {}
            None if parts.add(stored, tensor, architecture, &expected) => {}
            None if architecture.ignored.iter().any(|pattern| pattern.is_match(stored)) => {}
            None => {
                unexpected.push(stored.clone());
                unexpected_elements = unexpected_elements.saturating_add(tensor.elements());
            }
        }
    }
    for (&parameter, part) in &parts.0 {
        let parameter = &parameters[parameter];
        found.insert(&parameter.name);
        part.check(model, architecture, parameter)?;
    }
    let stored = || parameters.iter().filter(|parameter| parameter.stored);
    let missing = || stored().filter(|parameter| !found.contains(parameter.name.as_str()));
    let sum = |sizes: u64, parameter: &Parameter| sizes.saturating_add(elements(&parameter.shape));
    match (parameters.first(), weights.tensors.first()) {
        (Some(first), Some((stored, _))) if found.is_empty() => Err(ModelError::NothingFits {
            architecture: architecture.name.clone(),
            parameters: parameters.len(),
            first: first.name.clone(),
            stored: stored.clone(),
        }),
        _ => Ok(Agreement {
            missing: missing().map(|parameter| parameter.name.clone()).collect(),
            unexpected,
            missing_elements: missing().fold(0, sum),
            unexpected_elements,
            elements: stored().fold(0, sum),
        }),
    }
}

/// Parameters by their names, with their positions.
pub(super) type Expected<'a> = FxHashMap<&'a str, usize>;

pub(super) fn expected(parameters: &[Parameter]) -> Expected<'_> {
    parameters.iter().enumerate().map(|(number, parameter)| (parameter.name.as_str(), number)).collect()
}

/// The parameter that a stored tensor is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meant {
    /// Its position.
    pub parameter: usize,
    /// Whether it has another name in the model.
    pub renamed: bool,
    /// Whether it is meant by the name of a parameter that is tied to it.
    pub tied: bool,
}

/// The parameter that is meant by a stored name.
pub(super) fn meant(stored: &str, architecture: &Architecture, expected: &Expected<'_>) -> Option<Meant> {
    candidates(stored, architecture).into_iter().find_map(|name| {
        let renamed = name != stored;
        let own = expected.get(name.as_str()).map(|&parameter| Meant { parameter, renamed, tied: false });
        own.or_else(|| {
            let other = tied_to(&name, architecture)?;
            expected.get(other.as_str()).map(|&parameter| Meant { parameter, renamed, tied: true })
        })
    })
}

/// The tensors that are parts of parameters, by these.
#[derive(Default)]
struct Parts<'a>(IndexMap<usize, Part<'a>>);

/// The parts of a parameter: the first, and what all hold.
struct Part<'a> {
    first: (&'a str, &'a StoredTensor),
    elements: u64,
}

impl<'a> Parts<'a> {
    /// Counts a stored tensor where it is a part.
    fn add(
        &mut self,
        stored: &'a str,
        tensor: &'a StoredTensor,
        architecture: &Architecture,
        expected: &Expected<'_>,
    ) -> bool {
        let whole = architecture.merged.iter().find_map(|(pattern, with)| {
            let name = pattern.is_match(stored).then(|| pattern.replace(stored, with))?;
            meant(&name, architecture, expected)
        });
        if let Some(Meant { parameter, .. }) = whole {
            let part = self.0.entry(parameter).or_insert(Part { first: (stored, tensor), elements: 0 });
            part.elements = part.elements.saturating_add(tensor.elements());
        }
        whole.is_some()
    }
}

impl Part<'_> {
    fn check(&self, model: &Model, architecture: &Architecture, parameter: &Parameter) -> Result<(), ModelError> {
        let expected = parameter.shape.iter().product();
        if self.elements == expected {
            return Ok(());
        }
        let (name, first) = self.first;
        Err(ModelError::Parts {
            file: file_of(model, first),
            name: name.to_owned(),
            stored: self.elements,
            parameter: parameter.name.clone(),
            expected,
            architecture: architecture.name.clone(),
        })
    }
}

/// The path of the file that holds a tensor.
pub(super) fn file_of(model: &Model, stored: &StoredTensor) -> PathBuf {
    let files = model.weights.as_ref().map(|weights| &weights.files);
    files.and_then(|files| files.get(stored.file.0 as usize)).map(|file| file.path.clone()).unwrap_or_default()
}

fn check_shape(
    model: &Model,
    architecture: &Architecture,
    name: &str,
    stored: &StoredTensor,
    parameter: &Parameter,
) -> Result<(), ModelError> {
    if stored.shape[..] == parameter.shape[..] {
        return Ok(());
    }
    Err(ModelError::Shape {
        file: file_of(model, stored),
        name: name.to_owned(),
        stored: stored.shape.clone(),
        expected: parameter.shape.to_vec(),
        architecture: architecture.name.clone(),
    })
}

/// The names under which a stored tensor may be meant, the likeliest first.
fn candidates(stored: &str, architecture: &Architecture) -> Vec<String> {
    let mut names = vec![stored.to_owned()];
    for (old, new) in [("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias")] {
        if stored.contains(old) {
            names.push(stored.replace(old, new));
        }
    }
    let rename = |name: String, (pattern, with): &(regex::Regex, String)| pattern.replace(&name, with).into_owned();
    let renamed = architecture.renamed.iter().fold(stored.to_owned(), rename);
    if renamed != stored {
        names.push(renamed);
    }
    let prefix = format!("{}.", architecture.base_prefix);
    if prefix.len() > 1 {
        let prefixed: Vec<String> = names
            .iter()
            .map(|name| match name.strip_prefix(&prefix) {
                Some(bare) => bare.to_owned(),
                None => format!("{prefix}{name}"),
            })
            .collect();
        names.extend(prefixed);
    }
    names
}

fn tied_to(name: &str, architecture: &Architecture) -> Option<String> {
    architecture.tied.iter().find(|(tied, _)| tied == name).map(|(_, other)| other.clone())
}
