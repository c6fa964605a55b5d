//! Profiles: what `memplan calibrate` measured on a GPU, as YAML.
//!
//! ```text
//! memplan_profile: 1        the version of the format
//! measured: {...}           on what, when and by which command
//! memory: {...}             what the driver told: the total, and what a process takes outside PyTorch's allocator
//! speeds: {...}             a roofline fitted to kernels, with the fit's error
//! copies: {...}             bytes a second between host and device
//! workspaces: {...}         what cuBLAS and cuDNN took
//! kernels: [...]            the times that the roofline was fitted to
//! ```
//!
//! What was not measured is left out. Bytes are bytes, times are seconds, rates are a second.

mod doubts;
mod error;

use std::path::Path;

use serde::{Deserialize, Serialize};

pub use error::ProfileError;

use super::gpus::Rates;
use super::yaml;
use crate::bytes::Bytes;
use crate::files;

/// The version of the format that is read and written.
pub const VERSION: u32 = 1;

/// The longest profile that is read, in bytes.
const LARGEST_PROFILE: u64 = 16 << 20;

/// Where all keys of a profile can be seen.
const LISTS: &str = "what `memplan calibrate` writes has all";

/// What was measured on a GPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The version of the format.
    pub memplan_profile: u32,
    /// Its name in reports: that of its file, without `.yaml`.
    #[serde(skip)]
    pub name: String,
    /// On what, when and by which command.
    pub measured: Provenance,
    /// Memory as the driver tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// The roofline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speeds: Option<Fitted>,
    /// Copies between host and device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copies: Option<Copies>,
    /// What libraries took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspaces: Option<Workspaces>,
    /// The times that the roofline was fitted to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernels: Vec<Kernel>,
}

/// Where a profile comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// The GPU, by the driver's name.
    pub gpu: String,
    /// Its compute capability, `9.0`.
    pub compute_capability: String,
    /// The driver's version.
    pub driver: String,
    /// The version of CUDA that the driver supports.
    pub cuda: String,
    /// PyTorch's version, where it was on the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pytorch: Option<String>,
    /// The day, `2026-11-21`.
    pub date: String,
    /// What was run.
    pub command: String,
}

/// A figure that was measured several times.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// The middle one.
    pub median: f64,
    /// The distance between the upper and the lower quarter, as a part of the median.
    pub spread: f64,
    /// How often it was measured.
    pub runs: u32,
}

/// Memory as the driver tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// Of the device, `cuMemGetInfo`'s total.
    pub total: Bytes,
    /// What other processes held meanwhile.
    pub others: Bytes,
    /// What sizes of `cudaMalloc` are rounded up to.
    pub granularity: Bytes,
    /// What a process holds that has a context and nothing else.
    pub context: Bytes,
    /// The same with a kernel loaded and run.
    pub kernel: Bytes,
    /// The same with a cuBLAS handle that has multiplied.
    pub blas: Bytes,
    /// What a process of PyTorch's holds outside its allocator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pytorch: Option<PytorchMemory>,
}

/// What a process of PyTorch's holds outside its allocator, after each of these, one after another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PytorchMemory {
    /// A tensor on the device.
    pub tensor: Bytes,
    /// A matrix product.
    pub product: Bytes,
    /// A convolution.
    pub convolution: Bytes,
    /// Scaled dot-product attention.
    pub attention: Bytes,
}

/// A roofline fitted to kernels' times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Fitted {
    /// Seconds that a kernel takes beside its work.
    pub overhead: f64,
    /// Bytes a second in device memory.
    pub bandwidth: f64,
    /// Operations a second of products, by type.
    #[cfg_attr(feature = "schemas", schemars(with = "std::collections::BTreeMap<String, f64>"))]
    pub rates: Rates,
    /// How far the roofline is from the times, as a part of each: the middle and the most.
    pub error: FitError,
    /// Seconds from asking for an empty kernel to the next, one after another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launch: Option<Figure>,
}

