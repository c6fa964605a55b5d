//! Replays a plan on a device: the segments of the simulated allocator with real cudaMalloc calls, in their order, and a
//! kernel over every byte when the plan has it live.
//!
//! ```text
//! the plan's events ──> the allocator's simulation ──> cudaMalloc, cudaFree        what the driver says is used
//!                                                 └──> where each block lies ──> touch, multiply
//! ```
//!
//! A product is run for each planned one: as large as its result's block allows, its factors out of the largest block that
//! is live (their values do not matter).

use std::collections::BTreeMap;

use planner::allocate::{AllocatorOptions, BlockId, CachingAllocator, DriverCall, StreamId};
use planner::bytes::Bytes;
use planner::ops::matrix_products;
use planner::report::calibrate::Step;
use planner::trace::{Allocation, AllocationId, Event, Trace};

use crate::device::{Device, Memory};
use crate::error::CalibrateError;
use crate::products::{Element, Product};

/// What became of a replay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// The phases that were reached.
    pub steps: Vec<Step>,
    /// The segment that the device had no memory for, if it came to that: the replay ends there.
    pub out_of_memory: Option<Bytes>,
    /// Bytes that were written.
    pub touched: u64,
    /// Products that ran.
    pub products: u64,
}

impl Replayed {
    /// The most that the driver differs from the plan at any phase's end.
    pub fn most_apart(&self) -> Bytes {
        let apart = |step: &Step| Bytes(step.used.0.abs_diff(step.paged.0));
        self.steps.iter().map(apart).max().unwrap_or_default()
    }
}

/// How a replay is run.
#[derive(Clone, Copy, Debug)]
pub struct Replay<'a> {
    /// The allocator's options.
    pub options: &'a AllocatorOptions,
    /// What the allocator may take; what the device has free counts besides.
    pub capacity: Bytes,
    /// Sizes that the driver takes memory in.
    pub page: Bytes,
    /// What products are computed in.
    pub element: Element,
}

impl Replay<'_> {
    /// Runs a stream on a device, whose memory is all given back at the end.
    ///
    /// # Errors
    /// Expandable segments, which map pages without cudaMalloc; a driver that fails.
    pub fn run(
        &self,
        trace: &Trace,
        device: &mut dyn Device,
        done: &dyn Fn(usize),
    ) -> Result<Replayed, CalibrateError> {
        if self.options.expandable_segments() {
            let message = "expandable segments are mapped without cudaMalloc: replay a plan without them";
            return Err(CalibrateError::Replay(message.to_owned()));
        }
        let before = device.free()?;
        let allocator = CachingAllocator::new(self.options.clone(), Some(self.capacity.min(Bytes(before))));
        let blocks = vec![BlockId::EMPTY; trace.allocation_count()];
        let (segments, live) = Default::default();
        let mut running = Running { replay: self, trace, allocator, blocks, segments, live, calls: 0, before };
        let mut replayed = Replayed::default();
        let ended = running.all(device, &mut replayed, done);
        for memory in running.segments.into_values() {
            device.release(memory)?;
        }
        ended.map(|()| replayed)
    }
}

struct Running<'a> {
    replay: &'a Replay<'a>,
    trace: &'a Trace,
    allocator: CachingAllocator,
    blocks: Vec<BlockId>,
    /// What the device gave for the simulated segments, by their addresses.
    segments: BTreeMap<u64, Memory>,
    /// Live blocks by size and simulated address.
    live: BTreeMap<(u64, u64), AllocationId>,
    /// Calls of the driver that have been made.
    calls: usize,
    before: u64,
}

