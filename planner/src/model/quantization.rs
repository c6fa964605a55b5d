//! How a checkpoint stores its weights quantised: the `quantization_config` of its config.json.
//!
//! Read from transformers 5.17.0, utils/quantization_config.py and quantizers/auto.py; the defaults are those there.

mod entries;

use std::path::{Path, PathBuf};

use entries::Entries;
use serde_json::{Map, Value};

use crate::dtype::Dtype;
use crate::graph::{Choice, Quantized, StoredLayers, Which};
use crate::read::gpus::Gpu;
use crate::run::{Precision, QuantizedType, Run};
use crate::words::quote;

/// A quantised checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantization {
    /// How its weights are stored.
    pub method: Method,
    /// The modules that stay as they are; None where the config leaves it to transformers.
    pub skipped: Option<Vec<String>>,
}

/// How weights are stored.
#[derive(Clone, Debug, PartialEq)]
pub enum Method {
    /// bitsandbytes in 4 bits.
    FourBit {
        /// nf4 or fp4.
        kind: QuantizedType,
        /// Whether scales are quantised too; what the file holds decides.
        nested: bool,
        /// The type that products are computed in.
        compute: Dtype,
    },
    /// bitsandbytes' LLM.int8().
    Int8 {
        /// Whether columns with outliers are computed apart.
        threshold: bool,
    },
    /// transformers' fine-grained FP8: a scale a block.
    Fp8 {
        /// Rows and columns of a block.
        block: (u64, u64),
    },
    /// Packed into int32, for the kernels of gptqmodel.
    Packed(Packed),
}

/// Weights of a few bits, packed into int32, with a scale and a zero point for each group of inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packed {
    /// Whether outputs share an int32, as AWQ has it; else inputs do, as GPTQ has it.
    pub by_output: bool,
    /// Bits of a weight.
    pub bits: u64,
    /// Inputs that share a scale; all where None is given.
    pub group: Option<u64>,
}

/// Why a quantised checkpoint cannot be planned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantizationError {
    /// A method that is not known.
    #[error(
        "the checkpoint stores weights quantised by {}, which cannot be planned yet: `memplan inspect` says its bytes",
        quote::quoted(.method)
    )]
    Method {
        /// `quant_method`.
        method: String,
    },
    /// An entry that is wrong, or that is not planned.
    #[error("{}: quantization_config: \"{key}\" is {}: {what}", quote::path(.file), quote::cut(.found))]
    Entry {
        /// The config.
        file: PathBuf,
        /// Its key.
        key: &'static str,
        /// Its value, as JSON.
        found: String,
        /// What it must be.
        what: &'static str,
    },
    /// AWQ's kernels in bfloat16.
    #[error(
        "the checkpoint stores awq weights, for which transformers takes float16 in place of bfloat16: --precision fp16"
    )]
    TakesHalf,
    /// FP8 weights on a GPU that has no kernels for them.
    #[error(
        "the checkpoint stores fp8 weights, which need compute capability 8.9: on {gpu} transformers makes them whole as it \
         loads, so plan the model that they were made from"
    )]
    TooOld {
        /// The GPU.
        gpu: String,
    },
}

impl QuantizationError {
    /// The same, of the file that was read.
    pub(super) fn in_file(self, path: Option<&Path>) -> QuantizationError {
        match (self, path) {
            (QuantizationError::Entry { key, found, what, .. }, Some(path)) => {
                QuantizationError::Entry { file: path.to_owned(), key, found, what }
            }
            (error, _) => error,
        }
    }
}