/// How far a roofline is from the times that it was fitted to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FitError {
    /// Of half the kernels it is less.
    pub median: f64,
    /// Of none it is more.
    pub most: f64,
}

/// Bytes a second of copies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Copies {
    /// Within the device; read and written bytes are both counted.
    pub device: Figure,
    /// From pinned memory of the host.
    pub from_pinned: Figure,
    /// To pinned memory of the host.
    pub to_pinned: Figure,
    /// From pageable memory of the host.
    pub from_pageable: Figure,
    /// To pageable memory of the host.
    pub to_pageable: Figure,
}

/// What libraries took beside the tensors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Workspaces {
    /// What PyTorch's allocator held for cuBLAS after a product.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blas: Option<Bytes>,
    /// cuDNN's, of convolutions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub convolutions: Vec<ConvolutionWorkspace>,
    /// cuDNN's, of attention.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attention: Vec<AttentionWorkspace>,
}

/// What cuDNN took for a convolution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ConvolutionWorkspace {
    /// The convolution.
    pub of: ConvolutionKey,
    /// With cuDNN's heuristics, PyTorch's default.
    pub heuristic: Bytes,
    /// With `torch.backends.cudnn.benchmark`, once it has chosen.
    pub benchmark: Bytes,
    /// The most while it tries.
    pub trying: Bytes,
}

/// Which convolution.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ConvolutionKey {
    /// What is computed.
    pub direction: Direction,
    /// [batch, channels, height, width] of the input.
    pub input: [u64; 4],
    /// [channels out, channels in / groups, height, width] of the weight.
    pub weight: [u64; 4],
    /// How far the window moves.
    pub stride: u64,
    /// Zeros at each side.
    pub padding: u64,
    /// The distance between the window's elements.
    pub dilation: u64,
    /// The element type, as PyTorch names it.
    pub dtype: String,
    /// Whether the channels lie innermost.
    pub channels_last: bool,
}

/// What of a convolution is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Its result.
    Forward,
    /// The gradient of its input.
    Input,
    /// The gradient of its weight.
    Weight,
}

/// What cuDNN took for attention.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AttentionWorkspace {
    /// The attention.
    pub of: AttentionKey,
    /// Forward.
    pub forward: Bytes,
    /// Backward.
    pub backward: Bytes,
}

/// Which attention.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AttentionKey {
    /// [batch, heads, length, width] of the queries.
    pub query: [u64; 4],
    /// [batch, heads, length, width] of keys and values.
    pub key: [u64; 4],
    /// The element type, as PyTorch names it.
    pub dtype: String,
    /// Whether the past alone is seen.
    pub causal: bool,
}

/// A kernel that was timed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// What it does: `product`, `add`, ...
    pub kernel: String,
    /// The unit or type that it computes with: `fp32`, `tf32`, `bf16`, ...
    pub rate: String,
    /// Its sizes.
    pub shape: Vec<u64>,
    /// Its operations.
    pub flops: u64,
    /// Bytes that it reads and writes, each once.
    pub bytes: u64,
    /// How long it took.
    pub seconds: Figure,
}

impl Profile {
    /// Reads a profile from a file.
    ///
    /// # Errors
    /// A file that cannot be read, or as `parse`.
    pub fn read(path: &Path) -> Result<Profile, ProfileError> {
        let text =
            files::text(path, LARGEST_PROFILE).map_err(|source| ProfileError::Read { path: path.into(), source })?;
        Profile::parse(&path.display().to_string(), &text)
    }

    /// Reads a profile's text; errors name the file.
    ///
    /// # Errors
    /// Another version, unknown keys, or figures that cannot be.
    pub fn parse(file: &str, text: &str) -> Result<Profile, ProfileError> {
        version(file, text)?;
        let mut profile: Profile = yaml::parse(text, LISTS).map_err(|fault| ProfileError::parse(file, fault))?;
        profile.check().map_err(|message| ProfileError::Figure { file: file.to_owned(), message })?;
        let stem = Path::new(file).file_stem().map(|stem| stem.to_string_lossy().into_owned());
        profile.name = stem.unwrap_or_default();
        Ok(profile)
    }

