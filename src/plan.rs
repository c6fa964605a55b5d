//! `memplan plan`: options become a run, the run a plan, the plan a report.

use std::path::{Path, PathBuf};

use planner::estimate::{Verdict, estimate};
use planner::fit::smallest::smallest;
use planner::model::named::HubId;
use planner::model::opened::{DEFAULT_GPU, OpenError};
use planner::model::undescribed;
use planner::model::{Model, ModelError};
use planner::plan::compare;
use planner::read::environment;
use planner::read::gpus::{Gpu, GpuCatalogue};
use planner::read::run_file;
use planner::report::estimate::Estimated;
use planner::report::{self, Planned, brief, events, json, text};
use planner::run::Run;
use planner::run::RunOptions;
use planner::trace::file::{self, is_trace};
use planner::words::quote;

use crate::arguments::{Format, PlanArguments, RunArguments};
use crate::failure::{self, Failure};
use crate::output::{self, ALARM, CARE, GOOD};
use crate::program::{DOES_NOT_FIT, FITS, MAY_FIT};
use crate::{hub, local, profiles};

/// Plans, reports, and gives the verdict's exit code.
pub fn run(arguments: PlanArguments) -> Result<u8, Failure> {
    let said = run_options_here(&arguments.run)?;
    let (catalogue, profiled) = said.catalogue(profiles::folder().as_deref())?;
    let gpu = gpu_among(&said, &catalogue, profiled.as_deref())?;
    let mut options = said.clone();
    let is_exact = arguments.compare || arguments.events.is_some();
    let model = match opened_or_fetched(&mut options)? {
        Err(OpenError::Model(error)) if error.is_undescribed() && options.architecture.is_none() && !is_exact => {
            let is_unknown = matches!(error, ModelError::UnknownArchitecture { .. });
            return estimated(&options, &gpu, (&error.reason(), is_unknown), arguments.run.format)
                .unwrap_or_else(|| Err(error.into()));
        }
        opened => said_as(opened?, &options),
    };
    let run = options.run();
    if arguments.compare {
        return compared(&model, &run, &gpu, arguments.run.format);
    }
    let plan = match planner::plan::plan(&model, &run, &gpu) {
        Err(error) if error.is_undescribed() && !is_exact => {
            return estimated(&options, &gpu, (&error.to_string(), false), arguments.run.format)
                .unwrap_or_else(|| Err(error.into()));
        }
        plan => plan?,
    };
    let planned = Planned { model: &model, run: &run, gpu: &gpu, plan: &plan };
    if let Some(path) = &arguments.events {
        output::write_whole(path, |mut to| file::write((&events::head(&planned), &plan.trace), &mut to))?;
    }
    let host = plan.host_memory(&run).is_none_or(|host| host.fits());
    let code = if plan.fits() && host { FITS } else { DOES_NOT_FIT };
    let in_full = arguments.full || arguments.run.format == Format::Json;
    let smallest = match in_full || said.names_a_gpu() || said.capacity.is_some() {
        true => None,
        false => smallest(&model, &run, &plan, &catalogue)?,
    };
    let shown = || match arguments.full {
        true => text::text(&planned),
        false => brief::brief(&planned, &said, smallest.as_ref()),
    };
    output::report(arguments.run.format, || coloured(&shown()), || json::report(&planned))?;
    Ok(code)
}

/// The model, the run and the GPU that the flags and the run file ask for.
pub fn open(arguments: &RunArguments) -> Result<(Model, Run, Gpu), Failure> {
    opened(run_options_here(arguments)?)
}

/// The same of options that have been read.
pub fn opened(mut options: RunOptions) -> Result<(Model, Run, Gpu), Failure> {
    let gpu = gpu(&options)?;
    let model = self::model(&mut options)?;
    Ok((model, options.run(), gpu))
}

/// The run of another model than the flags name, or of theirs, on this GPU unless they name one.
pub fn open_other(arguments: &RunArguments, model: Option<&str>, gpu_here: &str) -> Result<(Model, Run, Gpu), Failure> {
    let mut options = run_options(arguments)?;
    options.model = model.map(str::to_owned).or(options.model);
    options.gpu = options.gpu.or(Some(gpu_here.to_owned()).filter(|_| options.profile.is_none()));
    let gpu = gpu(&options)?;
    let model = self::model(&mut options)?;
    Ok((model, options.run(), gpu))
}

/// The GPUs of a list with commas, in its order and each once, or all, those with the least memory first.
pub fn gpus(options: &RunOptions) -> Result<Vec<Gpu>, Failure> {
    gpus_or(options, DEFAULT_GPU)
}

/// The same, with what is meant where none is named.
pub fn gpus_or(options: &RunOptions, default: &str) -> Result<Vec<Gpu>, Failure> {
    let (catalogue, profiled) = options.catalogue(profiles::folder().as_deref())?;
    let names = options.gpu.as_deref().or(profiled.as_deref()).unwrap_or(default);
    let chosen = catalogue.listed(names)?;
    names.split(',').for_each(|name| profiles::say_taken(&catalogue, name.trim()));
    let keys: Vec<&str> = chosen.iter().map(|gpu| gpu.key.as_str()).collect();
    catalogue.check_profiled(profiled.as_deref(), &keys)?;
    chosen.iter().for_each(profiles::doubt);
    Ok(chosen.into_iter().map(|gpu| options.sized(gpu)).collect())
}

