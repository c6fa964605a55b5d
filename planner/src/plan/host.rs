//! What a run needs of the host's memory: a model that is loaded, the data loader, and what training keeps there.
//!
//! ```text
//! loading    the model, made on the host before `.to("cuda")`, by each rank
//! running    batches that workers have ready, or under way; samples that they put together; pinned copies; what paged
//!            optimizers and FSDP's offload keep
//! ```
//!
//! The loader keeps `prefetch_factor * num_workers` batches under way, counted by the one that it gives out; the loop holds that
//! one and, until the name is bound anew, the one before (torch/utils/data/dataloader.py, `_try_put_index`, `_process_data`;
//! measured so). Workers put batches into shared memory (`_utils/collate.py`, `collate_tensor_fn`), from samples that they hold
//! until then. The pinning thread copies a batch and lets the shared one go (`_utils/pin_memory.py`); pinned blocks are powers of
//! two and are kept (aten/src/ATen/core/CachingHostAllocator.h).

use super::Plan;
use crate::bytes::Bytes;
use crate::choices::choices;
use crate::run::{LoadedTo, Parallel, Run};
use crate::trace::{Category, Event};

/// Batches that the loop holds: the one that the loader gives out, and the one before.
const AT_HAND: u64 = 2;

/// When memory of the host is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// While the model is loaded.
    Loading,
    /// In the loop.
    Running,
}

choices!(When, "time", "loading" => When::Loading, "running" => When::Running);

/// A part of what the host holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostPart {
    /// What it is.
    pub name: &'static str,
    /// When it is there.
    pub when: When,
    /// How many there are, for each rank.
    pub count: u64,
    /// The bytes of one.
    pub each: Bytes,
}

impl HostPart {
    /// All of them, for one rank.
    pub fn bytes(self) -> Bytes {
        Bytes(self.count.saturating_mul(self.each.0))
    }
}

/// What a run needs of the host's memory: upper bounds, but for what training keeps, which is exact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostMemory {
    /// The ranks, all on one machine.
    pub ranks: u64,
    /// The parts of each.
    pub parts: Vec<HostPart>,
    /// The machine's memory.
    pub ram: Option<Bytes>,
}

impl HostMemory {
    /// What all ranks need then.
    pub fn total(&self, when: When) -> Bytes {
        let parts = self.parts.iter().filter(|part| part.when == when);
        Bytes(parts.map(|part| part.bytes().0).fold(0, u64::saturating_add).saturating_mul(self.ranks))
    }

    /// What all ranks need when that is most.
    pub fn most(&self) -> Bytes {
        self.total(When::Loading).max(self.total(When::Running))
    }

    /// Whether the machine has so much.
    pub fn fits(&self) -> bool {
        self.ram.is_none_or(|ram| self.most() <= ram)
    }
}

impl Plan {
    /// What the run needs of the host's memory; None where nothing was asked of the host.
    pub fn host_memory(&self, run: &Run) -> Option<HostMemory> {
        if !run.asks_of_host() {
            return None;
        }
        let part = |name, when, count, each| HostPart { name, when, count, each };
        let mut parts = vec![part("the model before it is on the GPU", When::Loading, 1, self.on_host(run))];
        let sample = run.sample.map_or_else(|| self.sample(run), |sample| sample.bytes());
        let batch = Bytes(sample.0.saturating_mul(run.batch));
        let (workers, under_way) = (run.workers.unwrap_or(0), run.batches_under_way());
        let loader = [
            ("batches ready or under way", under_way, batch),
            ("batches at hand", AT_HAND, batch),
            ("samples being put together", workers.max(1), batch),
        ];
        let pinned = Bytes(batch.0.checked_next_power_of_two().unwrap_or(u64::MAX));
        let pinned = [
            ("pinned batches", under_way + AT_HAND, pinned),
            ("batches being pinned", 1, batch),
            ("samples being put together", workers.max(1), batch),
        ];
        let loader = if run.pin_memory { pinned } else { loader };
        parts.extend(loader.map(|(name, count, each)| part(name, When::Running, count, each)));
        parts.extend(self.trace.host.iter().map(|(category, bytes)| part(kept(*category), When::Running, 1, *bytes)));
        parts.retain(|part| part.bytes().0 > 0);
        let ranks = run.parallel.as_ref().map_or(1, Parallel::ranks);
        Some(HostMemory { ranks, parts, ram: run.host_ram })
    }