    /// The text that `parse` reads.
    ///
    /// # Errors
    /// Figures that cannot be written.
    pub fn write(&self) -> Result<String, ProfileError> {
        yaml::write(self).map_err(|message| ProfileError::Figure { file: self.name.clone(), message })
    }

    /// What a process holds outside PyTorch's allocator: PyTorch's own once it has used all its libraries, where that was
    /// measured.
    pub fn outside(&self) -> Option<Bytes> {
        let pytorch = self.memory.as_ref()?.pytorch.as_ref()?;
        let PytorchMemory { tensor, product, convolution, attention } = pytorch;
        [tensor, product, convolution, attention].into_iter().max().copied()
    }

    /// The workspace of a convolution with cuDNN's heuristics, if it was measured.
    pub fn convolution(&self, key: &ConvolutionKey) -> Option<Bytes> {
        let measured = self.workspaces.iter().flat_map(|workspaces| &workspaces.convolutions);
        measured.into_iter().find(|found| found.of == *key).map(|found| found.heuristic)
    }

    /// The workspaces of cuDNN's attention, if they were measured.
    pub fn attention(&self, key: &AttentionKey) -> Option<&AttentionWorkspace> {
        self.workspaces.iter().flat_map(|workspaces| &workspaces.attention).find(|found| found.of == *key)
    }

    fn check(&self) -> Result<(), String> {
        let total = self.memory.as_ref().map(|memory| memory.total);
        if total.is_some_and(|total| total == Bytes(0) || total > Bytes(1 << 50)) {
            return Err(format!("memory: {} cannot be a GPU's", total.unwrap_or_default()));
        }
        let positive = |name: &str, figure: f64| match figure.is_finite() && figure > 0.0 {
            true => Ok(()),
            false => Err(format!("{name}: {figure} is not a positive figure")),
        };
        if let Some(fitted) = &self.speeds {
            positive("speeds: bandwidth", fitted.bandwidth)?;
            if !(fitted.overhead.is_finite() && fitted.overhead >= 0.0) {
                return Err(format!("speeds: overhead: {} is not a time", fitted.overhead));
            }
            fitted.rates.given().try_for_each(|(name, rate)| positive(&format!("speeds: rates: {name}"), rate))?;
        }
        let copies = self.copies.iter().flat_map(|copies| {
            let Copies { device, from_pinned, to_pinned, from_pageable, to_pageable } = copies;
            [device, from_pinned, to_pinned, from_pageable, to_pageable]
        });
        copies.map(|figure| figure.median).try_for_each(|median| positive("copies", median))?;
        self.kernels.iter().try_for_each(|kernel| positive("kernels: seconds", kernel.seconds.median))
    }
}

impl Figure {
    /// The figure of some measurements; None of none.
    pub fn of(mut measured: Vec<f64>) -> Option<Figure> {
        measured.sort_by(f64::total_cmp);
        let runs = measured.len();
        let at = |part: usize| measured.get((runs.saturating_sub(1) * part + 2) / 4).copied();
        let (lower, median, upper) = (at(1)?, at(2)?, at(3)?);
        let spread = if median == 0.0 { 0.0 } else { (upper - lower) / median };
        Some(Figure { median, spread, runs: runs as u32 })
    }
}

/// A file of another version is refused before its keys are looked at.
fn version(file: &str, text: &str) -> Result<(), ProfileError> {
    #[derive(Deserialize)]
    struct Version {
        memplan_profile: Option<u32>,
    }
    let read: Version = yaml::parse(text, LISTS).map_err(|fault| ProfileError::parse(file, fault))?;
    match read.memplan_profile {
        Some(VERSION) => Ok(()),
        found => Err(ProfileError::Version { file: file.to_owned(), found }),
    }
}

#[cfg(test)]
mod tests;
