//! What to buy or rent: how many of which GPU, with which strategy, and what that costs.
//!
//! ```text
//! GPUs that run alike ─ strategies (strategy) ─ numbers of GPUs, the fewest first ─> what a rank holds ─> prices ─> sorted
//! ```
//!
//! The run's batch is that of each GPU, as in `plan`. What is planned is the first rank, which holds the most: shards are
//! rounded up. DeepSpeed's ZeRO is no run of PyTorch's own: a stated bound (zero).

mod price;
mod serve;
mod strategy;
#[cfg(test)]
mod tests;
mod zero;

pub use price::{Asked, Budget, Prices};
pub use serve::NoRoom;
pub use strategy::{Strategy, Way};

use rayon::prelude::*;

use crate::bytes::Bytes;
use crate::model::Model;
use crate::plan::effort::effort;
use crate::plan::footprint::{Footprint, alike, footprint};
use crate::plan::{Plan, PlanError, capacity, plan};
use crate::read::gpus::Gpu;
use crate::replay::CacheBytes;
use crate::run::{Flags, Mode, Run};
use zero::Held;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wanted {
    /// The most GPUs.
    pub most: u64,
    /// The most that they may cost.
    pub budget: Option<Budget>,
}

/// What one GPU holds of the run: the worst rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rank {
    /// Peak allocated.
    pub allocated: Bytes,
    /// Peak reserved; None where only a bound of what is allocated is known.
    pub reserved: Option<Bytes>,
    /// What it keeps in the host's memory.
    pub host: Bytes,
}

/// What serving takes of a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// Weights and buffers.
    pub weights: Bytes,
    /// Keys and values, when they are most.
    pub cache: CacheBytes,
    /// The peak allocated of the prefill.
    pub prefill: Bytes,
}

/// GPUs that a run fits on.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    /// Which.
    pub gpu: Gpu,
    /// How many.
    pub gpus: u64,
    /// How the run is spread over them.
    pub strategy: Strategy,
    /// The flags that plan a rank; None where no run is one.
    pub flags: Option<Flags>,
    /// What the allocator may take of each.
    pub capacity: Bytes,
    /// What each holds at most.
    pub rank: Rank,
    /// What serving takes.
    pub served: Option<Served>,
    /// The time of a step of each rank, without communication and the host: an estimate where the GPU's speeds were measured,
    /// else the least that the work can take; None where nothing is known of them, and for serving.
    pub seconds: Option<f64>,
    /// What they cost together.
    pub prices: Prices,
    /// Whether another offer of the same GPU takes no more of them and asks for no more: a simpler way, no more checkpoints.
    pub dominated: bool,
}

impl Offer {
    /// Whether another offer makes this one pointless for whoever wants the run to fit.
    fn is_dominated_by(&self, other: &Offer) -> bool {
        let (own, theirs) = (self.strategy, other.strategy);
        let simpler = theirs.way <= own.way && theirs.checkpoint <= own.checkpoint && theirs != own;
        other.gpu.key == self.gpu.key && other.gpus <= self.gpus && simpler
    }
}

