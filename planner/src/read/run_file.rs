//! A run as people write it: the keys of `--run FILE.yaml`, which are those of the command line.
//!
//! ```text
//! command line ─┐
//!               ├─ or ─> Wishes ── run() ──> Run, with defaults for what nobody wishes
//! FILE.yaml ────┘          `new-tokens` may be written `new_tokens`; unknown keys are errors with file, line and column
//! ```

mod parallel;
mod write;

use std::fmt::{self, Display};
use std::fs;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::bytes::Bytes;
use crate::graph::{Checkpointing, Lora, QuantizedType};
use crate::lower::kernels::attention::Backend;
use crate::read::export::{Dims, LossKind};
use crate::read::model::Model;
use crate::run::{
    Attention, CacheChoice, CacheDtype, CacheKind, HostChoice, Mode, OptimizerChoice, Parallel, Pattern, Precision,
    Run, RunError, Sample, SavedOperators, Variables, ZeroGrad, kernel_word, parse_kernel,
};
use crate::versions::{Release, Versions};

/// The longest run file that is read, in bytes.
const LARGEST_RUN_FILE: u64 = 1 << 20;

/// What is wished for; what is not said is None.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case", expecting = "a run, key by key: `batch: 4`")]
pub struct Wishes {
    /// A folder or a built-in name.
    pub model: Option<String>,
    /// The architecture in place of the one that the config names.
    pub architecture: Option<String>,
    /// Weights in place of the model's own: a safetensors file, an index or a folder.
    pub weights: Option<PathBuf>,
    /// What the loop does.
    #[serde(deserialize_with = "word", serialize_with = "write::word")]
    pub mode: Option<Mode>,
    /// Sequences at once.
    pub batch: Option<u64>,
    /// Tokens of each.
    pub seq: Option<u64>,
    /// Rows and columns of each image.
    pub image: Option<u64>,
    /// Tokens to generate.
    #[serde(alias = "new_tokens")]
    pub new_tokens: Option<u64>,
    /// The weights' type.
    #[serde(deserialize_with = "word", serialize_with = "write::word")]
    pub precision: Option<Precision>,
    /// Whether losses are scaled, as amp-fp16 has it.
    #[serde(alias = "grad_scaler")]
    pub grad_scaler: Option<bool>,
    /// The optimizer.
    #[serde(deserialize_with = "optimizer", serialize_with = "write::word")]
    pub optimizer: Option<OptimizerChoice>,
    /// The norm to which gradients are clipped.
    pub clip: Option<f64>,
    /// Micro-batches of each optimizer step.
    pub accumulate: Option<u64>,
    /// Which modules' calls are checkpointed: none, full, or a list of paths.
    #[serde(deserialize_with = "checkpoint", serialize_with = "write::checkpoint")]
    pub checkpoint: Option<Checkpointing>,
    /// Whether checkpoints are as `use_reentrant=True` does it.
    pub reentrant: Option<bool>,
    /// Whether training hands a cache to the layers.
    #[serde(alias = "use_cache")]
    pub use_cache: Option<bool>,
    /// The operators whose results checkpointed regions save: a list, or a text with commas.
    #[serde(deserialize_with = "saved_operators", serialize_with = "write::word", alias = "checkpoint_save")]
    pub checkpoint_save: Option<SavedOperators>,
    /// When gradients are let go: after-step, before-forward or before-backward.
    #[serde(deserialize_with = "word", serialize_with = "write::word", alias = "zero_grad")]
    pub zero_grad: Option<ZeroGrad>,
    /// How many steps' losses are kept with their graphs.
    #[serde(alias = "keep_losses")]
    pub keep_losses: Option<u64>,
    /// Data parallel with whole parameters: `8`, or `8,gradient_as_bucket_view=true`.
    #[serde(deserialize_with = "parallel::ddp", serialize_with = "write::parallel")]
    pub ddp: Option<Parallel>,
    /// Data parallel with sharded parameters.
    #[serde(deserialize_with = "parallel::fsdp", serialize_with = "write::parallel")]
    pub fsdp: Option<Parallel>,
    /// Either, as a mapping: `{ddp: 8}`.
    #[serde(deserialize_with = "parallel::either", serialize_with = "write::either")]
    pub parallel: Option<Parallel>,
    /// The parameters that need gradients.
    #[serde(deserialize_with = "word", serialize_with = "write::word")]
    pub trainable: Option<Pattern>,
    /// The adapters: the flag's text, or a mapping with its keys.
    #[serde(deserialize_with = "adapters", serialize_with = "write::word")]
    pub lora: Option<Lora>,
    /// How linear layers are quantised.
    #[serde(deserialize_with = "word", serialize_with = "write::word")]
    pub quantize: Option<QuantizedType>,
    /// Whether the scales of 4-bit weights are quantised as well.
    #[serde(alias = "double_quant")]
    pub double_quant: Option<bool>,
    /// How often the loop goes round.
    pub steps: Option<u64>,
    /// How the model computes attention.
    #[serde(deserialize_with = "word", serialize_with = "write::word")]
    pub attention: Option<Attention>,
    /// The attention kernel.
    #[serde(deserialize_with = "word", serialize_with = "write::word")]
    pub sdpa: Option<Kernel>,
    /// How keys and values of past tokens are kept: dynamic, static or paged.
    #[serde(deserialize_with = "word", serialize_with = "write::word")]
    pub cache: Option<CacheKind>,
    /// The tokens of a sequence that a static cache or pages hold.
    #[serde(alias = "cache_tokens")]
    pub cache_tokens: Option<u64>,
    /// The tokens of a page.
    #[serde(alias = "page_tokens")]
    pub page_tokens: Option<u64>,
    /// The type of what pages hold.
    #[serde(deserialize_with = "word", serialize_with = "write::word", alias = "cache_dtype")]
    pub cache_dtype: Option<CacheDtype>,
    /// The GPU's name.
    pub gpu: Option<String>,
    /// The profile that was measured on the GPU.
    pub profile: Option<PathBuf>,
    /// What the allocator may take.
    #[serde(deserialize_with = "word")]
    pub capacity: Option<Bytes>,
    /// `PYTORCH_CUDA_ALLOC_CONF`.
    pub allocator: Option<String>,
    /// PyTorch's release. A version without quotes is read as it is written: 2.10 is not 2.1.
    #[serde(deserialize_with = "release", serialize_with = "write::word")]
    pub torch: Option<Release>,
    /// transformers' release.
    #[serde(deserialize_with = "release", serialize_with = "write::word")]
    pub transformers: Option<Release>,
    /// The environment or lock file that says the releases which nobody wishes for; kept plans have the releases instead.
    #[serde(skip_serializing)]
    pub env: Option<PathBuf>,
    /// Environment variables: `{CUBLAS_WORKSPACE_CONFIG: ':16:8'}`.
    #[serde(deserialize_with = "variables", serialize_with = "write::variables")]
    pub variables: Option<Variables>,
    /// Whether the model's output is kept until the step ends.
    #[serde(alias = "hold_outputs")]
    pub hold_outputs: Option<bool>,
    /// The data loader's workers.
    pub workers: Option<u64>,
    /// The batches that each of them has under way.
    pub prefetch: Option<u64>,
    /// What one sample takes: bytes, or `image=HxW`.
    #[serde(deserialize_with = "word", serialize_with = "write::word")]
    pub sample: Option<Sample>,
    /// Whether batches are pinned.
    #[serde(alias = "pin_memory")]
    pub pin_memory: Option<bool>,
    /// The machine's memory.
    #[serde(deserialize_with = "word", alias = "host_ram")]
    pub host_ram: Option<Bytes>,
    /// The user's folder of specs.
    pub specs: Option<PathBuf>,
    /// Sizes that an export leaves open: `{s72: 8}`.
    pub dim: Option<Dims>,
    /// What is trained on where an export has no loss of its own.
    #[serde(deserialize_with = "word", serialize_with = "write::word")]
    pub loss: Option<LossKind>,
}

