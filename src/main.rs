//! `memplan`: predicts the GPU memory of a PyTorch run, before anything runs.

use std::process::ExitCode;

use memplan::program::{self, Call};

/// Plans are made of many small values; side by side they ask for memory from both threads.
#[cfg(feature = "allocator")]
#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let itself = std::env::current_exe().map_or_else(|_| "memplan".into(), Into::into);
    ExitCode::from(program::run(&Call { arguments: std::env::args_os().collect(), itself: vec![itself] }))
}
