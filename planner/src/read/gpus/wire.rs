//! The YAML of a file of GPUs: its keys, and the checks that an entry has to pass.

use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::names::fold;
use super::{ComputeCapability, Gpu, GpuMemory, MemorySource, Pcie, Price, Rates};
use crate::bytes::{Bytes, GIB, MIB};

/// A file: entries in its order, no key twice.
pub(super) struct CatalogueFile(pub(super) Vec<Gpu>);

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
        profile: None,
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
        (Some(_), MemorySource::Nominal | MemorySource::Profile) => {
            return Err(format!("`{key}`: `memory` with `memory_source: {}`", entry.memory_source));
        }
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
