//! The user's own folder of profiles, and warnings of profiles that may no longer hold.

use std::path::{Path, PathBuf};

use jiff::Zoned;
use planner::read::gpus::GpuCatalogue;
use planner::{Gpu, files};

use crate::output;

/// Where the kernel's module tells the driver's version.
const DRIVER: &str = "/proc/driver/nvidia/version";

/// The longest text that is taken for one of the driver's version, in bytes.
const LARGEST_VERSION: u64 = 1 << 16;

/// Where a user's profiles lie, each named after its GPU: `memplan/profiles` in the folder for configurations.
pub fn folder() -> Option<PathBuf> {
    Some(dirs::config_dir()?.join("memplan").join("profiles"))
}

/// Warns of a GPU's profile that may no longer hold.
pub fn doubt(gpu: &Gpu) {
    let doubts = gpu.profile.iter().flat_map(|profile| profile.doubts(Zoned::now().date(), driver().as_deref()));
    doubts.for_each(|line| output::warn(&line));
}

/// Says which GPU a name is taken for, where it may mean others too.
pub fn say_taken(catalogue: &GpuCatalogue, name: &str) {
    let Ok(taken) = catalogue.find(name) else { return };
    let others: Vec<&str> = catalogue.also_called(name, taken).iter().map(|gpu| gpu.key.as_str()).collect();
    if !others.is_empty() {
        let Gpu { key, name: called, .. } = taken;
        output::note(&format!("{name:?} is taken for {key} ({called}); there are also {}", others.join(", ")));
    }
}

/// The version of this machine's driver, if it has one.
pub fn driver() -> Option<String> {
    version(&files::text(Path::new(DRIVER), LARGEST_VERSION).ok()?).map(str::to_owned)
}

/// The driver's version out of what its module tells: `NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  ...`.
fn version(text: &str) -> Option<&str> {
    let line = text.lines().find(|line| line.starts_with("NVRM"))?;
    let is_version = |word: &&str| word.contains('.') && word.split('.').all(|part| part.parse::<u32>().is_ok());
    line.split_whitespace().find(is_version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_driver_tells_its_version() {
        let text = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build  (root@there)\n\
                    GCC version:  gcc version 12.2.0\n";
        assert_eq!(version(text), Some("570.86.15"));
        assert_eq!(version("GCC version: 12.2.0\n"), None);
    }
}
