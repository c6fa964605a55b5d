//! What each candidate costs and saves, and the cheapest set under a bound, by a dynamic program along the forward.
//!
//! A segment that no checkpoint covers needs what it needs without checkpoints, less what those before it save. A
//! checkpointed call needs its own most, less the same; what it saves counts for all that comes after it, in forward and in
//! backward. So a prefix of the forward is known by its cost and what it saves, and of two prefixes where one costs no more
//! and saves no less the other can go: what is left holds an optimum. Sizes are rounded to 512 bytes, which the allocator
//! never goes below, so that the cost found is a lower bound for every measure of the peak.
//!
//! What a checkpointed call's operators save is chosen with it: each kind of operator spares its second run some operations
//! and holds some bytes from forward to backward. Where that leaves too many prefixes, some give way to others that save as
//! much for a little more; the lower bound is lowered by all that this may have cost.

use std::collections::BTreeMap;

use super::Currency;
use crate::run::{Checkpointing, Region, SavedOperators};
use crate::time::Cost;

/// A module's call that can be checkpointed.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub path: String,
    /// The boundaries between which it lies.
    pub from: usize,
    pub to: usize,
    /// What its second runs cost, in a step.
    pub cost: Cost,
    /// Bytes that are not alive after its forward, and before its backward.
    pub saves: Savings,
    /// The most that it needs where nothing before it is checkpointed.
    pub needs: Needs,
    /// Whether its second run asks for the workspace that stays.
    pub takes_workspace: bool,
    /// Whether it is a whole block.
    pub is_block: bool,
    /// The operators whose results it can save, by kind; at most 63.
    pub kinds: Vec<Kind>,
}

/// A kind of operator whose results a checkpointed call can save.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub op: &'static str,
    /// What its second runs are spared, in a step.
    pub spares: Cost,
    /// Bytes that its results hold after the call's forward, and before its backward.
    pub holds: Savings,
}

/// A candidate that is checkpointed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pick {
    pub candidate: usize,
    /// What it saves: a bit for each of its kinds.
    pub kinds: u64,
}

impl Candidate {
    /// The kinds of a pick.
    pub fn saved(&self, kinds: u64) -> impl Iterator<Item = &Kind> {
        self.kinds.iter().enumerate().filter(move |(bit, _)| kinds >> bit & 1 == 1).map(|(_, kind)| kind)
    }

    /// What it is to a run.
    pub fn region(&self, kinds: u64) -> Region {
        let save = SavedOperators::of(self.saved(kinds).map(|kind| kind.op));
        Region { path: self.path.clone(), save: save.ok().flatten() }
    }

    /// What it costs where these kinds are saved.
    pub fn cost_with(&self, kinds: u64) -> Cost {
        self.saved(kinds).fold(self.cost, |cost, kind| cost.less(kind.spares))
    }

    /// What it saves then.
    pub fn saves_with(&self, kinds: u64) -> Savings {
        self.saved(kinds).fold(self.saves, |saves, kind| saves.less(kind.holds))
    }
}

/// Which candidates count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Among {
    /// Whole blocks that save no operator's results.
    Blocks,
    /// All of them, with all that they can save.
    All,
}

/// Bytes that are not alive, in forward and in backward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Savings {
    pub forward: i64,
    pub backward: i64,
}

impl Savings {
    pub fn less(self, other: Savings) -> Savings {
        Savings { forward: self.forward - other.forward, backward: self.backward - other.backward }
    }

    pub fn and(self, other: Savings) -> Savings {
        Savings { forward: self.forward + other.forward, backward: self.backward + other.backward }
    }
}

/// The most that is alive, in forward and in backward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    pub forward: i64,
    pub backward: i64,
}

impl Needs {
    pub fn or(self, other: Needs) -> Needs {
        Needs { forward: self.forward.max(other.forward), backward: self.backward.max(other.backward) }
    }

