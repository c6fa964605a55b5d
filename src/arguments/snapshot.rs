//! What can be written behind `snapshot`, `check` and `diff`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use planner::snapshot::Tolerance;

use super::RunArguments;

const SNAPSHOT_EXAMPLES: &str = "\
Examples:
  memplan snapshot gpt2 --batch 4 --seq 512 -o memplan/gpt2.yaml
  memplan snapshot path/to/model --gpu rtx4090 -o memplan/model.yaml
  memplan snapshot --run run.yaml

Exit codes: 0 kept, 2 bad usage or bad input";

const CHECK_EXAMPLES: &str = "\
Models and folders that a snapshot names are those of the working directory, as in run files.

Examples:
  memplan check                                     all snapshots below memplan/
  memplan check memplan/gpt2.yaml --tolerance 1%
  memplan check plans --format junit > memplan.xml
  memplan check --format github                     annotations in GitHub Actions
  memplan check --update                            accept what was found

Exit codes: 0 no peak grew, 1 one did or a run no longer fits, 2 bad input, such as a missing model";

const DIFF_EXAMPLES: &str = "\
Examples:
  memplan diff gpt2 distilgpt2 --batch 4 --seq 512
  memplan diff old-run.yaml new-run.yaml
  memplan diff memplan/gpt2.yaml new.yaml --format json
  memplan diff run.trace other.trace

A snapshot is compared as it is kept; models and run files are planned, with the flags.";

/// `memplan snapshot`.
#[derive(Debug, Args)]
#[command(after_help = SNAPSHOT_EXAMPLES)]
#[command(mut_arg("format", |format| format.hide(true)))]
pub struct SnapshotArguments {
    #[command(flatten)]
    pub run: RunArguments,
    /// Write the snapshot to this file [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// How a check is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CheckForm {
    Text,   // for people
    Json,   // for programs
    Junit,  // XML, for continuous integration
    Github, // annotations of GitHub Actions
}

/// `memplan check`.
#[derive(Debug, Args)]
#[command(after_help = CHECK_EXAMPLES)]
pub struct CheckArguments {
    /// Snapshots, or folders of them [default: memplan]
    pub paths: Vec<PathBuf>,
    /// How much a peak may grow: a share such as 1%, or a size such as 64MiB [default: nothing]
    #[arg(long, value_name = "GROWTH", default_value = "0", hide_default_value = true, allow_hyphen_values = true)]
    pub tolerance: Tolerance,
    /// Compare with this snapshot, in place of a plan of the kept run
    #[arg(long, value_name = "SNAPSHOT")]
    pub against: Option<PathBuf>,
    /// Write what was found in place of what was kept
    #[arg(long)]
    pub update: bool,
    /// How the result is written
    #[arg(long, value_enum, default_value_t = CheckForm::Text)]
    pub format: CheckForm,
}

/// `memplan diff`.
#[derive(Debug, Args)]
#[command(after_help = DIFF_EXAMPLES)]
#[command(mut_arg("named", |model| model.index(1).value_name("A").required(true).help("A model, a run file or a snapshot")))]
pub struct DiffArguments {
    #[command(flatten)]
    pub run: RunArguments,
    /// What it is compared with: a model, a run file or a snapshot
    #[arg(value_name = "B", index = 2)]
    pub other: String,
}
