//! What a rank holds under DeepSpeed's ZeRO, stages 1 and 2 (deepspeed/runtime/zero/stage_1_and_2.py): a bound on what is
//! allocated, from the plan of the same run on one GPU.
//!
//! ```text
//! always     parameters in one flat tensor, padded to 2 * ranks elements        bit16_groups_flat
//!            a partition of them in fp32, and the optimizer's states of it      single_partition_of_fp32_groups
//! backward   all that is alive in the plan but parameters, gradients and states, at most
//!            gradients: all of them, in stage 2 those of the partition          grads_in_partition
//!            those of the partition once more where micro-batches are summed    all_grad_tensors
//!            a bucket, and a copy of what is in it while it is reduced           ipg_buckets, allreduce_bucket
//! step       the partition's gradients flat, once more in fp32, and what the step makes beside
//! ```
//!
//! Parameters that lie across the ends of a partition count with it as a whole. DeepSpeed's defaults are taken: buckets of
//! 500,000,000 elements, contiguous gradients, no overlap, accumulation in the model's type. What the allocator reserves
//! beyond what is allocated cannot be known.

use crate::bytes::Bytes;
use crate::plan::Plan;
use crate::trace::{Category, Event, Trace};

/// `reduce_bucket_size`, in elements.
const BUCKET: u64 = 500_000_000;
/// `nccl_start_alignment_factor`, in elements.
const ALIGNMENT: u64 = 2;
/// Bytes of an element of the partition that the optimizer works on.
const MASTER: u64 = 4;

/// What of a plan on one GPU a rank's bound is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// Parameters that are trained.
    trained: u64,
    /// Elements of the largest of them.
    largest: u64,
    /// Bytes of an element.
    element: u64,
    /// Bytes of parameters that are not trained and of buffers.
    fixed: u64,
    /// The most that is alive beside parameters, gradients and the optimizer's states before the optimizer's step.
    around: u64,
    /// The optimizer's states.
    states: u64,
    /// What its step makes beside them.
    step: u64,
    /// Whether gradients of several micro-batches are summed (`all_grad_tensors`).
    accumulates: bool,
}

impl Held {
    /// Reads it off a plan.
    pub fn of(plan: &Plan, accumulates: bool) -> Held {
        let totals = plan.parameters();
        let trained = plan
            .graph
            .parameters
            .iter()
            .filter(|parameter| !parameter.buffer && parameter.needs_gradient(plan.trainable.as_ref()));
        let element = plan.precision.dtype().size();
        let fixed = (totals.bytes + totals.buffers).0.saturating_sub(totals.trainable * element);
        let largest = trained.map(|parameter| parameter.shape.iter().product()).max().unwrap_or(0);
        let Alive { around, states, step } = alive(&plan.trace);
        Held { trained: totals.trainable, largest, element, fixed, around, states, step, accumulates }
    }

    /// The most that one of so many ranks has allocated.
    pub fn bound(&self, stage: u8, ranks: u64) -> Bytes {
        let padded = self.trained.next_multiple_of(ALIGNMENT * ranks);
        let partition = padded / ranks;
        // states and temporaries are those of the whole in the model's type: the partition has its share, in fp32
        let share = |bytes: u64| {
            let whole = u128::from(self.trained.max(1)) * u128::from(self.element);
            (u128::from(bytes) * u128::from(partition * MASTER)).div_ceil(whole) as u64
        };
        let always = self.fixed + padded * self.element + partition * MASTER + share(self.states);
        let across = (partition + 2 * self.largest).min(self.trained);
        let summed = if self.accumulates { across } else { 0 };
        let gradients = (if stage == 1 { self.trained } else { across } + summed) * self.element;
        let bucket = (BUCKET + BUCKET.min(self.trained)) * self.element;
        let step = partition * (self.element + MASTER) + share(self.step);
        Bytes(always + gradients + (self.around + bucket).max(step))
    }
}

/// What is alive at most.
struct Alive {
    around: u64,
    states: u64,
    step: u64,
}

/// Walks over the events; only the steps of the run count for what is alive around them.
fn alive(stream: &Trace) -> Alive {
    let mut held = vec![None; stream.allocation_count()];
    let mut now = [0_u64; 3];
    let (mut most, mut of_phase) = (Alive { around: 0, states: 0, step: 0 }, 0_u64);
    for event in stream.events() {
        let (id, becomes) = match event {
            Event::Allocate(id) => (id, Some(kind(stream.allocation(id).category))),
            Event::Becomes(id, category) => (id, Some(kind(category))),
            Event::Free(id, _) => (id, None),
            Event::Phase(phase) => {
                let name = &*stream.phases[phase as usize].name;
                let place = if name == "optimizer" { &mut most.step } else { &mut most.around };
                *place = (*place).max(if name == "load" { 0 } else { of_phase });
                of_phase = now[AROUND];
                continue;
            }
        };
        let bytes = stream.allocation(id).bytes.0.next_multiple_of(512);
        if let Some(kind) = std::mem::replace(&mut held[id.index()], becomes) {
            now[kind] -= bytes;
        }
        if let Some(kind) = becomes {
            now[kind] += bytes;
        }
        of_phase = of_phase.max(now[AROUND]);
        most.states = most.states.max(now[STATES]);
    }
    most
}

/// Parameters and gradients, which a rank holds otherwise.
const OTHERWISE: usize = 0;
/// The optimizer's states.
const STATES: usize = 1;
/// All else.
const AROUND: usize = 2;

fn kind(category: Category) -> usize {
    match category {
        Category::Parameters | Category::Buffers | Category::Gradients => OTHERWISE,
        Category::OptimizerStates => STATES,
        _ => AROUND,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::open;
    use crate::read::gpus::GpuCatalogue;
    use crate::read::spec::Shelf;
    use crate::run::{Precision, Run};

    fn held(run: &Run) -> Held {
        let gpu = GpuCatalogue::load(None).unwrap().find("a100-80gb").unwrap().clone();
        let model = open("gpt2", None, &Shelf::default()).unwrap();
        Held::of(&crate::plan::plan(&model, run, &gpu).unwrap(), run.accumulate > 1)
    }

    /// The ZeRO paper's figures for mixed precision with Adam: 2 bytes for parameters, 2 for gradients, 12 for the optimizer.
    #[test]
    fn what_is_always_held_is_as_the_paper_has_it() {
        let held = held(&Run { precision: Some(Precision::Bf16), ..Run::default() });
        let count = 124_439_808;
        assert_eq!((held.trained, held.largest, held.element, held.fixed), (count, 50257 * 768, 2, 0));
        // two averages of the type of the parameters
        assert!(held.states >= 4 * count && held.states < 4 * count + (1 << 20), "{}", held.states);
        let difference = held.bound(1, 1).0 - held.bound(1, 8).0;
        let expected = 12 * (count - count.div_ceil(8));
        // in the step the partition's gradients shrink as well, unless the backward pass is the peak
        assert!(difference.abs_diff(expected) < (1 << 21), "{difference} is not about {expected}");
    }

    #[test]
    fn more_ranks_and_the_second_stage_take_no_more() {
        let held = held(&Run { batch: 2, seq: 200, ..Run::default() });
        for ranks in [1, 2, 3, 8, 64] {
            assert!(held.bound(2, ranks) <= held.bound(1, ranks), "{ranks}");
            assert!(held.bound(1, ranks + 1).0 <= held.bound(1, ranks).0 + 8 * ranks * MASTER, "{ranks}");
        }
        assert!(held.around > 0 && held.step > 0);
    }
}
