//! The entries of a `quantization_config`, by method, with the defaults of transformers 5.17.0,
//! utils/quantization_config.py.

use serde_json::{Map, Value};

use super::{Method, Packed, Quantization, QuantizationError};
use crate::dtype::Dtype;
use crate::run::QuantizedType;

/// The entries.
pub(super) struct Entries<'a>(pub(super) &'a Map<String, Value>);

/// `BitsAndBytesConfig`.
pub(super) fn bitsandbytes(stored: &Entries<'_>) -> Result<Quantization, QuantizationError> {
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

/// `FineGrainedFP8Config`.
pub(super) fn fp8(stored: &Entries<'_>) -> Result<Quantization, QuantizationError> {
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

/// `GPTQConfig`.
pub(super) fn gptq(stored: &Entries<'_>) -> Result<Quantization, QuantizationError> {
    let bits = stored.whole("bits", "it must be 2, 3, 4 or 8")?;
    if ![2, 3, 4, 8].contains(&bits) {
        return Err(stored.wrong("bits", "it must be 2, 3, 4 or 8"));
    }
    let packed = Packed { by_output: false, bits, group: stored.group()? };
    Ok(Quantization { method: Method::Packed(packed), skipped: None })
}

/// `AwqConfig`; "version" is an older name of "format".
pub(super) fn awq(stored: &Entries<'_>) -> Result<Quantization, QuantizationError> {
    let key = if stored.get("version").is_some() { "version" } else { "format" };
    if !stored.text(key, "gemm")?.eq_ignore_ascii_case("gemm") {
        return Err(stored.wrong(key, "only gemm can be planned"));
    }
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
        QuantizationError::Entry { file: "config.json".into(), key, found, what }
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
