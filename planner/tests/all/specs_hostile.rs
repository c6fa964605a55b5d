//! A short run of what `fuzz/fuzz_targets/spec.rs` does for hours: mutated specs never make the parser panic.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use planner::model::of_family;
use planner::plan::{Emulation, program};
use planner::read::spec::{Shelf, check};
use planner::run::{Mode, Run};
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

/// What is said of a spec whose only function has this body.
fn said_of(body: &str) -> String {
    let lines: String = body.lines().map(|line| format!("    {line}\n")).collect();
    check("body.yaml", &format!("name: body\nfunctions:\n  f(x): |\n{lines}")).unwrap_err().to_string()
}

#[test]
fn what_nests_without_brackets_is_refused_too() {
    let many = 200_000;
    for (before, piece, after) in [
        ("x", " + x", ""),
        ("x", " * x", ""),
        ("x", " | x", ""),
        ("x", " & x", ""),
        ("x", " or x", ""),
        ("x", " and x", ""),
        ("x", " < x", ""),
        ("x", " is not x", ""),
        ("x", ".a", ""),
        ("x", "(1)", ""),
        ("x", "[0]", ""),
        ("", "x ** ", "x"),
        ("", "if x: ", "x"),
        ("", "for i in x: ", "x"),
        ("", "x if x else ", "x"),
    ] {
        let said = said_of(&format!("{before}{}{after}", piece.repeat(many)));
        assert!(said.contains("this nests deeper than 100 levels"), "{piece}: {said}");
    }
    // a chain within brackets within a chain is as high as both together
    let chains = (0..30).fold("x".to_owned(), |inner, _| format!("({inner} + x + x + x + x)"));
    assert!(said_of(&chains).contains("this nests deeper than 100 levels"));
    check("wide.yaml", &format!("name: w\nfunctions:\n  f(x): |\n    return [{}]\n", "x + 1, ".repeat(many))).unwrap();
}

#[test]
fn names_and_keys_are_found_in_time() {
    let began = Instant::now();
    let names: Vec<String> = (0..400_000).map(|number| format!("n{number}")).collect();
    let said = said_of(&format!("return [{}]", names.join(", ")));
    assert!(said.ends_with("a function has more than 65535 names"), "{said}");
    // keys that begin no line are looked for in all lines
    let keys: Vec<String> = (0..40_000).map(|number| format!("\"f{number}()\": x")).collect();
    let text = format!("name: keys\nfunctions: {{{}}}\n{}", keys.join(", "), "#\n".repeat(400_000));
    check("keys.yaml", &text).unwrap();
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[test]
fn complaints_show_no_control_characters() {
    for body in ["return x \"\u{1b}[1m\u{202e}\"", "return \u{1b}", "return \u{7f}x"] {
        let said = said_of(body);
        assert!(!said.contains(char::is_control) && !said.contains('\u{202e}'), "{said:?}");
    }
}

/// What is said of a program whose inputs are made by these lines.
fn said_of_inputs(lines: &[&str]) -> String {
    let lines: String = lines.iter().map(|line| format!("    {line}\n")).collect();
    let text = format!(
        "name: made\nuses: [loops]\narchitectures: {{M: {{inputs: go}}}}\nmodules:\n  M(config):\n    forward(x): |\n      return x\n\
         functions:\n  go(model, run): |\n{lines}    return {{}}\n"
    );
    let family = Shelf::default().family(&"made.yaml".into(), &text).unwrap();
    let model = of_family(Path::new("made.yaml"), family, None).unwrap();
    let run = Run { mode: Mode::Infer, ..Run::default() };
    program(&model, &run, Emulation::default()).unwrap_err().to_string()
}

#[test]
fn lists_and_texts_that_double_end() {
    for start in ["a = [run]", "a = \"text\""] {
        let said = said_of_inputs(&[start, "for i in range(60):", "  a = a + a"]);
        assert!(said.contains("it goes on for more than"), "{said}");
    }
}

#[test]
fn values_that_hold_each_other_without_end_are_refused() {
    // higher and higher: their going would not fit the stack
    for code in [
        &["x = 0", "for i in range(1000000):", "  x = [x]"][..],
        &["x = 0", "for i in range(1000000):", "  x = Output(a=x)"],
        &["x = 0", "for i in range(1000000):", "  x = [Output(a={'a': x})]"],
    ] {
        let said = said_of_inputs(code);
        assert!(said.contains("nest deeper than 256 levels"), "{said}");
    }
    // within each other, or downwards
    for code in [
        &["model.me = model"][..],
        &["x = Output(a=0)", "x.a = [x]"],
        &["x = Output(a=0)", "for i in range(1000000):", "  y = Output(a=0)", "  x.a = y", "  x = y"],
    ] {
        let said = said_of_inputs(code);
        assert!(said.contains("would hold an object that may hold its owner"), "{said}");
    }
    // doubled: few values that are come to very often
    let double = |last| ["a = [0, 0]", "b = [0, 0]", "for i in range(60):", "  a = [a, a]", "  b = [b, b]", last];
    for last in
        ["if a == b:\n      a = 1", "require(False, a)", "model(a)", "cat(a)", "return a", "if 1 in a:\n      a = 1"]
    {
        let said = said_of_inputs(&double(last));
        assert!(said.contains("it goes on for more than"), "{last}: {said}");
    }
}

#[test]
fn modules_that_stand_in_each_other_without_end_are_refused() {
    let said = |made: &str| {
        let text = format!(
            "name: made\nuses: [loops, nn]\narchitectures: {{M: {{inputs: go}}}}\nmodules:\n  M(config):\n    children: {{a: {made}}}\n    \
             forward(x): |\n      return x\n  Pair(x):\n    children: {{a: x, b: x}}\n    forward(x): |\n      return x\n\
             functions:\n  go(model, run): |\n    return {{}}\n  nested(count): |\n    x = Linear(2, 2)\n    for i in range(count):\n      \
             x = Pair(x)\n    return x\n  keep(x): |\n    x.me = x\n"
        );
        let family = Shelf::default().family(&"made.yaml".into(), &text).unwrap();
        let model = of_family(Path::new("made.yaml"), family, None).unwrap();
        let run = Run { mode: Mode::Infer, ..Run::default() };
        program(&model, &run, Emulation::default()).unwrap_err().to_string()
    };
    assert!(said("nested(60)").contains("it goes on for more than"), "{}", said("nested(60)"));
    assert!(said("nested(60000)").contains("nest deeper than 256 levels"), "{}", said("nested(60000)"));
    assert!(said("keep(self)").contains("would hold an object"), "{}", said("keep(self)"));
    assert!(said("\"[self]\"").contains("nest deeper than 256 levels"), "{}", said("\"[self]\""));
}

#[test]
fn sizes_that_no_sum_holds_are_refused() {
    let split = "zeros([4], int64).split([9223372036854775807, 9223372036854775807])";
    let said = said_of_inputs(&[&format!("a = {split}")]);
    assert!(said.contains("4 elements cannot be split into"), "{said}");
    let said = said_of_inputs(&["a = range(-9223372036854775807, 9223372036854775807)"]);
    assert!(said.contains("is longer than any model's"), "{said}");
}

#[test]
fn shipped_specs_pass() {
    for text in shipped() {
        check("shipped.yaml", &text).unwrap();
    }
}
