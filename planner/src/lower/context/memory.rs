//! Memory: the log that is asked, and who asks for what.

use std::rc::Rc;

use smallvec::SmallVec;

use super::Context;
use crate::bytes::Bytes;
use crate::dtype::Dtype;
use crate::graph::{Dims, ModuleId, TensorId};
use crate::lower::kernels::step::Step;
use crate::lower::tensor::{Log, Storage, Tensor, TensorData, contiguous_strides};
use crate::trace::{Allocation, Category, Cause, Name, Place, PlaceId};

/// The logs, and who asks them.
pub(crate) struct Memory {
    /// What lies where code runs: on the GPU, or on the host within [`Context::on_host`].
    pub(crate) log: Rc<Log>,
    /// What lies on the host, in a stream of its own.
    pub(in crate::lower) host: Rc<Log>,
    /// The module whose call runs, or that made the node that runs.
    pub(super) module: ModuleId,
    /// The node of autograd that runs.
    pub(super) node: Option<(&'static str, Name)>,
    /// The line of Python that runs, or whose operator made the node that runs.
    pub(in crate::lower) place: Option<PlaceId>,
    /// The parameter on whose behalf memory is asked for.
    parameter: Option<u32>,
    /// What new allocations are for.
    category: Category,
    /// The CUDA stream that is current: 0 is the default one, the others are numbered as they first allocate.
    stream: u32,
}

impl Memory {
    /// Nothing asked for yet, by the model itself, for temporaries, on the default stream.
    pub(super) fn of(places: Vec<Place>) -> Memory {
        let log = Log::of(places);
        Memory {
            host: Rc::new(log.beside()),
            log: Rc::new(log),
            module: ModuleId(0),
            node: None,
            place: None,
            parameter: None,
            category: Category::Temporaries,
            stream: 0,
        }
    }
}

impl Context {
    // ---- for a while --------------------------------------------------------------------------------------------

    /// Runs something whose new allocations are of a category.
    pub(in crate::lower) fn counted_as<T>(&mut self, category: Category, run: impl FnOnce(&mut Context) -> T) -> T {
        let outer = self.count_as(category);
        let result = run(self);
        self.count_as(outer);
        result
    }

    /// Runs something that a module asks for.
    pub(in crate::lower) fn within<T>(&mut self, module: ModuleId, run: impl FnOnce(&mut Context) -> T) -> T {
        let outer = std::mem::replace(&mut self.memory.module, module);
        let result = run(self);
        self.memory.module = outer;
        result
    }

    /// Runs something on behalf of a parameter.
    pub(in crate::lower) fn for_parameter<T>(&mut self, parameter: u32, run: impl FnOnce(&mut Context) -> T) -> T {
        let outer = self.memory.parameter.replace(parameter);
        let result = run(self);
        self.memory.parameter = outer;
        result
    }

    /// Runs something while another CUDA stream is current.
    pub(in crate::lower) fn on_stream<T>(&mut self, stream: u32, run: impl FnOnce(&mut Context) -> T) -> T {
        let outer = std::mem::replace(&mut self.memory.stream, stream);
        let result = run(self);
        self.memory.stream = outer;
        result
    }

    /// Runs something whose memory lies on the host.
    pub(in crate::lower) fn on_host<T>(&mut self, run: impl FnOnce(&mut Context) -> T) -> T {
        let host = self.memory.host.clone();
        let device = std::mem::replace(&mut self.memory.log, host);
        let result = run(self);
        self.memory.log = device;
        result
    }

    /// New allocations are of a category until this is called again; gives the one before.
    pub(in crate::lower) fn count_as(&mut self, category: Category) -> Category {
        std::mem::replace(&mut self.memory.category, category)
    }

    /// What new allocations are for.
    pub(in crate::lower) fn category(&self) -> Category {
        self.memory.category
    }

    // ---- asking and letting go ----------------------------------------------------------------------------------

