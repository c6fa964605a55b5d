//! What serves requests for memory, whichever allocator it is.

use super::block::BlockId;
use super::caching::{CachingAllocator, OutOfMemory};
use super::pool::{PrivatePool, StreamId};
use super::snapshot::SegmentView;
use super::stats::Stats;
use crate::bytes::Bytes;
use crate::trace::AllocationId;

/// A request for memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Which allocation of the trace it is.
    pub allocation: AllocationId,
    /// What is asked for.
    pub bytes: Bytes,
    /// The CUDA stream that is current.
    pub stream: StreamId,
    /// The private pool that is filled, if one is.
    pub private_pool: Option<PrivatePool>,
}

/// What serves a trace's requests: PyTorch's caching allocator, one arena, or what an engine brings. [`super::drive`] feeds it
/// a trace.
pub trait Allocator {
    /// Serves a request.
    ///
    /// # Errors
    /// Too little memory is left.
    fn serve(&mut self, request: Request) -> Result<BlockId, OutOfMemory>;

    /// Takes a block back.
    fn take_back(&mut self, block: BlockId);

    /// The figures of this moment, and peaks since the last reset.
    fn figures(&self) -> Stats;

    /// Peaks begin anew at the present figures.
    fn begin_phase(&mut self);

    /// What went back to the device, in all so far, so that requests could be served.
    fn given_back(&self) -> Bytes {
        Bytes(0)
    }

    /// What it holds, segment by segment.
    fn segments(&self) -> Vec<SegmentView>;
}

impl Allocator for CachingAllocator {
    fn serve(&mut self, request: Request) -> Result<BlockId, OutOfMemory> {
        self.allocate_in(request.private_pool, request.bytes, request.stream)
    }

    fn take_back(&mut self, block: BlockId) {
        self.free(block);
    }

    fn figures(&self) -> Stats {
        self.stats()
    }

    fn begin_phase(&mut self) {
        self.reset_peaks();
    }

    fn given_back(&self) -> Bytes {
        self.given_back
    }

    fn segments(&self) -> Vec<SegmentView> {
        self.snapshot()
    }
}
