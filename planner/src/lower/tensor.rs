//! Tensors with storages, and who holds them: what `at::Tensor` and `c10::Storage` are to PyTorch.
//!
//! A [`Tensor`] is a counted reference, as in PyTorch; views share a [`Storage`]. When the last reference to a storage
//! goes, the free is written into the [`Log`]: Rust's ownership does what C++'s intrusive pointers do.

use std::cell::{Cell, RefCell};
use std::hash::{Hash, Hasher};
use std::rc::Rc;

use rustc_hash::FxHasher;

use super::autograd::Edge;
use crate::bytes::Bytes;
use crate::dtype::Dtype;
use crate::graph::Dims;
use crate::interpret::{address, code};
use crate::read::spec::syntax::Function;
use crate::trace::{
    Allocation, AllocationId, Cached, Category, Cause, Event, Name, Phase, Place, PlaceId, Places, Standing, Trace,
};

/// The trace as it is written.
#[derive(Debug, Default)]
pub struct Log {
    trace: RefCell<Trace>,
    /// The trace, while something else is written.
    kept: RefCell<Trace>,
    places: Rc<RefCell<Places>>,
    /// What lets go of memory now.
    cause: Cell<Cause>,
    /// Allocations that have other numbers than their storages know: in order.
    moved: RefCell<Vec<Moved>>,
}

/// Allocations of an iteration that stands for others: of the last of them, as far as later iterations see.
#[derive(Clone, Copy, Debug)]
struct Moved {
    first: u32,
    end: u32,
    by: u32,
}

impl Log {
    /// An empty trace of a program that knows these places.
    pub(super) fn of(places: Vec<Place>) -> Log {
        Log { places: Rc::new(Places::after(places).into()), ..Log::default() }
    }

    /// An empty trace beside another, for what lies elsewhere: they share the places.
    pub(super) fn beside(&self) -> Log {
        Log { places: self.places.clone(), ..Log::default() }
    }

    /// Writes an allocation.
    pub(super) fn allocate(self: &Rc<Self>, allocation: Allocation) -> Rc<Storage> {
        if allocation.bytes == Bytes(0) {
            return self.nothing();
        }
        let category = allocation.category;
        let id = self.trace.borrow_mut().allocate(allocation);
        Rc::new(Storage { allocation: Cell::new(Some(id)), category: RefCell::new(category), log: self.clone() })
    }

    /// The number of a name.
    pub(super) fn name(&self, text: &'static str) -> Name {
        self.trace.borrow_mut().names.number_of_static(text)
    }

    /// A function begins to run.
    pub(super) fn enter(&self, function: &Function) {
        self.places.borrow_mut().enter(address(function), || code(function));
    }

    /// The number of the place where code stands.
    pub(super) fn place(&self, standing: Standing) -> PlaceId {
        self.places.borrow_mut().number(standing)
    }

    /// What goes from now on goes for that cause; gives the cause before it.
    pub(super) fn blame(&self, cause: Cause) -> Cause {
        self.cause.replace(cause)
    }

    /// What lets go of memory now.
    pub(super) fn cause(&self) -> Cause {
        self.cause.get()
    }

    /// An allocation that has been written.
    pub(super) fn allocation(&self, id: AllocationId) -> Allocation {
        self.trace.borrow().allocation(id)
    }

    /// A number for what has been written from an event and an allocation on, whatever the bytes: who asked for what, in which
    /// order it went, and why.
    pub(super) fn signature(&self, from: (usize, usize)) -> u64 {
        let (event, allocation) = from;
        let trace = self.trace.borrow();
        let mut hasher = FxHasher::default();
        // what was there before has no number here
        let number = |id: AllocationId| id.index().checked_sub(allocation);
        for (event, asked) in trace.written_since(event) {
            match (event, asked) {
                (Event::Allocate(_), asked) => {
                    asked.map(|a| (a.cuda_stream, a.operator, a.node, a.category)).hash(&mut hasher);
                }
                (Event::Free(id, cause), _) => (1, number(id), cause).hash(&mut hasher),
                (Event::Becomes(id, category), _) => (2, number(id), category).hash(&mut hasher),
                (Event::Phase(phase), _) => (3, phase).hash(&mut hasher),
            }
        }
        hasher.finish()
    }

