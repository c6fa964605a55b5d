//! A replay's last step in one arena: what stays is laid out first, what comes and goes is packed.

use std::time::Duration;

use packing::{Buffer, BufferError, Goal, Options, Packing, pack};

use crate::allocate::{OneArena, PhaseFigures, simulate};
use crate::bytes::Bytes;
use crate::replay::Replay;
use crate::trace::{Lifetime, Trace, last_step, whole_run};

/// What PyTorch's allocator rounds sizes to, in bytes (c10/cuda/CUDACachingAllocator.cpp, `kMinBlockSize`).
const ALIGNMENT: Bytes = Bytes(512);
/// How long a page's arena is looked for.
const QUICKLY: Duration = Duration::from_millis(500);
/// The most allocations of a run whose last step a page draws: each buffer is a line of it.
const MOST_DRAWN: usize = 500_000;

/// What is asked of an arena.
#[derive(Clone, Copy, Debug)]
pub struct ArenaOptions {
    /// What offsets and sizes are multiples of.
    pub alignment: Bytes,
    /// The size that is enough; None asks for the smallest.
    pub capacity: Option<Bytes>,
    /// How long the search may take.
    pub time_limit: Duration,
}

impl Default for ArenaOptions {
    fn default() -> ArenaOptions {
        ArenaOptions { alignment: ALIGNMENT, capacity: None, time_limit: Options::default().time_limit }
    }
}

/// A buffer with its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The buffer.
    pub life: Lifetime,
    /// Where it begins in the arena.
    pub offset: Bytes,
}

/// The last step of a run in one arena.
#[derive(Clone, Debug)]
pub struct Arena<'a> {
    /// The run's trace, and what the caching allocator makes of it.
    pub replay: &'a Replay,
    /// Its buffers; those that stay lie first.
    pub places: Vec<Placed>,
    /// The arena's size.
    pub size: Bytes,
    /// What of it is for those that stay.
    pub stays: Bytes,
    /// No arena is smaller.
    pub lower_bound: Bytes,
    /// What is known of the packing.
    pub status: &'static str,
    /// What offsets are multiples of.
    pub alignment: Bytes,
    /// The size that is enough, where one was given.
    pub capacity: Option<Bytes>,
    /// The caching allocator's peak allocated in that step.
    pub allocated: Bytes,
    /// Its peak reserved.
    pub reserved: Bytes,
    /// The same with expandable segments.
    pub expandable: Bytes,
}

impl<'a> Arena<'a> {
    /// The last step of a replay for a page, as small as it is found while somebody waits; None where a page could not show it.
    ///
    /// # Errors
    /// As `of`.
    pub fn to_draw(replay: &'a Replay) -> Result<Option<Arena<'a>>, BufferError> {
        let options = ArenaOptions { time_limit: QUICKLY, ..ArenaOptions::default() };
        let can_be_drawn = replay.trace.allocation_count() <= MOST_DRAWN;
        can_be_drawn.then(|| Arena::of(replay, &options)).transpose()
    }

    /// Packs the last step of a replay.
    ///
    /// # Errors
    /// An alignment or sizes that cannot be packed.
    pub fn of(replay: &'a Replay, options: &ArenaOptions) -> Result<Arena<'a>, BufferError> {
        let ArenaOptions { alignment, capacity, .. } = *options;
        let (lives, _) = last_step(&replay.trace);
        let (stays, passes): (Vec<Lifetime>, Vec<Lifetime>) = lives.into_iter().partition(|life| life.stays);
        let (mut places, base) = laid_out(&replay.trace, &stays, alignment);
        let Packing { offsets, peak, lower_bound, status, .. } = packed(&replay.trace, &passes, options, base)?;
        let placed = |(life, offset): (&Lifetime, &u64)| Placed { life: *life, offset: Bytes(base + offset) };
        places.extend(passes.iter().zip(&offsets).map(placed));
        let (allocated, reserved) = figures(&replay.whole().phases, &replay.trace);
        let growing = simulate(&replay.trace, &replay.options.clone().with_expandable_segments(), None);
        Ok(Arena {
            replay,
            places,
            size: Bytes(base + peak),
            stays: Bytes(base),
            lower_bound: Bytes(base + lower_bound),
            status: status.name(),
            alignment,
            capacity,
            allocated,
            reserved,
            expandable: figures(&growing.phases, &replay.trace).1,
        })
    }

    /// Whether it is small enough.
    pub fn fits(&self) -> bool {
        self.capacity.is_none_or(|capacity| self.size <= capacity)
    }

    /// The layout: buffers as a packer knows them, each with its offset.
    pub fn layout(&self) -> (Vec<Buffer>, Vec<u64>) {
        let buffer = |place: &Placed| (buffer(&self.replay.trace, &place.life, self.alignment), place.offset.0);
        self.places.iter().map(buffer).unzip()
    }
}

/// Packs everything that a trace allocates into one arena, for an allocator that knows it all from the start.
///
/// # Errors
/// Sizes that cannot be packed.
pub fn one_arena(trace: &Trace, options: &ArenaOptions) -> Result<OneArena, BufferError> {
    let lives = whole_run(trace);
    let Packing { offsets, peak, .. } = packed(trace, &lives, options, 0)?;
    Ok(OneArena::new(Bytes(peak), offsets.into_iter().map(Bytes).collect(), options.capacity))
}

/// Packs what lives, above so many bytes that are taken.
fn packed(trace: &Trace, lives: &[Lifetime], options: &ArenaOptions, taken: u64) -> Result<Packing, BufferError> {
    let ArenaOptions { alignment, capacity, time_limit } = *options;
    let goal = capacity.map_or(Goal::Minimize, |capacity| Goal::Capacity(capacity.0.saturating_sub(taken)));
    let options = Options { alignment: alignment.0, goal, time_limit, ..Options::default() };
    let buffers: Vec<Buffer> = lives.iter().map(|life| buffer(trace, life, alignment)).collect();
    pack(&buffers, &options)
}

/// In whole multiples of the alignment: what is left of the last one is of no use to others that begin at one.
fn buffer(trace: &Trace, life: &Lifetime, alignment: Bytes) -> Buffer {
    let size = trace.allocation(life.id).bytes.0.next_multiple_of(alignment.0);
    let (lower, upper) = (life.from as i64, life.until.max(life.from + 1) as i64);
    Buffer { id: life.id.index().to_string(), lower, upper, size, ..Buffer::default() }
}

/// Those that stay, one behind another, and where the last ends.
fn laid_out(trace: &Trace, stays: &[Lifetime], alignment: Bytes) -> (Vec<Placed>, u64) {
    let mut end = 0;
    let place = |life: &Lifetime| {
        let offset = end;
        end = (end + trace.allocation(life.id).bytes.0).next_multiple_of(alignment.0);
        Placed { life: *life, offset: Bytes(offset) }
    };
    (stays.iter().map(place).collect(), end)
}

/// The most that the caching allocator has allocated and reserved in the last step.
fn figures(phases: &[PhaseFigures], trace: &Trace) -> (Bytes, Bytes) {
    phases
        .iter()
        .filter(|figures| trace.is_of_last_step(figures.phase))
        .fold((Bytes(0), Bytes(0)), |(allocated, reserved), figures| {
            (allocated.max(figures.peak_allocated), reserved.max(figures.peak_reserved))
        })
}
