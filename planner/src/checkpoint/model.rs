//! A run as a chain: what each segment of the forward needs, and what each candidate costs, saves and needs.
//!
//! A segment that no checkpoint covers needs what it needs without checkpoints, less what those before it save. A
//! checkpointed call needs its own most, less the same; what it saves counts for all that comes after it, in forward and in
//! backward. Sizes are rounded to 512 bytes, which the allocator never goes below.

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

impl Model {
    /// The candidates of that number that begin at each boundary.
    pub fn starting(&self, counted: &[usize]) -> Vec<Vec<usize>> {
        let mut starting = vec![Vec::new(); self.segments.len() + 1];
        counted.iter().for_each(|number| starting[self.candidates[*number].from].push(*number));
        starting
    }

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

    /// What is to be least of a set.
    pub fn cost(&self, chosen: &[Pick]) -> u64 {
        chosen.iter().map(|pick| self.currency.of(self.candidates[pick.candidate].cost_with(pick.kinds))).sum()
    }

    /// A set as a run has it.
    pub fn checkpointing(&self, chosen: &[Pick]) -> Checkpointing {
        let region = |pick: &Pick| self.candidates[pick.candidate].region(pick.kinds);
        Checkpointing::Modules(chosen.iter().map(region).collect())
    }
}
