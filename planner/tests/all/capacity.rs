//! A run on a GPU that is too small.

use crate::support::plans::planned;
use crate::support::truth_case;
use planner::allocate::{AllocatorOptions, simulate};
use planner::bytes::Bytes;

#[test]
fn a_smaller_capacity_runs_out_and_says_where() {
    let record = truth_case("gpt2-train-fp32");
    let plan = planned(&record);
    let enough = plan.outcome.peak_reserved;
    let options: AllocatorOptions = record.allocator.parse().expect("options");
    assert!(simulate(&plan.trace, &options, Some(enough)).out_of_memory.is_none());
    let short = simulate(&plan.trace, &options, Some(Bytes(plan.outcome.peak_allocated.0 - 1)));
    let (event, error) = short.out_of_memory.expect("less than the live bytes cannot do");
    assert!(matches!(plan.trace.event(event), Some(planner::trace::Event::Allocate(_))));
    assert!(error.reserved < enough);
}
