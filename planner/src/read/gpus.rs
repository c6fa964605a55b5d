//! The GPU catalogue: what each GPU has and how fast it is, read from `specs/gpus/*.yaml`.
//!
//! A file maps a key to an entry. A user's folder is read after the embedded one and replaces entries of the same key:
//!
//! ```text
//! specs/gpus/*.yaml (embedded) ─┐
//!                               ├─> GpuCatalogue ── find("RTX 4090") ──> Gpu
//! DIR/gpus/*.yaml (--specs DIR) ┘       keys, then aliases, then names, spelled in any way
//! ```
//!
//! A figure that is not known is left out; none is estimated. How far the memory figure can be trusted is said by
//! [`MemorySource`] and [`GpuMemory::within`].

mod error;
mod names;
mod wire;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

pub use error::GpuError;
use names::{distance_to, fold, other_maker};
use wire::CatalogueFile;

use super::profiles::{Profile, ProfileError};
use super::specs;
use super::yaml::{self, YamlFault};
use crate::bytes::Bytes;
use crate::files;

/// The longest file of GPUs that is read, in bytes.
const LARGEST_CATALOGUE: u64 = 16 << 20;

/// Where all keys of a GPU can be seen.
const LISTS: &str = "the files of specs/gpus/ have all";

/// One GPU of the catalogue.
#[derive(Clone, Debug, PartialEq)]
pub struct Gpu {
    /// The catalogue's key: lower case, `a100-80gb`.
    pub key: String,
    /// The name that the driver and nvidia-smi show.
    pub name: String,
    /// Further names that find this entry.
    pub aliases: Vec<String>,
    /// How much memory there is.
    pub memory: GpuMemory,
    /// The CUDA compute capability.
    pub compute_capability: ComputeCapability,
    /// Streaming multiprocessors that are enabled, as CUDA reports them.
    pub multiprocessors: u32,
    /// Resident threads that one multiprocessor holds.
    pub threads_per_multiprocessor: Option<u32>,
    /// Peak bandwidth of the device memory, bytes/s.
    pub memory_bandwidth: Option<f64>,
    /// Peak arithmetic rates.
    pub rates: Rates,
    /// Size of the level 2 cache.
    pub l2: Option<Bytes>,
    /// NVLink bandwidth to all peers together, both directions summed, bytes/s; `None` also where there is no NVLink.
    pub nvlink: Option<f64>,
    /// The link to the host.
    pub pcie: Option<Pcie>,
    /// Rated board power, watts; the highest where it can be configured.
    pub tdp_watts: Option<u32>,
    /// Year in which it came out.
    pub launched: Option<u32>,
    /// What it cost, where and when.
    pub prices: Vec<Price>,
    /// Where the figures other than the memory come from.
    pub sources: Vec<String>,
    /// What was measured on such a GPU, if it was.
    pub profile: Option<Arc<Profile>>,
}

/// Device memory as a program sees it: the total of `cudaMemGetInfo`, the context not yet taken off. Drivers differ by up
/// to 1 % in what they reserve, ECC (where it can be switched) takes 6 %, and Windows shows more than Linux.
#[derive(Clone, Debug, PartialEq)]
pub struct GpuMemory {
    /// The best figure there is.
    pub total: Bytes,
    /// One unit of the last digit that the source gives; zero where it gives bytes.
    pub within: Bytes,
    /// The kind of the source.
    pub source: MemorySource,
    /// The source itself: who printed the figure.
    pub from: String,
    /// The size on the box.
    pub nominal: Bytes,
}

/// Where a memory figure comes from, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum MemorySource {
    /// CUDA's own total, printed by a program that asked for it.
    #[serde(rename = "driver")]
    Driver,
    /// The total capacity in PyTorch's out-of-memory message, which is CUDA's total in GiB with two decimals.
    #[serde(rename = "out-of-memory message")]
    OutOfMemoryMessage,
    /// The total that nvidia-smi prints. It includes what the driver reserves, so a program sees less.
    #[serde(rename = "nvidia-smi")]
    NvidiaSmi,
    /// The size on the box, in GiB. A program sees less.
    #[serde(rename = "nominal")]
    Nominal,
    /// CUDA's own total, as a profile has it; no catalogue does.
    #[serde(skip)]
    Profile,
}

