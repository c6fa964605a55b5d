//! What a run says of a class in a file of the user's own: how it is made, and what goes into its forward.
//!
//! ```text
//! --init depth=12,width=256                  its construction, as Python
//! --input ids=int64[batch,seq]               an input: its name, its type, its sizes: numbers, or sizes of the run
//! ```

use std::fmt;
use std::str::FromStr;

use indexmap::IndexMap;

use crate::dtype::Dtype;
use crate::words::quote;

/// The arguments that a model is made with, as Python.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Construction(pub String);

impl FromStr for Construction {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Construction, Self::Err> {
        Ok(Construction(text.trim().to_owned()))
    }
}

impl fmt::Display for Construction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Construction {
    /// These arguments and those of a later flag.
    pub fn then(self, later: Construction) -> Construction {
        match self.0.is_empty() {
            true => later,
            false => Construction(format!("{}, {}", self.0, later.0)),
        }
    }
}

/// A size of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GivenSize {
    /// A number.
    Number(u64),
    /// A size of the run: `batch`, `seq`, `image`, or one that `--dim` names.
    Named(String),
}

impl fmt::Display for GivenSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GivenSize::Number(number) => write!(f, "{number}"),
            GivenSize::Named(name) => f.write_str(name),
        }
    }
}

/// What goes into a parameter of forward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GivenInput {
    /// A tensor of that type, of the weights' where None is given, and of these sizes.
    Tensor(Option<Dtype>, Vec<GivenSize>),
    /// True, False, None, a number or a text in quotes.
    Value(String),
}

/// What is no input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GivenError {
    /// No name with a type and sizes.
    #[error("`{}` is no input: write NAME=TYPE[SIZES], such as x=float32[8,3,224,224] or ids=int64[batch,seq]", quote::cut(.0))]
    Syntax(String),
    /// A type that is not known.
    #[error("`{}` is no type of a tensor: float (that of the weights), float32, bfloat16, float16, int64, int32, bool, ...", quote::cut(.0))]
    Type(String),
    /// A size that is none.
    #[error("`{}` is no size: a number is, or batch, seq, image, or a name that --dim gives a value", quote::cut(.0))]
    Size(String),
}

/// The most dimensions of an input.
const DIMENSIONS: usize = 16;

impl FromStr for GivenInput {
    type Err = GivenError;

    fn from_str(text: &str) -> Result<GivenInput, GivenError> {
        let text = text.trim();
        let wrong = || GivenError::Syntax(text.to_owned());
        if let Some((dtype, sizes)) = text.strip_suffix(']').and_then(|text| text.split_once('[')) {
            let dtype = match dtype.trim() {
                "float" => None,
                "long" => Some(Dtype::I64),
                "int" => Some(Dtype::I32),
                name => Some(Dtype::named(name).ok_or_else(|| GivenError::Type(name.to_owned()))?),
            };
            let sizes = sizes.split(',').map(str::trim).filter(|size| !size.is_empty());
            let sizes = sizes.map(size).collect::<Result<Vec<_>, _>>()?;
            return if sizes.len() <= DIMENSIONS { Ok(GivenInput::Tensor(dtype, sizes)) } else { Err(wrong()) };
        }
        let is_text = text.len() > 1
            && text.starts_with(['"', '\''])
            && text.ends_with(&text[..1])
            && !text[1..text.len() - 1].contains(['"', '\'']);
        let is_number = text.parse::<i64>().is_ok() || text.parse::<f64>().is_ok_and(f64::is_finite);
        match matches!(text, "True" | "False" | "None") || is_number || is_text {
            true => Ok(GivenInput::Value(text.to_owned())),
            false => Err(wrong()),
        }
    }
}

fn size(text: &str) -> Result<GivenSize, GivenError> {
    if let Ok(number) = text.parse::<u64>()
        && number <= 1 << 40
    {
        return Ok(GivenSize::Number(number));
    }
    let is_name = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if is_name { Ok(GivenSize::Named(text.to_owned())) } else { Err(GivenError::Size(text.to_owned())) }
}

impl fmt::Display for GivenInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GivenInput::Tensor(dtype, sizes) => {
                let sizes = sizes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
                write!(f, "{}[{sizes}]", dtype.map_or("float", Dtype::name))
            }
            GivenInput::Value(text) => f.write_str(text),
        }
    }
}

/// Inputs by the parameters of forward that take them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GivenInputs(pub IndexMap<String, GivenInput>);

impl FromStr for GivenInputs {
    type Err = GivenError;

    /// `NAME=TYPE[SIZES]`
    fn from_str(text: &str) -> Result<GivenInputs, GivenError> {
        let (name, input) = text.split_once('=').ok_or_else(|| GivenError::Syntax(text.to_owned()))?;
        Ok(GivenInputs(IndexMap::from([(name.trim().to_owned(), input.parse()?)])))
    }
}

impl GivenInputs {
    /// These inputs and those of a later flag.
    pub fn then(mut self, later: GivenInputs) -> GivenInputs {
        self.0.extend(later.0);
        self
    }

    /// These, and where they say nothing, those.
    pub fn or(mut self, other: GivenInputs) -> GivenInputs {
        for (name, input) in other.0 {
            self.0.entry(name).or_insert(input);
        }
        self
    }
}
