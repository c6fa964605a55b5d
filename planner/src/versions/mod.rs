//! Releases of PyTorch and transformers: which ones are known, and which rules each of them follows.
//!
//! ```text
//! --torch 2.15, uv.lock, ... -> Versions ─┐
//!                                         ├-> Rules::of -> has(Change::...)   asked where a rule stands
//! changes.rs: since, until, source   ─────┘
//! ```
//!
//! A rule that is not the same in all releases is a [`Change`]: a row of the table in `changes.rs` says since when it holds and
//! where it was read. Specs say `since("transformers 5.19")` where they differ, and list the change under `changes`.

mod changes;
mod release;
mod rules;

pub use changes::{CHANGES, Change, ChangeRow};
pub use release::{Library, Release, ReleaseSyntax, VersionError, Versions};
pub use rules::Rules;
