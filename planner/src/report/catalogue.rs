//! The GPUs and the built-in models, as text and as JSON.

use std::collections::BTreeSet;

use serde::Serialize;

use super::SCHEMA;
use super::table::{Align, list, wrapped};
use crate::bytes::Bytes;
use crate::read::gpus::{Gpu, GpuCatalogue};
use crate::read::spec::{Configuration, Family};

use Align::{Left, Right};

/// `memplan gpus --format json`.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "the keys say it")]
pub struct GpusReport {
    pub schema: u32,
    pub gpus: Vec<GpuLine>,
}

/// A GPU.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "the keys say it")]
pub struct GpuLine {
    pub key: String,
    pub name: String,
    pub aliases: Vec<String>,
    pub memory: Bytes,
    /// The kind of the memory figure's source, who printed it, and one unit of its last digit.
    pub memory_source: String,
    pub memory_from: String,
    pub memory_within: Bytes,
    pub compute_capability: String,
    pub multiprocessors: u32,
    pub memory_bandwidth: Option<f64>,
    pub launched: Option<u32>,
    pub sources: Vec<String>,
}

/// `memplan models --format json`.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "the keys say it")]
pub struct ModelsReport {
    pub schema: u32,
    pub models: Vec<ModelLine>,
    pub families: Vec<FamilyLine>,
}

/// A built-in model.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "the keys say it")]
pub struct ModelLine {
    pub name: String,
    pub architecture: String,
    /// The type of its published weights.
    pub dtype: Option<String>,
    pub source: String,
}

/// A family of architectures.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "the keys say it")]
pub struct FamilyLine {
    pub name: String,
    pub architectures: Vec<String>,
    pub source: String,
}

/// The GPUs in the form that is written out.
pub fn gpus(catalogue: &GpuCatalogue) -> GpusReport {
    GpusReport { schema: SCHEMA, gpus: catalogue.iter().map(gpu).collect() }
}

fn gpu(gpu: &Gpu) -> GpuLine {
    GpuLine {
        key: gpu.key.clone(),
        name: gpu.name.clone(),
        aliases: gpu.aliases.clone(),
        memory: gpu.memory.total,
        memory_source: gpu.memory.source.to_string(),
        memory_from: gpu.memory.from.clone(),
        memory_within: gpu.memory.within,
        compute_capability: gpu.compute_capability.to_string(),
        multiprocessors: gpu.multiprocessors,
        memory_bandwidth: gpu.memory_bandwidth,
        launched: gpu.launched,
        sources: gpu.sources.clone(),
    }
}

/// The GPUs as a table.
pub fn gpus_text(catalogue: &GpuCatalogue) -> String {
    let mut rows = vec![["gpu", "memory", "cc", "source", "name"].map(String::from)];
    rows.extend(catalogue.iter().map(|gpu| {
        let (total, source) = (gpu.memory.total.to_string(), gpu.memory.source.to_string());
        [gpu.key.clone(), total, gpu.compute_capability.to_string(), source, gpu.name.clone()]
    }));
    list([Left, Right, Right, Left, Left], &rows)
}

/// The built-in models in the form that is written out.
pub fn models(families: &[Family]) -> ModelsReport {
    let models = configurations(families).map(|(name, configuration)| ModelLine {
        name: name.to_owned(),
        architecture: configuration.architecture.clone(),
        dtype: configuration.dtype.clone(),
        source: configuration.source.clone(),
    });
    let families = families.iter().map(|family| FamilyLine {
        name: family.name.clone(),
        architectures: family.architectures.keys().cloned().collect(),
        source: family.source.clone(),
    });
    ModelsReport { schema: SCHEMA, models: models.collect(), families: families.collect() }
}

/// The built-in models as a table, and the architectures that folders may have.
pub fn models_text(families: &[Family]) -> String {
    let mut rows = vec![["model", "architecture", "weights", "source"].map(String::from)];
    rows.extend(configurations(families).map(|(name, configuration)| {
        let dtype = configuration.dtype.clone().unwrap_or_default();
        [name.to_owned(), configuration.architecture.clone(), dtype, configuration.source.clone()]
    }));
    let mut text = list([Left; 4], &rows);
    text.push_str("\nfolders of these families can be planned too; --format json has their architectures\n");
    // a family may have several specs
    let names: BTreeSet<&str> = families.iter().map(|family| family.name.as_str()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    text.push_str(&wrapped(&names.join(", "), "  ", "  "));
    text
}

fn configurations(families: &[Family]) -> impl Iterator<Item = (&str, &Configuration)> {
    families.iter().flat_map(|family| family.configurations.iter().map(|(name, found)| (name.as_str(), found)))
}
