//! Options that reports have no words of their own for: they are said as a run file has them, where they are not the
//! default.

use serde_json::{Map, Value};

use crate::run::Run;

/// Options that reports say in words or parts of their own, or leave out.
const WORDED: &str = "\
    mode batch seq image new-tokens precision grad-scaler optimizer clip accumulate checkpoint reentrant use-cache \
    checkpoint-save zero-grad keep-losses ddp fsdp parallel trainable lora quantize double-quant steps attention \
    sdpa cache cache-tokens page-tokens cache-dtype capacity allocator torch transformers env variables \
    hold-outputs workers prefetch sample pin-memory host-ram specs dim loss input";

/// The keys of all other options that are not the default, with their values.
pub(super) fn others(run: &Run) -> Map<String, Value> {
    let others = run.beyond_defaults();
    others
        .filter(|(key, _)| !WORDED.split(' ').any(|worded| worded == *key))
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

/// The same in words: `new-option 8`.
pub(super) fn words(run: &Run) -> Vec<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    others(run).iter().map(|(key, value)| format!("{key} {}", text(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::OPTIONS;

    #[test]
    fn only_options_have_words() {
        for key in WORDED.split(' ') {
            assert!(OPTIONS.iter().any(|option| option.key == key), "{key}");
        }
    }

    #[test]
    fn options_with_words_are_not_said_twice() {
        assert_eq!(words(&Run { batch: 8, keep_losses: 1, ..Run::default() }), Vec::<String>::new());
        let changed = Run { batch: 8, hold_outputs: true, ..Run::default() };
        let changed: Vec<_> = changed.beyond_defaults().collect();
        assert_eq!(changed, [("batch", 8.into()), ("hold-outputs", true.into())]);
    }
}
