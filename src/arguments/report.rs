//! What can be written behind `report`.

use std::path::PathBuf;

use clap::Args;

use super::RunArguments;

const EXAMPLES: &str = "\
The file's name says what is written: .html is one page that needs no network (timeline, modules, tensors, segments, settings),
.svg and .png are the timeline as a picture, .json is a trace for https://ui.perfetto.dev or chrome://tracing.

Examples:
  memplan report gpt2 --batch 4 --seq 512 -o plan.html
  memplan report llama-3.1-8b --seq 4096 --checkpoint full --against before.yaml -o plan.html
  memplan report resnet50 --batch 64 -o plan.png
  memplan report gpt2 -o plan.json

Exit codes: 0 the run fits, 1 it does not fit, 2 bad usage or bad input";

/// `memplan report`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(mut_arg("format", |format| format.hide(true)))]
pub struct ReportArguments {
    #[command(flatten)]
    pub run: RunArguments,
    /// Write the report to this file: .html, .svg, .png or .json
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Show another plan beside it: a run file's or a snapshot's as it is, or another model's with the same flags
    #[arg(long, value_name = "OTHER")]
    pub against: Option<String>,
}
