//! The smallest combination that fits.
//!
//! ```text
//! for each class of cost, the cheapest first:            what costs no more than that may be used
//!   the most saving change of each slot, all together    if that does not fit, no part of it is tried
//!   for 1, 2, 3, ... changes:
//!     the most saving change of each slot of a subset    if that does not fit, no weaker form of it is tried
//!     else its forms, the cheapest first, until one fits
//!   the cheapest of what fits ends the search            nothing larger, nothing of a dearer class is tried
//! ```
//!
//! That less saves less is taken for granted where nothing is tried: sets that were not planned are counted and said.

use rustc_hash::FxHashMap;

use super::cost::{Class, together};
use super::{Change, Slot};
use crate::bytes::Bytes;
use crate::plan::footprint::Footprint;

/// The most forms of one subset of slots that are looked at.
const FORMS: usize = 64;
/// How many forms are planned side by side.
const AT_ONCE: usize = 8;
/// The most sets of one size.
const SETS: usize = 2_000;

/// What was found: sets of changes, by their places.
pub(super) struct Found {
    /// The smallest that fits.
    pub fits: Option<Vec<usize>>,
    /// Where none does, the one with the least peak.
    pub nearest: Option<Vec<usize>>,
    /// Sets of two and more that were planned.
    pub tried: u64,
    /// Sets of two and more that were not.
    pub untried: u64,
}

/// Plans sets of changes.
type Planning<'a> = dyn FnMut(&[Vec<usize>]) -> Vec<Result<Footprint, String>> + 'a;

/// Whether a set fits, and its peak without a limit; None where it is refused.
type Judged = Option<(bool, Bytes)>;

struct Search<'a, 'b> {
    changes: &'a [Change],
    plan: &'a mut Planning<'b>,
    known: FxHashMap<Vec<usize>, Judged>,
    nearest: Option<(Bytes, Vec<usize>)>,
}

/// Searches.
pub(super) fn smallest(changes: &[Change], plan: &mut Planning<'_>) -> Found {
    let mut search = Search { changes, plan, known: FxHashMap::default(), nearest: None };
    for (place, change) in changes.iter().enumerate() {
        search.learn(vec![place], Some((change.peaks.fits, change.unlimited)));
    }
    let fits = Class::ALL.iter().find_map(|(_, class)| search.within(*class));
    let tried = search.known.keys().filter(|set| set.len() > 1).count() as u64;
    let nearest = search.nearest.map(|(_, set)| set).filter(|_| fits.is_none());
    Found { fits, nearest, tried, untried: combinations(changes).saturating_sub(tried) }
}

/// How many sets of two and more there are.
fn combinations(changes: &[Change]) -> u64 {
    let mut forms: FxHashMap<Slot, u64> = FxHashMap::default();
    for change in changes {
        *forms.entry(change.slot).or_default() += 1;
    }
    let all = slots(changes, Class::Model).iter().fold(1, |all: u64, slot| all.saturating_mul(1 + forms[slot]));
    all.saturating_sub(1 + changes.len() as u64)
}

/// What can be touched at no more than that cost, in order.
fn slots(changes: &[Change], most: Class) -> Vec<Slot> {
    let mut slots: Vec<Slot> =
        changes.iter().filter(|change| change.cost.class <= most).map(|change| change.slot).collect();
    slots.sort_unstable();
    slots.dedup();
    slots
}

