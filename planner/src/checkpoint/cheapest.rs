//! The cheapest set under a bound, by a dynamic program along the forward.
//!
//! A prefix of the forward is known by its cost and what it saves. Of two prefixes where one costs no more and saves no less
//! the other can go, and so can one whose way to the end costs more than a set that is known (`reach.rs`): what is left holds
//! an optimum. Sizes are never above the allocator's, so that the cost found is a lower bound for every measure of the peak.
//!
//! What a checkpointed call's operators save is chosen with it: each kind of operator spares its second run some operations
//! and holds some bytes from forward to backward. Where that leaves too many prefixes, some give way to others that save as
//! much for a little more; the lower bound is lowered by all that this may have cost.

use std::collections::BTreeMap;

use super::Currency;
use super::model::{Candidate, Kind, Model, Needs, Pick, Savings};
use super::reach::Reach;

/// Which candidates count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Among {
    /// Whole blocks that save no operator's results.
    Blocks,
    /// All of them, with all that they can save.
    All,
}

/// Where ties are broken: which of two equal prefixes stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prefer {
    /// Checkpoints as late as can be.
    Late,
    /// Checkpoints as early as can be.
    Early,
}

/// The cheapest set, as far as that was computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cheapest {
    pub picks: Vec<Pick>,
    /// No set within the bound costs less.
    pub at_least: u64,
}

/// The most labels of a boundary that are kept, and of all boundaries together about.
const LABELS: usize = 4000;
const ALL_LABELS: usize = 8_000_000;

/// The labels of a boundary that are kept to find a cheap set soon.
const FEW_LABELS: usize = 16;

/// The most prefixes that are looked at to list all sets.
const PREFIXES: usize = 1_000_000;

impl Model {
    /// The cheapest set whose peak is within a bound; None where there is none.
    pub fn cheapest(&self, bound: i64, among: Among, prefer: Prefer) -> Option<Cheapest> {
        let of_kind = |candidate: &Candidate| among == Among::All || candidate.is_block;
        let cheapest = |bound: i64, counts: &dyn Fn(&Candidate) -> bool| {
            let counted = self.counted(|candidate| of_kind(candidate) && counts(candidate));
            Walk::new(self, &counted, Some(self.currency), (among, prefer)).cheapest(bound)
        };
        if self.workspace == 0 {
            return cheapest(bound, &|_| true);
        }
        let without = cheapest(bound, &|candidate| !candidate.takes_workspace);
        let with = cheapest(bound - self.workspace, &|_| true);
        let at_least = without.iter().chain(&with).map(|found| found.at_least).min()?;
        let best = without.into_iter().chain(with).min_by_key(|found| self.cost(&found.picks))?;
        Some(Cheapest { at_least, ..best })
    }

    /// The least peak that any set has.
    pub fn least_peak(&self) -> i64 {
        let (mut low, mut high) = (0, self.peak(&[]));
        let among = |counted: &[usize]| Walk::new(self, counted, None, (Among::All, Prefer::Late));
        let all = among(&self.counted(|_| true));
        let free = among(&self.counted(|candidate| !candidate.takes_workspace));
        while low < high {
            let middle = low + (high - low) / 2;
            match free.any(middle).or_else(|| all.any(middle - self.workspace)) {
                Some(found) => high = self.peak(&found).min(middle),
                None => low = middle + 1,
            }
        }
        high
    }

    fn counted(&self, counts: impl Fn(&Candidate) -> bool) -> Vec<usize> {
        (0..self.candidates.len()).filter(|number| counts(&self.candidates[*number])).collect()
    }

    /// All sets within a bound on the peak that cost less than `below`, cheapest first; None where there are more than
    /// `most` of them, or too many prefixes to look at.
    pub fn all_within(&self, bound: i64, below: u64, most: usize) -> Option<Vec<Vec<Pick>>> {
        let all = self.counted(|_| true);
        let (reach, starting) = (Reach::of(self, &all, Some(self.currency)), self.starting(&all));
        let (mut found, mut ways) = (Vec::new(), Ways::default());
        let mut looked_at = 0usize;
        let mut waiting = vec![(0usize, Label::default())];
        let goes_on = |boundary: usize, label: &Label| {
            let rest = reach.cost(boundary, label.saved, bound);
            rest.is_some_and(|rest| label.cost.saturating_add(rest) < below)
        };
        while let Some((boundary, label)) = waiting.pop() {
            looked_at += 1;
            if found.len() > most || looked_at > PREFIXES {
                return None;
            }
            let Some(segment) = self.segments.get(boundary) else {
                let chosen = ways.picks(label.way);
                found.extend(Some(chosen).filter(|chosen| self.peak(chosen) <= bound));
                continue;
            };
            for number in starting[boundary].iter().rev() {
                let candidate = &self.candidates[*number];
                if candidate.needs.after(label.saved) > bound {
                    continue;
                }
                let choices = 1u64 << candidate.kinds.len().min(63);
                if choices > PREFIXES as u64 {
                    return None;
                }
                for kinds in 0..choices {
                    let cost = label.cost.saturating_add(self.currency.of(candidate.cost_with(kinds)));
                    let saved = label.saved.and(candidate.saves_with(kinds));
                    let mut with = Label { cost, saved, ..label };
                    if cost < below && goes_on(candidate.to, &with) {
                        with.way = ways.and(label.way, Pick { candidate: *number, kinds });
                        waiting.push((candidate.to, with));
                    }
                }
                if waiting.len() > PREFIXES || ways.steps.len() > 4 * PREFIXES {
                    return None;
                }
            }
            if segment.after(label.saved) <= bound && goes_on(boundary + 1, &label) {
                waiting.push((boundary + 1, label));
            }
        }
        found.sort_by_key(|chosen| self.cost(chosen));
        Some(found)
    }
}

