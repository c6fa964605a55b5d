//! What describes a run, a GPU or an environment: each is read, and written and read back where it can be written.

use std::path::Path;

use planner::allocate::AllocatorOptions;
use planner::read::environment;
use planner::read::gpus::GpuCatalogue;
use planner::read::profiles::Profile;
use planner::read::{run_file, yaml};
use planner::run::Region;
use planner::snapshot;

use super::programs::planned_run;
use super::{names, readable};

/// Any text as a run file: what it says is written and read back the same, and planned or refused.
pub fn run(text: &[u8]) {
    let Ok(text) = str::from_utf8(text) else { return };
    let path = Path::new("run.yaml");
    let options = match run_file::parse(path, text) {
        Ok(options) => options,
        Err(error) => return names(&error, "run.yaml:"),
    };
    // a kept plan has the releases in place of the environment that said them
    let kept = planner::RunOptions { env: None, ..options.clone() };
    let written = yaml::write(&kept).expect("a run can be written");
    let again = run_file::parse(path, &written).unwrap_or_else(|error| panic!("{error}\n{written}"));
    assert_eq!(again, kept, "{written}");
    if let Err(error) = options.run().allocator.parse::<AllocatorOptions>() {
        readable(&error);
    }
    planned_run(&options);
}

/// Any text as a kept plan: it is written and read back the same, and differs from itself in nothing.
pub fn kept(text: &[u8]) {
    let Ok(text) = str::from_utf8(text) else { return };
    let path = Path::new("kept.yaml");
    let snapshot = match snapshot::parse(path, text) {
        Ok(snapshot) => snapshot,
        Err(error) => return names(&error, "kept.yaml:"),
    };
    let written = snapshot.to_string();
    assert!(snapshot::is_snapshot(&written));
    let again = snapshot::parse(path, &written).unwrap_or_else(|error| panic!("{error}\n{written}"));
    assert_eq!(again, snapshot, "{written}");
    let comparison = snapshot::compare(&snapshot, &again);
    assert!(comparison.run.is_empty() && comparison.facts.is_empty(), "{comparison:?}");
    assert!(comparison.moved.is_empty() && comparison.peaks.iter().all(|peak| peak.change() == 0), "{comparison:?}");
}

/// Any text as a profile: it is written and read back the same.
pub fn profile(text: &[u8]) {
    let Ok(text) = str::from_utf8(text) else { return };
    let profile = match Profile::parse("profile.yaml", text) {
        Ok(profile) => profile,
        Err(error) => return names(&error, "profile.yaml:"),
    };
    let written = profile.write().expect("a profile can be written");
    let again = Profile::parse("profile.yaml", &written).unwrap_or_else(|error| panic!("{error}\n{written}"));
    assert_eq!(again.write().expect("a profile can be written"), written);
    profile.doubts("2026-11-21".parse().expect("a date"), Some("570.86.15"));
    GpuCatalogue::load(None).expect("the shipped GPUs are sound").measured(profile);
}

/// Any text as a file of GPUs: each is found by its key.
pub fn gpus(text: &[u8]) {
    let Ok(text) = str::from_utf8(text) else { return };
    let mut catalogue = GpuCatalogue::default();
    match catalogue.add("gpus.yaml", text) {
        Ok(()) => assert!(catalogue.iter().all(|gpu| catalogue.find(&gpu.key).is_ok_and(|found| found == gpu))),
        Err(error) => names(&error, "gpus.yaml:"),
    }
}

/// Any text as a list of modules: it is written and read back the same.
pub fn modules(text: &[u8]) {
    let Ok(text) = str::from_utf8(text) else { return };
    match Region::listed(text) {
        Ok(regions) => {
            let written: Vec<String> = regions.iter().map(Region::to_string).collect();
            assert_eq!(Region::listed(&written.join("\n")), Ok(regions), "{written:?}");
        }
        Err(error) => drop(readable(&error)),
    }
}

/// Any text as a lock file, and as requirements.
pub fn lock(text: &[u8]) {
    let Ok(text) = str::from_utf8(text) else { return };
    for name in ["uv.lock", "requirements.txt"] {
        if let Err(error) = environment::parse(Path::new(name), text) {
            names(&error, name);
        }
    }
}
