//! The event stream that `--events` writes.

use std::fs;

use serde_json::Value;

use crate::support::{Folder, assert_snapshot, call};

#[test]
fn events_are_written_in_the_traces_format() {
    let folder = Folder::new();
    let path = folder.argument("events.json");
    call(&["plan", "gpt2", "--mode", "infer", "--batch", "1", "--seq", "128", "--steps", "1", "--events", &path]);
    let text = fs::read_to_string(&path).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    let mut live: Vec<Option<u64>> = Vec::new();
    for event in json["events"].as_array().unwrap() {
        match event.as_i64() {
            Some(free) => assert!(live[usize::try_from(-1 - free).unwrap()].take().is_some(), "{free}"),
            None => live.push(Some(event["alloc"].as_u64().unwrap())),
        }
    }
    let end = json["phases"].as_array().unwrap().last().unwrap();
    assert_eq!(end["allocations"], live.len());
    assert_eq!(end["requested"], live.iter().flatten().sum::<u64>());
    let lines: Vec<&str> = text.lines().collect();
    let shown = [&lines[1..4], &lines[150..170], &lines[lines.len() - 4..]].concat();
    assert_snapshot("events", &shown.join("\n"));
    assert_eq!(fs::read_dir(folder.join("")).unwrap().count(), 1);
}

#[test]
fn a_file_that_cannot_be_written_is_named_and_nothing_is_left() {
    let folder = Folder::new();
    let path = folder.argument("missing/events.json");
    let error = folder.error("no such folder", &["plan", "gpt2", "--events", &path]);
    let busy = folder.argument("busy");
    fs::create_dir(folder.join("busy")).unwrap();
    let error = error + &folder.error("a folder", &["plan", "gpt2", "--events", &busy]);
    assert_snapshot("errors_events", &error);
    assert_eq!(fs::read_dir(folder.join("")).unwrap().count(), 1);
}