    pub fn at_most(self, other: Needs) -> Needs {
        Needs { forward: self.forward.min(other.forward), backward: self.backward.min(other.backward) }
    }

    /// The peak where these are saved before.
    pub fn after(self, saved: Savings) -> i64 {
        (self.forward - saved.forward).max(self.backward - saved.backward)
    }
}

/// A run as a chain of segments, with the calls that can be checkpointed.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    /// What each segment needs where nothing is checkpointed; segment k lies between boundaries k and k + 1.
    pub segments: Vec<Needs>,
    /// In the order of where they end.
    pub candidates: Vec<Candidate>,
    /// The most outside the passes through the model.
    pub outside: i64,
    /// What stays from the first second run on that asks for it, beside all else.
    pub workspace: i64,
    /// What is to be least.
    pub currency: Currency,
}

/// Where ties are broken: which of two equal prefixes stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prefer {
    /// Checkpoints as late as can be.
    Late,
    /// Checkpoints as early as can be.
    Early,
}

/// The most ways to a boundary that are kept.
const LABELS: usize = 4000;

/// The cheapest set, as far as that was computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cheapest {
    pub picks: Vec<Pick>,
    /// No set within the bound costs less.
    pub at_least: u64,
}

/// The most prefixes that are looked at to list all sets.
const PREFIXES: usize = 1_000_000;

/// A way to a boundary.
#[derive(Clone, Copy)]
struct Label {
    cost: u64,
    saved: Savings,
    /// The boundary that it came from, and the label there.
    before: (usize, usize),
    /// The candidate that is checkpointed between.
    chosen: Option<Pick>,
}

impl Model {
    /// The peak of a set, its candidates in the order of where they end.
    pub fn peak(&self, chosen: &[Pick]) -> i64 {
        let mut peak = self.outside;
        let mut saved = Savings::default();
        let mut at = 0;
        for pick in chosen {
            let candidate = &self.candidates[pick.candidate];
            peak = self.segments[at..candidate.from].iter().map(|needs| needs.after(saved)).fold(peak, i64::max);
            peak = peak.max(candidate.needs.after(saved));
            saved = saved.and(candidate.saves_with(pick.kinds));
            at = candidate.to;
        }
        let takes = chosen.iter().any(|pick| self.candidates[pick.candidate].takes_workspace);
        let workspace = if takes { self.workspace } else { 0 };
        self.segments[at..].iter().map(|needs| needs.after(saved)).fold(peak, i64::max) + workspace
    }

    /// The cheapest set whose peak is within a bound; None where there is none.
    pub fn cheapest(&self, bound: i64, among: Among, prefer: Prefer) -> Option<Cheapest> {
        if self.workspace == 0 {
            return self.cheapest_of(bound, among, prefer, |_| true);
        }
        let without = self.cheapest_of(bound, among, prefer, |candidate| !candidate.takes_workspace);
        let with = self.cheapest_of(bound - self.workspace, among, prefer, |_| true);
        let at_least = without.iter().chain(&with).map(|found| found.at_least).min()?;
        let best = without.into_iter().chain(with).min_by_key(|found| self.cost(&found.picks))?;
        Some(Cheapest { at_least, ..best })
    }