/// The nearest that a GPU comes to holding the run.
#[derive(Clone, Debug, PartialEq)]
pub struct Lack {
    /// Which.
    pub gpu: Gpu,
    /// How many.
    pub gpus: u64,
    /// How the run is spread over them.
    pub strategy: Strategy,
    /// What each would have to hold.
    pub needed: Bytes,
    /// What the allocator may take of each.
    pub capacity: Bytes,
    /// What serving takes.
    pub served: Option<Served>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Offers {
    /// What fits and is within the budget, the cheapest first.
    pub offers: Vec<Offer>,
    /// How many offers are beyond the budget.
    pub beyond: usize,
    /// How many have no price of the budget's kind.
    pub unpriced: usize,
    /// GPUs that no strategy fits on, with so many, in the order in which they were given.
    pub none: Vec<Lack>,
    /// Why the run is refused where it is on all of them.
    pub refused: Option<String>,
}

/// Says what a run fits on. `done` hears of GPUs that are done.
///
/// # Errors
/// A run that cannot be planned on any of the GPUs as given.
pub fn buy(
    model: &Model,
    run: &Run,
    gpus: &[Gpu],
    wanted: &Wanted,
    done: &(dyn Fn(usize) + Sync),
) -> Result<Offers, PlanError> {
    run.check()?;
    let capacities = gpus.iter().map(|gpu| capacity(run, gpu)).collect::<Result<Vec<_>, _>>()?;
    let classes = alike(model, gpus)?;
    let offered = |class: &Vec<usize>| {
        let within: Vec<Bytes> = class.iter().map(|place| capacities[*place]).collect();
        let members: Vec<&Gpu> = class.iter().map(|place| &gpus[*place]).collect();
        let found = Class { model, run, gpus: &members, within: &within, most: wanted.most }.offers();
        done(class.len());
        found
    };
    let found: Vec<_> = classes.par_iter().with_max_len(1).map(offered).collect();
    let refused: Vec<String> = found.iter().filter_map(|found| found.as_ref().err().cloned()).collect();
    if let (true, Some(class)) = (refused.len() == classes.len(), classes.first()) {
        footprint(model, run, &gpus[class[0]], &[])?;
    }
    let (mut all, mut none): (Vec<Offer>, Vec<Lack>) = Default::default();
    for (mut offers, lacks) in found.into_iter().flatten() {
        none.extend(lacks);
        let dominated: Vec<bool> =
            offers.iter().map(|offer| offers.iter().any(|other| offer.is_dominated_by(other))).collect();
        offers.iter_mut().zip(dominated).for_each(|(offer, dominated)| offer.dominated = dominated);
        all.extend(offers);
    }
    none.sort_by_key(|lack| gpus.iter().position(|gpu| gpu.key == lack.gpu.key));
    let judged = |offer: &Offer| wanted.budget.map_or(Some(true), |budget| offer.prices.within(budget));
    let (beyond, unpriced) = (
        all.iter().filter(|offer| judged(offer) == Some(false)).count(),
        all.iter().filter(|offer| judged(offer).is_none()).count(),
    );
    let mut offers: Vec<Offer> = all.into_iter().filter(|offer| judged(offer) == Some(true)).collect();
    let purchase = matches!(wanted.budget, Some(Budget::Purchase(_)));
    offers.sort_by(|one, other| {
        let by_price = one.prices.compare(&other.prices, purchase);
        let rest = |offer: &Offer| (offer.gpus, offer.gpu.memory.total, offer.gpu.key.clone(), offer.strategy);
        by_price.then_with(|| rest(one).cmp(&rest(other)))
    });
    Ok(Offers { offers, beyond, unpriced, none, refused: refused.into_iter().next() })
}

/// GPUs that run the same kernels.
struct Class<'a> {
    model: &'a Model,
    run: &'a Run,
    gpus: &'a [&'a Gpu],
    within: &'a [Bytes],
    most: u64,
}

