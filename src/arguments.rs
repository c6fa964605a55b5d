//! The command line: what can be written, and what each word means.

mod replay;
mod report;
mod run;
mod shell;
mod snapshot;
mod sweep;
mod words;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::{ContextKind, ErrorKind};
use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand, ValueEnum};
use planner::buy::Budget;
use planner::bytes::Bytes;
use planner::checkpoint::{Currency, Form, Granularity, Measure};
use planner::run::{Pattern, whole};
use planner::words::nearest::edits;
use planner::words::quote;

pub use replay::{ReplayArguments, WhyArguments};
pub use report::ReportArguments;
pub use run::RunArguments;
pub use shell::{CompletionsArguments, ManArguments, completions, man};
pub use snapshot::{CheckArguments, CheckForm, DiffArguments, SnapshotArguments};
pub use sweep::{Rows, SweepArguments};

use crate::failure::Failure;
use crate::output;
use crate::program::{BAD, FITS, Flag};

/// What `memplan` alone says.
const BEGIN: &str = "\
memplan predicts the GPU memory of a PyTorch run to the byte, before anything runs.

  memplan plan gpt2                                         a training step of a built-in model
  memplan plan llama-3.1-8b --mode generate --gpu rtx4090   does it fit?
  memplan plan path/to/model --batch 8 --seq 1024           a Hugging Face folder
  memplan checkpoint gpt2 --batch 8 --budget 6GiB           which modules to checkpoint
  memplan fit gpt2 --seq 1024 --gpu all                     where does it fit, and up to which batch?
  memplan advise gpt2-large --batch 8 --gpu rtx3060         what to change so that it fits
  memplan buy llama-3.1-8b --seq 4096                       how many of which GPU?
  memplan report gpt2 -o plan.html                          the plan as a page to look at
  memplan snapshot gpt2 -o memplan/gpt2.yaml                keep it: `memplan check` fails when it grows
  memplan diff gpt2 distilgpt2                              what differs, and why
  memplan plan model.pt2 --batch 8                          what torch.export.save wrote
  memplan graph gpt2 --module transformer.h.0               what a module computes
  memplan inspect path/to/model                             its parameters and bytes
  memplan pack buffers.csv --minimize                       offsets for buffers in one arena
  memplan calibrate                                         measures this machine's GPU
  memplan models                                            the built-in models
  memplan gpus                                              the GPUs
  memplan versions                                          releases of PyTorch and transformers

`memplan --help` and `memplan plan --help` say the rest.
";

const EXAMPLES: &str = "\
Examples:
  memplan plan gpt2 --batch 4 --seq 512
  memplan plan llama-3.1-8b --mode generate --seq 1000 --new-tokens 200 --gpu rtx4090
  memplan plan path/to/model --format json
  memplan inspect path/to/model

Exit codes:
  0  done; of a plan: the run fits
  1  the run does not fit; of buffers: they do not, or their packing is not valid
  2  bad usage or bad input
  3  calibrate finds no GPU, no driver or no library of CUDA";

const PLAN_EXAMPLES: &str = "\
Examples:
  memplan plan gpt2                                       train, batch 1, seq 128, on an H200
  memplan plan gpt2 --batch 16 --seq 1024 --gpu rtx3090
  memplan plan llama-3.1-8b --mode generate --seq 1000 --new-tokens 200 --gpu rtx4090
  memplan plan path/to/model --precision bf16 --allocator expandable_segments:True
  memplan plan bert-base --capacity 8GiB --format json
  memplan plan --run run.yaml --batch 8                   flags win over the file

run.yaml holds the same keys, one a line:  new-tokens: 8
Exit codes: 0 the run fits, 1 it does not fit, 2 bad usage or bad input";

const CHECKPOINT_EXAMPLES: &str = "\
Examples:
  memplan checkpoint llama-3.2-1b --seq 4096 --budget 20GiB
  memplan checkpoint gpt2-large --batch 8 --seq 1024 --gpu rtx4090 --headroom 5%
  memplan checkpoint gpt2 --batch 8 --seq 1024 --curve
  memplan checkpoint bert-base --batch 64 --budget 8GiB --granularity block --emit torch
  memplan checkpoint gpt2 --batch 8 --seq 512 --budget 6GiB --granularity op --emit torch