/// A CUDA compute capability; written as text, `"8.9"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComputeCapability {
    /// The generation.
    pub major: u32,
    /// The variant within it.
    pub minor: u32,
}

/// Peak dense rates (no sparsity) at boost clock, in operations a second, a multiply-add counted as two. Tensor cores
/// where the type has them, accumulating in 32 bits, which is what PyTorch asks for and what GeForce cards do at half
/// speed. A type that the GPU cannot compute in has no rate.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rates {
    /// 64-bit floating point.
    pub fp64: Option<f64>,
    /// 32-bit floating point, without tensor cores.
    pub fp32: Option<f64>,
    /// 32-bit operands with the mantissa of fp16.
    pub tf32: Option<f64>,
    /// 16-bit IEEE floating point.
    pub fp16: Option<f64>,
    /// 16-bit floating point with the exponent of fp32.
    pub bf16: Option<f64>,
    /// 8-bit floating point, E4M3 and E5M2.
    pub fp8: Option<f64>,
    /// 8-bit integers.
    pub int8: Option<f64>,
    /// 4-bit floating point.
    pub fp4: Option<f64>,
}

impl Serialize for Rates {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.given())
    }
}

impl Rates {
    /// The rates that there are, each with its name.
    pub fn given(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let Rates { fp64, fp32, tf32, fp16, bf16, fp8, int8, fp4 } = self;
        let all = [
            ("fp64", fp64),
            ("fp32", fp32),
            ("tf32", tf32),
            ("fp16", fp16),
            ("bf16", bf16),
            ("fp8", fp8),
            ("int8", int8),
            ("fp4", fp4),
        ];
        all.map(|(name, rate)| (name, *rate)).into_iter().filter_map(|(name, rate)| Some((name, rate?)))
    }

    /// These, and others' where these have none.
    pub fn or(&self, others: &Rates) -> Rates {
        Rates {
            fp64: self.fp64.or(others.fp64),
            fp32: self.fp32.or(others.fp32),
            tf32: self.tf32.or(others.tf32),
            fp16: self.fp16.or(others.fp16),
            bf16: self.bf16.or(others.bf16),
            fp8: self.fp8.or(others.fp8),
            int8: self.int8.or(others.int8),
            fp4: self.fp4.or(others.fp4),
        }
    }
}

/// A PCI Express link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pcie {
    /// Generation of the standard.
    pub generation: u32,
    /// Lanes that are wired.
    pub lanes: u32,
}

/// What was asked for a GPU at one place and time.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// US dollars, taxes not included.
    pub usd: f64,
    /// What that buys.
    pub per: PriceUnit,
    /// Year and month, `2025-01`.
    pub date: String,
    /// Who asked it.
    pub source: String,
}

/// What a price buys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PriceUnit {
    /// The card itself.
    Card,
    /// An hour of one GPU, rented.
    Hour,
}

/// All GPUs that are known, each under its key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GpuCatalogue {
    gpus: BTreeMap<String, Gpu>, // by the folded key
}

impl GpuCatalogue {
    /// The embedded catalogue, with the entries of a user's folder (its `gpus/*.yaml`) in place of those with their key.
    pub fn load(user_specs: Option<&Path>) -> Result<GpuCatalogue, GpuError> {
        let mut catalogue = GpuCatalogue::default();
        for (path, text) in specs::embedded_files("gpus").into_iter().filter(|(path, _)| path.ends_with(".yaml")) {
            catalogue.add(&format!("specs/{path}"), text)?;
        }
        for (path, text) in specs::embedded_files("gpus/profiles") {
            catalogue.measured(Profile::parse(&format!("specs/{path}"), text)?);
        }
        if let Some(folder) = user_specs {
            for path in user_files(&folder.join("gpus"))? {
                let text = files::text(&path, LARGEST_CATALOGUE)
                    .map_err(|source| GpuError::Read { path: path.clone(), source })?;
                catalogue.add(&path.display().to_string(), &text)?;
            }
        }
        Ok(catalogue)
    }

