//! Device memory for the argument lists of the kernels that gather and scatter parameters: packed 64-bit numbers, one list
//! behind the other (aten/src/ATen/native/cuda/TensorShape.cu, `pack_vecs`).

use crate::lower::device::Device;

/// Threads of a block.
const BLOCK: u64 = 128;
/// Bytes that a block moves at once, 16 a thread.
const TILE: u64 = 16 * BLOCK;
/// Bytes of a number.
const NUMBER: u64 = 8;

/// `split_with_sizes_copy` of a buffer of `ranks` rows into splits whose rows have `chunks` bytes: targets, sources and sizes
/// of the splits, the split of each block, and where each split's blocks begin.
///
/// Blocks move more than a tile each where there would be more of them than the GPU can hold twice.
pub(super) fn split_with_sizes_copy(device: &Device, chunks: &[u64], ranks: u64) -> u64 {
    let tiles: u64 = chunks.iter().map(|bytes| bytes.div_ceil(TILE)).sum();
    let most = (device.multiprocessors * device.threads_per_multiprocessor / BLOCK * 2).max(1);
    let rounds = (tiles * ranks).div_ceil(most);
    let chunks_per_block = (rounds as f64).sqrt().ceil().max(1.0) as u64;
    let tiles_per_block = rounds.div_ceil(chunks_per_block.min(ranks)).max(1);
    let blocks: u64 = chunks.iter().map(|bytes| bytes.div_ceil(TILE * tiles_per_block)).sum();
    let splits = chunks.len() as u64;
    NUMBER * (3 * splits + blocks + splits + 1)
}

/// `_chunk_cat` of tensors whose chunks, padded, have `chunks` bytes in the result: addresses, sizes, padded sizes and blocks
/// of each tensor, the tensor of each block, and where each tensor's bytes and blocks begin.
pub(super) fn chunk_cat(chunks: &[u64]) -> u64 {
    let blocks: u64 = chunks.iter().map(|bytes| bytes.div_ceil(TILE)).sum();
    let tensors = chunks.len() as u64;
    NUMBER * (4 * tensors + blocks + 2 * (tensors + 1))
}