    /// How many events and allocations have been written.
    pub(super) fn written(&self) -> (usize, usize) {
        let trace = self.trace.borrow();
        (trace.event_count(), trace.allocation_count())
    }

    /// What is written from now on is looked at by [`Log::diverted`], and is no part of the trace.
    pub(super) fn divert(&self) {
        let mut trace = self.trace.borrow_mut();
        let names = std::mem::take(&mut trace.names);
        let mut diverted = Trace::default();
        diverted.names = names;
        self.kept.replace(std::mem::replace(&mut *trace, diverted));
    }

    /// The bytes of all allocations since it was last asked, or since the log was diverted.
    pub(super) fn diverted(&self) -> Vec<Bytes> {
        let mut trace = self.trace.borrow_mut();
        let bytes = trace.allocations().map(|allocation| allocation.bytes).collect();
        trace.forget();
        bytes
    }

    /// The trace's last iteration happens once more, with allocations of these bytes.
    pub(super) fn again(&self, bytes: impl Iterator<Item = Bytes>) {
        self.kept.borrow_mut().again(bytes);
    }

    /// The trace's last iteration happens so many times more, as it was; what it has made and left is that of the last of them.
    pub(super) fn again_alike(&self, times: u64) {
        let mut trace = self.trace.borrow_mut();
        let end = trace.allocation_count() as u32;
        trace.again_alike(times as usize);
        let width = (trace.allocation_count() as u32 - end) / times.max(1) as u32;
        let by = width * times as u32;
        self.moved.borrow_mut().push(Moved { first: end - width, end, by });
    }

    /// The number of an allocation that a storage knows by another.
    fn number(&self, id: AllocationId) -> AllocationId {
        let moved = self.moved.borrow();
        let at = moved.partition_point(|moved| moved.first <= id.0);
        match at.checked_sub(1).map(|at| moved[at]) {
            Some(moved) if id.0 < moved.end => AllocationId(id.0 + moved.by),
            _ => id,
        }
    }

    /// What is written belongs to the trace again.
    pub(super) fn restore(&self) {
        let diverted = self.trace.replace(self.kept.take());
        self.trace.borrow_mut().names = diverted.names;
    }

    /// How many events have been written.
    pub(super) fn events(&self) -> usize {
        self.trace.borrow().event_count()
    }

    /// A storage of no bytes.
    pub(crate) fn nothing(self: &Rc<Self>) -> Rc<Storage> {
        let category = RefCell::new(Category::Temporaries);
        Rc::new(Storage { allocation: Cell::new(None), category, log: self.clone() })
    }

    /// Writes a phase's end.
    pub(crate) fn phase(&self, phase: Phase) {
        self.trace.borrow_mut().end_phase(phase);
    }

    /// Takes out what has been written; what is freed from now on is lost.
    pub(super) fn take(&self) -> Trace {
        let mut trace = self.trace.take();
        trace.places = self.places.take().all;
        trace
    }

    /// What is written from now on belongs to an iteration, until that ends.
    pub(super) fn begin_iteration(&self) {
        self.trace.borrow_mut().begin_iteration();
    }

    /// The iteration has ended. Whether it is kept with the one before it, as alike.
    pub(super) fn end_iteration(&self) -> bool {
        self.trace.borrow_mut().end_iteration()
    }

    fn write(&self, event: Event) {
        self.trace.borrow_mut().push(event);
    }
}

/// Memory that tensors share. A storage of no bytes makes no event.
#[derive(Debug)]
pub struct Storage {
    allocation: Cell<Option<AllocationId>>,
    category: RefCell<Category>,
    log: Rc<Log>,
}

impl Storage {
    /// Notes that the memory is now for something else.
    pub fn becomes(&self, category: Category) {
        if let Some(id) = self.allocation()
            && *self.category.borrow() != category
        {
            self.category.replace(category);
            self.log.write(Event::Becomes(id, category));
        }
    }

    /// Notes which layers' keys or values it holds, where they do not see all tokens of their own.
    pub fn note_cached(&self, cached: Cached) {
        if let Some(id) = self.allocation() {
            self.log.trace.borrow_mut().note_cached(id, cached);
        }
    }

    /// Its allocation; None without memory.
    pub(super) fn allocation(&self) -> Option<AllocationId> {
        self.allocation.get().map(|id| self.log.number(id))
    }