    /// Reads one file's text; its entries replace those of the same key.
    pub fn add(&mut self, file: &str, text: &str) -> Result<(), GpuError> {
        let CatalogueFile(gpus) = yaml::parse(text, LISTS).map_err(|fault| parse_error(file, fault))?;
        self.gpus.extend(gpus.into_iter().map(|gpu| (fold(&gpu.key), gpu)));
        Ok(())
    }

    /// Reads the profiles of a folder, as `memplan calibrate` leaves them: each is the GPU's that it was measured on from
    /// now on.
    ///
    /// # Errors
    /// A folder or a profile that cannot be read.
    pub fn add_profiles(&mut self, folder: &Path) -> Result<(), GpuError> {
        for path in user_files(folder)? {
            self.measured(Profile::read(&path)?);
        }
        Ok(())
    }

    /// Gives a profile to the GPU that it was measured on: of several with the driver's name, the one with the nearest
    /// memory. The key of that GPU; None where there is none.
    pub fn measured(&mut self, profile: Profile) -> Option<String> {
        let total = profile.memory.as_ref().map_or(0, |memory| memory.total.0);
        let named = self.gpus.values_mut().filter(|gpu| gpu.is_called(&profile.measured.gpu));
        let gpu = named.min_by_key(|gpu| gpu.memory.total.0.abs_diff(total))?;
        if let Some(memory) = &profile.memory {
            let from = format!("the profile {} of {}", profile.name, profile.measured.date);
            let (total, nominal) = (memory.total, gpu.memory.nominal);
            gpu.memory = GpuMemory { total, within: Bytes(0), source: MemorySource::Profile, from, nominal };
        }
        gpu.profile = Some(Arc::new(profile));
        Some(gpu.key.clone())
    }

    /// Refuses the profile of a GPU, by its key, that is not among those that are planned for.
    pub fn check_profiled(&self, profiled: Option<&str>, planned: &[&str]) -> Result<(), ProfileError> {
        let other = |gpu: &&Gpu| !planned.contains(&gpu.key.as_str());
        let Some(gpu) = profiled.and_then(|key| self.find(key).ok()).filter(other) else { return Ok(()) };
        let profile = gpu.profile.as_ref().map_or_else(String::new, |profile| profile.name.clone());
        Err(ProfileError::OtherGpu { profile, measured: gpu.key.clone(), planned: planned.join(", ") })
    }

    /// The GPU of this name. Case, spaces, punctuation, "NVIDIA" and "GeForce" do not matter; a key is tried first, then
    /// an alias, then the driver's name, which several entries may share, then a key without its line of products ("4090").
    ///
    /// # Errors
    /// A name that no GPU has, that several have, or that another maker's has.
    pub fn find(&self, name: &str) -> Result<&Gpu, GpuError> {
        let folded = fold(name);
        if let Some(gpu) = self.gpus.get(&folded).or_else(|| self.iter().find(|gpu| gpu.has_name(&folded))) {
            return Ok(gpu);
        }
        let of = |is: &dyn Fn(&Gpu) -> bool| self.iter().filter(|gpu| is(gpu)).collect::<Vec<&Gpu>>();
        let called = of(&|gpu| gpu.is_called(name));
        let named = if called.is_empty() { of(&|gpu| gpu.has_number(&folded)) } else { called };
        match (&named[..], other_maker(name)) {
            ([gpu], _) => Ok(gpu),
            ([], Some(maker)) => Err(GpuError::Other { name: name.to_owned(), maker }),
            ([], None) => Err(GpuError::Unknown { name: name.to_owned(), nearest: self.nearest(&folded) }),
            _ => Err(GpuError::Ambiguous { name: name.to_owned(), keys: keys(&named) }),
        }
    }

