//! A run: what is done with a model. The meaning of each choice is that of the loops in specs/library/loops.yaml.

mod adapters;
mod backend;
mod cache;
mod checkpoints;
mod exported;
mod flags;
mod given;
mod host;
mod options;
mod parallel;
mod variables;

use std::fmt;
use std::str::FromStr;

use crate::bytes::Bytes;
use crate::choices::choices;
use crate::dtype::Dtype;
use crate::versions::{VersionError, Versions};
use crate::words::quote;

pub use adapters::{ALL_LINEAR, Lora, Pattern, QuantizedType, TrainedBias};
pub use backend::Backend;
pub use cache::{CacheDtype, PAGE_TOKENS};
pub use checkpoints::{Checkpointing, Region, SavedOperators, UnknownOperator};
pub use exported::{LossKind, NamedSizes};
pub use flags::Flags;
pub use given::{Construction, GivenError, GivenInput, GivenInputs, GivenSize};
pub use host::Sample;
pub use options::{Completion, Flag, OPTIONS, OptionValue, Run, RunOption, RunOptions, Setting, whole};
pub use parallel::{Ddp, Fsdp, LoadedTo, MOST_RANKS, Parallel, ParallelError};
pub use variables::{VARIABLES, VariableError, Variables};

/// What the loop does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Forward, backward and the optimizer's step.
    #[default]
    Train,
    /// Forward passes under `torch.no_grad()`.
    Infer,
    /// A prefill and a number of tokens, one at a time, with a growing cache.
    Generate,
    /// Forward passes that record for a backward that never comes.
    EvalWithGrad,
}

/// The type of the weights, and so of the computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// float32.
    Fp32,
    /// bfloat16.
    Bf16,
    /// float16.
    Fp16,
    /// float32 weights under autocast to bfloat16.
    AmpBf16,
    /// float32 weights under autocast to float16, with a gradient scaler.
    AmpFp16,
}

/// How a model computes attention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Attention {
    /// `scaled_dot_product_attention`.
    #[default]
    Sdpa,
    /// Matrix products and a softmax, as the model's own source has them.
    Eager,
    /// The package flash-attn, through transformers' interface.
    FlashAttention2,
}

/// The attention kernel; PyTorch's choice where None is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel(pub Option<Backend>);

/// How keys and values of past tokens are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheKind {
    /// transformers' DynamicCache, which grows.
    #[default]
    Dynamic,
    /// transformers' StaticCache, of a fixed size.
    Static,
    /// Pages, as inference engines have them.
    Paged,
}

/// The optimizer of a training run: a name and options of `specs/optimizers`, as text; `read::optimizers` knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptimizerChoice {
    /// Its name, e.g. `adamw` or `paged_adamw8bit`.
    pub name: String,
    /// Options with their values, e.g. `foreach` and `false`.
    pub options: Vec<(String, String)>,
}

impl Default for OptimizerChoice {
    /// `torch.optim.AdamW` with PyTorch's defaults.
    fn default() -> OptimizerChoice {
        OptimizerChoice { name: "adamw".to_owned(), options: Vec::new() }
    }
}

/// A choice of an optimizer that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no optimizer's option: write NAME,key=value,...", quote::cut(.word))]
pub struct OptimizerSyntax {
    /// What was found.
    pub word: String,
}

impl FromStr for OptimizerChoice {
    type Err = OptimizerSyntax;

    /// `NAME[,key=value...]`
    fn from_str(text: &str) -> Result<Self, OptimizerSyntax> {
        let mut parts = text.split(',').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let fail = |word: &str| OptimizerSyntax { word: word.to_owned() };
        if name.is_empty() || name.contains('=') {
            return Err(fail(name));
        }
        let option = |part: &str| match part.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
            _ => Err(fail(part)),
        };
        Ok(OptimizerChoice { name: name.to_owned(), options: parts.map(option).collect::<Result<_, _>>()? })
    }
}

