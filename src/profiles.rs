//! The GPUs with what was measured on them: shipped profiles, the user's own folder of them, and the one that a run names.

use std::path::PathBuf;

use jiff::Zoned;
use jiff::civil::Date;
use planner::read::gpus::GpuCatalogue;
use planner::read::profiles::Profile;
use planner::run::RunOptions;

use crate::failure::Failure;
use crate::output;

/// Days after which a profile is old: drivers and libraries come out several times a year.
const OLD: i32 = 365;
/// Where the kernel's module tells the driver's version.
const DRIVER: &str = "/proc/driver/nvidia/version";

/// Where a user's profiles lie, each named after its GPU: `memplan/profiles` in the folder for configurations.
pub fn folder() -> Option<PathBuf> {
    Some(dirs::config_dir()?.join("memplan").join("profiles"))
}

/// The GPUs, and the key of the one whose profile the run names.
pub fn catalogue(options: &RunOptions) -> Result<(GpuCatalogue, Option<String>), Failure> {
    Ok(options.catalogue(folder().as_deref())?)
}

/// Refuses a profile of a GPU that is not planned for; warns of one that may no longer hold.
pub fn check(catalogue: &GpuCatalogue, profiled: Option<&str>, keys: &[&str]) -> Result<(), Failure> {
    catalogue.check_profiled(profiled, keys)?;
    for profile in keys.iter().filter_map(|key| catalogue.find(key).ok()?.profile.as_ref()) {
        for line in doubts(profile, Zoned::now().date(), driver().as_deref()) {
            output::warn(&line);
        }
    }
    Ok(())
}

/// The version of this machine's driver, if it has one.
pub fn driver() -> Option<String> {
    version(&std::fs::read_to_string(DRIVER).ok()?).map(str::to_owned)
}

/// Why a profile may no longer hold on that day, on a machine with that driver.
fn doubts(profile: &Profile, today: Date, driver: Option<&str>) -> Vec<String> {
    let (name, measured) = (&profile.name, &profile.measured);
    let days = measured.date.parse::<Date>().ok().and_then(|date| today.since(date).ok()).map(|span| span.get_days());
    let age = days.filter(|days| *days > OLD).map(|days| format!("the profile {name} is {days} days old"));
    let other = driver.filter(|driver| *driver != measured.driver).map(|driver| {
        format!("the profile {name} was measured with driver {}, here is driver {driver}", measured.driver)
    });
    let again = |line: String| format!("{line}: `memplan calibrate` measures again");
    age.into_iter().chain(other).map(again).collect()
}

/// The driver's version out of what its module tells: `NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  ...`.
fn version(text: &str) -> Option<&str> {
    let line = text.lines().find(|line| line.starts_with("NVRM"))?;
    let is_version = |word: &&str| word.contains('.') && word.split('.').all(|part| part.parse::<u32>().is_ok());
    line.split_whitespace().find(is_version)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn profile() -> Profile {
        let text = "memplan_profile: 1\nmeasured: {gpu: NVIDIA H200, compute_capability: '9.0', driver: 570.86.15, \
                    cuda: '12.8', date: 2026-01-31, command: memplan calibrate}\n";
        Profile::parse("h200.yaml", text).expect("a profile")
    }

    #[test]
    fn old_profiles_and_other_drivers_are_doubted() {
        let profile = profile();
        assert!(doubts(&profile, date(2026, 11, 21), Some("570.86.15")).is_empty());
        assert!(doubts(&profile, date(2026, 11, 21), None).is_empty());
        let both = doubts(&profile, date(2027, 3, 1), Some("580.65.06"));
        assert_eq!(
            both,
            [
                "the profile h200 is 394 days old: `memplan calibrate` measures again",
                "the profile h200 was measured with driver 570.86.15, here is driver 580.65.06: `memplan calibrate` \
                 measures again"
            ]
        );
    }

    #[test]
    fn the_driver_tells_its_version() {
        let text = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build  (root@there)\n\
                    GCC version:  gcc version 12.2.0\n";
        assert_eq!(version(text), Some("570.86.15"));
        assert_eq!(version("GCC version: 12.2.0\n"), None);
    }
}