impl Quantization {
    /// What a config says of it; None where weights are not quantised.
    ///
    /// # Errors
    /// An unknown method, entries that are wrong.
    pub fn of(config: &Map<String, Value>) -> Result<Option<Quantization>, QuantizationError> {
        let stored = match config.get("quantization_config") {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Object(stored)) => Entries(stored),
            Some(other) => {
                let (key, what) = ("quantization_config", "it must be an object");
                let file = PathBuf::from("config.json");
                return Err(QuantizationError::Entry { file, key, found: other.to_string(), what });
            }
        };
        let loads = stored.flag("load_in_4bit", false)? || stored.flag("load_in_8bit", false)?;
        match stored.text("quant_method", if loads { "bitsandbytes" } else { "an unnamed method" })? {
            "bitsandbytes" | "bitsandbytes_4bit" | "bitsandbytes_8bit" => entries::bitsandbytes(&stored).map(Some),
            "fp8" => entries::fp8(&stored).map(Some),
            "gptq" => entries::gptq(&stored).map(Some),
            "awq" => entries::awq(&stored).map(Some),
            other => Err(QuantizationError::Method { method: other.to_owned() }),
        }
    }

    /// The layers that are meant and what takes their place, for weights that had this type before; `names` are those of the
    /// stored tensors.
    pub fn layers<'a>(&self, dtype: Option<Dtype>, names: impl Iterator<Item = &'a String>) -> StoredLayers {
        let which = Which::AllBut(self.skipped.clone());
        match self.method {
            Method::FourBit { nested, compute, .. } => StoredLayers {
                make: "stored_linear",
                choices: vec![
                    ("int8", Choice::Bool(false)),
                    ("nested", Choice::Bool(nested)),
                    ("compute_dtype", Choice::Dtype(Some(compute))),
                    ("stored_dtype", Choice::Dtype(dtype)),
                ],
                classes: &["Linear", "Conv1D"],
                which,
                form: Some(Quantized::FourBit { nested }),
            },
            Method::Int8 { threshold } => StoredLayers {
                make: "stored_linear",
                choices: vec![("int8", Choice::Bool(true)), ("threshold", Choice::Bool(threshold))],
                classes: &["Linear", "Conv1D"],
                which,
                form: Some(Quantized::Int8),
            },
            Method::Fp8 { block: (rows, columns) } => StoredLayers {
                make: "stored_fp8",
                choices: vec![("rows", Choice::Int(rows)), ("columns", Choice::Int(columns))],
                classes: &["Linear"],
                which,
                form: None,
            },
            Method::Packed(packed) => StoredLayers {
                make: "stored_packed",
                choices: vec![
                    ("by_output", Choice::Bool(packed.by_output)),
                    ("bits", Choice::Int(packed.bits)),
                    ("group", Choice::Int(packed.group.unwrap_or(0))),
                ],
                classes: &["Linear", "Conv1D"],
                which: Which::These(names.filter_map(|name| Some(name.strip_suffix(".qweight")?.to_owned())).collect()),
                form: None,
            },
        }
    }

    /// A word for the form of the weights.
    pub fn word(&self) -> &'static str {
        match self.method {
            Method::FourBit { kind: QuantizedType::Fp4, .. } => "fp4",
            Method::FourBit { .. } => "nf4",
            Method::Int8 { .. } => "int8",
            Method::Fp8 { .. } => "fp8",
            Method::Packed(Packed { by_output: false, .. }) => "gptq",
            Method::Packed(_) => "awq",
        }
    }

    /// Whether its layers can be run with gradients: bitsandbytes' can
    /// (transformers 5.17.0, quantizers/quantizer_finegrained_fp8.py, `is_trainable`; what gptqmodel's kernels keep for
    /// backward is not known).
    pub fn records(&self) -> bool {
        matches!(self.method, Method::FourBit { .. } | Method::Int8 { .. })
    }

    /// Whether bfloat16 becomes float16 (quantizers/quantizer_awq.py, `update_dtype`).
    pub fn takes_half(&self) -> bool {
        matches!(self.method, Method::Packed(Packed { by_output: true, .. }))
    }

    /// Checks what it asks of a run and a GPU (quantizers/quantizer_finegrained_fp8.py, `validate_environment`).
    ///
    /// # Errors
    /// bfloat16 where float16 is taken instead; a GPU without kernels.
    pub fn check(&self, run: &Run, gpu: &Gpu) -> Result<(), QuantizationError> {
        if self.takes_half() && run.precision == Some(Precision::Bf16) {
            return Err(QuantizationError::TakesHalf);
        }
        let capability = &gpu.compute_capability;
        if matches!(self.method, Method::Fp8 { .. }) && (capability.major, capability.minor) < (8, 9) {
            return Err(QuantizationError::TooOld { gpu: gpu.name.clone() });
        }
        Ok(())
    }

    /// The last parts of the names of tensors without which a layer is not whole.
    pub fn needed(&self) -> &'static [&'static str] {
        match self.method {
            Method::FourBit { .. } | Method::Int8 { .. } => &[],
            Method::Fp8 { .. } => &["weight_scale_inv"],
            Method::Packed(_) => &["qweight", "qzeros", "scales"],
        }
    }
}
