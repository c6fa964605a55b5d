//! What kernels of operators compute and move: what a step and a second run cost.
//!
//! Products and attention count as torch/utils/flop_counter.py counts them, two operations for a multiplication with its
//! addition; all other arithmetic counts one for each element of its results, and what only moves data nothing. A call is one
//! kernel, its backward one for each factor of a product that needs a gradient, else one; each reads what it takes and
//! writes what it gives once, which is the least that it can.

use smallvec::{SmallVec, smallvec};

use crate::dtype::Dtype;
use crate::graph::{Argument, Dims, Op, TensorId};
use crate::time::{Unit, Work};

/// How an operator's work follows from its tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A product of two factors.
    Product {
        /// The place of the left factor.
        left: usize,
        /// The place of the right one, where it can have a gradient.
        right: Option<usize>,
        /// What is multiplied.
        of: Multiplied,
    },
    /// Scaled dot-product attention.
    Attention,
    /// Moves all that it takes.
    Moves,
    /// Moves a part of what it takes: no more than it gives.
    Picks,
    /// Computes each element of its results, in memory that it takes.
    InPlace,
    /// Computes each element of its results.
    Elements,
    /// Runs no kernel of its own: a step of a run's loop.
    Nothing,
}

/// What a product multiplies, over which dimensions it sums, and in which type it computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Multiplied {
    /// Matrices or batches of them: sums over the left one's last dimension, in the type of the result, into which
    /// autocast casts the factors.
    Matrices,
    /// The same of groups of rows, each with a matrix of its own.
    Groups,
    /// The same in a type of the kernel's own.
    Stored(Dtype),
    /// Images by a convolution's weight: sums over all dimensions of the weight but the first; float32 as
    /// TensorFloat-32.
    Images,
}

impl Class {
    /// Whether it multiplies with and adds.
    pub fn multiplies(self) -> bool {
        matches!(self, Class::Product { .. } | Class::Attention)
    }

    /// Whether it moves data and computes nothing.
    pub fn moves(self) -> bool {
        matches!(self, Class::Moves | Class::Picks)
    }
}

/// What is known of a tensor when an operator has run.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Bytes of its elements.
    pub bytes: u64,
    /// Its type.
    pub dtype: Dtype,
    /// Whether it needs a gradient.
    pub needs_gradient: bool,
    /// Which memory it lies in.
    pub storage: usize,
}

/// What an operator's call does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Works {
    /// Its forward.
    pub forward: SmallVec<[Work; 1]>,
    /// Its backward.
    pub backward: SmallVec<[Work; 2]>,
}

/// What a call does, forward and backward.
pub fn works(op: &Op, shapes: &[Dims], known: impl Fn(TensorId) -> Option<Known>) -> Works {
    let call = Called::new(op, shapes, known);
    if !call.runs_kernel() {
        return Works::default();
    }
    match op.operator.class {
        Class::Product { left, right, of } => call.product(left, right, of),
        Class::Attention => call.attention(),
        Class::Moves => call.moves(call.taken()),
        Class::Picks => call.moves(call.given()),
        Class::InPlace | Class::Elements => call.elements(),
        Class::Nothing => Works::default(),
    }
}

/// A call with what is known of its tensors.
struct Called<'a, K> {
    class: Class,
    tensors: SmallVec<[TensorId; 4]>,
    results: &'a [TensorId],
    shapes: &'a [Dims],
    known: K,
}

impl<'a, K: Fn(TensorId) -> Option<Known>> Called<'a, K> {
    fn new(op: &'a Op, shapes: &'a [Dims], known: K) -> Self {
        let mut tensors = SmallVec::new();
        op.arguments.iter().for_each(|argument| gather(argument, &mut tensors));
        Called { class: op.operator.class, tensors, results: &op.outputs, shapes, known }
    }

    /// Whether it makes a tensor that is no view of what it takes, or works in place.
    fn runs_kernel(&self) -> bool {
        let storage = |id: &TensorId| (self.known)(*id).map(|known| known.storage);
        let taken: SmallVec<[Option<usize>; 4]> = self.tensors.iter().map(storage).collect();
        let is_new = |id: &TensorId| !taken.contains(&storage(id));
        self.class == Class::InPlace || self.results.iter().any(is_new)
    }

    fn bytes(&self, ids: &[TensorId]) -> u64 {
        ids.iter().filter_map(|id| (self.known)(*id)).map(|known| known.bytes).fold(0, u64::saturating_add)
    }

