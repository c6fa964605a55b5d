//! What changed in which release of PyTorch, one row a change. What changed in transformers stands in the specs, under `changes`, but for
//! what all models have in common.
//!
//! Spans were found by recording the same cases in each release; pull requests were matched by what they describe.

use super::{Library, Release};

/// A rule that does not hold in all releases that are planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// cuDNN's attention comes first on Hopper and Blackwell.
    CudnnAttentionFirst,
    /// The gradient of an embedding sums with atomics where many parts fall on few rows.
    EmbeddingSumsWithAtomics,
    /// CUB's scans and `unique_by_key` keep their states in a piece beside another.
    ScansInTwoPieces,
    /// `any` and `all` reduce integers as booleans.
    LogicalInBooleans,
    /// `native_group_norm_backward` of one position keeps no sums by channel.
    GroupNormOfOnePosition,
    /// `native_layer_norm_backward` of many rows sums the gradient of a bias alone.
    BiasAloneIsSummed,
    /// cuBLAS takes 32 MiB on Blackwell too.
    BlackwellWorkspace,
    /// Of equal free blocks the one whose block object was made first is taken.
    OldestBlockFirst,
    /// Of equal free blocks the one in the segment that was made first is taken, then the lowest address.
    OldestSegmentFirst,
    /// What is cached is released for a private pool that finds too little memory.
    PrivatePoolsRetry,
    /// cuBLASLt uses the workspace of the cuBLAS handle.
    SharedLtWorkspace,
    /// Each call of cuBLAS takes a workspace of its own and gives it back.
    WorkspacePerCall,
    /// cuDNN's attention takes dropout in multiples of 1/16 alone.
    CudnnDropoutInSixteenths,
    /// A batch of products over an inner size of 1 does not call cuBLAS.
    OuterProductsWithoutBlas,
    /// The gradient of an embedding sorts indices by as many digits as the table's rows have.
    EmbeddingSortsByDigits,
    /// Functions written in Python let incoming gradients go before their results are checked.
    PythonNodesLetGoFirst,
    /// FSDP2 holds the input of the reduction before while it reduces.
    FsdpHoldsTheLastReduction,
    /// CUB's `unique_by_key` has other tiles for 64-bit keys.
    LargerUniqueTiles,
    /// Efficient attention takes query heads that share heads of key and value.
    EfficientGroups,
    /// cuDNN's attention trains head dimensions above 128 only as 256, or 192 with values of 128.
    CudnnTrainsFewHeadDims,
    /// Efficient attention keeps seed and offset on the device without dropout too.
    EfficientSeedsOnDevice,
    /// cuBLASLt adds whole matrices in half precision.
    MatricesAddedByLt,
    /// FSDP2 lets go of what it gathered before and of the last gradient earlier.
    FsdpLetsGoFirst,
    /// FSDP2 reduces gradients in the type in which parameters are kept, where no other is asked for.
    FsdpReducesAsKept,
    /// The gradient of a clamp between tensors masks each bound by itself.
    ClampMasksEachBound,
    /// `native_group_norm` computes mean and rstd of half precision in float32.
    GroupNormWideStatistics,
    /// `native_group_norm` takes images with channels last as they are.
    GroupNormChannelsLast,
    /// `_foreach_norm` keeps as many partial norms as there are chunks.
    PackedForeachNorm,
    /// transformers' switch for checkpoints makes the input embeddings' output need a gradient.
    CheckpointedInputsNeedGradients,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct ChangeRow {
    /// Which change.
    pub change: Change,
    /// Whose release.
    pub library: Library,
    /// The first release in which it holds.
    pub since: Release,
    /// The first release in which it does not hold any more.
    pub until: Option<Release>,
    /// What it does, for people.
    pub what: &'static str,
    /// The source file that says it.
    pub source: &'static str,
    /// The pull requests.
    pub pulls: &'static [u32],
}

impl ChangeRow {
    /// Whether the change holds in a release.
    pub fn holds(&self, release: Release) -> bool {
        release >= self.since && self.until.is_none_or(|until| release < until)
    }
}

const fn torch(minor: u16) -> Release {
    Release::new(2, minor)
}

