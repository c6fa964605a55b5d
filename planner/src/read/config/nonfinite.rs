//! `NaN`, `Infinity` and `-Infinity`: no JSON, but what Python's `json` writes and reads, and what configurations hold
//! (Mamba-2's `"time_step_limit": [0.0, Infinity]`). They become what transformers 5 writes instead,
//! `{"__float__": "Infinity"}` (`configuration_utils.PreTrainedConfig._encode_special_floats`).

use serde_json::Value;

const WORDS: [&str; 3] = ["NaN", "-Infinity", "Infinity"];
const KEY: &str = "__float__";

/// `text` with the three words, where they stand outside strings, in transformers 5's form.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    let (mut rest, mut string, mut escape) = (text, false, false);
    while let Some(next) = rest.chars().next() {
        let word = WORDS.iter().find(|word| !string && rest.starts_with(**word));
        let taken = match word {
            Some(word) => {
                encoded.push_str(&format!("{{\"{KEY}\": \"{word}\"}}"));
                word.len()
            }
            None => {
                encoded.push(next);
                next.len_utf8()
            }
        };
        string ^= next == '"' && !escape;
        escape = string && next == '\\' && !escape;
        rest = &rest[taken..];
    }
    encoded
}

/// The number that a value stands for.
pub(super) fn number(value: &Value) -> Option<f64> {
    let word = value.get(KEY).and_then(Value::as_str);
    match word {
        Some("NaN") => Some(f64::NAN),
        Some("Infinity") => Some(f64::INFINITY),
        Some("-Infinity") => Some(f64::NEG_INFINITY),
        _ => value.as_f64(),
    }
}