impl Running<'_> {
    fn all(
        &mut self,
        device: &mut dyn Device,
        replayed: &mut Replayed,
        done: &dyn Fn(usize),
    ) -> Result<(), CalibrateError> {
        for (number, event) in self.trace.events().enumerate() {
            match event {
                Event::Allocate(id) => {
                    let allocation = &self.trace.allocation(id);
                    let taken = self.allocator.allocate(allocation.bytes, StreamId(allocation.cuda_stream));
                    if !self.call_driver(device, replayed)? {
                        return Ok(());
                    }
                    let block = match taken {
                        Ok(block) => block,
                        Err(error) => return self.refused(device, error.segment, replayed),
                    };
                    self.blocks[id.index()] = block;
                    self.work(device, id, allocation, replayed)?;
                }
                Event::Free(id, _) => {
                    let block = self.blocks[id.index()];
                    if let Some((address, bytes)) = self.allocator.place(block) {
                        self.live.remove(&(bytes.0, address));
                    }
                    self.allocator.free(block);
                }
                Event::Becomes(..) => {}
                Event::Phase(phase) => {
                    device.wait()?;
                    replayed.steps.push(self.step(device, phase)?);
                }
            }
            done(number + 1);
        }
        Ok(())
    }

    /// The simulation is out of memory. Where all of the device was its to take, the device has to refuse the segment too.
    fn refused(&self, device: &mut dyn Device, segment: Bytes, replayed: &mut Replayed) -> Result<(), CalibrateError> {
        let given = if self.replay.capacity.0 < self.before { None } else { device.allocate(segment.0)? };
        match given {
            Some(memory) => device.release(memory),
            None => {
                replayed.out_of_memory = Some(segment);
                Ok(())
            }
        }
    }

    /// Makes the calls that the simulation has come to; false where the device has too little memory.
    fn call_driver(&mut self, device: &mut dyn Device, replayed: &mut Replayed) -> Result<bool, CalibrateError> {
        let calls: Vec<DriverCall> = self.allocator.driver_calls()[self.calls..].to_vec();
        self.calls += calls.len();
        for call in calls {
            match call {
                DriverCall::Malloc { address, bytes } => match device.allocate(bytes.0)? {
                    Some(memory) => {
                        self.segments.insert(address, memory);
                    }
                    None => {
                        replayed.out_of_memory = Some(bytes);
                        return Ok(false);
                    }
                },
                DriverCall::Free { address } => {
                    if let Some(memory) = self.segments.remove(&address) {
                        device.release(memory)?;
                    }
                }
            }
        }
        Ok(true)
    }

    /// The device's memory of a simulated block: the segment's, and how far into it.
    fn place(&self, address: u64) -> Option<(Memory, u64)> {
        let (begin, memory) = self.segments.range(..=address).next_back()?;
        Some((*memory, address - begin))
    }

    /// What the plan does with a block that it has just taken.
    fn work(
        &mut self,
        device: &mut dyn Device,
        id: AllocationId,
        allocation: &Allocation,
        replayed: &mut Replayed,
    ) -> Result<(), CalibrateError> {
        let Some((address, bytes)) = self.allocator.place(self.blocks[id.index()]) else { return Ok(()) };
        let Some((memory, offset)) = self.place(address) else { return Ok(()) };
        let largest = self.live.last_key_value().map(|((bytes, address), _)| (*bytes, *address));
        let factors = largest.and_then(|(bytes, address)| Some((bytes, self.place(address)?)));
        self.live.insert((bytes.0, address), id);
        device.touch(&memory, offset, bytes.0)?;
        replayed.touched += bytes.0;
        let is_product = matrix_products().contains(&self.trace.operator(allocation));
        let Some((most, (from, start))) = factors.filter(|_| is_product) else {
            return Ok(());
        };
        let Some(product) = Product::within(self.replay.element, bytes.0, most) else { return Ok(()) };
        device.multiply(&product, from.address + start, memory.address + offset)?;
        replayed.products += 1;
        Ok(())
    }

    fn step(&self, device: &dyn Device, phase: u32) -> Result<Step, CalibrateError> {
        let (step, name) = self
            .trace
            .phases
            .get(phase as usize)
            .map_or((0, String::new()), |phase| (phase.step, phase.name.to_string()));
        let page = self.replay.page.0.max(1);
        let paged = self.segments.values().map(|memory| memory.bytes.next_multiple_of(page)).sum();
        let used = self.before.saturating_sub(device.free()?);
        Ok(Step {
            step,
            phase: name,
            reserved: self.allocator.stats().reserved,
            paged: Bytes(paged),
            used: Bytes(used),
        })
    }
}

