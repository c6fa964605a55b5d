//! Event files, as `memplan plan --events` writes them, back into streams.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::bytes::Bytes;
use crate::graph::ModuleId;
use crate::ops::matrix_products;
use crate::schedule::{Allocation, Category, Event, Phase, Stream};

/// A plan's events, and what the plan says of them.
#[derive(Debug)]
pub struct Recorded {
    /// The model.
    pub model: String,
    /// The GPU that it was planned for.
    pub device: String,
    /// Peak reserved.
    pub reserved: Bytes,
    /// The events. Of allocations the size, the stream and whether a product is written there are known.
    pub stream: Stream,
}

/// Why a file is no event file.
#[derive(Debug, thiserror::Error)]
pub enum EventsError {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It holds something else.
    #[error("{}: no event file of `memplan plan --events`: {message}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
}

#[derive(Deserialize)]
struct File {
    id: String,
    device: String,
    max_reserved: Bytes,
    phases: Vec<End>,
    events: Vec<Written>,
}

/// A phase's end: after so many allocations and frees.
#[derive(Deserialize)]
struct End {
    step: u64,
    phase: String,
    allocations: u64,
    frees: u64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Allocate {
        alloc: Bytes,
        #[serde(default)]
        stream: u32,
        #[serde(default)]
        op: String,
    },
    /// The negative number, from 1, of the allocation that is freed.
    Free(i64),
}

/// Reads an event file.
///
/// # Errors
/// A file that cannot be read, that is none, or that frees what was not allocated.
pub fn read(path: &Path) -> Result<Recorded, EventsError> {
    let wrong = |message: String| EventsError::Wrong { path: path.to_owned(), message };
    let text = std::fs::read(path).map_err(|source| EventsError::Read { path: path.to_owned(), source })?;
    let file: File = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    let stream = stream(&file).map_err(wrong)?;
    Ok(Recorded { model: file.id, device: file.device, reserved: file.max_reserved, stream })
}

fn stream(file: &File) -> Result<Stream, String> {
    let mut stream = Stream::default();
    let (mut ids, mut live) = (Vec::new(), Vec::new());
    let mut ends = file.phases.iter().peekable();
    for (number, event) in file.events.iter().enumerate() {
        while let Some(end) = ends.next_if(|end| end.allocations + end.frees <= number as u64) {
            close(&mut stream, end);
        }
        match event {
            Written::Allocate { alloc, stream: on, op } => {
                let op = matrix_products().iter().find(|known| *known == op).copied().unwrap_or("other");
                ids.push(stream.allocate(allocation(*alloc, *on, op)));
                live.push(true);
            }
            Written::Free(number) => {
                let place = usize::try_from(-1 - number).ok().filter(|place| live.get(*place) == Some(&true));
                let Some(place) = place else { return Err(format!("event {number}: nothing of that number is alive")) };
                live[place] = false;
                stream.events.push(Event::Free(ids[place]));
            }
        }
    }
    ends.for_each(|end| close(&mut stream, end));
    Ok(stream)
}

fn close(stream: &mut Stream, end: &End) {
    stream.events.push(Event::Phase(stream.phases.len() as u32));
    stream.phases.push(Phase { step: end.step, name: end.phase.as_str().into() });
}

fn allocation(bytes: Bytes, stream: u32, op: &'static str) -> Allocation {
    let (node, parameter, module, category) = (None, None, ModuleId(0), Category::Temporaries);
    Allocation { bytes, stream, op, node, module, category, parameter }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Recorded, EventsError> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("events.json");
        std::fs::write(&path, text).expect("written");
        read(&path)
    }

    #[test]
    fn phases_end_where_their_counts_say() {
        let text = r#"{"id": "m", "device": "g", "max_allocated": 1, "max_reserved": 2, "phases": [
            {"step": 0, "phase": "load", "allocations": 1, "frees": 0, "reserved": 0},
            {"step": 0, "phase": "end", "allocations": 2, "frees": 1}],
            "events": [{"alloc": 512, "op": "mm", "by": "x"}, {"alloc": 8, "stream": 3}, -1]}"#;
        let recorded = read_text(text).expect("events");
        let stream = &recorded.stream;
        assert_eq!(
            stream.allocations.iter().map(|a| (a.bytes.0, a.stream, a.op)).collect::<Vec<_>>(),
            [(512, 0, "mm"), (8, 3, "other")]
        );
        let kinds: String = stream
            .events
            .iter()
            .map(|event| match event {
                Event::Allocate(_) => 'a',
                Event::Free(_) => 'f',
                Event::Phase(_) => '|',
                Event::Becomes(..) => 'b',
            })
            .collect();
        assert_eq!(kinds, "a|af|");
    }

    #[test]
    fn what_is_not_alive_cannot_be_freed() {
        let text = |events: &str| {
            format!(r#"{{"id": "m", "device": "g", "max_reserved": 2, "phases": [], "events": [{events}]}}"#)
        };
        for events in ["-1", r#"{"alloc": 8}, -1, -1"#, r#"{"alloc": 8}, 1"#, r#"{"alloc": 8}, -9223372036854775808"#] {
            assert!(read_text(&text(events)).is_err(), "{events}");
        }
        assert!(read_text("{}").is_err());
        assert!(read_text("[1, 2").is_err());
    }
}
