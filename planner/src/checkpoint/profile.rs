//! What is alive in a stream, part by part of each pass through the model.
//!
//! ```text
//! cuts        where calls of candidates begin and end, in forward order: c0 < c1 < ...
//! segments    what lies between: segment k ends at cut k; backward visits them the other way, by its nodes' sequence numbers
//! window      one forward with its backward
//! ```

use rustc_hash::FxHashSet;

use crate::graph::ModuleId;
use crate::lower::timeline::{Mark, Timeline};
use crate::trace::{Event, Trace};

/// Live bytes in one pass through the model and back; sizes are rounded as the allocator does at least, to 512 bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    /// The most in each segment's forward.
    pub forward: Vec<u64>,
    /// The most in each segment's backward.
    pub backward: Vec<u64>,
    /// At each cut in forward.
    pub at_forward: Vec<u64>,
    /// At each cut in backward: when all after it is done.
    pub at_backward: Vec<u64>,
}

/// Live bytes of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Profile {
    /// The passes through the model.
    pub windows: Vec<Window>,
    /// The most outside them.
    pub outside: u64,
    /// The cuts of a pass: the candidates' calls as they begin (true) and end.
    pub cuts: Vec<(ModuleId, bool)>,
}

/// Where a stream is.
#[derive(Clone, Copy)]
enum Place {
    Outside,
    Forward,
    Backward(usize),
}

/// Reads a run's profile off its stream.
pub(super) fn profile(stream: &Trace, timeline: &Timeline, candidates: &FxHashSet<ModuleId>) -> Profile {
    let mut reader =
        Reader { profile: Profile::default(), sequences: Vec::new(), place: Place::Outside, live: 0, candidates };
    let mut marks = timeline.marks.iter().peekable();
    // a call ends when its caller has let go of what its result takes the place of
    let mut ended: Vec<Mark> = Vec::new();
    for (number, event) in stream.events().enumerate() {
        while let Some((_, mark)) = marks.next_if(|(at, _)| *at <= number) {
            if matches!(mark, Mark::Exit(..)) {
                ended.push(*mark);
                continue;
            }
            ended.drain(..).for_each(|mark| reader.mark(mark));
            reader.mark(*mark);
        }
        if !matches!(event, Event::Free(_, _)) {
            ended.drain(..).for_each(|mark| reader.mark(mark));
        }
        match event {
            Event::Allocate(id) => reader.live += rounded(stream.allocation(id).bytes.0),
            Event::Free(id, _) => reader.live -= rounded(stream.allocation(id).bytes.0),
            Event::Becomes(..) | Event::Phase(_) => continue,
        }
        reader.note();
    }
    ended.iter().chain(marks.map(|(_, mark)| mark)).for_each(|mark| reader.mark(*mark));
    reader.profile
}

/// The most that is alive in a stream, in the same sizes.
pub(super) fn peak(stream: &Trace) -> u64 {
    stream.most_alive(|bytes| rounded(bytes.0))
}

fn rounded(bytes: u64) -> u64 {
    bytes.div_ceil(512) * 512
}

struct Reader<'a> {
    profile: Profile,
    /// The sequence number of autograd's next node at each cut of the window.
    sequences: Vec<u64>,
    place: Place,
    live: u64,
    candidates: &'a FxHashSet<ModuleId>,
}

impl Reader<'_> {
    fn mark(&mut self, mark: Mark) {
        match (mark, self.place) {
            (Mark::Enter(ModuleId(0), _), _) => {
                self.profile.windows.push(Window { forward: vec![0], ..Window::default() });
                self.sequences.clear();
                self.place = Place::Forward;
            }
            (Mark::Enter(module, sequence), Place::Forward) => self.cut(module, true, sequence),
            (Mark::Exit(module, sequence), Place::Forward) => self.cut(module, false, sequence),
            (Mark::Node(sequence), _) => self.node(sequence),
            (Mark::Done, _) => {
                if let Some(window) = self.profile.windows.last_mut() {
                    let live = self.live;
                    window.at_backward.resize(self.sequences.len(), live);
                    window.at_backward.reverse();
                }
                self.place = Place::Outside;
            }
            _ => {}
        }
        // what the last node leaves until the engine returns was alive while it ran
        if !matches!(self.place, Place::Outside) {
            self.note();
        }
    }

    fn cut(&mut self, module: ModuleId, begins: bool, sequence: u64) {
        if !self.candidates.contains(&module) {
            return;
        }
        let first = self.profile.windows.len() == 1;
        let Some(window) = self.profile.windows.last_mut() else { return };
        if first {
            self.profile.cuts.push((module, begins));
        }
        window.at_forward.push(self.live);
        window.forward.push(0);
        self.sequences.push(sequence);
    }

    /// Cuts whose later side is done are noted from the last to the first.
    fn node(&mut self, sequence: u64) {
        let segment = self.sequences.partition_point(|cut| *cut <= sequence);
        let Some(window) = self.profile.windows.last_mut() else { return };
        window.backward.resize(self.sequences.len() + 1, 0);
        let done = self.sequences.len() - segment;
        if window.at_backward.len() < done {
            window.at_backward.resize(done, self.live);
        }
        self.place = Place::Backward(segment);
    }

    fn note(&mut self) {
        let most = match (self.place, self.profile.windows.last_mut()) {
            (Place::Forward, Some(window)) => window.forward.last_mut(),
            (Place::Backward(segment), Some(window)) => window.backward.get_mut(segment),
            _ => None,
        };
        let most = most.unwrap_or(&mut self.profile.outside);
        *most = (*most).max(self.live);
    }
}