/// An attention kernel, or `auto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel(pub Option<Backend>);

impl Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(kernel_word(self.0))
    }
}

impl FromStr for Kernel {
    type Err = crate::choices::UnknownChoice;

    fn from_str(word: &str) -> Result<Kernel, Self::Err> {
        parse_kernel(word).map(Kernel)
    }
}

/// A run file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RunFileError {
    /// The operating system refused.
    #[error("{}: cannot be read: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No run needs so much text.
    #[error("{}: {length} bytes, above the limit of {LARGEST_RUN_FILE} for a run", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its length.
        length: u64,
    },
    /// Not YAML, an unknown key, or a value that a key cannot have.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, from 1; 0 where the place is unknown.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong.
        message: String,
    },
}

/// Reads a run file.
///
/// # Errors
/// A file that cannot be read, is no YAML, has an unknown key or a value that its key cannot have.
pub fn read(path: &Path) -> Result<Wishes, RunFileError> {
    parse(path, &text(path)?)
}

/// The text of a file that is no longer than a run needs.
pub(crate) fn text(path: &Path) -> Result<String, RunFileError> {
    let unreadable = |source| RunFileError::Io { path: path.to_owned(), source };
    let length = fs::metadata(path).map_err(unreadable)?.len();
    if length > LARGEST_RUN_FILE {
        return Err(RunFileError::TooLarge { path: path.to_owned(), length });
    }
    fs::read_to_string(path).map_err(unreadable)
}

