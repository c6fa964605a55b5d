//! A short run of what `fuzz/fuzz_targets/spec.rs` does for hours: mutated specs never make the parser panic.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use planner::read::spec::check;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// The texts of all shipped specs that hold code.
fn shipped() -> Vec<String> {
    let specs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../specs");
    let folders = ["models", "library"].map(|folder| fs::read_dir(specs.join(folder)).unwrap());
    let mut paths: Vec<PathBuf> = folders.into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
}

/// What is put in place of a stretch of text: pieces of the format, and what it never holds.
const PIECES: [&str; 28] = [
    "",
    "\n",
    " ",
    "\t",
    ":",
    ": |",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    "'",
    "\"",
    "=",
    "==",
    "-",
    "#",
    "&a",
    "*a",
    "!!x",
    "if ",
    "for i in ",
    "return",
    "99999999999999999999",
    "\u{0}",
    "é",
];

/// Replaces a few stretches, each at a position between characters.
fn mutate(text: &str, changes: &[(Index, usize, &str)]) -> String {
    let mut text: Vec<char> = text.chars().collect();
    for (at, length, piece) in changes {
        let start = at.index(text.len() + 1);
        let end = (start + length).min(text.len());
        text.splice(start..end, piece.chars());
    }
    text.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_specs_never_panic(
        text in select(shipped()),
        changes in prop::collection::vec((any::<Index>(), 0..40usize, select(PIECES.to_vec())), 1..4),
    ) {
        if let Err(error) = check("mutated.yaml", &mutate(&text, &changes)) {
            let line = error.to_string();
            prop_assert!(line.starts_with("mutated.yaml"), "{line}");
        }
    }

    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,200}") {
        let _ = check("arbitrary.yaml", &text);
    }

    #[test]
    fn nesting_never_overflows_the_stack(depth in 1..20_000usize, open in select(vec!["(", "[", "{", "-", "not ", "f(", "x[", "x if x else "])) {
        let code = format!("name: deep\nfunctions:\n  f(x): |\n    return {}\n", open.repeat(depth));
        let _ = check("deep.yaml", &code);
        let _ = check("deep.yaml", &open.repeat(depth));
    }
}

#[test]
fn shipped_specs_pass() {
    for text in shipped() {
        check("shipped.yaml", &text).unwrap();
    }
}
