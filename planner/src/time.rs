//! How long kernels take: a roofline.
//!
//! ```text
//! kernel's time = overhead + max(operations / rate, bytes / bandwidth)
//! ```
//!
//! A GPU without a measured profile has its datasheet's rates and bandwidth and no overhead: what comes out is then the least
//! that the work can take. A profile's figures were fitted to kernels that ran, and what comes out is an estimate.
//! Communication and the host's own work are not part of it; copies to and from the host are told beside it.

use crate::dtype::Dtype;
use crate::read::gpus::{Gpu, Rates};
use crate::read::profiles::Fitted;

/// What the operations of a kernel run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Multiplies with this type: on tensor cores where the GPU has them for it.
    Product(Dtype),
    /// Multiplies float32 in TensorFloat-32, as cuDNN's convolutions do unless told otherwise
    /// (torch/backends/cudnn/__init__.py, `allow_tf32`).
    TensorFloat,
    /// Does all else, in float32.
    Arithmetic,
}

/// What a kernel does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// Its operations, a multiplication with its addition counted as two.
    pub flops: u64,
    /// Bytes that it reads and writes, each once.
    pub bytes: u64,
    /// What its operations run on.
    pub unit: Unit,
}

/// What something costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Cost {
    /// Operations.
    pub flops: u64,
    /// Time, by the GPU's roofline.
    pub nanoseconds: u64,
}

/// Bytes a second of one lane of PCI Express in one direction, from generation 1: the transfers' rate less the encoding, 8b/10b
/// and then 128b/130b (PCI Express Base Specification 5.0); generation 6 has no encoding of that kind.
const LANE: [f64; 6] =
    [0.25e9, 0.5e9, 8e9 / 8.0 * 128.0 / 130.0, 16e9 / 8.0 * 128.0 / 130.0, 32e9 / 8.0 * 128.0 / 130.0, 8e9];

/// The link to the host, bytes a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// From pinned memory of the host to the device.
    pub to_device: f64,
    /// The other way.
    pub to_host: f64,
}

impl Link {
    /// A GPU's: its profile's where it has one, else what its PCI Express lanes carry.
    pub fn of(gpu: &Gpu) -> Option<Link> {
        let measured = gpu.profile.as_ref().and_then(|profile| profile.copies.as_ref());
        if let Some(copies) = measured {
            return Some(Link { to_device: copies.from_pinned.median, to_host: copies.to_pinned.median });
        }
        let pcie = gpu.pcie?;
        let lane = LANE.get(pcie.generation.checked_sub(1)? as usize)?;
        let rate = lane * f64::from(pcie.lanes);
        Some(Link { to_device: rate, to_host: rate })
    }

    /// Seconds that so many bytes take, in and then out.
    pub fn seconds(&self, to_device: u64, to_host: u64) -> f64 {
        to_device as f64 / self.to_device + to_host as f64 / self.to_host
    }
}

/// A GPU's roofline.
#[derive(Clone, Debug, PartialEq)]
pub struct Speeds {
    /// Seconds that a kernel takes beside its work.
    pub overhead: f64,
    /// Bytes a second that kernels read and write in device memory.
    pub bandwidth: f64,
    /// Operations a second.
    pub rates: Rates,
}

impl Speeds {
    /// A GPU's: its profile's where it has one, else the datasheet's; None where its bandwidth is not known.
    pub fn of(gpu: &Gpu) -> Option<Speeds> {
        let measured = gpu.profile.as_ref().and_then(|profile| profile.speeds.as_ref());
        let given = || Some(Speeds { overhead: 0.0, bandwidth: gpu.memory_bandwidth?, rates: gpu.rates.clone() });
        // types that were not measured have the datasheet's rates
        let fitted = |speeds: &Fitted| {
            let Fitted { overhead, bandwidth, .. } = *speeds;
            Speeds { overhead, bandwidth, rates: speeds.rates.or(&gpu.rates) }
        };
        measured.map(fitted).or_else(given)
    }

