//! A run as the command line writes it: the flags that lead from one run to another.

use std::fmt;

use super::{Run, kernel_word};

/// A key, and what is written behind it.
type Key = (&'static str, fn(&Run) -> Option<String>);

/// The keys of a run with what is written behind each; None where nothing needs to be said. An empty text is a switch.
const KEYS: [Key; 34] = [
    ("mode", |run| text(run.mode)),
    ("batch", |run| text(run.batch)),
    ("seq", |run| text(run.seq)),
    ("image", |run| run.image.and_then(text)),
    ("new-tokens", |run| text(run.new_tokens)),
    ("precision", |run| run.precision.and_then(text)),
    ("grad-scaler", |run| run.grad_scaler.and_then(text)),
    ("optimizer", |run| text(&run.optimizer)),
    ("clip", |run| run.clip.and_then(text)),
    ("accumulate", |run| text(run.accumulate)),
    ("checkpoint", |run| text(&run.checkpoint)),
    ("reentrant", |run| run.reentrant.then(String::new)),
    ("use-cache", |run| run.use_cache.and_then(text)),
    ("checkpoint-save", |run| run.checkpoint_save.as_ref().and_then(text)),
    ("zero-grad", |run| text(run.zero_grad)),
    ("keep-losses", |run| text(run.keep_losses)),
    ("ddp", |run| spread(run, "ddp")),
    ("fsdp", |run| spread(run, "fsdp")),
    ("trainable", |run| run.trainable.as_ref().and_then(text)),
    ("lora", |run| run.lora.as_ref().and_then(text)),
    ("quantize", |run| run.quantize.and_then(text)),
    ("double-quant", |run| text(run.double_quant)),
    ("steps", |run| text(run.steps)),
    ("torch", |run| text(run.versions.torch)),
    ("transformers", |run| text(run.versions.transformers)),
    ("variable", variables),
    ("attention", |run| run.attention.and_then(text)),
    ("sdpa", |run| text(kernel_word(run.sdpa))),
    ("cache", |run| run.cache.kind.and_then(text)),
    ("cache-tokens", |run| run.cache.tokens.and_then(text)),
    ("page-tokens", |run| run.cache.page_tokens.and_then(text)),
    ("cache-dtype", |run| run.cache.dtype.and_then(text)),
    ("allocator", |run| text(&run.allocator)),
    ("hold-outputs", |run| run.hold_outputs.then(String::new)),
];

fn text(value: impl fmt::Display) -> Option<String> {
    Some(value.to_string())
}

/// `A=1 --variable B=2`
fn variables(run: &Run) -> Option<String> {
    let entries: Vec<String> = run.variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
    (!entries.is_empty()).then(|| entries.join(" --variable "))
}

fn spread(run: &Run, kind: &str) -> Option<String> {
    run.parallel.as_ref().map(super::Parallel::flag).filter(|(flag, _)| *flag == kind).map(|(_, words)| words)
}

/// Flags with their values, in the order of the table; a later flag of the same name takes the place of an earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub Vec<(&'static str, String)>);

impl fmt::Display for Flags {
    /// `--batch 1 --accumulate 8`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (flag, value)) in self.0.iter().enumerate() {
            f.write_str(if number > 0 { " --" } else { "--" })?;
            f.write_str(flag)?;
            if !value.is_empty() {
                write!(f, " {value}")?;
            }
        }
        Ok(())
    }
}

impl Run {
    /// The flags that make this run of another one. What cannot be taken back by a flag (a switch, adapters) is not said.
    pub fn flags_from(&self, other: &Run) -> Flags {
        let said = |(flag, value): &Key| {
            value(self).filter(|words| value(other).as_ref() != Some(words)).map(|words| (*flag, words))
        };
        Flags(KEYS.iter().filter_map(said).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{Parallel, Precision};

    #[test]
    fn only_what_differs_is_said() {
        let given = Run { batch: 8, ..Run::default() };
        let parallel = Parallel::fsdp("8, reduce_dtype=fp32,offload").ok();
        let run = Run { batch: 2, accumulate: 4, precision: Some(Precision::Bf16), parallel, ..given.clone() };
        let flags = run.flags_from(&given).to_string();
        assert_eq!(flags, "--batch 2 --precision bf16 --accumulate 4 --fsdp 8,reduce_dtype=fp32,offload=true");
        assert_eq!(given.flags_from(&given), Flags::default());
    }

    /// What is written behind `--ddp` and `--fsdp` is read back as the same.
    #[test]
    fn ways_over_gpus_are_read_back() {
        for words in ["8", "2,reshard=false,param_dtype=bf16", "4,offload=true", "3,reshard=true,reduce_dtype=fp16"] {
            let read = Parallel::fsdp(words);
            assert_eq!(read.as_ref().map(|read| Parallel::fsdp(&read.flag().1)), Ok(read.clone()));
        }
        for words in ["8", "2,bucket_cap_mb=3,init_sync", "4,gradient_as_bucket_view,static_graph"] {
            let read = Parallel::ddp(words);
            assert_eq!(read.as_ref().map(|read| Parallel::ddp(&read.flag().1)), Ok(read.clone()));
        }
    }
}
