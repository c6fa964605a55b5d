//! Who holds the memory at the peak: modules, and what each of them holds.

use indexmap::IndexMap;

use crate::bytes::Bytes;
use crate::replay::{Replay, ranges, split};
use crate::trace::Category;

/// A module, or several that differ by a layer's number alone: `transformer.h.[0-11].mlp`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The module's path; `the model` for the model itself.
    pub module: String,
    /// All that it holds.
    pub bytes: Bytes,
    /// What that is, largest first: of a plan all, of a file the largest.
    pub tensors: Vec<HeldTensor>,
}

/// Tensors that are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldTensor {
    /// What they are for, with the parameter's name or else the operator: `saved activations addmm`.
    pub name: String,
    /// How many.
    pub count: u64,
    /// Their bytes together.
    pub bytes: Bytes,
}

/// The model's own path.
pub(super) const ROOT: &str = "the model";

type Tensors = IndexMap<(Category, String), HeldTensor>;

/// The holders at a replay's peak, largest first.
pub(super) fn holders(replay: &Replay) -> Vec<Holder> {
    let mut modules: IndexMap<(&str, &str), (Vec<u64>, Tensors)> = IndexMap::new();
    for live in &replay.at_peak {
        let allocation = &replay.trace.allocation(live.id);
        let (module, what) = replay.place(allocation);
        let (before, number, after) = split(module);
        let (numbers, tensors) = modules.entry((before, after)).or_default();
        numbers.extend(number);
        let name = format!("{} {what}", live.category.name());
        let tensor = tensors.entry((live.category, what.to_owned()));
        let tensor = tensor.or_insert(HeldTensor { name, count: 0, bytes: Bytes(0) });
        tensor.count += 1;
        tensor.bytes += allocation.bytes;
    }
    let mut holders: Vec<Holder> =
        modules.into_iter().map(|(path, (numbers, tensors))| holder(path, numbers, tensors)).collect();
    holders.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.module.cmp(&b.module)));
    holders
}

fn holder((before, after): (&str, &str), numbers: Vec<u64>, tensors: Tensors) -> Holder {
    let path = format!("{before}{}{after}", ranges(numbers));
    let mut tensors: Vec<HeldTensor> = tensors.into_values().collect();
    tensors.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
    let bytes = tensors.iter().map(|tensor| tensor.bytes).sum();
    Holder { module: if path.is_empty() { ROOT.to_owned() } else { path }, bytes, tensors }
}
