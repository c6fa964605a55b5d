//! How a run is spread over several GPUs: `--ddp N[,key=value...]` and `--fsdp N[,key=value...]`.

use std::fmt;
use std::str::FromStr;

use super::Precision;
use crate::choices::choices;
use crate::dtype::Dtype;
use crate::words::quote;

/// How a run is spread over several GPUs; what is planned is one of them, the first rank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parallel {
    /// `DistributedDataParallel`.
    Ddp(Ddp),
    /// FSDP2: `fully_shard` on each of the model's blocks and on the model.
    Fsdp(Fsdp),
}

/// `torch.nn.parallel.DistributedDataParallel`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ddp {
    /// GPUs.
    pub ranks: u64,
    /// The size of a bucket of gradients in MiB; PyTorch's 25, with a first one of 1, where None is given.
    pub bucket_cap_mb: Option<u64>,
    /// Whether the first rank's parameters and buffers are broadcast at the start. PyTorch's default, which the records
    /// leave out, as runs whose ranks load the same weights can.
    pub init_sync: bool,
    /// Whether gradients live in the buckets.
    pub gradient_as_bucket_view: bool,
    /// Whether the first step learns which parameters are used how often.
    pub static_graph: bool,
}

/// `torch.distributed.fsdp.fully_shard`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fsdp {
    /// GPUs.
    pub ranks: u64,
    /// `reshard_after_forward`; where None is given, every block but not the model.
    pub reshard: Option<bool>,
    /// `MixedPrecisionPolicy.param_dtype`.
    pub param_dtype: Option<Dtype>,
    /// `MixedPrecisionPolicy.reduce_dtype`.
    pub reduce_dtype: Option<Dtype>,
    /// `CPUOffloadPolicy`: parameters, gradients and the optimizer on the host.
    pub offload: bool,
    /// Where the model lies before it is sharded; where None is given, on the meta device, or on the GPU if its weights are
    /// quantised there.
    pub load: Option<LoadedTo>,
}

/// Where a model lies when `fully_shard` takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadedTo {
    /// On the meta device, as torchtitan and PyTorch's tutorial have it: `to_empty(device="cuda")` gives shards their memory.
    Meta,
    /// On the CPU: `fully_shard` moves the parameters of one block after another to the GPU and cuts them there.
    Cpu,
    /// On the GPU, all of it.
    Gpu,
}

choices!(LoadedTo, "place to load to", "meta" => LoadedTo::Meta, "cpu" => LoadedTo::Cpu, "gpu" => LoadedTo::Gpu);

impl Fsdp {
    /// FSDP2 as it is without options.
    pub fn of(ranks: u64) -> Fsdp {
        Fsdp { ranks, reshard: None, param_dtype: None, reduce_dtype: None, offload: false, load: None }
    }

    /// Where the model lies when it is sharded. Quantised weights are made on the GPU (bitsandbytes 0.50.2, nn/modules.py,
    /// `Params4bit._quantize`).
    pub fn loaded_to(&self, is_quantized: bool) -> LoadedTo {
        if is_quantized { LoadedTo::Gpu } else { self.load.unwrap_or(LoadedTo::Meta) }
    }
}

/// The types that a policy may name.
const TYPES: [(&str, Dtype); 3] = [("fp32", Dtype::F32), ("bf16", Dtype::BF16), ("fp16", Dtype::F16)];

/// The most GPUs that are planned for.
pub const MOST_RANKS: u64 = 1 << 20;

/// Words that say no such way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParallelError {
    /// No number of GPUs.
    #[error("{kind}: `{}` is no number of GPUs: `{kind} 8` is one, `{kind} 8,{example}` says more", quote::cut(.word))]
    Ranks {
        /// `ddp` or `fsdp`.
        kind: &'static str,
        /// The word or number that was given.
        word: String,
        /// An option of its kind.
        example: &'static str,
    },
    /// No GPU at all, or more than there are.
    #[error("{kind}: {ranks} GPUs cannot be: it takes 1 to {MOST_RANKS}")]
    Count {
        /// `ddp` or `fsdp`.
        kind: &'static str,
        /// The word or number that was given.
        ranks: u64,
    },
    /// A key that the kind does not have.
    #[error("{kind}: unknown option `{}`: its options are {known}", quote::cut(.key))]
    Key {
        /// `ddp` or `fsdp`.
        kind: &'static str,
        /// The word or number that was given.
        key: String,
        /// The words that are accepted.
        known: &'static str,
    },
    /// A value that the key cannot have.
    #[error("{kind}: `{}` is no {key}: {expected} is expected", quote::cut(.value))]
    Value {
        /// `ddp` or `fsdp`.
        kind: &'static str,
        /// The option.
        key: String,
        /// The word or number that was given.
        value: String,
        /// The words that are accepted.
        expected: &'static str,
    },
}

