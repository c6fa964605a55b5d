//! Bounds of a run out of plans of its parts: the weights alone, and a stand-in for what is done with them.
//!
//! ```text
//!            load | forward | backward | optimizer | ...          each phase:
//! weights      ▂       ▂         ▅          █                     at least:  the least of the weights + the most of the lean one
//! stand-in     ▁       ▆         ▆          ▁                     at most:   the most of the weights + the most of the rich one
//! ```

use std::sync::Arc;

use crate::allocate::observe;
use crate::bytes::Bytes;
use crate::plan::Plan;
use crate::replay::UNLIMITED;
use crate::trace::{ByCategory, Category, Cursor, Event};

/// A lower and an upper bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range<T> {
    /// What it is at least.
    pub low: T,
    /// What it is at most.
    pub high: T,
}

/// The phases in which an optimizer works through all weights: what they take there is the model's, whatever it is.
const OF_OPTIMIZERS: [&str; 3] = ["load", "clip", "optimizer"];

/// A segment of small blocks and one of large ones (c10/cuda/CUDACachingAllocator.h, kSmallBuffer and kLargeBuffer).
const BEGUN: Bytes = Bytes(22 << 20);

/// What is alive over a phase.
#[derive(Clone, Debug)]
struct Span {
    name: Arc<str>,
    /// Parameters, gradients and optimizer states, at least.
    weights: Bytes,
    /// All but cuBLAS's workspaces at most, as it is asked for and as it is allocated.
    without_workspace: Range<Bytes>,
    /// All but these, the parameters, gradients and optimizer states at most, likewise.
    others: Range<Bytes>,
}

/// A plan's phases, and its figures as a whole.
#[derive(Clone, Debug)]
pub struct Spans {
    spans: Vec<Span>,
    /// How many parameters there are.
    pub parameters: u64,
    /// The most bytes of parameters and of buffers.
    pub weights: Bytes,
    /// The most bytes of gradients.
    pub gradients: Bytes,
    /// The most bytes of optimizer states.
    pub states: Bytes,
    /// The most bytes of cuBLAS's workspaces.
    workspace: Bytes,
    /// The most bytes of keys and values.
    pub cache: Bytes,
    /// What is reserved at most beside what parameters, gradients and optimizer states take then.
    reserved_beside: Bytes,
    reserved: Bytes,
}

impl Spans {
    /// Looks through a plan.
    pub fn of(plan: &Plan) -> Spans {
        let mut cursor = Cursor::new(&plan.trace);
        let (mut spans, mut current) = (Vec::new(), None::<Span>);
        let mut most = [Bytes(0); 4];
        let mut beside = Bytes(0);
        let outcome = observe(&plan.trace, &plan.replay.options, Some(UNLIMITED), |_, allocator, _| {
            let Some((_, event)) = cursor.step() else { return };
            let (bytes, stats) = (cursor.bytes(), allocator.stats());
            let now = Span::at(bytes, stats.allocated);
            let of_weights = of_weights(bytes);
            beside = beside.max(less(stats.reserved, of_weights));
            let own = [Category::Parameters, Category::Gradients, Category::OptimizerStates, Category::Workspace];
            own.iter().zip(&mut most).for_each(|(category, most)| *most = (*most).max(bytes.of(*category)));
            match &mut current {
                Some(span) => span.widen(&now),
                None => current = Some(now.clone()),
            }
            if let Event::Phase(number) = event {
                let name = plan.trace.phases.get(number as usize).map(|phase| phase.name.clone());
                spans.extend(current.take().map(|span| Span { name: name.unwrap_or_default(), ..span }));
                current = Some(now);
            }
        });
        let [weights, gradients, states, workspace] = most;
        Spans {
            spans,
            parameters: plan.parameters().count,
            weights,
            gradients,
            states,
            workspace,
            cache: plan.most_cached().total(),
            reserved_beside: beside,
            reserved: outcome.peak_reserved,
        }
    }

    /// The most of all but the weights, gradients and optimizer states, as it is asked for.
    pub fn others_asked(&self) -> Bytes {
        self.spans.iter().map(|span| span.others.low).max().unwrap_or_default()
    }

    /// The same, as it is allocated.
    pub fn others_allocated(&self) -> Bytes {
        self.spans.iter().map(|span| span.others.high).max().unwrap_or_default() + self.workspace
    }
}

impl Span {
    fn at(bytes: &ByCategory, allocated: Bytes) -> Span {
        let (weights, total) = (of_weights(bytes), bytes.total());
        let workspace = bytes.of(Category::Workspace); // other kernels have another one, and at another time
        Span {
            name: Arc::default(),
            weights,
            without_workspace: Range { low: less(total, workspace), high: less(allocated, workspace) },
            others: Range { low: less(total, weights + workspace), high: less(allocated, weights + workspace) },
        }
    }

    fn widen(&mut self, now: &Span) {
        let larger = |most: &mut Range<Bytes>, now: Range<Bytes>| {
            *most = Range { low: most.low.max(now.low), high: most.high.max(now.high) };
        };
        self.weights = self.weights.min(now.weights);
        larger(&mut self.without_workspace, now.without_workspace);
        larger(&mut self.others, now.others);
    }
}

fn of_weights(bytes: &ByCategory) -> Bytes {
    bytes.of(Category::Parameters) + bytes.of(Category::Gradients) + bytes.of(Category::OptimizerStates)
}

fn less(all: Bytes, part: Bytes) -> Bytes {
    Bytes(all.0.saturating_sub(part.0))
}

/// What is allocated and what is reserved at the peak, of weights with a stand-in: at least by the first, at most by the second. Where the
/// weights are trained, their phases are those of the stand-in; else they stay as they are.
pub fn composed(
    (least, lean, trains_least): (&Spans, &Spans, bool),
    (most, rich, trains): (&Spans, &Spans, bool),
) -> (Range<Bytes>, Range<Bytes>) {
    let of = |weights: &Spans, stand_in: &Spans, trains: bool, sum: &dyn Fn(&Span, &Span) -> Bytes| {
        let last = weights.spans.len().saturating_sub(1);
        let numbered = stand_in.spans.iter().enumerate();
        let sums = numbered.filter_map(|(number, span)| {
            let place = if trains || number == 0 { number } else { last };
            Some(sum(weights.spans.get(place)?, span))
        });
        sums.max().unwrap_or_default()
    };
    let low = of(least, lean, trains_least, &|weights, stand_in| {
        let together = weights.weights + stand_in.others.low;
        let by_optimizer = OF_OPTIMIZERS.contains(&&*weights.name);
        if by_optimizer { together.max(weights.without_workspace.low) } else { together }
    });
    let high = of(most, rich, trains, &|weights, stand_in| weights.without_workspace.high + stand_in.others.high);
    let high = high + rich.workspace;
    // as if both had pools of their own, and each pool a segment more that is begun
    let reserved = (most.reserved + rich.reserved_beside).max(high) + BEGUN;
    (Range { low, high }, Range { low, high: reserved })
}
