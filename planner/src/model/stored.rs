//! The tensors of a checkpoint that stores weights quantised: which parameters they make, whether what belongs to a weight is
//! there, and the order in which they are loaded.
//!
//! ```text
//! x.weight [n / 2, 1] u8    4 bits; .absmax [n / 64], .quant_map [16], .quant_state.bitsandbytes__nf4; where the scales are
//!                           bytes: .nested_absmax [n / 64 / 256], .nested_quant_map [256]
//! x.weight [rows, n] i8     LLM.int8(): x.SCB [rows], x.weight_format
//! ```
//!
//! Read from bitsandbytes 0.50.2, functional.py (`QuantState.as_dict`) and nn/modules.py (`Linear8bitLt`), and transformers
//! 5.17.0, core_model_loading.py and quantizers/quantizer_bnb_4bit.py.

use indexmap::IndexMap;

use super::weights::{Expected, Meant, expected, file_of, floating, meant};
use super::{Model, ModelError};
use crate::bytes::Bytes;
use crate::dtype::Dtype;
use crate::graph::{Loading, Origin, Parameter, Piece, Quantized, Role};
use crate::model::quantization::Quantization;
use crate::read::checkpoint::StoredTensor;
use crate::read::header;
use crate::read::spec::Architecture;

/// How the names of scales of scales end.
pub(super) const NESTED_SCALES: &str = ".weight.nested_absmax";

/// What is stored beside a weight in 4 bits, and whether it stays once the weight is made.
const FOUR_BIT: [(&str, Role); 6] = [
    (".absmax", Role::Beside),
    (".nested_absmax", Role::Beside),
    (".nested_quant_map", Role::Beside),
    (".quant_map", Role::Beside),
    (".quant_state.bitsandbytes__nf4", Role::Passing),
    (".quant_state.bitsandbytes__fp4", Role::Passing),
];

/// What is stored beside an int8 weight, in its module.
const INT8: [(&str, Role); 2] = [("SCB", Role::Beside), ("weight_format", Role::Passing)];

/// The mean of scales that are quantised: a number in the description, a tensor on the device
/// (functional.py, `QuantState.from_dict`).
const OFFSET: Bytes = Bytes(4);

/// What the warm-up leaves of the device (transformers 5.17.0, modeling_utils.py, `caching_allocator_warmup`).
const LEFT_BY_WARMUP: u64 = (1.2 * (1u64 << 30) as f64) as u64;

/// A loading, and the parameters that keep the type of the file.
type Loaded = (Loading, Vec<(usize, Dtype)>);

/// The weight that a stored tensor belongs to, if it is one of those beside quantised weights.
pub(super) fn beside<'a>(
    stored: &str,
    weight: impl Fn(&str) -> Option<&'a Parameter>,
) -> Option<(&'a Parameter, Role)> {
    let quantized = |name: &str, int8: bool| {
        weight(name).filter(|parameter| match parameter.origin {
            Origin::Quantized(form) => (form == Quantized::Int8) == int8,
            _ => false,
        })
    };
    let four_bit = FOUR_BIT.iter().find_map(|(end, role)| Some((quantized(stored.strip_suffix(end)?, false)?, *role)));
    four_bit.or_else(|| {
        let (module, last) = stored.rsplit_once('.')?;
        let role = INT8.iter().find(|(name, _)| *name == last)?.1;
        Some((quantized(&format!("{module}.weight"), true)?, role))
    })
}

