//! Where a model has no blocks: the runs of calls between places that a single tensor passes.
//!
//! ```text
//! x -> enc1 -> e -> pool -> ... -> up1 -> u -> cat(u, e) -> c -> dec1
//! dominators     e is on all ways from x to u, e and c on all to what dec1 gives
//! cut points     the tensors of a way down the tree of dominators: x, e, c, ...; e, ..., u, which the skip goes past
//! segments       the calls from one cut point to the next, and 2, 4, 8, ... of those together
//! ```
//!
//! A tree of dominators is that of petgraph (Cooper, Harvey and Kennedy, A Simple, Fast Dominance Algorithm). A segment is one
//! where nothing but the one tensor goes in and nothing but the other comes out, so that it can be run as a function
//! (torch/utils/checkpoint.py, `checkpoint_sequential`, does the same with the children of a Sequential).

use petgraph::algo::dominators::simple_fast;
use petgraph::graph::{DiGraph, NodeIndex};
use rustc_hash::FxHashMap;

use super::lives::Lives;
use super::spans::{Level, levels};
use super::{Graph, ModuleId, TensorId};

/// The most segments that a way down the tree is cut into: where there are more cut points, several are passed at a time.
const FINEST: usize = 256;

/// Calls between two cut points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The path of the module where the call of one is all of it; else a run of calls, `FIRST..LAST`.
    pub path: String,
    /// Whether no cut point lies within, as far as they are told apart.
    pub finest: bool,
}

/// The segments of a forward pass, those of each module's code; two of them lie apart or one in the other.
pub fn segments(graph: &Graph) -> Vec<Segment> {
    let lives = Lives::of(graph);
    let levels = levels(graph);
    let of_code = levels.iter().filter(|level| level.pass == 0);
    of_code.flat_map(|level| Code::of(graph, &lives, level).segments()).collect()
}

/// What the calls of a module's code take and give, their tensors numbered.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// Of each call, in order: what it takes and what it gives.
    pub calls: Vec<(Vec<usize>, Vec<usize>)>,
    /// How many tensors there are.
    pub tensors: usize,
}

impl Flow {
    /// The call that makes each tensor; None of those that come from outside.
    pub fn makers(&self) -> Vec<Option<usize>> {
        let mut makers = vec![None; self.tensors];
        for (call, (_, gives)) in self.calls.iter().enumerate() {
            gives.iter().for_each(|tensor| makers[*tensor] = Some(call));
        }
        makers
    }

    /// Of each tensor the last one that all ways to it pass; None where there is none.
    pub fn dominators(&self) -> Vec<Option<usize>> {
        let makers = self.makers();
        let mut graph: DiGraph<(), ()> = DiGraph::new();
        let source = graph.add_node(());
        let tensors: Vec<NodeIndex> = (0..self.tensors).map(|_| graph.add_node(())).collect();
        let number = |node: NodeIndex| node.index().checked_sub(1).filter(|number| *number < self.tensors);
        for (tensor, _) in makers.iter().enumerate().filter(|(_, maker)| maker.is_none()) {
            graph.add_edge(source, tensors[tensor], ());
        }
        for (takes, gives) in &self.calls {
            let call = graph.add_node(());
            graph.extend_with_edges(takes.iter().map(|tensor| (tensors[*tensor], call)));
            graph.extend_with_edges(gives.iter().map(|tensor| (call, tensors[*tensor])));
        }
        let tree = simple_fast(&graph, source);
        let nearest = |node: &NodeIndex| tree.strict_dominators(*node)?.find_map(number);
        tensors.iter().map(nearest).collect()
    }

    /// The ways down the tree of dominators, each from the tensor at which it leaves another one: at each tensor the way goes
    /// on to what is made last.
    pub fn ways(&self) -> Vec<Vec<usize>> {
        let makers = self.makers();
        let mut below: FxHashMap<usize, Vec<usize>> = FxHashMap::default();
        let mut ways = Vec::new();
        for (tensor, dominator) in self.dominators().into_iter().enumerate() {
            match dominator {
                Some(dominator) => below.entry(dominator).or_default().push(tensor),
                None if makers[tensor].is_none() => ways.push(vec![tensor]),
                None => {}
            }
        }
        below.values_mut().for_each(|tensors| tensors.sort_by_key(|tensor| makers[*tensor]));
        let mut next = 0;
        while let Some(way) = ways.get_mut(next) {
            next += 1;
            let mut aside = Vec::new();
            while let Some((last, others)) = way.last().and_then(|at| below.get(at)?.split_last()) {
                aside.extend(others.iter().map(|tensor| (way.last().copied(), *tensor)));
                way.push(*last);
            }
            ways.extend(aside.into_iter().map(|(from, tensor)| from.into_iter().chain([tensor]).collect()));
        }
        ways
    }
}

