//! What a checkpoint holds: totals by dtype, and a tree of modules in which layers that are alike stand once.
//!
//! ```text
//! model.layers.0.mlp.up_proj.weight            model                    300 parameters
//! model.layers.1.mlp.up_proj.weight     ->       layers.[0-1]  x2       200
//! model.norm.weight                                mlp.up_proj.weight   200
//!                                                norm.weight            100
//! ```
//!
//! Names are split at dots. Siblings with whole numbers for names fold into one if they are alike: the same names below
//! them, with the same dtypes and shapes. `text` shows an inspection, and so does `report::inspect` as JSON; it is computed here.

mod fold;
mod text;
mod tree;

use std::collections::BTreeMap;

pub use text::text;

use super::checkpoint::Checkpoint;
use super::header::Dtype;
use crate::bytes::Bytes;

/// A checkpoint's content at a glance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// How many files hold it.
    pub files: usize,
    /// Everything together.
    pub total: Total,
    /// By dtype, most bytes first.
    pub dtypes: Vec<(Dtype, Total)>,
    /// The modules; the root has no name.
    pub root: Module,
}

/// A module, a tensor, or both, with all that is below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// One segment of a name; of a folded module `[0-31]`.
    pub name: String,
    /// The siblings that are folded into this module, as inclusive ranges; none where it stands for itself.
    pub indices: Vec<(u64, u64)>,
    /// How many siblings it stands for, itself included.
    pub copies: u64,
    /// The tensor of this very name.
    pub tensor: Option<Leaf>,
    /// All tensors at and below this module, of all copies (and of all copies of the modules above).
    pub total: Total,
    /// What is below, in natural order: numbers by value, then names.
    pub children: Vec<Module>,
}

/// A tensor's kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leaf {
    /// The type of its elements.
    pub dtype: Dtype,
    /// Its dimensions.
    pub shape: Vec<u64>,
}

/// Sums over tensors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// How many tensors.
    pub tensors: u64,
    /// How many elements they have.
    pub parameters: u64,
    /// Bytes that they take.
    pub bytes: Bytes,
}

impl Total {
    /// Sums saturate; those of a checkpoint that was read never get there.
    fn add(&mut self, other: Total) {
        self.tensors = self.tensors.saturating_add(other.tensors);
        self.parameters = self.parameters.saturating_add(other.parameters);
        self.bytes = Bytes(self.bytes.0.saturating_add(other.bytes.0));
    }
}

/// Sums up a checkpoint.
pub fn inspect(checkpoint: &Checkpoint) -> Inspection {
    let mut dtypes: BTreeMap<Dtype, Total> = BTreeMap::new();
    let mut total = Total::default();
    for tensor in checkpoint.tensors.values() {
        let one = Total { tensors: 1, parameters: tensor.elements(), bytes: tensor.bytes };
        dtypes.entry(tensor.dtype).or_default().add(one);
        total.add(one);
    }
    let mut dtypes: Vec<_> = dtypes.into_iter().collect();
    dtypes.sort_by_key(|(_, total)| std::cmp::Reverse(total.bytes));
    let root = fold::fold(tree::tree(checkpoint));
    Inspection { files: checkpoint.files.len(), total, dtypes, root }
}
