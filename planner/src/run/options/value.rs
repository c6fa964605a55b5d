//! What an option's value can be: how a run file and a flag say it, how it is written back, and where a run keeps it.

use std::ffi::OsStr;
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use super::forms;
use crate::bytes::Bytes;
use crate::run::{
    Attention, CacheDtype, CacheKind, Checkpointing, Construction, Ddp, Fsdp, GivenInputs, Kernel, Lora, LossKind,
    Mode, NamedSizes, OptimizerChoice, Parallel, Pattern, Precision, QuantizedType, Sample, SavedOperators, Variables,
    ZeroGrad,
};
use crate::versions::Release;
use crate::words::quote;

/// What a shell can complete behind a flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completion {
    /// Nothing: a number, a name.
    Nothing,
    /// A file or a folder.
    Path,
    /// One of these words, which the flag's help names.
    Words(Vec<&'static str>),
    /// On or off, in many spellings.
    Switch,
}

/// The type of an option's value.
pub trait OptionValue: Sized + Clone + Send + Sync + 'static {
    /// Whether the flag may be given several times, each adding to those before.
    const REPEATS: bool = false;

    /// Reads what a run file has; None for null.
    ///
    /// # Errors
    /// A value that the option cannot have.
    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Self>, D::Error>;

    /// The value as a run file has it.
    fn entry(&self) -> Value;

    /// Reads what stands behind a flag.
    ///
    /// # Errors
    /// A text that the option cannot have.
    fn parse(text: &OsStr) -> Result<Self, String>;

    /// What stands behind a flag that says this value; None where no flag does.
    fn words(&self) -> Option<String>;

    /// What a shell can complete.
    fn completion() -> Completion {
        Completion::Nothing
    }

    /// This value of a flag and a later one of the same flag: the later one counts.
    fn then(self, later: Self) -> Self {
        later
    }

    /// This value of a flag over that of a run file.
    fn over(self, _file: Self) -> Self {
        self
    }
}

/// The text of a flag's value.
fn text(value: &OsStr) -> Result<&str, String> {
    value.to_str().ok_or_else(|| quote::no_text(value))
}

/// The value that a text says.
fn parsed<T: FromStr<Err: Display>>(value: &OsStr) -> Result<T, String> {
    text(value)?.parse().map_err(|error: T::Err| error.to_string())
}

/// A whole number that is not negative; `16k` is 16,384, as in the names of models: the larger of what may be meant.
///
/// # Errors
/// Any other text.
pub fn whole(text: &str) -> Result<u64, &'static str> {
    let thousands = text.strip_suffix(['k', 'K']);
    let (number, factor) = (thousands.unwrap_or(text), if thousands.is_some() { 1u64 << 10 } else { 1 });
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("a whole number is expected");
    }
    number.parse().ok().and_then(|number: u64| number.checked_mul(factor)).ok_or("beyond 64 bits")
}

/// On or off, in clap's spellings.
fn switch(text: &str) -> Result<bool, String> {
    match text.to_lowercase().as_str() {
        "y" | "yes" | "t" | "true" | "on" | "1" => Ok(true),
        "n" | "no" | "f" | "false" | "off" | "0" => Ok(false),
        _ => Err("value was not a boolean".to_owned()),
    }
}

/// Values that a run file has as YAML has them.
macro_rules! plain {
    ($($type:ty, $parse:expr $(, $completion:expr)?;)+) => {$(
        impl OptionValue for $type {
            fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Self>, D::Error> {
                Option::deserialize(from)
            }

            fn entry(&self) -> Value {
                json!(self)
            }

            fn parse(value: &OsStr) -> Result<Self, String> {
                text(value).and_then($parse)
            }

            fn words(&self) -> Option<String> {
                Some(self.to_string())
            }

            $(fn completion() -> Completion {
                $completion
            })?
        }
    )+};
}

