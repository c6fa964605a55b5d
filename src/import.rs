//! `memplan import`: a spec from the Python source of a family.

use std::path::Path;

use import::{Fault, Import, World, diffusers, timm, torchvision};
use planner::files;
use planner::model::own;
use planner::read::config;

use crate::arguments::ImportArguments;
use crate::failure::Failure;
use crate::output;
use crate::program::{BAD, DOES_NOT_FIT, FITS};

/// The most bytes of the file that names the release.
const LARGEST: u64 = 1 << 20;

/// Writes the spec of a family, and says what could not be said.
pub fn run(arguments: &ImportArguments) -> Result<u8, Failure> {
    let done = import::on_a_deep_stack(|| read(arguments));
    done.unwrap_or_else(|error| Err(Failure::new(format!("a thread cannot be started: {error}"), None)))
}

fn read(arguments: &ImportArguments) -> Result<u8, Failure> {
    if arguments.family.is_none() && !arguments.all {
        return own(arguments);
    }
    let version = version(&arguments.package)?;
    if arguments.package.file_name().is_some_and(|name| name == torchvision::PACKAGE) {
        return of_torchvision(arguments, &version);
    }
    if arguments.package.file_name().is_some_and(|name| name == timm::PACKAGE) {
        return of_timm(arguments, &version);
    }
    if arguments.package.file_name().is_some_and(|name| name == diffusers::PACKAGE) {
        return of_diffusers(arguments, &version);
    }
    if arguments.all {
        return all(&arguments.package, &version);
    }
    let name = arguments.family.as_deref().unwrap_or_default();
    let mut import = Import::new(world(&arguments.package)?);
    import.only = arguments.only.clone();
    let spec = import.spec(name, &version);
    written(arguments, &import, spec)
}

/// Writes a spec, and names what it could not say.
fn written(arguments: &ImportArguments, import: &Import, spec: Result<String, Fault>) -> Result<u8, Failure> {
    write(arguments, &spec.map_err(|fault| Failure::new(fault, None))?)?;
    import.faults.iter().for_each(|fault| output::warn(&fault.to_string()));
    Ok(if import.faults.is_empty() { FITS } else { DOES_NOT_FIT })
}

/// Writes the spec of a file of torchvision.
fn of_torchvision(arguments: &ImportArguments, version: &str) -> Result<u8, Failure> {
    let hint = || Some("--family efficientnet reads models/efficientnet.py".to_owned());
    let Some(name) = arguments.family.as_deref() else {
        return Err(Failure::new("of torchvision one file is imported at a time", hint()));
    };
    let world = own::plain_world(torchvision::PACKAGE, &arguments.package);
    let mut import = Import::new(world.map_err(|error| Failure::new(error, None))?);
    let spec = import.torchvision_spec(name, version);
    written(arguments, &import, spec)
}

/// Writes the spec of a file of timm, or of the layers that all of them share.
fn of_timm(arguments: &ImportArguments, version: &str) -> Result<u8, Failure> {
    let Some(name) = arguments.family.as_deref() else {
        let hint = "--family resnet reads models/resnet.py".to_owned();
        return Err(Failure::new("of timm one file is imported at a time", Some(hint)));
    };
    let mut import = Import::new(own::timm_world(&arguments.package).map_err(|error| Failure::new(error, None))?);
    let spec = import.timm_spec(name, version);
    written(arguments, &import, spec)
}

/// Writes the spec of a class of diffusers.
fn of_diffusers(arguments: &ImportArguments, version: &str) -> Result<u8, Failure> {
    let Some(name) = arguments.family.as_deref() else {
        let hint = "--family UNet2DConditionModel reads that class";
        return Err(Failure::new("of diffusers one class is imported at a time", Some(hint.to_owned())));
    };
    let world = own::plain_world(diffusers::PACKAGE, &arguments.package);
    let mut import = Import::new(world.map_err(|error| Failure::new(error, None))?);
    let spec = import.diffusers_spec(name, version);
    written(arguments, &import, spec)
}

/// Writes the spec of the architecture that a model's folder brings itself.
fn own(arguments: &ImportArguments) -> Result<u8, Failure> {
    let config = config::read(&arguments.package).map_err(|error| {
        let hint = "name a model's folder, or the folder of transformers with --family NAME";
        Failure::new(error, Some(hint.to_owned()))
    })?;
    let architecture = config.architecture().map_err(|error| Failure::new(error, None))?;
    let Some((_, spec)) = own::spec(&config, architecture)? else {
        let line = format!(
            "{}: its folder has no source of {architecture}: \"auto_map\" would name it",
            config.path().display()
        );
        return Err(Failure::new(line, None));
    };
    write(arguments, &spec)?;
    Ok(FITS)
}

fn write(arguments: &ImportArguments, spec: &str) -> Result<(), Failure> {
    match &arguments.output {
        Some(path) => output::write_whole(path, |file| file.write_all(spec.as_bytes())),
        None => output::print_data(spec),
    }
}

/// Imports every family, and says of each how many of its statements could not be said.
fn all(package: &Path, version: &str) -> Result<u8, Failure> {
    let models = package.join("models");
    let entries =
        std::fs::read_dir(&models).map_err(|error| Failure::new(format!("{}: {error}", models.display()), None))?;
    let mut names: Vec<String> = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    let (mut whole, mut part, mut none) = (0, 0, 0);
    for name in names.iter().filter(|name| models.join(name).join(format!("modeling_{name}.py")).is_file()) {
        let mut import = Import::new(world(package)?);
        let said = match import.spec(name, version) {
            Ok(_) if import.faults.is_empty() => {
                whole += 1;
                "whole".to_owned()
            }
            Ok(_) => {
                part += 1;
                let first = import.faults.first().map(Fault::to_string).unwrap_or_default();
                format!("{} places cannot be said, the first: {first}", import.faults.len())
            }
            Err(fault) => {
                none += 1;
                format!("not written: {fault}")
            }
        };
        output::print(&format!("{name:24} {said}\n"))?;
    }
    output::print(&format!("{whole} whole, {part} in part, {none} not\n"))?;
    Ok(if whole + part == 0 { BAD } else { FITS })
}

fn world(package: &Path) -> Result<World, Failure> {
    own::world("transformers", package).map_err(|error| Failure::new(error, None))
}

/// The release of the package: `__version__` of its `__init__.py`.
fn version(package: &Path) -> Result<String, Failure> {
    let path = package.join("__init__.py");
    let text = files::text(&path, LARGEST).map_err(|error| {
        let hint = "name the folder of the package: .../site-packages/transformers";
        Failure::new(format!("{}: {error}", path.display()), Some(hint.to_owned()))
    })?;
    let line = text.lines().find_map(|line| line.strip_prefix("__version__ = "));
    // torchvision's stands in version.py
    let other = files::text(&package.join("version.py"), LARGEST).unwrap_or_default();
    let line = line.or_else(|| other.lines().find_map(|line| line.strip_prefix("__version__ = ")));
    let line = line.map(|version| version.split('+').next().unwrap_or(version));
    Ok(line.map(|version| version.trim_matches(['"', '\''])).unwrap_or("of an unknown release").to_owned())
}
