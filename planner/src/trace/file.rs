//! Traces in files: `memplan plan --events FILE` writes one, an event a line, and reading it gives the same trace.
//!
//! ```text
//! {"format": "memplan trace 1", "id": "gpt2", "device": "NVIDIA H200", ..., "names": [...], "modules": [...], "events": [
//! {"alloc": 1536, "stream": 1, "op": "mm", "node": "AddmmBackward0", "tensor": ..., "module": ..., "category": ..., "place": 7},
//! {"free": 4, "saved": "AddmmBackward0"},          allocation 4, counted from 0, goes: a node lets go of what it saved
//! {"becomes": 4, "category": "gradients"},
//! {"phase": "forward", "step": 0},
//! ]}
//! ```
//!
//! `place` is a number in the head's `places`. The older form, that of the recorded traces, is read as well: `-5` frees
//! allocation 4, phases stand in the head with their counts of events, and nothing says why memory goes.

use std::borrow::Cow;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Allocation, AllocationId, Cached, Category, Cause, Event, Name, Names, Phase, Place, PlaceId, Trace};
use crate::bytes::Bytes;
use crate::files;
use crate::ids::ModuleId;
use crate::words::quote;

/// The format that is written.
const FORMAT: &str = "memplan trace 1";

/// The longest trace that is read, in bytes: some tens of millions of events.
const LARGEST_TRACE: u64 = 4 << 30;

/// The most bytes that are alive at once: 1 EiB. Below it no sum over a trace overflows.
const LARGEST_SUM: u64 = 1 << 60;

/// Whether something named is a trace's file, by how its name ends.
pub fn is_trace(name: &str) -> bool {
    [".json", ".trace"].iter().any(|end| name.ends_with(end))
}

/// What a trace is of, and what was planned of it: all that a file says beside the events.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// The model.
    pub id: String,
    /// The GPU that it was planned for.
    pub device: String,
    /// The run, in the words of the report.
    #[serde(default)]
    pub run: String,
    /// PyTorch's release.
    #[serde(default)]
    pub torch: String,
    /// `PYTORCH_CUDA_ALLOC_CONF`.
    #[serde(default)]
    pub allocator: String,
    /// The bytes that the allocator may take from the GPU.
    #[serde(default)]
    pub capacity: Option<Bytes>,
    /// Peak allocated.
    #[serde(default)]
    pub max_allocated: Bytes,
    /// Peak reserved.
    pub max_reserved: Bytes,
    /// The figures of each phase.
    #[serde(default)]
    pub phases: Vec<serde_json::Value>,
}

impl Head {
    /// `gpt2: train, fp32, batch 4, ..., on NVIDIA H200`
    pub fn title(&self) -> String {
        format!("{}: {}, on {}", self.id, self.run, self.device)
    }
}

/// A trace and what it is of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recorded {
    /// What it is of.
    pub head: Head,
    /// The events.
    pub trace: Trace,
}

/// Why a file is no trace.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// It holds something else.
    #[error("{}: no event file of `memplan plan --events`: {message}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// The reason, in words.
        message: String,
    },
}

/// The tables of a file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Tables {
    format: String,
    names: Vec<String>,
    modules: Vec<Arc<str>>,
    parameters: Vec<Arc<str>>,
    places: Vec<Place>,
    cached: Vec<(AllocationId, Cached)>,
    host: Vec<(Category, Bytes)>,
}

/// An event as a line has it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Line<'a> {
    Allocate(#[serde(borrow)] Asked<'a>),
    Free {
        free: u32,
        #[serde(flatten)]
        cause: Option<WrittenCause<'a>>,
    },
    Becomes {
        becomes: u32,
        category: Category,
    },
    Phase {
        phase: Cow<'a, str>,
        step: u64,
    },
    /// The older form: the negative number, from 1, of the allocation that is freed.
    Older(i64),
}

#[derive(Debug, Serialize, Deserialize)]
struct Asked<'a> {
    alloc: Bytes,
    #[serde(default, skip_serializing_if = "is_default_stream")]
    stream: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pool: Option<u16>,
    #[serde(default, borrow)]
    op: Cow<'a, str>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    node: Option<Cow<'a, str>>,
    /// What people call it; of no matter when the file is read.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    tensor: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    module: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    category: Option<Category>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    parameter: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    place: Option<u32>,
}

