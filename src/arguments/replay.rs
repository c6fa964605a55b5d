//! What can be written behind `replay` and `why`.

use clap::Args;
use planner::bytes::Bytes;
use planner::versions::Release;

use super::{Format, RunArguments};

const REPLAY_EXAMPLES: &str = "\
Examples:
  memplan plan llama-3.1-8b --seq 4096 --events run.trace
  memplan replay run.trace --gpu t4 --allocator expandable_segments:True
  memplan report run.trace -o run.html
  memplan fit run.trace --gpu all
  memplan diff run.trace other.trace
  memplan pack run.trace

Exit codes: 0 the run fits, 1 it does not fit, 2 bad usage or bad input";

const WHY_EXAMPLES: &str = "\
The name is a parameter's or a module's path, an operator, `OPERATOR of PATH`, or `#NUMBER`, an allocation's number.

Examples:
  memplan why gpt2 --tensor transformer.h.0.ln_1
  memplan why gpt2 --batch 4 --tensor 'addmm of transformer.h.11.mlp.c_fc'
  memplan why run.trace --tensor '#482'";

/// `memplan replay`.
#[derive(Debug, Args)]
#[command(after_help = REPLAY_EXAMPLES)]
pub struct ReplayArguments {
    /// The trace: what `memplan plan --events FILE` wrote
    #[arg(value_name = "FILE")]
    pub trace: String,
    /// Replay on this GPU [default: as it was planned]
    #[arg(long, value_name = "GPU")]
    pub gpu: Option<String>,
    /// Let the allocator take this much, e.g. 20GiB
    #[arg(long, value_name = "SIZE")]
    pub capacity: Option<Bytes>,
    /// The allocator's options, as in PYTORCH_CUDA_ALLOC_CONF
    #[arg(long, value_name = "OPTIONS")]
    pub allocator: Option<String>,
    /// Replay as this release of PyTorch does
    #[arg(long, value_name = "VERSION")]
    pub torch: Option<Release>,
    /// How the result is written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// `memplan why`.
#[derive(Debug, Args)]
#[command(after_help = WHY_EXAMPLES)]
#[command(mut_arg("format", |format| format.hide(true)))]
pub struct WhyArguments {
    #[command(flatten)]
    pub run: RunArguments,
    /// The tensor that is asked about
    #[arg(long, value_name = "NAME")]
    pub tensor: String,
}
