#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| memplan_fuzz::spec(bytes));
