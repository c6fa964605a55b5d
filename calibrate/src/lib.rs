//! Measures on a GPU what cannot be derived: memory outside PyTorch's allocator, cuDNN's workspaces, speeds. What comes out
//! is a profile, which plans read.
//!
//! ```text
//! agenda     what is measured, how often, how long at most
//! gpu        CUDA through cudarc, loaded when it is first used
//! holder     memory of processes, seen from another          pytorch    the same of PyTorch's, and cuDNN's workspaces
//! speeds     times of kernels and copies ──> fit             replay     a plan with real cudaMalloc calls
//! ```

mod agenda;
mod device;
mod error;
#[cfg(test)]
mod fake;
mod fit;
mod gpu;
mod holder;
mod products;
pub mod pytorch;
mod replay;
mod speeds;

use std::ffi::OsString;

use planner::read::profiles::{Profile, Provenance, VERSION};

pub use agenda::{Part, Plan, agenda, steps};
pub use device::{Device, Memory};
pub use error::CalibrateError;
pub use fit::fit;
pub use gpu::{Facts, Gpu};
pub use holder::{Held, Said, held_by, hold};
pub use products::{Element, Product};
pub use replay::{Replay, Replayed};

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// How measurements are made.
    pub plan: Plan,
    /// What starts this program, which is run to hold memory; arguments follow.
    pub program: &'a [OsString],
    /// The Python that has PyTorch, if one does.
    pub python: Option<&'a str>,
    /// Whose workspaces PyTorch is asked for.
    pub asked: pytorch::Asked,
    /// The driver's version.
    pub driver: &'a str,
    /// What was run, as it is to be noted.
    pub command: &'a str,
}

/// Measures all; `done` is called after each step of those that `steps` counts.
///
/// # Errors
/// A driver or a library that fails, a process that does.
pub fn calibrate(gpu: &mut Gpu, wanted: &Wanted<'_>, done: &dyn Fn()) -> Result<Profile, CalibrateError> {
    let facts = gpu.facts()?;
    // what this process loads later would count as others'
    let mut memory = holder::memory(gpu, wanted.program)?;
    let (mut version, mut workspaces) = (None, None);
    if let Some(python) = wanted.python {
        let (found, held) = pytorch::memory(gpu, python)?;
        (version, memory.pytorch) = (found, Some(held));
        workspaces = Some(pytorch::workspaces(python, &wanted.asked)?);
    }
    gpu.load_kernels()?;
    gpu.load_blas()?;
    let kernels = speeds::kernels(gpu, &wanted.plan, done)?;
    let launch = speeds::launch(gpu, &wanted.plan)?;
    let copies = speeds::copies(gpu, &wanted.plan, done)?;
    let (major, minor) = facts.compute_capability;
    Ok(Profile {
        memplan_profile: VERSION,
        name: String::new(),
        measured: Provenance {
            gpu: facts.name,
            compute_capability: format!("{major}.{minor}"),
            driver: wanted.driver.to_owned(),
            cuda: facts.cuda,
            pytorch: version,
            date: jiff::Zoned::now().date().to_string(),
            command: wanted.command.to_owned(),
        },
        memory: Some(memory),
        speeds: Some(fit(&kernels, Some(launch))?),
        copies,
        workspaces,
        kernels,
    })
}
