//! What goes wrong, as people see it: one line, sometimes a hint, and an exit code.

use std::fmt::Display;

use calibrate::CalibrateError;
use planner::buy::NoRoom;
use planner::checkpoint::ChooseError;
use planner::estimate::EstimateError;
use planner::model::ModelError;
use planner::model::opened::OpenError;
use planner::plan::PlanError;
use planner::read::checkpoint::CheckpointError;
use planner::read::gpus::GpuError;
use planner::read::profiles::ProfileError;
use planner::run::RunError;
use planner::trace::file::TraceError;
use planner::versions::VersionError;
use planner::words::quote;

use crate::output;
use crate::program::{BAD, NO_GPU};

/// The most lines that an error takes with its hint, of so many columns.
const MOST_LINES: usize = 3;
const COLUMNS: usize = 100;

/// What plans a model that is not described.
const WAYS: &str = "`memplan import`, an export (.pt2), a spec of your own or --architecture plans it";

/// Why the program ends without a result.
#[derive(Debug)]
pub enum Failure {
    /// All has been said; the code tells the rest.
    Said(u8),
    /// The machine lacks what is needed: a line for people.
    Absent(String),
    /// A line for people.
    Message {
        /// The reason, in words.
        line: String,
        /// What may help.
        hint: Option<String>,
    },
}

impl Failure {
    /// An error with what may help.
    pub fn new(error: impl Display, hint: Option<String>) -> Failure {
        Failure::Message { line: error.to_string(), hint }
    }

    /// What it says in one line.
    pub fn line(&self) -> String {
        match self {
            Failure::Said(_) => String::new(),
            Failure::Absent(line) | Failure::Message { line, .. } => one_line(line),
        }
    }

    /// Tells it on stderr, and gives the exit code.
    pub fn report(self) -> u8 {
        match self {
            Failure::Said(code) => code,
            Failure::Absent(line) => {
                output::complain(&shortened(&one_line(&line), MOST_LINES * COLUMNS - "memplan: error: ".len()), None);
                NO_GPU
            }
            Failure::Message { line, hint } => {
                let hint = hint.map(|hint| one_line(&hint));
                let taken = hint.as_ref().map_or(0, |hint| lines(hint.chars().count() + "hint: ".len()));
                let room = MOST_LINES.saturating_sub(taken).max(1) * COLUMNS - "memplan: error: ".len();
                output::complain(&shortened(&one_line(&line), room), hint.as_deref());
                BAD
            }
        }
    }
}

/// The lines of so many characters.
fn lines(characters: usize) -> usize {
    characters.div_ceil(COLUMNS)
}

/// A line of at most so many characters. Its begin names the file, its end the reason: what is between gives way.
fn shortened(line: &str, most: usize) -> String {
    const BETWEEN: &str = " ... ";
    let length = line.chars().count();
    if length <= most {
        return line.to_owned();
    }
    let kept = most - BETWEEN.len();
    let (begin, end) = (kept / 2, kept - kept / 2);
    line.chars().take(begin).chain(BETWEEN.chars()).chain(line.chars().skip(length - end)).collect()
}

/// Messages of libraries may hold line breaks, and names out of files anything at all.
fn one_line(text: &str) -> String {
    let mut line = String::new();
    for (number, part) in text.lines().map(str::trim).filter(|part| !part.is_empty()).enumerate() {
        line.push_str(if number > 0 { " " } else { "" });
        for character in part.chars() {
            match character {
                character if character.is_control() || quote::is_invisible(character) => {
                    line.extend(character.escape_default());
                }
                character => line.push(character),
            }
        }
    }
    line
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Failure {
        let hint = match &error {
            PlanError::Model(error) => return model(error),
            PlanError::Run(RunError::Zero { .. } | RunError::TooLarge { .. }) => None,
            PlanError::Options(_) => {
                Some("--allocator takes what PYTORCH_CUDA_ALLOC_CONF takes, e.g. expandable_segments:True".to_owned())
            }
            PlanError::OfPlans { .. } => Some("a replay takes --gpu, --capacity, --allocator and --torch".to_owned()),
            PlanError::CannotGenerate { .. } => Some("`--mode infer` plans a forward pass".to_owned()),
            _ => None,
        };
        Failure::new(error, hint)
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Failure {
        let hint = "give a model folder or a built-in name: `memplan plan gpt2`; `memplan models` lists them";
        match error {
            OpenError::NoModel => Failure::new(error, Some(hint.to_owned())),
            OpenError::Model(error) => error.into(),
            OpenError::Gpu(error) => error.into(),
            OpenError::Run(error) => PlanError::from(error).into(),
            OpenError::Profile(error) => error.into(),
            error @ OpenError::Environment { error: VersionError { library, .. }, .. } => {
                let hint = format!("--{} {} plans with the newest release", library.package(), library.newest());
                Failure::new(error, Some(hint))
            }
            error @ OpenError::Measured { .. } => {
                let hint = "an entry in a file of gpus/ in a folder of your own specs (--specs DIR) adds it";
                Failure::new(error, Some(hint.to_owned()))
            }
            error => Failure::new(error, None),
        }
    }
}

impl From<ChooseError> for Failure {
    fn from(error: ChooseError) -> Failure {
        match error {
            ChooseError::Plan(error) => error.into(),
            error => Failure::new(error, None),
        }
    }
}

impl From<ModelError> for Failure {
    fn from(error: ModelError) -> Failure {
        model(&error)
    }
}

impl From<GpuError> for Failure {
    fn from(error: GpuError) -> Failure {
        let hint = matches!(error, GpuError::Unknown { .. }).then(|| "`memplan gpus` lists them all".to_owned());
        Failure::new(error, hint)
    }
}

impl From<CalibrateError> for Failure {
    fn from(error: CalibrateError) -> Failure {
        if error.is_absence() { Failure::Absent(error.to_string()) } else { Failure::new(error, None) }
    }
}

impl From<TraceError> for Failure {
    fn from(error: TraceError) -> Failure {
        Failure::new(error, None)
    }
}

impl From<NoRoom> for Failure {
    fn from(error: NoRoom) -> Failure {
        Failure::new(error, None)
    }
}

impl From<ProfileError> for Failure {
    fn from(error: ProfileError) -> Failure {
        Failure::new(error, None)
    }
}

impl From<CheckpointError> for Failure {
    fn from(error: CheckpointError) -> Failure {
        Failure::new(error, None)
    }
}

/// Why there is neither a plan nor an estimate.
pub fn no_estimate(reason: &str, error: EstimateError) -> Failure {
    match error {
        EstimateError::Plan(error) => error.into(),
        error => Failure::new(format!("{reason}; no estimate: {error}"), Some(WAYS.to_owned())),
    }
}

fn model(error: &ModelError) -> Failure {
    let hint = match error {
        ModelError::UnknownName { .. } => Some("`memplan models` lists the built-in ones".to_owned()),
        ModelError::UnknownArchitecture { .. } => Some(format!("`memplan plan` estimates it; {WAYS}")),
        ModelError::FileNotFolder { .. } => Some("`memplan inspect` sizes a single file".to_owned()),
        ModelError::Mismatch { .. } => {
            Some("--allow-mismatch plans it, with what is missing newly initialised".to_owned())
        }
        ModelError::Shape { .. } => Some("the config.json and the weights may belong to different models".to_owned()),
        _ => None,
    };
    Failure::new(error, hint)
}
