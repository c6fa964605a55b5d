//! What kernels ask about when they choose a launch and its scratch memory: the device, and the release that they are of.

use crate::versions::Rules;

/// The properties of a GPU on which PyTorch's choices depend (`cudaDeviceProp`), and the rules by which it chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Compute capability, e.g. `(9, 0)`.
    pub compute_capability: (u32, u32),
    /// Streaming multiprocessors.
    pub multiprocessors: u64,
    /// The most resident threads on one multiprocessor.
    pub threads_per_multiprocessor: u64,
    /// The rules of the releases whose kernels run.
    pub rules: Rules,
}