/// Why memory goes, as a line has it: `"saved": "AddmmBackward0"`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WrittenCause<'a> {
    Operator(Cow<'a, str>),
    Node(Cow<'a, str>),
    Gradient(Cow<'a, str>),
    Saved(Cow<'a, str>),
    Python(u32),
    Frame(Cow<'a, str>),
}

// ---- writing ----------------------------------------------------------------------------------------------------------

/// Writes a trace with what it is of.
///
/// # Errors
/// What the writer says.
pub fn write(recorded: (&Head, &Trace), to: &mut impl Write) -> io::Result<()> {
    let (head, trace) = recorded;
    let tables = Tables {
        format: FORMAT.to_owned(),
        names: trace.names.iter().map(|(_, text)| text.to_owned()).collect(),
        modules: trace.modules.clone(),
        parameters: trace.parameters.clone(),
        places: trace.places.clone(),
        cached: cached(trace),
        host: trace.host.clone(),
    };
    // a list a line: what people look for stands before the events
    let (head, tables) = (serde_json::to_string(head)?, serde_json::to_string(&tables)?);
    let (head, tables) = (&head[1..head.len() - 1], &tables[1..tables.len() - 1]);
    write!(to, "{{{head},\n{tables},\n\"events\": [")?;
    let mut separator = "\n";
    for event in trace.events() {
        to.write_all(separator.as_bytes())?;
        serde_json::to_writer(&mut *to, &line(trace, event))?;
        separator = ",\n";
    }
    to.write_all(b"\n]}\n")
}

/// The caches of layers that do not see all tokens of their own.
fn cached(trace: &Trace) -> Vec<(AllocationId, Cached)> {
    let each = trace.allocations().enumerate();
    each.filter_map(|(number, allocation)| Some((AllocationId(number as u32), allocation.cached?))).collect()
}

fn line(trace: &Trace, event: Event) -> Line<'_> {
    match event {
        Event::Allocate(id) => Line::Allocate(asked(trace, &trace.allocation(id))),
        Event::Free(id, cause) => Line::Free { free: id.0, cause: written(trace, cause) },
        Event::Becomes(id, category) => Line::Becomes { becomes: id.0, category },
        Event::Phase(number) => {
            let Phase { step, name } = &trace.phases[number as usize];
            Line::Phase { phase: Cow::Borrowed(name), step: *step }
        }
    }
}

fn asked<'a>(trace: &'a Trace, allocation: &Allocation) -> Asked<'a> {
    Asked {
        alloc: allocation.bytes,
        stream: allocation.cuda_stream,
        pool: allocation.private_pool,
        op: trace.operator(allocation).into(),
        node: trace.node(allocation).map(Cow::from),
        tensor: Some(trace.tensor(allocation).into()),
        module: trace.module(allocation).into(),
        category: Some(allocation.category),
        parameter: trace.parameter(allocation).map(Cow::from),
        place: allocation.place.map(|place| place.0),
    }
}

fn written(trace: &Trace, cause: Cause) -> Option<WrittenCause<'_>> {
    let text = |name: Name| Cow::Borrowed(trace.names.text(name));
    Some(match cause {
        Cause::Unknown => return None,
        Cause::Operator(name) => WrittenCause::Operator(text(name)),
        Cause::Node(name) => WrittenCause::Node(text(name)),
        Cause::Gradient(name) => WrittenCause::Gradient(text(name)),
        Cause::Saved(name) => WrittenCause::Saved(text(name)),
        Cause::Python(place) => WrittenCause::Python(place.0),
        Cause::Frame(module) => WrittenCause::Frame(Cow::Borrowed(&trace.modules[module.index()])),
    })
}

fn is_default_stream(stream: &u32) -> bool {
    *stream == 0
}

// ---- reading ----------------------------------------------------------------------------------------------------------

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(flatten)]
    head: Head,
    #[serde(flatten)]
    tables: Tables,
    #[serde(borrow)]
    events: Vec<Line<'a>>,
}

/// A phase's end in the older form: after so many allocations and frees.
#[derive(Deserialize)]
struct End {
    step: u64,
    phase: String,
    allocations: u64,
    frees: u64,
}

/// Reads a file.
///
/// # Errors
/// A file that cannot be read, that is no trace, or that frees what was not allocated.
pub fn read(path: &Path) -> Result<Recorded, TraceError> {
    let text =
        files::bytes(path, LARGEST_TRACE).map_err(|source| TraceError::Read { path: path.to_owned(), source })?;
    parse(&text).map_err(|message| TraceError::Wrong { path: path.to_owned(), message })
}

