//! The ways of running a training on several GPUs, and on how many.
use crate::run::{Checkpointing, Mode, Parallel, Run};

/// A way of spreading a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// One GPU.
    One,
    /// `DistributedDataParallel`: every rank holds all.
    Ddp,
    /// `fully_shard` on the blocks and the model.
    Fsdp,
    /// The same, with shards on the host.
    FsdpOffload,
    /// DeepSpeed's ZeRO: the optimizer's states are cut (stage 1), gradients too (stage 2).
    Zero(u8),
}

/// A way with or without checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Strategy {
    /// How the run is spread.
    pub way: Way,
    /// Whether all layers are checkpointed beyond what the run says.
    pub checkpoint: bool,
}

/// The ways, those first that ask for less.
const WAYS: [Way; 6] = [Way::One, Way::Ddp, Way::Fsdp, Way::FsdpOffload, Way::Zero(1), Way::Zero(2)];

impl Strategy {
    /// The strategies of a run: what it names itself is not changed.
    pub fn of(run: &Run) -> Vec<Strategy> {
        let trains = run.mode == Mode::Train;
        let both: &[bool] = if trains && run.checkpoint == Checkpointing::Off { &[false, true] } else { &[false] };
        let ways = WAYS.iter().filter(|way| **way == Way::One || (trains && run.parallel.is_none()));
        ways.flat_map(|way| both.iter().map(|checkpoint| Strategy { way: *way, checkpoint: *checkpoint })).collect()
    }

    /// How many GPUs it is tried on, the fewest first. What a rank of DDP holds does not depend on their number.
    pub fn counts(self, run: &Run, most: u64) -> Vec<u64> {
        let given = run.parallel.as_ref().map_or(1, Parallel::ranks);
        match self.way {
            Way::One => vec![given],
            Way::Ddp => [2].into_iter().filter(|count| *count <= most).collect(),
            Way::FsdpOffload => [1].into_iter().chain(powers(most)).collect(),
            Way::Fsdp | Way::Zero(_) => powers(most).collect(),
        }
    }

    /// The run of one rank among so many; what ZeRO does to it is not part of a run.
    pub fn apply(self, run: &Run, gpus: u64) -> Run {
        let mut run = run.clone();
        if self.checkpoint {
            run.checkpoint = Checkpointing::Full;
        }
        match self.way {
            Way::One | Way::Zero(_) => {}
            Way::Ddp => run.parallel = Parallel::ddp(&gpus.to_string()).ok(),
            Way::Fsdp => run.parallel = Parallel::fsdp(&gpus.to_string()).ok(),
            Way::FsdpOffload => run.parallel = Parallel::fsdp(&format!("{gpus},offload")).ok(),
        }
        run
    }

    /// Its name.
    pub fn words(self) -> String {
        let way = match self.way {
            Way::One => "as given",
            Way::Ddp => "ddp",
            Way::Fsdp => "fsdp",
            Way::FsdpOffload => "fsdp offload",
            Way::Zero(1) => "zero-1",
            Way::Zero(_) => "zero-2",
        };
        if self.checkpoint { format!("{way} checkpoint") } else { way.to_owned() }
    }
}

/// 2, 4, 8, ...
fn powers(most: u64) -> impl Iterator<Item = u64> {
    std::iter::successors(Some(2_u64), |count| count.checked_mul(2)).take_while(move |count| *count <= most)
}
