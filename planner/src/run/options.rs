//! The options of a run, each declared once.
//!
//! ```text
//! command line ─┐
//!               ├─ or ─> RunOptions ── run() ──> Run, with defaults for what nobody says
//! FILE.yaml ────┘      `new-tokens` may be written `new_tokens`; unknown keys are errors with file, line and column
//! ```
//!
//! A line of the table below gives the option's fields in `RunOptions` and `Run`, its default, its key in run files, its
//! flag with its help, what the command line does over a run file, how kept plans and flags write it, and what shells
//! complete. A new option is a line here, and the code that obeys it.

mod declare;
mod forms;
#[cfg(test)]
mod tests;
mod value;

use super::{Checkpointing, Construction, GivenInputs, Lora, LossKind, NamedSizes, QuantizedType};
use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::{
    Attention, CacheDtype, CacheKind, Ddp, Fsdp, Kernel, Mode, OptimizerChoice, Parallel, Pattern, Precision, Sample,
    SavedOperators, Variables, ZeroGrad,
};
use crate::bytes::Bytes;
use crate::versions::{Library, Release};

use declare::{given, kept, key, options};
use value::Place;
pub use value::{Completion, OptionValue, whole};

options! {
    @model: String, Run "--model <MODEL>", "The same as a flag, which wins";
    @architecture: String, Run "--architecture <NAME>", "The architecture, in place of the one that the config names";
    @weights: PathBuf, Run "--weights <FILE>",
        "Check these weights against the model, in place of its own: a .safetensors file, an index or a folder";
    allow_mismatch: bool = false, Run "--allow-mismatch",
        "Plan also where more than a tenth of the model's parameters is missing from the weights, or of no use in them";
    mode: Mode = Mode::Train, Run "--mode <MODE>", "What the loop does: train, infer, generate or eval-with-grad";
    batch: u64 = 1, Run "--batch <N>" or "batch-size" "per-device-train-batch-size" "micro-batch-size" "bs",
        "Sequences at once";
    seq: u64 = 128, Run "--seq <N>"
        or "seq-len" "seq-length" "sequence-length" "max-length" "max-seq-length" "max-seq-len",
        "Tokens of each sequence";
    image: u64, Run "--image <N>" or "image-size",
        "Rows and columns of each image, for models that take images [default: 224, or the model's own]";
    images: u64, Run "--images <N>",
        "Images of each sequence, for models of text and images [default: 0, or 1 with --image]";
    new_tokens: u64 = 8, Run "--new-tokens <N>" or "max-new-tokens" "max-tokens",
        "Tokens to generate after the prefill";
    precision: Precision, Run "--precision <PRECISION>" or "dtype" "torch-dtype",
        "fp32, bf16 or fp16 weights, or fp32 weights under autocast: amp-bf16, amp-fp16 [default: the model's own]";
    grad_scaler: bool, Training "--grad-scaler <SWITCH>", "Scale the loss: on or off [default: on with amp-fp16]";
    optimizer: OptimizerChoice = OptimizerChoice::default(), Training "--optimizer <NAME>" or "optim",
        "The optimizer with its options, e.g. adamw,fused=true or paged_adamw8bit";
    clip: f64, Training "--clip <NORM>" or "max-grad-norm" "gradient-clip-val",
        "Clip gradients to this norm before each step [default: no clipping]";
    accumulate: u64 = 1, Training "--accumulate <N>"
        or "gradient-accumulation-steps" "accumulate-grad-batches" "grad-accum",
        "Micro-batches of each optimizer step";
    checkpoint: Checkpointing = Checkpointing::Off, Training "--checkpoint <MODULES>",
        "Checkpoint these modules: none, full (as transformers does), or paths with commas between, each with what it \
         alone saves: PATH:OP+OP";
    reentrant: bool = false, Training "--reentrant", "Checkpoint with use_reentrant=True";
    use_cache: bool, Training "--use-cache <SWITCH>",
        "Hand a cache to the layers in training, config.use_cache: on or off [default: the config's]";
    checkpoint_save: SavedOperators, Training "--checkpoint-save <OPS>",
        "Save what these operators give in checkpointed regions, e.g. mm,addmm [default: none]";
    zero_grad: ZeroGrad = ZeroGrad::AfterStep, Training "--zero-grad <WHEN>",
        "When gradients go: after-step, before-forward or before-backward";
    keep_losses: u64 = 0, Training "--keep-losses <N>",
        "Keep N steps' losses with their graphs, as losses.append(loss) does";
    @ddp: Ddp => parallel, Training "--ddp <N[,K=V]>" not with "fsdp",
        "One of N GPUs under DDP; keys: bucket_cap_mb, gradient_as_bucket_view, init_sync, static_graph";
    @fsdp: Fsdp => parallel, Training "--fsdp <N[,K=V]>",
        "One of N GPUs under FSDP2; keys: reshard, param_dtype, reduce_dtype, offload, load";
    parallel: Parallel, "How the run is spread over several GPUs, as a mapping: `{ddp: 8}`";
    trainable: Pattern, Training "--trainable <REGEX>",
        "Train only the parameters whose full names this regular expression matches [default: all]";
    lora: Lora, Training "--lora <CHOICES>",
        "Train LoRA adapters in place of the model: r=16,alpha=32,dropout=0.05,targets=q_proj+v_proj; also bias, \
         modules_to_save and use_dora";
    quantize: QuantizedType, Run "--quantize <FORM>", "Quantise linear layers as bitsandbytes does: nf4, fp4 or int8";
    double_quant: bool = true, Run "--double-quant <SWITCH>",
        "Quantise the scales of 4-bit weights as well: true or false";
    steps: u64 = 3, Run "--steps <N>", "How often the loop goes round";
    attention: Attention, Run "--attention <HOW>" or "attn-implementation",
        "How attention is computed: sdpa or eager [default: sdpa]";
    sdpa: Kernel = Kernel(None), Run "--sdpa <KERNEL>", "The kernel of sdpa: auto, flash, efficient, math or cudnn";
    cache: CacheKind, Cache "--cache <KIND>",
        "How generation keeps keys and values: dynamic or static (transformers'), or paged, as engines do \
         [default: dynamic]";
    cache_tokens: u64, Cache "--cache-tokens <N>",
        "Tokens of each sequence that a static cache or pages hold [default: all of the run's]";
    page_tokens: u64, Cache "--page-tokens <N>", "Tokens of a page [default: 16]";
    prefill_tokens: u64, Cache "--prefill-tokens <N>" or "max-num-batched-tokens" "chunked-prefill-size",
        "Tokens of a prompt that run at once, one request after the other, as engines do [default: all; 8192 in fit and buy]";
    cache_dtype: CacheDtype, Cache "--cache-dtype <TYPE>" or "kv-cache-dtype",
        "What pages hold: fp32, bf16, fp16 or fp8 [default: the weights' type]";
    @gpu: String, GPU "--gpu <NAME>",
        "The GPU, by its key or its name, or local: this machine's [default: local where a driver answers, else h200]";
    @vram: Bytes, GPU "--vram <BYTES>",
        "A GPU of so much memory in place of a named one, such as 24GB; kernels are those of --gpu";
    @profile: PathBuf, GPU "--profile <FILE>",
        "What `memplan calibrate` measured on the GPU [default: of your own profiles the GPU's, else the shipped one]";
    capacity: Bytes, GPU "--capacity <BYTES>",
        "What the allocator may take: bytes, or 20GiB, 500MiB [default: the GPU's memory less the CUDA context]";
    allocator: String = String::new(), GPU "--allocator <OPTIONS>" or "pytorch-cuda-alloc-conf" "pytorch-alloc-conf",
        "PYTORCH_CUDA_ALLOC_CONF of the run, such as expandable_segments:True";
    torch: Release = Library::Torch.newest(), Versions "--torch <VERSION>",
        "PyTorch's release, such as 2.11 or 2.15.0; `memplan versions` lists them \
         [default: what --env says, or the newest]";
    transformers: Release = Library::Transformers.newest(), Versions "--transformers <VERSION>",
        "transformers' release, such as 5.17 or 4.57 [default: what --env says, or the newest]";
    env: PathBuf, Versions "--env <PATH>",
        "Take the releases from a virtual environment, a lock file or a folder that has one \
         [default: the activated environment, else uv.lock, poetry.lock, pylock.toml or requirements.txt beside the run]";
    variables: Variables = Variables::default(), Versions "--variable <NAME=VALUE>",
        "An environment variable of the run, such as CUBLAS_WORKSPACE_CONFIG=:16:8; may be given several times";
    hold_outputs: bool = false, Run "--hold-outputs", "Keep the model's output until the step ends";
    workers: u64, Host "--workers <W>" or "num-workers" "dataloader-num-workers",
        "num_workers of the data loader: the plan says what the host's memory needs";
    prefetch: u64, Host "--prefetch <P>", "prefetch_factor of the data loader [default: 2]";
    sample: Sample, Host "--sample <BYTES>",
        "What one sample takes: bytes, or image=HxW for three channels in fp32 [default: the run's inputs]";
    pin_memory: bool = false, Host "--pin-memory" or "dataloader-pin-memory", "pin_memory of the data loader";
    host_ram: Bytes, Host "--host-ram <BYTES>", "The machine's memory: bytes, or 32GiB";
    specs: PathBuf, Options "--specs <DIR>",
        "A folder of your own specs, laid out as specs/; they come before the built-in ones";
    dim: NamedSizes = NamedSizes::default(), Run "--dim <SYMBOL=N>",
        "A size that an export or an --input leaves open, by its name; may be given several times";
    loss: LossKind, Training "--loss <LOSS>",
        "What an export or a class without a loss is trained on: cross-entropy or sum of its first output; output for its \
         own [default: by its outputs]";
    init: Construction = Construction::default(), Run "--init <ARGUMENTS>",
        "What a class of a file (model.py:Net) is made with, as Python: depth=12,width=256; also entries of its config; may \
         be given several times";
    input: GivenInputs = GivenInputs::default(), Run "--input <NAME=TYPE[SIZES]>",
        "An input of such a class's forward: x=float32[8,3,224,224], ids=int64[batch,seq]; may be given several times";
}

