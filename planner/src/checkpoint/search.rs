//! The search: the model's cheapest set first, then sets that its full plan confirms.

use super::cheapest::{Among, Prefer};
use super::evaluate::{Evaluator, Peaks};
use super::measure::{Measured, measure};
use super::model::{Candidate, Model, Pick};
use super::{Answer, Choice, ChooseError, Chosen, Currency, Measure, Wanted};
use crate::bytes::Bytes;
use crate::model::Model as Described;
use crate::plan::{Emulation, PlanError};
use crate::read::gpus::Gpu;
use crate::run::{Checkpointing, Region, Run};
use crate::time::{Cost, Speeds};

/// The most sets that are listed to be looked at one by one.
const LISTED: usize = 100_000;

/// A run whose candidates have been measured: it answers for any budget.
pub struct Chooser<'a> {
    evaluator: Evaluator<'a>,
    wanted: &'a Wanted,
    measured: Measured,
    with_all: Option<Peaks>,
}

impl<'a> Chooser<'a> {
    /// Measures a run's candidates.
    ///
    /// # Errors
    /// As `choose`.
    pub fn new(
        model: &'a Described,
        run: &'a Run,
        gpu: &'a Gpu,
        wanted: &'a Wanted,
    ) -> Result<Chooser<'a>, ChooseError> {
        Chooser::emulated(model, run, gpu, wanted, Emulation::default())
    }

    /// Measures them as on the emulated device of the records.
    ///
    /// # Errors
    /// As `choose`.
    pub fn emulated(
        model: &'a Described,
        run: &'a Run,
        gpu: &'a Gpu,
        wanted: &'a Wanted,
        emulation: Emulation,
    ) -> Result<Chooser<'a>, ChooseError> {
        super::check(run)?;
        if wanted.currency == Currency::Time && Speeds::of(gpu).is_none() {
            return Err(ChooseError::NoSpeeds { gpu: gpu.name.clone() });
        }
        let mut evaluator = Evaluator::new(model, run.clone(), gpu, emulation, wanted.effort)?;
        let measured = measure(&mut evaluator, wanted.granularity, wanted.currency, wanted.only.as_ref())?;
        let with_all = evaluator
            .peaks(Checkpointing::Modules(measured.outermost.iter().map(|path| Region::new(path)).collect()))?;
        Ok(Chooser { evaluator, wanted, measured, with_all })
    }

    /// The operations and the time of a step without recomputation.
    pub fn step(&self) -> Cost {
        self.measured.step
    }

    /// The choice for a budget.
    ///
    /// # Errors
    /// A choice that cannot be planned.
    pub fn choose(&self, budget: Bytes) -> Result<Answer, ChooseError> {
        self.evaluator.events_left.set(self.wanted.effort);
        let (evaluator, model, measure) = (&self.evaluator, &self.measured.model, self.wanted.measure);
        let effort = self.wanted.effort;
        let mut hunt = Hunt { evaluator, model, budget, measure, effort, best: None, sound: true };
        let choice = hunt.choose(&self.measured.without)?;
        let least = choice.is_none().then(|| Bytes(model.least_peak().max(0) as u64));
        let (without, with_all) = (self.measured.without.clone(), self.with_all.clone());
        let refused = self.measured.refused.clone();
        Ok(Answer { choice, without, with_all, least, step: self.measured.step, refused })
    }

    /// The choices for budgets from the least that can be reached to what no checkpoint needs: each that costs less than
    /// the one before.
    ///
    /// # Errors
    /// A choice that cannot be planned.
    pub fn curve(&self, points: u64) -> Result<Vec<(Bytes, Choice)>, ChooseError> {
        let most = self.measured.without.by(self.wanted.measure).0;
        let least = self.measured.model.least_peak().max(0) as u64;
        let mut curve: Vec<(Bytes, Choice)> = Vec::new();
        let cost = |choice: &Choice| self.wanted.currency.of(choice.recompute);
        for point in 0..=points {
            let budget = Bytes(least + most.saturating_sub(least) / points.max(1) * point);
            let budget = if point == points { Bytes(most) } else { budget };
            let Some(choice) = self.choose(budget)?.choice else { continue };
            if curve.last().is_none_or(|(_, last)| cost(&choice) < cost(last)) {
                curve.push((budget, choice));
            }
        }
        Ok(curve)
    }
}