/// Reads the text of a run file; `path` is for errors.
///
/// # Errors
/// As `read`.
pub fn parse(path: &Path, text: &str) -> Result<Wishes, RunFileError> {
    let wishes: Option<Wishes> = yaml(path, text)?;
    let wishes = wishes.unwrap_or_default();
    wishes.check_ways(path)?;
    Ok(wishes)
}

/// YAML of any form; `path` is for errors.
pub(crate) fn yaml<T: for<'de> Deserialize<'de>>(path: &Path, text: &str) -> Result<T, RunFileError> {
    serde_yaml::from_str(text).map_err(|error| {
        let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or(&message).replace('\n', " ");
        RunFileError::Parse { path: path.to_owned(), line, column, message }
    })
}

impl Wishes {
    /// How many ways of spreading the run over GPUs are wished for.
    fn ways(&self) -> usize {
        [&self.ddp, &self.fsdp, &self.parallel].into_iter().flatten().count()
    }

    /// Refuses several ways of spreading the run over GPUs; `path` is for errors.
    pub(crate) fn check_ways(&self, path: &Path) -> Result<(), RunFileError> {
        if self.ways() < 2 {
            return Ok(());
        }
        let message = "`ddp`, `fsdp` and `parallel` say the same thing: one of them is enough".to_owned();
        Err(RunFileError::Parse { path: path.to_owned(), line: 1, column: 1, message })
    }

    /// These, and where they say nothing, those.
    pub fn or(self, mut other: Wishes) -> Wishes {
        if self.ways() > 0 {
            (other.ddp, other.fsdp, other.parallel) = (None, None, None);
        }
        Wishes {
            model: self.model.or(other.model),
            architecture: self.architecture.or(other.architecture),
            weights: self.weights.or(other.weights),
            mode: self.mode.or(other.mode),
            batch: self.batch.or(other.batch),
            seq: self.seq.or(other.seq),
            image: self.image.or(other.image),
            new_tokens: self.new_tokens.or(other.new_tokens),
            precision: self.precision.or(other.precision),
            grad_scaler: self.grad_scaler.or(other.grad_scaler),
            optimizer: self.optimizer.or(other.optimizer),
            clip: self.clip.or(other.clip),
            accumulate: self.accumulate.or(other.accumulate),
            checkpoint: self.checkpoint.or(other.checkpoint),
            reentrant: self.reentrant.or(other.reentrant),
            use_cache: self.use_cache.or(other.use_cache),
            checkpoint_save: self.checkpoint_save.or(other.checkpoint_save),
            zero_grad: self.zero_grad.or(other.zero_grad),
            keep_losses: self.keep_losses.or(other.keep_losses),
            ddp: self.ddp.or(other.ddp),
            fsdp: self.fsdp.or(other.fsdp),
            parallel: self.parallel.or(other.parallel),
            trainable: self.trainable.or(other.trainable),
            lora: self.lora.or(other.lora),
            quantize: self.quantize.or(other.quantize),
            double_quant: self.double_quant.or(other.double_quant),
            steps: self.steps.or(other.steps),
            attention: self.attention.or(other.attention),
            sdpa: self.sdpa.or(other.sdpa),
            cache: self.cache.or(other.cache),
            cache_tokens: self.cache_tokens.or(other.cache_tokens),
            page_tokens: self.page_tokens.or(other.page_tokens),
            cache_dtype: self.cache_dtype.or(other.cache_dtype),
            gpu: self.gpu.or(other.gpu),
            profile: self.profile.or(other.profile),
            capacity: self.capacity.or(other.capacity),
            allocator: self.allocator.or(other.allocator),
            torch: self.torch.or(other.torch),
            transformers: self.transformers.or(other.transformers),
            env: self.env.or(other.env),
            variables: match (self.variables, other.variables) {
                (Some(ours), Some(theirs)) => Some(ours.or(theirs)),
                (ours, theirs) => ours.or(theirs),
            },
            hold_outputs: self.hold_outputs.or(other.hold_outputs),
            workers: self.workers.or(other.workers),
            prefetch: self.prefetch.or(other.prefetch),
            sample: self.sample.or(other.sample),
            pin_memory: self.pin_memory.or(other.pin_memory),
            host_ram: self.host_ram.or(other.host_ram),
            specs: self.specs.or(other.specs),
            dim: self.dim.or(other.dim),
            loss: self.loss.or(other.loss),
        }
    }