    /// Operations a second of a unit. A type that the GPU has no rate for is computed as float32.
    pub fn rate(&self, unit: Unit) -> Option<f64> {
        let Rates { fp64, fp32, tf32, fp16, bf16, fp8, int8, .. } = &self.rates;
        let own = match unit {
            Unit::Product(Dtype::F64) => fp64,
            Unit::Product(Dtype::F16) => fp16,
            Unit::Product(Dtype::BF16) => bf16,
            Unit::Product(Dtype::F8) => fp8,
            Unit::Product(Dtype::I8) => int8,
            Unit::TensorFloat => tf32,
            Unit::Product(_) | Unit::Arithmetic => fp32,
        };
        own.or(*fp32)
    }

    /// Seconds that a kernel takes.
    pub fn seconds(&self, work: &Work) -> f64 {
        let computes = self.rate(work.unit).map_or(0.0, |rate| work.flops as f64 / rate);
        self.overhead + computes.max(work.bytes as f64 / self.bandwidth)
    }

    /// What some kernels cost, one after another.
    pub fn cost<'a>(&self, works: impl IntoIterator<Item = &'a Work>) -> Cost {
        works.into_iter().fold(Cost::default(), |cost, work| {
            let nanoseconds = (self.seconds(work) * 1e9).round() as u64;
            cost.and(Cost { flops: work.flops, nanoseconds })
        })
    }
}

impl Cost {
    /// Both together.
    pub fn and(self, other: Cost) -> Cost {
        Cost {
            flops: self.flops.saturating_add(other.flops),
            nanoseconds: self.nanoseconds.saturating_add(other.nanoseconds),
        }
    }

    /// What is left without the other.
    pub fn less(self, other: Cost) -> Cost {
        Cost {
            flops: self.flops.saturating_sub(other.flops),
            nanoseconds: self.nanoseconds.saturating_sub(other.nanoseconds),
        }
    }

    /// So many of it.
    pub fn times(self, count: u64) -> Cost {
        let Cost { flops, nanoseconds } = self;
        Cost { flops: flops.saturating_mul(count), nanoseconds: nanoseconds.saturating_mul(count) }
    }

    /// A part of it: one of so many.
    pub fn shared(self, among: u64) -> Cost {
        Cost { flops: self.flops / among.max(1), nanoseconds: self.nanoseconds / among.max(1) }
    }

    /// The time in seconds.
    pub fn seconds(self) -> f64 {
        self.nanoseconds as f64 / 1e9
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speeds() -> Speeds {
        let rates = Rates { fp32: Some(10e12), bf16: Some(100e12), ..Rates::default() };
        Speeds { overhead: 2e-6, bandwidth: 1e12, rates }
    }

    #[test]
    fn the_slower_of_memory_and_arithmetic_counts() {
        let product = |flops, bytes, dtype| speeds().seconds(&Work { flops, bytes, unit: Unit::Product(dtype) });
        assert_eq!(product(100_000_000, 1_000_000, Dtype::F32), 2e-6 + 1e-5);
        assert_eq!(product(100_000_000, 1_000_000, Dtype::BF16), 2e-6 + 1e-6);
        assert_eq!(product(0, 5_000_000, Dtype::BF16), 2e-6 + 5e-6);
    }

    #[test]
    fn a_type_without_a_rate_is_computed_as_float32() {
        assert_eq!(speeds().rate(Unit::Product(Dtype::F16)), Some(10e12));
        assert_eq!(speeds().rate(Unit::TensorFloat), Some(10e12));
        assert_eq!(speeds().rate(Unit::Product(Dtype::BF16)), Some(100e12));
    }

    #[test]
    fn costs_add_up_and_never_overflow() {
        let works = [Work { flops: 7, bytes: 1_000_000, unit: Unit::Arithmetic }; 3];
        assert_eq!(speeds().cost(&works), Cost { flops: 21, nanoseconds: 9000 });
        let most = Cost { flops: u64::MAX, nanoseconds: u64::MAX };
        assert_eq!(most.and(most), most);
        assert_eq!(most.less(most), Cost::default());
        assert_eq!(Cost { flops: 9, nanoseconds: 6 }.shared(0), Cost { flops: 9, nanoseconds: 6 });
    }
}
