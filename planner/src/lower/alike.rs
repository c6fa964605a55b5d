//! Blocks of a model that do alike in an iteration: the first of each kind stands for the others.
//!
//! Two blocks do alike where they take the same steps over tensors of the same shapes, each tensor of one in the place of one of
//! the other. Then lowering one tells what the other asks for.

use rustc_hash::FxHashMap;

use crate::graph::{Dims, Graph, Growth, ModuleId, Op, OpId, Parameter, Repeat, Step, TensorId};

/// Which steps of an iteration stand for which.
pub(super) struct Alike {
    /// By step of the iteration: the one that stands for it, itself where none does.
    pub stands: Vec<usize>,
    /// Tensors that blocks make or find for which another block stands, with that one's.
    pub names: FxHashMap<TensorId, TensorId>,
}

/// A block's steps.
#[derive(Clone, Copy)]
struct Block {
    begin: usize,
    length: usize,
    module: ModuleId,
}

impl Alike {
    /// None where no block stands for another.
    pub fn of(graph: &Graph, repeat: &Repeat) -> Option<Alike> {
        let steps = &graph.steps[repeat.steps.clone()];
        let comparing = Comparing {
            graph,
            steps,
            growth: repeat.sizes.iter().map(|(tensor, by)| (*tensor, by)).collect(),
            integers: repeat.integers.iter().map(|(call, by)| (*call, &by[..])).collect(),
            parameters: graph.parameters.iter().map(|parameter| (parameter.tensor, parameter)).collect(),
        };
        let mut alike = Alike { stands: (0..steps.len()).collect(), names: FxHashMap::default() };
        let mut kinds: Vec<Block> = Vec::new();
        let mut found: FxHashMap<TensorId, TensorId> = FxHashMap::default();
        for (begin, end, module) in blocks(graph, steps) {
            let same = |kind: &Block| {
                // nothing shows where the last one ends
                let length = end.map_or(kind.length, |end| end - begin);
                let block = Block { begin, length, module };
                let pairs = (length == kind.length).then(|| comparing.pairs(*kind, block)).flatten()?;
                Some((*kind, pairs))
            };
            match kinds.iter().find_map(same) {
                None => kinds.extend(end.map(|end| Block { begin, length: end - begin, module })),
                Some((kind, pairs)) => {
                    (0..kind.length).for_each(|step| alike.stands[begin + step] = kind.begin + step);
                    alike.names.extend(pairs.made.iter().map(|(of_kind, own)| (*own, *of_kind)));
                    found.extend(pairs.of_kind.iter().map(|(own, of_kind)| (*own, *of_kind)));
                }
            }
        }
        let handed: FxHashMap<TensorId, TensorId> = repeat.carried.iter().copied().collect();
        for (from, to) in &repeat.carried {
            let Some(of_kind) = alike.names.get(from) else { continue };
            let of_kind = *handed.get(of_kind)?;
            if found.get(to).is_some_and(|found| *found != of_kind) {
                return None;
            }
            alike.names.insert(*to, of_kind);
        }
        (!alike.names.is_empty()).then_some(alike)
    }
}

/// Where the outermost blocks begin, and where the next one does.
fn blocks(graph: &Graph, steps: &[Step]) -> Vec<(usize, Option<usize>, ModuleId)> {
    let mut begins = Vec::new();
    let mut within: Option<ModuleId> = None;
    for (at, step) in steps.iter().enumerate() {
        match step {
            Step::Enter(module) if within.is_none() && graph.modules[module.index()].block => {
                let is_hooked = at > 0 && matches!(steps[at - 1], Step::EnterCall(_));
                begins.push((at - usize::from(is_hooked), *module));
                within = Some(*module);
            }
            Step::Exit(module) if within == Some(*module) => within = None,
            _ => {}
        }
    }
    let next = |number: usize| begins.get(number + 1).map(|(begin, _)| *begin);
    begins.iter().enumerate().map(|(number, (begin, module))| (*begin, next(number), *module)).collect()
}

struct Comparing<'a> {
    graph: &'a Graph,
    steps: &'a [Step],
    growth: FxHashMap<TensorId, &'a Growth>,
    /// By how much integers among a call's arguments grow.
    integers: FxHashMap<OpId, &'a [i64]>,
    parameters: FxHashMap<TensorId, &'a Parameter>,
}

/// Which tensor of a block stands in the place of which of another.
#[derive(Default)]
struct Pairs {
    /// The other's, by the kind's.
    own: FxHashMap<TensorId, TensorId>,
    /// The kind's, by the other's.
    of_kind: FxHashMap<TensorId, TensorId>,
    /// Those that the blocks make: the kind's, and the other's.
    made: Vec<(TensorId, TensorId)>,
}

impl Comparing<'_> {
    fn pairs(&self, kind: Block, other: Block) -> Option<Pairs> {
        let steps = |block: Block| self.steps.get(block.begin..block.begin + block.length);
        let mut pairs = Pairs::default();
        let by = other.module.0.checked_sub(kind.module.0)?;
        let same_module = |a: ModuleId, b: ModuleId| {
            let class = |module: ModuleId| &self.graph.modules[module.index()].class;
            (a == b || a.0 + by == b.0) && class(a) == class(b)
        };
        for (a, b) in steps(kind)?.iter().zip(steps(other)?) {
            let same = match (*a, *b) {
                (Step::Op(a), Step::Op(b)) if self.integers.get(&a) == self.integers.get(&b) => {
                    let (a, b) = (&self.graph.ops[a.index()], &self.graph.ops[b.index()]);
                    same_module(a.module, b.module) && self.same_call(a, b, &mut pairs)
                }
                (Step::Drop(a, here), Step::Drop(b, there)) => here == there && self.pair(a, b, &mut pairs),
                (Step::Enter(a), Step::Enter(b)) | (Step::Exit(a), Step::Exit(b)) => same_module(a, b),
                (Step::EnterCall(_), Step::EnterCall(_)) | (Step::ExitCall(_), Step::ExitCall(_)) => true,
                _ => false,
            };
            if !same {
                return None;
            }
        }
        Some(pairs)
    }

    fn same_call(&self, a: &Op, b: &Op, pairs: &mut Pairs) -> bool {
        let same = a.is_like(b, |a, b| self.pair(a, b, pairs), |a, b| a == b);
        let mut made = a.outputs.iter().zip(&b.outputs);
        same && made.all(|(a, b)| {
            pairs.made.push((*a, *b));
            self.pair(*a, *b, pairs)
        })
    }

    /// Whether a tensor can stand in the place of another, and does so wherever it is met.
    fn pair(&self, a: TensorId, b: TensorId, pairs: &mut Pairs) -> bool {
        match (pairs.own.get(&a), pairs.of_kind.get(&b)) {
            (Some(own), Some(of_kind)) => *own == b && *of_kind == a,
            (None, None) => {
                pairs.own.insert(a, b);
                pairs.of_kind.insert(b, a);
                self.same_tensor(a, b)
            }
            _ => false,
        }
    }

    fn same_tensor(&self, a: TensorId, b: TensorId) -> bool {
        let shape = |tensor: TensorId| -> &Dims { &self.graph.shapes[tensor.index()] };
        let kind = |tensor: TensorId| {
            let parameter = self.parameters.get(&tensor)?;
            Some((parameter.dtype, parameter.origin, parameter.buffer))
        };
        a == b || shape(a) == shape(b) && self.growth.get(&a) == self.growth.get(&b) && kind(a) == kind(b)
    }
}
