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

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::specs;
use crate::bytes::{Bytes, GIB, MIB};

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

/// What can go wrong with the catalogue.
#[derive(Debug, thiserror::Error)]
pub enum GpuError {
    /// A file or folder of the user's cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not a catalogue: not YAML, an unknown key, a figure of the wrong type or out of bounds.
    #[error("{file}:{line}:{column}: {message}")]
    Parse {
        /// The file.
        file: String,
        /// Line, from 1; 0 where the place is unknown.
        line: usize,
        /// Column, from 1; 0 where the place is unknown.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// The catalogue has no such GPU.
    #[error("no GPU is called {name:?}; the nearest are {}", nearest.join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
        /// The keys of the GPUs with the nearest names, nearest first.
        nearest: Vec<String>,
    },
    /// The name fits several GPUs.
    #[error("{name:?} may be any of {}; say which", keys.join(", "))]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// The keys of the GPUs that it fits.
        keys: Vec<String>,
    },
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
        if let Some(folder) = user_specs {
            for path in user_files(&folder.join("gpus"))? {
                let text =
                    std::fs::read_to_string(&path).map_err(|source| GpuError::Read { path: path.clone(), source })?;
                catalogue.add(&path.display().to_string(), &text)?;
            }
        }
        Ok(catalogue)
    }

    /// Reads one file's text; its entries replace those of the same key.
    pub fn add(&mut self, file: &str, text: &str) -> Result<(), GpuError> {
        let CatalogueFile(gpus) = serde_yaml::from_str(text).map_err(|error| parse_error(file, &error))?;
        self.gpus.extend(gpus.into_iter().map(|gpu| (fold(&gpu.key), gpu)));
        Ok(())
    }

    /// The GPU of this name. Case, spaces, punctuation, "NVIDIA" and "GeForce" do not matter; a key is tried first, then
    /// an alias, then the driver's name, which several entries may share.
    pub fn find(&self, name: &str) -> Result<&Gpu, GpuError> {
        let folded = fold(name);
        if let Some(gpu) = self.gpus.get(&folded) {
            return Ok(gpu);
        }
        if let Some(gpu) = self.iter().find(|gpu| gpu.aliases.iter().any(|alias| fold(alias) == folded)) {
            return Ok(gpu);
        }
        let named: Vec<&Gpu> = self.iter().filter(|gpu| fold(&gpu.name) == folded).collect();
        match named[..] {
            [gpu] => Ok(gpu),
            [] => Err(GpuError::Unknown { name: name.to_owned(), nearest: self.nearest(&folded) }),
            _ => Err(GpuError::Ambiguous { name: name.to_owned(), keys: keys(&named) }),
        }
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
        })
    }
}

/// A name without what people write differently: only letters and digits, in lower case, no maker and no brand.
fn fold(name: &str) -> String {
    let letters: String = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    letters.replace("nvidia", "").replace("geforce", "")
}

fn keys(gpus: &[&Gpu]) -> Vec<String> {
    gpus.iter().map(|gpu| gpu.key.clone()).collect()
}

/// How far a name is from a GPU's nearest name; a beginning of one ("a100") is nearer than any misspelling.
fn distance_to(gpu: &Gpu, folded: &str) -> usize {
    let names = gpu.aliases.iter().chain([&gpu.key, &gpu.name]).map(|name| fold(name));
    let distance = |name: String| {
        let begins = folded.len() > 1 && name.starts_with(folded);
        if begins { 0 } else { edits(name.as_bytes(), folded.as_bytes()) }
    };
    names.map(distance).min().unwrap_or(usize::MAX)
}

/// The fewest insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
fn edits(a: &[u8], b: &[u8]) -> usize {
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()]; // rows[i][j]: of a[..i] to b[..j]
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut fewest = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                fewest = fewest.min(rows[i - 2][j - 2] + 1);
            }
            row.push(fewest);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
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

fn parse_error(file: &str, error: &serde_yaml::Error) -> GpuError {
    let (line, column) = error.location().map_or((0, 0), |at| (at.line(), at.column()));
    let message = error.to_string();
    let place = format!(" at line {line} column {column}");
    GpuError::Parse { file: file.to_owned(), line, column, message: message.replace(&place, "") }
}

// ---- the wire format ----------------------------------------------------------------------------------------------

/// A file: entries in its order, no key twice.
struct CatalogueFile(Vec<Gpu>);

/// An entry as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    #[serde(default)]
    aliases: Vec<String>,
    memory: Option<Amount>,
    memory_source: MemorySource,
    memory_from: Option<String>,
    memory_nominal_gib: u32,
    compute_capability: ComputeCapability,
    multiprocessors: u32,
    threads_per_multiprocessor: Option<u32>,
    memory_bandwidth: Option<f64>,
    #[serde(default)]
    rates: Rates,
    l2: Option<u64>,
    nvlink: Option<f64>,
    pcie: Option<Pcie>,
    tdp_watts: Option<u32>,
    launched: Option<u32>,
    #[serde(default)]
    prices: Vec<Price>,
    #[serde(default)]
    sources: Vec<String>,
}