Exit codes: 0 a choice fits, 1 none does, 2 bad usage or bad input";

const FIT_EXAMPLES: &str = "\
The largest batch (in generation: the requests at once) and the longest sequence (the prompt; of images: their rows and \
columns) are searched one at a time, all else as given. Each answer was planned and fits; the next size was planned and does \
not, nor does any of the 8 beyond the answer. Sizes still further on are not looked at. Where the next size is refused, as where \
positions end, the limit is the model's, and the report says so. The search ends at 4294967296, or where a tensor has 2^50 bytes.

Examples:
  memplan fit gpt2 --batch 8 --seq 1024 --gpu all
  memplan fit llama-3.1-8b --mode generate --seq 1000 --new-tokens 200 --gpu rtx4090,a100-80gb
  memplan fit path/to/model --checkpoint full --gpu rtx3090 --format json
  memplan fit bert-base --capacity 8GiB

Exit codes: 0 the run as given fits on at least one of the GPUs, 1 it fits on none, 2 bad usage or bad input";

const ADVISE_EXAMPLES: &str = "\
Each change that applies is planned alone; where the run does not fit, combinations are: those that are paid with less first, of \
those the smallest. What changes are paid with, the cheapest first: nothing, launches (more and smaller kernels), recomputation, \
transfers (between host and GPU), rounding, communication (more GPUs), training (fewer or other parameters), another model. Flags of an \
answer can be put behind those of the run: later ones win. Advice on --ddp takes its place.

Examples:
  memplan advise gpt2-large --batch 8 --seq 1024 --gpu rtx3060
  memplan advise llama-3.1-8b --seq 4096 --gpu a100-40gb
  memplan advise path/to/model --batch 32 --capacity 10GiB --format json

Exit codes: 0 the run fits as given or with the combination, 1 nothing that was tried fits, 2 bad usage or bad input";

const BUY_EXAMPLES: &str = "\
For each GPU and strategy the fewest GPUs that fit are offered; the batch is that of each GPU. Prices are the latest of the catalogue, \
with their dates (`memplan gpus --format json` has the sources); those by the hour come first, GPUs without a price last. ZeRO's \
figures are a bound on what is allocated, all others are exact.

Examples:
  memplan buy llama-3.1-8b --seq 4096 --max-gpus 8
  memplan buy gpt2-large --batch 8 --seq 1024 --budget 2000
  memplan buy llama-3.1-70b --seq 2048 --optimizer adamw8bit --gpu a100-80gb,h100 --budget 40/h
  memplan buy llama-3.1-8b --serve --quantize nf4 --requests 16 --context 4096

Exit codes: 0 something fits, 1 nothing does, 2 bad usage or bad input";

const CALIBRATE_EXAMPLES: &str = "\
The profile holds what the driver says of memory, what a process holds outside PyTorch's allocator, cuDNN's workspaces (from \
PyTorch, if it is there) and the GPU's speeds; every later plan for that GPU reads it.

Examples:
  memplan calibrate --dry-run
  memplan calibrate
  memplan calibrate --for resnet50 --batch 64 --precision amp-bf16 -o h200.yaml
  memplan calibrate --replay gpt2 --batch 8 --seq 1024

Exit codes: 0 done; of a replay: the device did as planned, 1 it did not, 2 bad usage or bad input, 3 no GPU, driver or library";

const INSPECT_EXAMPLES: &str = "\
Only headers are read, never tensors; any architecture will do.

Examples:
  memplan inspect path/to/model
  memplan inspect model-00001-of-00004.safetensors
  memplan inspect path/to/model --format json";

const PACK_EXAMPLES: &str = "\
The CSV is minimalloc's: id,lower,upper,size for lifetimes that end before `upper`, or
id,start,end,size for those that end with `end`; optional are alignment and offset, a fixed place.