    fn cheapest_of(
        &self,
        bound: i64,
        among: Among,
        prefer: Prefer,
        counts: impl Fn(&Candidate) -> bool,
    ) -> Option<Cheapest> {
        if self.outside > bound {
            return None;
        }
        let mut labels: Vec<Vec<Label>> = vec![Vec::new(); self.segments.len() + 1];
        labels[0].push(Label { cost: 0, saved: Savings::default(), before: (0, 0), chosen: None });
        let mut ending: Vec<Vec<usize>> = vec![Vec::new(); self.segments.len() + 1];
        let of_kind = |candidate: &Candidate| among == Among::All || candidate.is_block;
        let listed = self.candidates.iter().enumerate();
        for (number, candidate) in listed.filter(|(_, candidate)| of_kind(candidate) && counts(candidate)) {
            ending[candidate.to].push(number);
        }
        let mut slack = Slack::default();
        for boundary in 1..=self.segments.len() {
            let plain = self.arriving(&labels, boundary - 1, self.segments[boundary - 1], bound, None);
            let mut arriving = if prefer == Prefer::Late { plain.clone() } else { Vec::new() };
            for number in &ending[boundary] {
                let candidate = &self.candidates[*number];
                let pick = Pick { candidate: *number, kinds: 0 };
                let labels = self.arriving(&labels, candidate.from, candidate.needs, bound, Some(pick));
                arriving.extend(if among == Among::All {
                    self.with_kinds(labels, &candidate.kinds, &mut slack)
                } else {
                    labels
                });
            }
            if prefer == Prefer::Early {
                arriving.extend(plain);
            }
            labels[boundary] = slack.thin(undominated(arriving));
        }
        let last = labels.last()?;
        let best = (0..last.len()).min_by_key(|place| last[*place].cost)?;
        let (mut boundary, mut place, mut chosen) = (self.segments.len(), best, Vec::new());
        while boundary > 0 {
            let label = labels[boundary][place];
            chosen.extend(label.chosen);
            (boundary, place) = label.before;
        }
        chosen.reverse();
        let at_least = self.cost(&chosen).saturating_sub(slack.total);
        Some(Cheapest { picks: chosen, at_least })
    }

    /// A set as a run has it.
    pub fn checkpointing(&self, chosen: &[Pick]) -> Checkpointing {
        let region = |pick: &Pick| self.candidates[pick.candidate].region(pick.kinds);
        Checkpointing::Modules(chosen.iter().map(region).collect())
    }

    /// The labels of a boundary that go on to the next, or past a candidate.
    fn arriving(
        &self,
        labels: &[Vec<Label>],
        from: usize,
        needs: Needs,
        bound: i64,
        chosen: Option<Pick>,
    ) -> Vec<Label> {
        let (cost, saves) = chosen.map_or_else(Default::default, |pick| {
            let candidate = &self.candidates[pick.candidate];
            (self.currency.of(candidate.cost), candidate.saves)
        });
        let within = labels[from].iter().enumerate().filter(|(_, label)| needs.after(label.saved) <= bound);
        let arrive = |(place, label): (usize, &Label)| Label {
            cost: label.cost.saturating_add(cost),
            saved: label.saved.and(saves),
            before: (from, place),
            chosen,
        };
        within.map(arrive).collect()
    }

