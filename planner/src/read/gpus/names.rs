//! Names of GPUs: what people write differently does not matter, and what they misspell is told apart.

use super::Gpu;
use crate::words::nearest::edits;

/// A name without what people write differently: only letters and digits, in lower case, no maker and no brand.
pub(super) fn fold(name: &str) -> String {
    let letters: String = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    letters.replace("nvidia", "").replace("geforce", "")
}

/// How far a name is from a GPU's nearest name; a beginning of one ("a100") is nearer than any misspelling.
pub(super) fn distance_to(gpu: &Gpu, folded: &str) -> usize {
    let names = gpu.aliases.iter().chain([&gpu.key, &gpu.name]).map(|name| fold(name));
    let distance = |name: String| {
        let begins = folded.len() > 1 && name.starts_with(folded);
        if begins { 0 } else { edits(name.as_bytes(), folded.as_bytes()) }
    };
    names.map(distance).min().unwrap_or(usize::MAX)
}
