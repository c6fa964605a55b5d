//! This machine's own GPU, as the driver tells it through NVML: its name, and what of its memory is free now.
//!
//! `--gpu local` asks for it; without `--gpu` it is taken where there is one that the catalogue knows. `CUDA_VISIBLE_DEVICES` is
//! obeyed: the first device that it lists is meant, none where it is empty.

use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};
use planner::bytes::Bytes;
use planner::plan::capacity;
use planner::read::gpus::GpuCatalogue;
use planner::run::{Run, RunOptions};
use planner::{Gpu, words::quote};

use crate::failure::Failure;
use crate::{output, profiles};

/// The name that asks for this machine's GPU.
const LOCAL: &str = "local";

/// What CUDA is told to see.
const VISIBLE: &str = "CUDA_VISIBLE_DEVICES";

/// What the driver tells of a GPU.
struct Found {
    name: String,
    total: Option<Bytes>,
    free: Option<Bytes>,
}

/// Names this machine's GPU where `--gpu local` asks for it, with what is free there unless the capacity is given.
///
/// # Errors
/// No GPU of NVIDIA's that the driver tells of, or one that the catalogue does not know.
pub fn settle(options: &mut RunOptions) -> Result<(), Failure> {
    if options.gpu.as_deref() != Some(LOCAL) {
        return Ok(());
    }
    let found = ask().map_err(|reason| {
        Failure::Absent(format!("--gpu local: {reason}; --gpu NAME plans for another, `memplan gpus` lists them"))
    })?;
    if take(options, &found)? {
        return Ok(());
    }
    Err(Failure::Absent(format!(
        "--gpu local: {} is not among the GPUs that are known: --vram SIZE --gpu NAME plans for its memory with another's \
         kernels",
        quote::quoted(&found.name)
    )))
}

/// Takes this machine's GPU where none is named and the driver tells of one that is known.
///
/// # Errors
/// A profile that cannot be used.
pub fn take_by_default(options: &mut RunOptions) -> Result<(), Failure> {
    if options.names_a_gpu() {
        return Ok(());
    }
    ask().map_or(Ok(()), |found| take(options, &found).map(|_| ()))
}

/// The run is for this GPU, and for what is free of it; false where the catalogue does not know it.
fn take(options: &mut RunOptions, found: &Found) -> Result<bool, Failure> {
    let (catalogue, _) = options.catalogue(profiles::folder().as_deref())?;
    let Some(gpu) = known(&catalogue, found) else { return Ok(false) };
    options.gpu = Some(gpu.key.clone());
    let total = gpu.memory.total;
    let free = found.free.filter(|free| *free < total);
    output::note(&match free {
        Some(free) => format!("planned for this machine's GPU, {}: {free} of {total} are free now", gpu.name),
        None => format!("planned for this machine's GPU, {}", gpu.name),
    });
    if let Some(free) = free.filter(|_| options.capacity.is_none()) {
        let mut left = gpu;
        left.memory.total = free;
        options.capacity = Some(capacity(&Run::default(), &left)?);
    }
    Ok(true)
}

/// The catalogue's entry. Where several have the driver's name, they differ in memory: the nearest is meant.
fn known(catalogue: &GpuCatalogue, found: &Found) -> Option<Gpu> {
    if let Ok(gpu) = catalogue.find(&found.name) {
        return Some(gpu.clone());
    }
    let called = catalogue.iter().filter(|gpu| gpu.is_called(&found.name));
    called.min_by_key(|gpu| gpu.memory.total.0.abs_diff(found.total.unwrap_or_default().0)).cloned()
}

/// The first GPU that CUDA would see; the reason in words where there is none.
fn ask() -> Result<Found, String> {
    let visible = std::env::var(VISIBLE).ok();
    let first = visible.as_deref().map(|list| list.split(',').next().unwrap_or_default().trim().to_owned());
    if first.as_deref().is_some_and(|first| first.is_empty() || first.starts_with('-')) {
        return Err(format!("{VISIBLE} hides all GPUs"));
    }
    let driver = Nvml::init().map_err(|error| match error {
        NvmlError::LibloadingError(_) => "there is no NVIDIA driver here".to_owned(),
        other => format!("the NVIDIA driver does not answer: {other}"),
    })?;
    let device = device(&driver, first.as_deref()).map_err(|error| format!("the driver tells of no GPU: {error}"))?;
    let name = device.name().map_err(|error| format!("the driver does not name its GPU: {error}"))?;
    let memory = device.memory_info().ok();
    let (total, free) = (memory.as_ref().map(|all| Bytes(all.total)), memory.as_ref().map(|all| Bytes(all.free)));
    Ok(Found { name, total, free })
}

/// The device that a word of `CUDA_VISIBLE_DEVICES` names: a number or the beginning of a UUID; the first where there is none.
fn device<'a>(driver: &'a Nvml, word: Option<&str>) -> Result<Device<'a>, NvmlError> {
    match word {
        None => driver.device_by_index(0),
        Some(word) => match word.parse() {
            Ok(number) => driver.device_by_index(number),
            Err(_) => driver.device_by_uuid(word),
        },
    }
}
