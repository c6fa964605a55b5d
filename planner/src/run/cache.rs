//! How keys and values of past tokens are kept in generation and inference.

use super::{Attention, CacheKind, Mode, Precision, Run, RunError};
use crate::choices::choices;
use crate::dtype::Dtype;

/// The cache of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheChoice {
    /// Which cache; transformers' dynamic one where None is given.
    pub kind: Option<CacheKind>,
    /// The tokens of a sequence that a cache of a fixed size holds; those of the run where None is given.
    pub tokens: Option<u64>,
    /// The tokens of a page.
    pub page_tokens: Option<u64>,
    /// The type of what pages hold; the weights' where None is given.
    pub dtype: Option<CacheDtype>,
}

/// The type of what pages hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheDtype(pub Dtype);

/// Tokens of a page where none are given: vllm's (v1, `CacheConfig.DEFAULT_BLOCK_SIZE`).
pub const PAGE_TOKENS: u64 = 16;

impl CacheChoice {
    /// Which cache.
    pub fn kind(&self) -> CacheKind {
        self.kind.unwrap_or_default()
    }

    /// The tokens of a page.
    pub fn page(&self) -> u64 {
        self.page_tokens.unwrap_or(PAGE_TOKENS)
    }

    /// Refuses what does not go together.
    pub(super) fn check(&self, run: &Run) -> Result<(), RunError> {
        let chosen = [
            ("cache", self.kind.is_some()),
            ("cache-tokens", self.tokens.is_some()),
            ("page-tokens", self.page_tokens.is_some()),
            ("cache-dtype", self.dtype.is_some()),
        ];
        if let (Mode::Train | Mode::EvalWithGrad, Some((what, _))) = (run.mode, chosen.iter().find(|(_, given)| *given))
        {
            return Err(RunError::NotCaching { what, mode: run.mode });
        }
        for (what, value) in [("cache-tokens", self.tokens), ("page-tokens", self.page_tokens)] {
            match value {
                Some(0) => return Err(RunError::Zero { what }),
                Some(value) if value > 1 << 32 => return Err(RunError::TooLarge { what, value, most: 1 << 32 }),
                _ => {}
            }
        }
        self.contradiction(run).map_or(Ok(()), |text| Err(RunError::Contradiction(text)))
    }

    fn contradiction(&self, run: &Run) -> Option<&'static str> {
        if self.kind() != CacheKind::Paged {
            return match self {
                _ if self.page_tokens.is_some() => Some("page-tokens is for pages: give --cache paged"),
                _ if self.dtype.is_some() => {
                    Some("transformers' caches have the type of the keys: cache-dtype is for --cache paged")
                }
                _ if self.tokens.is_some() && self.kind() == CacheKind::Dynamic => {
                    Some("a dynamic cache grows with its tokens: cache-tokens is for --cache static or paged")
                }
                _ => None,
            };
        }
        if run.attention == Some(Attention::Eager) || run.sdpa.is_some() {
            return Some("an engine's own kernels read pages: leave attention and sdpa out with --cache paged");
        }
        let autocast = run.precision.and_then(Precision::autocast);
        autocast.map(|_| "engines do not run under autocast: give --precision fp32, bf16 or fp16 with --cache paged")
    }
}

choices!(CacheDtype, "type of a cache", "fp32" => CacheDtype(Dtype::F32), "bf16" => CacheDtype(Dtype::BF16),
    "fp16" => CacheDtype(Dtype::F16), "fp8" => CacheDtype(Dtype::F8));
