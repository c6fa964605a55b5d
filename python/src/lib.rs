//! The extension module `memplan._memplan`: the program, in a Python process. `memplan/` beside it is what people import.
//!
//! ```text
//! memplan/_program.py ──> run   the program as a shell runs it, on the process's streams
//!                     ──> keep  a call whose words are given back, on a thread of its own
//!                     ──> flags what a command takes
//! ```

use std::ffi::OsString;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use memplan::program::{self, Call, Kept};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

/// The stack of a call's thread: as much as a main thread has on Linux, wherever it is called from.
const STACK: usize = 8 << 20;
/// How long a call runs until Python is asked whether somebody pressed Ctrl-C.
const GLANCE: Duration = Duration::from_millis(50);

/// The exit code, the report for people and as JSON, what is wrong, what may help, what to look at.
type Said = (u8, String, Option<String>, Option<String>, Option<String>, Vec<String>);

/// Runs the program on the process's streams, and gives the exit code. `itself` starts it in a process of its own.
#[pyfunction]
fn run(py: Python<'_>, arguments: Vec<OsString>, itself: Vec<OsString>) -> u8 {
    py.detach(|| program::run(&Call { arguments, itself }))
}

/// Runs the program and gives what it says. An exception of a signal ends the call at once; its thread goes on to its end.
#[pyfunction]
fn keep(py: Python<'_>, arguments: Vec<OsString>) -> PyResult<Said> {
    let mut done = started(Call { arguments, itself: Vec::new() })?;
    loop {
        let done = &mut done;
        match py.detach(move || done.recv_timeout(GLANCE)) {
            Ok((code, kept)) => return Ok((code, kept.text, kept.json, kept.error, kept.hint, kept.warnings)),
            Err(RecvTimeoutError::Timeout) => py.check_signals()?,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(PyRuntimeError::new_err("memplan ended by a fault of its own, which it told on stderr"));
            }
        }
    }
}

/// Starts a call on a thread of its own.
fn started(call: Call) -> PyResult<Receiver<(u8, Kept)>> {
    let (sender, receiver): (Sender<(u8, Kept)>, _) = mpsc::channel();
    let work = move || {
        // nobody waits any more where Ctrl-C was pressed
        let _ = sender.send(program::keep(&call));
    };
    thread::Builder::new().name("memplan".to_owned()).stack_size(STACK).spawn(work)?;
    Ok(receiver)
}

/// The flags of a command: name, whether a value follows, whether it may be given several times.
#[pyfunction]
fn flags(command: &str) -> Vec<(String, bool, bool)> {
    program::flags(command).into_iter().map(|flag| (flag.name, flag.takes_value, flag.repeats)).collect()
}

/// What `memplan/` calls.
#[pymodule]
mod _memplan {
    #[pymodule_export]
    use super::{flags, keep, run};
}