impl OptimizerChoice {
    /// The choice that a run file writes as a name with options, or as a map: `{name: adamw, foreach: false}`.
    ///
    /// # Errors
    /// A value that is neither, or a map without a name.
    pub fn from_json(value: &serde_json::Value) -> Result<OptimizerChoice, OptimizerSyntax> {
        let fail = || OptimizerSyntax { word: value.to_string() };
        let plain = |value: &serde_json::Value| match value {
            serde_json::Value::String(text) => Ok(text.clone()),
            serde_json::Value::Null => Ok("none".to_owned()),
            serde_json::Value::Bool(_) | serde_json::Value::Number(_) => Ok(value.to_string()),
            _ => Err(fail()),
        };
        let serde_json::Value::Object(entries) = value else { return plain(value)?.parse() };
        let name = entries.get("name").ok_or_else(fail).and_then(plain)?;
        let options = entries.iter().filter(|(key, _)| *key != "name");
        let options = options.map(|(key, value)| Ok((key.clone(), plain(value)?))).collect::<Result<_, _>>()?;
        Ok(OptimizerChoice { name, options })
    }
}

impl fmt::Display for OptimizerChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.options.iter().try_for_each(|(key, value)| write!(f, ",{key}={value}"))
    }
}

/// When gradients are let go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ZeroGrad {
    /// After the optimizer's step.
    #[default]
    AfterStep,
    /// Before the forward pass: the gradients of the step before live through the end of that step.
    BeforeForward,
    /// Before the backward pass: they live through the next forward pass as well.
    BeforeBackward,
}

choices!(Mode, "mode", "train" => Mode::Train, "infer" => Mode::Infer, "generate" => Mode::Generate,
    "eval-with-grad" => Mode::EvalWithGrad);
// `float32` is torch's and transformers' word, `32-true` and `bf16-mixed` are Lightning's (2.6, plugins/precision/precision.py).
choices!(Precision, "precision", "fp32" | "float32" | "32" | "32-true" => Precision::Fp32,
    "bf16" | "bfloat16" | "bf16-true" => Precision::Bf16, "fp16" | "float16" | "half" | "16-true" => Precision::Fp16,
    "amp-bf16" | "bf16-mixed" | "bf16-amp" => Precision::AmpBf16,
    "amp-fp16" | "16-mixed" | "fp16-mixed" | "fp16-amp" => Precision::AmpFp16);
choices!(ZeroGrad, "time to zero gradients", "after-step" => ZeroGrad::AfterStep,
    "before-forward" => ZeroGrad::BeforeForward, "before-backward" => ZeroGrad::BeforeBackward);
choices!(CacheKind, "cache", "dynamic" => CacheKind::Dynamic, "static" => CacheKind::Static, "paged" => CacheKind::Paged);
choices!(Attention, "attention", "sdpa" | "torch-sdpa" => Attention::Sdpa, "eager" => Attention::Eager,
    "flash_attention_2" | "flash-attention-2" | "flash-attn" | "flash_attn" | "fa2" => Attention::FlashAttention2);
choices!(Kernel, "attention kernel", "auto" => Kernel(None), "flash" => Kernel(Some(Backend::Flash)),
    "efficient" => Kernel(Some(Backend::Efficient)), "math" => Kernel(Some(Backend::Math)),
    "cudnn" => Kernel(Some(Backend::Cudnn)));

impl Mode {
    /// The loop's function in specs/library/loops.yaml.
    pub fn function(self) -> &'static str {
        match self {
            Mode::Train => "train",
            Mode::Infer => "infer",
            Mode::Generate => "generate",
            Mode::EvalWithGrad => "eval_with_grad",
        }
    }

    /// Whether autograd records.
    pub fn records(self) -> bool {
        matches!(self, Mode::Train | Mode::EvalWithGrad)
    }
}

