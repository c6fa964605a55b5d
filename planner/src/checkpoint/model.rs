//! What each candidate costs and saves, and the cheapest set under a bound, by a dynamic program along the forward.
//!
//! A segment that no checkpoint covers needs what it needs without checkpoints, less what those before it save. A
//! checkpointed call needs its own most, less the same; what it saves counts for all that comes after it, in forward and in
//! backward. So a prefix of the forward is known by its cost and what it saves, and of two prefixes where one costs no more
//! and saves no less the other can go: what is left holds an optimum. Sizes are rounded to 512 bytes, which the allocator
//! never goes below, so that the cost found is a lower bound for every measure of the peak.

use std::collections::BTreeMap;

/// A module's call that can be checkpointed.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub path: String,
    /// The boundaries between which it lies.
    pub from: usize,
    pub to: usize,
    /// Operations that its second runs compute, in a step.
    pub cost: u64,
    /// Bytes that are not alive after its forward, and before its backward.
    pub saves: Savings,
    /// The most that it needs where nothing before it is checkpointed.
    pub needs: Needs,
    /// Whether its second run asks for the workspace that stays.
    pub takes_workspace: bool,
    /// Whether it is a whole block.
    pub is_block: bool,
}

/// Which candidates count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Among {
    /// Whole blocks.
    Blocks,
    /// All of them.
    All,
}

/// Bytes that are not alive, in forward and in backward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Savings {
    pub forward: i64,
    pub backward: i64,
}

impl Savings {
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
}

/// Where ties are broken: which of two equal prefixes stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prefer {
    /// Checkpoints as late as can be.
    Late,
    /// Checkpoints as early as can be.
    Early,
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
    chosen: Option<usize>,
}

impl Model {
    /// The peak of a set, its candidates in the order of where they end.
    pub fn peak(&self, chosen: &[usize]) -> i64 {
        let mut peak = self.outside;
        let mut saved = Savings::default();
        let mut at = 0;
        for number in chosen {
            let candidate = &self.candidates[*number];
            peak = self.segments[at..candidate.from].iter().map(|needs| needs.after(saved)).fold(peak, i64::max);
            peak = peak.max(candidate.needs.after(saved));
            saved = saved.and(candidate.saves);
            at = candidate.to;
        }
        let takes = chosen.iter().any(|number| self.candidates[*number].takes_workspace);
        let workspace = if takes { self.workspace } else { 0 };
        self.segments[at..].iter().map(|needs| needs.after(saved)).fold(peak, i64::max) + workspace
    }

    /// The cheapest set whose peak is within a bound; None where there is none.
    pub fn cheapest(&self, bound: i64, among: Among, prefer: Prefer) -> Option<Vec<usize>> {
        let counts = |candidate: &Candidate| among == Among::All || candidate.is_block;
        if self.workspace == 0 {
            return self.cheapest_of(bound, prefer, counts);
        }
        let without = self.cheapest_of(bound, prefer, |candidate| counts(candidate) && !candidate.takes_workspace);
        let with = self.cheapest_of(bound - self.workspace, prefer, counts);
        without.into_iter().chain(with).min_by_key(|chosen| self.cost(chosen))
    }

    fn cheapest_of(&self, bound: i64, prefer: Prefer, counts: impl Fn(&Candidate) -> bool) -> Option<Vec<usize>> {
        if self.outside > bound {
            return None;
        }
        let mut labels: Vec<Vec<Label>> = vec![Vec::new(); self.segments.len() + 1];
        labels[0].push(Label { cost: 0, saved: Savings::default(), before: (0, 0), chosen: None });
        let mut ending: Vec<Vec<usize>> = vec![Vec::new(); self.segments.len() + 1];
        for (number, candidate) in self.candidates.iter().enumerate().filter(|(_, candidate)| counts(candidate)) {
            ending[candidate.to].push(number);
        }
        for boundary in 1..=self.segments.len() {
            let mut arriving = Vec::new();
            let mut arrive = |from: usize, needs: Needs, chosen: Option<usize>| {
                let (cost, saves) = chosen.map_or((0, Savings::default()), |number| {
                    (self.candidates[number].cost, self.candidates[number].saves)
                });
                for (place, label) in labels[from].iter().enumerate() {
                    if needs.after(label.saved) <= bound {
                        let (cost, saved) = (label.cost.saturating_add(cost), label.saved.and(saves));
                        arriving.push(Label { cost, saved, before: (from, place), chosen });
                    }
                }
            };
            let plain = |wanted: Prefer| (prefer == wanted).then_some(None);
            let calls = ending[boundary].iter().copied().map(Some);
            for chosen in plain(Prefer::Late).into_iter().chain(calls).chain(plain(Prefer::Early)) {
                match chosen.map(|number| &self.candidates[number]) {
                    None => arrive(boundary - 1, self.segments[boundary - 1], chosen),
                    Some(candidate) => arrive(candidate.from, candidate.needs, chosen),
                }
            }
            labels[boundary] = undominated(arriving);
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
        Some(chosen)
    }

    /// The least peak that any set has.
    pub fn least_peak(&self) -> i64 {
        let none = self.peak(&[]);
        let (mut low, mut high) = (0, none);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.cheapest(middle, Among::All, Prefer::Late) {
                Some(chosen) => high = self.peak(&chosen).min(middle),
                None => low = middle + 1,
            }
        }
        high
    }

    pub fn cost(&self, chosen: &[usize]) -> u64 {
        chosen.iter().map(|number| self.candidates[*number].cost).sum()
    }

    /// All sets within a bound on the peak that cost less than `below`, cheapest first; None where there are more than
    /// `most` of them, or too many prefixes to look at.
    pub fn all_within(&self, bound: i64, below: u64, most: usize) -> Option<Vec<Vec<usize>>> {
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
                let total = cost.saturating_add(candidate.cost);
                if total < below && candidate.needs.after(saved) <= bound {
                    let mut with: Vec<usize> = chosen.clone();
                    with.push(*number);
                    waiting.push((candidate.to, total, saved.and(candidate.saves), with));
                }
            }
            if segment.after(saved) <= bound {
                waiting.push((boundary + 1, cost, saved, chosen));
            }
        }
        found.sort_by_key(|chosen| self.cost(chosen));
        Some(found)
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
