//! An inference engine's pages of keys and values, and what its kernels do with them. None of this is PyTorch's own: the
//! pages' bytes are exact, what the attention kernel takes beside its output is one allocation by it, which is a bound.
//!
//! ```text
//! pages    [2, pages, tokens of a page, heads, head_dim], made before the first prompt
//! write    keys and values of new tokens go to their places
//! attend   output; for each split of the keys its part of the output and its logsumexp, in float32
//! ```

use super::call::{one as one_shape, resolve_sizes};
use super::operands::one;
use super::{Autocast, Call, Class, Lower, Lowered, Operands, Returns, Row, Shapes};
use crate::dtype::Dtype;
use crate::graph::Dims;
use crate::lower::context::Context;
use crate::lower::device::Device;
use crate::lower::kernels::attention::flash_splits;
use crate::lower::tensor::Tensor;

/// Who asks for what the attention kernel takes beside its output.
pub const PAGES_KERNEL: &str = "attention kernel";

const SOURCE: &str =
    "vllm, v1/worker/gpu_model_runner.py, _allocate_kv_cache_tensors; flash-attention, csrc/flash_attn/flash_api.cpp";

pub(super) const ROWS: &[Row] = &[
    row("write_pages", "pages, keys, values", written_shape, |_, a| one(a.tensor(0)?.clone())),
    row("attend_to_pages", "query, pages", attended_shape, attend),
];

/// What an engine does with its pages, outside PyTorch: autocast does not see it, and none can be saved.
const fn row(name: &'static str, signature: &'static str, shapes: fn(&Call) -> Shapes, lower: Lower) -> Row {
    Row {
        name,
        signature,
        returns: Returns::One,
        source: SOURCE,
        class: Class::Elements,
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[],
        shapes,
        lower,
    }
}

/// The heads of what is written are the pages'.
fn written_shape(call: &Call) -> Shapes {
    let (pages, keys, values) = (call.shape(0)?, call.shape(1)?, call.shape(2)?);
    let fits = |new: &Dims| new.len() == 4 && (new[1], new[3]) == (pages[3], pages[4]);
    if pages.len() != 5 || !fits(keys) || !fits(values) {
        return Err(format!(
            "pages of {} heads of {} are planned, and this architecture's keys are {keys:?}, its values {values:?}",
            pages.get(3).unwrap_or(&0),
            pages.get(4).unwrap_or(&0)
        ));
    }
    one_shape(pages.clone())
}

/// As transformers' interfaces give it: `[batch, queries, heads, head_dim]`.
fn attended_shape(call: &Call) -> Shapes {
    let (query, pages) = (call.shape(0)?, call.shape(1)?);
    match (&query[..], &pages[..]) {
        ([_, heads, ..], [_, _, _, kept, _]) if !heads.is_multiple_of((*kept).max(1)) => {
            Err(format!("{heads} heads of queries are no multiple of {kept} heads of keys"))
        }
        ([batch, heads, queries, _], [_, _, _, _, head_dim]) => {
            let sizes = [*batch, *queries, *heads, *head_dim];
            one_shape(resolve_sizes(sizes.iter().product(), &sizes.map(|size| size as i64))?)
        }
        _ => Err(format!("a query of {query:?} does not go with pages of {pages:?}")),
    }
}

fn attend(context: &mut Context, operands: &Operands) -> Lowered {
    let (query, pages) = (operands.tensor(0)?, operands.tensor(1)?);
    let ([batch, heads, queries, _], [_, count, tokens, _, head_dim]) = (&query.sizes[..], &pages.sizes[..]) else {
        return Err("pages have five dimensions, queries four".to_owned());
    };
    let output = context.empty("attend_to_pages", &[*batch, *queries, *heads, *head_dim], query.dtype);
    // Of a window's keys those are read that any row of a block sees; blocks have at most 192 rows.
    let keys = (count / (*batch).max(1)).saturating_mul(*tokens).saturating_add((*queries).min(192));
    let bytes = split_bound(&context.device, query, pages.sizes[3], keys, *head_dim);
    context.workspace(PAGES_KERNEL, bytes);
    one(output)
}

/// A logsumexp a row; and where the rows are too few to fill the GPU, the same and a part of the output for each split of the
/// keys: the most splits of FlashAttention 2, which splits for one query a sequence, and of FlashAttention 3.
fn split_bound(device: &Device, query: &Tensor, key_heads: u64, keys: u64, head_dim: u64) -> u64 {
    let (batch, heads, queries) = (query.sizes[0], query.sizes[1], query.sizes[2]);
    let shared = (heads / key_heads.max(1)).max(1);
    let second = match queries {
        1 => flash_splits(device, batch.saturating_mul(key_heads), shared, keys, head_dim),
        _ => 1,
    };
    let splits = second.max(flash_3_splits(device, key_heads, shared.saturating_mul(queries), keys));
    let parts = if splits > 1 { splits * (head_dim.next_multiple_of(64) + 1) } else { 0 };
    let rows = batch.saturating_mul(heads).saturating_mul(queries);
    rows.saturating_mul(1 + parts).saturating_mul(Dtype::F32.size())
}

/// flash-attention, hopper/heuristics.h, `num_splits_heuristic`, with the fewest keys of a block (more blocks never give
/// fewer splits) and any rows of one; sequences of several lengths are counted as one (hopper/flash_api.cpp, `get_num_splits`).
fn flash_3_splits(device: &Device, key_heads: u64, rows: u64, keys: u64) -> u64 {
    let blocks = keys.div_ceil(64);
    let slots = device.multiprocessors;
    let splits = |tile: u64| {
        let tiles = key_heads.saturating_mul(rows.div_ceil(tile));
        if blocks <= 4 || tiles >= slots * 8 / 10 {
            return 1;
        }
        let most = slots.min(blocks).min(128);
        let efficiency = |count: u64| {
            let waves = (tiles * count) as f64 / slots as f64;
            waves / waves.ceil()
        };
        let best = (1..=most).map(efficiency).fold(0.0, f64::max);
        (1..=most).find(|count| efficiency(*count) >= 0.85 * best).unwrap_or(1)
    };
    [64, 128, 192].map(splits).into_iter().max().unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example in FlashAttention's own comment: of 48 blocks on 108 multiprocessors two splits use 89 %, three 67 %.
    #[test]
    fn keys_are_split_to_fill_the_gpu() {
        let device = Device {
            compute_capability: (8, 0),
            multiprocessors: 108,
            threads_per_multiprocessor: 2048,
            rules: crate::versions::Rules::default(),
        };
        assert_eq!(flash_3_splits(&device, 48, 1, 100_000), 2);
        assert_eq!(flash_3_splits(&device, 48, 1, 256), 1, "four blocks of keys are not split");
        assert_eq!(flash_3_splits(&device, 87, 64, 100_000), 1, "enough rows");
    }
}
