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
    /// The names, or ends of paths, of the modules that are adapted; [`ALL_LINEAR`] is every linear layer but the head.
    pub targets: Vec<String>,
    /// The biases of the model that are trained beside the adapters.
    pub bias: TrainedBias,
    /// The ends of paths of modules of which a copy is trained whole (`modules_to_save`).
    pub saved: Vec<String>,
    /// Whether the layers' weights have magnitudes that are trained too: DoRA.
    pub dora: bool,
}

/// The biases of the model that are trained beside its adapters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrainedBias {
    /// None of them.
    #[default]
    None,
    /// Each of the model's.
    All,
    /// Those of the layers that are adapted.
    LoraOnly,
}

/// The target that stands for every linear layer but the output embedding, or the head of a classifier
/// (peft 0.21.2, tuners/tuners_utils.py, `_maybe_include_all_linear_layers`).
pub const ALL_LINEAR: &str = "all-linear";

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

    /// `r=16,alpha=32,dropout=0.05,targets=q_proj+v_proj,modules_to_save=lm_head,bias=all`; peft's defaults for what is left
    /// out. No targets are those that peft chooses for the family.
    fn from_str(text: &str) -> Result<Lora, String> {
        let mut lora = Lora::default();
        for part in text.split(',').filter(|part| !part.trim().is_empty()) {
            let (key, value) = match part.split_once('=') {
                Some((key, value)) => (key.trim(), value.trim()),
                None if part.trim().bytes().all(|byte| byte.is_ascii_digit()) => ("r", part.trim()),
                None => return Err(format!("lora: `{}` is not KEY=VALUE: a rank is r=16", quote::cut(part))),
            };
            let wrong = |what: &str| format!("lora: {key} must be {what}, not `{}`", quote::cut(value));
            let switch = || value.to_lowercase().parse::<bool>().ok();
            let number = || value.parse::<f64>().ok().filter(|number| number.is_finite());
            match key {
                "r" | "rank" | "lora_r" | "lora_rank" => {
                    lora.rank = value.parse().map_err(|_| wrong("a whole number"))?
                }
                "alpha" | "lora_alpha" => lora.alpha = number().ok_or_else(|| wrong("a number"))?,
                "dropout" | "lora_dropout" => lora.dropout = number().ok_or_else(|| wrong("a number"))?,
                "targets" | "target_modules" => lora.targets = names(value),
                "bias" => lora.bias = value.parse().map_err(|error| format!("lora: {error}"))?,
                "modules_to_save" => lora.saved = names(value),
                "use_dora" => lora.dora = switch().ok_or_else(|| wrong("true or false"))?,
                // another number for the scale: no memory
                "use_rslora" => drop(switch().ok_or_else(|| wrong("true or false"))?),
                _ => {
                    let key = quote::cut(key);
                    return Err(format!("lora: unknown key `{key}`: the keys are {KEYS}"));
                }
            }
        }
        lora.check()
    }
}

/// The keys of the choices.
const KEYS: &str = "r, alpha, dropout, targets, bias, modules_to_save, use_dora and use_rslora";

/// `q_proj+v_proj`
fn names(text: &str) -> Vec<String> {
    text.split('+').map(|name| name.trim().to_owned()).collect()
}

impl Default for Lora {
    /// peft's defaults.
    fn default() -> Lora {
        let (targets, saved) = Default::default();
        Lora { rank: 8, alpha: 8.0, dropout: 0.0, targets, bias: TrainedBias::None, saved, dora: false }
    }
}

impl Lora {
    /// Itself, if its figures can be.
    ///
    /// # Errors
    /// A rank of zero, a dropout outside [0, 1), a target or a module to save without a name.
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
            () if self.saved.iter().any(String::is_empty) => {
                Err("lora: a module to save has no name: they are written as modules_to_save=embed_tokens+lm_head"
                    .to_owned())
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
        for (key, names) in [("targets", &self.targets), ("modules_to_save", &self.saved)] {
            if !names.is_empty() {
                write!(f, ",{key}={}", names.join("+"))?;
            }
        }
        if self.bias != TrainedBias::None {
            write!(f, ",bias={}", self.bias)?;
        }
        if self.dora {
            f.write_str(",use_dora=true")?;
        }
        Ok(())
    }
}

choices!(TrainedBias, "choice of biases", "none" => TrainedBias::None, "all" => TrainedBias::All,
    "lora-only" => TrainedBias::LoraOnly);

choices!(QuantizedType, "quantised form", "nf4" | "4bit" | "4-bit" | "bnb-4bit" => QuantizedType::Nf4,
    "fp4" => QuantizedType::Fp4, "int8" | "8bit" | "8-bit" | "llm.int8" | "bnb-8bit" => QuantizedType::Int8);
