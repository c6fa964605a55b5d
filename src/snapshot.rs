//! `memplan snapshot`, `check` and `diff`: plans to keep, and what became of them.

use std::fs;
use std::path::{Path, PathBuf};

use planner::read::run_file;
use planner::report::{changes, check as report};
use planner::run::RunOptions;
use planner::snapshot::{self, Checked, Found, Refusal, Snapshot, SnapshotError, Tolerance, Verdict};
use planner::words::quote;

use crate::arguments::{CheckArguments, CheckForm, DiffArguments, SnapshotArguments};
use crate::failure::Failure;
use crate::output::{self, ALARM, GOOD};
use crate::planning::{fetched, run_options};
use crate::program::{DOES_NOT_FIT, FITS};

/// Where snapshots lie if nobody says otherwise.
const FOLDER: &str = "memplan";

/// Plans and keeps.
pub fn keep(arguments: &SnapshotArguments) -> Result<u8, Failure> {
    let taken = taken(&local(run_options(&arguments.run)?))?;
    match &arguments.output {
        Some(path) => write(path, &taken)?,
        None => output::print_data(&taken.to_string())?,
    }
    Ok(FITS)
}

/// Plans kept runs again; the code says whether one of them grew.
pub fn check(arguments: &CheckArguments) -> Result<u8, Failure> {
    let files = files(&arguments.paths)?;
    let bar = output::progress(files.len());
    let planned = files.iter().map(|file| {
        let checked = match &arguments.against {
            Some(other) => snapshot::check_against(file, other, arguments.tolerance),
            None => again(file, arguments.tolerance),
        };
        bar.inc(1);
        checked
    });
    let checked: Vec<Checked> = planned.collect();
    bar.finish_and_clear();
    match arguments.format {
        CheckForm::Text => output::print(&coloured(&checked)),
        CheckForm::Json => output::print_json(&report::json(&checked)),
        CheckForm::Junit => output::print_data(&report::junit(&checked)),
        CheckForm::Github => output::print(&report::github(&checked)),
    }?;
    if arguments.update {
        accept(&checked)?;
    }
    let refused = checked.iter().filter(|file| file.found.is_err()).count();
    if refused > 0 {
        let hint = "the report says why; a snapshot of a model that is gone is deleted by hand";
        return Err(Failure::new(
            format!("{refused} of {} snapshots cannot be compared", checked.len()),
            Some(hint.to_owned()),
        ));
    }
    let passes = arguments.update || checked.iter().all(Checked::passes);
    Ok(if passes { FITS } else { DOES_NOT_FIT })
}

/// Plans a kept run again; the hub is asked for a model that no local cache has, and what it refuses is this file's own error.
fn again(file: &Path, tolerance: Tolerance) -> Checked {
    let checked = snapshot::check(file, tolerance);
    match fetched(checked.not_cached.as_ref()) {
        Ok(false) => checked,
        Ok(true) => snapshot::check(file, tolerance),
        Err(failure) => Checked { found: Err((Refusal::MissingModel, failure.line())), ..checked },
    }
}

/// The report with verdicts in colour.
fn coloured(checked: &[Checked]) -> String {
    checked.iter().fold(report::text(checked), |text, file| {
        let head = format!("{}: ", file.path.display());
        let style = if file.passes() { GOOD } else { ALARM };
        let words = file.words();
        text.replacen(&format!("{head}{words}"), &format!("{head}{style}{words}{style:#}"), 1)
    })
}

/// Compares two models, runs or snapshots.
pub fn diff(arguments: &DiffArguments) -> Result<u8, Failure> {
    let flags = arguments.run.options();
    let before = flags.model.clone().unwrap_or_default();
    let flags = RunOptions { model: None, ..flags };
    let (before, after) = (side(&before, &flags)?, side(&arguments.other, &flags)?);
    let comparison = snapshot::compare(&before, &after);
    output::report(
        arguments.run.format,
        || changes::text((&before, &after), &comparison),
        || changes::json(&comparison),
    )?;
    Ok(FITS)
}

/// One side of a comparison: a snapshot as it is, or the plan of a run file or of a model.
fn side(word: &str, flags: &RunOptions) -> Result<Snapshot, Failure> {
    if let Some(text) = kept(word)? {
        if *flags != RunOptions::default() {
            let hint = "to plan its run with flags, copy what is under `run:` to a run file";
            return Err(Failure::new(
                format!("{word}: a snapshot is compared as it is, without flags"),
                Some(hint.to_owned()),
            ));
        }
        return Ok(snapshot::parse(Path::new(word), &text)?);
    }
    taken(&named(word, flags)?)
}

