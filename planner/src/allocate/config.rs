//! Reads the text of `PYTORCH_CUDA_ALLOC_CONF`: one table of keys, one reader for each kind of value.
//!
//! ```text
//! text -> items (key, value), split at commas outside of brackets -> large_segment_size_mb, since it sets others' limits
//!      -> the rest in order; a later value of the same key wins
//! ```

use super::options::{AllocatorOptions, INTERVALS, OptionsError};
use crate::bytes::{Bytes, MIB};
use crate::words::nearest::nearest;

/// Reads one value into the options.
type Reader = fn(&mut AllocatorOptions, Item<'_>) -> Result<(), OptionsError>;

/// Every key of PyTorch 2.11. Those that cannot change a figure here are checked and dropped.
const KEYS: [(&str, Reader); 16] = [
    ("backend", backend),
    ("expandable_segments", expandable_segments),
    ("garbage_collection_threshold", garbage_collection_threshold),
    ("graph_capture_record_stream_reuse", dropped_flag),
    (LARGE_SEGMENT, large_segment_size),
    ("max_non_split_rounding_mb", max_non_split_rounding),
    ("max_split_size_mb", max_split_size),
    ("per_process_memory_fraction", memory_fraction),
    ("pinned_num_register_threads", dropped_threads),
    ("pinned_reserve_segment_size_mb", dropped_size),
    ("pinned_use_background_threads", dropped_flag),
    ("pinned_use_cuda_host_register", dropped_flag),
    ("pinned_use_hip_host_register", dropped_flag),
    ("release_lock_on_cudamalloc", dropped_flag),
    ("release_lock_on_hipmalloc", dropped_flag),
    ("roundup_power2_divisions", divisions),
];

/// The key that is read first.
const LARGE_SEGMENT: &str = "large_segment_size_mb";

/// A key and the text of its value.
#[derive(Clone, Copy)]
struct Item<'a> {
    key: &'a str,
    value: &'a str,
}

impl Item<'_> {
    fn refused(&self, valid: impl Into<String>) -> OptionsError {
        OptionsError::BadValue { key: self.key.into(), value: self.value.into(), valid: valid.into() }
    }
}

/// Reads the whole text; empty text gives the defaults.
pub(super) fn read(text: &str) -> Result<AllocatorOptions, OptionsError> {
    let text: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let items = items(&text)?;
    let mut options = AllocatorOptions::default();
    let (first, rest): (Vec<Item>, Vec<Item>) = items.into_iter().partition(|item| item.key == LARGE_SEGMENT);
    for item in first.into_iter().chain(rest) {
        let readers = KEYS.iter().filter(|(key, _)| *key == item.key);
        readers.into_iter().try_for_each(|(_, reader)| reader(&mut options, item))?;
    }
    Ok(options)
}

/// Splits text without spaces into its items; nothing between two commas is no item.
fn items(text: &str) -> Result<Vec<Item<'_>>, OptionsError> {
    let (mut items, mut start, mut in_list) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices().chain([(text.len(), ',')]) {
        match c {
            '[' => in_list = true,
            ']' => in_list = false,
            ',' if !in_list => {
                items.extend((at > start).then(|| item(&text[start..at])).transpose()?);
                start = at + 1;
            }
            _ => {}
        }
    }
    if in_list {
        let key = text[start..].split(':').next().unwrap_or_default();
        return Err(OptionsError::OpenList { key: key.into() });
    }
    Ok(items)
}

/// One `key:value`; the key must be known.
fn item(text: &str) -> Result<Item<'_>, OptionsError> {
    let (key, value) = text.split_once(':').unwrap_or((text, ""));
    if !KEYS.iter().any(|(known, _)| *known == key) {
        let names = KEYS.iter().map(|(key, _)| *key);
        let nearest = nearest(key, names).into_iter().map(str::to_owned).collect();
        return Err(OptionsError::UnknownKey { key: key.into(), nearest });
    }
    if value.is_empty() {
        return Err(OptionsError::NoValue { key: key.into() });
    }
    Ok(Item { key, value })
}

/// A whole number that passes `valid`, which `described` puts into words.
fn whole(item: Item<'_>, described: &str, valid: impl Fn(u64) -> bool) -> Result<u64, OptionsError> {
    item.value.parse().ok().filter(|n| valid(*n)).ok_or_else(|| item.refused(described))
}

/// A number that passes `valid`, which `described` puts into words.
fn number(item: Item<'_>, described: &str, valid: impl Fn(f64) -> bool) -> Result<f64, OptionsError> {
    item.value.parse().ok().filter(|n| valid(*n)).ok_or_else(|| item.refused(described))
}