/// The tensors of a quantised checkpoint as they are loaded; None without a checkpoint.
///
/// # Errors
/// A weight whose scales are missing, or are not what they should be.
pub fn loading(
    model: &Model,
    architecture: &Architecture,
    parameters: &[Parameter],
    quantization: &Quantization,
    weights: Dtype,
    total: Bytes,
) -> Result<Option<Loaded>, ModelError> {
    let Some(checkpoint) = &model.weights else { return Ok(None) };
    if !architecture.merged.is_empty() {
        let (architecture, method) = (architecture.name.clone(), quantization.word());
        return Err(ModelError::QuantizedParts { architecture, method });
    }
    let expected = expected(parameters);
    let mut names: Vec<&String> = checkpoint.tensors.keys().collect();
    names.sort_by_cached_key(|name| natural_key(name));
    let mut makers: IndexMap<usize, Vec<Stored<'_>>> = IndexMap::new();
    for name in names {
        if let Some((parameter, stored)) = of(name, &checkpoint.tensors[name], architecture, parameters, &expected) {
            makers.entry(parameter).or_default().push(stored);
        }
    }
    let check = Check { model, method: quantization.word() };
    let mut loading = Loading { warmup: warmup(parameters, weights, total), pieces: Vec::new() };
    let mut types = Vec::new();
    for (number, tensors) in &makers {
        let parameter = &parameters[*number];
        check.tensors(parameter, tensors)?;
        let has_own = tensors.iter().any(|stored| stored.role == Role::Itself && !stored.tied);
        for stored in tensors {
            let kept = keeps_type(parameter, stored);
            let dtype = parameter.dtype.unwrap_or(weights);
            types.extend(kept.filter(|_| parameter.dtype.is_none()).map(|kept| (*number, kept)));
            let bytes = match (stored.role, kept) {
                (Role::Itself, None) => Bytes(stored.tensor.elements().saturating_mul(dtype.size())),
                _ => stored.tensor.bytes,
            };
            let role = if stored.tied && has_own { Role::Loading } else { stored.role };
            loading.pieces.push(Piece { parameter: *number as u32, role, bytes });
        }
        if parameter.origin == Origin::Quantized(Quantized::FourBit { nested: true }) {
            loading.pieces.push(Piece { parameter: *number as u32, role: Role::Beside, bytes: OFFSET });
        }
    }
    for parameter in parameters {
        let tensors = expected.get(parameter.name.as_str()).and_then(|number| makers.get(number));
        check.is_there(parameter, quantization.needed(), tensors.map_or(&[], Vec::as_slice))?;
    }
    Ok(Some((loading, types)))
}

/// A stored tensor and what it is to its parameter.
struct Stored<'a> {
    name: &'a str,
    tensor: &'a StoredTensor,
    role: Role,
    renamed: bool,
    tied: bool,
}

fn of<'a>(
    name: &'a str,
    tensor: &'a StoredTensor,
    architecture: &Architecture,
    parameters: &[Parameter],
    expected: &Expected<'_>,
) -> Option<(usize, Stored<'a>)> {
    if let Some(Meant { parameter, renamed, tied }) = meant(name, architecture, expected) {
        return Some((parameter, Stored { name, tensor, role: Role::Itself, renamed, tied }));
    }
    let weight = |weight: &str| meant(weight, architecture, expected).map(|meant| &parameters[meant.parameter]);
    let (parameter, role) = beside(name, weight)?;
    let number = *expected.get(parameter.name.as_str())?;
    Some((number, Stored { name, tensor, role, renamed: true, tied: false }))
}

/// The type of the file, where a parameter keeps it: others become the model's as they are loaded
/// (core_model_loading.py, "Handle dtype casting").
fn keeps_type(parameter: &Parameter, stored: &Stored<'_>) -> Option<Dtype> {
    if let Origin::Quantized(_) = parameter.origin {
        return parameter.dtype;
    }
    floating(stored.tensor.dtype).filter(|_| stored.renamed)
}

/// What the warm-up allocates: half-precision numbers for the bytes of the model, unless the device is too small.
fn warmup(parameters: &[Parameter], weights: Dtype, total: Bytes) -> Bytes {
    let stored = parameters.iter().filter(|parameter| parameter.stored);
    let bytes = stored.map(|parameter| {
        let elements: u64 = parameter.shape.iter().product();
        elements.saturating_mul(parameter.dtype.unwrap_or(weights).size())
    });
    let bytes = bytes.fold(0u64, u64::saturating_add);
    Bytes(bytes.min(total.0.saturating_sub(LEFT_BY_WARMUP)) / 2 * 2)
}

/// Checks stored tensors against what quantised weights need.
struct Check<'a> {
    model: &'a Model,
    method: &'static str,
}

