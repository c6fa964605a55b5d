//! `memplan report`: a plan as a page, a picture or a trace; the file's name says which.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use epaint_default_fonts::UBUNTU_LIGHT;
use planner::arena::{Arena, ArenaOptions};
use planner::model::opened::Opened;
use planner::plan::{Plan, plan};
use planner::replay::Replay;
use planner::report::page::Subject;
use planner::report::{Planned, page, perfetto, picture, text};
use planner::run::RunOptions;
use planner::snapshot::{self, Snapshot, compare, of};
use planner::trace::file::{Head, is_trace};
use resvg::{tiny_skia, usvg};

use crate::arguments::ReportArguments;
use crate::failure::Failure;
use crate::output::{self, write_whole};
use crate::plan::{coloured, gpu, run_options};
use crate::replay;
use crate::snapshot::other;
use crate::{DOES_NOT_FIT, FITS};

/// Letters of a picture that is read in a browser.
const LETTERS: &str = "system-ui, 'DejaVu Sans', sans-serif";
/// How many pixels a unit of the picture has as PNG.
const SCALE: f32 = 2.0;

/// A plan with all that it is made of.
struct Made {
    opened: Opened,
    options: RunOptions,
    plan: Plan,
}

impl Made {
    fn planned(&self) -> Planned<'_> {
        let Opened { model, run, gpu } = &self.opened;
        Planned { model, run, gpu, plan: &self.plan }
    }
}

/// Plans, and writes what the file's name asks for.
pub fn run(arguments: &ReportArguments) -> Result<ExitCode, Failure> {
    let path = &arguments.output;
    let form = path.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase);
    if arguments.against.is_some() && form.as_deref() != Some("html") {
        return Err(Failure::new("--against is for a page: -o FILE.html", None));
    }
    let write = match form.as_deref() {
        Some("html") => html,
        Some("svg") => svg,
        Some("png") => png,
        Some("json") => perfetto,
        _ => {
            let hint =
                "the name says what is written: .html a page, .svg or .png a picture, .json a trace for Perfetto";
            return Err(Failure::new(format!("{}: no report has such a name", path.display()), Some(hint.to_owned())));
        }
    };
    let options = run_options(&arguments.run)?;
    if let Some(trace) = options.model.as_deref().filter(|name| is_trace(name)) {
        return of_trace(trace, &options, arguments, form.as_deref().unwrap_or_default());
    }
    let made = made(options)?;
    write(&made, arguments)?;
    output::print(&coloured(&format!("{}{}: written\n", text::verdict(&made.planned()), path.display())))?;
    Ok(ExitCode::from(if made.plan.fits() { FITS } else { DOES_NOT_FIT }))
}

/// Draws a trace from a file.
fn of_trace(trace: &str, options: &RunOptions, arguments: &ReportArguments, form: &str) -> Result<ExitCode, Failure> {
    let (path, (head, replay)) = (&arguments.output, replay::of(trace, options)?);
    let title = format!("{}: {}, on {}", head.id, head.run, head.device);
    match form {
        "svg" => write_whole(path, |file| file.write_all(picture::svg_of(&title, &replay, LETTERS).as_bytes())),
        "png" => drawn_into(path, |font| picture::svg_of(&title, &replay, font)),
        "json" => write_whole(path, |file| perfetto::write(&replay, &[], file)),
        _ => {
            let this = (Subject::trace(&head, &replay), snapshot::of_trace(&head, options, &replay));
            page_of(this, &replay, options, arguments)
        }
    }?;
    output::print(&coloured(&format!("{}{}: written\n", text::verdict_of(&replay, &head.torch), path.display())))?;
    Ok(ExitCode::from(if replay.fits() { FITS } else { DOES_NOT_FIT }))
}

fn made(mut options: RunOptions) -> Result<Made, Failure> {
    let gpu = gpu(&options)?;
    let model = options.model()?;
    let opened = Opened { model, run: options.run(), gpu };
    let plan = plan(&opened.model, &opened.run, &opened.gpu)?;
    Ok(Made { opened, options, plan })
}

fn html(made: &Made, arguments: &ReportArguments) -> Result<(), Failure> {
    let kept = of((&made.opened.model, &made.opened.gpu), &made.options, &made.plan);
    page_of((Subject::plan(&made.planned()), kept), &made.plan, &made.options, arguments)
}

