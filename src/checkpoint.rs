//! `memplan checkpoint`: the modules to checkpoint so that a run fits.

use planner::bytes::Bytes;
use planner::checkpoint::{Chooser, Wanted};
use planner::plan::capacity;
use planner::report::checkpoint as report;

use crate::arguments::CheckpointArguments;
use crate::failure::Failure;
use crate::output;
use crate::planning::{coloured, open};
use crate::program::{DOES_NOT_FIT, FITS};

/// How many budgets a curve has.
const POINTS: u64 = 12;

/// Chooses, reports, and gives the verdict's exit code.
pub fn run(arguments: CheckpointArguments) -> Result<u8, Failure> {
    let (model, run, gpu) = open(&arguments.run)?;
    let budget = match arguments.budget {
        Some(budget) => budget,
        None => {
            let kept = arguments.headroom.unwrap_or(0.0) / 100.0;
            let free = capacity(&run, &gpu)?;
            Bytes((free.0 as f64 * (1.0 - kept)) as u64)
        }
    };
    let wanted = Wanted {
        measure: arguments.measure,
        granularity: arguments.granularity,
        currency: arguments.cost,
        only: arguments.only.map(|pattern| pattern.0),
        ..Wanted::within(budget)
    };
    let chooser = Chooser::new(&model, &run, &gpu, &wanted)?;
    if arguments.curve {
        let points = chooser.curve(POINTS)?;
        output::report(
            arguments.run.format,
            || report::curve(&points, wanted.measure, chooser.step()),
            || report::curve_json(&points),
        )?;
        return Ok(FITS);
    }
    let answer = chooser.choose(budget)?;
    let code = if answer.choice.is_some() { FITS } else { DOES_NOT_FIT };
    let asked = report::Asked { model: &model, run: &run, gpu: &gpu, wanted: &wanted };
    match (arguments.emit, &answer.choice, arguments.run.format) {
        (Some(form), Some(choice), _) => output::print(&report::emit(&asked, choice, form)),
        // a remark, in code and in lists of modules alike
        (Some(_), None, _) => output::print(&format!("# {}", report::verdict(&wanted, &answer))),
        (None, _, form) => {
            output::report(form, || coloured(&report::text(&asked, &answer)), || report::json(&asked, &answer))
        }
    }?;
    Ok(code)
}
