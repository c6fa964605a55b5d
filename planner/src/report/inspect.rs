//! An inspection as JSON.

use serde::Serialize;

use super::SCHEMA;
use crate::bytes::Bytes;
use crate::read::inspect::{Inspection, Module, Total};

/// `memplan inspect --format json`.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct InspectionReport {
    /// [`SCHEMA`].
    pub schema: u32,
    /// How many files.
    pub files: usize,
    /// How many tensors.
    pub tensors: u64,
    /// How many elements they have.
    pub parameters: u64,
    /// Bytes that they take.
    pub bytes: Bytes,
    /// By dtype, most bytes first.
    pub dtypes: Vec<DtypeReport>,
    /// The modules at the top.
    pub modules: Vec<ModuleReport>,
}

/// One dtype's tensors.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct DtypeReport {
    /// As safetensors names it: `BF16`.
    pub dtype: String,
    /// How many tensors.
    pub tensors: u64,
    /// How many elements they have.
    pub parameters: u64,
    /// Bytes that they take.
    pub bytes: Bytes,
}

/// One module or tensor; the figures are for all copies together.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct ModuleReport {
    /// One segment of a name, or `[0-31]`.
    pub name: String,
    /// The siblings that it stands for, as inclusive ranges; absent where it stands for itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub indices: Vec<(u64, u64)>,
    /// How many siblings it stands for.
    pub copies: u64,
    /// Of a tensor: its dtype.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dtype: Option<String>,
    /// Of a tensor: its dimensions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shape: Option<Vec<u64>>,
    /// How many tensors.
    pub tensors: u64,
    /// How many elements they have.
    pub parameters: u64,
    /// Bytes that they take.
    pub bytes: Bytes,
    /// What is below.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<ModuleReport>,
}

/// An inspection in the form that is written out.
pub fn report(inspection: &Inspection) -> InspectionReport {
    let Total { tensors, parameters, bytes } = inspection.total;
    let dtypes = inspection.dtypes.iter().map(|(dtype, total)| DtypeReport {
        dtype: dtype.to_string(),
        tensors: total.tensors,
        parameters: total.parameters,
        bytes: total.bytes,
    });
    InspectionReport {
        schema: SCHEMA,
        files: inspection.files,
        tensors,
        parameters,
        bytes,
        dtypes: dtypes.collect(),
        modules: inspection.root.children.iter().map(module).collect(),
    }
}

fn module(module: &Module) -> ModuleReport {
    let Total { tensors, parameters, bytes } = module.total;
    ModuleReport {
        name: module.name.clone(),
        indices: module.indices.clone(),
        copies: module.copies,
        dtype: module.tensor.as_ref().map(|leaf| leaf.dtype.to_string()),
        shape: module.tensor.as_ref().map(|leaf| leaf.shape.clone()),
        tensors,
        parameters,
        bytes,
        children: module.children.iter().map(self::module).collect(),
    }
}