/// Writes a page, beside another plan or trace where one is asked for.
fn page_of(
    (subject, kept): (Result<Subject<'_>, serde_json::Error>, Snapshot),
    replay: &Replay,
    options: &RunOptions,
    arguments: &ReportArguments,
) -> Result<(), Failure> {
    let failed = |error: serde_json::Error| Failure::new(error, None);
    let arena = Arena::of(replay, &ArenaOptions::quick()).map_err(|error| Failure::new(error, None))?;
    let flags = RunOptions { model: None, architecture: None, weights: None, ..options.clone() };
    let beside = match &arguments.against {
        None => None,
        Some(word) if is_trace(word) => {
            let options = RunOptions { model: Some(word.clone()), ..RunOptions::default() };
            let (head, replay) = replay::of(word, &options)?;
            Some(Beside::Trace(Box::new((head, replay, options))))
        }
        Some(word) => Some(Beside::Plan(Box::new(made(other(word, &flags)?.complete()?)?))),
    };
    let other = beside.as_ref().map(|beside| beside.subject().map_err(failed)).transpose()?;
    let comparison = beside.as_ref().map(|beside| compare(&beside.kept(), &kept));
    let page = page::page(&subject.map_err(failed)?, Some(&arena), other.as_ref().zip(comparison.as_ref()));
    let page = page.map_err(failed)?;
    write_whole(&arguments.output, |file| file.write_all(page.as_bytes()))
}

/// What a page shows beside its own.
enum Beside {
    Plan(Box<Made>),
    Trace(Box<(Head, Replay, RunOptions)>),
}

impl Beside {
    fn subject(&self) -> Result<Subject<'_>, serde_json::Error> {
        match self {
            Beside::Plan(made) => Subject::plan(&made.planned()),
            Beside::Trace(traced) => Subject::trace(&traced.0, &traced.1),
        }
    }

    fn kept(&self) -> Snapshot {
        match self {
            Beside::Plan(made) => of((&made.opened.model, &made.opened.gpu), &made.options, &made.plan),
            Beside::Trace(traced) => snapshot::of_trace(&traced.0, &traced.2, &traced.1),
        }
    }
}

fn svg(made: &Made, arguments: &ReportArguments) -> Result<(), Failure> {
    let picture = picture::svg(&made.planned(), LETTERS);
    write_whole(&arguments.output, |file| file.write_all(picture.as_bytes()))
}

fn perfetto(made: &Made, arguments: &ReportArguments) -> Result<(), Failure> {
    write_whole(&arguments.output, |file| perfetto::write(&made.plan, &made.plan.marks, file))
}

fn png(made: &Made, arguments: &ReportArguments) -> Result<(), Failure> {
    drawn_into(&arguments.output, |font| picture::svg(&made.planned(), font))
}

/// Writes a picture as PNG, in letters that are shipped.
fn drawn_into(path: &Path, picture: impl FnOnce(&str) -> String) -> Result<(), Failure> {
    let mut options = usvg::Options::default();
    options.fontdb_mut().load_font_data(UBUNTU_LIGHT.to_vec());
    let family = options.fontdb.faces().next().and_then(|face| Some(face.families.first()?.0.clone()));
    let image = drawn(&picture(&family.unwrap_or_default()), &options);
    let image = image.ok_or_else(|| failed(path, "the picture is too large"))?;
    let bytes = image.encode_png().map_err(|error| failed(path, &error.to_string()))?;
    write_whole(path, |file| file.write_all(&bytes))
}

fn drawn(picture: &str, options: &usvg::Options<'_>) -> Option<tiny_skia::Pixmap> {
    let tree = usvg::Tree::from_str(picture, options).ok()?;
    let size = tree.size().to_int_size().scale_by(SCALE)?;
    let mut image = tiny_skia::Pixmap::new(size.width(), size.height())?;
    resvg::render(&tree, tiny_skia::Transform::from_scale(SCALE, SCALE), &mut image.as_mut());
    Some(image)
}

fn failed(path: &Path, why: &str) -> Failure {
    Failure::new(format!("{}: cannot be drawn: {why}", path.display()), None)
}
