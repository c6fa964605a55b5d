//! Names of GPUs: what people write differently does not matter, and what they misspell is told apart.

use super::Gpu;
use crate::words::nearest::edits;

/// A name without what people write differently: only letters and digits, in lower case, no maker and no brand.
pub(super) fn fold(name: &str) -> String {
    let letters: String = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    letters.replace("nvidia", "").replace("geforce", "")
}

/// A folded name without the line of products before its number: people say 4090 and a6000.
fn stem(folded: &str) -> &str {
    ["quadrortx", "rtx"].into_iter().find_map(|line| folded.strip_prefix(line)).unwrap_or(folded)
}

impl Gpu {
    /// Its key and aliases, folded.
    fn short_names(&self) -> impl Iterator<Item = String> {
        std::iter::once(&self.key).chain(&self.aliases).map(|name| fold(name))
    }

    /// Whether its key or an alias is this folded name.
    pub(super) fn has_name(&self, folded: &str) -> bool {
        self.short_names().any(|name| name == folded)
    }

    /// The same where the line of products may be left out, and its memory may follow: `4090`, `rtx4090-24gb`.
    pub(super) fn has_number(&self, folded: &str) -> bool {
        let memory = format!("{}gb", self.memory.nominal.0 >> 30);
        let wanted = folded.strip_suffix(&*memory).unwrap_or(folded);
        [folded, wanted].into_iter().any(|wanted| self.short_names().any(|name| stem(&name) == stem(wanted)))
    }

    /// Whether it may be meant by a folded name that leaves out how much memory it has, and of which form it is.
    pub(super) fn is_kind_of(&self, folded: &str) -> bool {
        let name = fold(&self.key);
        let rest = stem(&name).strip_prefix(stem(folded)).or(fold(&self.name).strip_prefix(folded)).map(str::to_owned);
        rest.is_some_and(|mut rest| {
            FORMS.into_iter().for_each(|form| rest = rest.replace(form, ""));
            let digits = rest.strip_suffix("gb").unwrap_or(&rest);
            digits.is_empty() == (digits.len() == rest.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
        })
    }
}

/// What tells cards of one name apart, beside their memory.
const FORMS: [&str; 5] = ["pcie", "sxm", "nvl", "maxq", "server"];

/// Whose GPUs are none of NVIDIA's, by how their names begin.
const OTHERS: [(&str, &[&str]); 5] = [
    ("AMD's", &["mi2", "mi3", "mi4", "rx5", "rx6", "rx7", "rx9", "radeon", "instinct", "amd", "gfx"]),
    ("Apple's", &["apple", "mps"]),
    ("Google's", &["tpu", "v2", "v3", "v4", "v5", "v6", "trillium", "ironwood"]),
    ("Intel's", &["gaudi", "arc", "pvc", "ponte", "intel", "max1"]),
    ("Amazon's", &["trn", "inf", "trainium", "inferentia"]),
];

/// Who makes a processor of this name, where that is not NVIDIA.
pub(super) fn other_maker(name: &str) -> Option<&'static str> {
    let folded = fold(name);
    let chip = folded.strip_prefix('m').and_then(|rest| rest.strip_prefix(|digit: char| digit.is_ascii_digit()));
    if chip.is_some_and(|rest| ["", "pro", "max", "ultra"].contains(&rest)) {
        return Some("Apple's");
    }
    let made = |(_, begins): &&(&str, &[&str])| begins.iter().any(|begin| folded.starts_with(begin));
    OTHERS.iter().find(made).map(|(maker, _)| *maker)
}

/// How far a name is from a GPU's nearest name; a beginning of one ("a100") or a part of one is nearer than any
/// misspelling.
pub(super) fn distance_to(gpu: &Gpu, folded: &str) -> usize {
    let names = gpu.aliases.iter().chain([&gpu.key, &gpu.name]).map(|name| fold(name));
    let distance = |name: String| {
        let begins = folded.len() > 1 && name.starts_with(folded);
        let within = folded.len() > 2 && name.contains(folded);
        if begins || within { usize::from(!begins) } else { edits(name.as_bytes(), folded.as_bytes()) }
    };
    names.map(distance).min().unwrap_or(usize::MAX)
}