/// What a flag sets.
pub type Setting = Arc<dyn Fn(&mut RunOptions) + Send + Sync>;

/// An option of a run: a line of the table.
#[derive(Debug)]
pub struct RunOption {
    /// The field: `new_tokens`.
    pub name: &'static str,
    /// The key in a run file: `new-tokens`.
    pub key: &'static str,
    /// The flag, if it has one.
    pub flag: Option<Flag>,
    /// What the help says, but for most defaults.
    about: &'static str,
    /// Whether the flag may be given several times.
    pub repeats: bool,
    /// What shells complete behind the flag.
    pub completion: fn() -> Completion,
    /// The value as a run file has it; None where nothing is said.
    pub entry: fn(&RunOptions) -> Option<Value>,
    /// What the text behind the flag sets. Errors say why it cannot be the value.
    pub parse: fn(&OsStr) -> Result<Setting, String>,
    /// The value of a run as a run file has it; None where the run has none.
    value: fn(&Run) -> Option<Value>,
    /// The same as the flag has it; None where no flag says it.
    words: fn(&Run) -> Option<String>,
}

/// The flag of an option.
#[derive(Debug)]
pub struct Flag {
    /// The heading in the help that it stands under.
    pub heading: &'static str,
    /// `--batch <N>`, or `--reentrant`, which is a switch.
    usage: &'static str,
    /// What other programs call it, without dashes before.
    pub also: &'static [&'static str],
    /// Another flag that it does not go with.
    pub rival: Option<&'static str>,
}