#[cfg(test)]
mod tests {
    use planner::model;
    use planner::plan::plan;
    use planner::read::gpus::GpuCatalogue;
    use planner::read::spec::Shelf;
    use planner::run::{Precision, Run};

    use super::*;
    use crate::fake::{Fake, PAGE};

    fn planned(batch: u64, capacity: Bytes) -> planner::plan::Plan {
        let model = model::open("distilgpt2", None, &Shelf::default()).expect("a built-in model");
        let gpu = GpuCatalogue::load(None).expect("sound").find("h200").expect("in the catalogue").clone();
        let run = Run {
            batch,
            seq: 128,
            steps: 2,
            precision: Some(Precision::AmpBf16),
            capacity: Some(capacity),
            ..Run::default()
        };
        plan(&model, &run, &gpu).expect("a plan")
    }

    fn replay(plan: &planner::plan::Plan, device: &mut Fake) -> Replayed {
        let options = AllocatorOptions::default();
        let capacity = plan.capacity;
        let replay = Replay { options: &options, capacity, page: Bytes(PAGE), element: Element::Bf16 };
        replay.run(&plan.trace, device, &|_| {}).expect("a replay")
    }

    #[test]
    fn a_device_has_what_the_plan_reserves() {
        let plan = planned(2, Bytes(8 << 30));
        let mut device = Fake::new(8 << 30);
        let replayed = replay(&plan, &mut device);
        assert_eq!(replayed.out_of_memory, None);
        assert_eq!(replayed.steps.len(), plan.whole().phases.len());
        let ends = replayed.steps.iter().map(|step| step.reserved);
        assert!(ends.eq(plan.whole().phases.iter().map(|phase| phase.reserved)));
        assert_eq!(replayed.most_apart(), Bytes(0));
        assert!(replayed.products > 50, "{}", replayed.products);
        // every byte that is taken is written, and all memory is given back
        let taken: u64 = device.touched.borrow().iter().map(|(_, bytes)| bytes).sum();
        assert_eq!(taken, replayed.touched);
        let asked: u64 = plan.trace.allocations().map(|allocation| allocation.bytes.0).sum();
        assert!(taken >= asked, "{taken} of {asked}");
        assert_eq!(device.free().expect("free"), 8 << 30);
    }

    /// The largest batch that fits fits, and the next does not.
    #[test]
    fn the_limit_is_where_the_plan_has_it() {
        let capacity = Bytes(3 << 30);
        let fits = |batch| planned(batch, capacity).fits();
        let largest = (1..64).take_while(|batch| fits(*batch)).last().expect("one fits");
        assert!(largest > 1 && largest < 63, "{largest}");
        for (batch, out) in [(largest, false), (largest + 1, true)] {
            let replayed = replay(&planned(batch, capacity), &mut Fake::new(capacity.0));
            assert_eq!(replayed.out_of_memory.is_some(), out, "batch {batch}");
        }
    }

    /// A device with less memory than the plan was told says so at the segment that it cannot give.
    #[test]
    fn a_smaller_device_runs_out() {
        let plan = planned(2, Bytes(8 << 30));
        let mut device = Fake::new(1 << 30);
        assert!(replay(&plan, &mut device).out_of_memory.is_some());
        assert_eq!(device.free().expect("free"), 1 << 30);
    }

    #[test]
    fn expandable_segments_are_refused() {
        let options: AllocatorOptions = "expandable_segments:True".parse().expect("options");
        let capacity = Bytes(8 << 30);
        let replay = Replay { options: &options, capacity, page: Bytes(PAGE), element: Element::Bf16 };
        let plan = planned(1, Bytes(8 << 30));
        assert!(replay.run(&plan.trace, &mut Fake::new(8 << 30), &|_| {}).is_err());
    }
}