    /// Asks for memory on behalf of an operator.
    pub fn allocate(&mut self, op: &'static str, bytes: u64) -> Rc<Storage> {
        self.allocate_for(op, bytes, self.memory.parameter)
    }

    pub(in crate::lower) fn allocate_for(
        &mut self,
        op: &'static str,
        bytes: u64,
        parameter: Option<u32>,
    ) -> Rc<Storage> {
        if self.is_stopped() {
            return self.memory.log.nothing();
        }
        let allocation = self.allocation(op, bytes, parameter);
        self.memory.log.allocate(allocation)
    }

    /// Python's last reference to a tensor of the program goes.
    pub(in crate::lower) fn drop_tensor(&mut self, tensor: TensorId, cause: Cause) {
        let outer = self.memory.log.blame(cause);
        self.program.values[tensor.index()] = None;
        self.memory.log.blame(outer);
    }

    /// Lets something go for a cause.
    pub(in crate::lower) fn let_go<T>(&mut self, value: T, cause: Cause) {
        let outer = self.memory.log.blame(cause);
        drop(value);
        self.memory.log.blame(outer);
    }

    /// An allocation by whoever runs now.
    pub(in crate::lower) fn allocation(&self, op: &'static str, bytes: u64, parameter: Option<u32>) -> Allocation {
        Allocation {
            bytes: Bytes(bytes),
            cuda_stream: self.memory.stream,
            private_pool: None,
            operator: self.memory.log.name(op),
            node: self.memory.node.map(|(_, name)| name),
            module: self.memory.module,
            category: self.memory.category,
            parameter,
            place: self.memory.place,
            cached: None,
        }
    }

    /// A new contiguous tensor.
    pub fn empty(&mut self, op: &'static str, sizes: &[u64], dtype: Dtype) -> Tensor {
        self.empty_strided(op, sizes.into(), contiguous_strides(sizes), dtype)
    }

    /// A new tensor with strides that leave no gaps.
    pub fn empty_strided(&mut self, op: &'static str, sizes: Dims, strides: Dims, dtype: Dtype) -> Tensor {
        let bytes = sizes.iter().product::<u64>() * dtype.size();
        let storage = self.allocate(op, bytes);
        TensorData::new(storage, dtype, sizes, strides)
    }

    /// A new tensor with the sizes and type of another, and its strides where it is dense
    /// (aten/src/ATen/native/TensorFactories.cpp, `empty_like` with the preserved memory format).
    pub fn empty_like(&mut self, op: &'static str, like: &TensorData) -> Tensor {
        self.empty_like_as(op, like, like.dtype)
    }

    /// The same with another type.
    pub fn empty_like_as(&mut self, op: &'static str, like: &TensorData, dtype: Dtype) -> Tensor {
        let strides = if like.is_dense() { like.strides.clone() } else { dense_strides(like) };
        self.empty_strided(op, like.sizes.clone(), strides, dtype)
    }

    /// What a kernel allocates and frees, in its own order; gives its results, if it lists them: what it does not free.
    pub fn scratch(&mut self, op: &'static str, steps: &[Step]) -> SmallVec<[Rc<Storage>; 4]> {
        let mut held: SmallVec<[Option<Rc<Storage>>; 4]> = SmallVec::new();
        let mut results = SmallVec::new();
        for step in steps {
            match step {
                Step::Allocate(bytes) => {
                    let storage = self.allocate(op, *bytes);
                    held.push(Some(storage));
                }
                Step::Output(bytes) => {
                    let storage = self.allocate(op, *bytes);
                    results.push(storage);
                }
                Step::Free(number) => held[*number] = None,
            }
        }
        results
    }
}

/// Strides without gaps that keep the order of a tensor's dimensions (aten/src/ATen/ExpandUtils.cpp,
/// `infer_dense_strides`).
pub fn dense_strides(like: &TensorData) -> Dims {
    crate::lower::iterator::output_strides(&like.sizes, &[(&like.sizes, &like.strides)])
}
