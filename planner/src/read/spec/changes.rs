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
    use crate::read::spec::{Definition, Shelf};
    use crate::versions::Versions;

    /// What stands under `before` takes the place of what has its name, a family's own that of a library's.
    #[test]
    fn definitions_hold_before_a_release() {
        let text = "name: small\nuses: [masks]\nfunctions:\n  f(x): |\n    return x\n  index_mask(x): |\n    return x\nbefore:\n  \
                    transformers 5.17:\n    functions:\n      f(x): |\n        return 1\n";
        let family = Shelf::default().family(&"small.yaml".into(), text).expect("a spec");
        let line = |transformers, name| {
            let rules = Rules::of(Versions { transformers, ..Versions::default() });
            match &family.definitions_by(rules)[name] {
                Definition::Function(function) => (function.file.to_string(), function.body[0].at.line),
                Definition::Class(_) => panic!("{name} is a function"),
            }
        };
        let (older, newer) = (Release::new(4, 57), Release::new(5, 17));
        let own = |line| ("small.yaml".to_owned(), line);
        assert_eq!((line(older, "f"), line(newer, "f")), (own(12), own(5)));
        assert_eq!((line(older, "index_mask"), line(newer, "index_mask")), (own(7), own(7)));
        assert_ne!(line(older, "can_ignore_mask"), line(newer, "can_ignore_mask"));
        for (wrong, complaint) in [
            ("name: a\nbefore: {5.17: {}}\n", "before: `5.17` names no release: write transformers 5.17"),
            (
                "name: a\narchitectures: {A: {inputs: f, sdpa: from 5.17}}\n",
                "architectures: A: sdpa: `from 5.17`: write `since transformers 5.17`",
            ),
        ] {
            let refused = Shelf::default().family(&"a.yaml".into(), wrong).expect_err("a wrong spec");
            assert_eq!(refused.message, complaint);
        }
    }

    /// A rule stands in one file with its span: what code asks is listed there, and what is listed is asked.
    #[test]
    fn every_span_is_listed_in_its_file() {
        let asked = r#"since\("([^"]+)"\)|, since: ([a-z]+ [0-9.]+)\}|sdpa: since ([a-z]+ [0-9.]+)|(?m:^before:\n  ([a-z]+ [0-9.]+):$)"#;
        let asked = regex::Regex::new(asked).expect("a pattern");
        let listed = changes().expect("sound specs");
        assert!(!listed.is_empty());
        for (path, text) in ["library", "models", "optimizers"].into_iter().flat_map(specs::embedded_files) {
            let mut in_code: Vec<&str> = asked
                .captures_iter(text)
                .filter_map(|found| found.iter().skip(1).flatten().next())
                .map(|found| found.as_str())
                .collect();
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