struct Hunt<'a> {
    evaluator: &'a Evaluator<'a>,
    model: &'a Model,
    budget: Bytes,
    measure: Measure,
    /// The events that may be simulated in all.
    effort: u64,
    /// The cheapest set found whose full plan is within the budget.
    best: Option<(Vec<Pick>, Peaks)>,
    /// Whether the model has never been above a full plan: then its bounds hold.
    sound: bool,
}

impl Hunt<'_> {
    fn choose(&mut self, without: &Peaks) -> Result<Option<Choice>, ChooseError> {
        if without.within(self.budget, self.measure) {
            self.best = Some((Vec::new(), without.clone()));
            return Ok(self.choice(0, true));
        }
        let budget = i64::try_from(self.budget.0).unwrap_or(i64::MAX);
        let Some(cheapest) = self.model.cheapest(budget, Among::All, Prefer::Late) else { return Ok(None) };
        let bound = cheapest.at_least;
        let blocks = self.outermost_blocks();
        self.look_at(&blocks)?;
        for among in [Among::Blocks, Among::All] {
            if self.best.as_ref().is_none_or(|(chosen, _)| self.model.cost(chosen) > bound) {
                self.tighten(budget, among)?;
            }
        }
        self.improve(budget, bound)?;
        let reached = |hunt: &Self| hunt.best.as_ref().is_some_and(|(chosen, _)| hunt.model.cost(chosen) <= bound);
        let proved = reached(self) || self.look_at_all(budget)?;
        Ok(self.choice(bound, proved))
    }

    fn outermost_blocks(&self) -> Vec<Pick> {
        let blocks = || self.model.candidates.iter().enumerate().filter(|(_, candidate)| candidate.is_block);
        let within = |inner: &Candidate, outer: &Candidate| {
            outer.from <= inner.from && inner.to <= outer.to && outer.path != inner.path
        };
        let outermost = |(_, inner): &(usize, &Candidate)| !blocks().any(|(_, outer)| within(inner, outer));
        blocks().filter(outermost).map(|(candidate, _)| Pick { candidate, kinds: 0 }).collect()
    }

    /// Lowers the model's bound by what full plans take beyond it, until one is within the budget; then closes in on the
    /// highest bound that still gives such a plan.
    fn tighten(&mut self, budget: i64, among: Among) -> Result<(), PlanError> {
        let (mut failing, mut bound) = (budget, budget);
        let model = self.model;
        let cheapest = |bound, prefer| model.cheapest(bound, among, prefer).map(|found| found.picks);
        let mut next = cheapest(bound, Prefer::Late);
        let mut holding = None;
        while let Some(chosen) = next.take().filter(|_| self.evaluator.events_left.get() > 0) {
            let live = self.model.peak(&chosen);
            let peaks = self.look_at(&chosen)?;
            if self.is_within(&peaks) {
                holding = Some(bound);
                break;
            }
            let early = cheapest(bound, Prefer::Early).filter(|early| *early != chosen);
            if let Some(early) = early
                && self.holds(&early)?
            {
                holding = Some(bound);
                break;
            }
            failing = bound;
            let excess = peaks.filter(|peaks| peaks.fits).map_or(0, |peaks| peaks.by(self.measure).0 as i64 - budget);
            // where the peak is within the budget but the run does not fit, a little less is tried
            bound = (bound - excess.max(bound / 256).max(512)).min(live - 1);
            next = cheapest(bound, Prefer::Late);
        }
        let Some(mut holding) = holding else { return Ok(()) };
        while failing - holding > budget / 256 && self.evaluator.events_left.get() > 0 {
            let middle = holding + (failing - holding) / 2;
            let Some(chosen) = cheapest(middle, Prefer::Late) else { break };
            match self.holds(&chosen)? {
                true => holding = middle,
                false => failing = middle,
            }
        }
        Ok(())
    }

    /// Drops modules from the best set, or lets them save more, for as long as that stays within the budget; what spares
    /// most is tried first.
    fn improve(&mut self, budget: i64, bound: u64) -> Result<(), PlanError> {
        let model = self.model;
        // a part of the effort: the rest is for the proof
        let until = self.evaluator.events_left.get().saturating_sub(self.effort / 8);
        while let Some((best, _)) = self.best.clone().filter(|(best, _)| model.cost(best) > bound) {
            let mut less: Vec<Vec<Pick>> = Vec::new();
            for (place, pick) in best.iter().enumerate() {
                less.push([&best[..place], &best[place + 1..]].concat());
                let kinds = 0..model.candidates[pick.candidate].kinds.len();
                less.extend(kinds.filter(|bit| pick.kinds >> bit & 1 == 0).map(|bit| {
                    let mut saving = best.clone();
                    saving[place].kinds |= 1 << bit;
                    saving
                }));
            }
            less.retain(|set| model.peak(set) <= budget);
            less.sort_by_key(|set| model.cost(set));
            let mut improved = false;
            for set in less {
                if self.evaluator.events_left.get() <= until {
                    return Ok(());
                }
                if self.holds(&set)? {
                    improved = true;
                    break;
                }
            }
            if !improved {
                break;
            }
        }
        Ok(())
    }

    /// Looks at every set that the model lets pass and that costs less than the best found, cheapest first; whether all of
    /// them were looked at.
    fn look_at_all(&mut self, budget: i64) -> Result<bool, PlanError> {
        let below = self.best.as_ref().map_or(u64::MAX, |(chosen, _)| self.model.cost(chosen));
        let Some(sets) = self.model.all_within(budget, below, LISTED) else { return Ok(false) };
        for chosen in sets {
            if self.evaluator.events_left.get() == 0 {
                return Ok(false);
            }
            if self.holds(&chosen)? {
                return Ok(true);
            }
        }
        Ok(true)
    }

    fn is_within(&self, peaks: &Option<Peaks>) -> bool {
        peaks.as_ref().is_some_and(|peaks| peaks.within(self.budget, self.measure))
    }

    /// Whether the full plan of a set is within the budget.
    fn holds(&mut self, chosen: &[Pick]) -> Result<bool, PlanError> {
        let peaks = self.look_at(chosen)?;
        Ok(self.is_within(&peaks))
    }

    /// The full plan of a set, unless PyTorch refuses it; kept if it is the cheapest so far that is within the budget.
    fn look_at(&mut self, chosen: &[Pick]) -> Result<Option<Peaks>, PlanError> {
        let peaks = self.evaluator.peaks(self.model.checkpointing(chosen))?;
        self.sound &= peaks.as_ref().is_none_or(|peaks| self.model.peak(chosen) <= peaks.live);
        let cost = self.model.cost(chosen);
        let cheaper = self.best.as_ref().is_none_or(|(best, _)| cost < self.model.cost(best));
        if let Some(peaks) = peaks.as_ref().filter(|_| cheaper && self.is_within(&peaks)) {
            self.best = Some((chosen.to_vec(), peaks.clone()));
        }
        Ok(peaks)
    }

    fn choice(&mut self, bound: u64, proved: bool) -> Option<Choice> {
        let (picks, peaks) = self.best.take()?;
        let optimal = proved && self.sound;
        let (cost, currency) = (self.model.cost(&picks), self.model.currency);
        let evaluator = self.evaluator;
        let chosen = |pick: &Pick| {
            let candidate = &self.model.candidates[pick.candidate];
            let saves = candidate.saves_with(pick.kinds);
            let region = candidate.region(pick.kinds);
            Chosen {
                in_sequence: region.span().is_some_and(|(first, _)| evaluator.is_in_sequence(first)),
                region,
                saves: Bytes(saves.backward.max(saves.forward).max(0) as u64),
                recompute: candidate.cost_with(pick.kinds),
            }
        };
        let modules: Vec<Chosen> = picks.iter().map(chosen).collect();
        let recompute = modules.iter().fold(Cost::default(), |all, chosen| all.and(chosen.recompute));
        let lower_bound = if optimal { cost } else { bound };
        Some(Choice { modules, peaks, recompute, currency, optimal, lower_bound })
    }
}
