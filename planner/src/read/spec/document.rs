//! The YAML of a spec file, key by key; unknown keys are errors with file, line and column.

use std::fmt;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::SpecError;
use super::changes::SpecChange;
use super::syntax::Position;
use crate::read::yaml::{self, YamlFault};

/// A spec file as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Document {
    pub name: String,
    pub source: String,
    /// Whether `memplan import` wrote it.
    pub imported: bool,
    /// The release that an imported family was read in, and no other.
    pub read_in: Option<String>,
    pub uses: Vec<String>,
    /// Listed for people (`changes.rs`); the code asks for the releases itself.
    #[serde(rename = "changes")]
    pub _changes: Vec<SpecChange>,
    pub architectures: IndexMap<String, ArchitectureText>,
    pub config: ConfigText,
    pub lora_targets: Vec<String>,
    pub modules: IndexMap<String, ClassText>,
    pub classes: IndexMap<String, ClassText>,
    pub functions: IndexMap<String, String>,
    /// What stands in the place of definitions of the same name up to a release: `transformers 5.17`.
    pub before: IndexMap<String, BeforeText>,
    pub configurations: IndexMap<String, ConfigurationText>,
}

/// Definitions that hold before a release.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct BeforeText {
    /// Where they were read, for people.
    #[serde(rename = "source")]
    pub _source: String,
    pub modules: IndexMap<String, ClassText>,
    pub classes: IndexMap<String, ClassText>,
    pub functions: IndexMap<String, String>,
}

/// What a checkpoint of an architecture looks like and what its model is called with.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ArchitectureText {
    pub inputs: String,
    #[serde(default)]
    pub made: Option<String>,
    #[serde(default)]
    pub base_prefix: String,
    #[serde(default)]
    pub tied: IndexMap<String, String>,
    #[serde(default)]
    pub ignored: Vec<String>,
    #[serde(default)]
    pub renamed: IndexMap<String, String>,
    #[serde(default)]
    pub merged: IndexMap<String, String>,
    #[serde(default = "past_key_values")]
    pub cache_argument: String,
    #[serde(default)]
    pub generates: bool,
    #[serde(default = "yes")]
    pub keeps_logits: bool,
    #[serde(default)]
    pub sdpa: SdpaText,
    #[serde(default)]
    pub takes_images: bool,
    #[serde(default)]
    pub images: Option<String>,
    #[serde(default)]
    pub takes_text: bool,
    #[serde(default)]
    pub image_rows: ImageRows,
    #[serde(default)]
    pub trained_as: Option<String>,
}

/// The rows of an image where a run gives none: a config's entry, so many pixels each; a number where the config has none.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImageRows {
    /// The entry.
    pub entry: String,
    /// How many rows of pixels one of its rows is.
    pub times: u64,
    /// The rows where the config does not have the entry.
    pub otherwise: u64,
}

impl Default for ImageRows {
    fn default() -> ImageRows {
        ImageRows { entry: "image_size".to_owned(), times: 1, otherwise: 224 }
    }
}

/// Whether transformers lets an architecture run with sdpa: always, never, or `since transformers 5.17`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum SdpaText {
    Always(bool),
    Since(String),
}

impl Default for SdpaText {
    fn default() -> SdpaText {
        SdpaText::Always(true)
    }
}

fn yes() -> bool {
    true
}

/// What transformers called it up to 5.23.
fn past_key_values() -> String {
    "past_key_values".to_owned()
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ConfigText {
    pub defaults: IndexMap<String, serde_json::Value>,
    pub aliases: IndexMap<String, String>,
    pub derive: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfigurationText {
    pub architecture: String,
    pub source: String,
    #[serde(default)]
    pub dtype: Option<String>,
    #[serde(default)]
    pub config: IndexMap<String, serde_json::Value>,
}

impl Default for Scalar {
    fn default() -> Scalar {
        Scalar::List(Vec::new())
    }
}

/// An expression that YAML may have read as a number, a boolean or a list of such.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Scalar {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Scalar>),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Bool(true) => f.write_str("True"),
            Scalar::Bool(false) => f.write_str("False"),
            Scalar::Int(number) => write!(f, "{number}"),
            Scalar::Float(number) => write!(f, "{number:?}"),
            Scalar::Text(text) => f.write_str(text),
            Scalar::List(items) => {
                f.write_str("[")?;
                items.iter().try_for_each(|item| write!(f, "{item}, "))?;
                f.write_str("]")
            }
        }
    }
}

