//! How a checkpoint stores its weights quantised: the `quantization_config` of its config.json.
//!
//! Read from transformers 5.17.0, utils/quantization_config.py and quantizers/auto.py; the defaults are those there.

use serde_json::{Map, Value};

use super::gpus::ComputeCapability;
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
            "fp8" => fp8(&stored).map(Some),
            "gptq" => gptq(&stored).map(Some),
            "awq" => awq(&stored).map(Some),
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

    /// Whether a GPU has kernels for it (quantizers/quantizer_finegrained_fp8.py, `validate_environment`).
    pub fn runs_on(&self, capability: &ComputeCapability) -> bool {
        !matches!(self.method, Method::Fp8 { .. }) || (capability.major, capability.minor) >= (8, 9)
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

/// utils/quantization_config.py, `FineGrainedFP8Config`.
fn fp8(stored: &Entries<'_>) -> Result<Quantization, QuantizationError> {
    if stored.text("activation_scheme", "dynamic")? != "dynamic" {
        return Err(stored.wrong("activation_scheme", "only dynamic can be planned"));
    }
    if stored.text("scale_fmt", "float")? != "float" {
        return Err(stored.wrong("scale_fmt", "only float can be planned"));
    }
    if stored.flag("dequantize", false)? {
        return Err(stored.wrong("dequantize", "weights that are made whole as they are loaded cannot be planned"));
    }
    let wrong = || stored.wrong("weight_block_size", "it must be two sizes of at least 1");
    let block = match stored.get("weight_block_size") {
        None if stored.0.contains_key("weight_block_size") => return Err(wrong()),
        None => (128, 128),
        Some(sizes) => {
            let sizes: Option<Vec<u64>> = sizes.as_array().and_then(|sizes| sizes.iter().map(Value::as_u64).collect());
            match sizes.as_deref() {
                Some([rows @ 1..=LARGEST_BLOCK, columns @ 1..=LARGEST_BLOCK]) => (*rows, *columns),
                _ => return Err(wrong()),
            }
        }
    };
    Ok(Quantization { method: Method::Fp8 { block }, skipped: stored.names("modules_to_not_convert")? })
}

/// utils/quantization_config.py, `GPTQConfig`.
fn gptq(stored: &Entries<'_>) -> Result<Quantization, QuantizationError> {
    let bits = stored.whole("bits", "it must be 2, 3, 4 or 8")?;
    if ![2, 3, 4, 8].contains(&bits) {
        return Err(stored.wrong("bits", "it must be 2, 3, 4 or 8"));
    }
    let packed = Packed { by_output: false, bits, group: stored.group()? };
    Ok(Quantization { method: Method::Packed(packed), skipped: None })
}

/// utils/quantization_config.py, `AwqConfig`.
fn awq(stored: &Entries<'_>) -> Result<Quantization, QuantizationError> {
    let key = if stored.get("version").is_some() { "version" } else { "format" };
    if !stored.text(key, "gemm")?.eq_ignore_ascii_case("gemm") {
        return Err(stored.wrong(key, "only gemm can be planned"));
    }
    // The first name is that of older configs (`AwqConfig`, "w_bit" and "q_group_size" of llm-awq are not read).
    let bits = if stored.get("bits").is_some() { stored.whole("bits", "it must be 4")? } else { 4 };
    if bits != 4 {
        return Err(stored.wrong("bits", "it must be 4"));
    }
    let packed = Packed { by_output: true, bits, group: stored.group()? };
    Ok(Quantization { method: Method::Packed(packed), skipped: None })
}

/// More inputs than any layer has.
const LARGEST_BLOCK: u64 = 1 << 32;

impl<'a> Entries<'a> {
    fn whole(&self, key: &'static str, what: &'static str) -> Result<u64, QuantizationError> {
        self.get(key).and_then(Value::as_u64).ok_or_else(|| self.wrong(key, what))
    }

    /// `group_size`; None for -1, one group.
    fn group(&self) -> Result<Option<u64>, QuantizationError> {
        match self.get("group_size").map_or(Some(128), Value::as_i64) {
            Some(-1) => Ok(None),
            Some(size) if size > 0 && size as u64 <= LARGEST_BLOCK => Ok(Some(size as u64)),
            _ => Err(self.wrong("group_size", "it must be -1 or at least 1")),
        }
    }

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