/// Every change that code follows, by release.
pub const CHANGES: &[ChangeRow] = &[
    ChangeRow {
        change: Change::CudnnAttentionFirst,
        library: Library::Torch,
        since: torch(11),
        until: None,
        what: "cuDNN's attention comes before flash on compute capability 9.0 and 10.x: the wheels bring a cuDNN that is new enough",
        source: "aten/src/ATen/native/transformers/cuda/sdp_utils.cpp, check_prefer_cudnn_attention",
        pulls: &[],
    },
    ChangeRow {
        change: Change::EmbeddingSumsWithAtomics,
        library: Library::Torch,
        since: torch(11),
        until: None,
        what: "the gradient of an embedding sums with atomics where many parts fall on few rows, in place of a row of sums a part",
        source: "aten/src/ATen/native/cuda/EmbeddingBackwardKernel.cu, embedding_backward_cuda_kernel, by measuring",
        pulls: &[],
    },
    ChangeRow {
        change: Change::ScansInTwoPieces,
        library: Library::Torch,
        since: torch(11),
        until: None,
        what: "CUB's scans and unique_by_key, as in cumsum and in the gradient of an embedding, take 256 bytes more",
        source: "cub/device/dispatch/dispatch_scan.cuh and dispatch_unique_by_key.cuh of CUDA 13, by measuring",
        pulls: &[],
    },
    ChangeRow {
        change: Change::LogicalInBooleans,
        library: Library::Torch,
        since: torch(12),
        until: None,
        what: "any and all reduce integers as booleans: partial results of a byte, no longer of the input's width",
        source: "aten/src/ATen/native/cuda/ReduceLogicKernel.cu, by measuring",
        pulls: &[],
    },
    ChangeRow {
        change: Change::BlackwellWorkspace,
        library: Library::Torch,
        since: torch(12),
        until: None,
        what: "cuBLAS takes a workspace of 32 MiB on Blackwell too, no longer 8.125 MiB",
        source: "aten/src/ATen/cuda/CublasHandlePool.cpp, parseChosenWorkspaceSize",
        pulls: &[],
    },
    ChangeRow {
        change: Change::SharedLtWorkspace,
        library: Library::Torch,
        since: torch(12),
        until: None,
        what: "cuBLASLt uses the workspace of the cuBLAS handle, no longer 1 MiB of its own",
        source: "aten/src/ATen/cuda/CublasHandlePool.cpp, unified_cublas_and_lt_workspaces",
        pulls: &[168175, 175879, 173002],
    },
    ChangeRow {
        change: Change::CudnnDropoutInSixteenths,
        library: Library::Torch,
        since: torch(12),
        until: None,
        what: "cuDNN's attention refuses dropout that is no multiple of 1/16, so that flash attention runs",
        source: "aten/src/ATen/native/transformers/cuda/sdp_utils.cpp, check_cudnn_dropout",
        pulls: &[174245],
    },
    ChangeRow {
        change: Change::FsdpHoldsTheLastReduction,
        library: Library::Torch,
        since: torch(12),
        until: Some(torch(13)),
        what: "FSDP2 holds the input of the reduction before while it reduces: one buffer of gradients more",
        source: "torch/distributed/fsdp/_fully_shard/_fsdp_param_group.py, post_backward",
        pulls: &[],
    },
    ChangeRow {
        change: Change::OldestBlockFirst,
        library: Library::Torch,
        since: torch(12),
        until: Some(torch(13)),
        what: "of equal free blocks the one made first is taken, no longer the one with the lowest address",
        source: "c10/cuda/CUDACachingAllocator.cpp, BlockComparatorSize",
        pulls: &[178362],
    },
    ChangeRow {
        change: Change::OldestSegmentFirst,
        library: Library::Torch,
        since: torch(13),
        until: None,
        what: "of equal free blocks the one in the oldest segment is taken, then the lowest address",
        source: "c10/cuda/CUDACachingAllocator.cpp, BlockComparatorSize",
        pulls: &[182929, 183591],
    },
    ChangeRow {
        change: Change::PrivatePoolsRetry,
        library: Library::Torch,
        since: torch(13),
        until: None,
        what: "where a private pool finds too little memory, what others cache is released before it fails (by measuring)",
        source: "c10/cuda/CUDACachingAllocator.cpp, release_cached_blocks",
        pulls: &[],
    },
    ChangeRow {
        change: Change::OuterProductsWithoutBlas,
        library: Library::Torch,
        since: torch(13),
        until: None,
        what: "a batch of products over an inner size of 1 is a kernel of Triton's, without cuBLAS and its workspace",
        source: "torch/_native/ops/bmm_outer_product/triton_impl.py",
        pulls: &[],
    },
    ChangeRow {
        change: Change::EmbeddingSortsByDigits,
        library: Library::Torch,
        since: torch(13),
        until: None,
        what: "the gradient of an embedding sorts its indices by the digits that the table's rows have, not by all 64 bits",
        source: "aten/src/ATen/native/cuda/Embedding.cu, embedding_dense_backward_cuda",
        pulls: &[],
    },
    ChangeRow {
        change: Change::PythonNodesLetGoFirst,
        library: Library::Torch,
        since: torch(13),
        until: None,
        what: "functions written in Python let incoming gradients go before their results are cast to what they are gradients of",
        source: "torch/csrc/autograd/python_function.cpp, PyNode::apply, by measuring",
        pulls: &[],
    },
    ChangeRow {
        change: Change::LargerUniqueTiles,
        library: Library::Torch,
        since: torch(13),
        until: None,
        what: "CUB's unique_by_key, in the gradient of an embedding, has other tiles for 64-bit keys",
        source: "cub/device/dispatch/tuning/tuning_unique_by_key.cuh, by measuring",
        pulls: &[],
    },
    ChangeRow {
        change: Change::GroupNormOfOnePosition,
        library: Library::Torch,
        since: torch(14),
        until: None,
        what: "the gradient of a group norm over one position keeps no sums by channel",
        source: "aten/src/ATen/native/cuda/group_norm_kernel.cu, GroupNorm1dBackward, by measuring",
        pulls: &[],
    },
    ChangeRow {
        change: Change::EfficientGroups,
        library: Library::Torch,
        since: torch(14),
        until: None,
        what: "efficient attention takes enable_gqa, so that grouped attention in float32 runs there and not composed of products",
        source: "aten/src/ATen/native/transformers/cuda/attention_backward.cu, by measuring",
        pulls: &[],
    },
    ChangeRow {
        change: Change::CudnnTrainsFewHeadDims,
        library: Library::Torch,
        since: torch(14),
        until: None,
        what: "cuDNN's attention takes head dimensions up to 256 on 9.0 and 10.x, and trains those above 128 only as 256, or 192 with values of 128",
        source: "aten/src/ATen/native/transformers/cuda/sdp_utils.cpp, check_cudnn_tensor_shapes, by measuring",
        pulls: &[],
    },
    ChangeRow {
        change: Change::EfficientSeedsOnDevice,
        library: Library::Torch,
        since: torch(14),
        until: None,
        what: "efficient attention without dropout gives seed and offset as two zeros on the device",
        source: "aten/src/ATen/native/transformers/cuda/attention.cu, _efficient_attention_forward",
        pulls: &[184166],
    },
    ChangeRow {
        change: Change::WorkspacePerCall,
        library: Library::Torch,
        since: torch(15),
        until: None,
        what: "each call of cuBLAS and cuBLASLt takes a workspace and gives it back; TORCH_CUBLAS_WORKSPACE_CACHE=1 keeps them",
        source: "aten/src/ATen/cuda/CublasHandlePool.cpp, getCurrentCUDABlasHandleWithWorkspace",
        pulls: &[194311],
    },
    ChangeRow {
        change: Change::BiasAloneIsSummed,
        library: Library::Torch,
        since: torch(15),
        until: None,
        what: "the gradient of a layer norm's bias is summed from partial gradients without a weight's too, where rows are many",
        source: "aten/src/ATen/native/cuda/layer_norm_kernel.cu, LayerNormBackwardKernelImplInternal, by measuring",
        pulls: &[],
    },
    ChangeRow {
        change: Change::MatricesAddedByLt,
        library: Library::Torch,
        since: torch(15),
        until: None,
        what: "addmm of a whole matrix in half precision is added by cuBLASLt (Muon)",
        source: "aten/src/ATen/native/cuda/Blas.cpp, addmm_out_cuda_impl, by measuring",
        pulls: &[],
    },
    ChangeRow {
        change: Change::FsdpLetsGoFirst,
        library: Library::Torch,
        since: torch(15),
        until: None,
        what: "FSDP2 frees what it gathered before as it copies out, and the last gradient before it reduces",
        source: "torch/distributed/fsdp/_fully_shard/_fsdp_param_group.py, wait_for_unshard; _fsdp_collectives.py, foreach_reduce",
        pulls: &[],
    },
    ChangeRow {
        change: Change::FsdpReducesAsKept,
        library: Library::Torch,
        since: torch(15),
        until: None,
        what: "FSDP2 reduces gradients in the type in which parameters are kept, no longer in the gradients' own, where reduce_dtype is not given",
        source: "torch/distributed/fsdp/_fully_shard/_fsdp_param_group.py, _get_reduce_dtype, by measuring",
        pulls: &[],
    },
    ChangeRow {
        change: Change::ClampMasksEachBound,
        library: Library::Torch,
        since: torch(15),
        until: None,
        what: "the gradient of a clamp between tensors masks each bound by itself, as in T5 in float16",
        source: "torch/csrc/autograd/FunctionsManual.cpp, clamp_backward, by measuring",
        pulls: &[],
    },
    ChangeRow {
        change: Change::GroupNormWideStatistics,
        library: Library::Torch,
        since: torch(15),
        until: None,
        what: "native_group_norm computes mean and rstd of half precision in float32 before it rounds them",
        source: "aten/src/ATen/native/cuda/group_norm_kernel.cu, GroupNormKernelImplInternal, by measuring 2.15; releases before were not measured",
        pulls: &[],
    },
    ChangeRow {
        change: Change::GroupNormChannelsLast,
        library: Library::Torch,
        since: torch(15),
        until: None,
        what: "native_group_norm takes images with channels last as they are, and gives such; before, it copies them",
        source: "aten/src/ATen/native/group_norm.cpp, by measuring 2.11 and 2.15; releases between were not measured",
        pulls: &[],
    },
    ChangeRow {
        change: Change::PackedForeachNorm,
        library: Library::Torch,
        since: torch(15),
        until: None,
        what: "_foreach_norm keeps a partial norm for each chunk there is, and where each tensor's begin",
        source: "aten/src/ATen/native/cuda/ForeachReduceOp.cu",
        pulls: &[],
    },
    ChangeRow {
        change: Change::CheckpointedInputsNeedGradients,
        library: Library::Transformers,
        since: Release::new(5, 17),
        until: None,
        what: "gradient_checkpointing_enable makes the output of the input embeddings need a gradient, whether they are trained or not",
        source: "modeling_utils.py, gradient_checkpointing_enable",
        pulls: &[],
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::versions::{Rules, Versions};

    #[test]
    fn every_change_has_one_row_and_a_span_within_the_known_releases() {
        let mut seen = 0u32;
        for row in CHANGES {
            assert_eq!(seen & 1 << row.change as u32, 0, "{:?} has two rows", row.change);
            seen |= 1 << row.change as u32;
            let known = row.library.oldest()..=row.library.newest();
            assert!(known.contains(&row.since) && row.since > row.library.oldest(), "{:?} never began", row.change);
            assert!(row.until.is_none_or(|until| known.contains(&until) && until > row.since), "{:?}", row.change);
        }
        assert_eq!(seen.count_ones(), Change::CheckpointedInputsNeedGradients as u32 + 1, "a change has no row");
    }

    #[test]
    fn a_release_follows_the_changes_of_its_span() {
        let has = |minor, change| Rules::of(Versions { torch: torch(minor), ..Versions::default() }).has(change);
        let spans = |change| (9..=16).filter(|minor| has(*minor, change)).collect::<Vec<_>>();
        assert_eq!(spans(Change::OldestBlockFirst), [12]);
        assert_eq!(spans(Change::OldestSegmentFirst), [13, 14, 15, 16]);
        assert_eq!(spans(Change::WorkspacePerCall), [15, 16]);
    }
}