Statuses:
  optimal (= lower bound)     no packing is smaller: no less than that is alive together
  optimal (search exhausted)  no packing is smaller: the search tried all
  feasible                    a smaller packing may exist
  infeasible (proved)         no packing is within the capacity
  time limit                  the time ended: a smaller one, or one that fits, may exist
  not found                   too many buffers to search: one that fits may exist

Examples:
  memplan pack buffers.csv --minimize -o out.csv
  memplan pack buffers.csv --capacity 1MiB --align 512 --time-limit 2s
  memplan pack buffers.csv --capacity 1048576 --format json
  memplan pack --validate buffers.csv out.csv

Of a model the last step is packed: parameters, buffers and optimizer states lie first, all else above them.
  memplan pack gpt2 --batch 8 --seq 1024 -o layout.json
  memplan pack resnet50 --batch 32 --capacity 8GiB --align 256

Exit codes: 0 packed, or valid; 1 does not fit, or not valid; 2 bad usage or bad input";

const GRAPH_EXAMPLES: &str = "\
The first forward of the run: what each operator takes and gives, in order.

Examples:
  memplan graph gpt2 --module transformer.h.0
  memplan graph model.pt2 --dot | dot -Tsvg > model.svg
  memplan graph path/to/model --mode infer --json";

const IMPORT_EXAMPLES: &str = "\
What cannot be written stands in the spec with file and line; a run that comes to it is refused there.

Examples:
  memplan import site-packages/transformers --family gpt_neox -o gpt_neox.yaml
  memplan plan gpt_neox.yaml --batch 4 --seq 2048
  memplan import path/to/model -o own.yaml      a model whose config.json has auto_map

Exit codes: 0 written whole; 1 written with parts that cannot be said; 2 bad usage or bad input";

const OPERATORS_EXAMPLES: &str = "\
Examples:
  memplan ops
  memplan ops --format json";