fn flag(item: Item<'_>) -> Result<bool, OptionsError> {
    match item.value {
        "True" => Ok(true),
        "False" => Ok(false),
        _ => Err(item.refused("True or False")),
    }
}

/// Sizes in MiB, as bytes; PyTorch cuts those that do not fit in 64 bits.
fn mebibytes(n: u64) -> Bytes {
    Bytes(n.min(u64::MAX / MIB) * MIB)
}

fn dropped_flag(_: &mut AllocatorOptions, item: Item<'_>) -> Result<(), OptionsError> {
    flag(item).map(drop)
}

fn dropped_threads(_: &mut AllocatorOptions, item: Item<'_>) -> Result<(), OptionsError> {
    whole(item, "a power of two up to 128", |n| n.is_power_of_two() && n <= 128).map(drop)
}

fn dropped_size(_: &mut AllocatorOptions, item: Item<'_>) -> Result<(), OptionsError> {
    whole(item, "a whole number above 0", |n| n > 0).map(drop)
}

fn expandable_segments(options: &mut AllocatorOptions, item: Item<'_>) -> Result<(), OptionsError> {
    options.expandable_segments = flag(item)?;
    Ok(())
}

fn max_split_size(options: &mut AllocatorOptions, item: Item<'_>) -> Result<(), OptionsError> {
    options.max_split_size = Some(at_least_a_segment(options, item)?);
    Ok(())
}

fn max_non_split_rounding(options: &mut AllocatorOptions, item: Item<'_>) -> Result<(), OptionsError> {
    options.max_non_split_rounding = at_least_a_segment(options, item)?;
    Ok(())
}

fn backend(_: &mut AllocatorOptions, item: Item<'_>) -> Result<(), OptionsError> {
    match item.value {
        "native" => Ok(()),
        "cudaMallocAsync" => Err(OptionsError::OtherBackend),
        _ => Err(item.refused("native")),
    }
}

fn garbage_collection_threshold(options: &mut AllocatorOptions, item: Item<'_>) -> Result<(), OptionsError> {
    let threshold = number(item, "a number between 0 and 1, both excluded", |n| n > 0.0 && n < 1.0)?;
    options.garbage_collection_threshold = Some(threshold);
    Ok(())
}

fn memory_fraction(options: &mut AllocatorOptions, item: Item<'_>) -> Result<(), OptionsError> {
    options.memory_fraction = number(item, "a number from 0 to 1", |n| (0.0..=1.0).contains(&n))?;
    Ok(())
}

/// Also the default of `max_non_split_rounding_mb`.
fn large_segment_size(options: &mut AllocatorOptions, item: Item<'_>) -> Result<(), OptionsError> {
    options.large_segment_size = mebibytes(whole(item, "a whole number of MiB above 10", |n| n > 10)?);
    options.max_non_split_rounding = options.large_segment_size;
    Ok(())
}

fn at_least_a_segment(options: &AllocatorOptions, item: Item<'_>) -> Result<Bytes, OptionsError> {
    let least = options.large_segment_size.0 / MIB;
    let described = format!("a whole number of MiB, {least} (large_segment_size_mb) or more");
    Ok(mebibytes(whole(item, &described, |n| n >= least)?))
}

/// `4` for all sizes, or `[256:1,512:2,>:4]`: sizes in MiB with their divisions. The first entry counts for all smaller
/// sizes, `>` for all above the last one; sizes between two entries that are not listed have none.
fn divisions(options: &mut AllocatorOptions, item: Item<'_>) -> Result<(), OptionsError> {
    let Some(list) = item.value.strip_prefix('[') else {
        options.divisions =
            [whole(item, "a power of two, or a list [MIB:DIVISIONS,...,>:DIVISIONS]", u64::is_power_of_two)?;
                INTERVALS];
        return Ok(());
    };
    let list = list.strip_suffix(']').ok_or_else(|| item.refused("nothing behind the ']'"))?;
    let mut last = None;
    for entry in list.split(',').filter(|entry| !entry.is_empty()) {
        let (size, count) = entry.split_once(':').ok_or_else(|| item.refused("a list of MIB:DIVISIONS"))?;
        let count = Item { value: count, ..item };
        let count = whole(count, "a power of two, or 0 for none, as divisions", |n| n == 0 || n.is_power_of_two())?;
        if size == ">" {
            options.divisions[last.map_or(1, |last: usize| last + 1)..].fill(count);
            continue;
        }
        let size = Item { value: size, ..item };
        let size = whole(size, "a power of two as MiB, or > for all above the last one", u64::is_power_of_two)?;
        let interval = (size.ilog2() as usize).min(INTERVALS - 1);
        if last.is_none() {
            options.divisions[..interval].fill(count);
        }
        options.divisions[interval] = count;
        last = Some(interval);
    }
    Ok(())
}
