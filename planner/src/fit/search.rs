//! The largest size that fits.
//!
//! Peaks grow with a size, but not always: alignment chooses kernels, and what is cached chooses blocks. So the answer is said
//! of a boundary that was planned on both sides:
//!
//! ```text
//! sizes    1 ... answer | answer + 1 ... answer + BEYOND
//!                 fits  |  none of these fits
//! ```
//!
//! A bracket (one end fits, the other does not) comes from doubling. It narrows at a guess on the line through the peaks of its
//! ends; from the guess steps double towards the boundary, so that a wrong guess costs the logarithm of its distance.

use crate::bytes::Bytes;

/// How many sizes beyond the answer are planned: one of each remainder by 8, which decides how tensors are aligned.
pub const BEYOND: u64 = 8;

/// What a size comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Judged {
    /// Whether it fits.
    pub fits: bool,
    /// Its peak without a limit; None where the run is refused.
    pub peak: Option<Bytes>,
}

/// The answer, if any size fits: the one that is given, or one of the first. Several sizes are judged at once where all of them
/// are likely to be needed.
pub(super) fn largest(given: u64, capacity: Bytes, mut judge: impl FnMut(&[u64]) -> Vec<Judged>) -> Option<u64> {
    let mut one = |size: u64| judge(&[size])[0];
    let (low, high) =
        if one(given).fits { (given, None) } else { ((1..=BEYOND).find(|size| one(*size).fits)?, Some(given)) };
    let mut answer = boundary(low, high.filter(|high| *high > low), capacity, &mut one);
    loop {
        let beyond: Vec<u64> = (answer + 1..=answer + BEYOND).collect();
        let judged = judge(&beyond);
        let Some(place) = judged.iter().position(|judged| judged.fits) else { return Some(answer) };
        // Aligned sizes may fit far beyond the others: the search goes on among those with the same remainder.
        let size = |number: u64| beyond[place].saturating_add((number - 1).saturating_mul(BEYOND));
        answer = size(boundary(1, None, capacity, &mut |number| judge(&[size(number)])[0]));
    }
}

/// A size that fits, from `low` on, where the next does not; `high` does not fit.
fn boundary(mut low: u64, mut high: Option<u64>, capacity: Bytes, judge: &mut impl FnMut(u64) -> Judged) -> u64 {
    loop {
        let Some(end) = high else {
            let doubled = low.saturating_mul(2);
            match judge(doubled).fits {
                true => low = doubled,
                false => high = Some(doubled),
            }
            continue;
        };
        if end - low <= 1 {
            return low;
        }
        let guess = between((low, judge(low).peak), (end, judge(end).peak), capacity);
        (low, high) = close_in(low, guess, end, judge);
    }
}

/// The size at which the line through two peaks meets the capacity; the middle where it is not known.
fn between(low: (u64, Option<Bytes>), high: (u64, Option<Bytes>), capacity: Bytes) -> u64 {
    let span = high.0 - low.0;
    let share = match (low.1, high.1) {
        (Some(least), Some(most)) if most > least => {
            (capacity.0 as f64 - least.0 as f64) / (most.0 as f64 - least.0 as f64)
        }
        _ => 0.5,
    };
    (low.0 + (span as f64 * share.clamp(0.0, 1.0)) as u64).clamp(low.0 + 1, high.0 - 1)
}

/// The bracket after steps from the guess towards the boundary, each twice as long as the one before.
fn close_in(low: u64, guess: u64, high: u64, judge: &mut impl FnMut(u64) -> Judged) -> (u64, Option<u64>) {
    let (mut at, mut step) = (guess, 1);
    let rises = judge(guess).fits;
    loop {
        let next = if rises { at.saturating_add(step).min(high) } else { at.saturating_sub(step).max(low) };
        let same = match next {
            _ if next == high => false,
            _ if next == low => true,
            _ => judge(next).fits,
        };
        match (rises, same) {
            (true, false) => return (at, Some(next)),
            (false, true) => return (next, Some(at)),
            _ => (at, step) = (next, step * 2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answer over peaks that a function gives, and how many sizes were looked at.
    fn over(given: u64, capacity: u64, peak: impl Fn(u64) -> Option<u64>) -> (Option<u64>, usize) {
        let mut looked = std::collections::BTreeSet::new();
        let answer = largest(given, Bytes(capacity), |sizes| {
            looked.extend(sizes.iter().copied());
            let judged = |size: &u64| {
                let peak = peak(*size);
                Judged { fits: peak.is_some_and(|peak| peak <= capacity), peak: peak.map(Bytes) }
            };
            sizes.iter().map(judged).collect()
        });
        (answer, looked.len())
    }

    #[test]
    fn the_boundary_is_found_wherever_the_search_begins() {
        for given in [1, 2, 7, 100, 12_345, 1 << 40] {
            assert_eq!(over(given, 1000, |size| Some(10 * size)).0, Some(100), "{given}");
            assert_eq!(over(given, 1000, |size| size.checked_mul(size)).0, Some(31), "{given}");
            assert_eq!(over(given, 1000, |size| (size <= 64).then_some(size)).0, Some(64), "{given}");
            assert_eq!(over(given, 10, |size| Some(size + 10)).0, None, "{given}");
        }
    }

    #[test]
    fn few_sizes_are_looked_at() {
        let (answer, looked) = over(1, 1 << 40, |size| Some((3 << 20) + size * 1_000_003));
        assert_eq!(answer, Some(((1_u64 << 40) - (3 << 20)) / 1_000_003));
        assert!(looked < 64, "{looked}");
    }

    /// Odd sizes take more: the boundary between an even size and the odd one behind it is not the end.
    #[test]
    fn sizes_that_fit_beyond_the_first_that_does_not_are_found() {
        let odd = |size: u64| Some(size * 10 + if size.is_multiple_of(8) { 0 } else { 60 });
        for given in [1, 90, 96, 97, 200] {
            assert_eq!(over(given, 960, odd).0, Some(96), "{given}");
        }
    }

    /// Sizes that are no multiples of 8 take far more: a search that goes on one by one would never end.
    #[test]
    fn aligned_sizes_far_beyond_the_others_are_found_at_once() {
        let aligned = |size: u64| Some(if size.is_multiple_of(8) { size } else { 1000 * size });
        for given in [1, 8, 4096, 1 << 30] {
            let (answer, looked) = over(given, 1 << 20, aligned);
            assert_eq!(answer, Some(1 << 20), "{given}");
            assert!(looked < 200, "{given}: {looked}");
        }
    }

    #[test]
    fn one_may_be_refused_where_two_are_not() {
        assert_eq!(over(1, 100, |size| (size > 1).then_some(size * 10)).0, Some(10));
    }
}
