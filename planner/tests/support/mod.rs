//! What PyTorch itself did: the records of `tests/truth` and their traces, for every test that compares with them.
//!
//! ```text
//! truth.jsonl       -> truth_cases() -> TruthCase: options of the allocator, figures of every phase, both peaks
//! traces/ID.json.gz -> Trace::load() -> Event, Event, ...: allocations, frees, segments
//! ```

#![allow(dead_code)] // Each test uses a part.

pub mod check;
pub mod exports;
pub mod models;
pub mod plans;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use planner::allocate::StreamId;
use planner::bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

/// A line of `truth.jsonl`: one case, and PyTorch's figures for it, in bytes.
#[derive(Clone, Debug, Deserialize)]
pub struct TruthCase {
    pub id: String,
    /// What the case ran: model, batch, precision and so on, as in `cases.yaml`.
    pub case: Value,
    /// `PYTORCH_CUDA_ALLOC_CONF`.
    pub allocator: String,
    /// PyTorch's version, and transformers' where the model is one of its.
    pub torch: String,
    #[serde(default)]
    pub transformers: Option<String>,
    /// The trace, where it is kept beside the figures.
    #[serde(default)]
    pub events: Option<Vec<Event>>,
    pub device: String,
    /// The GPU's memory as the driver reports it.
    pub total_memory: Bytes,
    pub max_allocated: Bytes,
    pub max_reserved: Bytes,
    pub phases: Vec<Phase>,
}

/// The figures at the end of a phase; peaks are those since the end of the one before.
#[derive(Clone, Debug, Deserialize)]
pub struct Phase {
    pub step: usize,
    pub phase: String,
    pub allocated: Bytes,
    pub peak_allocated: Bytes,
    pub reserved: Bytes,
    pub peak_reserved: Bytes,
    pub requested: Bytes,
    /// Allocations since the process began, which locates the phase's end in the trace.
    pub allocations: usize,
    /// Frees since the process began.
    pub frees: usize,
}

/// The allocator's whole life in one case.
#[derive(Clone, Debug)]
pub struct Trace {
    pub id: String,
    pub events: Vec<Event>,
}

/// One event of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "Entry")]
pub enum Event {
    /// Bytes as asked for, before rounding.
    Allocate { bytes: Bytes, stream: StreamId },
    /// The allocation of that number, counted from 0, is freed.
    Free(usize),
    /// The device hands a segment out, for the allocation that follows.
    Segment(Bytes),
    /// A segment goes back to the device.
    SegmentFree(Bytes),
}

/// The folder `tests/truth` of the repository.
pub fn truth_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/truth")
}

/// Compares a table with the one of a page of `docs/` between `NAME: begin` and `NAME: end`, or with UPDATE_DOCS=1 writes it there.
pub fn docs_have(page: &str, name: &str, table: &str) {
    let path = truth_folder().join("../../docs").join(page);
    let text = fs::read_to_string(&path).expect("a page of docs/");
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->"));
    let start = text.find(&begin).expect("the table's begin") + begin.len();
    let stop = text.find(&end).expect("the table's end");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, format!("{}{table}{}", &text[..start], &text[stop..])).expect("the page is written");
        return;
    }
    assert_eq!(&text[start..stop], table, "run UPDATE_DOCS=1 cargo test to write the table anew");
}

/// All cases, in the order of `truth.jsonl`.
pub fn truth_cases() -> Vec<TruthCase> {
    records("truth.jsonl")
}

/// The records of a file of `tests/truth`.
pub fn records(file: &str) -> Vec<TruthCase> {
    let path = truth_folder().join(file);
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    lines_of(&text_of(&path)).map(parse).collect()
}

impl TruthCase {
    /// The trace that the record holds itself.
    pub fn trace(&self) -> Option<Trace> {
        Some(Trace { id: self.id.clone(), events: self.events.clone()? })
    }
}

/// A case by its name.
pub fn truth_case(id: &str) -> TruthCase {
    truth_cases().into_iter().find(|case| case.id == id).unwrap_or_else(|| panic!("no case {id} in truth.jsonl"))
}

impl Trace {
    /// Reads the trace of a case of `truth.jsonl`.
    pub fn load(id: &str) -> Trace {
        Trace::load_from("traces", id)
    }

    /// Reads the trace of a case from a folder of `tests/truth`.
    pub fn load_from(folder: &str, id: &str) -> Trace {
        #[derive(Deserialize)]
        struct Recorded {
            events: Vec<Event>,
        }
        let text = text_of(&truth_folder().join(format!("{folder}/{id}.json.gz")));
        let recorded: Recorded = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{id}: {error}"));
        Trace { id: id.to_string(), events: recorded.events }
    }
}

/// The JSON values of a compressed file, one a line; the path is relative to the repository.
pub fn lines(path: &str) -> Vec<Value> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    lines_of(&text_of(&path)).map(parse).collect()
}

/// The text of a file, compressed where its name ends in `gz`.
pub fn text_of(path: &Path) -> String {
    let mut text = String::new();
    let read = fs::File::open(path).and_then(|mut file| match path.extension() {
        Some(end) if end == "gz" => GzDecoder::new(file).read_to_string(&mut text),
        _ => file.read_to_string(&mut text),
    });
    read.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text
}

/// The lines of a file that say something.
pub fn lines_of(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim().is_empty())
}

/// One entry of a trace: `n >= 0` is an allocation of so many bytes, `-1 - n` a free of allocation `n`, and a map says more.
#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Number(i64),
    Alloc {
        alloc: Bytes,
        #[serde(default)]
        stream: u32,
    },
    Segment {
        segment: Bytes,
    },
    SegmentFree {
        segment_free: Bytes,
    },
}

impl From<Entry> for Event {
    fn from(entry: Entry) -> Event {
        match entry {
            Entry::Number(n) if n >= 0 => Event::Allocate { bytes: Bytes(n as u64), stream: StreamId(0) },
            Entry::Number(n) => Event::Free((-1 - n) as usize),
            Entry::Alloc { alloc, stream } => Event::Allocate { bytes: alloc, stream: StreamId(stream) },
            Entry::Segment { segment } => Event::Segment(segment),
            Entry::SegmentFree { segment_free } => Event::SegmentFree(segment_free),
        }
    }
}