impl Check<'_> {
    fn tensors(&self, parameter: &Parameter, tensors: &[Stored<'_>]) -> Result<(), ModelError> {
        let Some(weight) = tensors.iter().find(|stored| stored.role == Role::Itself) else { return Ok(()) };
        let Origin::Quantized(form) = parameter.origin else { return self.typed(parameter, weight) };
        let kind = if form == Quantized::Int8 { header::Dtype::I8 } else { header::Dtype::U8 };
        self.holds(weight, kind, weight.tensor.elements())?;
        let rows = weight.tensor.shape.first().copied().unwrap_or(1);
        let blocks = Quantized::scales(weight.tensor.elements().saturating_mul(2));
        let needed: &[(&str, header::Dtype, u64)] = match form {
            Quantized::Int8 => &[("SCB", header::Dtype::F32, rows)],
            Quantized::FourBit { nested: false } => {
                &[(".absmax", header::Dtype::F32, blocks), (".quant_map", header::Dtype::F32, 16)]
            }
            Quantized::FourBit { nested: true } => &[
                (".absmax", header::Dtype::U8, blocks),
                (".nested_absmax", header::Dtype::F32, Quantized::nested_scales(blocks)),
                (".nested_quant_map", header::Dtype::F32, 256),
                (".quant_map", header::Dtype::F32, 16),
            ],
        };
        for (end, dtype, elements) in needed {
            match tensors.iter().find(|stored| is_called(stored.name, end)) {
                Some(stored) => self.holds(stored, *dtype, *elements)?,
                None => return Err(self.wrong(weight, format!("lacks its `{}`", end.trim_start_matches('.')))),
            }
        }
        let described = tensors.iter().any(|stored| stored.role == Role::Passing);
        if form != Quantized::Int8 && !described {
            return Err(self.wrong(weight, "lacks its `quant_state.bitsandbytes__..`".to_owned()));
        }
        Ok(())
    }

    /// Packed numbers and FP8 are stored as such; what else has a fixed type becomes it.
    fn typed(&self, parameter: &Parameter, stored: &Stored<'_>) -> Result<(), ModelError> {
        let elements = stored.tensor.elements();
        match parameter.dtype {
            Some(Dtype::I32) => self.holds(stored, header::Dtype::I32, elements),
            Some(Dtype::F8) => self.holds(stored, header::Dtype::F8_E4M3, elements),
            _ => Ok(()),
        }
    }

    fn holds(&self, stored: &Stored<'_>, dtype: header::Dtype, elements: u64) -> Result<(), ModelError> {
        let tensor = stored.tensor;
        if tensor.dtype == dtype && tensor.elements() == elements {
            return Ok(());
        }
        let what = format!("has {} elements of {}, not {elements} of {dtype}", tensor.elements(), tensor.dtype);
        Err(self.wrong(stored, what))
    }

    /// A quantised weight cannot be initialised newly.
    fn is_there(&self, parameter: &Parameter, needed: &[&str], tensors: &[Stored<'_>]) -> Result<(), ModelError> {
        let last = parameter.name.rsplit('.').next().unwrap_or_default();
        let quantized = matches!(parameter.origin, Origin::Quantized(_)) || needed.contains(&last);
        let there = tensors.iter().any(|stored| stored.role == Role::Itself);
        match self.model.weights.as_ref().and_then(|weights| weights.files.first()) {
            Some(file) if quantized && !there => Err(ModelError::Quantized {
                file: file.path.clone(),
                name: parameter.name.clone(),
                what: "is missing".to_owned(),
                method: self.method,
            }),
            _ => Ok(()),
        }
    }

    fn wrong(&self, stored: &Stored<'_>, what: String) -> ModelError {
        let file = file_of(self.model, stored.tensor);
        ModelError::Quantized { file, name: stored.name.to_owned(), what, method: self.method }
    }
}

/// Whether a name ends so: `.absmax` but not `.nested_absmax`, or as the last part.
fn is_called(name: &str, end: &str) -> bool {
    match end.strip_prefix('.') {
        Some(_) => name.ends_with(end),
        None => name.rsplit('.').next() == Some(end),
    }
}

/// A part of a name: whether it has letters, those, and the number behind them by its digits' count and itself.
type KeyPart<'a> = (bool, &'a str, Option<(usize, &'a str)>);

/// The order in which names are loaded: numbers as such, before words
/// (core_model_loading.py, `dot_natural_key`).
fn natural_key(name: &str) -> Vec<KeyPart<'_>> {
    name.split('.')
        .map(|part| {
            let text = part.trim_end_matches(|c: char| c.is_ascii_digit());
            let digits = part[text.len()..].trim_start_matches('0');
            let number = (text.len() < part.len()).then_some((digits.len(), digits));
            (!text.is_empty(), text, number)
        })
        .collect()
}