impl Precision {
    /// The weights' type.
    pub fn dtype(self) -> Dtype {
        match self {
            Precision::Fp32 | Precision::AmpBf16 | Precision::AmpFp16 => Dtype::F32,
            Precision::Bf16 => Dtype::BF16,
            Precision::Fp16 => Dtype::F16,
        }
    }

    /// The lower type of autocast.
    pub fn autocast(self) -> Option<Dtype> {
        match self {
            Precision::AmpBf16 => Some(Dtype::BF16),
            Precision::AmpFp16 => Some(Dtype::F16),
            _ => None,
        }
    }

    /// The precision in which weights of this type compute.
    pub fn of(dtype: Dtype) -> Option<Precision> {
        Precision::ALL.iter().map(|(_, precision)| *precision).find(|precision| precision.dtype() == dtype)
    }
}

/// A run that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// A release whose rules are not known.
    #[error(transparent)]
    Version(#[from] VersionError),
    /// Layers that cannot run with gradients.
    #[error(
        "the checkpoint stores {method} weights, whose layers are planned without gradients alone: --mode infer or generate"
    )]
    OnlyInfers {
        /// How they are stored.
        method: &'static str,
    },
    /// So few bytes that another unit was meant.
    #[error("{what} is {bytes} bytes: say the unit, {bytes}GiB or {bytes}MiB")]
    NoUnit {
        /// Which size.
        what: &'static str,
        /// The bytes.
        bytes: u64,
    },
    /// A size of zero.
    #[error("{what} is 0: it must be at least 1")]
    Zero {
        /// Which size.
        what: &'static str,
    },
    /// A choice for training in a run that does not train.
    #[error("--{what} is for training: it does not go with --mode {mode}")]
    TrainingOnly {
        /// Which choice.
        what: &'static str,
        /// The mode.
        mode: Mode,
    },
    /// A choice of a cache in a run that keeps none.
    #[error("--{what} is for generation and inference: it does not go with --mode {mode}")]
    NotCaching {
        /// Which choice.
        what: &'static str,
        /// The mode.
        mode: Mode,
    },
    /// A norm that nothing can be clipped to.
    #[error("clip is {value}: it must be a number above 0")]
    Clip {
        /// The word or number that was given.
        value: String,
    },
    /// A size beyond any GPU.
    #[error("{what} is {value}: the largest that can be planned is {most}")]
    TooLarge {
        /// Which size.
        what: &'static str,
        /// The word or number that was given.
        value: u64,
        /// The largest.
        most: u64,
    },
    /// Data parallel without training.
    #[error("{words} is for training: --mode {mode} runs alike on every GPU")]
    NotTraining {
        /// The name or number that was asked for.
        words: String,
        /// The mode.
        mode: Mode,
    },
    /// A run that an exported program does not allow.
    #[error("{0}")]
    Export(String),
    /// Two choices that cannot both be.
    #[error("{0}")]
    Contradiction(&'static str),
    /// Nothing would be trained.
    #[error("trainable: `{}` matches no parameter of the model", quote::cut(.pattern))]
    NothingTrained {
        /// The pattern.
        pattern: String,
    },
    /// Codes have no gradient.
    #[error("trainable: `{}` is quantised and cannot be trained", quote::cut(.name))]
    QuantizedTrained {
        /// The parameter.
        name: String,
    },
}

impl Run {
    /// The releases of PyTorch and transformers.
    pub fn versions(&self) -> Versions {
        Versions { torch: self.torch, transformers: self.transformers }
    }

    /// Refuses choices for training in runs that do not train.
    fn check_mode(&self) -> Result<(), RunError> {
        let chosen = [
            ("checkpoint", self.checkpoint != Checkpointing::Off),
            ("accumulate", self.accumulate > 1),
            ("clip", self.clip.is_some()),
            ("grad-scaler", self.grad_scaler == Some(true)),
            ("use-cache", self.use_cache.is_some()),
            ("zero-grad", self.zero_grad != ZeroGrad::default()),
            ("keep-losses", self.keep_losses > 0 && self.mode != Mode::EvalWithGrad),
        ];
        match chosen.into_iter().find(|(_, chosen)| *chosen) {
            Some((what, _)) if self.mode != Mode::Train => Err(RunError::TrainingOnly { what, mode: self.mode }),
            _ => Ok(()),
        }
    }

