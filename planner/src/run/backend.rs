//! The kernels of attention.

use std::fmt;

/// An implementation of `scaled_dot_product_attention`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Backend {
    /// cuDNN's fused attention.
    Cudnn,
    /// FlashAttention 2.
    Flash,
    /// The memory-efficient attention of xFormers.
    Efficient,
    /// Composed of PyTorch's own ops.
    Math,
}

const NAMES: [(Backend, &str); 4] =
    [(Backend::Cudnn, "cudnn"), (Backend::Flash, "flash"), (Backend::Efficient, "efficient"), (Backend::Math, "math")];

impl Backend {
    /// The backend of that name.
    pub fn named(name: &str) -> Option<Backend> {
        NAMES.into_iter().find(|(_, known)| *known == name).map(|(backend, _)| backend)
    }

    /// Its name, which [`Backend::named`] knows.
    pub const fn name(self) -> &'static str {
        NAMES[self as usize].1
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
