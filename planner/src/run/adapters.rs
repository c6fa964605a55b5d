//! Which parameters a run trains, and in which form it keeps the others: the words of `trainable`, `lora` and `quantize`.

use std::fmt;
use std::str::FromStr;

use crate::choices::choices;
use crate::words::quote;

/// LoRA's choices (peft 0.21.2, `LoraConfig`).
#[derive(Clone, Debug, PartialEq)]
pub struct Lora {
    /// The rank.
    pub rank: u64,
    /// The scale, over the rank.
    pub alpha: f64,
    /// The probability of dropout before the adapters.
    pub dropout: f64,
    /// The names, or ends of paths, of the modules that are adapted.
    pub targets: Vec<String>,
}

impl Eq for Lora {}

/// How linear layers are quantised (bitsandbytes 0.50.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuantizedType {
    /// 4 bits, the quantiles of a normal distribution.
    Nf4,
    /// 4 bits, floating-point.
    Fp4,
    /// 8 bits: LLM.int8().
    Int8,
}

/// A regular expression over the full names of parameters.
#[derive(Clone, Debug)]
pub struct Pattern(pub regex::Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Pattern, String> {
        let pattern = regex::Regex::new(text).map(Pattern);
        pattern.map_err(|_| {
            format!("`{}` is no regular expression that can be used here (no look-around)", quote::cut(text))
        })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

/// The largest rank: beyond any use, within any arithmetic.
const LARGEST_RANK: u64 = 1 << 20;

impl FromStr for Lora {
    type Err = String;

    /// `r=16,alpha=32,dropout=0.05,targets=q_proj+v_proj`; peft's defaults for what is left out. No targets are those that peft
    /// chooses for the family.
    fn from_str(text: &str) -> Result<Lora, String> {
        let mut lora = Lora { rank: 8, alpha: 8.0, dropout: 0.0, targets: Vec::new() };
        let mut alpha = None;
        for part in text.split(',').filter(|part| !part.trim().is_empty()) {
            let (key, value) =
                part.split_once('=').ok_or_else(|| format!("lora: `{}` is not KEY=VALUE", quote::cut(part)))?;
            let (key, value) = (key.trim(), value.trim());
            let wrong = |what: &str| format!("lora: {key} must be {what}, not `{}`", quote::cut(value));
            let number = || value.parse::<f64>().ok().filter(|number| number.is_finite());
            match key {
                "r" => lora.rank = value.parse().map_err(|_| wrong("a whole number"))?,
                "alpha" => alpha = Some(number().ok_or_else(|| wrong("a number"))?),
                "dropout" => lora.dropout = number().ok_or_else(|| wrong("a number"))?,
                "targets" => lora.targets = value.split('+').map(|target| target.trim().to_owned()).collect(),
                _ => {
                    let key = quote::cut(key);
                    return Err(format!("lora: unknown key `{key}`: the keys are r, alpha, dropout and targets"));
                }
            }
        }
        lora.alpha = alpha.unwrap_or(lora.alpha);
        lora.check()
    }
}

impl Lora {
    /// Itself, if its figures can be.
    ///
    /// # Errors
    /// A rank of zero, a dropout outside [0, 1), a target without a name.
    pub fn check(self) -> Result<Lora, String> {
        match () {
            () if !(1..=LARGEST_RANK).contains(&self.rank) => {
                Err(format!("lora: r is {}: it must be 1 to {LARGEST_RANK}", self.rank))
            }
            () if !(0.0..1.0).contains(&self.dropout) => {
                Err(format!("lora: dropout is {}: it must be at least 0 and below 1", self.dropout))
            }
            () if self.targets.iter().any(String::is_empty) => {
                Err("lora: a target has no name: they are written as targets=q_proj+v_proj".to_owned())
            }
            () => Ok(self),
        }
    }
}

impl fmt::Display for Lora {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r={},alpha={}", self.rank, self.alpha)?;
        if self.dropout > 0.0 {
            write!(f, ",dropout={}", self.dropout)?;
        }
        if self.targets.is_empty() {
            return Ok(());
        }
        write!(f, ",targets={}", self.targets.join("+"))
    }
}

choices!(QuantizedType, "quantised form", "nf4" => QuantizedType::Nf4, "fp4" => QuantizedType::Fp4,
    "int8" => QuantizedType::Int8);