/// What is kept of a run; the hub is asked for a model that no local cache has.
fn taken(options: &RunOptions) -> Result<Snapshot, Failure> {
    let mut taken = snapshot::take(options.clone());
    if fetched(taken.as_ref().err().and_then(SnapshotError::not_cached))? {
        taken = snapshot::take(options.clone());
    }
    Ok(taken?)
}

/// The text of a snapshot, if the word names one.
fn kept(word: &str) -> Result<Option<String>, Failure> {
    if !is_yaml(Path::new(word)) {
        return Ok(None);
    }
    let text = run_file::text(Path::new(word)).map_err(|error| Failure::new(error, None))?;
    Ok(Some(text).filter(|text| snapshot::is_snapshot(text)))
}

/// The run that a word names: that of a run file, or a model's, with flags.
fn named(word: &str, flags: &RunOptions) -> Result<RunOptions, Failure> {
    if is_yaml(Path::new(word)) {
        let file = run_file::read(Path::new(word)).map_err(|error| Failure::new(error, None))?;
        return Ok(flags.clone().or(file));
    }
    Ok(RunOptions { model: Some(word.to_owned()), ..flags.clone() })
}

/// The run that stands beside another: that of a snapshot or of a run file as it is, or another model's with the same flags.
pub fn other(word: &str, flags: &RunOptions) -> Result<RunOptions, Failure> {
    match kept(word)? {
        Some(text) => Ok(snapshot::parse(Path::new(word), &text)?.run),
        None if is_yaml(Path::new(word)) => named(word, &RunOptions::default()),
        None => named(word, flags),
    }
}

/// Files below the working directory are named from there: a snapshot holds no machine's own path.
fn local(options: RunOptions) -> RunOptions {
    match std::env::current_dir() {
        Ok(folder) => options.relative_to(&folder),
        Err(_) => options,
    }
}

fn accept(checked: &[Checked]) -> Result<(), Failure> {
    let found = checked.iter().filter_map(|file| Some((&file.path, file.found.as_ref().ok()?)));
    for (path, Found { now, .. }) in
        found.filter(|(_, found)| found.verdict != Verdict::Same).map(|(path, found)| (path, &**found))
    {
        write(path, now)?;
    }
    Ok(())
}

fn write(path: &Path, taken: &Snapshot) -> Result<(), Failure> {
    output::write_with_folder(path, taken.to_string().as_bytes())
}

/// The snapshots that are meant: files as they are given; of folders every snapshot in them, by name.
fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let default = [PathBuf::from(FOLDER)];
    let paths = if paths.is_empty() { &default[..] } else { paths };
    let mut files = Vec::new();
    for path in paths {
        let before = files.len();
        if path.is_dir() {
            below(path, &mut files)?;
        } else if path.exists() {
            files.push(path.clone());
        }
        if files.len() == before {
            let hint = format!("`memplan snapshot MODEL -o {FOLDER}/NAME.yaml` keeps one");
            return Err(Failure::new(format!("{}: no snapshots there", path.display()), Some(hint)));
        }
    }
    Ok(files)
}

fn below(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let failed = |error| Failure::new(format!("{}: cannot be read: {error}", folder.display()), None);
    let entries = fs::read_dir(folder).map_err(failed)?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    paths.sort();
    for path in paths {
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_dir() && !hidden && !path.is_symlink() {
            below(&path, files)?;
        } else if is_yaml(&path) {
            match run_file::text(&path) {
                // what is empty was emptied: as a snapshot it cannot be compared, which is said
                Ok(text) if snapshot::is_snapshot(&text) || text.trim().is_empty() => files.push(path),
                _ => output::note(&format!("passed over: {} is no snapshot", quote::path(&path))),
            }
        }
    }
    Ok(())
}

fn is_yaml(path: &Path) -> bool {
    path.is_file() && path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

impl From<SnapshotError> for Failure {
    fn from(error: SnapshotError) -> Failure {
        match error {
            SnapshotError::Open(error) => error.into(),
            SnapshotError::Plan(error) => error.into(),
            SnapshotError::Trace(error) => error.into(),
            error => Failure::new(error, None),
        }
    }
}
