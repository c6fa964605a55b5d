//! Temporary storage of the CUB algorithms that PyTorch calls: sort, scan and unique.
//!
//! Each algorithm divides its input into tiles and keeps a few bytes for every tile. Tile sizes are tuned for each
//! architecture, so they depend on which of PyTorch's binaries the GPU runs. Measured with PyTorch 2.11 (CUDA 13.0), for
//! PyTorch's calls in aten/src/ATen/cuda/cub.cuh, and with 2.12 to 2.15; sizes follow cub/device/dispatch/dispatch_{radix_sort,scan}.cuh.

use crate::lower::device::Device;
use crate::versions::{Change, Rules};

/// Each piece of temporary storage starts at a multiple of this, and the whole is padded for an unaligned start.
const ALIGNMENT: u64 = 256;
/// Tiles of padding before the first tile's state in a scan.
const PADDING_TILES: u64 = 32;
const RADIX_DIGITS: u64 = 256;

/// The architecture of the kernels that a GPU runs, of those that PyTorch 2.11's wheels contain and CUB tunes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Compute capability 8.0: A100.
    Sm80,
    /// Compute capabilities 8.6 and 8.9: RTX 30 and 40, A10, L4, L40.
    Sm86,
    /// Compute capability 9.0 and, as long as nothing was measured there, above: H100, H200.
    Sm90,
}

impl Architecture {
    /// The architecture of the kernels that the device runs.
    pub fn of(device: &Device) -> Architecture {
        match device.compute_capability {
            (major, _) if major >= 9 => Architecture::Sm90,
            (8, 0) => Architecture::Sm80,
            _ => Architecture::Sm86,
        }
    }

    /// The element of a row of tile sizes, written `[8.0, 8.6, 9.0]`.
    fn of_row(self, sizes: [u64; 3]) -> u64 {
        sizes[self as usize]
    }
}

/// The width of keys and of the values beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// 32 bits.
    Four,
    /// 64 bits.
    Eight,
}

impl Width {
    /// In bytes.
    pub const fn bytes(self) -> u64 {
        match self {
            Width::Four => 4,
            Width::Eight => 8,
        }
    }

    fn choose<T>(self, four: T, eight: T) -> T {
        match self {
            Width::Four => four,
            Width::Eight => eight,
        }
    }
}

/// `radix_sort_pairs`: sorts `n` keys by so many digits of 8 bits, with values of the same width.
pub fn sort_pairs(architecture: Architecture, width: Width, digits: u64, n: u64) -> u64 {
    match width {
        Width::Eight => sort_by_digits(architecture, digits, n),
        Width::Four if n <= 4864 => 1,
        Width::Four => radix_sort(n, 6528, digits, if digits > 1 { &[4, 4] } else { &[] }),
    }
}

/// `radix_sort_pairs` of `n` 64-bit keys with 64-bit values by so many digits of 8 bits.
pub fn sort_by_digits(architecture: Architecture, digits: u64, n: u64) -> u64 {
    if n <= 2304 {
        return 1;
    }
    let buffers: &[u64] = if digits > 1 { &[8, 8] } else { &[] };
    radix_sort(n, architecture.of_row([3840, 3840, 4608]), digits, buffers)
}

/// `radix_sort_pairs` of more than 4096 keys of `key` bytes with 64-bit values. `None` where the size depends on how many
/// blocks of a kernel fit on the GPU (keys of less than 4 bytes before 9.0).
pub fn sort_with_indices(architecture: Architecture, key: u64, n: u64) -> Option<u64> {
    let tile = match (key, architecture) {
        (8, _) => return Some(sort_by_digits(architecture, 8, n)),
        (4, _) => architecture.of_row([3072, 3072, 5376]),
        (2, Architecture::Sm90) => 5632,
        _ => return None,
    };
    Some(radix_sort(n, tile, key, &[key, Width::Eight.bytes()]))
}

/// `radix_sort_keys` of 64-bit keys by at most 8 of their bits.
pub fn sort_by_one_digit(architecture: Architecture, n: u64) -> u64 {
    radix_sort(n, architecture.of_row([3840, 3840, 5760]), 1, &[])
}

/// `DeviceSegmentedRadixSort::SortPairs` with 64-bit values.
pub fn sort_segments(key: u64, n: u64) -> u64 {
    total(&[n * key, n * Width::Eight.bytes()])
}

/// A onesweep sort: a lookback entry a tile and digit, every pass' digit counts, second buffers if there are several
/// passes, a counter a pass.
fn radix_sort(n: u64, tile: u64, passes: u64, buffers: &[u64]) -> u64 {
    let mut pieces = vec![n.div_ceil(tile) * RADIX_DIGITS * 4, passes * RADIX_DIGITS * 8, passes * 4];
    pieces.extend(buffers.iter().map(|width| n * width));
    total(&pieces)
}

/// `exclusive_sum` and `inclusive_scan` of `n` (at most 2^30) numbers.
pub fn scan(rules: Rules, width: Width, n: u64) -> u64 {
    let tiles = n.div_ceil(width.choose(1920, 896));
    beside_one(rules, (PADDING_TILES + tiles) * width.bytes() * 2)
}

/// `inclusive_scan` of `n` (at most 2^30) half-precision numbers.
pub fn scan_halves(n: u64) -> u64 {
    let tiles = PADDING_TILES + n.div_ceil(3840);
    total(&[1, tiles * 4, tiles * 2, tiles * 2])
}

/// `unique_by_key` of `n` keys, without what it writes the keys to.
pub fn unique_by_key(rules: Rules, architecture: Architecture, width: Width, n: u64) -> u64 {
    let eight = if rules.has(Change::LargerUniqueTiles) { [1344, 320, 4928] } else { [1792, 320, 4480] };
    let tile = architecture.of_row(width.choose([2816, 704, 7168], eight));
    beside_one(rules, (PADDING_TILES + n.div_ceil(tile)) * 16)
}

/// The states of tiles, and from CUDA 13 on a piece of one byte before them.
fn beside_one(rules: Rules, states: u64) -> u64 {
    if rules.has(Change::ScansInTwoPieces) { total(&[1, states]) } else { total(&[states]) }
}

/// `inclusive_sum_by_key` and `inclusive_scan_by_key` of `n` numbers.
pub fn scan_by_key(architecture: Architecture, width: Width, n: u64) -> u64 {
    let tiles = n.div_ceil(architecture.of_row(width.choose([3840, 2304, 4032], [2240, 2304, 2464])));
    total(&[(PADDING_TILES + tiles) * 16, (tiles + 1) * width.bytes()])
}

/// `DeviceReduce::Sum` of `n` numbers to a count of 32 bits, as `nonzero` calls it: a partial sum for each of the blocks of which five waves of two
/// a multiprocessor can run, where one block does not take all.
pub fn count(device: &Device, n: u64) -> u64 {
    if n <= 4096 { 1 } else { total(&[device.multiprocessors * 10 * 4]) }
}

/// `DeviceSelect::Flagged` of `n` numbers, as `nonzero` calls it.
pub fn flagged(n: u64) -> u64 {
    total(&[1, (PADDING_TILES + n.div_ceil(4224)) * 8])
}

fn total(pieces: &[u64]) -> u64 {
    pieces.iter().map(|piece| piece.next_multiple_of(ALIGNMENT)).sum::<u64>() + ALIGNMENT - 1
}