    /// The least peak that any set has.
    pub fn least_peak(&self) -> i64 {
        let none = self.peak(&[]);
        let (mut low, mut high) = (0, none);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.cheapest(middle, Among::All, Prefer::Late) {
                Some(found) => high = self.peak(&found.picks).min(middle),
                None => low = middle + 1,
            }
        }
        high
    }

    /// What is to be least of a set.
    pub fn cost(&self, chosen: &[Pick]) -> u64 {
        chosen.iter().map(|pick| self.currency.of(self.candidates[pick.candidate].cost_with(pick.kinds))).sum()
    }

    /// All sets within a bound on the peak that cost less than `below`, cheapest first; None where there are more than
    /// `most` of them, or too many prefixes to look at.
    pub fn all_within(&self, bound: i64, below: u64, most: usize) -> Option<Vec<Vec<Pick>>> {
        let mut starting: Vec<Vec<usize>> = vec![Vec::new(); self.segments.len() + 1];
        for (number, candidate) in self.candidates.iter().enumerate() {
            starting[candidate.from].push(number);
        }
        let mut found = Vec::new();
        let mut looked_at = 0usize;
        let mut waiting = vec![(0usize, 0u64, Savings::default(), Vec::new())];
        while let Some((boundary, cost, saved, chosen)) = waiting.pop() {
            looked_at += 1;
            if found.len() > most || looked_at > PREFIXES {
                return None;
            }
            let Some(segment) = self.segments.get(boundary) else {
                found.extend(Some(chosen).filter(|chosen| self.peak(chosen) <= bound));
                continue;
            };
            for number in starting[boundary].iter().rev() {
                let candidate = &self.candidates[*number];
                if candidate.needs.after(saved) > bound {
                    continue;
                }
                let ways = 1u64 << candidate.kinds.len().min(63);
                if ways > PREFIXES as u64 {
                    return None;
                }
                for kinds in 0..ways {
                    let total = cost.saturating_add(self.currency.of(candidate.cost_with(kinds)));
                    if total < below {
                        let mut with: Vec<Pick> = chosen.clone();
                        with.push(Pick { candidate: *number, kinds });
                        waiting.push((candidate.to, total, saved.and(candidate.saves_with(kinds)), with));
                    }
                }
                if waiting.len() > PREFIXES {
                    return None;
                }
            }
            if segment.after(saved) <= bound {
                waiting.push((boundary + 1, cost, saved, chosen));
            }
        }
        found.sort_by_key(|chosen| self.cost(chosen));
        Some(found)
    }

    /// Labels past a candidate, with each of what it can save saved or not.
    fn with_kinds(&self, mut labels: Vec<Label>, kinds: &[Kind], slack: &mut Slack) -> Vec<Label> {
        for (bit, kind) in kinds.iter().enumerate() {
            let saved = |label: &Label| Label {
                cost: label.cost.saturating_sub(self.currency.of(kind.spares)),
                saved: label.saved.less(kind.holds),
                chosen: label.chosen.map(|pick| Pick { kinds: pick.kinds | 1 << bit, ..pick }),
                ..*label
            };
            let more: Vec<Label> = labels.iter().map(saved).collect();
            labels.extend(more);
            labels = slack.thin(undominated(labels));
        }
        labels
    }
}

/// What labels that gave way to others may have cost less.
#[derive(Default)]
struct Slack {
    total: u64,
    /// What it was the last time, in one place.
    step: u64,
}

impl Slack {
    /// At most `LABELS` of these undominated labels, which are sorted by their cost: each that goes leaves one that saves as
    /// much and costs little more. How little is doubled until few enough are left.
    fn thin(&mut self, mut labels: Vec<Label>) -> Vec<Label> {
        if labels.len() <= LABELS {
            return labels;
        }
        self.step = (self.step / 2).max(1);
        loop {
            let mut kept: Vec<Label> = Vec::with_capacity(LABELS);
            for label in labels.iter().rev() {
                let covers = |other: &&Label| {
                    other.saved.forward >= label.saved.forward && other.saved.backward >= label.saved.backward
                };
                let near = kept.iter().rev().take_while(|other| other.cost - label.cost <= self.step);
                if near.take(8).find(covers).is_none() {
                    kept.push(*label);
                }
            }
            if kept.len() <= LABELS || self.step > u64::MAX / 2 {
                kept.reverse();
                labels = kept;
                break;
            }
            self.step *= 2;
        }
        self.total = self.total.saturating_add(self.step);
        labels
    }
}

/// The labels that none other dominates, cheapest first; of equal ones the first stays.
fn undominated(mut labels: Vec<Label>) -> Vec<Label> {
    labels.sort_by_key(|label| (label.cost, std::cmp::Reverse(label.saved)));
    // what is saved in forward -> the most saved in backward with at least that; falls as its key grows
    let mut stairs: BTreeMap<i64, i64> = BTreeMap::new();
    labels.retain(|label| {
        let Savings { forward, backward } = label.saved;
        if stairs.range(forward..).next().is_some_and(|(_, most)| *most >= backward) {
            return false;
        }
        while let Some((key, _)) = stairs.range(..=forward).next_back().filter(|(_, most)| **most <= backward) {
            let key = *key;
            stairs.remove(&key);
        }
        stairs.insert(forward, backward);
        true
    });
    labels
}