/// Reads a file's text.
///
/// # Errors
/// As `read`, in words.
pub fn parse(text: &[u8]) -> Result<Recorded, String> {
    let Document { head, mut tables, events } = serde_json::from_slice(text).map_err(|error| {
        format!("line {}, column {}: {}", error.line(), error.column(), quote::json_message(&error))
    })?;
    let is_older = tables.format.is_empty();
    if !is_older && tables.format != FORMAT {
        return Err(format!("its format is `{}`, and `{FORMAT}` is what is read", tables.format));
    }
    let ends = if is_older { ends(&head)? } else { Vec::new() };
    let cached = std::mem::take(&mut tables.cached);
    let mut reader = Reader::new(tables);
    let mut ends = ends.iter().peekable();
    for (number, event) in events.iter().enumerate() {
        while let Some(end) = ends.next_if(|end| end.allocations + end.frees <= number as u64) {
            reader.end_phase(end);
        }
        reader.take(event).map_err(|message| format!("event {number}: {message}"))?;
    }
    ends.for_each(|end| reader.end_phase(end));
    for (id, cached) in cached {
        if id.index() >= reader.alive.len() {
            return Err(format!("there is no allocation {}, which is said to be cached", id.0));
        }
        reader.trace.note_cached(id, cached);
    }
    Ok(Recorded { head, trace: reader.trace })
}

fn ends(head: &Head) -> Result<Vec<End>, String> {
    let end = |phase: &serde_json::Value| serde_json::from_value(phase.clone()).map_err(|error| error.to_string());
    head.phases.iter().map(end).collect()
}

/// A trace as it is read.
struct Reader {
    trace: Trace,
    modules: rustc_hash::FxHashMap<Arc<str>, ModuleId>,
    parameters: rustc_hash::FxHashMap<Arc<str>, u32>,
    alive: Vec<bool>,
    /// The bytes of what is alive.
    held: u64,
}

impl Reader {
    fn new(tables: Tables) -> Reader {
        let Tables { names, modules, parameters, places, host, .. } = tables;
        let mut table = Names::default();
        names.into_iter().for_each(|name| {
            table.number(name);
        });
        let numbered = |texts: &[Arc<str>]| -> Vec<(Arc<str>, u32)> {
            texts.iter().enumerate().map(|(number, text)| (text.clone(), number as u32)).rev().collect()
        };
        let by_path = numbered(&modules).into_iter().map(|(path, number)| (path, ModuleId(number))).collect();
        let by_name = numbered(&parameters).into_iter().collect();
        let trace = Trace { names: table, modules, parameters, places, host, ..Trace::default() };
        Reader { trace, modules: by_path, parameters: by_name, alive: Vec::new(), held: 0 }
    }

    fn end_phase(&mut self, end: &End) {
        self.trace.end_phase(Phase { step: end.step, name: end.phase.as_str().into() });
    }

    fn take(&mut self, event: &Line<'_>) -> Result<(), String> {
        match event {
            Line::Allocate(asked) => {
                let allocation = self.allocation(asked)?;
                self.held = self.held.saturating_add(allocation.bytes.0);
                if self.held > LARGEST_SUM {
                    return Err("more is alive than 1 EiB, which no machine has".to_owned());
                }
                self.trace.allocate(allocation);
                self.alive.push(true);
            }
            Line::Free { free, cause } => self.free(u64::from(*free), cause.as_ref())?,
            Line::Older(number) => self.free(u64::try_from(-1 - number).unwrap_or(u64::MAX), None)?,
            Line::Becomes { becomes, category } => {
                let id = self.living(u64::from(*becomes))?;
                self.trace.push(Event::Becomes(id, *category));
            }
            Line::Phase { phase, step } => self.trace.end_phase(Phase { step: *step, name: (&**phase).into() }),
        }
        Ok(())
    }

    fn living(&self, number: u64) -> Result<AllocationId, String> {
        let alive = usize::try_from(number).ok().and_then(|place| self.alive.get(place)) == Some(&true);
        let id = AllocationId(number as u32);
        if alive { Ok(id) } else { Err("nothing of that number is alive".to_owned()) }
    }

    fn free(&mut self, number: u64, cause: Option<&WrittenCause<'_>>) -> Result<(), String> {
        let id = self.living(number)?;
        let cause = cause.map_or(Ok(Cause::Unknown), |cause| self.cause(cause))?;
        self.alive[id.index()] = false;
        self.held -= self.trace.allocation(id).bytes.0;
        self.trace.push(Event::Free(id, cause));
        Ok(())
    }

    fn cause(&mut self, cause: &WrittenCause<'_>) -> Result<Cause, String> {
        Ok(match cause {
            WrittenCause::Operator(name) => Cause::Operator(self.name(name)),
            WrittenCause::Node(name) => Cause::Node(self.name(name)),
            WrittenCause::Gradient(name) => Cause::Gradient(self.name(name)),
            WrittenCause::Saved(name) => Cause::Saved(self.name(name)),
            WrittenCause::Python(place) => Cause::Python(self.place(*place)?),
            WrittenCause::Frame(path) => Cause::Frame(self.module(path)),
        })
    }

