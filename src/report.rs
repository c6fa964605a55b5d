//! `memplan report`: a plan as a page, a picture or a trace; the file's name says which.

use std::ffi::OsStr;
use std::path::Path;

use epaint_default_fonts::UBUNTU_LIGHT;
use planner::arena::Arena;
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
use crate::planning::{coloured, gpu, model, run_options_here};
use crate::program::{DOES_NOT_FIT, FITS};
use crate::replay;
use crate::snapshot::other;

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

/// A trace from a file, replayed.
struct Traced {
    head: Head,
    replay: Replay,
    options: RunOptions,
}

/// What is reported.
enum Shown {
    Plan(Box<Made>),
    Trace(Box<Traced>),
}

impl Shown {
    fn of(options: RunOptions) -> Result<Shown, Failure> {
        if let Some(trace) = options.model.as_deref().filter(|name| is_trace(name)) {
            let (head, replay) = replay::of(trace, &options)?;
            return Ok(Shown::Trace(Box::new(Traced { head, replay, options })));
        }
        Ok(Shown::Plan(Box::new(made(options)?)))
    }

    fn options(&self) -> &RunOptions {
        match self {
            Shown::Plan(made) => &made.options,
            Shown::Trace(traced) => &traced.options,
        }
    }

    fn replay(&self) -> &Replay {
        match self {
            Shown::Plan(made) => &made.plan,
            Shown::Trace(traced) => &traced.replay,
        }
    }

    fn verdict(&self) -> String {
        match self {
            Shown::Plan(made) => text::verdict(&made.planned()),
            Shown::Trace(traced) => text::verdict_of(&traced.replay, &traced.head.torch),
        }
    }

    fn picture(&self, font: &str) -> String {
        match self {
            Shown::Plan(made) => picture::svg(&made.planned(), font),
            Shown::Trace(traced) => picture::svg_of(&traced.head.title(), &traced.replay, font),
        }
    }

    fn subject(&self) -> Result<Subject<'_>, Failure> {
        let subject = match self {
            Shown::Plan(made) => Subject::plan(&made.planned()),
            Shown::Trace(traced) => Subject::trace(&traced.head, &traced.replay),
        };
        subject.map_err(|error| Failure::new(error, None))
    }

    fn kept(&self) -> Snapshot {
        match self {
            Shown::Plan(made) => of((&made.opened.model, &made.opened.gpu), &made.options, &made.plan),
            Shown::Trace(traced) => snapshot::of_trace(&traced.head, &traced.options, &traced.replay),
        }
    }
}

/// Plans or replays, and writes what the file's name asks for.
pub fn run(arguments: &ReportArguments) -> Result<u8, Failure> {
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
    let shown = Shown::of(run_options_here(&arguments.run)?)?;
    write(&shown, arguments)?;
    output::print(&coloured(&format!("{}{}: written\n", shown.verdict(), path.display())))?;
    Ok(if shown.replay().fits() { FITS } else { DOES_NOT_FIT })
}

fn made(mut options: RunOptions) -> Result<Made, Failure> {
    let gpu = gpu(&options)?;
    let model = model(&mut options)?;
    let opened = Opened { model, run: options.run(), gpu };
    let plan = plan(&opened.model, &opened.run, &opened.gpu)?;
    Ok(Made { opened, options, plan })
}

/// A page, beside another plan or trace where one is asked for.
fn html(shown: &Shown, arguments: &ReportArguments) -> Result<(), Failure> {
    let arena = Arena::to_draw(shown.replay()).map_err(|error| Failure::new(error, None))?;
    let beside = arguments.against.as_deref().map(|word| beside(word, shown.options())).transpose()?;
    let comparison = beside.as_ref().map(|beside| compare(&beside.kept(), &shown.kept()));
    let other = beside.as_ref().map(Shown::subject).transpose()?;
    let page = page::page(&shown.subject()?, arena.as_ref(), other.as_ref().zip(comparison.as_ref()));
    let page = page.map_err(|error| Failure::new(error, None))?;
    write_whole(&arguments.output, |file| file.write_all(page.as_bytes()))
}

/// What a word names beside what has these options: a trace as it is, or a plan.
fn beside(word: &str, options: &RunOptions) -> Result<Shown, Failure> {
    if is_trace(word) {
        return Shown::of(RunOptions { model: Some(word.to_owned()), ..RunOptions::default() });
    }
    let flags = RunOptions { model: None, architecture: None, weights: None, ..options.clone() };
    Shown::of(other(word, &flags)?.complete()?)
}

fn svg(shown: &Shown, arguments: &ReportArguments) -> Result<(), Failure> {
    write_whole(&arguments.output, |file| file.write_all(shown.picture(LETTERS).as_bytes()))
}

fn perfetto(shown: &Shown, arguments: &ReportArguments) -> Result<(), Failure> {
    let marks = if let Shown::Plan(made) = shown { &made.plan.marks[..] } else { &[] };
    write_whole(&arguments.output, |mut file| perfetto::write(shown.replay(), marks, &mut file))
}

fn png(shown: &Shown, arguments: &ReportArguments) -> Result<(), Failure> {
    drawn_into(&arguments.output, |font| shown.picture(font))
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