/// A way to a boundary.
#[derive(Clone, Copy, Default)]
struct Label {
    cost: u64,
    saved: Savings,
    /// What is checkpointed on it: a place among `Ways`, and a candidate that is not among them yet.
    way: u32,
    last: Option<Pick>,
}

/// What is checkpointed on all ways, as far as they share it: each step is behind another. Step 0 is the beginning.
struct Ways {
    steps: Vec<(u32, Pick)>,
    /// How many steps there were after those that no label needs had been left out.
    needed: usize,
}

impl Default for Ways {
    fn default() -> Ways {
        Ways { steps: vec![(0, Pick { candidate: 0, kinds: 0 })], needed: 0 }
    }
}

impl Ways {
    fn and(&mut self, way: u32, pick: Pick) -> u32 {
        self.steps.push((way, pick));
        self.steps.len() as u32 - 1
    }

    fn picks(&self, mut way: u32) -> Vec<Pick> {
        let mut picks = Vec::new();
        while way > 0 {
            let (before, pick) = self.steps[way as usize];
            picks.push(pick);
            way = before;
        }
        picks.reverse();
        picks
    }

    /// Leaves out steps that lead to no label, once those are many.
    fn clear(&mut self, labels: &mut [Vec<Label>]) {
        if self.steps.len() < 2 * self.needed + (1 << 20) {
            return;
        }
        let mut places = vec![0_u32; self.steps.len()];
        labels.iter().flatten().for_each(|label| places[label.way as usize] = 1);
        for at in (1..self.steps.len()).rev() {
            if places[at] > 0 {
                places[self.steps[at].0 as usize] = 1;
            }
        }
        places[0] = 0;
        let mut kept = 1;
        for at in 1..self.steps.len() {
            if places[at] > 0 {
                let (before, pick) = self.steps[at];
                self.steps[kept] = (places[before as usize], pick);
                places[at] = kept as u32;
                kept += 1;
            }
        }
        self.steps.truncate(kept);
        self.needed = kept;
        labels.iter_mut().flatten().for_each(|label| label.way = places[label.way as usize]);
    }
}

/// The ways to each boundary, from the first to the last.
struct Walk<'a> {
    model: &'a Model,
    /// What is to be least; without it all candidates are free.
    price: Option<Currency>,
    among: Among,
    prefer: Prefer,
    /// The candidates that count, by where they end.
    ending: Vec<Vec<usize>>,
    /// The last boundary that is reached right from this one.
    used_until: Vec<usize>,
    reach: Reach,
}

/// Which labels of a boundary stay.
enum Kept {
    /// The few that look cheapest.
    Few,
    /// All on ways that may cost so much.
    Within(u64),
}

