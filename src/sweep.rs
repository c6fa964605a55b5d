//! `memplan sweep`: every combination of sizes and choices.

use planner::report::sweep as report;
use planner::sweep::sweep;

use crate::arguments::{Format, Rows, SweepArguments};
use crate::failure::Failure;
use crate::output;
use crate::planning::{gpus, model, run_options_here};
use crate::program::{DOES_NOT_FIT, FITS};

/// The most rows: what they take is held in memory until the last is planned.
const MOST: usize = 1_000_000;

/// Plans all, reports, and gives the code of the best of them.
pub fn run(arguments: SweepArguments) -> Result<u8, Failure> {
    let SweepArguments { run: shared, mut lists, images, rows: form } = arguments;
    let mut options = run_options_here(&shared)?;
    // As a plan of one of them would be refused.
    options.seq = lists.size.first().copied().or(options.seq);
    options.image = images.first().copied().or(options.image);
    let gpus = gpus(&options)?;
    let model = model(&mut options)?;
    if model.takes_images() {
        lists.size = images;
    }
    let count = lists.combinations().saturating_mul(gpus.len());
    if count > MOST {
        let hint = "shorter lists, or ranges with a step: 512..4096..512";
        return Err(Failure::new(format!("{count} rows: the most are {MOST}"), Some(hint.to_owned())));
    }
    let runs = lists.runs(&model, &options.run());
    let bar = output::progress(count);
    let rows = sweep(&model, &runs, &gpus, &|ready| bar.inc(ready as u64));
    bar.finish_and_clear();
    let swept = report::Swept { model: &model, runs: &runs, gpus: &gpus, rows: &rows? };
    match form {
        Rows::Csv => output::print_data(&report::csv(&swept)),
        Rows::Table => output::report(Format::Text, || report::text(&swept), || report::json(&swept)),
        Rows::Json => output::report(Format::Json, || report::text(&swept), || report::json(&swept)),
    }?;
    let fits = swept.rows.iter().any(|row| row.fits());
    Ok(if fits { FITS } else { DOES_NOT_FIT })
}