/// A size as its source gives it: `150109880320`, `22478 MiB` or `44.40 GiB`.
struct Amount {
    bytes: Bytes,
    within: Bytes,
}

impl<'de> Deserialize<'de> for CatalogueFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<CatalogueFile, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = CatalogueFile;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping from keys to GPUs")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<CatalogueFile, M::Error> {
                let mut gpus: Vec<Gpu> = Vec::new();
                while let Some(key) = map.next_key::<String>()? {
                    if gpus.iter().any(|gpu| fold(&gpu.key) == fold(&key)) {
                        return Err(M::Error::custom(format!("`{key}` is given twice")));
                    }
                    let entry: Entry = map.next_value()?;
                    gpus.push(gpu(key, entry).map_err(M::Error::custom)?);
                }
                Ok(CatalogueFile(gpus))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// Checks an entry and gives it its final form.
fn gpu(key: String, entry: Entry) -> Result<Gpu, String> {
    if fold(&key).is_empty() || key.chars().any(|c| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')) {
        return Err(format!("`{key}` is no key: lower case letters, digits and dashes"));
    }
    let memory = memory(&key, &entry)?;
    check_figures(&key, &entry)?;
    Ok(Gpu {
        key,
        name: entry.name,
        aliases: entry.aliases,
        memory,
        compute_capability: entry.compute_capability,
        multiprocessors: entry.multiprocessors,
        threads_per_multiprocessor: entry.threads_per_multiprocessor,
        memory_bandwidth: entry.memory_bandwidth,
        rates: entry.rates,
        l2: entry.l2.map(Bytes),
        nvlink: entry.nvlink,
        pcie: entry.pcie,
        tdp_watts: entry.tdp_watts,
        launched: entry.launched,
        prices: entry.prices,
        sources: entry.sources,
    })
}

/// A rate or a count that is there is positive.
fn check_figures(key: &str, entry: &Entry) -> Result<(), String> {
    let Rates { fp64, fp32, tf32, fp16, bf16, fp8, int8, fp4 } = entry.rates;
    let rates = [entry.memory_bandwidth, entry.nvlink, fp64, fp32, tf32, fp16, bf16, fp8, int8, fp4];
    let prices = entry.prices.iter().map(|price| price.usd);
    let counts = [Some(entry.multiprocessors), entry.threads_per_multiprocessor].into_iter().flatten();
    let mut figures = rates.into_iter().flatten().chain(prices).chain(counts.map(f64::from));
    match figures.find(|figure| !(figure.is_finite() && *figure > 0.0)) {
        Some(figure) => Err(format!("`{key}`: {figure} is not a positive figure")),
        None => Ok(()),
    }
}

fn memory(key: &str, entry: &Entry) -> Result<GpuMemory, String> {
    let nominal = Bytes(u64::from(entry.memory_nominal_gib) * GIB);
    let (total, within) = match (&entry.memory, entry.memory_source) {
        (None, MemorySource::Nominal) => (nominal, Bytes(GIB)),
        (Some(amount), MemorySource::Driver | MemorySource::OutOfMemoryMessage | MemorySource::NvidiaSmi) => {
            (amount.bytes, amount.within)
        }
        (Some(_), MemorySource::Nominal) => return Err(format!("`{key}`: `memory` with `memory_source: nominal`")),
        (None, source) => return Err(format!("`{key}`: `memory_source: {source}` without `memory`")),
    };
    if total == Bytes(0) || total > nominal {
        return Err(format!("`{key}`: {total} of memory, with {nominal} nominal"));
    }
    let from = entry.memory_from.clone().unwrap_or_else(|| entry.memory_source.to_string());
    Ok(GpuMemory { total, within, source: entry.memory_source, from, nominal })
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Amount, D::Error> {
        struct AmountText;
        impl Visitor<'_> for AmountText {
            type Value = Amount;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of bytes, or text like `22478 MiB` or `44.40 GiB`")
            }
            fn visit_u64<E: serde::de::Error>(self, bytes: u64) -> Result<Amount, E> {
                Ok(Amount { bytes: Bytes(bytes), within: Bytes(0) })
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Amount, E> {
                amount(text).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(AmountText)
    }
}

/// `44.40 GiB`: a decimal number and its unit.
fn amount(text: &str) -> Option<Amount> {
    let (number, unit) = text.split_once(' ')?;
    let unit = match unit {
        "MiB" => MIB,
        "GiB" => GIB,
        _ => return None,
    };
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    let scale = 10u64.checked_pow(u32::try_from(decimals.len()).ok()?)?;
    let digits: u64 = format!("{whole}{decimals}").parse().ok()?;
    Some(Amount { bytes: Bytes(digits.checked_mul(unit)? / scale), within: Bytes(unit / scale) })
}

impl<'de> Deserialize<'de> for ComputeCapability {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ComputeCapability, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parts = text.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        let (major, minor) = parts.ok_or_else(|| D::Error::custom(format!("{text:?} is no version like \"8.9\"")))?;
        Ok(ComputeCapability { major, minor })
    }
}
