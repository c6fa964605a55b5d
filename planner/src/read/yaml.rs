//! The one door to the YAML library. Its time grows with the square of how deep flow collections (`[[[`) are nested, so depth is
//! looked at before.

mod nesting;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::words::{names, quote};

/// The deepest nesting that is read: the library's own limit for what it makes values of.
const DEEPEST: usize = 128;

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct YamlFault {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// The reason, in words.
    pub message: String,
}

/// Reads a text of which nothing is nested too deep. `lists` says where all keys can be seen, for who misspells one.
///
/// # Errors
/// Not YAML, nested too deep, an unknown key, or a value that a key cannot have.
pub fn parse<T: DeserializeOwned>(text: &str, lists: &str) -> Result<T, YamlFault> {
    if let Some((line, column)) = nesting::beyond(text, DEEPEST) {
        return Err(YamlFault { line, column, message: format!("nested more than {DEEPEST} levels deep") });
    }
    serde_yaml::from_str(text).map_err(|error| {
        let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or_default();
        YamlFault { line, column, message: quote::cut(&names::nearest_of_many(message, lists)) }
    })
}

/// The text of a value.
///
/// # Errors
/// What YAML cannot say, in words.
pub fn write(value: &impl Serialize) -> Result<String, String> {
    serde_yaml::to_string(value).map_err(|error| error.to_string())
}
