//! Which backend runs a call (`sdp_utils.cpp`, `sdp_utils_cpp.h`): the first in order of priority whose checks all pass.
//!
//! Where a comment says "measured", the rule was found by asking PyTorch 2.11 (`torch._fused_sdp_choice`) on emulated
//! devices. The build is the CUDA 13 wheel with cuDNN 9.19; `torch.use_deterministic_algorithms` is off.

use super::{AttentionError, Problem};
use crate::dtype::Dtype;
use crate::lower::device::Device;
use crate::run::Backend;
use crate::versions::Change;

/// The backend that runs the call: PyTorch's own choice, or the only one allowed, which must then be able to.
pub fn choose(device: &Device, problem: &Problem, only: Option<Backend>) -> Result<Backend, AttentionError> {
    if let Some(backend) = only {
        return match objection(device, problem, backend) {
            None => Ok(backend),
            Some(because) => Err(AttentionError::Refused { backend, because }),
        };
    }
    let able = |backend: &Backend| objection(device, problem, *backend).is_none();
    Ok(priority(device).into_iter().find(able).unwrap_or(Backend::Math))
}

/// `check_prefer_cudnn_attention`: cuDNN newer than 9.15, which the wheels have from 2.11 on, comes first on Hopper and on Blackwell
/// for data centres, and else after math, where nothing reaches it.
fn priority(device: &Device) -> [Backend; 4] {
    match device.compute_capability.0 {
        9 | 10 if device.rules.has(Change::CudnnAttentionFirst) => {
            [Backend::Cudnn, Backend::Flash, Backend::Efficient, Backend::Math]
        }
        _ => [Backend::Flash, Backend::Efficient, Backend::Math, Backend::Cudnn],
    }
}

/// A check: what it objects to, if it fails.
type Check = (fn(&Device, &Problem) -> bool, &'static str);

/// The first objection of a backend's checks.
fn objection(device: &Device, problem: &Problem, backend: Backend) -> Option<&'static str> {
    let checks: &[Check] = match backend {
        Backend::Cudnn => CUDNN,
        Backend::Flash => FLASH,
        Backend::Efficient => EFFICIENT,
        Backend::Math => &[],
    };
    checks.iter().find(|(passes, _)| !passes(device, problem)).map(|(_, because)| *because)
}

const FOUR: Check = (|_, p| four_dimensions(p), "query, key and value must have 4 dimensions");
const EQUAL_BATCHES: Check = (|_, p| equal_batches(p), "query, key and value must have the same batch size");
const NOT_EMPTY: Check = (|_, p| p.queries() > 0 && p.keys() > 0, "sequence lengths must not be 0");
const HALF: Check = (|_, p| is_half(p), "the data type must be float16 or bfloat16");
const UNIT_STRIDE: Check = (
    |_, p| (unit_strides(p) || p.head_dim() == 1) && unit_mask_stride(p),
    "the last dimension of query, key, value and mask must have stride 1",
);

const CUDNN: &[Check] = &[
    FOUR,
    HALF,
    (|_, p| !p.mask_grad(), "the mask must not require a gradient"),
    (|_, p| mask_fits(p), "the mask must be [queries, keys] or [batch, heads, queries, keys], 1 where it broadcasts"),
    (|d, _| between(d, (8, 0), (12, 1)), "the GPU's compute capability must be 8.0 to 12.1"),
    NOT_EMPTY,
    UNIT_STRIDE,
    EQUAL_BATCHES,
    (
        |_, p| heads_fit(p, true, false),
        "the heads of key and value must be the query's, or divide them with enable_gqa",
    ),
    (
        cudnn_head_dim,
        "the head dimensions must be at most 128 (256 on compute capability 9.0 and 10.0; in training 256, or 192 with values of 128)",
    ),
    (
        |_, p| p.head_dim().is_multiple_of(8) && p.value_dim().is_multiple_of(8),
        "the head dimension must be a multiple of 8",
    ),
    (|_, p| p.keys() != 1, "the keys must be more than one"),
    (|_, p| p.dropout == 0.0 || p.queries() != 1, "dropout needs more than one query"),
    (
        |d, p| !d.rules.has(Change::CudnnDropoutInSixteenths) || (16.0 * p.dropout).fract() == 0.0,
        "dropout must be a multiple of 1/16",
    ),
];

const FLASH: &[Check] = &[
    FOUR,
    (|_, p| p.mask.is_none(), "a mask is not supported"),
    (
        |_, p| p.head_dim() == p.key.shape[3] && p.head_dim() == p.value_dim() && p.head_dim() <= 256,
        "query, key and value must have the same head dimension, at most 256",
    ),
    (|d, _| between(d, (8, 0), (12, 1)), "the GPU's compute capability must be 8.0 to 12.1"),
    (
        flash_trains_head_dim,
        "training with a head dimension of 193 to 224, or above with dropout, is not supported on this GPU",
    ),
    (|_, p| !p.causal || p.queries() == p.keys(), "is_causal needs as many keys as queries"),
    HALF,
    EQUAL_BATCHES,
    (|_, p| heads_fit(p, true, true), "the heads of key and value must be the query's, or divide them with enable_gqa"),
    NOT_EMPTY,
    UNIT_STRIDE,
];

