//! `memplan graph` and `memplan ops`: a model's program, and the operators that are known.

use planner::plan::{Emulation, program};
use planner::report::graph::{self, Part};

use crate::arguments::{Format, GraphArguments, OperatorsArguments};
use crate::failure::Failure;
use crate::output;
use crate::planning::open;
use crate::program::FITS;

/// Shows the forward program of a run.
pub fn run(arguments: &GraphArguments) -> Result<u8, Failure> {
    let (model, run, _) = open(&arguments.run)?;
    let graph = program(&model, &run, Emulation::default())?;
    let module = arguments.module.as_deref().unwrap_or_default();
    let part = Part { model: &model.name, graph: &graph, module };
    if part.is_empty() {
        let hint = "`memplan graph MODEL` shows the modules and what they call";
        return Err(Failure::new(format!("no operator runs in the module `{module}`"), Some(hint.to_owned())));
    }
    match (arguments.dot, arguments.json || arguments.run.format == Format::Json) {
        (true, _) => output::print_data(&graph::dot(&part)),
        (_, true) => output::print_json(&graph::json(&part)),
        _ => output::print(&graph::text(&part)),
    }?;
    Ok(FITS)
}

/// Lists the operators.
pub fn operators(arguments: &OperatorsArguments) -> Result<u8, Failure> {
    match arguments.format {
        Format::Text => output::print(&graph::operators_text()),
        Format::Json => output::print_json(&graph::operators()),
    }?;
    Ok(FITS)
}
