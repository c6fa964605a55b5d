//! What is refused, that the time limit is kept, and the ends of the range.

use std::time::{Duration, Instant};

use crate::support::{Random, buffer, rectangle, scattered, training};
use packing::{Buffer, BufferError, Fault, Goal, LARGEST, Options, Status, pack, validate};

#[test]
fn the_time_limit_is_kept() {
    for (count, limit) in [(20_000, 0), (20_000, 300), (4_000, 300), (400, 300)] {
        let buffers = rectangle(&mut Random::new(3), 100_000, 1 << 20, count);
        let begin = Instant::now();
        let time_limit = Duration::from_millis(limit);
        let packing = pack(&buffers, &Options { time_limit, ..Options::default() }).unwrap();
        // Ten times what is promised, since a test machine may be busy.
        assert!(begin.elapsed() < time_limit + Duration::from_secs(1), "{count}: {:?}", begin.elapsed());
        validate(&buffers, &packing.offsets).unwrap();
    }
}

#[test]
fn a_training_step_is_packed() {
    let buffers = training(&mut Random::new(1), 162);
    let packing = pack(&buffers, &Options { alignment: 512, ..Options::default() }).unwrap();
    assert_eq!(packing.status, Status::OptimalBound);
    validate(&buffers, &packing.offsets).unwrap();
}

#[test]
fn many_scattered_buffers_end_near_the_bound() {
    for seed in 0..3 {
        let buffers = scattered(&mut Random::new(seed), 6_000, 6_000, 60);
        let packing = pack(&buffers, &Options { time_limit: Duration::from_secs(600), ..Options::default() }).unwrap();
        validate(&buffers, &packing.offsets).unwrap();
        assert!(packing.peak * 50 <= packing.lower_bound * 51, "{} above {}", packing.peak, packing.lower_bound);
        assert!(matches!(packing.status, Status::Feasible | Status::OptimalBound), "{}", packing.status);
    }
}

#[test]
fn no_part_waits_for_the_search_of_another() {
    let mut buffers = rectangle(&mut Random::new(1), 10_000, 1 << 20, 2_000);
    let later = rectangle(&mut Random::new(2), 10_000, 1 << 20, 2_000);
    buffers
        .extend(later.iter().enumerate().map(|(n, b)| buffer(2_000 + n, 10_000 + b.lower, 10_000 + b.upper, b.size)));
    let time_limit = Duration::from_secs(2);
    let packing = pack(&buffers, &Options { time_limit, ..Options::default() }).unwrap();
    validate(&buffers, &packing.offsets).unwrap();
    assert!(packing.peak < 2 * packing.lower_bound, "{}", packing.peak);
}

#[test]
fn a_capacity_below_the_bound_is_infeasible() {
    let buffers = [buffer(0, 0, 2, 6), buffer(1, 1, 3, 6)];
    let within = |bytes| pack(&buffers, &Options { goal: Goal::Capacity(bytes), ..Options::default() }).unwrap();
    assert_eq!((within(11).status, within(11).lower_bound), (Status::Infeasible, 12));
    assert_eq!(within(12).status, Status::OptimalBound);
    assert_eq!(within(u64::MAX).peak, 12);
    let tight = rectangle(&mut Random::new(0), 1_000, 1_024, 300);
    let unsearched = Options { goal: Goal::Capacity(1_024), search: false, ..Options::default() };
    assert_eq!(pack(&tight, &unsearched).unwrap().status, Status::NotFound);
}

#[test]
fn nothing_and_what_takes_nothing() {
    let empty = pack(&[], &Options::default()).unwrap();
    assert_eq!((empty.peak, empty.status), (0, Status::OptimalBound));
    let buffers = [buffer(0, 0, 2, 0), buffer(1, 0, 2, LARGEST - 8)];
    let packing = pack(&buffers, &Options::default()).unwrap();
    assert_eq!((packing.peak, packing.offsets), (LARGEST - 8, vec![0, 0]));
    let fixed = [Buffer { offset: Some(100), ..buffer(0, 0, 2, 0) }, buffer(1, 0, 2, 8)];
    let within = |bytes| pack(&fixed, &Options { goal: Goal::Capacity(bytes), ..Options::default() }).unwrap();
    assert_eq!((within(99).status, within(100).status), (Status::Infeasible, Status::OptimalBound));
}

#[test]
fn buffers_without_sense_are_refused() {
    let refused = |buffers: &[Buffer]| pack(buffers, &Options::default()).unwrap_err().to_string();
    assert_eq!(refused(&[buffer(7, 5, 5, 1)]), "buffer `7`: upper 5 is not above lower 5");
    assert_eq!(refused(&[buffer(7, 0, 1, 1), buffer(7, 0, 1, 1)]), "two buffers have the id `7`");
    assert!(refused(&[buffer(7, 0, 1, LARGEST + 1)]).ends_with("is above 2^60 bytes"));
    assert_eq!(refused(&[buffer(1, 0, 1, LARGEST), buffer(2, 0, 1, LARGEST)]), BufferError::SumTooLarge.to_string());
    let at = |id, offset, alignment| Buffer { offset: Some(offset), alignment: Some(alignment), ..buffer(id, 0, 1, 4) };
    assert!(refused(&[at(1, 0, 0)]).ends_with("the alignment is 0"));
    assert!(refused(&[at(1, 6, 4)]).ends_with("the offset 6 is no multiple of the alignment 4"));
    assert_eq!(refused(&[at(1, 0, 1), at(2, 3, 1)]), "buffers `1` and `2` are fixed at places that overlap");
    let extremes = [Buffer { lower: i64::MIN, upper: i64::MAX, ..buffer(0, 0, 1, 4) }];
    assert_eq!(pack(&extremes, &Options::default()).unwrap().peak, 4);
    let zero = Options { alignment: 0, ..Options::default() };
    assert!(pack(&[buffer(1, 0, 1, 1)], &zero).is_err());
}

#[test]
fn the_checker_sees_every_fault() {
    let buffers = [buffer(0, 0, 2, 4), Buffer { alignment: Some(4), ..buffer(1, 1, 3, 4) }, buffer(2, 2, 4, 4)];
    assert_eq!(validate(&buffers, &[0, 4, 0]), Ok(()));
    let overlap = |one: &str, other: &str| Fault::Overlap { one: one.to_owned(), other: other.to_owned() };
    assert_eq!(validate(&buffers, &[1, 4, 0]), Err(overlap("0", "1")));
    assert_eq!(validate(&buffers, &[0, 4, 7]), Err(overlap("1", "2")));
    assert_eq!(validate(&buffers, &[0, 4]), Err(Fault::Count { buffers: 3, offsets: 2 }));
    assert!(matches!(validate(&buffers, &[0, 6, 0]), Err(Fault::Misaligned { offset: 6, alignment: 4, .. })));
    assert!(matches!(validate(&buffers, &[0, 4, u64::MAX]), Err(Fault::Overflow { .. })));
    let fixed = [Buffer { offset: Some(8), ..buffer(0, 0, 2, 4) }];
    assert!(matches!(validate(&fixed, &[0]), Err(Fault::Moved { offset: 0, fixed: 8, .. })));
}