plain! {
    String, |text| Ok(text.to_owned());
    u64, |text| whole(text).map_err(str::to_owned);
    f64, |text| text.parse().map_err(|error: std::num::ParseFloatError| error.to_string());
    bool, switch, Completion::Switch;
}

/// Values that are written as words; a run file may have more forms of some.
macro_rules! words {
    ($($type:ty, $read:path $(, $completion:expr)?;)+) => {$(
        impl OptionValue for $type {
            fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Self>, D::Error> {
                $read(from)
            }

            fn entry(&self) -> Value {
                self.to_string().into()
            }

            fn parse(value: &OsStr) -> Result<Self, String> {
                parsed(value)
            }

            fn words(&self) -> Option<String> {
                Some(self.to_string())
            }

            $(fn completion() -> Completion {
                $completion
            })?
        }
    )+};
}

/// The words of an enum of choices.
macro_rules! named {
    ($type:ty) => {
        Completion::Words(<$type>::ALL.iter().map(|(word, _)| *word).collect())
    };
}

words! {
    Mode, forms::word, named!(Mode);
    Precision, forms::word, named!(Precision);
    ZeroGrad, forms::word, named!(ZeroGrad);
    QuantizedType, forms::word, named!(QuantizedType);
    Attention, forms::word, named!(Attention);
    Kernel, forms::word, named!(Kernel);
    CacheKind, forms::word, named!(CacheKind);
    CacheDtype, forms::word, named!(CacheDtype);
    LossKind, forms::word, named!(LossKind);
    OptimizerChoice, forms::optimizer;
    SavedOperators, forms::saved_operators;
    Lora, forms::adapters;
    Ddp, forms::word;
    Fsdp, forms::word;
    Pattern, forms::word;
    Sample, forms::word;
    Release, forms::release;
}

impl OptionValue for PathBuf {
    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Self>, D::Error> {
        Option::deserialize(from)
    }

    fn entry(&self) -> Value {
        self.display().to_string().into() // what is no text has another name there: no file holds it
    }

    fn parse(value: &OsStr) -> Result<Self, String> {
        text(value).map(PathBuf::from)
    }

    fn words(&self) -> Option<String> {
        Some(self.display().to_string())
    }

    fn completion() -> Completion {
        Completion::Path
    }
}

impl OptionValue for Bytes {
    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Self>, D::Error> {
        forms::word(from)
    }

    fn entry(&self) -> Value {
        self.0.into()
    }

    fn parse(value: &OsStr) -> Result<Self, String> {
        parsed(value)
    }

    fn words(&self) -> Option<String> {
        Some(self.0.to_string())
    }
}

impl OptionValue for Checkpointing {
    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Self>, D::Error> {
        forms::checkpoint(from)
    }

    fn entry(&self) -> Value {
        match self {
            Checkpointing::Modules(regions) => regions.iter().map(|region| region.to_string()).collect(),
            word => word.to_string().into(),
        }
    }

    fn parse(value: &OsStr) -> Result<Self, String> {
        parsed(value)
    }

    fn words(&self) -> Option<String> {
        Some(self.to_string())
    }
}

/// A mapping: `{ddp: 8}`. The flags are `ddp` and `fsdp`.
impl OptionValue for Parallel {
    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Self>, D::Error> {
        forms::parallel(from)
    }

    fn entry(&self) -> Value {
        let (flag, words) = self.flag();
        json!({ flag: words })
    }

    fn parse(_value: &OsStr) -> Result<Self, String> {
        Err("ddp or fsdp is expected".to_owned())
    }

    fn words(&self) -> Option<String> {
        None
    }
}

impl OptionValue for Variables {
    const REPEATS: bool = true;

    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Self>, D::Error> {
        forms::variables(from)
    }

    fn entry(&self) -> Value {
        self.iter().map(|(name, value)| (name.to_owned(), value.into())).collect::<Map<_, Value>>().into()
    }

    fn parse(value: &OsStr) -> Result<Self, String> {
        parsed(value)
    }