impl Flag {
    /// Its name, without dashes before it.
    pub fn name(&self) -> &'static str {
        self.usage.split([' ']).next().unwrap_or_default().trim_start_matches('-')
    }

    /// What its value is called; None for a switch.
    pub fn value(&self) -> Option<&'static str> {
        self.usage.split_once(" <").map(|(_, value)| value.trim_end_matches('>'))
    }
}

impl RunOption {
    /// What the help says, with the default unless that is nothing.
    pub fn help(&self) -> String {
        let about = self.about;
        let takes_value = self.flag.as_ref().is_some_and(|flag| flag.value().is_some());
        match (self.words)(&Run::default()).filter(|_| takes_value && !about.contains("[default: ")).as_deref() {
            None | Some("" | "0") => about.to_owned(),
            Some(default) => format!("{about} [default: {default}]"),
        }
    }

    /// The flag that says this option of a run, and what stands behind it: nothing behind a switch. None where no flag
    /// says it.
    pub(super) fn said(&self, run: &Run) -> Option<(&'static str, String)> {
        let (flag, words) = (self.flag.as_ref()?, (self.words)(run)?);
        match flag.value() {
            Some(_) => Some((flag.name(), words)),
            None => (words == "true").then(|| (flag.name(), String::new())),
        }
    }
}

