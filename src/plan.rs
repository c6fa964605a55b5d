//! `memplan plan`: wishes become a run, the run a plan, the plan a report.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use planner::graph::{Checkpointing, Region};
use planner::plan::{PlanError, compare};
use planner::read::gpus::{Gpu, GpuCatalogue};
use planner::read::run_file::{self, Wishes};
use planner::read::{model, spec::Shelf};
use planner::report::{Planned, events, json, text};
use planner::run::{Run, UnknownOperator};

use crate::arguments::{Format, PlanArguments, RunArguments};
use crate::failure::Failure;
use crate::output::{self, ALARM, CARE, GOOD};
use crate::{DOES_NOT_FIT, FITS};

/// The GPU where none is named.
const DEFAULT_GPU: &str = "h200";

/// Plans, reports, and gives the verdict's exit code.
pub fn run(arguments: PlanArguments) -> Result<ExitCode, Failure> {
    let (model, run, gpu) = asked(&arguments.run)?;
    if arguments.compare {
        return compared(&model, &run, &gpu, arguments.run.format);
    }
    let plan = planner::plan::plan(&model, &run, &gpu)?;
    let planned = Planned { model: &model, run: &run, gpu: &gpu, plan: &plan };
    if let Some(path) = &arguments.events {
        output::write_whole(path, |file| events::write(&planned, file))?;
    }
    let code = if plan.fits() { FITS } else { DOES_NOT_FIT };
    match arguments.run.format {
        Format::Text => output::print(&coloured(&text::text(&planned))),
        Format::Json => output::print_json(&json::report(&planned)),
    }?;
    Ok(ExitCode::from(code))
}

/// The model, the run and the GPU that the flags and the run file ask for.
pub fn asked(arguments: &RunArguments) -> Result<(model::Model, Run, Gpu), Failure> {
    let mut wishes = wishes(arguments)?;
    let gpu = gpu(&wishes)?;
    let (_, model) = opened(&mut wishes)?;
    Ok((model, wishes.run(), gpu))
}

/// The model that is wished for, with where it comes from; sizes that it fixes are wished for where nothing else is.
pub fn opened(wishes: &mut Wishes) -> Result<(Source, model::Model), Failure> {
    let source = Source::of(wishes)?;
    let model = source.open()?;
    wishes.settle(&model);
    wishes.check_inputs(model.takes_images()).map_err(PlanError::from)?;
    Ok((source, model))
}

/// Where a model comes from; unlike the model, threads can share it.
pub struct Source {
    name: String,
    architecture: Option<String>,
    weights: Option<PathBuf>,
    shelf: Shelf,
}

impl Source {
    /// The model that is wished for.
    fn of(wishes: &Wishes) -> Result<Source, Failure> {
        let name = wishes.model.clone().ok_or_else(no_model)?;
        let shelf = Shelf { folder: wishes.specs.clone() };
        Ok(Source { name, architecture: wishes.architecture.clone(), weights: wishes.weights.clone(), shelf })
    }

    /// Reads it.
    pub fn open(&self) -> Result<model::Model, model::ModelError> {
        let model = model::open(&self.name, self.architecture.as_deref(), &self.shelf)?;
        if let Some(path) = &self.weights { model.with_weights(path) } else { Ok(model) }
    }
}

/// The GPUs of a list with commas, in its order and each once, or all, those with the least memory first.
pub fn gpus(wishes: &Wishes) -> Result<Vec<Gpu>, Failure> {
    let catalogue = GpuCatalogue::load(wishes.specs.as_deref())?;
    let names = wishes.gpu.as_deref().unwrap_or(DEFAULT_GPU);
    if names.trim().eq_ignore_ascii_case("all") {
        let mut all: Vec<Gpu> = catalogue.iter().cloned().collect();
        all.sort_by_key(|gpu| gpu.memory.total);
        return Ok(all);
    }
    let mut gpus: Vec<Gpu> = Vec::new();
    for name in names.split(',') {
        let gpu = catalogue.find(name.trim())?;
        if !gpus.contains(gpu) {
            gpus.push(gpu.clone());
        }
    }
    Ok(gpus)
}

/// The table of levers; the exit code is that of the run as given.
fn compared(model: &model::Model, run: &Run, gpu: &Gpu, format: Format) -> Result<ExitCode, Failure> {
    let rows = compare::compare(model, run, gpu)?;
    match format {
        Format::Text => output::print(&planner::report::compare::text(&rows)),
        Format::Json => output::print_json(&planner::report::compare::rows(&rows)),
    }?;
    let fits = rows.first().is_some_and(|row| row.fits);
    Ok(ExitCode::from(if fits { FITS } else { DOES_NOT_FIT }))
}

/// The modules that a file lists, a line each or with commas between: `--checkpoint @FILE`.
fn checkpoint_file(wishes: &mut Wishes) -> Result<(), Failure> {
    let Some(Checkpointing::Modules(regions)) = &wishes.checkpoint else { return Ok(()) };
    let [Region { path, save: None }] = &regions[..] else { return Ok(()) };
    let Some(path) = path.strip_prefix('@') else { return Ok(()) };
    let text = std::fs::read_to_string(path).map_err(|error| Failure::new(format!("{path}: {error}"), None))?;
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let listed = lines.flat_map(|line| line.split(',')).map(str::trim).filter(|region| !region.is_empty());
    let regions = listed.map(str::parse).collect::<Result<_, _>>();
    let regions = regions.map_err(|error: UnknownOperator| Failure::new(format!("{path}: {error}"), None))?;
    wishes.checkpoint = Some(Checkpointing::Modules(regions));
    Ok(())
}

/// What the flags and the run file wish for.
pub fn wishes(arguments: &RunArguments) -> Result<Wishes, Failure> {
    let flags = arguments.wishes();
    let file = match &arguments.run {
        Some(path) => run_file::read(path).map_err(|error| Failure::new(error, None))?,
        None => Wishes::default(),
    };
    let mut wishes = flags.or(file);
    checkpoint_file(&mut wishes)?;
    check_folder(wishes.specs.as_deref())?;
    Ok(wishes)
}

/// A user's folder of specs that is not there is a mistake, not an empty one.
pub fn check_folder(specs: Option<&Path>) -> Result<(), Failure> {
    match specs {
        Some(folder) if !folder.is_dir() => {
            Err(Failure::new(format!("{}: no such folder of specs", folder.display()), None))
        }
        _ => Ok(()),
    }
}

fn gpu(wishes: &Wishes) -> Result<Gpu, Failure> {
    let catalogue = GpuCatalogue::load(wishes.specs.as_deref())?;
    Ok(catalogue.find(wishes.gpu.as_deref().unwrap_or(DEFAULT_GPU))?.clone())
}

fn no_model() -> Failure {
    let hint = "give a model folder or a built-in name: `memplan plan gpt2`; `memplan models` lists them";
    Failure::new("no model to plan", Some(hint.to_owned()))
}

/// The verdict, warnings and notes in colour.
pub fn coloured(text: &str) -> String {
    let styles = [
        ("fits:", GOOD),
        ("does not fit:", ALARM),
        ("packed:", GOOD),
        ("valid:", GOOD),
        ("not valid:", ALARM),
        ("runs out", ALARM),
        ("only because", CARE),
        ("warning:", CARE),
        ("note:", CARE),
    ];
    let lines = text.lines().map(|line| match styles.iter().find(|(start, _)| line.starts_with(start)) {
        Some((start, style)) => format!("{style}{start}{style:#}{}\n", &line[start.len()..]),
        None => format!("{line}\n"),
    });
    lines.collect()
}
