//! How a checkpoint stores its weights quantised: the `quantization_config` of its config.json.
//!
//! Read from transformers 5.17.0, utils/quantization_config.py and quantizers/auto.py; the defaults are those there.

use serde_json::{Map, Value};

use super::quote;
use crate::dtype::Dtype;
use crate::graph::{Choice, Quantized, QuantizedType, StoredLayers, Which};

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
}

/// Why a `quantization_config` cannot be planned.
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
    #[error("config.json: quantization_config: \"{key}\" is {}: {what}", quote::cut(.found))]
    Entry {
        /// Its key.
        key: &'static str,
        /// Its value, as JSON.
        found: String,
        /// What it must be.
        what: &'static str,
    },
}

/// The entries of a `quantization_config`.
pub(super) struct Entries<'a>(pub(super) &'a Map<String, Value>);

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
                return Err(QuantizationError::Entry { key, found: other.to_string(), what });
            }
        };
        let loads = stored.flag("load_in_4bit", false)? || stored.flag("load_in_8bit", false)?;
        match stored.text("quant_method", if loads { "bitsandbytes" } else { "an unnamed method" })? {
            "bitsandbytes" | "bitsandbytes_4bit" | "bitsandbytes_8bit" => bitsandbytes(&stored).map(Some),
            other => Err(QuantizationError::Method { method: other.to_owned() }),
        }
    }

    /// The layers that are meant and what takes their place, for weights that had this type before.
    pub fn layers(&self, dtype: Option<Dtype>) -> StoredLayers {
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
        }
    }

    /// A word for the form of the weights.
    pub fn word(&self) -> &'static str {
        match self.method {
            Method::FourBit { kind: QuantizedType::Fp4, .. } => "fp4",
            Method::FourBit { .. } => "nf4",
            Method::Int8 { .. } => "int8",
        }
    }
}

fn bitsandbytes(stored: &Entries<'_>) -> Result<Quantization, QuantizationError> {
    let (four, eight) = (stored.flag("load_in_4bit", false)?, stored.flag("load_in_8bit", false)?);
    let skipped = stored.names("llm_int8_skip_modules")?;
    let method = match (four, eight) {
        (true, false) => four_bit(stored)?,
        (false, true) => {
            if stored.flag("llm_int8_has_fp16_weight", false)? {
                return Err(stored.wrong("llm_int8_has_fp16_weight", "weights kept in float16 cannot be planned"));
            }
            Method::Int8 { threshold: stored.number("llm_int8_threshold", 6.0)? > 0.0 }
        }
        _ => return Err(stored.wrong("load_in_4bit", "either it or \"load_in_8bit\" must be true")),
    };
    Ok(Quantization { method, skipped })
}

fn four_bit(stored: &Entries<'_>) -> Result<Method, QuantizationError> {
    let kind = match stored.text("bnb_4bit_quant_type", "fp4")? {
        "nf4" => QuantizedType::Nf4,
        "fp4" => QuantizedType::Fp4,
        _ => return Err(stored.wrong("bnb_4bit_quant_type", "it must be nf4 or fp4")),
    };
    let compute = stored.text("bnb_4bit_compute_dtype", "float32")?;
    let compute = Dtype::named(compute.trim_start_matches("torch.")).filter(|dtype| {
        // The kernels' types (bitsandbytes 0.50.2, backends/cuda/ops.py, `gemm_4bit`).
        matches!(dtype, Dtype::F16 | Dtype::BF16 | Dtype::F32)
    });
    let Some(compute) = compute else {
        return Err(stored.wrong("bnb_4bit_compute_dtype", "it must be float16, bfloat16 or float32"));
    };
    if stored.text("bnb_4bit_quant_storage", "uint8")?.trim_start_matches("torch.") != "uint8" {
        return Err(stored.wrong("bnb_4bit_quant_storage", "only uint8 can be planned"));
    }
    Ok(Method::FourBit { kind, nested: stored.flag("bnb_4bit_use_double_quant", false)?, compute })
}

impl<'a> Entries<'a> {
    /// An entry that is there and not null.
    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn wrong(&self, key: &'static str, what: &'static str) -> QuantizationError {
        let found = self.0.get(key).map_or("missing".to_owned(), Value::to_string);
        QuantizationError::Entry { key, found, what }
    }

    pub(super) fn flag(&self, key: &'static str, default: bool) -> Result<bool, QuantizationError> {
        let value = self.get(key).map_or(Some(default), Value::as_bool);
        value.ok_or_else(|| self.wrong(key, "it must be true or false"))
    }

    pub(super) fn number(&self, key: &'static str, default: f64) -> Result<f64, QuantizationError> {
        let value = self.get(key).map_or(Some(default), Value::as_f64);
        value.filter(|number| *number >= 0.0).ok_or_else(|| self.wrong(key, "it must be a number of at least 0"))
    }

    pub(super) fn text(&self, key: &'static str, default: &'a str) -> Result<&'a str, QuantizationError> {
        let value = self.get(key).map_or(Some(default), Value::as_str);
        value.ok_or_else(|| self.wrong(key, "it must be a text"))
    }

    /// A list of names.
    pub(super) fn names(&self, key: &'static str) -> Result<Option<Vec<String>>, QuantizationError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let names =
            value.as_array().and_then(|names| names.iter().map(|name| name.as_str().map(str::to_owned)).collect());
        names.map(Some).ok_or_else(|| self.wrong(key, "it must be a list of names"))
    }
}