    /// Its allocation has another number.
    pub(super) fn renumber(&self, id: AllocationId) {
        self.allocation.set(Some(id));
    }

    /// Whether it has no memory.
    pub(super) fn is_nothing(&self) -> bool {
        self.allocation.get().is_none()
    }

    /// Gives the memory back and stays, empty, for those that refer to it: `storage.resize_(0)`.
    pub(super) fn release(&self) {
        if let Some(id) = self.allocation.take() {
            self.log.write(Event::Free(self.log.number(id), self.log.cause.get()));
        }
    }

    /// Takes memory again: `storage.resize_(n)`.
    pub(super) fn refill(&self, allocation: Allocation) {
        self.release();
        if allocation.bytes > Bytes(0) {
            self.category.replace(allocation.category);
            let id = self.log.trace.borrow_mut().allocate(allocation);
            self.allocation.set(Some(id));
        }
    }

    /// What the memory is for.
    pub fn category(&self) -> Category {
        *self.category.borrow()
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        self.release();
    }
}

/// A tensor: a view of a storage, with its place in the autograd graph.
#[derive(Debug)]
pub struct TensorData {
    // What goes first stands first: of a tensor that goes, autograd's part goes before its memory
    // (c10/core/TensorImpl.cpp, `release_resources`).
    /// The elements' type.
    pub dtype: Dtype,
    /// Sizes, outermost first.
    pub sizes: Dims,
    /// Strides in elements, outermost first.
    pub strides: Dims,
    /// The tensor that it is a view of, which it keeps: PyTorch notes it without grad mode too
    /// (torch/csrc/autograd/VariableTypeUtils.h, `as_view`).
    pub base: Option<Tensor>,
    /// Where its gradient goes.
    pub gradient: RefCell<Edge>,
    /// The memory.
    pub storage: Rc<Storage>,
}

/// A counted reference to a tensor.
pub type Tensor = Rc<TensorData>;

impl TensorData {
    /// A new tensor over a storage.
    pub fn new(storage: Rc<Storage>, dtype: Dtype, sizes: Dims, strides: Dims) -> Tensor {
        Rc::new(TensorData { storage, dtype, sizes, strides, base: None, gradient: Edge::None.into() })
    }

    /// A view of a tensor.
    pub fn view(of: &Tensor, sizes: Dims, strides: Dims) -> Tensor {
        Rc::new(TensorData {
            storage: of.storage.clone(),
            dtype: of.dtype,
            sizes,
            strides,
            base: Some(of.base.as_ref().unwrap_or(of).clone()),
            gradient: Edge::None.into(),
        })
    }

    /// The number of elements.
    pub fn count(&self) -> u64 {
        self.sizes.iter().product()
    }

    /// The bytes of its elements.
    pub fn bytes(&self) -> u64 {
        self.count() * self.dtype.size()
    }

    /// Whether autograd follows it.
    pub fn requires_grad(&self) -> bool {
        !matches!(*self.gradient.borrow(), Edge::None)
    }

    /// Whether its elements lie in memory in the order of their indices, without gaps.
    pub fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        for (size, stride) in self.sizes.iter().zip(&self.strides).rev() {
            if *size != 1 {
                if *stride != expected {
                    return self.count() == 0;
                }
                expected *= size;
            }
        }
        true
    }

    /// Whether its elements fill their memory in some order of the dimensions, without gaps or overlaps
    /// (c10/core/TensorImpl.cpp, `_compute_non_overlapping_and_dense`).
    pub fn is_dense(&self) -> bool {
        let mut order: Dims = (0..self.sizes.len() as u64).collect();
        order.sort_by_key(|dim| {
            let dim = *dim as usize;
            if self.sizes[dim] < 2 { (1, 0) } else { (0, self.strides[dim]) }
        });
        let mut expected = 1;
        for dim in order {
            let (size, stride) = (self.sizes[dim as usize], self.strides[dim as usize]);
            if size < 2 {
                return true;
            }
            if stride != expected {
                return false;
            }
            expected *= size;
        }
        true
    }
}

/// The strides of a contiguous tensor.
pub fn contiguous_strides(sizes: &[u64]) -> Dims {
    let mut strides: Dims = sizes.iter().map(|_| 1).collect();
    for dim in (1..sizes.len()).rev() {
        strides[dim - 1] = strides[dim] * sizes[dim].max(1);
    }
    strides
}
