//! Whether the entries of a config.json are of the kind that its family's defaults are of.
//!
//! A default of 768 wants a whole number of at least 1, one of 0.1 a number of at least 0, one of `gelu` a string. Null is
//! left to the spec, and so are entries whose default is null or false. An imported family's defaults are those of its config's class,
//! where a token's number may be 0 or a list.

use serde_json::Value;

use crate::read::config::{Config, ConfigError};
use crate::read::spec::Family;

/// Checks the entries that the family knows.
pub(super) fn check(config: &Config, family: &Family) -> Result<(), ConfigError> {
    for (key, value) in config.values() {
        let entry = family.aliases.get(key).unwrap_or(key);
        let Some(default) = family.defaults.get(entry) else { continue };
        match if family.imported { of_a_class(default) } else { expected(default) } {
            Some((expected, passes)) if !value.is_null() && !passes(value) => {
                return Err(config.mistyped(key, expected, value));
            }
            _ => {}
        }
    }
    Ok(())
}

/// What an entry has to be, in words and as a test.
type Expected = (&'static str, fn(&Value) -> bool);

/// What is expected where this is the default of a config's class: `int | list[int]` has a whole number as well, and 0 is one.
fn of_a_class(default: &Value) -> Option<Expected> {
    match default {
        // what "auto" stands for is computed: `int | str`
        Value::String(text) if text == "auto" => None,
        Value::Number(_) => Some(("a number", |value| value.is_number() || value.is_array() || value.is_object())),
        Value::String(_) => Some(("a string", |value| !value.is_number() && !value.is_boolean())),
        _ => None,
    }
}

/// What is expected where this is the default.
fn expected(default: &Value) -> Option<Expected> {
    match default {
        Value::Number(number) if number.as_u64().is_some_and(|number| number > 0) => {
            Some(("a whole number of at least 1", |value| value.as_u64().is_some_and(|number| number > 0)))
        }
        Value::Number(_) => {
            Some(("a number of at least 0", |value| value.as_f64().is_some_and(|number| number >= 0.0)))
        }
        Value::String(_) => Some(("a string", Value::is_string)),
        _ => None,
    }
}
