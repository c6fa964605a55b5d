//! No text of a spec makes the parser panic, and every complaint names the file.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(error) = planner::read::spec::check("fuzz.yaml", text) {
        assert!(error.to_string().starts_with("fuzz.yaml"));
    }
});
