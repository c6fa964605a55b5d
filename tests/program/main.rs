//! The program as people run it: reports, messages and exit codes, against reviewed snapshots.
//!
//! Every snapshot is at most 80 lines and holds no path, time or process number: the folder of a test is shown as `DIR`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod advise;
mod brief;
mod browser;
mod buy;
mod caches;
mod calibrate;
mod checkpoint;
mod choices;
mod classes;
mod configs;
mod estimates;
mod events;
mod experts;
mod exports;
mod fit;
mod host;
mod hostile;
mod hub;
mod images;
mod lists;
mod models;
mod output;
mod own;
mod pack;
mod pages;
mod plans;
mod reports;
mod run_file;
mod schemas;
mod shell;
mod snapshots;
mod specs;
mod support;
mod sweep;
mod usage;
mod versions;
mod weights;
