//! The reader on small files, whole and broken, on the recorded models, and on mutated headers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod checkpoint;
mod config;
mod header;
mod hostile;
mod inspect;
mod support;
