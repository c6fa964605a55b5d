//! The last step of a stream as buffers with lifetimes: what a static planner would give fixed places.

use super::{AllocationId, Category, Event, Stream};

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
pub fn last_step(stream: &Stream) -> (Vec<Lifetime>, u64) {
    let begin = begin(stream);
    let length = (stream.events.len() - begin) as u64;
    let mut lives: Vec<Option<Lifetime>> = vec![None; stream.allocations.len()];
    for (number, event) in stream.events.iter().enumerate() {
        let at = number.saturating_sub(begin) as u64;
        match event {
            Event::Allocate(id) => {
                let category = stream.allocations[id.index()].category;
                let from = if number < begin { 0 } else { at };
                lives[id.index()] = Some(Lifetime { id: *id, category, from, until: length, stays: false });
            }
            Event::Free(id) if number < begin => lives[id.index()] = None,
            Event::Free(id) => lives[id.index()].iter_mut().for_each(|life| life.until = at),
            Event::Becomes(id, category) => lives[id.index()].iter_mut().for_each(|life| life.category = *category),
            Event::Phase(_) => {}
        }
    }
    let mut lives: Vec<Lifetime> = lives.into_iter().flatten().collect();
    let keeps = |category| matches!(category, Category::Parameters | Category::Buffers | Category::OptimizerStates);
    lives.iter_mut().for_each(|life| life.stays = keeps(life.category) && life.until == length);
    (lives, length)
}

fn begin(stream: &Stream) -> usize {
    let mut begin = 0;
    for (place, event) in stream.events.iter().enumerate() {
        match event {
            Event::Phase(number) if stream.is_of_last_step(*number) => break,
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
    use crate::graph::ModuleId;
    use crate::schedule::{Allocation, Phase};

    fn allocate(stream: &mut Stream, category: Category) -> AllocationId {
        let (op, node, parameter) = ("x", None, None);
        stream.allocate(Allocation { bytes: Bytes(8), stream: 0, op, node, module: ModuleId(0), category, parameter })
    }

    fn phase(stream: &mut Stream, step: u64, name: &str) {
        stream.events.push(Event::Phase(stream.phases.len() as u32));
        stream.phases.push(Phase { step, name: name.into() });
    }

    #[test]
    fn lifetimes_are_those_of_the_last_step() {
        let mut stream = Stream::default();
        let weight = allocate(&mut stream, Category::Parameters);
        phase(&mut stream, 0, "load");
        let gone = allocate(&mut stream, Category::Temporaries);
        stream.events.push(Event::Free(gone));
        let across = allocate(&mut stream, Category::Temporaries);
        phase(&mut stream, 0, "end");
        let state = allocate(&mut stream, Category::Temporaries);
        stream.events.push(Event::Becomes(state, Category::OptimizerStates));
        stream.events.push(Event::Free(across));
        phase(&mut stream, 1, "forward");
        let output = allocate(&mut stream, Category::Temporaries);
        stream.events.push(Event::Free(output));
        phase(&mut stream, 1, "end");
        let (lives, length) = last_step(&stream);
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
