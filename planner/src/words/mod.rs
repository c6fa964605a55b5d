//! Texts that come from outside, as messages show them: cut where they are long, and the nearest name to a misspelled one.

pub mod names;
pub mod nearest;
pub mod quote;
