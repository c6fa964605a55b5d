//! No graph of an export makes the reader or the planner panic, and every complaint names the file.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use planner::plan::{Emulation, program};
use planner::model::export::parse;
use planner::model::Model;
use planner::read::spec::Shelf;
use planner::run::{Mode, Run};

fuzz_target!(|text: &[u8]| {
    match parse(Path::new("fuzz.pt2"), text, None, &Shelf::default()) {
        Err(error) => assert!(error.to_string().starts_with("fuzz.pt2")),
        Ok(exported) => {
            let (name, dtype) = ("fuzz.pt2".to_owned(), Some(exported.dtype));
            let (config, weights) = Default::default();
            let architecture = exported.architecture;
            let (family, exported) = (exported.family, Some(exported.exported));
            let model = Model { name, family, exported, architecture, config, config_file: None, dtype, weights };
            let _ = program(&model, &Run { mode: Mode::Infer, steps: 1, ..Run::default() }, Emulation::default());
        }
    }
});