    /// Refuses sizes of inputs that the model does not take.
    ///
    /// # Errors
    /// Tokens for a model of images, or images for any other.
    pub fn check_inputs(&self, takes_images: bool) -> Result<(), RunError> {
        match (self.seq, self.image) {
            (Some(_), _) if takes_images => {
                Err(RunError::Contradiction("seq is for models that take tokens: this one takes images, give image"))
            }
            (_, Some(_)) if !takes_images => {
                Err(RunError::Contradiction("image is for models that take images: this one takes tokens, give seq"))
            }
            _ => Ok(()),
        }
    }

    /// Takes the sizes that nobody wishes for from an export, if the model is one.
    pub fn settle(&mut self, model: &Model) {
        let Some(exported) = &model.family.exported else { return };
        let sizes = exported.sizes(self.dim.as_ref().unwrap_or(&Dims::default()));
        self.batch = self.batch.or(sizes.batch);
        self.seq = self.seq.or(sizes.seq.filter(|_| !exported.takes_images()));
        self.image = self.image.or(sizes.image.filter(|_| exported.takes_images()));
    }

    /// The run that is wished for.
    pub fn run(&self) -> Run {
        let default = Run::default();
        let said = self.variables.as_ref().and_then(Variables::allocator).map(str::to_owned);
        Run {
            mode: self.mode.unwrap_or(default.mode),
            batch: self.batch.unwrap_or(default.batch),
            seq: self.seq.unwrap_or(default.seq),
            image: self.image.or(default.image),
            new_tokens: self.new_tokens.unwrap_or(default.new_tokens),
            precision: self.precision.or(default.precision),
            grad_scaler: self.grad_scaler.or(default.grad_scaler),
            optimizer: self.optimizer.clone().unwrap_or(default.optimizer),
            clip: self.clip.or(default.clip),
            accumulate: self.accumulate.unwrap_or(default.accumulate),
            checkpoint: self.checkpoint.clone().unwrap_or(default.checkpoint),
            reentrant: self.reentrant.unwrap_or(default.reentrant),
            use_cache: self.use_cache.or(default.use_cache),
            checkpoint_save: self.checkpoint_save.clone(),
            zero_grad: self.zero_grad.unwrap_or(default.zero_grad),
            keep_losses: self.keep_losses.unwrap_or(default.keep_losses),
            parallel: self.ddp.clone().or(self.fsdp.clone()).or(self.parallel.clone()),
            trainable: self.trainable.clone().or(default.trainable),
            lora: self.lora.clone().or(default.lora),
            quantize: self.quantize.or(default.quantize),
            double_quant: self.double_quant.unwrap_or(default.double_quant),
            steps: self.steps.unwrap_or(default.steps),
            attention: self.attention.or(default.attention),
            sdpa: self.sdpa.map_or(default.sdpa, |kernel| kernel.0),
            cache: CacheChoice {
                kind: self.cache,
                tokens: self.cache_tokens,
                page_tokens: self.page_tokens,
                dtype: self.cache_dtype,
            },
            hold_outputs: self.hold_outputs.unwrap_or(default.hold_outputs),
            capacity: self.capacity.or(default.capacity),
            allocator: self.allocator.clone().or(said).unwrap_or(default.allocator),
            versions: Versions {
                torch: self.torch.unwrap_or(default.versions.torch),
                transformers: self.transformers.unwrap_or(default.versions.transformers),
            },
            environment: self.env.clone(),
            variables: self.variables.clone().unwrap_or_default(),
            host: HostChoice {
                workers: self.workers,
                prefetch: self.prefetch,
                sample: self.sample,
                pin_memory: self.pin_memory.unwrap_or(false),
                ram: self.host_ram,
            },
            specs: self.specs.clone(),
            dims: self.dim.clone().unwrap_or_default(),
            loss: self.loss,
        }
    }
}

/// `none`, `full`, or a list of module paths.
fn checkpoint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Checkpointing>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "none, full, or a list of module paths, is expected")]
    enum Written {
        Word(String),
        Paths(Vec<String>),
    }
    let chosen = match Option::<Written>::deserialize(deserializer)? {
        None => return Ok(None),
        Some(Written::Word(word)) => word.parse(),
        Some(Written::Paths(paths)) => {
            paths.iter().map(|path| path.parse()).collect::<Result<_, _>>().map(Checkpointing::Modules)
        }
    };
    chosen.map(Some).map_err(D::Error::custom)
}

