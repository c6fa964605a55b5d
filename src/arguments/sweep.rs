//! `memplan sweep`: the run's flags, of which some take lists.

use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgMatches, Args, Command, Error, FromArgMatches};
use planner::run::{Precision, whole};
use planner::sweep::{Checkpoints, Lists};

use super::{Format, RunArguments};

const EXAMPLES: &str = "\
Lists have commas between their values: 1..64 are all from 1 to 64, 512..4096..512 every 512th. Each combination is a row, refused \
ones with the reason; GPUs go slowest, then precisions, checkpoints, sequence lengths or images, and batches.

Examples:
  memplan sweep gpt2 --batch 1..64 --seq 512,1024 --checkpoint none,full,auto --format csv
  memplan sweep bert-base --batch 8,16,32 --precision fp32,amp-bf16 --gpu t4,rtx4090
  memplan sweep resnet50 --batch 32..256..32 --image 160,224

Exit codes: 0 one of the combinations fits, 1 none does, 2 bad usage or bad input";

/// How the rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// Columns for people.
    Table,
    /// Commas between exact bytes.
    Csv,
    /// Everything.
    Json,
}

/// `memplan sweep`.
#[derive(Debug)]
pub struct SweepArguments {
    /// What all combinations share.
    pub run: RunArguments,
    /// What is combined: sequence lengths.
    pub lists: Lists,
    /// The sizes of images, which go into `lists` where the model takes them.
    pub images: Vec<u64>,
    /// How the rows are written.
    pub rows: Rows,
}

/// A list of a flag, kept whole: clap's own lists would be those of several values.
#[derive(Clone, Debug)]
struct List<T>(Vec<T>);

/// Numbers, of which none are more than plans are worth.
fn numbers(text: &str) -> Result<List<u64>, String> {
    const MOST: u64 = 100_000;
    let number = |word: &str| whole(word.trim()).map_err(|problem| format!("`{}`: {problem}", word.trim()));
    let mut list = Vec::new();
    for part in text.split(',') {
        let words: Vec<&str> = part.split("..").collect();
        let (first, last, step) = match words[..] {
            [one] => (number(one)?, number(one)?, 1),
            [first, last] => (number(first)?, number(last)?, 1),
            [first, last, step] => (number(first)?, number(last)?, number(step)?),
            _ => return Err(format!("`{part}` is no range: write 1..64, or 512..4096..512")),
        };
        if step == 0 || last < first || (last - first) / step >= MOST {
            return Err(format!("`{part}`: a range goes up, in at most {MOST} steps"));
        }
        list.extend((first..=last).step_by(usize::try_from(step).unwrap_or(usize::MAX)));
    }
    Ok(List(list))
}

/// Words with commas between.
fn words<T: FromStr<Err: std::fmt::Display>>(text: &str) -> Result<List<T>, String> {
    let words = text.split(',').map(|word| word.trim().parse::<T>().map_err(|error| error.to_string()));
    Ok(List(words.collect::<Result<_, _>>()?))
}

impl Args for SweepArguments {
    fn augment_args(command: Command) -> Command {
        let forms = PossibleValuesParser::new(["table", "csv", "json"])
            .map(|word| if word == "json" { Format::Json } else { Format::Text });
        RunArguments::augment_args(command)
            .after_help(EXAMPLES)
            .mut_arg("batch", |arg| arg.value_name("LIST").value_parser(numbers))
            .mut_arg("seq", |arg| arg.value_name("LIST").value_parser(numbers))
            .mut_arg("image", |arg| arg.value_name("LIST").value_parser(numbers))
            .mut_arg("precision", |arg| arg.value_name("LIST").value_parser(words::<Precision>))
            .mut_arg("checkpoint", |arg| {
                let help = "Checkpoint modules: none, full, auto (the cheapest that fit on each GPU), or one path, with commas between [default: none]";
                arg.value_name("LIST").help(help).value_parser(words::<Checkpoints>)
            })
            .mut_arg("gpu", |arg| arg.value_name("NAMES").help("The GPUs, with commas between, or all [default: h200]"))
            .mut_arg("format", |arg| arg.default_value("table").value_parser(forms))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SweepArguments {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Self::from_arg_matches_mut(&mut matches.clone())
    }

    /// Takes the lists out, and leaves the rest to the run's own flags.
    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, Error> {
        let rows = match matches.get_raw("format").and_then(|mut words| words.next()?.to_str()) {
            Some("csv") => Rows::Csv,
            Some("json") => Rows::Json,
            _ => Rows::Table,
        };
        let lists = Lists {
            batch: taken(matches, "batch"),
            size: taken(matches, "seq"),
            precision: taken(matches, "precision"),
            checkpoint: taken(matches, "checkpoint"),
        };
        let images = taken(matches, "image");
        Ok(SweepArguments { run: RunArguments::from_arg_matches_mut(matches)?, lists, images, rows })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The values of a list; none where it is not given.
fn taken<T: Clone + Send + Sync + 'static>(matches: &mut ArgMatches, name: &str) -> Vec<T> {
    matches.remove_one::<List<T>>(name).map(|list| list.0).unwrap_or_default()
}
