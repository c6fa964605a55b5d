//! How keys and values of past tokens are kept in generation and inference.

use super::{Attention, CacheKind, Mode, Precision, Run, RunError};
use crate::choices::choices;
use crate::dtype::Dtype;

/// The type of what pages hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheDtype(pub Dtype);

/// Tokens of a page where none are given: vllm's (v1, `CacheConfig.DEFAULT_BLOCK_SIZE`).
pub const PAGE_TOKENS: u64 = 16;

impl Run {
    /// Which cache; transformers' dynamic one where none is given.
    pub fn cache_kind(&self) -> CacheKind {
        self.cache.unwrap_or_default()
    }

    /// The tokens of a page.
    pub fn tokens_of_page(&self) -> u64 {
        self.page_tokens.unwrap_or(PAGE_TOKENS)
    }

    /// Refuses choices of a cache that do not go together.
    pub(super) fn check_cache(&self) -> Result<(), RunError> {
        let chosen = [
            ("cache", self.cache.is_some()),
            ("cache-tokens", self.cache_tokens.is_some()),
            ("page-tokens", self.page_tokens.is_some()),
            ("prefill-tokens", self.prefill_tokens.is_some()),
            ("cache-dtype", self.cache_dtype.is_some()),
        ];
        let first = chosen.iter().find(|(_, given)| *given);
        if let (Mode::Train | Mode::EvalWithGrad, Some((what, _))) = (self.mode, first) {
            return Err(RunError::NotCaching { what, mode: self.mode });
        }
        let counts = [
            ("cache-tokens", self.cache_tokens),
            ("page-tokens", self.page_tokens),
            ("prefill-tokens", self.prefill_tokens),
        ];
        for (what, value) in counts {
            match value {
                Some(0) => return Err(RunError::Zero { what }),
                Some(value) if value > 1 << 32 => return Err(RunError::TooLarge { what, value, most: 1 << 32 }),
                _ => {}
            }
        }
        self.cache_contradiction().map_or(Ok(()), |text| Err(RunError::Contradiction(text)))
    }

    fn cache_contradiction(&self) -> Option<&'static str> {
        if self.cache_kind() != CacheKind::Paged {
            return match self {
                _ if self.page_tokens.is_some() => Some("page-tokens is for pages: give --cache paged"),
                _ if self.prefill_tokens.is_some() => Some(
                    "engines prefill in chunks, transformers' generate does not: prefill-tokens is for --cache paged",
                ),
                _ if self.cache_dtype.is_some() => {
                    Some("transformers' caches have the type of the keys: cache-dtype is for --cache paged")
                }
                _ if self.cache_tokens.is_some() && self.cache_kind() == CacheKind::Dynamic => {
                    Some("a dynamic cache grows with its tokens: cache-tokens is for --cache static or paged")
                }
                _ => None,
            };
        }
        if self.attention.unwrap_or_default() != Attention::Sdpa || self.sdpa.0.is_some() {
            return Some("an engine's own kernels read pages: leave attention and sdpa out with --cache paged");
        }
        let autocast = self.precision.and_then(Precision::autocast);
        autocast.map(|_| "engines do not run under autocast: give --precision fp32, bf16 or fp16 with --cache paged")
    }
}

choices!(CacheDtype, "type of a cache", "fp32" => CacheDtype(Dtype::F32), "bf16" => CacheDtype(Dtype::BF16),
    "fp16" => CacheDtype(Dtype::F16), "fp8" => CacheDtype(Dtype::F8));
