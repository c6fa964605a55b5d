//! Iterations that leave all blocks as another left them: those between them come round, and are not played again.
//!
//! What the allocator does follows from its segments and blocks and from what it is asked. Where every iteration asks for the
//! same, and one did what another did so many iterations before and left the blocks that it left, with what outlives them in the
//! same places, the next ones do what those between the two did.

use super::block::BlockId;
use super::caching::CachingAllocator;
use super::simulate::PhaseFigures;
use super::snapshot::SegmentView;
use super::stats::Stats;
use super::steady::{At, Look, Player, survivors};
use crate::bytes::Bytes;
use crate::trace::Stretch;

/// The longest round that is looked for; after twice as many iterations without one no more are looked at.
const LONGEST: usize = 8;

/// What is known of a stretch whose iterations may come round.
pub(super) struct Settling {
    /// Allocations that outlive their iteration.
    survivors: Vec<usize>,
    /// The last iterations that were played, the last one last.
    played: Vec<Played>,
    /// How many were played.
    count: usize,
}

/// What an iteration did and left.
struct Played {
    left: Vec<SegmentView>,
    homes: Vec<Option<(u64, Bytes)>>,
    /// What the device was asked so far.
    asked: [u64; 4],
    /// What was allocated as it began.
    base: Bytes,
    /// What it had added after each event.
    added: Vec<i64>,
    /// The figures of the phases that ended.
    phases: Vec<PhaseFigures>,
}

impl Settling {
    /// Of a stretch whose iterations do not grow and may come round.
    pub fn of(stretch: &Stretch) -> Settling {
        Settling { survivors: survivors(stretch, |_| true), played: Vec::new(), count: 0 }
    }

    /// Plays an iteration, and those behind it that come round; gives how many. None where memory is out.
    pub fn play(&mut self, player: &mut Player<'_>, at: At<'_>, look: &mut impl Look) -> Option<usize> {
        let (base, phases) = (player.allocated(), player.outcome.phases.len());
        let (mut sum, mut added) = (0, Vec::with_capacity(at.stretch.pattern().len()));
        let goes_on = player.play(at, 0, look, |_, by| {
            sum += by;
            added.push(sum);
        });
        self.count += 1;
        if !goes_on {
            return None;
        }
        if self.count > 2 * LONGEST {
            return Some(1);
        }
        let homes = self.survivors.iter().map(|number| player.home(at, *number)).collect();
        let phases = player.outcome.phases[phases..].to_vec();
        let asked = asked(&player.allocator.stats);
        self.played.push(Played { left: left(player.allocator), homes, asked, base, added, phases });
        if self.played.len() > LONGEST + 1 {
            self.played.remove(0);
        }
        Some(1 + self.length().map_or(0, |round| self.pass(player, at, round, look)))
    }

    /// How many iterations come round, by those that were played.
    fn length(&self) -> Option<usize> {
        let (last, before) = self.played.split_last()?;
        let same = |round: &usize| {
            let other = &before[before.len() - round];
            // a phase's peak begins behind the last phase before it, in another iteration
            let did_same = other.asked == last.asked && other.added == last.added;
            did_same && other.homes == last.homes && other.left == last.left
        };
        (1..=before.len()).find(same)
    }

    /// Passes over as many iterations behind one as whole rounds have; gives how many.
    fn pass(&self, player: &mut Player<'_>, at: At<'_>, round: usize, look: &mut impl Look) -> usize {
        let left = at.stretch.times() - at.iteration - 1;
        let passed = left - left % round;
        let ended = at.stretch.phases_each();
        for number in 0..passed {
            let like = &self.played[self.played.len() - round + number % round];
            look.after_all(player.event, like.base, &like.added);
            player.event += like.added.len();
            let behind = ((number / round + 1) * round) as u32 * ended;
            let later = |figures: &PhaseFigures| PhaseFigures { phase: figures.phase + behind, ..*figures };
            player.outcome.phases.extend(like.phases.iter().map(later));
        }
        player.allocator.allocations += passed as u64 * at.stretch.width() as u64;
        player.hold_later(at, passed);
        passed
    }
}

fn asked(stats: &Stats) -> [u64; 4] {
    [stats.num_device_alloc, stats.num_device_free, stats.num_alloc_retries, stats.num_ooms]
}

/// The blocks, whatever their numbers.
fn left(allocator: &CachingAllocator) -> Vec<SegmentView> {
    let mut segments = allocator.snapshot();
    for block in segments.iter_mut().flat_map(|segment| &mut segment.blocks) {
        block.id = BlockId::EMPTY;
    }
    segments
}