    /// Parameters and buffers that are made on the host; quantised ones come from the file one by one. A model that is sharded on
    /// the meta device is read in shards, or by one rank alone.
    fn on_host(&self, run: &Run) -> Bytes {
        if self.graph.is_quantized() {
            return Bytes(0);
        }
        let totals = self.parameters();
        let all = totals.bytes + totals.buffers;
        match &run.parallel {
            Some(Parallel::Fsdp(fsdp)) if fsdp.loaded_to(false) == LoadedTo::Meta => Bytes(all.0.div_ceil(fsdp.ranks)),
            _ => all,
        }
    }

    /// What the run moves to the GPU of each sample in its first step.
    fn sample(&self, run: &Run) -> Bytes {
        let first = self.trace.events().take_while(|event| match event {
            Event::Phase(phase) => matches!(&*self.trace.phases[*phase as usize].name, "load" | "pages"),
            _ => true,
        });
        let inputs = first.filter_map(|event| match event {
            Event::Becomes(id, Category::Inputs) => Some(self.trace.allocation(id)),
            _ => None,
        });
        let bytes: u64 = inputs.map(|allocation| allocation.bytes.0).sum();
        Bytes(bytes.div_ceil(run.batch.max(1)))
    }
}

/// The name of what training keeps on the host.
fn kept(category: Category) -> &'static str {
    match category {
        Category::Parameters => "parameters, offloaded",
        Category::Gradients => "gradients, offloaded",
        Category::OptimizerStates => "optimizer states, offloaded or paged",
        _ => "offloaded",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::open;
    use crate::plan::plan;
    use crate::read::gpus::GpuCatalogue;
    use crate::read::spec::Shelf;
    use crate::run::Sample;

    fn memory(name: &str, run: &Run) -> HostMemory {
        let gpu = GpuCatalogue::load(None).unwrap().find("t4").unwrap().clone();
        let model = open(name, None, &Shelf::default()).unwrap();
        plan(&model, run, &gpu).unwrap().host_memory(run).unwrap()
    }

    /// Measured with PyTorch 2.11: 3 workers with a prefetch factor of 2 and batches of 16 MiB filled 7 batches of shared memory
    /// while the loop held one, and 8 while it held two.
    #[test]
    fn batches_are_as_many_as_were_measured() {
        let sample = Some(Sample::Bytes(Bytes(4 << 20)));
        let run = Run { batch: 4, workers: Some(3), prefetch: Some(2), sample, ..Run::default() };
        let memory = memory("resnet18", &run);
        let shared = memory.parts.iter().filter(|part| part.name.starts_with("batches")).map(|part| part.bytes()).sum();
        assert_eq!(Bytes(8 * (16 << 20)), shared);
    }

    #[test]
    fn pinned_batches_are_powers_of_two_and_ranks_count_each() {
        let (workers, pin_memory, host_ram) = (Some(1), true, Some(Bytes(1 << 30)));
        let parallel = Parallel::fsdp("4,offload").ok();
        let run = Run { batch: 3, seq: 100, workers, pin_memory, host_ram, parallel, ..Run::default() };
        let memory = memory("distilgpt2", &run);
        let part = |name: &str| memory.parts.iter().find(|part| part.name == name).unwrap();
        // token ids, 64 bits each; the labels are the same tensor
        assert_eq!(part("batches being pinned").bytes(), Bytes(3 * 100 * 8));
        assert_eq!((part("pinned batches").count, part("pinned batches").each), (4, Bytes(4096)));
        // sharded on the meta device: all ranks read the model once
        assert_eq!(memory.total(When::Loading), Bytes(81_912_576 * 4));
        assert!(memory.parts.iter().any(|part| part.name == "gradients, offloaded"));
        assert!(!memory.fits());
    }
}
