//! A device as a replay needs it: memory to take and give back, and work to do on it.

use crate::error::CalibrateError;
use crate::products::Product;

/// Memory of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Where it begins.
    pub address: u64,
    /// How much it is.
    pub bytes: u64,
}

/// A device.
pub trait Device {
    /// Bytes that the driver says are free.
    ///
    /// # Errors
    /// A driver that fails; so have all others.
    fn free(&self) -> Result<u64, CalibrateError>;

    /// `cudaMalloc`; None where there is too little left.
    #[expect(clippy::missing_errors_doc, reason = "as for `free`")]
    fn allocate(&mut self, bytes: u64) -> Result<Option<Memory>, CalibrateError>;

    /// `cudaFree`.
    #[expect(clippy::missing_errors_doc, reason = "as for `free`")]
    fn release(&mut self, memory: Memory) -> Result<(), CalibrateError>;

    /// Writes every byte of a part.
    #[expect(clippy::missing_errors_doc, reason = "as for `free`")]
    fn touch(&self, memory: &Memory, offset: u64, bytes: u64) -> Result<(), CalibrateError>;

    /// Multiplies: both factors lie one after another at an address, the result at another.
    #[expect(clippy::missing_errors_doc, reason = "as for `free`")]
    fn multiply(&self, product: &Product, factors: u64, result: u64) -> Result<(), CalibrateError>;

    /// Waits until all that was asked is done.
    #[expect(clippy::missing_errors_doc, reason = "as for `free`")]
    fn wait(&mut self) -> Result<(), CalibrateError>;
}