/// The table of levers; the exit code is that of the run as given.
fn compared(model: &Model, run: &Run, gpu: &Gpu, format: Format) -> Result<u8, Failure> {
    let rows = compare::compare(model, run, gpu)?;
    output::report(format, || planner::report::compare::text(&rows), || planner::report::compare::json(&rows))?;
    let fits = rows.first().is_some_and(|row| row.fits);
    Ok(if fits { FITS } else { DOES_NOT_FIT })
}

/// What the flags and the run file say.
pub fn run_options(arguments: &RunArguments) -> Result<RunOptions, Failure> {
    let flags = arguments.options();
    let file = match &arguments.run {
        Some(path) => run_file::read(path).map_err(|error| Failure::new(error, None))?,
        None => RunOptions::default(),
    };
    let options = flags.or(file);
    let says_nothing = !options.model.as_deref().is_some_and(is_trace)
        && options.env.is_none()
        && (options.torch.is_none() || options.transformers.is_none());
    let mut options = options.complete()?;
    if let Some((path, found)) = says_nothing.then(|| surroundings(arguments.run.as_deref())).flatten() {
        options.take_releases(path, found)?;
    }
    local::settle(&mut options)?;
    Ok(options)
}

/// The same, for this machine's GPU where none is named and there is one.
pub fn run_options_here(arguments: &RunArguments) -> Result<RunOptions, Failure> {
    let mut options = run_options(arguments)?;
    if !options.model.as_deref().is_some_and(is_trace) {
        local::take_by_default(&mut options)?;
    }
    Ok(options)
}

/// Where the releases of a run are written down when nobody says so: the activated environment, else a lock file beside the run.
fn surroundings(run: Option<&Path>) -> Option<(PathBuf, environment::Found)> {
    let activated = ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().find_map(std::env::var_os).map(PathBuf::from);
    let beside = run.and_then(Path::parent).filter(|folder| !folder.as_os_str().is_empty());
    environment::around(activated.as_deref(), beside.unwrap_or(Path::new("")))
}

/// The model that is named. Says so where a name was taken for a built-in one's.
pub fn model(options: &mut RunOptions) -> Result<Model, Failure> {
    Ok(said_as(opened_or_fetched(options)??, options))
}

/// The model that is named, if need be of the hub, or why it cannot be opened.
fn opened_or_fetched(options: &mut RunOptions) -> Result<Result<Model, OpenError>, Failure> {
    let opened = options.model();
    match fetched(opened.as_ref().err().and_then(OpenError::not_cached))? {
        true => Ok(options.model()),
        false => Ok(opened),
    }
}

/// The model. Says so where its name was taken for a built-in one's.
fn said_as(model: Model, options: &RunOptions) -> Model {
    if let Some(asked) = options.model.as_deref()
        && model.is_built_in()
        && !asked.eq_ignore_ascii_case(&model.name)
    {
        output::note(&format!("{} is taken for the built-in {}", quote::quoted(asked), model.name));
    }
    model
}

/// Estimates where there is no plan, reports, and gives the verdict's exit code; None where there is no estimate either and the reason
/// says all: of a name without a config.json, and of a source whose line it names. It says less where the architecture is unknown.
fn estimated(
    options: &RunOptions,
    gpu: &Gpu,
    (reason, is_unknown): (&str, bool),
    format: Format,
) -> Option<Result<u8, Failure>> {
    let name = options.model.as_deref()?;
    let model = match undescribed::read(name, options.weights.as_deref()).transpose()? {
        Ok(model) => model,
        Err(error) => return Some(Err(error.into())),
    };
    let run = options.run();
    match estimate(&model, &run, gpu) {
        Ok(estimate) => Some(shown(&Estimated { name, run: &run, gpu, reason, estimate: &estimate }, format)),
        Err(error) if is_unknown => Some(Err(failure::no_estimate(reason, error))),
        Err(_) => None,
    }
}

/// Reports an estimate, and gives the code of its verdict.
fn shown(estimated: &Estimated<'_>, format: Format) -> Result<u8, Failure> {
    let text = || coloured(&report::estimate::text(estimated));
    output::report(format, text, || report::estimate::json(estimated))?;
    Ok(match estimated.estimate.verdict() {
        Verdict::Fits => FITS,
        Verdict::DoesNotFit => DOES_NOT_FIT,
        Verdict::MayFit => MAY_FIT,
    })
}

/// Whether the hub has given a model that no local cache had, so that it can be opened now; false where none is missing.
pub fn fetched(missing: Option<&HubId>) -> Result<bool, Failure> {
    missing.map_or(Ok(false), hub::fetch)
}

/// The GPU that is named, with what was measured on it.
pub fn gpu(options: &RunOptions) -> Result<Gpu, Failure> {
    let (catalogue, profiled) = options.catalogue(profiles::folder().as_deref())?;
    gpu_among(options, &catalogue, profiled.as_deref())
}

/// The same out of a catalogue that is at hand, with the key of the GPU whose profile the run names.
fn gpu_among(options: &RunOptions, catalogue: &GpuCatalogue, profiled: Option<&str>) -> Result<Gpu, Failure> {
    let gpu = options.gpu_of(catalogue, profiled)?;
    options.gpu.iter().for_each(|name| profiles::say_taken(catalogue, name));
    profiles::doubt(&gpu);
    Ok(gpu)
}

/// The verdict, warnings and notes in colour.
pub fn coloured(text: &str) -> String {
    let styles = [
        ("fits:", GOOD),
        ("fits GPUs", GOOD),
        ("estimate, not a plan", CARE),
        ("does not fit:", ALARM),
        ("weights of another model:", ALARM),
        ("packed:", GOOD),
        ("valid:", GOOD),
        ("not valid:", ALARM),
        ("host: fits,", GOOD),
        ("host: does not fit,", ALARM),
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
