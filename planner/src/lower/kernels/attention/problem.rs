//! A call of `scaled_dot_product_attention`, and why it may have no plan.

use thiserror::Error;

use super::Layout;
use crate::dtype::Dtype;
use crate::run::Backend;

/// One call of `scaled_dot_product_attention`.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// `[batch, heads, queries, head_dim]`.
    pub query: Layout,
    /// `[batch, key_heads, keys, head_dim]`.
    pub key: Layout,
    /// `[batch, key_heads, keys, value_dim]`.
    pub value: Layout,
    /// The type of query, key and value.
    pub dtype: Dtype,
    /// `attn_mask`.
    pub mask: Option<Mask>,
    /// `dropout_p`.
    pub dropout: f64,
    /// `is_causal`.
    pub causal: bool,
    /// `enable_gqa`.
    pub grouped: bool,
    /// Whether query, key and value require a gradient, grad mode being on.
    pub requires_grad: [bool; 3],
    /// What cuDNN was measured to take as workspaces, forward and backward; 0 where it was not.
    pub cudnn_workspaces: [u64; 2],
}

/// The `attn_mask` of a call, which broadcasts to `[batch, heads, queries, keys]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    /// Two or four dimensions.
    pub layout: Layout,
    /// A mask of `bool`; else of the queries' type.
    pub boolean: bool,
    /// Whether it requires a gradient, grad mode being on.
    pub requires_grad: bool,
}

/// Why a call has no plan.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AttentionError {
    /// The backend that was asked for cannot run this call; PyTorch says "No available kernel".
    #[error("no available kernel: {backend} attention cannot run this call: {because}")]
    Refused {
        /// The backend asked for.
        backend: Backend,
        /// The first of PyTorch's checks that fails.
        because: &'static str,
    },
    /// PyTorch accepts the call and then raises while running it.
    #[error("{backend} attention raises an error in PyTorch: {because}")]
    Raises {
        /// The backend that was chosen.
        backend: Backend,
        /// What PyTorch objects to.
        because: &'static str,
    },
    /// The call runs in PyTorch, but how it allocates has not been read.
    #[error("{backend} attention is not modelled here: {what}")]
    NotModelled {
        /// The backend that was chosen.
        backend: Backend,
        /// The case.
        what: &'static str,
    },
}

impl Problem {
    pub(super) fn any_grad(&self) -> bool {
        self.requires_grad.contains(&true)
    }

    pub(super) fn mask_grad(&self) -> bool {
        self.mask.as_ref().is_some_and(|mask| mask.requires_grad)
    }

    pub(super) fn batch(&self) -> u64 {
        self.query.shape[0]
    }

    pub(super) fn heads(&self) -> u64 {
        self.query.shape[1]
    }

    pub(super) fn key_heads(&self) -> u64 {
        self.key.shape[1]
    }

    pub(super) fn queries(&self) -> u64 {
        self.query.shape[2]
    }

    pub(super) fn keys(&self) -> u64 {
        self.key.shape[2]
    }

    pub(super) fn head_dim(&self) -> u64 {
        self.query.shape[3]
    }

    pub(super) fn value_dim(&self) -> u64 {
        self.value.shape[3]
    }

    /// What every plan takes for granted.
    pub(super) fn check(&self, backend: Backend) -> Result<(), AttentionError> {
        let raises = |because| Err(AttentionError::Raises { backend, because });
        let four = |layout: &Layout| layout.shape.len() == 4 && layout.strides.len() == 4;
        if ![&self.query, &self.key, &self.value].into_iter().all(four) {
            return Err(AttentionError::NotModelled { backend, what: "query, key or value without 4 dimensions" });
        }
        if self.mask.as_ref().is_some_and(|mask| mask.layout.shape.len() != mask.layout.strides.len()) {
            return Err(AttentionError::NotModelled { backend, what: "a mask without a stride for each dimension" });
        }
        if [&self.query, &self.key, &self.value].iter().any(|layout| layout.elements() == 0) {
            return Err(AttentionError::NotModelled { backend, what: "an empty query, key or value" });
        }
        let [q, k, v] = [&self.query.shape, &self.key.shape, &self.value.shape];
        if q[0] != k[0] || k[..3] != v[..3] || q[3] != k[3] {
            return raises("shapes of query, key and value do not fit");
        }
        let broadcasts = backend == Backend::Math && !self.grouped && (q[1] == 1 || k[1] == 1);
        if q[1] != k[1] && !broadcasts && (!self.grouped || !q[1].is_multiple_of(k[1])) {
            return raises("the query's heads are not the key's, or not a multiple of them with enable_gqa");
        }
        let scores = [q[0], q[1], q[2], k[2], q[3].max(v[3])].into_iter().map(u128::from).product::<u128>();
        if scores > 1 << 52 {
            return Err(AttentionError::NotModelled { backend, what: "tensors larger than any memory" });
        }
        if let Some(mask) = &self.mask {
            if self.causal && backend == Backend::Math {
                return raises("a mask together with is_causal");
            }
            if !mask.layout.broadcasts_to(&[q[0], q[1], q[2], k[2]]) {
                return raises("the mask does not broadcast to [batch, heads, queries, keys]");
            }
        }
        Ok(())
    }
}
