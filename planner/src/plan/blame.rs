//! Whether a model's config.json is to blame for a program that cannot be unrolled, and which of its entries.

use serde_json::Value;

use super::{Emulation, PlanError, program};
use crate::graph::GraphError;
use crate::model::Model;
use crate::run::Run;
use crate::words::quote;

/// The most entries that are named. Where more hold the value at fault, it says nothing of which is meant.
const MOST: usize = 3;

/// The error with the config, where the smallest run fails alike: then no size of the run is to blame.
pub(super) fn config(model: &Model, run: &Run, emulation: Emulation, error: GraphError) -> PlanError {
    let Some(path) = &model.config_file else { return error.into() };
    if !fails_alike(model, run, emulation, &error) {
        return error.into();
    }
    let keys = named(&error.message, &model.config);
    let words = keys.iter().map(|(key, value)| format!("{} is {}", quote::cut(key), quote::cut(value)));
    let words = words.collect::<Vec<_>>().join(", ");
    let keys = if words.is_empty() { words } else { words + ": " };
    PlanError::Config { path: path.clone(), keys, error: error.into() }
}

/// Whether the smallest run of the mode fails with the same words, whatever its sizes.
fn fails_alike(model: &Model, run: &Run, emulation: Emulation, error: &GraphError) -> bool {
    let Run { mode, torch, transformers, .. } = *run;
    let smallest = Run { batch: 1, seq: 1, new_tokens: 1, steps: 1, mode, torch, transformers, ..Run::default() };
    if *run == smallest {
        return true;
    }
    let other = match program(model, &smallest, emulation) {
        Err(PlanError::Config { error, .. }) => error.message,
        Err(PlanError::Graph(error)) => error.message,
        _ => return false,
    };
    without_numbers(&other) == without_numbers(&error.message)
}

fn without_numbers(message: &str) -> String {
    message.chars().filter(|c| !c.is_ascii_digit()).collect()
}

/// The entries whose values a message names, with these values; none where too many do.
fn named(message: &str, config: &serde_json::Map<String, Value>) -> Vec<(String, String)> {
    let words: Vec<&str> = message.split(|c: char| !(c.is_alphanumeric() || c == '_')).collect();
    let mut found = Vec::new();
    for (key, value) in config {
        let value = match value {
            Value::Number(number) => number.to_string(),
            Value::String(text) => text.clone(),
            _ => continue,
        };
        if !value.is_empty() && words.contains(&value.as_str()) {
            found.push((key.clone(), value));
        }
    }
    found.truncate(if found.len() > MOST { 0 } else { MOST });
    found
}
