//! Whether the entries of a config.json are of the kind that its family's defaults are of.
//!
//! A default of 768 wants a whole number of at least 1, one of 0.1 a number of at least 0, one of `gelu` a string. Null is
//! left to the spec, and so are entries whose default is null or false.

use serde_json::Value;

use crate::read::config::{Config, ConfigError};
use crate::read::spec::Family;

/// Checks the entries that the family knows.
pub(super) fn check(config: &Config, family: &Family) -> Result<(), ConfigError> {
    for (key, value) in config.values() {
        let entry = family.aliases.get(key).unwrap_or(key);
        let Some(default) = family.defaults.get(entry) else { continue };
        match expected(default) {
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
