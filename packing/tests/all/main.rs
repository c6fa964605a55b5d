//! Packings against all that can be known of them: one binary, since linking takes longer than most tests.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod csv;
mod exhaustive;
mod limits;
mod support;