    fn taken(&self) -> u64 {
        self.bytes(&self.tensors)
    }

    fn given(&self) -> u64 {
        self.bytes(self.results)
    }

    fn needs(&self, id: TensorId) -> bool {
        (self.known)(id).is_some_and(|known| known.needs_gradient)
    }

    fn count(&self, id: TensorId) -> u64 {
        self.shapes[id.index()].iter().product()
    }

    fn last(&self, id: TensorId) -> u64 {
        self.shapes[id.index()].last().copied().unwrap_or(1)
    }

    fn counted(&self) -> u64 {
        self.results.iter().map(|id| self.count(*id)).fold(0, u64::saturating_add)
    }

    /// The type that a product is computed in.
    fn unit(&self, of: Multiplied) -> Unit {
        let dtype = self.results.first().and_then(|id| (self.known)(*id)).map_or(Dtype::F32, |known| known.dtype);
        match of {
            Multiplied::Stored(own) => Unit::Product(own),
            Multiplied::Images if dtype == Dtype::F32 => Unit::TensorFloat,
            Multiplied::Matrices | Multiplied::Groups | Multiplied::Images => Unit::Product(dtype),
        }
    }

    fn product(&self, left: usize, right: Option<usize>, of: Multiplied) -> Works {
        let at = |place: usize| self.tensors.get(place).copied();
        let (left, right) = (at(left), right.and_then(at));
        let summed = match (of, right) {
            (Multiplied::Images, Some(weight)) => self.shapes[weight.index()].iter().skip(1).product(),
            _ => left.map_or(0, |left| self.last(left)),
        };
        let flops = 2u64.saturating_mul(self.counted()).saturating_mul(summed);
        let work = Work { flops, bytes: self.taken().saturating_add(self.given()), unit: self.unit(of) };
        // each gradient is a product of the other factor and the result's gradient
        let followed = [left, right].into_iter().flatten().filter(|id| self.needs(*id));
        Works { forward: smallvec![work], backward: followed.map(|_| work).collect() }
    }

    fn attention(&self) -> Works {
        let [query, key, value] = [0, 1, 2].map(|place| self.tensors.get(place).copied());
        let rows = query.map_or(0, |id| self.count(id) / self.last(id).max(1));
        let keys = key.map_or(0, |id| self.shapes[id.index()].iter().rev().nth(1).copied().unwrap_or(1));
        let pairs = 2u64.saturating_mul(rows).saturating_mul(keys);
        let product = |id: Option<TensorId>| pairs.saturating_mul(id.map_or(0, |id| self.last(id)));
        // forward: queries by keys, weights by values; backward: the first again, then two products for each
        let (scores, sum) = (product(query), product(value));
        let (read, unit) = (self.taken().saturating_add(self.given()), self.unit(Multiplied::Matrices));
        let forward = Work { flops: scores.saturating_add(sum), bytes: read, unit };
        let twice = |flops: u64| flops.saturating_mul(2);
        let flops = scores.saturating_add(twice(scores)).saturating_add(twice(sum));
        let bytes = read.saturating_add(self.given());
        Works { forward: smallvec![forward], backward: self.gradients(Work { flops, bytes, unit }) }
    }

    fn moves(&self, read: u64) -> Works {
        let unit = Unit::Arithmetic;
        let bytes = read.min(self.taken()).saturating_add(self.given());
        let backward = self.gradients(Work { flops: 0, bytes: self.given(), unit });
        Works { forward: smallvec![Work { flops: 0, bytes, unit }], backward }
    }

    fn elements(&self) -> Works {
        // what it computed from is read again beside the result's gradient
        let bytes = self.taken().saturating_add(self.given());
        let work = Work { flops: self.counted(), bytes, unit: Unit::Arithmetic };
        Works { forward: smallvec![work], backward: self.gradients(work) }
    }

    /// A kernel that writes the gradients that are needed beside what it reads; none where none is.
    fn gradients(&self, read: Work) -> SmallVec<[Work; 2]> {
        let followed: SmallVec<[TensorId; 4]> = self.tensors.iter().copied().filter(|id| self.needs(*id)).collect();
        let bytes = read.bytes.saturating_add(self.bytes(&followed));
        if followed.is_empty() { SmallVec::new() } else { smallvec![Work { bytes, ..read }] }
    }
}