    fn allocation(&mut self, asked: &Asked<'_>) -> Result<Allocation, String> {
        Ok(Allocation {
            bytes: asked.alloc,
            cuda_stream: asked.stream,
            private_pool: asked.pool,
            operator: self.name(&asked.op),
            node: asked.node.as_ref().map(|node| self.name(node)),
            module: self.module(&asked.module),
            category: asked.category.unwrap_or(Category::Temporaries),
            parameter: asked.parameter.as_ref().map(|name| self.parameter(name)),
            place: asked.place.map(|place| self.place(place)).transpose()?,
            cached: None,
        })
    }

    fn name(&mut self, text: &str) -> Name {
        let known = self.trace.names.find(text);
        known.unwrap_or_else(|| self.trace.names.number(text.to_owned()))
    }

    fn place(&self, number: u32) -> Result<PlaceId, String> {
        let known = (number as usize) < self.trace.places.len();
        if known { Ok(PlaceId(number)) } else { Err(format!("there is no place {number}")) }
    }

    /// The module of that path; of several that have it, the first.
    fn module(&mut self, path: &str) -> ModuleId {
        if let Some(module) = self.modules.get(path) {
            return *module;
        }
        let module = ModuleId(self.trace.modules.len() as u32);
        let path: Arc<str> = path.into();
        self.trace.modules.push(path.clone());
        self.modules.insert(path, module);
        module
    }

    fn parameter(&mut self, name: &str) -> u32 {
        if let Some(parameter) = self.parameters.get(name) {
            return *parameter;
        }
        let parameter = self.trace.parameters.len() as u32;
        let name: Arc<str> = name.into();
        self.trace.parameters.push(name.clone());
        self.parameters.insert(name, parameter);
        parameter
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Recorded, String> {
        parse(text.as_bytes())
    }

    #[test]
    fn phases_end_where_their_counts_say_in_the_older_form() {
        let text = r#"{"id": "m", "device": "g", "max_allocated": 1, "max_reserved": 2, "phases": [
            {"step": 0, "phase": "load", "allocations": 1, "frees": 0, "reserved": 0},
            {"step": 0, "phase": "end", "allocations": 2, "frees": 1}],
            "events": [{"alloc": 512, "op": "mm", "by": "x"}, {"alloc": 8, "stream": 3}, -1]}"#;
        let trace = parsed(text).expect("events").trace;
        let asked: Vec<_> = trace.allocations().map(|a| (a.bytes.0, a.cuda_stream, trace.operator(&a))).collect();
        assert_eq!(asked, [(512, 0, "mm"), (8, 3, "")]);
        let kind = |event: Event| match event {
            Event::Allocate(_) => 'a',
            Event::Free(..) => 'f',
            Event::Phase(_) => '|',
            Event::Becomes(..) => 'b',
        };
        assert_eq!(trace.events().map(kind).collect::<String>(), "a|af|");
    }

    #[test]
    fn what_is_not_alive_cannot_be_freed() {
        let text = |events: &str| {
            format!(r#"{{"id": "m", "device": "g", "max_reserved": 2, "phases": [], "events": [{events}]}}"#)
        };
        for events in ["-1", r#"{"alloc": 8}, -1, -1"#, r#"{"alloc": 8}, 1"#, r#"{"alloc": 8}, -9223372036854775808"#] {
            assert!(parsed(&text(events)).is_err(), "{events}");
        }
        let newer = |events: &str| text(events).replacen('{', r#"{"format": "memplan trace 1","#, 1);
        for events in [
            r#"{"free": 0}"#,
            r#"{"alloc": 8}, {"free": 0}, {"becomes": 0, "category": "gradients"}"#,
            r#"{"alloc": 8, "place": 3}"#,
            r#"{"alloc": 8}, {"free": 0, "python": 0}"#,
        ] {
            assert!(parsed(&newer(events)).is_err(), "{events}");
        }
        assert!(parsed(&newer(r#"{"alloc": 8}, {"free": 0}"#)).is_ok());
        let half = 1u64 << 59;
        let freed = format!(r#"{{"alloc": {half}}}, {{"free": 0}}, {{"alloc": {half}}}, {{"alloc": {half}}}"#);
        assert!(parsed(&newer(&freed)).is_ok());
        for events in
            [format!(r#"{freed}, {{"alloc": 1}}"#), format!(r#"{{"alloc": {}}}, {{"alloc": {}}}"#, u64::MAX, u64::MAX)]
        {
            let said = parsed(&newer(&events)).expect_err("too much");
            assert!(said.ends_with("more is alive than 1 EiB, which no machine has"), "{said}");
        }
        assert!(parsed(&text("").replacen('{', r#"{"format": "memplan trace 2","#, 1)).is_err());
        assert!(parsed("{}").is_err());
        assert!(parsed("[1, 2").is_err());
    }
}