/// `mm,addmm`, or a list of names.
fn saved_operators<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SavedOperators>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a list of operators is expected")]
    enum Written {
        Word(String),
        Names(Vec<String>),
    }
    let saved = match Option::<Written>::deserialize(deserializer)? {
        None => return Ok(None),
        Some(Written::Word(word)) => word.parse().map(Some),
        Some(Written::Names(names)) => SavedOperators::of(names.iter().map(String::as_str)),
    };
    saved.map_err(D::Error::custom)
}

/// `r=16,targets=q_proj+v_proj`, or `{r: 16, targets: [q_proj, v_proj]}`.
fn adapters<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Lora>, D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Entries {
        r: Option<u64>,
        alpha: Option<f64>,
        dropout: Option<f64>,
        #[serde(default)]
        targets: Vec<String>,
    }
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "r=16,targets=q_proj+v_proj is expected, or a mapping of r, alpha, dropout, targets")]
    enum Written {
        Word(String),
        Entries(Entries),
    }
    let lora = match Option::<Written>::deserialize(deserializer)? {
        None => return Ok(None),
        Some(Written::Word(word)) => word.parse(),
        Some(Written::Entries(Entries { r, alpha, dropout, targets })) => {
            let (rank, alpha, dropout) = (r.unwrap_or(8), alpha.unwrap_or(8.0), dropout.unwrap_or(0.0));
            Lora { rank, alpha, dropout, targets }.check()
        }
    };
    lora.map(Some).map_err(D::Error::custom)
}

/// `NAME=VALUE`, or a mapping of names and values.
fn variables<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Variables>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "NAME=VALUE, or a mapping of names and values, is expected")]
    enum Written {
        Word(String),
        Entries(indexmap::IndexMap<String, serde_json::Value>),
    }
    let set = match Option::<Written>::deserialize(deserializer)? {
        None => return Ok(None),
        Some(Written::Word(word)) => word.parse(),
        Some(Written::Entries(entries)) => Variables::of(entries.into_iter().map(|(name, value)| match value {
            serde_json::Value::String(text) => (name, text),
            other => (name, other.to_string()),
        })),
    };
    set.map(Some).map_err(D::Error::custom)
}

/// A release: the scalar's own text, which a number would lose.
fn release<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Release>, D::Error> {
    Option::<String>::deserialize(deserializer)?.map(|text| text.parse().map_err(D::Error::custom)).transpose()
}

/// A word, or null.
fn word<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(Option::<Written<T>>::deserialize(deserializer)?.map(|written| written.0))
}

/// `adamw,foreach=false`, or `{name: adamw, foreach: false}`.
fn optimizer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<OptimizerChoice>, D::Error> {
    Ok(Option::<WrittenOptimizer>::deserialize(deserializer)?.map(|written| written.0))
}

struct WrittenOptimizer(OptimizerChoice);

impl<'de> Deserialize<'de> for WrittenOptimizer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<WrittenOptimizer, D::Error> {
        deserializer.deserialize_any(OptimizerWords)
    }
}

struct OptimizerWords;

impl<'de> Visitor<'de> for OptimizerWords {
    type Value = WrittenOptimizer;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an optimizer: `adamw,fused=true` or `{name: adamw, fused: true}`")
    }

    fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<WrittenOptimizer, E> {
        word.parse().map(WrittenOptimizer).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WrittenOptimizer, A::Error> {
        let mut entries = serde_json::Map::new();
        while let Some((key, value)) = map.next_entry()? {
            entries.insert(key, value);
        }
        let written = serde_json::Value::Object(entries);
        OptimizerChoice::from_json(&written).map(WrittenOptimizer).map_err(A::Error::custom)
    }
}

/// A value that is written as a word, as a number that reads as one, or as a mapping whose only key is `name`.
struct Written<T>(T);

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Written<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Written<T>, D::Error> {
        deserializer.deserialize_any(Words(PhantomData))
    }
}

/// Parses within the visitor, where errors are given their line and column.
struct Words<T>(PhantomData<T>);

impl<'de, T: FromStr<Err: Display>> Visitor<'de> for Words<T> {
    type Value = Written<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a word")
    }

    fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<Written<T>, E> {
        word.parse().map(Written).map_err(E::custom)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Written<T>, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Written<T>, A::Error> {
        match map.next_key::<String>()?.as_deref() {
            Some("name") => {}
            Some(other) => return Err(A::Error::custom(format!("unknown key `{other}`, expected `name`"))),
            None => return Err(A::Error::custom("`name` is missing")),
        }
        let written = map.next_value()?;
        match map.next_key::<String>()? {
            Some(other) => Err(A::Error::custom(format!("unknown key `{other}`, expected `name` alone"))),
            None => Ok(written),
        }
    }
}
