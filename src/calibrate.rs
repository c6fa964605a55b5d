//! `memplan calibrate`: measures on the GPU what cannot be derived, or replays a plan there.

mod replay;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use calibrate::pytorch::{self, Asked};
use calibrate::{Facts, Gpu, Part, Plan as Measurements, Wanted, agenda, steps};
use planner::model;
use planner::plan::plan;
use planner::read::profiles::Profile;
use planner::read::spec::Shelf;
use planner::report::calibrate as report;
use planner::run::{Precision, Run};

use crate::arguments::{CalibrateArguments, Format};
use crate::failure::Failure;
use crate::planning::open_other;
use crate::program::{Call, FITS};
use crate::{output, planning, profiles};

/// Images at once, where no model is named.
const IMAGES: u64 = 32;

/// Measures, replays, or says what would be measured.
pub fn run(arguments: CalibrateArguments, call: &Call) -> Result<u8, Failure> {
    if arguments.hold {
        calibrate::hold(&mut io::stdin().lock(), &mut io::stdout().lock())?;
        return Ok(FITS);
    }
    let mut gpu = match Gpu::open() {
        Err(_) if arguments.dry_run => return elsewhere(&arguments),
        opened => opened?,
    };
    if let Some(what) = &arguments.replay {
        return replay::run(&mut gpu, what, &arguments);
    }
    let facts = gpu.facts()?;
    let measurements = Measurements { repetitions: arguments.repetitions, ..Measurements::default() };
    let python = arguments.python.as_str();
    let has_pytorch = !arguments.no_pytorch && pytorch::is_there(python);
    let asked = if has_pytorch { cudnn_calls(&arguments, &facts)? } else { Asked::default() };
    if arguments.dry_run {
        let convolutions = asked.convolutions.len() as u64;
        return told(&facts.name, &agenda(&measurements, facts.compute_capability, has_pytorch, convolutions));
    }
    if !has_pytorch && !arguments.no_pytorch {
        output::warn(&format!(
            "{python} has no PyTorch with CUDA: its context and cuDNN's workspaces are not measured"
        ));
    }
    let path = arguments.output.clone().map_or_else(|| place(&facts), Ok)?;
    let driver = profiles::driver().unwrap_or_else(|| "unknown".to_owned());
    let wanted = Wanted {
        plan: measurements,
        program: &call.itself,
        python: has_pytorch.then_some(python),
        asked,
        driver: &driver,
        command: &command(call),
    };
    let bar = output::progress(steps(facts.compute_capability) as usize);
    let measured = calibrate::calibrate(&mut gpu, &wanted, &|| bar.inc(1));
    bar.finish_and_clear();
    tell(&mut measured?, path, arguments.run.format)
}

/// What would be measured on the GPU that is named, where this machine has none; without PyTorch, which cannot be asked.
fn elsewhere(arguments: &CalibrateArguments) -> Result<u8, Failure> {
    let gpu = planning::gpu(&planning::run_options(&arguments.run)?)?;
    let capability = gpu.compute_capability;
    let capability = (capability.major.cast_signed(), capability.minor.cast_signed());
    let measurements = Measurements { repetitions: arguments.repetitions, ..Measurements::default() };
    output::note("there is no GPU here, nor PyTorch with CUDA");
    told(&gpu.name, &agenda(&measurements, capability, false, 0))
}

/// Says what would be measured on a GPU.
fn told(gpu: &str, parts: &[Part]) -> Result<u8, Failure> {
    let parts: Vec<(&str, u64, Duration)> = parts.iter().map(|part| (part.what, part.count, part.most)).collect();
    output::print(&report::agenda(gpu, &parts))?;
    Ok(FITS)
}

/// Writes a profile whole, and shows it.
fn tell(profile: &mut Profile, path: PathBuf, format: Format) -> Result<u8, Failure> {
    profile.name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let text = profile.write()?;
    // what no plan would read is not written
    Profile::parse(&path.display().to_string(), &text)?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|error| Failure::new(format!("{}: {error}", folder.display()), None))?;
    }
    output::write_whole(&path, |file| file.write_all(text.as_bytes()))?;
    match format {
        Format::Text => output::print(&report::text(profile, &path.display().to_string())),
        Format::Json => output::print_json(&report::json(profile)),
    }?;
    Ok(FITS)
}

/// What was run, without the program's own path.
fn command(call: &Call) -> String {
    let said = call.arguments.iter().skip(1).map(|argument| argument.to_string_lossy().into_owned());
    std::iter::once("memplan".to_owned()).chain(said).collect::<Vec<_>>().join(" ")
}

/// In the user's folder of profiles a file named after the GPU.
fn place(facts: &Facts) -> Result<PathBuf, Failure> {
    let hint = Some("give -o FILE".to_owned());
    let folder = profiles::folder().ok_or_else(|| Failure::new("no folder for configurations is known", hint))?;
    let words = facts.name.to_lowercase();
    let name: Vec<&str> = words.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    Ok(folder.join(format!("{}.yaml", name.join("-"))))
}

/// cuDNN's calls of the model that is named, as the flags run it; else those of a model of each family of images, trained in
/// two precisions.
fn cudnn_calls(arguments: &CalibrateArguments, facts: &Facts) -> Result<Asked, Failure> {
    let mut asked = Asked::default();
    let mut add = |calls: planner::lower::measured::CudnnCalls| {
        let new = calls.convolutions.into_iter().filter(|key| !asked.convolutions.contains(key)).collect::<Vec<_>>();
        asked.convolutions.extend(new);
        let new = calls.attention.into_iter().filter(|key| !asked.attention.contains(key)).collect::<Vec<_>>();
        asked.attention.extend(new);
    };
    if let Some(name) = &arguments.for_model {
        let (model, run, gpu) = open_other(&arguments.run, Some(name), &facts.name)?;
        add(plan(&model, &run, &gpu)?.cudnn);
        return Ok(asked);
    }
    let shelf = Shelf::default();
    for family in shelf.families().map_err(|error| Failure::new(error, None))? {
        let Some(name) = family.configurations.keys().next() else { continue };
        let model = model::open(name, None, &shelf)?;
        if !model.takes_images() {
            continue;
        }
        let (_, run, gpu) = open_other(&arguments.run, Some(name), &facts.name)?;
        for precision in [Precision::Fp32, Precision::AmpBf16] {
            let run = Run { batch: IMAGES, steps: 1, precision: Some(precision), ..run.clone() };
            add(plan(&model, &run, &gpu)?.cudnn);
        }
    }
    Ok(asked)
}
