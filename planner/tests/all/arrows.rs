//! The floors of the planner: what is above may use what is below, and nothing points back.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The floors, the lowest first: plain vocabulary; traces and what allocators make of them; the run with its options; files
/// and specs; the walk of specs' code, and time; PyTorch: programs, operators, lowering; models; a plan; the verbs; reports; the front
/// door.
const FLOORS: [&[&str]; 18] = [
    &["dtype", "files", "ids", "words"],
    &["bytes", "choices"],
    &["versions"],
    &["trace"],
    &["allocate"],
    &["replay"],
    &["arena"],
    &["run"],
    &["read"],
    &["interpret", "time"],
    &["graph", "lower", "ops"],
    &["model"],
    &["plan"],
    &["estimate", "fit", "history"],
    &["checkpoint"],
    &["advise", "buy", "snapshot", "sweep"],
    &["report"],
    &["front"],
];

/// Arrows that are not as the floors have them: what lowers a program is one room, PyTorch's; and one arrow back.
const ALLOWED: [(&str, &str); 6] = [
    ("graph", "ops"),
    ("lower", "graph"),
    ("lower", "ops"),
    ("ops", "graph"),
    ("ops", "lower"),
    // which operators `--checkpoint-save` takes is said by their rows
    ("run", "ops"),
];

/// The modules that a file's code uses, but for its tests.
fn used(path: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(path).expect("a source file");
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let mut used = BTreeSet::new();
    for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
        for after in line.split("crate::").skip(1) {
            let name: String = after.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            used.insert(name);
        }
    }
    used
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            files(&entry, found);
        } else if entry.extension().is_some_and(|end| end == "rs")
            && entry.file_stem().is_some_and(|stem| stem != "tests")
        {
            found.push(entry);
        }
    }
}

/// The arrows between the planner's modules.
fn arrows() -> BTreeMap<(String, String), PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    files(&source, &mut found);
    let mut arrows = BTreeMap::new();
    for path in found {
        let within = path.strip_prefix(&source).expect("a path in the folder");
        let first = within.components().next().expect("a name").as_os_str().to_string_lossy().into_owned();
        let module = first.trim_end_matches(".rs").to_owned();
        for other in used(&path).into_iter().filter(|other| *other != module) {
            arrows.insert((module.clone(), other), path.clone());
        }
    }
    arrows
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|modules| modules.contains(&module))
}

#[test]
fn nothing_points_back() {
    let mut unused: BTreeSet<(&str, &str)> = ALLOWED.into_iter().collect();
    for ((from, to), path) in arrows() {
        let (Some(lower), Some(upper)) = (floor(&to), floor(&from)) else {
            assert!(from == "lib" || !to.is_empty() && floor(&to).is_some(), "{from} -> {to}: it has no floor yet");
            continue;
        };
        let allowed = ALLOWED.contains(&(&from, &to));
        assert!(lower < upper || allowed, "{} uses crate::{to}, which is not below {from}", path.display());
        unused.retain(|pair| *pair != (&*from, &*to));
    }
    assert!(unused.is_empty(), "gone, take them off the list: {unused:?}");
}

/// Files and YAML have one door each, behind which limits are: nobody else reads (tests and examples may).
#[test]
fn files_and_yaml_are_read_through_one_door() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let doors = ["planner/src/files.rs", "planner/src/read/yaml.rs"].map(|path| root.join(path));
    let mut found = Vec::new();
    for folder in ["src", "planner/src", "calibrate/src", "packing/src"] {
        files(&root.join(folder), &mut found);
    }
    for path in found.iter().filter(|path| !doors.contains(path)) {
        let text = fs::read_to_string(path).expect("a source file");
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let code = code.replace("AtomicWriteFile::open(", ""); // opens to write
        for reader in ["fs::read(", "fs::read_to_string(", "File::open(", "serde_yaml::", "disable_recursion_limit"] {
            assert!(!code.contains(reader), "{}: {reader} is for {doors:?}", path.display());
        }
        for writer in ["fs::write(", "File::create", "fs::rename("] {
            assert!(!code.contains(writer), "{}: {writer} is for src/output/file.rs", path.display());
        }
    }
}