impl Class<'_> {
    /// For each GPU and strategy the fewest GPUs that fit; for GPUs that none fits on what comes nearest.
    fn offers(&self) -> Result<(Vec<Offer>, Vec<Lack>), String> {
        let served = self.served()?;
        let mut offers = Vec::new();
        let mut nearest: Vec<Option<Lack>> = vec![None; self.gpus.len()];
        for strategy in Strategy::of(self.run) {
            let mut waiting: Vec<usize> = (0..self.gpus.len()).collect();
            let whole = self.whole(strategy);
            for count in strategy.counts(self.run, self.most) {
                if waiting.is_empty() {
                    break;
                }
                let ranks = self.ranks(strategy, whole.as_ref(), count, &waiting)?;
                let mut fits: Vec<(usize, Rank)> = Vec::new();
                for (place, (rank, fit)) in waiting.iter().copied().zip(ranks) {
                    if fit {
                        fits.push((place, rank));
                        continue;
                    }
                    let needed = rank.reserved.unwrap_or(rank.allocated);
                    if nearest[place].as_ref().is_none_or(|nearest| needed < nearest.needed) {
                        let (gpu, capacity) = (self.gpus[place].clone(), self.within[place]);
                        nearest[place] = Some(Lack { gpu, gpus: count, strategy, needed, capacity, served });
                    }
                }
                waiting.retain(|place| fits.iter().all(|(fitting, _)| fitting != place));
                offers.extend(fits.into_iter().map(|(place, rank)| self.offer(strategy, count, place, rank, served)));
            }
        }
        self.time(&mut offers);
        let lacks = nearest.into_iter().flatten();
        let lacks = lacks.filter(|lack| offers.iter().all(|offer| offer.gpu.key != lack.gpu.key));
        let lacks = lacks.collect();
        Ok((offers, lacks))
    }

    /// Says how long steps take. Ranks compute as one GPU does, so that a GPU is asked once with checkpoints and once without.
    fn time(&self, offers: &mut [Offer]) {
        let mut known: Vec<(String, bool, Option<f64>)> = Vec::new();
        for offer in offers.iter_mut().filter(|offer| offer.served.is_none()) {
            let (key, checkpoint) = (&offer.gpu.key, offer.strategy.checkpoint);
            let found = known.iter().find(|(known, with, _)| known == key && *with == checkpoint).map(|known| known.2);
            offer.seconds = found.unwrap_or_else(|| {
                let run = Strategy { way: Way::One, checkpoint }.apply(self.run, 1);
                let seconds = effort(self.model, &run, &offer.gpu).ok().and_then(|effort| effort.seconds(&offer.gpu));
                known.push((key.clone(), checkpoint, seconds));
                seconds
            });
        }
    }

    /// What ZeRO's bounds are made from; None for other ways, and where the run cannot be planned.
    fn whole(&self, strategy: Strategy) -> Option<Held> {
        let zero = matches!(strategy.way, Way::Zero(_));
        let run = strategy.apply(self.run, 1);
        zero.then(|| plan(self.model, &run, self.gpus[0]).ok())
            .flatten()
            .map(|plan| Held::of(&plan, run.accumulate > 1))
    }

    /// What a rank holds on each of these GPUs, and whether it fits; none where PyTorch refuses the run. Only the run as given may
    /// be refused.
    fn ranks(
        &self,
        strategy: Strategy,
        whole: Option<&Held>,
        count: u64,
        places: &[usize],
    ) -> Result<Vec<(Rank, bool)>, String> {
        let within: Vec<Bytes> = places.iter().map(|place| self.within[*place]).collect();
        if let Way::Zero(stage) = strategy.way {
            let Some(allocated) = whole.map(|held| held.bound(stage, count)) else { return Ok(Vec::new()) };
            let rank = Rank { allocated, reserved: None, host: Bytes(0) };
            return Ok(within.iter().map(|capacity| (rank, allocated <= *capacity)).collect());
        }
        let run = strategy.apply(self.run, count);
        let planned = match footprint(self.model, &run, self.gpus[0], &within) {
            Ok(planned) => planned,
            Err(error) if strategy == (Strategy { way: Way::One, checkpoint: false }) => return Err(error.to_string()),
            Err(_) => return Ok(Vec::new()),
        };
        let Footprint { within, host, .. } = planned;
        let rank = |allocated, reserved| Rank { allocated, reserved: Some(reserved), host };
        Ok(within.iter().map(|peaks| (rank(peaks.allocated, peaks.reserved), peaks.fits)).collect())
    }

    fn offer(&self, strategy: Strategy, gpus: u64, place: usize, rank: Rank, served: Option<Served>) -> Offer {
        let gpu = self.gpus[place].clone();
        let exact = !matches!(strategy.way, Way::Zero(_));
        let flags = exact.then(|| strategy.apply(self.run, gpus).flags_from(self.run));
        let prices = Prices::of(&gpu, gpus);
        Offer {
            gpu,
            gpus,
            strategy,
            flags,
            capacity: self.within[place],
            rank,
            served,
            seconds: None,
            prices,
            dominated: false,
        }
    }

    /// What serving takes, alike on all of them.
    fn served(&self) -> Result<Option<Served>, String> {
        if self.run.mode != Mode::Generate {
            return Ok(None);
        }
        let plan = plan(self.model, self.run, self.gpus[0]).map_err(|error| error.to_string())?;
        Ok(Some(served(&plan)))
    }
}

/// Reads off a plan what serving takes.
fn served(plan: &Plan) -> Served {
    let totals = plan.parameters();
    let phases = plan.whole().phases.iter();
    let prefill = phases
        .filter(|figures| plan.trace.phases.get(figures.phase as usize).is_some_and(|phase| &*phase.name == "prefill"));
    let prefill = prefill.map(|figures| figures.peak_allocated).max().unwrap_or_default();
    Served { weights: totals.bytes + totals.buffers, cache: plan.most_cached(), prefill }
}