    /// Which other GPUs a name may mean, beside the one that it is taken for: "a100" does not say how much memory.
    pub fn also_called(&self, name: &str, taken: &Gpu) -> Vec<&Gpu> {
        let folded = fold(name);
        let others = self.iter().filter(|gpu| gpu.key != taken.key && gpu.is_kind_of(&folded));
        others.filter(|_| fold(&taken.key) != folded).collect()
    }

    /// The GPUs of a list with commas, in its order and each once; of `all` every one, those with the least memory first.
    ///
    /// # Errors
    /// A name that no GPU has, or that several have.
    pub fn listed(&self, names: &str) -> Result<Vec<Gpu>, GpuError> {
        if names.trim().eq_ignore_ascii_case("all") {
            let mut all: Vec<Gpu> = self.iter().cloned().collect();
            all.sort_by_key(|gpu| gpu.memory.total);
            return Ok(all);
        }
        let mut gpus: Vec<Gpu> = Vec::new();
        for name in names.split(',') {
            let gpu = self.find(name.trim())?;
            if !gpus.contains(gpu) {
                gpus.push(gpu.clone());
            }
        }
        Ok(gpus)
    }

    /// Every GPU, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = &Gpu> {
        self.gpus.values()
    }

    /// The keys of the three GPUs whose key, alias or name is nearest.
    fn nearest(&self, folded: &str) -> Vec<String> {
        let mut ranked: Vec<(usize, &Gpu)> = self.iter().map(|gpu| (distance_to(gpu, folded), gpu)).collect();
        ranked.sort_by_key(|&(distance, _)| distance);
        ranked.into_iter().take(3).map(|(_, gpu)| gpu.key.clone()).collect()
    }
}

impl Gpu {
    /// A GPU without a name of so much memory, all else as of this one: nothing is known of it but what it holds.
    pub fn with_memory(self, total: Bytes) -> Gpu {
        let name = format!("a GPU of {total} with the kernels of {}", self.key);
        let memory = GpuMemory {
            total,
            within: Bytes(0),
            source: MemorySource::Nominal,
            from: "--vram".to_owned(),
            nominal: total,
        };
        let (profile, prices) = (None, Vec::new());
        Gpu { key: "vram".to_owned(), name, aliases: Vec::new(), memory, prices, profile, ..self }
    }

    /// Whether its speeds were measured.
    pub fn has_measured_speeds(&self) -> bool {
        self.profile.as_ref().is_some_and(|profile| profile.speeds.is_some())
    }

    /// Whether the driver calls it so.
    pub fn is_called(&self, name: &str) -> bool {
        fold(&self.name) == fold(name)
    }
}

impl ComputeCapability {
    /// The capability of this version.
    pub const fn new(major: u32, minor: u32) -> ComputeCapability {
        ComputeCapability { major, minor }
    }
}

impl fmt::Display for ComputeCapability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl fmt::Display for MemorySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MemorySource::Driver => "driver",
            MemorySource::OutOfMemoryMessage => "out-of-memory message",
            MemorySource::NvidiaSmi => "nvidia-smi",
            MemorySource::Nominal => "nominal",
            MemorySource::Profile => "profile",
        })
    }
}

fn keys(gpus: &[&Gpu]) -> Vec<String> {
    gpus.iter().map(|gpu| gpu.key.clone()).collect()
}

/// The `.yaml` files of a folder, sorted; none where there is no such folder.
fn user_files(folder: &Path) -> Result<Vec<PathBuf>, GpuError> {
    let failed = |source| GpuError::Read { path: folder.to_owned(), source };
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut files: Vec<PathBuf> = entries.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>().map_err(failed)?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort_unstable();
    Ok(files)
}

fn parse_error(file: &str, fault: YamlFault) -> GpuError {
    let YamlFault { line, column, message } = fault;
    GpuError::Parse { file: file.to_owned(), line, column, message }
}