/// A tensor that a module owns: a shape, or a shape with more said of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum FieldText {
    Shape(Scalar),
    Full(FullFieldText),
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FullFieldText {
    pub shape: Scalar,
    #[serde(default)]
    pub dtype: Option<String>,
    /// The release from which on the source gives that type: `transformers 5.24`.
    #[serde(default)]
    pub since: Option<String>,
    #[serde(default)]
    pub persistent: bool,
    #[serde(default)]
    pub when: Option<Scalar>,
}

/// A module or a plain class; a key with a parenthesis is a method: `forward(hidden_states)`.
#[derive(Debug, Default)]
pub(super) struct ClassText {
    pub checkpointing_layer: bool,
    pub init: String,
    pub attributes: IndexMap<String, Scalar>,
    pub children: IndexMap<String, Scalar>,
    pub parameters: IndexMap<String, FieldText>,
    pub buffers: IndexMap<String, FieldText>,
    pub methods: IndexMap<String, String>,
}

impl<'de> Deserialize<'de> for ClassText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = ClassText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a module: attributes, children, parameters, buffers and methods")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ClassText, A::Error> {
                let mut class = ClassText::default();
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "checkpointing_layer" => class.checkpointing_layer = map.next_value()?,
                        "init" => class.init = map.next_value()?,
                        "attributes" => class.attributes = map.next_value()?,
                        "children" => class.children = map.next_value()?,
                        "parameters" => class.parameters = map.next_value()?,
                        "buffers" => class.buffers = map.next_value()?,
                        method if method.contains('(') => {
                            class.methods.insert(key, map.next_value()?);
                        }
                        other => {
                            return Err(A::Error::custom(format!(
                                "unknown key `{other}`: a module has attributes, children, parameters, buffers or init, \
                                 and methods, which are written with their parameters: `{other}(...)`"
                            )));
                        }
                    }
                }
                Ok(class)
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

/// Reads the YAML of `text`.
pub(super) fn read<T: for<'de> Deserialize<'de>>(file: &Arc<str>, text: &str) -> Result<T, SpecError> {
    yaml::parse(text, "specs/README.md has all").map_err(|YamlFault { line, column, message }| {
        SpecError::new(file, Position { line: line as u32, column: column as u32 }, &message)
    })
}

/// Finds where keys and code stand in a file's text: each search goes on where the last one ended.
pub(super) struct Places<'a> {
    lines: Vec<&'a str>,
    /// The line that the next search begins with, from 0.
    next: usize,
    /// How many lines may still be looked at: keys that stand on no line of their own would each be looked for in all.
    left: usize,
}

impl<'a> Places<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let lines: Vec<&str> = text.lines().collect();
        let left = 100 * lines.len();
        Places { lines, next: 0, left }
    }

    /// The same from behind these keys on, each looked for behind the one before.
    pub(super) fn within(text: &'a str, keys: &[&str]) -> Self {
        let mut places = Places::new(text);
        for key in keys {
            places.key(key);
        }
        places
    }

    /// Goes to the line that holds `key:`, and gives the position of the key.
    pub(super) fn key(&mut self, key: &str) -> Position {
        let lines = self.lines.get(self.next..).unwrap_or_default();
        let searched = lines.iter().enumerate().take(self.left);
        let length = searched.len();
        // a key that is too long for its line alone stands behind a question mark, the colon in the next line
        let is_key = |line: &str| {
            let line = line.trim_start();
            let (is_long, line) = line.strip_prefix("? ").map_or((false, line), |line| (true, line));
            let rest = line.trim_start_matches(['"', '\'']).strip_prefix(key);
            rest.map(|rest| rest.trim_start_matches(['"', '\'']))
                .is_some_and(|rest| rest.starts_with(':') || is_long && rest.is_empty())
        };
        let found = searched.map(|(number, line)| (number, *line)).find(|(_, line)| is_key(line));
        self.left -= found.map_or(length, |(passed, _)| passed);
        let Some((passed, line)) = found else { return Position { line: self.next as u32 + 1, column: 1 } };
        self.next += passed;
        Position { line: self.next as u32 + 1, column: (line.len() - line.trim_start().len()) as u32 + 1 }
    }

    /// The position of the code of a block that stands under the key found last.
    pub(super) fn block(&self) -> Position {
        let behind = self.lines.iter().enumerate().skip(self.next + 1);
        let first =
            behind.map(|(number, line)| (number, line.trim())).find(|(_, line)| !line.is_empty() && *line != ": |");
        let number = first.map_or(self.next, |(number, _)| number);
        let line = self.lines.get(number).copied().unwrap_or("");
        Position { line: number as u32 + 1, column: (line.len() - line.trim_start().len()) as u32 + 1 }
    }
}
