//! Buffers out of a CSV file: whatever is read makes sense to the packer, and what it packs passes the checker.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use packing::{Options, csv, pack, validate};

fuzz_target!(|data: &[u8]| {
    let Ok(buffers) = csv::read(data) else { return };
    let options = Options { time_limit: Duration::from_millis(20), ..Options::default() };
    let Ok(packing) = pack(&buffers, &options) else { return };
    assert_eq!(validate(&buffers, &packing.offsets), Ok(()));
    let written = csv::write(&buffers, &packing.offsets);
    let read = csv::read(written.as_bytes()).expect("what was written is read");
    let offsets: Vec<Option<u64>> = read.iter().map(|buffer| buffer.offset).collect();
    assert!(offsets.iter().zip(&packing.offsets).all(|(read, packed)| *read == Some(*packed)));
});
