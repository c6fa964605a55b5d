//! Profiles as they are written and read.

use super::*;
use crate::read::gpus::{GpuCatalogue, MemorySource};
use crate::time::{Speeds, Unit};

/// Figures made up for the tests; no GPU was measured.
const TEXT: &str = include_str!("mine.yaml");

fn profile() -> Profile {
    Profile::parse("somewhere/mine.yaml", TEXT).expect("a profile")
}

#[test]
fn a_profile_is_read_as_it_is_written() {
    let profile = profile();
    assert_eq!(profile.name, "mine");
    let written = profile.write().expect("text");
    assert_eq!(Profile::parse("mine.yaml", &written).expect("a profile"), profile);
    assert_eq!(profile.outside(), None);
}

#[test]
fn a_gpu_has_what_was_measured() {
    let mut catalogue = GpuCatalogue::load(None).expect("the shipped GPUs are sound");
    let before = catalogue.find("h200").expect("in the catalogue").clone();
    assert_eq!(catalogue.measured(profile()).as_deref(), Some("h200"));
    let gpu = catalogue.find("h200").expect("in the catalogue");
    assert_eq!(gpu.memory.total, Bytes(149_000_000_000));
    assert_eq!(gpu.memory.source, MemorySource::Profile);
    assert!(gpu.has_measured_speeds() && !before.has_measured_speeds());
    let (measured, stated) = (Speeds::of(gpu).expect("measured"), Speeds::of(&before).expect("stated"));
    assert_eq!((measured.overhead, measured.bandwidth), (2e-6, 4e12));
    assert_eq!(measured.rate(Unit::Product(crate::dtype::Dtype::BF16)), Some(6e14));
    // what was not measured is the datasheet's
    assert_eq!(measured.rates.fp32, stated.rates.fp32);
    assert_eq!(stated.overhead, 0.0);
}

#[test]
fn a_gpu_that_is_not_in_the_catalogue_has_no_entry() {
    let mut catalogue = GpuCatalogue::load(None).expect("the shipped GPUs are sound");
    let other = Profile::parse("x.yaml", &TEXT.replace("NVIDIA H200", "NVIDIA X1")).expect("a profile");
    assert_eq!(catalogue.measured(other), None);
}

#[test]
fn what_is_wrong_is_said_in_one_line() {
    let said = |from: &str, to: &str| {
        assert!(TEXT.contains(from), "{from}");
        Profile::parse("mine.yaml", &TEXT.replace(from, to)).expect_err("an error").to_string()
    };
    let again = "this program reads version 1: run `memplan calibrate` again";
    assert_eq!(said("memplan_profile: 1", "memplan_profile: 2"), format!("mine.yaml: a profile of version 2; {again}"));
    assert_eq!(
        said("memplan_profile: 1", "profile: 1"),
        format!("mine.yaml: no profile, for it has no `memplan_profile`; {again}")
    );
    assert_eq!(said("4.0e+12", "-1"), "mine.yaml: speeds: bandwidth: -1 is not a positive figure");
    assert_eq!(said("6.0e+14", ".inf"), "mine.yaml: speeds: rates: bf16: inf is not a positive figure");
    assert_eq!(said("149000000000", "0"), "mine.yaml: memory: 0 B cannot be a GPU's");
    assert_eq!(said("0.00023", "0"), "mine.yaml: kernels: seconds: 0 is not a positive figure");
    let unknown = said("  granularity:", "  granularities:");
    assert!(unknown.starts_with("mine.yaml:10:3: ") || unknown.contains("granularities"), "{unknown}");
    assert!(Profile::parse("mine.yaml", "[").is_err());
    assert!(Profile::parse("mine.yaml", "").is_err());
}

#[test]
fn the_middle_of_measurements() {
    let figure = Figure::of(vec![5.0, 1.0, 3.0, 2.0, 4.0]).expect("a figure");
    assert_eq!(figure, Figure { median: 3.0, spread: 2.0 / 3.0, runs: 5 });
    assert_eq!(Figure::of(vec![7.0]), Some(Figure { median: 7.0, spread: 0.0, runs: 1 }));
    assert_eq!(Figure::of(Vec::new()), None);
}
