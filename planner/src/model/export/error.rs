//! What can be wrong with an exported program.

use std::path::PathBuf;

use crate::words::quote;

/// Why an exported program cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The file cannot be read.
    #[error("{}: {source}", quote::path(.path))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is no archive, or a broken one.
    #[error("{}: not an archive of torch.export.save: {message}", quote::path(.path))]
    Archive {
        /// The file.
        path: PathBuf,
        /// The reason why it is refused, in words.
        message: String,
    },
    /// Something in it is larger than any program.
    #[error("{}: {what} is {found}: the largest that is read is {most}", quote::path(.path))]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What is too large.
        what: String,
        /// How large it says it is.
        found: u64,
        /// The largest that is read.
        most: u64,
    },
    /// The graph's JSON cannot be read.
    #[error("{}: models/*.json: line {line}, column {column}: {message}", quote::path(.path))]
    Json {
        /// The file.
        path: PathBuf,
        /// The parser's message.
        message: String,
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// A graph that does not hold together, or holds what cannot be planned.
    #[error("{}: {}{message}", quote::path(.path), place(.node))]
    Graph {
        /// The file.
        path: PathBuf,
        /// The operator's call, counted from 1; None where none is meant.
        node: Option<usize>,
        /// The reason, in words.
        message: String,
    },
}

fn place(node: &Option<usize>) -> String {
    node.map_or_else(String::new, |node| format!("node {node}: "))
}

/// What is wrong in a graph, before its file is known.
#[derive(Debug)]
pub struct Problem {
    /// The call, counted from 1.
    pub node: Option<usize>,
    /// The reason, in words.
    pub message: String,
}

impl Problem {
    /// A problem of the whole graph.
    pub fn new(message: impl Into<String>) -> Problem {
        Problem { node: None, message: message.into() }
    }

    /// A problem of a call.
    pub fn at(node: usize, message: impl Into<String>) -> Problem {
        Problem { node: Some(node + 1), message: message.into() }
    }
}
