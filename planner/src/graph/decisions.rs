//! What code decides by integers, noted while a loop is watched: whether later iterations decide alike follows from it.
//!
//! Sums and differences of integers that grow steadily grow steadily themselves. Comparisons, quotients, products and the like
//! need not: each is noted with its operands, and [`Decision::holds_for`] says for how many iterations it goes on as it did.

use std::cell::{Cell, RefCell};

/// How two integers give another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Less,
    LessEqual,
    Equal,
    FloorDivide,
    Remainder,
    Multiply,
    Min,
    Max,
    /// The first operand is used in a way that lets it be no other.
    Exact,
}

/// One decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decision {
    kind: Kind,
    left: i64,
    right: i64,
}

impl Decision {
    /// What comes out; None where it overflows, or where no number does.
    fn outcome(self) -> Option<i64> {
        let Decision { kind, left, right } = self;
        match kind {
            Kind::Less => Some(i64::from(left < right)),
            Kind::LessEqual => Some(i64::from(left <= right)),
            Kind::Equal => Some(i64::from(left == right)),
            Kind::FloorDivide => left.checked_div_euclid(right),
            Kind::Remainder => left.checked_rem_euclid(right),
            Kind::Multiply => left.checked_mul(right),
            Kind::Min => Some(left.min(right)),
            Kind::Max => Some(left.max(right)),
            Kind::Exact => None,
        }
    }

    /// The decision so many iterations after `self`, of which `earlier` is the one before.
    fn after(self, earlier: Decision, iterations: i64) -> Option<Decision> {
        let go_on = |now: i64, before: i64| now.checked_add(now.checked_sub(before)?.checked_mul(iterations)?);
        let (left, right) = (go_on(self.left, earlier.left)?, go_on(self.right, earlier.right)?);
        Some(Decision { left, right, ..self })
    }

    /// For how many iterations after this one, at most `most`, operands that go on growing as they did since `earlier` give
    /// what goes on growing as it did; a comparison, what it gave.
    pub fn holds_for(self, earlier: Decision, most: u64) -> u64 {
        if self == earlier {
            return most;
        }
        let (Some(now), Some(before)) = (self.outcome(), earlier.outcome()) else { return 0 };
        let is_comparison = matches!(self.kind, Kind::Less | Kind::LessEqual | Kind::Equal);
        if self.kind != earlier.kind || (is_comparison && now != before) {
            return 0;
        }
        let goes_on = |iterations: u64| {
            let iterations = iterations as i64;
            let expected = now.checked_sub(before)?.checked_mul(iterations)?.checked_add(now)?;
            Some(self.after(earlier, iterations)?.outcome()? == expected)
        };
        (1..=most).find(|iterations| goes_on(*iterations) != Some(true)).map_or(most, |first| first - 1)
    }
}

/// The decisions so far, where a loop is watched.
#[derive(Debug, Default)]
pub struct Decisions {
    log: RefCell<Vec<Decision>>,
    /// How many loops are watched.
    watched: Cell<u32>,
}

impl Decisions {
    /// Notes a decision.
    pub fn note(&self, kind: Kind, left: i64, right: i64) {
        if self.watched.get() > 0 {
            self.log.borrow_mut().push(Decision { kind, left, right });
        }
    }

    /// Notes that an integer can be no other.
    pub fn exact(&self, number: i64) {
        self.note(Kind::Exact, number, 0);
    }

    /// How many have been noted.
    pub fn count(&self) -> usize {
        self.log.borrow().len()
    }

    /// Those from one count to another.
    pub fn between(&self, from: usize, to: usize) -> Vec<Decision> {
        self.log.borrow()[from..to].to_vec()
    }

    /// A loop is watched from now on.
    pub fn watch(&self) {
        self.watched.set(self.watched.get() + 1);
    }

    /// A loop is watched no longer; without any, nothing is kept.
    pub fn unwatch(&self) {
        self.watched.set(self.watched.get() - 1);
        if self.watched.get() == 0 {
            self.log.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(kind: Kind, earlier: (i64, i64), now: (i64, i64)) -> u64 {
        let decision = |(left, right)| Decision { kind, left, right };
        decision(now).holds_for(decision(earlier), 100)
    }

    #[test]
    fn comparisons_hold_until_they_turn() {
        assert_eq!(holds(Kind::Less, (5, 20), (6, 20)), 13); // 19 < 20 is the last
        assert_eq!(holds(Kind::LessEqual, (5, 20), (6, 20)), 14);
        assert_eq!(holds(Kind::Equal, (7, 8), (8, 9)), 100);
        assert_eq!(holds(Kind::Equal, (3, 8), (4, 8)), 3);
        assert_eq!(holds(Kind::Less, (20, 20), (19, 20)), 0); // it turned between the two
    }

    #[test]
    fn what_does_not_grow_steadily_ends() {
        assert_eq!(holds(Kind::FloorDivide, (32, 16), (33, 16)), 14);
        assert_eq!(holds(Kind::FloorDivide, (32, 16), (48, 16)), 100);
        assert_eq!(holds(Kind::Remainder, (32, 16), (33, 16)), 14);
        assert_eq!(holds(Kind::Multiply, (2, 7), (3, 7)), 100);
        assert_eq!(holds(Kind::Multiply, (2, 2), (3, 3)), 0);
        assert_eq!(holds(Kind::Min, (5, 8), (6, 8)), 2);
        assert_eq!(holds(Kind::Max, (9, 8), (10, 8)), 100);
    }

    #[test]
    fn what_is_exact_may_not_change() {
        assert_eq!(holds(Kind::Exact, (3, 0), (3, 0)), 100);
        assert_eq!(holds(Kind::Exact, (3, 0), (4, 0)), 0);
        assert_eq!(holds(Kind::Multiply, (i64::MAX - 1, 1), (i64::MAX, 1)), 0);
    }
}
