//! A model's config.json: its keys with typed access. No default is applied here: what the file does not say, the
//! architecture's spec has to.

mod error;
mod nonfinite;

use crate::files;
use crate::words::quote;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

pub use error::ConfigError;

/// The longest configuration that is read, in bytes. The largest real ones (20,000 labels) have 2 MB.
pub const LARGEST_CONFIG: u64 = 16 << 20;

const FILE: &str = "config.json";

/// A configuration, or a section of one.
#[derive(Clone, Debug)]
pub struct Config {
    path: PathBuf,
    /// `text_config.` in that section.
    prefix: String,
    values: Map<String, Value>,
}

/// Reads the configuration at `path`: the file, or the folder that holds `config.json`.
pub fn read(path: &Path) -> Result<Config, ConfigError> {
    let path = if path.is_dir() { path.join(FILE) } else { path.to_path_buf() };
    let text = files::bytes(&path, LARGEST_CONFIG).map_err(|source| match source.kind() {
        ErrorKind::NotFound => ConfigError::NotFound { path: path.clone() },
        _ => ConfigError::Io { path: path.clone(), source },
    })?;
    parse(&path, &text)
}

/// Reads a configuration out of its text; `path` is for errors.
pub fn parse(path: &Path, text: &[u8]) -> Result<Config, ConfigError> {
    let value = serde_json::from_slice(text).or_else(|error| python(text).ok_or(error)).map_err(|error| {
        let (message, line, column) = (quote::json_message(&error), error.line(), error.column());
        ConfigError::Json { path: path.to_path_buf(), message, line, column }
    })?;
    match value {
        Value::Object(values) => Ok(Config { path: path.to_path_buf(), prefix: String::new(), values }),
        other => Err(ConfigError::NotAnObject { path: path.to_path_buf(), found: kind(&other) }),
    }
}

/// The value of a text that is JSON but for Python's non-finite numbers.
fn python(text: &[u8]) -> Option<Value> {
    serde_json::from_str(&nonfinite::encode(std::str::from_utf8(text).ok()?)).ok()
}

impl Config {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All keys and values, in the file's order.
    pub fn values(&self) -> &Map<String, Value> {
        &self.values
    }

    /// The value of `key`, or `None` where it is absent or null.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key).filter(|value| !value.is_null())
    }

    /// The class that the model is of: the first of `architectures`, or `_class_name`.
    pub fn architecture(&self) -> Result<&str, ConfigError> {
        // diffusers writes its models' class so (0.42.1, configuration_utils.py, to_json_string)
        if let (None, Some(class)) = (self.get("architectures"), self.string("_class_name")?) {
            return Ok(class);
        }
        let expected = "a list of class names";
        match self.needed("architectures", self.list("architectures")?)?.first() {
            Some(Value::String(name)) => Ok(name),
            Some(other) => Err(self.mistyped("architectures[0]", "a class name", other)),
            None => Err(self.mistyped("architectures", expected, &Value::Array(Vec::new()))),
        }
    }

    /// The model of timm that it is of: `architecture`, where no class of transformers is named.
    pub fn of_timm(&self) -> Result<Option<&str>, ConfigError> {
        let is_other = ["architectures", "model_type"].iter().any(|key| self.values.contains_key(*key));
        if is_other { Ok(None) } else { self.string("architecture") }
    }

    /// The family that the model is of.
    pub fn model_type(&self) -> Result<&str, ConfigError> {
        self.needed("model_type", self.string("model_type")?)
    }

    /// The dtype that the weights were saved in, as written (`"bfloat16"`): `dtype`, or `torch_dtype` before transformers 5.
    pub fn dtype(&self) -> Result<Option<&str>, ConfigError> {
        Ok(self.string("dtype")?.or(self.string("torch_dtype")?))
    }

    /// A whole number that is not negative.
    pub fn integer(&self, key: &str) -> Result<Option<u64>, ConfigError> {
        self.typed(key, "a whole number of at least 0", Value::as_u64)
    }

    /// A number, be it infinite or NaN.
    pub fn number(&self, key: &str) -> Result<Option<f64>, ConfigError> {
        self.typed(key, "a number", nonfinite::number)
    }

    /// True or false.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        self.typed(key, "true or false", Value::as_bool)
    }

    /// A string.
    pub fn string(&self, key: &str) -> Result<Option<&str>, ConfigError> {
        self.typed(key, "a string", Value::as_str)
    }

    /// A list.
    pub fn list(&self, key: &str) -> Result<Option<&[Value]>, ConfigError> {
        self.typed(key, "a list", |value| value.as_array().map(Vec::as_slice))
    }

    /// A part of the configuration (`text_config`) as a configuration of its own, whose errors name the whole key.
    pub fn section(&self, key: &str) -> Result<Option<Config>, ConfigError> {
        let section = self.typed(key, "an object", Value::as_object)?;
        Ok(section.map(|values| Config {
            path: self.path.clone(),
            prefix: format!("{}{key}.", self.prefix),
            values: values.clone(),
        }))
    }

    /// The value that one of the methods above gave for `key`, or the error that it is missing.
    pub fn needed<T>(&self, key: &str, value: Option<T>) -> Result<T, ConfigError> {
        value.ok_or_else(|| ConfigError::Missing { path: self.path.clone(), key: self.full(key) })
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &'static str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| self.mistyped(key, expected, value)),
        }
    }

    /// The error that `key` holds something else than what is expected.
    pub(crate) fn mistyped(&self, key: &str, expected: &'static str, value: &Value) -> ConfigError {
        let found = match value {
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            Value::String(text) => format!("the string {}", quote::quoted(text)),
            Value::Array(list) if list.is_empty() => "an empty list".into(),
            other => kind(other).into(),
        };
        ConfigError::Type { path: self.path.clone(), key: self.full(key), expected, found }
    }

    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