    /// `A=1 --variable B=2`
    fn words(&self) -> Option<String> {
        let entries: Vec<String> = self.iter().map(|(name, value)| format!("{name}={value}")).collect();
        (!entries.is_empty()).then(|| entries.join(" --variable "))
    }

    fn then(self, later: Self) -> Self {
        [self, later].into_iter().collect()
    }

    fn over(self, file: Self) -> Self {
        self.or(file)
    }
}

impl OptionValue for Construction {
    const REPEATS: bool = true;

    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Self>, D::Error> {
        forms::construction(from)
    }

    fn entry(&self) -> Value {
        self.to_string().into()
    }

    fn parse(value: &OsStr) -> Result<Self, String> {
        parsed(value)
    }

    fn words(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| self.to_string())
    }

    fn then(self, later: Self) -> Self {
        self.then(later)
    }
}

impl OptionValue for GivenInputs {
    const REPEATS: bool = true;

    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Self>, D::Error> {
        forms::inputs(from)
    }

    fn entry(&self) -> Value {
        self.0.iter().map(|(name, input)| (name.clone(), input.to_string().into())).collect::<Map<_, Value>>().into()
    }

    fn parse(value: &OsStr) -> Result<Self, String> {
        parsed(value)
    }

    /// `x=float32[8,3] --input y=int64[8]`
    fn words(&self) -> Option<String> {
        let entries: Vec<String> = self.0.iter().map(|(name, input)| format!("{name}={input}")).collect();
        (!entries.is_empty()).then(|| entries.join(" --input "))
    }

    fn then(self, later: Self) -> Self {
        self.then(later)
    }

    fn over(self, file: Self) -> Self {
        self.or(file)
    }
}

impl OptionValue for NamedSizes {
    const REPEATS: bool = true;

    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Self>, D::Error> {
        Option::deserialize(from)
    }

    fn entry(&self) -> Value {
        json!(self)
    }

    /// A symbol with its value: `s72=8`.
    fn parse(value: &OsStr) -> Result<Self, String> {
        let (name, size) = text(value)?.split_once('=').ok_or("a symbol with its value is expected: s72=8")?;
        Ok(NamedSizes::from_iter([(name.trim().to_owned(), whole(size.trim())?)]))
    }

    /// `s72=8 --dim s73=9`
    fn words(&self) -> Option<String> {
        let entries: Vec<String> = self.iter().map(|(name, size)| format!("{name}={size}")).collect();
        (!entries.is_empty()).then(|| entries.join(" --dim "))
    }

    fn then(mut self, later: Self) -> Self {
        self.extend(later);
        self
    }
}

/// Where a run keeps the value of an option.
pub(super) trait Place<T> {
    /// The value, if there is one.
    fn get(&self) -> Option<T>;
    /// Keeps a value.
    fn set(&mut self, value: T);
}

/// An option with a default.
impl<T: Clone> Place<T> for T {
    fn get(&self) -> Option<T> {
        Some(self.clone())
    }

    fn set(&mut self, value: T) {
        *self = value;
    }
}

/// An option without.
impl<T: Clone> Place<T> for Option<T> {
    fn get(&self) -> Option<T> {
        self.clone()
    }

    fn set(&mut self, value: T) {
        *self = Some(value);
    }
}

impl Place<Ddp> for Option<Parallel> {
    fn get(&self) -> Option<Ddp> {
        if let Some(Parallel::Ddp(ddp)) = self { Some(ddp.clone()) } else { None }
    }

    fn set(&mut self, value: Ddp) {
        *self = Some(Parallel::Ddp(value));
    }
}

impl Place<Fsdp> for Option<Parallel> {
    fn get(&self) -> Option<Fsdp> {
        if let Some(Parallel::Fsdp(fsdp)) = self { Some(fsdp.clone()) } else { None }
    }

    fn set(&mut self, value: Fsdp) {
        *self = Some(Parallel::Fsdp(value));
    }
}
