//! Scratch memory of `_grouped_mm`: one product for every group of rows, whose sizes only the GPU knows.
//!
//! From bfloat16 to bfloat16 a CUTLASS kernel on compute capability 9.0 and 10.x takes all groups at once; it is given arrays
//! of a pointer, a problem size and a stride a group, and room for the tensor maps of every multiprocessor. All else goes
//! through the fallback, a product a group into a part of the result, which takes cuBLAS' workspace alone. Neither depends on
//! how many rows a group has.
//!
//! Read from aten/src/ATen/native/cuda/{GroupedBlas.cpp,GroupMM.cu}, native/GroupedMMUtils.h and CUTLASS's
//! sm90_mma_array_tma_gmma_ss_warpspecialized.hpp; measured with PyTorch 2.11 for 9.0, for 10.x taken to be the same.

use super::step::{Step, Steps};
use crate::dtype::Dtype;
use crate::lower::device::Device;

/// Three pointers, a problem size of three 32-bit numbers and three 64-bit strides.
const GROUP: u64 = 3 * 8 + 3 * 4 + 3 * 8;
/// A tensor map, and how many of them a multiprocessor has: two of the inputs, two of the result.
const TENSOR_MAP: u64 = 128;
const TENSOR_MAPS: u64 = 4;

/// Whether one kernel takes all groups.
pub fn is_fused(device: &Device, dtype: Dtype) -> bool {
    dtype == Dtype::BF16 && matches!(device.compute_capability, (9, 0) | (10, _))
}

/// The temporaries of that kernel, beside its result.
pub fn scratch(device: &Device, groups: u64) -> Vec<Step> {
    let mut steps = Steps::default();
    steps.hold(groups * GROUP);
    steps.hold(device.multiprocessors * TENSOR_MAPS * TENSOR_MAP);
    steps.finish()
}
