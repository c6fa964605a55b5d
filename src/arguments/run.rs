//! The flags of a run: a model, where else they are written down, and every option of the planner's table.

use std::ffi::OsStr;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, PathBufValueParser, PossibleValue, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};
use planner::run::{Completion, OPTIONS, RunOption, RunOptions, Setting};

use super::Format;

/// The headings of the help, in its order.
const HEADINGS: [&str; 7] = ["Options", "Run", "Training", "Cache", "GPU", "Host", "Versions"];
/// What `-h` shows; `--help` shows all.
const OFTEN: [&str; 14] = [
    "mode",
    "batch",
    "seq",
    "new-tokens",
    "precision",
    "optimizer",
    "accumulate",
    "checkpoint",
    "lora",
    "quantize",
    "fsdp",
    "gpu",
    "vram",
    "capacity",
];
/// Options that stand last under their heading, in this order.
const LAST: [&str; 3] = ["architecture", "weights", "dim"];

/// A model and a run of it.
#[derive(Debug, Args)]
pub struct RunArguments {
    /// A model of the hub (ORG/NAME), its folder or config.json, an export (model.pt2), a spec (model.yaml), or a built-in name
    #[arg(value_name = "MODEL")]
    named: Option<String>,
    /// A run file in YAML with the same keys; flags win over it
    #[arg(long, value_name = "FILE")]
    pub run: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
    /// How the report is written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

impl RunArguments {
    /// The model, as it was written.
    pub fn model(&self) -> Option<&str> {
        self.flags.0.model.as_deref().or(self.named.as_deref())
    }

    /// What the flags say.
    pub fn options(&self) -> RunOptions {
        let options = self.flags.0.clone();
        RunOptions { model: options.model.or(self.named.clone()), ..options }
    }
}

/// What the flags of the table say.
#[derive(Debug)]
struct Flags(RunOptions);

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        let under = |heading| OPTIONS.iter().filter(move |option| heading_of(option) == Some(heading));
        command.args(HEADINGS.into_iter().flat_map(under).filter_map(argument))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut options = RunOptions::default();
        for option in OPTIONS {
            let Some(flag) = &option.flag else { continue };
            if flag.value().is_some() {
                matches.get_many::<Setting>(option.key).into_iter().flatten().for_each(|set| set(&mut options));
            } else if matches.get_flag(option.key) {
                let set =
                    (option.parse)(OsStr::new("true")).map_err(|error| Error::raw(ErrorKind::InvalidValue, error))?;
                set(&mut options);
            }
        }
        Ok(Flags(options))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The heading that an option's flag stands under.
fn heading_of(option: &RunOption) -> Option<&'static str> {
    option.flag.as_ref().map(|flag| flag.heading)
}

/// The flag of an option as clap has it.
fn argument(option: &'static RunOption) -> Option<Arg> {
    let flag = option.flag.as_ref()?;
    let mut argument = Arg::new(option.key).long(flag.name()).aliases(flag.also).help(option.help());
    argument = match flag.value() {
        Some(value) => argument.value_name(value).value_parser(Value(option)).allow_negative_numbers(true),
        None => argument.action(ArgAction::SetTrue),
    };
    if flag.heading != "Options" {
        argument = argument.help_heading(flag.heading);
    }
    if !OFTEN.contains(&option.key) {
        argument = argument.hide_short_help(true);
    }
    if let Some(rival) = flag.rival {
        argument = argument.conflicts_with(rival);
    }
    if option.repeats {
        argument = argument.action(ArgAction::Append);
    }
    if let Some(place) = LAST.iter().position(|last| *last == option.key) {
        argument = argument.display_order(OPTIONS.len() + place);
    }
    Some(match (option.completion)() {
        Completion::Path => argument.value_hint(clap::ValueHint::AnyPath),
        Completion::Words(_) => argument.hide_possible_values(true), // the help says them itself
        Completion::Nothing | Completion::Switch => argument,
    })
}

/// Reads the value of an option.
#[derive(Clone)]
struct Value(&'static RunOption);

impl TypedValueParser for Value {
    type Value = Setting;

    fn parse_ref(&self, command: &Command, argument: Option<&Arg>, value: &OsStr) -> Result<Setting, Error> {
        if (self.0.completion)() == Completion::Path {
            PathBufValueParser::new().parse_ref(command, argument, value)?; // which refuses none
        }
        let parse = self.0.parse;
        OsStringValueParser::new().try_map(move |value| parse(&value)).parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        match (self.0.completion)() {
            Completion::Words(words) => Some(Box::new(words.into_iter().map(PossibleValue::new))),
            Completion::Switch => Some(Box::new(["true", "false"].into_iter().map(PossibleValue::new))),
            Completion::Nothing | Completion::Path => None,
        }
    }
}
