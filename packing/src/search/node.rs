//! The nodes of a search: which items come next, in which order they are tried, what follows when one fails.

use std::ops::Range;
use std::time::Instant;

use super::state::{Failed, NONE, State};
use super::{CLOCK, Verdict};

/// Sections that no item left crosses the ends of.
#[derive(Clone)]
struct Piece {
    sections: Range<usize>,
    /// Items that begin there, left or not.
    items: Range<usize>,
    /// How many of them are left.
    left: usize,
}

/// What a subtree gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Everything is placed.
    Found,
    /// There is no packing.
    Fails,
    /// A limit was met.
    Cut,
}

/// How many failed states are remembered at most.
const REMEMBERED: usize = 1 << 21;
/// States of fewer items are not remembered: finding out again is as fast.
const WORTH_REMEMBERING: usize = 4;
/// States of more items are not remembered: they hardly come again, and there are many to look at.
const REMEMBERED_ITEMS: usize = 1_000;

impl State<'_> {
    /// Searches, and gives offsets by the part's own numbering.
    pub fn run(mut self) -> Verdict {
        let sections = 0..self.crossing.len() - 1;
        let outcome = match self.settle() {
            Ok(()) => self.descend(&self.piece(sections.clone()), 1..sections.end, 0),
            Err(Failed) => Outcome::Fails,
        };
        match outcome {
            Outcome::Found => Verdict::Found(self.height),
            Outcome::Fails if self.abandoned > 0 => Verdict::Cut,
            Outcome::Fails => Verdict::Exhausted { next: self.needed },
            Outcome::Cut => Verdict::Cut,
        }
    }

    fn piece(&self, sections: Range<usize>) -> Piece {
        let items = self.begin[sections.start] as usize..self.begin[sections.end] as usize;
        Piece { left: self.blocks.count(items.clone()), sections, items }
    }

    /// Searches the pieces of a piece that no item left holds together any more; boundaries elsewhere are all crossed.
    fn descend(&mut self, piece: &Piece, mut boundaries: Range<usize>, last: u64) -> Outcome {
        if boundaries.all(|boundary| self.crossing[boundary] > 0) {
            return self.node(piece, last);
        }
        let boundaries = piece.sections.start + 1..piece.sections.end;
        let mut pieces = Vec::new();
        let mut from = piece.sections.start;
        for boundary in boundaries.chain([piece.sections.end]) {
            if boundary == piece.sections.end || self.crossing[boundary] == 0 {
                pieces.push(self.piece(from..boundary));
                from = boundary;
            }
        }
        pieces.sort_by_key(|piece| piece.left);
        for piece in &pieces {
            let outcome = self.node(piece, last);
            if outcome != Outcome::Found {
                return outcome;
            }
        }
        Outcome::Found
    }

    /// Tries what may come next of a piece; nothing is placed below `last` any more.
    fn node(&mut self, piece: &Piece, last: u64) -> Outcome {
        if piece.left == 0 {
            return Outcome::Found;
        }
        let lowest_top = self.summary(piece.items.clone()).lowest_top;
        // A held item could fall to its height, where all packings have failed.
        if lowest_top <= last {
            return Outcome::Fails;
        }
        let most_left = self.left[piece.sections.clone()].iter().copied().max().unwrap_or(0);
        if self.within(last + most_left).is_err() {
            return Outcome::Fails;
        }
        let key = (WORTH_REMEMBERING..=REMEMBERED_ITEMS).contains(&piece.left).then(|| self.key(piece, last));
        if key.is_some_and(|key| self.failed.contains(&key)) {
            return Outcome::Fails;
        }
        let mark = self.mark();
        let abandoned = self.abandoned;
        let outcome = self.attempt(piece, last, lowest_top);
        if outcome == Outcome::Fails {
            self.undo(mark);
            let known = self.abandoned == abandoned && self.failed.len() < REMEMBERED;
            self.failed.extend(key.filter(|_| known));
        }
        outcome
    }

    fn attempt(&mut self, piece: &Piece, last: u64, lowest_top: u64) -> Outcome {
        let began = self.nodes;
        let budget = self.budget(piece.left);
        loop {
            let (height, _, number) = self.summary(piece.items.clone()).next;
            if height >= lowest_top {
                return Outcome::Fails;
            }
            let outcome = self.try_one(number as usize, piece);
            if outcome != Outcome::Fails || self.exclude(number as usize, last).is_err() {
                return outcome;
            }
            if self.nodes - began > budget {
                self.abandoned += 1;
                return Outcome::Fails;
            }
        }
    }

    fn try_one(&mut self, number: usize, piece: &Piece) -> Outcome {
        self.nodes += 1;
        if self.nodes > self.limits.nodes || self.nodes.is_multiple_of(CLOCK) && Instant::now() >= self.limits.deadline
        {
            return Outcome::Cut;
        }
        let mark = self.mark();
        let outcome = match self.place(number) {
            Ok(()) => {
                let item = &self.items[number];
                let boundaries = item.first as usize + 1..item.end as usize;
                let rest = Piece { left: piece.left - 1, ..piece.clone() };
                self.descend(&rest, boundaries, self.height[number])
            }
            Err(Failed) => Outcome::Fails,
        };
        if outcome == Outcome::Fails {
            self.undo(mark);
        }
        outcome
    }

    /// After how many placements below a node with so many items left it is given up, unless another comes first.
    fn budget(&self, left: usize) -> u64 {
        if !self.limits.hurried {
            return u64::MAX;
        }
        let share = left as f64 / self.items.len() as f64;
        (share.powi(3) * self.limits.nodes as f64) as u64
    }

    /// Holds an item and its twins: none of them is placed at its height.
    pub fn exclude(&mut self, number: usize, last: u64) -> Result<(), Failed> {
        let mut bound = u64::MAX;
        let kind = self.items[number].kind;
        self.meeting(number, |state, other| {
            let item = &state.items[other];
            if item.kind != kind {
                bound = bound.min(state.bound[other].max(last) + item.size);
            }
            Ok(())
        })?;
        if bound == u64::MAX {
            return Err(Failed);
        }
        let mut twin = number as u32;
        while twin != NONE {
            self.hold(twin as usize, bound)?;
            twin = self.next_twin[twin as usize];
        }
        Ok(())
    }

    /// What decides whether a piece can be placed: the items left, their bounds, and which are held.
    fn key(&self, piece: &Piece, last: u64) -> u128 {
        let mut key = 0_u128;
        for number in self.blocks.left(piece.items.clone()) {
            let held = u64::from(self.bound[number] > self.height[number]);
            let state = self.bound[number].max(last) << 1 | held;
            let (one, other) = self.salt[number];
            let product = u128::from(state ^ one) * u128::from(state.rotate_left(32) ^ other);
            key = key.wrapping_add(product);
        }
        key
    }
}