    /// Checks the sizes.
    ///
    /// # Errors
    /// A size of zero, or one beyond any GPU.
    pub fn check(&self) -> Result<(), RunError> {
        self.check_mode()?;
        self.versions().check()?;
        self.variables.check()?;
        let sizes = [
            ("batch", self.batch, 1 << 32),
            ("seq", self.seq, 1 << 32),
            ("image", self.image.unwrap_or(1), 1 << 20),
            ("new-tokens", self.new_tokens, 100_000),
            ("accumulate", self.accumulate, 10_000),
            ("steps", self.steps, 1_000),
        ];
        for (what, value, most) in sizes {
            if value == 0 {
                return Err(RunError::Zero { what });
            }
            if value > most {
                return Err(RunError::TooLarge { what, value, most });
            }
        }
        if let Some(parallel) = self.parallel.as_ref().filter(|_| self.mode != Mode::Train) {
            return Err(RunError::NotTraining { words: parallel.words(), mode: self.mode });
        }
        if let Some(norm) = self.clip.filter(|norm| !norm.is_finite() || *norm <= 0.0) {
            return Err(RunError::Clip { value: norm.to_string() });
        }
        has_unit("capacity", self.capacity)?;
        has_unit("host-ram", self.host_ram)?;
        self.check_cache()?;
        self.check_host()?;
        self.check_checkpoints()?;
        self.check_scaler()?;
        if self.lora.is_some() && self.trainable.is_some() {
            return Err(RunError::Contradiction("lora trains its adapters alone: leave trainable out"));
        }
        if self.mode == Mode::Train && self.quantize.is_some() && self.lora.is_none() && self.trainable.is_none() {
            return Err(RunError::Contradiction(
                "quantised weights cannot be trained: give lora for adapters, or trainable for the other parameters",
            ));
        }
        if self.quantize.is_some() && self.shards_from_elsewhere() {
            return Err(RunError::Contradiction("quantised weights are made on the GPU: leave fsdp's load out"));
        }
        Ok(())
    }

    /// Whether the run asks that the model be sharded from the CPU or the meta device.
    pub(crate) fn shards_from_elsewhere(&self) -> bool {
        let Some(Parallel::Fsdp(fsdp)) = &self.parallel else { return false };
        fsdp.load.is_some_and(|place| place != LoadedTo::Gpu)
    }

    /// The loss scaler belongs to `amp-fp16` and to nothing else.
    fn check_scaler(&self) -> Result<(), RunError> {
        let contradiction = match (self.grad_scaler, self.precision) {
            (None, _) | (Some(true), Some(Precision::AmpFp16)) => return Ok(()),
            (Some(false), Some(Precision::AmpFp16 | Precision::Fp16)) => {
                "without the loss scaler gradients in float16 vanish: leave grad-scaler out, and give precision amp-fp16"
            }
            (Some(true), Some(Precision::Fp16)) => {
                "the loss scaler refuses gradients in float16: give precision amp-fp16, which keeps them in float32"
            }
            (Some(true), _) => "the loss scaler is for float16: give precision amp-fp16, or leave grad-scaler out",
            (Some(false), _) => return Ok(()),
        };
        Err(RunError::Contradiction(contradiction))
    }
}

/// Refuses a size of memory that is a number without its unit.
pub(crate) fn has_unit(what: &'static str, size: Option<Bytes>) -> Result<(), RunError> {
    match size.filter(|size| size.lacks_a_unit()) {
        Some(Bytes(bytes)) => Err(RunError::NoUnit { what, bytes }),
        None => Ok(()),
    }
}