fn gather(argument: &Argument, tensors: &mut SmallVec<[TensorId; 4]>) {
    match argument {
        Argument::Tensor(id) => tensors.push(*id),
        Argument::List(items) => items.iter().for_each(|item| gather(item, tensors)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::ModuleId;
    use crate::trace::PlaceId;

    /// The works of a call of float32 tensors with these shapes, the result's last; all of the first `needing` need
    /// gradients.
    fn called(name: &str, shapes: &[&[u64]], needs: fn(TensorId) -> bool) -> Works {
        let shapes: Vec<Dims> = shapes.iter().map(|shape| Dims::from(*shape)).collect();
        let tensors = shapes.len() as u32 - 1;
        let arguments = (0..tensors).map(|number| Argument::Tensor(TensorId(number))).collect();
        let operator = crate::ops::named(name).expect("an operator");
        let op =
            Op { operator, arguments, outputs: smallvec![TensorId(tensors)], module: ModuleId(0), place: PlaceId(0) };
        let known = |id: TensorId| {
            let bytes = 4 * shapes[id.index()].iter().product::<u64>();
            Some(Known { bytes, dtype: Dtype::F32, needs_gradient: needs(id), storage: id.index() })
        };
        works(&op, &shapes, known)
    }

    fn flops(works: &Works) -> (u64, u64) {
        let sum = |works: &[Work]| works.iter().map(|work| work.flops).sum();
        (sum(&works.forward), sum(&works.backward))
    }

    fn bytes(works: &Works) -> (u64, u64) {
        let sum = |works: &[Work]| works.iter().map(|work| work.bytes).sum();
        (sum(&works.forward), sum(&works.backward))
    }

    /// As torch.utils.flop_counter counts them: linear 2*m*n*k forward and twice that backward; a convolution by its weight;
    /// attention two products forward and five backward.
    #[test]
    fn products_count_as_pytorch_counts_them() {
        let linear: [&[u64]; 3] = [&[3, 5, 7], &[11, 7], &[3, 5, 11]];
        let once = 2 * 15 * 7 * 11;
        assert_eq!(flops(&called("linear", &linear, |_| true)), (once, 2 * once));
        assert_eq!(flops(&called("linear", &linear, |id| id == TensorId(0))), (once, once));
        let convolution: [&[u64]; 3] = [&[2, 8, 9, 9], &[16, 8, 3, 3], &[2, 16, 7, 7]];
        let once = 2 * 2 * 16 * 49 * 8 * 9;
        let works = called("conv2d", &convolution, |_| true);
        assert_eq!(flops(&works), (once, 2 * once));
        assert_eq!(works.forward[0].unit, Unit::TensorFloat);
        let attention: [&[u64]; 4] = [&[2, 4, 6, 8]; 4];
        let product = 2 * 2 * 4 * 6 * 6 * 8;
        let counted = called("scaled_dot_product_attention", &attention, |_| true);
        assert_eq!(flops(&counted), (2 * product, 5 * product));
    }

    #[test]
    fn each_kernel_reads_and_writes_once() {
        let linear: [&[u64]; 3] = [&[3, 5, 7], &[11, 7], &[3, 5, 11]];
        let once = 4 * (105 + 77 + 165);
        assert_eq!(bytes(&called("linear", &linear, |_| true)), (once, 2 * once));
        // a gradient is read and one is written, and what the function was of is read again
        let gelu: [&[u64]; 2] = [&[4, 6], &[4, 6]];
        assert_eq!(bytes(&called("gelu", &gelu, |_| true)), (2 * 96, 3 * 96));
        assert_eq!(flops(&called("gelu", &gelu, |_| true)), (24, 24));
        // of a table only what is looked up is read; all of its gradient is written
        let embedding: [&[u64]; 3] = [&[2, 3], &[1000, 8], &[2, 3, 8]];
        let (given, table) = (4 * 48, 4 * 8000);
        let works = called("embedding", &embedding, |id| id == TensorId(1));
        assert_eq!(bytes(&works), (2 * given, given + table));
        assert_eq!(flops(&works), (0, 0));
    }

    #[test]
    fn a_view_is_no_kernel() {
        let shapes: [Dims; 2] = [smallvec![4, 6], smallvec![6, 4]];
        let operator = crate::ops::named("transpose").expect("an operator");
        let arguments = smallvec![Argument::Tensor(TensorId(0))];
        let op = Op { operator, arguments, outputs: smallvec![TensorId(1)], module: ModuleId(0), place: PlaceId(0) };
        let known = |_| Some(Known { bytes: 96, dtype: Dtype::F32, needs_gradient: true, storage: 0 });
        assert_eq!(works(&op, &shapes, known), Works::default());
    }
}