/// The code of a module, as one call of it ran.
struct Code<'a> {
    graph: &'a Graph,
    lives: &'a Lives,
    level: &'a Level,
    flow: Flow,
    tensors: Vec<TensorId>,
    makers: Vec<Option<usize>>,
}

impl<'a> Code<'a> {
    fn of(graph: &'a Graph, lives: &'a Lives, level: &'a Level) -> Code<'a> {
        let mut numbers: FxHashMap<TensorId, usize> = FxHashMap::default();
        let mut tensors = Vec::new();
        let mut number = |tensor: TensorId| {
            *numbers.entry(tensor).or_insert_with(|| {
                tensors.push(tensor);
                tensors.len() - 1
            })
        };
        let mut flow = Flow::default();
        for item in &level.items {
            let takes = lives.taken(graph, &item.steps).into_iter().map(&mut number).collect();
            let gives = lives.given(graph, &item.steps, level.end).into_iter().map(&mut number).collect();
            flow.calls.push((takes, gives));
        }
        flow.tensors = tensors.len();
        let makers = flow.makers();
        Code { graph, lives, level, flow, tensors, makers }
    }

    /// Whether no call after it works in place on a tensor, which would not be the same in a second run.
    fn stays(&self, tensor: usize) -> bool {
        let after = self.makers[tensor].map_or(0, |maker| maker + 1);
        let mut items = self.level.items[after..].iter();
        !items.any(|item| self.lives.works_on(self.graph, &item.steps, self.tensors[tensor]))
    }

    /// The calls from one tensor to another, if nothing else goes in or comes out.
    fn between(&self, from: usize, to: usize) -> Option<(usize, usize)> {
        let last = self.makers[to]?;
        let after = self.makers[from].map_or(0, |maker| maker + 1);
        let first = (after..=last).find(|call| self.flow.calls[*call].0.contains(&from))?;
        let steps = self.level.items[first].steps.start..self.level.items[last].steps.end;
        let through = self.lives.one_to_one(self.graph, &steps, self.level.end).ok()?;
        (through == (self.tensors[from], self.tensors[to])).then_some((first, last))
    }

    /// What these calls are called; None of a single one that is no module, or one of several of the same.
    fn path(&self, (first, last): (usize, usize)) -> Option<String> {
        let [one, other] = [first, last].map(|call| &self.level.items[call]);
        if first < last {
            return Some(format!("{}..{}", one.name, other.name));
        }
        let called_once = |module: ModuleId| {
            let [module, model] = [module, ModuleId(0)].map(|id| &self.graph.modules[id.index()]);
            (module.calls == model.calls && module.gives_tensors).then(|| module.path.clone())
        };
        one.module.and_then(called_once)
    }

    fn segments(&self) -> Vec<Segment> {
        let (mut known, mut found): (Vec<(usize, usize)>, Vec<Segment>) = Default::default();
        let apart = |one: (usize, usize), other: (usize, usize)| {
            let lies_in = |inner: (usize, usize), outer: (usize, usize)| outer.0 <= inner.0 && inner.1 <= outer.1;
            one.1 < other.0 || other.1 < one.0 || (one != other && (lies_in(one, other) || lies_in(other, one)))
        };
        for (width, from, to) in self.pairs() {
            let Some(run) = self.between(from, to).filter(|run| known.iter().all(|other| apart(*run, *other))) else {
                continue;
            };
            known.push(run);
            found.extend(self.path(run).map(|path| Segment { path, finest: width == 1 }));
        }
        found
    }

    /// Pairs of cut points with how many segments lie between, near ones first.
    fn pairs(&self) -> Vec<(usize, usize, usize)> {
        let mut pairs = Vec::new();
        for way in self.flow.ways() {
            let goes_past = self.makers[way[0]].is_some();
            let mut cuts: Vec<usize> = way.into_iter().filter(|tensor| self.stays(*tensor)).collect();
            let at_once = (cuts.len() / FINEST).max(1);
            let last = cuts.len().saturating_sub(1);
            cuts = cuts
                .iter()
                .enumerate()
                .filter(|(at, _)| at % at_once == 0 || *at == last)
                .map(|(_, cut)| *cut)
                .collect();
            let count = cuts.len().saturating_sub(1);
            let mut width = 1;
            while width < count || width == 1 {
                let starts = (0..count).step_by(width);
                pairs.extend(starts.map(|at| (width, cuts[at], cuts[(at + width).min(count)])));
                width *= 2;
            }
            // all of the code is the module's call; all that a skip goes past is not
            pairs.extend((goes_past && count > 1).then(|| (count, cuts[0], cuts[count])));
        }
        pairs.sort_by_key(|(width, ..)| *width);
        pairs
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Flow;

    /// Calls as what they take; each gives the tensor of its number, after those that come from outside.
    fn flow(outside: usize, takes: &[&[usize]]) -> Flow {
        let calls = takes.iter().enumerate().map(|(call, takes)| (takes.to_vec(), vec![outside + call])).collect();
        Flow { calls, tensors: outside + takes.len() }
    }

    /// Whether a tensor can be reached from outside without passing another.
    fn is_reached(flow: &Flow, tensor: usize, without: Option<usize>) -> bool {
        let makers = flow.makers();
        let mut reached: Vec<bool> =
            (0..flow.tensors).map(|number| makers[number].is_none() && Some(number) != without).collect();
        for (takes, gives) in &flow.calls {
            if takes.iter().any(|taken| reached[*taken]) {
                gives.iter().filter(|given| Some(**given) != without).for_each(|given| reached[*given] = true);
            }
        }
        reached[tensor]
    }

    /// The last tensor without which this one is not reached: the one that all others of them come before.
    fn by_removal(flow: &Flow, tensor: usize) -> Option<usize> {
        let passed = |tensor: usize| -> Vec<usize> {
            let others = (0..flow.tensors).filter(|other| *other != tensor && is_reached(flow, tensor, None));
            others.filter(|other| !is_reached(flow, tensor, Some(*other))).collect()
        };
        let all = passed(tensor);
        all.iter().copied().find(|last| passed(*last).len() + 1 == all.len())
    }

    fn check(flow: &Flow) {
        let expected: Vec<Option<usize>> = (0..flow.tensors).map(|tensor| by_removal(flow, tensor)).collect();
        assert_eq!(flow.dominators(), expected, "{flow:?}");
    }

    #[test]
    fn a_chain_is_cut_everywhere() {
        let chain = flow(1, &[&[0], &[1], &[2]]);
        check(&chain);
        assert_eq!(chain.ways(), [[0, 1, 2, 3]]);
    }

    /// 1 and 2 within, 3 adds 0: what lies within is cut on its own way, the block's input and output on the main one.
    #[test]
    fn a_residual_goes_past_what_it_spans() {
        let block = flow(1, &[&[0], &[1], &[2, 0], &[3]]);
        check(&block);
        assert_eq!(block.ways(), [vec![0, 3, 4], vec![0, 1, 2]]);
    }

    /// Two skips, one within the other.
    #[test]
    fn a_u_net_is_cut_within_its_skips() {
        let net = flow(1, &[&[0], &[1], &[2], &[3], &[4], &[5, 3], &[6], &[7, 1], &[8]]);
        check(&net);
        assert_eq!(net.ways(), [vec![0, 1, 8, 9], vec![1, 2, 3, 6, 7], vec![3, 4, 5]]);
    }

    /// What depends on nothing from outside is on no way; two tensors from outside are joined by no cut point.
    #[test]
    fn constants_and_second_inputs_are_no_cut_points() {
        let net = flow(2, &[&[], &[0, 2], &[3, 1], &[4]]);
        check(&net);
        assert_eq!(net.dominators(), [None, None, None, Some(0), None, Some(4)]);
    }

    proptest! {
        #[test]
        fn dominators_are_what_removal_says(takes in prop::collection::vec(prop::collection::vec(0usize..40, 1..4), 1..14)) {
            let takes: Vec<Vec<usize>> = takes
                .into_iter()
                .enumerate()
                .map(|(call, takes)| takes.into_iter().map(|taken| taken % (call + 1)).collect())
                .collect();
            let takes: Vec<&[usize]> = takes.iter().map(Vec::as_slice).collect();
            check(&flow(1, &takes));
        }
    }
}