impl Search<'_, '_> {
    /// The cheapest set of the least changes that fits, where one of them costs exactly this and none costs more.
    fn within(&mut self, class: Class) -> Option<Vec<usize>> {
        if self.changes.iter().all(|change| change.cost.class != class) {
            return None;
        }
        let slots = slots(self.changes, class);
        let all = self.strongest(&slots, class);
        if self.judge(vec![all.clone()])[0].is_some_and(|(fits, _)| !fits) {
            return None;
        }
        let new = |slot: &Slot| self.changes.iter().any(|change| change.slot == *slot && change.cost.class == class);
        let new: Vec<Slot> = slots.iter().copied().filter(new).collect();
        for count in 1..=slots.len() {
            let subsets =
                subsets(&slots, count).into_iter().filter(|subset| subset.iter().any(|slot| new.contains(slot)));
            let subsets: Vec<Vec<Slot>> = subsets.take(SETS).collect();
            let sets: Vec<Vec<usize>> = subsets.iter().map(|subset| self.strongest(subset, class)).collect();
            let judged = self.judge(sets.clone());
            let fitting =
                subsets.iter().zip(sets).zip(judged).filter(|(_, judged)| judged.is_some_and(|(fits, _)| fits));
            let fitting: Vec<(&Vec<Slot>, Vec<usize>)> = fitting.map(|(found, _)| found).collect();
            let best = fitting.into_iter().map(|(subset, strongest)| self.cheapest(subset, strongest, class));
            let best: Vec<Vec<usize>> = best.collect();
            if let Some(set) = best.into_iter().min_by_key(|set| self.key(set)) {
                return Some(set);
            }
        }
        None
    }

    /// The most saving change of each slot, at no more than that cost.
    fn strongest(&self, slots: &[Slot], most: Class) -> Vec<usize> {
        let of = |slot: &Slot| {
            let places = self.forms(*slot, most);
            places.into_iter().min_by_key(|place| (self.changes[*place].unlimited, self.changes[*place].cost))
        };
        slots.iter().filter_map(of).collect()
    }

    fn forms(&self, slot: Slot, most: Class) -> Vec<usize> {
        let fits = |place: &usize| self.changes[*place].slot == slot && self.changes[*place].cost.class <= most;
        (0..self.changes.len()).filter(fits).collect()
    }

    /// The cheapest forms of a subset of slots that fit; the strongest ones do.
    fn cheapest(&mut self, subset: &[Slot], strongest: Vec<usize>, most: Class) -> Vec<usize> {
        let mut sets: Vec<Vec<usize>> = vec![Vec::new()];
        for slot in subset {
            let forms = self.forms(*slot, most);
            sets = sets.iter().flat_map(|set| forms.iter().map(|form| [&set[..], &[*form]].concat())).collect();
            sets.sort_by_key(|set| self.key(set));
            sets.truncate(FORMS * FORMS);
        }
        sets.truncate(FORMS);
        for some in sets.chunks(AT_ONCE) {
            let judged = self.judge(some.to_vec());
            let fits = some.iter().zip(judged).find(|(_, judged)| judged.is_some_and(|(fits, _)| fits));
            if let Some((set, _)) = fits {
                return set.clone();
            }
        }
        strongest
    }

    /// What sets are compared by: what they cost, then their places in the list.
    fn key(&self, set: &[usize]) -> impl Ord + use<> {
        (together(set.iter().map(|place| self.changes[*place].cost)), set.to_vec())
    }

    /// Plans what is not known yet.
    fn judge(&mut self, sets: Vec<Vec<usize>>) -> Vec<Judged> {
        let unknown: Vec<Vec<usize>> = sets.iter().filter(|set| !self.known.contains_key(*set)).cloned().collect();
        for (set, planned) in unknown.iter().zip((self.plan)(&unknown)) {
            self.learn(set.clone(), planned.ok().map(|planned| (planned.within[0].fits, planned.unlimited)));
        }
        sets.iter().map(|set| self.known.get(set).copied().flatten()).collect()
    }

    fn learn(&mut self, set: Vec<usize>, judged: Judged) {
        if let Some((_, peak)) = judged
            && self.nearest.as_ref().is_none_or(|(least, known)| (peak, self.key(&set)) < (*least, self.key(known)))
        {
            self.nearest = Some((peak, set.clone()));
        }
        self.known.insert(set, judged);
    }
}

/// All subsets of so many, in the order of their members.
fn subsets(slots: &[Slot], count: usize) -> Vec<Vec<Slot>> {
    let Some((first, rest)) = slots.split_first() else {
        return if count == 0 { vec![Vec::new()] } else { Vec::new() };
    };
    if count == 0 {
        return vec![Vec::new()];
    }
    let mut with = subsets(rest, count - 1);
    with.iter_mut().for_each(|subset| subset.insert(0, *first));
    with.extend(subsets(rest, count));
    with
}
