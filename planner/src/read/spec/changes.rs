//! What specs say of releases: `since("transformers 5.19")` where their lines differ, and the list of changes of each file.

use serde::Deserialize;

use super::SpecError;
use crate::read::specs;
use crate::versions::{Library, Release, Rules};

/// A change of a library that a spec follows, as its file lists it under `changes`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpecChange {
    /// The release with which it came, as `since(...)` says it: `transformers 5.19`.
    pub since: String,
    /// What it does, for people.
    pub what: String,
    /// The source file that says it.
    pub source: String,
    /// The pull requests, where they are known.
    #[serde(default)]
    pub pulls: Vec<u32>,
}

impl SpecChange {
    /// The library and its release.
    pub fn span(&self) -> Option<(Library, Release)> {
        span(&self.since)
    }
}

/// The library and the release of `transformers 5.19`.
pub fn span(text: &str) -> Option<(Library, Release)> {
    let (package, release) = text.split_once(' ')?;
    Some((Library::of_package(package)?, release.parse().ok()?))
}

/// `since("transformers 5.19")`: whether the run's release is that one or a later one.
///
/// # Errors
/// A text that names no release, in words for whoever wrote the spec.
pub fn is_since(rules: Rules, text: &str) -> Result<bool, String> {
    let named = span(text).map(|(library, release)| rules.is_since(library, release));
    named.ok_or_else(|| format!("`{text}` names no release: write it as \"transformers 5.19\" or \"torch 2.13\""))
}

/// The changes that the shipped specs list, with their files.
///
/// # Errors
/// A spec that cannot be read.
pub fn changes() -> Result<Vec<(String, SpecChange)>, SpecError> {
    #[derive(Deserialize)]
    struct Listed {
        #[serde(default)]
        changes: Vec<SpecChange>,
    }
    let mut changes = Vec::new();
    for (path, text) in ["library", "models", "optimizers"].into_iter().flat_map(specs::embedded_files) {
        if text.contains("\nchanges:") {
            let listed: Listed = super::yaml(&path.into(), text)?;
            changes.extend(listed.changes.into_iter().map(|change| (path.to_owned(), change)));
        }
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rule stands in one file with its span: what code asks is listed there, and what is listed is asked.
    #[test]
    fn every_span_is_listed_in_its_file() {
        let asked = r#"since\("([^"]+)"\)|, since: ([a-z]+ [0-9.]+)\}|sdpa: since ([a-z]+ [0-9.]+)|(?m:^before:\n  ([a-z]+ [0-9.]+):$)"#;
        let asked = regex::Regex::new(asked).expect("a pattern");
        let listed = changes().expect("sound specs");
        assert!(!listed.is_empty());
        for (path, text) in ["library", "models", "optimizers"].into_iter().flat_map(specs::embedded_files) {
            let mut in_code: Vec<&str> =
                asked.captures_iter(text).filter_map(|found| found.iter().skip(1).flatten().next()).map(|found| found.as_str()).collect();
            in_code.sort_unstable();
            in_code.dedup();
            let mut spans: Vec<&str> =
                listed.iter().filter(|(file, _)| file == path).map(|(_, change)| change.since.as_str()).collect();
            spans.sort_unstable();
            spans.dedup();
            assert_eq!(in_code, spans, "{path}: spans of the code, and those under `changes`");
        }
        for (path, change) in &listed {
            let (library, release) = change.span().unwrap_or_else(|| panic!("{path}: `{}`", change.since));
            assert!(library.oldest() < release && release <= library.newest(), "{path}: {}", change.since);
        }
    }
}
