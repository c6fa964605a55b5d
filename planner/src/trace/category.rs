//! What memory is for.

use serde::{Deserialize, Serialize};

/// What memory is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub enum Category {
    /// The model's weights.
    Parameters,
    /// Gradients of parameters.
    Gradients,
    /// What the optimizer keeps between steps.
    OptimizerStates,
    /// Results of the forward pass that the backward pass needs.
    SavedActivations,
    /// All that lives only for a while: intermediate results, scratch memory of kernels.
    Temporaries,
    /// cuBLAS's own memory, kept until the process ends.
    Workspace,
    /// Keys and values of past tokens.
    KvCache,
    /// Token ids, labels.
    Inputs,
    /// The model's buffers.
    Buffers,
    /// What data parallel training gathers and reduces in, beside the collectives' own buffers.
    Communication,
}

/// How many categories there are.
pub const CATEGORIES: usize = Category::ALL.len();

impl Category {
    /// Every category, in the order in which reports list them.
    pub const ALL: [Category; 10] = [
        Category::Parameters,
        Category::Gradients,
        Category::OptimizerStates,
        Category::SavedActivations,
        Category::Temporaries,
        Category::Workspace,
        Category::KvCache,
        Category::Inputs,
        Category::Buffers,
        Category::Communication,
    ];

    /// The name as a key: `kv_cache`.
    pub fn key(self) -> String {
        self.name().to_ascii_lowercase().replace(' ', "_")
    }

    /// The name that people read.
    pub fn name(self) -> &'static str {
        match self {
            Category::Parameters => "parameters",
            Category::Gradients => "gradients",
            Category::OptimizerStates => "optimizer states",
            Category::SavedActivations => "saved activations",
            Category::Temporaries => "temporaries",
            Category::Workspace => "workspace",
            Category::KvCache => "KV cache",
            Category::Inputs => "inputs",
            Category::Buffers => "buffers",
            Category::Communication => "communication",
        }
    }
}

/// Whose keys and values memory holds, where it is not a layer's that sees all tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cached {
    /// A layer's with a sliding window.
    Window,
    /// The encoder's.
    Cross,
}
