//! What memplan's readers are asked, whatever bytes they are given: nothing panics, hangs or grows without bound, a complaint is one
//! line that names the file, and what is accepted is written and read back the same where there is a writer.
//!
//! ```text
//! fuzz_targets/NAME.rs            cargo fuzz, for hours: inputs are guided by what code they reach
//! planner/tests/all/fuzzed.rs     the same functions among the tests: seeds, and a bounded number of blind changes of them
//! ```
//!
//! A new reader is a function here, a line of [`TARGETS`], and a file of three lines in `fuzz_targets/` with its entry in `Cargo.toml`.

mod descriptions;
mod programs;
mod seeds;
mod weights;

pub use descriptions::{gpus, kept, lock, modules, profile, run};
pub use programs::{archive, config, export, optimizer, spec, stored, trace};
pub use weights::{header, index, pack};

/// A reader, and what it is asked.
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Gives it bytes; what should not be panics.
    pub ask: fn(&[u8]),
    /// Bytes that it accepts, or nearly.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: [Target; 16] = [
    Target { name: "archive", ask: archive, seeds: seeds::archives },
    Target { name: "config", ask: config, seeds: seeds::configs },
    Target { name: "export", ask: export, seeds: seeds::exports },
    Target { name: "gpus", ask: gpus, seeds: seeds::gpus },
    Target { name: "header", ask: header, seeds: seeds::headers },
    Target { name: "index", ask: index, seeds: seeds::indexes },
    Target { name: "kept", ask: kept, seeds: seeds::kept },
    Target { name: "lock", ask: lock, seeds: seeds::locks },
    Target { name: "modules", ask: modules, seeds: seeds::modules },
    Target { name: "optimizer", ask: optimizer, seeds: seeds::optimizers },
    Target { name: "pack", ask: pack, seeds: seeds::buffers },
    Target { name: "profile", ask: profile, seeds: seeds::profiles },
    Target { name: "run", ask: run, seeds: seeds::runs },
    Target { name: "spec", ask: spec, seeds: seeds::specs },
    Target { name: "stored", ask: stored, seeds: seeds::stored },
    Target { name: "trace", ask: trace, seeds: seeds::traces },
];

/// The longest complaint, in characters: quoted texts are cut, and no message has many.
const LONGEST: usize = 2000;

/// Asserts that a complaint is a line which people can read.
fn readable(complaint: &dyn std::fmt::Display) -> String {
    let line = complaint.to_string();
    let hidden = line.chars().find(|c| c.is_control() || planner::words::quote::is_invisible(*c));
    assert!(hidden.is_none(), "{hidden:?} in {line:?}");
    assert!(!line.is_empty() && line.chars().count() <= LONGEST, "{} characters: {line}", line.chars().count());
    line
}

/// Asserts that a complaint is a line which people can read, and that it begins with the file's name.
fn names(complaint: &dyn std::fmt::Display, file: &str) {
    let line = readable(complaint);
    assert!(line.starts_with(file), "{file} in {line}");
}
