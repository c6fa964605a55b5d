//! A run as the command line writes it: the flags that lead from one run to another.

use std::fmt;

use super::{OPTIONS, Run};

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
    /// The flags that make this run of another one. What cannot be taken back by a flag (a switch, adapters) is not
    /// said.
    pub fn flags_from(&self, other: &Run) -> Flags {
        let said = OPTIONS.iter().map(|option| (option.said(self), option.said(other)));
        Flags(said.filter(|(ours, theirs)| ours != theirs).filter_map(|(ours, _)| ours).collect())
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