/// One `key=value`.
struct Entry<'a> {
    kind: &'static str,
    key: &'a str,
    value: &'a str,
}

impl Entry<'_> {
    fn wrong<T>(&self, expected: &'static str) -> Result<T, ParallelError> {
        let (key, value) = (self.key.to_owned(), self.value.to_owned());
        Err(ParallelError::Value { kind: self.kind, key, value, expected })
    }

    fn unknown(&self, known: &'static str) -> ParallelError {
        ParallelError::Key { kind: self.kind, key: self.key.to_owned(), known }
    }

    fn flag(&self) -> Result<bool, ParallelError> {
        match self.value {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => self.wrong("true or false"),
        }
    }

    fn dtype(&self) -> Result<Dtype, ParallelError> {
        match TYPES.iter().find(|(word, _)| *word == self.value) {
            Some((_, dtype)) => Ok(*dtype),
            None => self.wrong("fp32, bf16 or fp16"),
        }
    }

    fn place(&self) -> Result<LoadedTo, ParallelError> {
        match LoadedTo::ALL.iter().find(|(word, _)| *word == self.value) {
            Some((_, place)) => Ok(*place),
            None => self.wrong("meta, cpu or gpu"),
        }
    }
}

/// The number of GPUs and the entries behind it.
fn split<'a>(
    kind: &'static str,
    words: &'a str,
    example: &'static str,
) -> Result<(u64, Vec<Entry<'a>>), ParallelError> {
    let mut parts = words.split(',').map(str::trim);
    let first = parts.next().unwrap_or_default();
    let unknown = || ParallelError::Ranks { kind, word: first.to_owned(), example };
    let ranks: u64 = first.parse().map_err(|_| unknown())?;
    if ranks == 0 || ranks > MOST_RANKS {
        return Err(ParallelError::Count { kind, ranks });
    }
    let entries = parts.map(|part| {
        let (key, value) = part.split_once('=').unwrap_or((part, "true"));
        Entry { kind, key: key.trim(), value: value.trim() }
    });
    Ok((ranks, entries.collect()))
}

impl FromStr for Ddp {
    type Err = ParallelError;

    /// `8,gradient_as_bucket_view=true`
    fn from_str(words: &str) -> Result<Ddp, ParallelError> {
        let (ranks, entries) = split("ddp", words, "gradient_as_bucket_view=true")?;
        let mut ddp =
            Ddp { ranks, bucket_cap_mb: None, init_sync: false, gradient_as_bucket_view: false, static_graph: false };
        for entry in entries {
            match entry.key {
                "bucket_cap_mb" => match entry.value.parse() {
                    Ok(size) if (1..=1 << 20).contains(&size) => ddp.bucket_cap_mb = Some(size),
                    _ => return entry.wrong("a whole number of MiB"),
                },
                "init_sync" => ddp.init_sync = entry.flag()?,
                "gradient_as_bucket_view" => ddp.gradient_as_bucket_view = entry.flag()?,
                "static_graph" => ddp.static_graph = entry.flag()?,
                _ => return Err(entry.unknown("bucket_cap_mb, gradient_as_bucket_view, init_sync, static_graph")),
            }
        }
        Ok(ddp)
    }
}

impl FromStr for Fsdp {
    type Err = ParallelError;