/// Keeps a flag's value behind an earlier one's.
fn then<T: OptionValue>(place: &mut Option<T>, value: T) {
    *place = Some(match place.take() {
        Some(earlier) => earlier.then(value),
        None => value,
    });
}

/// What the command line says over what a run file says.
fn over<T: OptionValue>(flag: Option<T>, file: Option<T>) -> Option<T> {
    match (flag, file) {
        (Some(flag), Some(file)) => Some(flag.over(file)),
        (flag, file) => flag.or(file),
    }
}

impl RunOptions {
    /// How many ways of spreading the run over GPUs are said.
    pub(crate) fn ways(&self) -> usize {
        [self.ddp.is_some(), self.fsdp.is_some(), self.parallel.is_some()].into_iter().filter(|said| *said).count()
    }

    /// These, and where they say nothing, those of a run file.
    pub fn or(self, mut file: RunOptions) -> RunOptions {
        if self.ways() > 0 {
            (file.ddp, file.fsdp, file.parallel) = (None, None, None);
        }
        self.over(file)
    }

    /// The run that they say.
    pub fn run(&self) -> Run {
        let mut run = self.kept();
        if let (None, Some(said)) = (&self.allocator, run.variables.allocator()) {
            run.allocator = said.to_owned();
        }
        run
    }

    /// The keys with their values, in the order of a run file; what is not said is left out. Kept plans have the releases
    /// in place of the environment that said them.
    pub fn entries(&self) -> Map<String, Value> {
        let kept = OPTIONS.iter().filter(|option| option.name != "env");
        kept.filter_map(|option| Some((option.key.to_owned(), (option.entry)(self)?))).collect()
    }
}

impl Run {
    /// The keys of options that are not the default, with their values as a run file has them.
    pub(crate) fn beyond_defaults(&self) -> impl Iterator<Item = (&'static str, Value)> {
        let default = Run::default();
        let values = OPTIONS.iter().map(move |option| (option, (option.value)(self), (option.value)(&default)));
        values.filter(|(_, ours, default)| ours != default).filter_map(|(option, ours, _)| Some((option.key, ours?)))
    }
}

impl Serialize for RunOptions {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.entries().serialize(to)
    }
}

/// The spellings of every key, as errors list them.
static SPELLINGS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let mut spellings: Vec<&str> = OPTIONS.iter().flat_map(|option| [option.key, option.name]).collect();
    spellings.dedup();
    spellings
});

/// A value that an option reads.
struct Read<T>(Option<T>);

impl<'de, T: OptionValue> Deserialize<'de> for Read<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Read<T>, D::Error> {
        T::read(from).map(Read)
    }
}

/// The option that a key names.
struct Key(&'static RunOption);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Key, D::Error> {
        struct Names;
        impl Visitor<'_> for Names {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("field identifier")
            }

            fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Key, E> {
                let found = OPTIONS.iter().find(|option| [option.key, option.name].contains(&key));
                found.map(Key).ok_or_else(|| E::unknown_field(key, &SPELLINGS))
            }
        }
        from.deserialize_identifier(Names)
    }
}

impl<'de> Deserialize<'de> for RunOptions {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<RunOptions, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = RunOptions;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a run, key by key: `batch: 4`")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RunOptions, A::Error> {
                let (mut options, mut seen) = (RunOptions::default(), Vec::new());
                while let Some(Key(option)) = map.next_key()? {
                    if seen.contains(&option.name) {
                        return Err(A::Error::duplicate_field(option.key));
                    }
                    seen.push(option.name);
                    options.take(option.name, &mut map)?;
                }
                Ok(options)
            }
        }
        from.deserialize_struct("RunOptions", &SPELLINGS, Keys)
    }
}
