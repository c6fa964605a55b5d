//! Blocks that several streams use.
//!
//! A block belongs to the stream that it was allocated on. Where another stream uses it (`Tensor.record_stream`), its
//! free waits until that stream has got as far as it was at the time of the free, which PyTorch learns from an event:
//!
//! ```text
//! allocate on A -> record_stream(B) -> free: no longer allocated, but not to be had
//!               -> B's event is done: free (seen in the next allocation on any stream, or when waited for)
//! ```

use super::block::{BlockId, State};
use super::caching::CachingAllocator;
use super::pool::StreamId;

/// When another stream is taken to be done with a freed block that it used (see [`CachingAllocator::record_stream`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Events {
    /// Before the next allocation, where PyTorch asks for the first time. The other stream keeps up with the host.
    #[default]
    DoneAtNextAllocation,
    /// Only when PyTorch waits for it: before it releases everything cached, and in [`CachingAllocator::synchronize`].
    /// The other stream lags behind; the largest figures that the program can show.
    DoneWhenWaitedFor,
}

impl CachingAllocator {
    /// The same allocator with another assumption about streams that share blocks.
    pub fn with_events(mut self, events: Events) -> CachingAllocator {
        self.events = events;
        self
    }

    /// `Tensor.record_stream`: another stream uses the block, so that its free waits for that stream (see [`Events`]).
    pub fn record_stream(&mut self, id: BlockId, stream: StreamId) {
        let Some(block) = self.blocks.get(id).filter(|block| block.state == State::Used) else { return };
        if self.pools[block.pool].stream != stream {
            self.blocks[id].shared = true;
        }
    }

    /// All streams are done: freed blocks that waited for them become free.
    pub fn synchronize(&mut self) {
        while let Some(id) = self.waiting.pop() {
            self.blocks[id].shared = false;
            self.free_now(id);
        }
    }

    /// A freed block waits for the other streams that use it.
    pub(super) fn wait_for_streams(&mut self, id: BlockId) {
        self.blocks[id].state = State::Waiting;
        self.waiting.push(id);
    }
}