const GPUS_EXAMPLES: &str = "\
Examples:
  memplan gpus
  memplan gpus --format json
  memplan gpus --specs my-specs      with the entries of my-specs/gpus/*.yaml";

const MODELS_EXAMPLES: &str = "\
Examples:
  memplan models
  memplan models --format json
  memplan models --specs my-specs    with the families of my-specs/models/*.yaml";

const VERSIONS_EXAMPLES: &str = "\
Examples:
  memplan versions
  memplan versions --format json      with the source file of each change
  memplan plan gpt2 --torch 2.11      a run with an older release";

/// Predicts the GPU memory of a PyTorch run to the byte, without PyTorch and without a GPU.
#[derive(Debug, Parser)]
#[command(name = "memplan", version, args_override_self = true, after_help = EXAMPLES, max_term_width = 100)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Plan a run of a model: its peaks, what takes them, whether it fits.
    Plan(Box<PlanArguments>),
    /// Choose the modules to checkpoint so that a run fits, at the least recomputation.
    Checkpoint(Box<CheckpointArguments>),
    /// Say where a run fits, and the largest batch and the longest sequence that would.
    Fit(Box<FitArguments>),
    /// Say what to change so that a run fits: each change alone, and the smallest combination.
    Advise(Box<AdviseArguments>),
    /// Say how many of which GPU a run fits on, with which strategy, and what they cost.
    Buy(Box<BuyArguments>),
    /// Plan every combination of sizes and choices.
    Sweep(Box<SweepArguments>),
    /// Keep a plan as a small text, for `memplan check`.
    Snapshot(Box<SnapshotArguments>),
    /// Plan kept runs again, and fail where a peak grew.
    Check(CheckArguments),
    /// Say what differs between two models, runs or snapshots, and why.
    Diff(Box<DiffArguments>),
    /// Draw a plan: a page to look at, a picture, a trace.
    Report(Box<ReportArguments>),
    /// Replay a trace that `memplan plan --events` wrote, with other allocator options or on another GPU.
    Replay(ReplayArguments),
    /// Say who made a tensor, who held it and what let go of it.
    Why(Box<WhyArguments>),
    /// List a checkpoint's parameters and bytes, by type and by module.
    Inspect(InspectArguments),
    /// Show a model's forward program: operators with shapes, module by module.
    Graph(Box<GraphArguments>),
    /// Write a spec from the Python source of a model's family: read, never run.
    Import(ImportArguments),
    /// List the operators that are known, with what each was read from.
    Ops(OperatorsArguments),
    /// Give a model's buffers, or any with lifetimes, fixed offsets in one arena, or check offsets.
    Pack(Box<PackArguments>),
    /// Measure on this machine's GPU what cannot be derived, or replay a plan there.
    Calibrate(Box<CalibrateArguments>),
    /// List the GPUs that are known.
    Gpus(ListArguments),
    /// List the models that are built in.
    #[command(after_help = MODELS_EXAMPLES)]
    Models(ListArguments),
    /// List the releases of PyTorch and transformers that are planned, and what changed in each.
    Versions(VersionsArguments),
    /// Print what makes a shell complete memplan's commands.
    Completions(CompletionsArguments),
    /// Print the manual's page, or write all of them.
    Man(ManArguments),
}

/// How the result is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text, // for people
    Json, // for programs
}

/// `memplan plan`.
#[derive(Debug, Args)]
#[command(after_help = PLAN_EXAMPLES)]
pub struct PlanArguments {
    #[command(flatten)]
    pub run: RunArguments,
    /// Show what each choice that saves memory would save here: each alone, then all
    #[arg(long, conflicts_with = "events")]
    pub compare: bool,
    /// Write the event stream to this file
    #[arg(long, value_name = "FILE")]
    pub events: Option<PathBuf>,
    /// Show all: bytes, phases, the largest tensors, every note
    #[arg(long)]
    pub full: bool,
}

/// `memplan import`.
#[derive(Debug, Args)]
#[command(after_help = IMPORT_EXAMPLES)]
pub struct ImportArguments {
    /// The folder of the package transformers (.../site-packages/transformers), or a model's folder that brings its source
    pub package: PathBuf,
    /// The family of transformers: a folder of transformers/models
    #[arg(long, value_name = "NAME")]
    pub family: Option<String>,
    /// Write these architectures alone
    #[arg(long, value_name = "CLASS", value_delimiter = ',', requires = "family")]
    pub only: Vec<String>,
    /// Say of every family how much of it can be written
    #[arg(long, conflicts_with_all = ["family", "output"])]
    pub all: bool,
    /// Write the spec to this file
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `memplan checkpoint`.
#[derive(Debug, Args)]
#[command(after_help = CHECKPOINT_EXAMPLES)]
pub struct CheckpointArguments {
    #[command(flatten)]
    pub run: RunArguments,
    /// What the peak may be: bytes, or 20GiB, 500MiB [default: what the GPU has for the allocator]
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true, help_heading = "Choice")]
    pub budget: Option<Bytes>,
    /// What is to stay free of the GPU where no budget is given, such as 5%
    #[arg(long, value_name = "SHARE", value_parser = share, conflicts_with = "budget", help_heading = "Choice")]
    pub headroom: Option<f64>,
    /// The peak that the budget is for
    #[arg(long, value_parser = one_of(Measure::ALL), default_value_t = Measure::Reserved, help_heading = "Choice")]
    pub measure: Measure,
    /// Whole blocks, or any module within them too
    #[arg(long, value_parser = one_of(Granularity::ALL), default_value_t = Granularity::Module, help_heading = "Choice")]
    pub granularity: Granularity,
    /// What is to be least: operations, or time by the GPU's profile or datasheet
    #[arg(long, value_parser = one_of(Currency::ALL), default_value_t = Currency::Flops, help_heading = "Choice")]
    pub cost: Currency,
    /// Choose only among modules whose paths this regular expression matches
    #[arg(long, value_name = "REGEX", help_heading = "Choice")]
    pub only: Option<Pattern>,
    /// Show the choice for budgets from the least that can be reached to none at all
    #[arg(long, conflicts_with = "emit", help_heading = "Choice")]
    pub curve: bool,
    /// Write the code that applies the choice, or a file for `memplan plan --checkpoint @FILE`
    #[arg(long, value_parser = one_of(Form::ALL), help_heading = "Choice")]
    pub emit: Option<Form>,
}

/// `memplan fit`.
#[derive(Debug, Args)]
#[command(after_help = FIT_EXAMPLES)]
#[command(mut_arg("gpu", |gpu| gpu.value_name("NAMES").help("The GPUs, with commas between, or all [default: h200]")))]
pub struct FitArguments {
    #[command(flatten)]
    pub run: RunArguments,
}

/// `memplan advise`.
#[derive(Debug, Args)]
#[command(after_help = ADVISE_EXAMPLES)]
pub struct AdviseArguments {
    #[command(flatten)]
    pub run: RunArguments,
}

/// `memplan buy`.
#[derive(Debug, Args)]
#[command(after_help = BUY_EXAMPLES)]
#[command(mut_arg("gpu", |gpu| gpu.value_name("NAMES").help("The GPUs, with commas between, or all [default: all]")))]
pub struct BuyArguments {
    #[command(flatten)]
    pub run: RunArguments,
    /// The most GPUs
    #[arg(long, value_name = "N", value_parser = whole, default_value_t = 8, allow_negative_numbers = true, help_heading = "Choice")]
    pub max_gpus: u64,
    /// The most that they may cost in US dollars: 4/h for an hour, 2500 to own them
    #[arg(long, value_name = "PRICE", allow_hyphen_values = true, help_heading = "Choice")]
    pub budget: Option<Budget>,
    /// Serve the model instead: generation of --requests with a context of --context tokens
    #[arg(long, conflicts_with_all = ["mode", "seq", "batch"], help_heading = "Serving")]
    pub serve: bool,
    /// Requests at once [default: 1]
    #[arg(long, value_name = "N", value_parser = whole, requires = "serve", allow_negative_numbers = true, help_heading = "Serving")]
    pub requests: Option<u64>,
    /// Tokens of each request, --new-tokens among them [default: 2048]
    #[arg(long, value_name = "T", value_parser = whole, requires = "serve", allow_negative_numbers = true, help_heading = "Serving")]
    pub context: Option<u64>,
}

/// `memplan calibrate`.
#[derive(Debug, Args)]
#[command(after_help = CALIBRATE_EXAMPLES)]
#[command(mut_arg("named", |model| model.hide(true)), mut_arg("model", |model| model.hide(true)))]
pub struct CalibrateArguments {
    #[command(flatten)]
    pub run: RunArguments,
    /// Say what would be measured and how long that takes at most, and measure nothing
    #[arg(long, conflicts_with = "replay", help_heading = "Calibration")]
    pub dry_run: bool,
    /// Replay a plan with real cudaMalloc calls: a model with a plan's flags, or an event file of `memplan plan --events`
    #[arg(long, value_name = "MODEL|FILE.json", conflicts_with_all = ["named", "model", "for_model"], help_heading = "Calibration")]
    pub replay: Option<String>,
    /// Whose calls cuDNN's workspaces are measured for, with a plan's flags [default: the built-in models of images]
    #[arg(long = "for", value_name = "MODEL", conflicts_with_all = ["named", "model"], help_heading = "Calibration")]
    pub for_model: Option<String>,
    /// The Python that has PyTorch
    #[arg(long, value_name = "PROGRAM", default_value = "python3", help_heading = "Calibration")]
    pub python: String,
    /// Ask PyTorch nothing
    #[arg(long, conflicts_with_all = ["python", "for_model"], help_heading = "Calibration")]
    pub no_pytorch: bool,
    /// How often each kernel is timed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000), default_value_t = 20, help_heading = "Calibration")]
    pub repetitions: u32,
    /// Write the profile to this file [default: the user's folder of profiles, where every plan finds it]
    #[arg(short, long, value_name = "FILE", conflicts_with = "replay", help_heading = "Calibration")]
    pub output: Option<PathBuf>,
    /// Hold memory in stages for the process that measures it
    #[arg(long, hide = true)]
    pub hold: bool,
}

/// `memplan inspect`.
#[derive(Debug, Args)]
#[command(after_help = INSPECT_EXAMPLES)]
pub struct InspectArguments {
    /// A model folder or a .safetensors file
    pub path: PathBuf,
    /// How the inspection is written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// `memplan pack`.
#[derive(Debug, Args)]
#[command(after_help = PACK_EXAMPLES)]
#[command(mut_arg("named", |model| {
    model.index(1).value_name("MODEL|BUFFERS.csv").help("A model, whose last step is packed, or buffers in minimalloc's CSV")
}))]
#[command(mut_arg("capacity", |capacity| capacity.help("Find an arena of at most this size: bytes, or 20GiB, 500MiB")))]
pub struct PackArguments {
    #[command(flatten)]
    pub run: RunArguments,
    /// The packing that --validate checks: the same buffers with their offsets
    #[arg(index = 2, requires = "validate", conflicts_with_all = ["capacity", "minimize"])]
    pub packed: Option<PathBuf>,
    /// Find the smallest arena; a model's is found without it
    #[arg(long, conflicts_with = "capacity", help_heading = "Packing")]
    pub minimize: bool,
    /// Check a packing instead: every pair of buffers, without the code that packs
    #[arg(long, requires = "packed", help_heading = "Packing")]
    pub validate: bool,
    /// How long to look for a better packing and for proofs: 10s, 500ms, 2min [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = duration, allow_hyphen_values = true, conflicts_with = "validate", help_heading = "Packing")]
    pub time_limit: Option<Duration>,
    /// The alignment of buffers that name none: bytes, or 4KiB [default: 1; of a model's 512]
    #[arg(long, value_name = "BYTES", value_parser = alignment, allow_negative_numbers = true, help_heading = "Packing")]
    pub align: Option<u64>,
    /// Write the buffers with their offsets to this file, where they fit; a model's as .csv or .json
    #[arg(short, long, value_name = "FILE", conflicts_with = "validate", help_heading = "Packing")]
    pub output: Option<PathBuf>,
}

/// `memplan graph`.
#[derive(Debug, Args)]
#[command(after_help = GRAPH_EXAMPLES)]
pub struct GraphArguments {
    #[command(flatten)]
    pub run: RunArguments,
    /// Show this module alone, with those within it
    #[arg(long, value_name = "PATH")]
    pub module: Option<String>,
    /// Write the data flow in Graphviz's language
    #[arg(long, conflicts_with = "json")]
    pub dot: bool,
    /// Write it as JSON
    #[arg(long)]
    pub json: bool,
}

/// `memplan ops`.
#[derive(Debug, Args)]
#[command(after_help = OPERATORS_EXAMPLES)]
pub struct OperatorsArguments {
    /// How the list is written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// `memplan gpus` and `memplan models`.
#[derive(Debug, Args)]
#[command(after_help = GPUS_EXAMPLES)]
pub struct ListArguments {
    /// A folder of your own specs, laid out as specs/
    #[arg(long, value_name = "DIR")]
    pub specs: Option<PathBuf>,
    /// How the list is written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// `memplan versions`.
#[derive(Debug, Args)]
#[command(after_help = VERSIONS_EXAMPLES)]
pub struct VersionsArguments {
    /// How the list is written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// Reads a command line; help and the version are printed here.
pub fn read(arguments: &[OsString]) -> Result<Command, Failure> {
    match CommandLine::try_parse_from(words::translated(arguments.iter().cloned())) {
        Ok(CommandLine { command: Some(command) }) => Ok(command),
        Ok(CommandLine { command: None }) => {
            output::print(BEGIN)?;
            Err(Failure::Said(BAD))
        }
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            output::print(&error.render().ansi().to_string())?;
            Err(Failure::Said(FITS))
        }
        Err(error) if error.kind() == ErrorKind::InvalidUtf8 => Err(no_text(arguments)),
        Err(error) => Err(usage(&error)),
    }
}

/// The argument that is no text, where one has to be.
fn no_text(arguments: &[OsString]) -> Failure {
    let argument = arguments.iter().find(|argument| argument.to_str().is_none());
    Failure::new(quote::no_text(argument.map_or(OsStr::new(""), OsString::as_os_str)), None)
}

/// The flags of a command, as `program::flags` gives them.
pub fn flags(command: &str) -> Vec<Flag> {
    let program = CommandLine::command();
    let known = program.find_subcommand(command).into_iter().flat_map(clap::Command::get_arguments);
    let flags = known.filter_map(|argument| {
        Some(Flag {
            name: argument.get_long()?.to_owned(),
            takes_value: argument.get_action().takes_values(),
            repeats: matches!(argument.get_action(), ArgAction::Append),
        })
    });
    flags.collect()
}

/// One of the words of a choice; help and errors list them.
fn one_of<T>(choices: &[(&'static str, T)]) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err: std::error::Error + Send + Sync> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(choices.iter().map(|(word, _)| *word)).try_map(|word| word.parse())
}

/// A share such as `5%`.
fn share(text: &str) -> Result<f64, &'static str> {
    let number = text.trim().strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    number.filter(|share| (0.0..100.0).contains(share)).ok_or("a share such as 5% is expected")
}

/// A time such as `10s`, `1.5s`, `500ms` or `2min`.
fn duration(text: &str) -> Result<Duration, &'static str> {
    let text = text.trim();
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let seconds = match text[split..].trim_start() {
        "ms" => 0.001,
        "s" => 1.0,
        "min" => 60.0,
        _ => f64::NAN, // without a unit too: nothing says which
    };
    let time = text[..split].parse().ok().and_then(|number: f64| Duration::try_from_secs_f64(number * seconds).ok());
    time.ok_or("a time such as 10s, 500ms or 2min is expected")
}

/// Bytes of which offsets are multiples.
fn alignment(text: &str) -> Result<u64, String> {
    match text.parse::<Bytes>() {
        Ok(Bytes(0)) => Err("an alignment is at least 1".to_owned()),
        Ok(Bytes(bytes)) => Ok(bytes),
        Err(error) => Err(error.to_string()),
    }
}

/// clap's message on one line, its tip as the hint.
fn usage(error: &clap::Error) -> Failure {
    let text = error.to_string();
    let said =
        text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let (tips, lines): (Vec<&str>, Vec<&str>) =
        said.filter(|line| !line.is_empty()).partition(|line| line.starts_with("tip: "));
    let line = lines.join(" ");
    let line = line.strip_prefix("error: ").unwrap_or(&line).to_owned();
    let unknown = error.get(ContextKind::InvalidArg).filter(|_| error.kind() == ErrorKind::UnknownArgument);
    let unknown = unknown.map(ToString::to_string).unwrap_or_default();
    let tip = tips.first().map(|tip| &tip["tip: ".len()..]).filter(|tip| is_near(tip, &unknown));
    let hint = match (words::instead(&unknown).or(tip), error.kind()) {
        (Some(hint), _) => Some(hint.to_owned()),
        (None, ErrorKind::ValueValidation | ErrorKind::InvalidValue) => None,
        (None, _) => Some(match used(&text) {
            Some(command) => format!("`memplan {command} --help` lists the options"),
            None => "`memplan --help` lists the commands, `memplan plan --help` the options".to_owned(),
        }),
    };
    Failure::new(line, hint)
}

/// Whether clap's tip for an unknown flag names one that can be meant: clap likens letters, whatever they mean.
fn is_near(tip: &str, unknown: &str) -> bool {
    let Some((_, similar)) = tip.split_once("a similar argument exists: '") else { return unknown.is_empty() };
    let (similar, unknown) = (similar.trim_end_matches('\'').trim_start_matches('-'), unknown.trim_start_matches('-'));
    let is_part = unknown.len() > 2 && (unknown.starts_with(similar) || similar.starts_with(unknown));
    is_part || edits(similar.as_bytes(), unknown.as_bytes()) <= 2
}

/// The command whose usage a message of clap's shows.
fn used(text: &str) -> Option<&str> {
    let usage = text.lines().find_map(|line| line.strip_prefix("Usage: memplan "))?;
    usage.split_whitespace().next().filter(|word| !word.starts_with(['[', '<', '-']))
}
