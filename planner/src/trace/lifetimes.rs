//! The last step of a trace, or all of it, as buffers with lifetimes: what a static planner would give fixed places.

use super::{AllocationId, Category, Event, Trace};

/// An allocation that is alive in the last step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// The allocation.
    pub id: AllocationId,
    /// What it is for at last.
    pub category: Category,
    /// The first event of the step at which it is alive; 0 for what was there before.
    pub from: u64,
    /// The event from which on it is not; the step's length for what stays.
    pub until: u64,
    /// Whether it stays from step to step: parameters, buffers, states, alive at the end.
    pub stays: bool,
}

/// What is alive in the last step, in the order of allocation, and how many events the step has. A step begins where the phase
/// of another ends, or loading.
pub fn last_step(trace: &Trace) -> (Vec<Lifetime>, u64) {
    from(trace, begin(trace))
}

/// All that a trace allocates, in the order of allocation.
pub fn whole_run(trace: &Trace) -> Vec<Lifetime> {
    from(trace, 0).0
}

/// What is alive from an event on, and how many events there are from it.
fn from(trace: &Trace, begin: usize) -> (Vec<Lifetime>, u64) {
    let length = (trace.event_count() - begin) as u64;
    let mut lives: Vec<Option<Lifetime>> = vec![None; trace.allocation_count()];
    for (number, event) in trace.events().enumerate() {
        let at = number.saturating_sub(begin) as u64;
        match event {
            Event::Allocate(id) => {
                let category = trace.allocation(id).category;
                let from = if number < begin { 0 } else { at };
                lives[id.index()] = Some(Lifetime { id, category, from, until: length, stays: false });
            }
            Event::Free(id, _) if number < begin => lives[id.index()] = None,
            Event::Free(id, _) => lives[id.index()].iter_mut().for_each(|life| life.until = at),
            Event::Becomes(id, category) => lives[id.index()].iter_mut().for_each(|life| life.category = category),
            Event::Phase(_) => {}
        }
    }
    let mut lives: Vec<Lifetime> = lives.into_iter().flatten().collect();
    let keeps = |category| matches!(category, Category::Parameters | Category::Buffers | Category::OptimizerStates);
    lives.iter_mut().for_each(|life| life.stays = keeps(life.category) && life.until == length);
    (lives, length)
}

fn begin(trace: &Trace) -> usize {
    let mut begin = 0;
    for (place, event) in trace.events().enumerate() {
        match event {
            Event::Phase(number) if trace.is_of_last_step(number) => break,
            Event::Phase(_) => begin = place + 1,
            _ => {}
        }
    }
    begin
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::Bytes;
    use crate::ids::ModuleId;
    use crate::trace::{Allocation, Cause, Phase};

    fn allocate(trace: &mut Trace, category: Category) -> AllocationId {
        let operator = trace.names.number("x");
        let (bytes, module) = (Bytes(8), ModuleId(0));
        let (node, parameter, place) = (None, None, None);
        trace.allocate(Allocation {
            bytes,
            cuda_stream: 0,
            private_pool: None,
            operator,
            node,
            module,
            category,
            parameter,
            place,
            cached: None,
        })
    }

    fn phase(trace: &mut Trace, step: u64, name: &str) {
        trace.end_phase(Phase { step, name: name.into() });
    }

    #[test]
    fn lifetimes_are_those_of_the_last_step() {
        let mut trace = Trace::default();
        let weight = allocate(&mut trace, Category::Parameters);
        phase(&mut trace, 0, "load");
        let gone = allocate(&mut trace, Category::Temporaries);
        trace.push(Event::Free(gone, Cause::Unknown));
        let across = allocate(&mut trace, Category::Temporaries);
        phase(&mut trace, 0, "end");
        let state = allocate(&mut trace, Category::Temporaries);
        trace.push(Event::Becomes(state, Category::OptimizerStates));
        trace.push(Event::Free(across, Cause::Unknown));
        phase(&mut trace, 1, "forward");
        let output = allocate(&mut trace, Category::Temporaries);
        trace.push(Event::Free(output, Cause::Unknown));
        phase(&mut trace, 1, "end");
        let (lives, length) = last_step(&trace);
        assert_eq!(length, 7);
        let life = |id, category, from, until, stays| Lifetime { id, category, from, until, stays };
        let expected = [
            life(weight, Category::Parameters, 0, 7, true),
            life(across, Category::Temporaries, 0, 2, false),
            life(state, Category::OptimizerStates, 0, 7, true),
            life(output, Category::Temporaries, 4, 5, false),
        ];
        assert_eq!(lives, expected);
    }
}