const EFFICIENT: &[Check] = &[
    (|d, _| between(d, (5, 0), (12, 1)), "the GPU's compute capability must be 5.0 to 12.1"),
    FOUR,
    (efficient_head_dim, "head dimensions must be multiples of 16 bytes, and the key's the query's"),
    NOT_EMPTY,
    (
        |_, p| unit_strides(p) && unit_mask_stride(p),
        "the last dimension of query, key, value and mask must have stride 1",
    ),
    EQUAL_BATCHES,
    (
        |d, p| heads_fit(p, d.rules.has(Change::EfficientGroups), true),
        "query, key and value must have the same number of heads (from PyTorch 2.14 on the query's may be a multiple)",
    ),
    (
        |d, p| matches!(p.dtype, Dtype::F16 | Dtype::F32) || p.dtype == Dtype::BF16 && d.compute_capability.0 >= 8,
        "the data type must be float32, float16 or bfloat16",
    ),
];

fn four_dimensions(p: &Problem) -> bool {
    [&p.query, &p.key, &p.value].into_iter().all(|layout| layout.shape.len() == 4 && layout.strides.len() == 4)
}

fn is_half(p: &Problem) -> bool {
    matches!(p.dtype, Dtype::F16 | Dtype::BF16)
}

fn between(device: &Device, lowest: (u32, u32), highest: (u32, u32)) -> bool {
    (lowest..=highest).contains(&device.compute_capability)
}

fn equal_batches(p: &Problem) -> bool {
    p.batch() == p.key.shape[0] && p.batch() == p.value.shape[0]
}

fn unit_strides(p: &Problem) -> bool {
    [&p.query, &p.key, &p.value].into_iter().all(|layout| layout.last_stride() == 1)
}

fn unit_mask_stride(p: &Problem) -> bool {
    p.mask.as_ref().is_none_or(|mask| mask.layout.last_stride() == 1)
}

/// `check_batch_size_and_num_heads_dense` and `check_grouped_query_attention`.
fn heads_fit(p: &Problem, supports_groups: bool, same_key_and_value: bool) -> bool {
    let (heads, keys, values) = (p.heads(), p.key_heads(), p.value.shape[1]);
    let divides = |part: u64| part != 0 && heads.is_multiple_of(part);
    if p.grouped && supports_groups {
        return (keys == values || !same_key_and_value) && divides(keys) && divides(values);
    }
    heads == keys && heads == values
}

/// `check_attn_mask_shape`.
fn mask_fits(p: &Problem) -> bool {
    let Some(mask) = &p.mask else { return true };
    let wanted = [p.batch(), p.heads(), p.queries(), p.keys()];
    matches!(mask.layout.shape.len(), 2 | 4) && mask.layout.broadcasts_to(&wanted)
}

/// `check_cudnn_tensor_shapes`; 192 with a value of 128 on 10.x, and what holds from 2.14 on, are measured.
fn cudnn_head_dim(device: &Device, p: &Problem) -> bool {
    let dims = (p.head_dim(), p.value_dim());
    let within = |limit| dims.0 <= limit && dims.1 <= limit;
    let trained = || !p.any_grad() || matches!(dims, (192, 128) | (256, 256));
    match device.compute_capability {
        _ if within(128) => true,
        (9, 0) | (10, _) if device.rules.has(Change::CudnnTrainsFewHeadDims) => within(256) && trained(),
        (9, 0) => within(256),
        (10, _) => dims == (192, 128),
        _ => false,
    }
}

/// `check_requires_grad_and_head_dim_gt192_constraints_on_sm86_89_or_120`.
fn flash_trains_head_dim(device: &Device, p: &Problem) -> bool {
    let small = between(device, (8, 6), (8, 9)) || between(device, (12, 0), (12, 1));
    let supported = p.head_dim() <= 192 || p.dropout == 0.0 && p.head_dim() > 224;
    !(p.any_grad() && small) || supported
}

/// `check_head_dim_size_mem_efficient`, `minimum_gemm_alignment`.
fn efficient_head_dim(device: &Device, p: &Problem) -> bool {
    let step = match (device.compute_capability.0, is_half(p)) {
        (7.., true) => 8,
        (8.., false) => 4,
        _ => 1,
    };
    let fits = |size: u64| size > 0 && size.is_multiple_of(step);
    p.head_dim() == p.key.shape[3] && fits(p.head_dim()) && fits(p.value_dim())
}