    /// `8,reshard=false`
    fn from_str(words: &str) -> Result<Fsdp, ParallelError> {
        let (ranks, entries) = split("fsdp", words, "reshard=false")?;
        let mut fsdp = Fsdp::of(ranks);
        for entry in entries {
            match entry.key {
                "reshard" => fsdp.reshard = Some(entry.flag()?),
                "param_dtype" => fsdp.param_dtype = Some(entry.dtype()?),
                "reduce_dtype" => fsdp.reduce_dtype = Some(entry.dtype()?),
                "offload" => fsdp.offload = entry.flag()?,
                "load" => fsdp.load = Some(entry.place()?),
                _ => return Err(entry.unknown("reshard, param_dtype, reduce_dtype, offload, load")),
            }
        }
        Ok(fsdp)
    }
}

/// The words of an entry, if it has a value.
fn entry(key: &str, value: Option<impl fmt::Display>) -> Option<String> {
    value.map(|value| format!("{key}={value}"))
}

/// The words of a switch that is on.
fn on(key: &str, on: bool) -> Option<String> {
    entry(key, on.then_some(true))
}

/// The ranks with the entries that say something.
fn joined<const N: usize>(ranks: u64, entries: [Option<String>; N]) -> String {
    let words = [ranks.to_string()].into_iter().chain(entries.into_iter().flatten());
    words.collect::<Vec<_>>().join(",")
}

impl fmt::Display for Ddp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = [
            entry("bucket_cap_mb", self.bucket_cap_mb),
            on("init_sync", self.init_sync),
            on("gradient_as_bucket_view", self.gradient_as_bucket_view),
            on("static_graph", self.static_graph),
        ];
        f.write_str(&joined(self.ranks, entries))
    }
}

impl fmt::Display for Fsdp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = [
            entry("reshard", self.reshard),
            entry("param_dtype", self.param_dtype.and_then(Precision::of)),
            entry("reduce_dtype", self.reduce_dtype.and_then(Precision::of)),
            on("offload", self.offload),
            entry("load", self.load),
        ];
        f.write_str(&joined(self.ranks, entries))
    }
}

impl Parallel {
    /// The words behind `--ddp`.
    ///
    /// # Errors
    /// Words that say no such way.
    pub fn ddp(words: &str) -> Result<Parallel, ParallelError> {
        words.parse().map(Parallel::Ddp)
    }

    /// The words behind `--fsdp`.
    ///
    /// # Errors
    /// Words that say no such way.
    pub fn fsdp(words: &str) -> Result<Parallel, ParallelError> {
        words.parse().map(Parallel::Fsdp)
    }

    /// How many GPUs.
    pub fn ranks(&self) -> u64 {
        match self {
            Parallel::Ddp(ddp) => ddp.ranks,
            Parallel::Fsdp(fsdp) => fsdp.ranks,
        }
    }

    /// The flag that asks for it, and the words behind it: `ddp` and `8,gradient_as_bucket_view=true`.
    pub fn flag(&self) -> (&'static str, String) {
        match self {
            Parallel::Ddp(ddp) => ("ddp", ddp.to_string()),
            Parallel::Fsdp(fsdp) => ("fsdp", fsdp.to_string()),
        }
    }

    /// The words that say it: `ddp 8, gradient_as_bucket_view`.
    pub fn words(&self) -> String {
        let dtype = |key: &str, dtype: Option<Dtype>| dtype.map(|dtype| format!("{key} {dtype}"));
        let flag = |flag: bool, word: &str| flag.then(|| word.to_owned());
        let words = match self {
            Parallel::Ddp(ddp) => vec![
                Some(format!("ddp {}", ddp.ranks)),
                ddp.bucket_cap_mb.map(|size| format!("buckets of {size} MiB")),
                flag(ddp.init_sync, "parameters broadcast"),
                flag(ddp.gradient_as_bucket_view, "gradients in buckets"),
                flag(ddp.static_graph, "static graph"),
            ],
            Parallel::Fsdp(fsdp) => vec![
                Some(format!("fsdp {}", fsdp.ranks)),
                fsdp.reshard.map(|reshard| if reshard { "reshard" } else { "no reshard" }.to_owned()),
                dtype("parameters", fsdp.param_dtype),
                dtype("reduced", fsdp.reduce_dtype),
                flag(fsdp.offload, "offload"),
                fsdp.load.map(|place| format!("loaded to {place}")),
            ],
        };
        words.into_iter().flatten().collect::<Vec<_>>().join(" + ")
    }
}
