use proptest::prelude::*;
use serde_yaml::Value;

use super::*;

/// How deep the scanner sees a text nested.
fn depth(text: &str) -> usize {
    let mut scanner = Scanner::new(text);
    let mut deepest = 0;
    while scanner.next_token() {
        deepest = deepest.max(scanner.flow + scanner.indents.len());
    }
    deepest
}

/// How deep the library's value of it is.
fn levels(value: &Value) -> usize {
    match value {
        Value::Sequence(items) => 1 + items.iter().map(levels).max().unwrap_or(0),
        Value::Mapping(entries) => {
            1 + entries.iter().map(|(key, value)| levels(key).max(levels(value))).max().unwrap_or(0)
        }
        Value::Tagged(tagged) => levels(&tagged.value),
        _ => 0,
    }
}

/// Texts of what matters to the scanner, in pieces.
fn texts() -> impl Strategy<Value = String> {
    const PIECES: [&str; 42] = [
        "[", "]", "{", "}", "[", "]", "{", "}", ",", ", ", ": ", ":", "\n", "\n ", "\n  ", "\n   ", "- ", "- ", "? ",
        "a", "b: ", "a: ", "\"", "'", "\"]\"", "']'", "\\", "#", " #", "|", "|\n ", ">-\n   ", "|2\n", "&a ", "*a",
        "!t ", "!<x> ", "\t", "\r\n", "\u{2028}", "---\n", "\u{feff}",
    ];
    prop::collection::vec(prop::sample::select(&PIECES[..]), 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// The scanner sees nothing that is not there, and what it does not see is bounded by what it does: sequences at their key's
    /// column, pairs without braces (`[a: b]`), and the mapping whose key is a flow collection.
    #[test]
    fn brackets_are_counted_as_the_library_does(text in texts()) {
        if let Ok(value) = serde_yaml::from_str::<Value>(&text) {
            let (seen, real) = (depth(&text), levels(&value));
            prop_assert!(seen <= real, "{text:?}: {seen} levels seen, {real} read");
            prop_assert!(real <= 2 * seen + 2, "{text:?}: {seen} levels seen, {real} read");
        }
    }

    /// The same within brackets, where most is counted.
    #[test]
    fn flow_collections_are_counted_one_by_one(text in texts()) {
        let text = format!("[{text}]");
        if let Ok(value) = serde_yaml::from_str::<Value>(&text) {
            let (seen, real) = (depth(&text), levels(&value));
            prop_assert!(seen <= real && real <= 2 * seen + 2, "{text:?}: {seen} levels seen, {real} read");
        }
    }
}

#[test]
fn brackets_within_texts_are_none() {
    for text in [
        "a: \"[[[[\"",
        "a: '[''[['",
        "a: b[[[[",
        "a: b\n  [[[[\n  \"[[",
        "# [[[\na: 1",
        "a: |\n  [[[\n\n  {{{\nb: 1",
        "a: >2-\n   [[[",
        "a: \"\\\"[[[[\"",
        "a: b #[[[",
        "!x[[[ a: 1",
    ] {
        assert_eq!(depth(text), 1, "{text:?}");
    }
}

#[test]
fn what_looks_like_a_text_may_be_none() {
    for text in [
        "- - |\n [[[[\n",
        "[ \"]\", [ \"]\", [ \"]\", [",
        "[ ']', [ ']', [[",
        "[ #]\n [ #]\n [ #]\n [",
        "# \u{2028}[[[[",
        "a: |\n[[[[",
        "a: b\n[[[[",
        "- |1\n[[[[",
    ] {
        assert!(depth(text) >= 4, "{text:?}: {}", depth(text));
    }
}

#[test]
fn depth_is_seen_at_once() {
    for piece in ["[", "{a: ", "- ", "[[],", "? ", "{? ", "- [", "{\"a\": [\"]\", "] {
        let text = piece.repeat(1_000_000);
        assert!(beyond(&text, 128).is_some(), "{piece:?}");
        assert_eq!(beyond(&piece.repeat(60), 128), None, "{piece:?}");
    }
    assert_eq!(beyond(&"[".repeat(129), 128), Some((1, 129)));
}
