//! The front door: a run in the words of the flags, and its plan.

use std::ffi::OsStr;

use crate::advise::{self, Advice};
use crate::fit::{self, Row};
use crate::model::opened::{OpenError, Opened};
use crate::plan::{self, Plan, PlanError};
use crate::run::{OPTIONS, RunOptions};
use crate::words::nearest::nearest;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No option of a run has this name.
    #[error("there is no option `{name}`{}", .nearest.as_ref().map(|near| format!(": did you mean `{near}`?")).unwrap_or_default())]
    NoOption {
        /// The word or number that was given.
        name: String,
        /// The option with the nearest name.
        nearest: Option<String>,
    },
    /// The option cannot have this value.
    #[error("{name}={value}: {message}")]
    Value {
        /// The option.
        name: String,
        /// The word or number that was given.
        value: String,
        /// Why not.
        message: String,
    },
    /// The model, the run or the GPU cannot be read.
    #[error(transparent)]
    Open(Box<OpenError>),
    /// The run cannot be planned.
    #[error(transparent)]
    Plan(Box<PlanError>),
}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Error {
        Error::Open(Box::new(error))
    }
}

impl From<PlanError> for Error {
    fn from(error: PlanError) -> Error {
        Error::Plan(Box::new(error))
    }
}

/// Plans three steps of training on the default GPU: `memplan plan MODEL` without flags.
///
/// `model` is a built-in name, a Hugging Face folder, an export (`.pt2`) or a spec (`.yaml`).
///
/// ```
/// let plan = planner::plan("gpt2")?;
/// assert!(plan.fits());
/// println!("{} reserved, {} allocated", plan.peak_reserved(), plan.peak_allocated());
/// # assert!(plan.peak_reserved() >= plan.peak_allocated());
/// # Ok::<(), planner::Error>(())
/// ```
///
/// # Errors
/// A model that cannot be read or planned.
pub fn plan(model: &str) -> Result<Plan, Error> {
    RunOptions::of(model).plan()
}

impl RunOptions {
    /// A run of a model, with nothing else said.
    pub fn of(model: &str) -> RunOptions {
        RunOptions { model: Some(model.to_owned()), ..RunOptions::default() }
    }

    /// These with one more option, by its key in a run file (`new-tokens` or `new_tokens`) and with its value as the flag takes it.
    ///
    /// ```
    /// use planner::RunOptions;
    ///
    /// let run = RunOptions::of("gpt2").with("batch", "4")?.with("optimizer", "sgd,momentum=0.9")?;
    /// assert!(run.plan()?.peak_allocated() < planner::plan("gpt2-medium")?.peak_allocated());
    /// # Ok::<(), planner::Error>(())
    /// ```
    ///
    /// # Errors
    /// A name that no option has, or a value that it cannot have.
    pub fn with(mut self, name: &str, value: &str) -> Result<RunOptions, Error> {
        let Some(option) = OPTIONS.iter().find(|option| [option.key, option.name].contains(&name)) else {
            let near = nearest(name, OPTIONS.iter().map(|option| option.key)).first().map(|near| (*near).to_owned());
            return Err(Error::NoOption { name: name.to_owned(), nearest: near });
        };
        let wrong = |message| Error::Value { name: option.key.to_owned(), value: value.to_owned(), message };
        (option.parse)(OsStr::new(value)).map_err(wrong)?(&mut self);
        Ok(self)
    }

    /// The model, the run and the GPU, with what files and environments say.
    fn opened(&self) -> Result<Opened, OpenError> {
        self.clone().complete()?.open()
    }

    /// The plan of this run: its trace, what the allocator makes of it, and what is known of its time.
    ///
    /// # Errors
    /// Whatever keeps the model from being read or the run from being planned.
    pub fn plan(&self) -> Result<Plan, Error> {
        let Opened { model, run, gpu } = self.opened()?;
        Ok(plan::plan(&model, &run, &gpu)?)
    }

    /// The largest batch and length that fit on this run's GPU.
    ///
    /// # Errors
    /// As `plan`.
    pub fn fit(&self) -> Result<Vec<Row>, Error> {
        let Opened { model, run, gpu } = self.opened()?;
        Ok(fit::fit(&model, &run, &[gpu], &|_| {})?)
    }

    /// What to change so that this run fits on its GPU.
    ///
    /// # Errors
    /// As `plan`.
    pub fn advise(&self) -> Result<Advice, Error> {
        let Opened { model, run, gpu } = self.opened()?;
        Ok(advise::advise(&model, &run, &gpu, &|_, _| {})?)
    }
}