impl<'a> Walk<'a> {
    fn new(model: &'a Model, counted: &[usize], price: Option<Currency>, (among, prefer): (Among, Prefer)) -> Walk<'a> {
        let count = model.segments.len() + 1;
        let (mut ending, mut used_until) = (vec![Vec::new(); count], (1..=count).collect::<Vec<_>>());
        for number in counted {
            let candidate = &model.candidates[*number];
            ending[candidate.to].push(*number);
            used_until[candidate.from] = used_until[candidate.from].max(candidate.to);
        }
        let reach = Reach::of(model, counted, price);
        Walk { model, price, among, prefer, ending, used_until, reach }
    }

    /// The cheapest set within a bound.
    fn cheapest(&self, bound: i64) -> Option<Cheapest> {
        let (few, _) = self.walk(bound, Kept::Few)?;
        let known = few.as_ref().map_or(u64::MAX, |picks| self.model.cost(picks));
        let (found, slack) = self.walk(bound, Kept::Within(known))?;
        // those that stay for others may cost a little more than what is known
        let picks = found.or(few)?;
        let at_least = self.reach.cost(0, Savings::default(), bound)?;
        let at_least = self.model.cost(&picks).saturating_sub(slack).max(at_least);
        Some(Cheapest { picks, at_least })
    }

    /// Any set within a bound.
    fn any(&self, bound: i64) -> Option<Vec<Pick>> {
        self.walk(bound, Kept::Within(u64::MAX))?.0
    }

    /// The cheapest set of the ways that are kept, and by how much one that was not may cost less; None where no set at all
    /// is within the bound.
    fn walk(&self, bound: i64, kept: Kept) -> Option<(Option<Vec<Pick>>, u64)> {
        if self.model.outside > bound {
            return None;
        }
        let segments = &self.model.segments;
        let (mut ways, mut slack) = (Ways::default(), Slack::of(segments.len()));
        let mut labels: Vec<Vec<Label>> = vec![Vec::new(); segments.len() + 1];
        let mut unused: Vec<Vec<usize>> = vec![Vec::new(); segments.len() + 2];
        self.used_until.iter().enumerate().for_each(|(boundary, until)| unused[*until].push(boundary));
        labels[0].push(Label::default());
        for boundary in 1..=segments.len() {
            let on =
                |from: usize, needs: Needs| labels[from].iter().filter(move |label| needs.after(label.saved) <= bound);
            let plain: Vec<Label> = on(boundary - 1, segments[boundary - 1]).copied().collect();
            let mut arriving = if self.prefer == Prefer::Late { plain.clone() } else { Vec::new() };
            for number in &self.ending[boundary] {
                let candidate = &self.model.candidates[*number];
                let past = on(candidate.from, candidate.needs).map(|label| self.past(label, *number)).collect();
                arriving.extend(match self.among {
                    Among::All => self.with_kinds(past, &candidate.kinds, &mut slack),
                    Among::Blocks => past,
                });
            }
            if self.prefer == Prefer::Early {
                arriving.extend(plain);
            }
            let mut arrived = self.kept(arriving, (boundary, bound), &kept, &mut slack);
            for label in &mut arrived {
                label.way = label.last.take().map_or(label.way, |pick| ways.and(label.way, pick));
            }
            labels[boundary] = arrived;
            unused[boundary].iter().for_each(|unused| labels[*unused] = Vec::new());
            ways.clear(&mut labels);
        }
        let best = labels.last()?.iter().min_by_key(|label| label.cost);
        Some((best.map(|label| ways.picks(label.way)), slack.total))
    }

    /// A label past a candidate that saves no operator's results.
    fn past(&self, label: &Label, number: usize) -> Label {
        let candidate = &self.model.candidates[number];
        Label {
            cost: label.cost.saturating_add(self.price.map_or(0, |currency| currency.of(candidate.cost))),
            saved: label.saved.and(candidate.saves),
            last: Some(Pick { candidate: number, kinds: 0 }),
            ..*label
        }
    }

    /// Labels past a candidate, with each of what it can save saved or not.
    fn with_kinds(&self, mut labels: Vec<Label>, kinds: &[Kind], slack: &mut Slack) -> Vec<Label> {
        for (bit, kind) in kinds.iter().enumerate() {
            let spares = self.price.map_or(0, |currency| currency.of(kind.spares));
            let saved = |label: &Label| Label {
                cost: label.cost.saturating_sub(spares),
                saved: label.saved.less(kind.holds),
                last: label.last.map(|pick| Pick { kinds: pick.kinds | 1 << bit, ..pick }),
                ..*label
            };
            let more: Vec<Label> = labels.iter().map(saved).collect();
            labels.extend(more);
            labels = slack.thin(undominated(labels));
        }
        labels
    }

    /// The labels of a boundary that stay.
    fn kept(
        &self,
        mut labels: Vec<Label>,
        (boundary, bound): (usize, i64),
        kept: &Kept,
        slack: &mut Slack,
    ) -> Vec<Label> {
        let whole = |label: &Label| {
            let rest = self.reach.cost(boundary, label.saved, bound);
            rest.map(|rest| label.cost.saturating_add(rest))
        };
        match kept {
            Kept::Within(most) => {
                labels.retain(|label| whole(label).is_some_and(|cost| cost <= *most));
                slack.thin(undominated(labels))
            }
            Kept::Few => {
                labels = undominated(labels);
                labels.retain(|label| whole(label).is_some());
                labels.sort_by_key(|label| (whole(label), std::cmp::Reverse(label.saved)));
                labels.truncate(FEW_LABELS);
                labels
            }
        }
    }
}

/// What labels that gave way to others may have cost less.
struct Slack {
    /// The most labels of a boundary.
    most: usize,
    total: u64,
    /// What it was the last time, in one place.
    step: u64,
}

impl Slack {
    fn of(boundaries: usize) -> Slack {
        Slack { most: (ALL_LABELS / boundaries.max(1)).clamp(FEW_LABELS, LABELS), total: 0, step: 0 }
    }

    /// As many of these undominated labels as may stay, which are sorted by their cost: each that goes leaves one that saves as
    /// much and costs little more. How little is doubled until few enough are left.
    fn thin(&mut self, mut labels: Vec<Label>) -> Vec<Label> {
        if labels.len() <= self.most {
            return labels;
        }
        self.step = (self.step / 2).max(1);
        loop {
            let mut kept: Vec<Label> = Vec::with_capacity(self.most);
            for label in labels.iter().rev() {
                let covers = |other: &&Label| {
                    other.saved.forward >= label.saved.forward && other.saved.backward >= label.saved.backward
                };
                let near = kept.iter().rev().take_while(|other| other.cost - label.cost <= self.step);
                if near.take(8).find(covers).is_none() {
                    kept.push(*label);
                }
            }
            if kept.len() <= self.most || self.step > u64::MAX / 2 {
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
