//! What a process holds on the GPU outside PyTorch's allocator, seen from another one.
//!
//! A process cannot see its own context: it takes what `cudaMemGetInfo` then calls used. So another process goes through
//! stages, and this one notes how much less is free after each.
//!
//! ```text
//! here                                 there (this program with `--hold`, or Python)
//! free?                                starts
//! reads a line       <──────────────   {"stage": "context", "reserved": 0}
//! free?
//! writes a line      ──────────────>   goes on to the next stage
//! ```

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use planner::bytes::Bytes;
use planner::read::profiles::Memory;
use serde::{Deserialize, Serialize};

use crate::device::Device;
use crate::error::CalibrateError;
use crate::gpu::Gpu;
use crate::products::{Element, Product};

/// What a process tells after a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// The stage that is done.
    pub stage: String,
    /// What its caching allocator holds, which does not count.
    #[serde(default)]
    pub reserved: u64,
    /// The version of what runs.
    #[serde(default)]
    pub version: Option<String>,
}

/// A stage with what the process held after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// What it told.
    pub said: Said,
    /// What is gone of the device's free memory, less what its allocator holds.
    pub bytes: Bytes,
}

/// Lets a process go through its stages.
///
/// # Errors
/// A process that does not start, or says what is not understood.
pub fn held_by(device: &dyn Device, program: &str, mut command: Command) -> Result<Vec<Held>, CalibrateError> {
    let failed = |message: String| CalibrateError::Process { program: program.to_owned(), message };
    let before = device.free()?;
    let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut process = Ended(started.map_err(|error| failed(format!("cannot be started: {error}")))?);
    let mut lines = process.lines().ok_or_else(|| failed("says nothing".to_owned()))?;
    let mut held = Vec::new();
    while let Some(line) = lines.next().transpose().map_err(|error| failed(error.to_string()))? {
        let said: Said = serde_json::from_str(&line).map_err(|_| failed(format!("says `{}`", cut(&line))))?;
        let bytes = Bytes(before.saturating_sub(device.free()?).saturating_sub(said.reserved));
        held.push(Held { said, bytes });
        if process.go_on().is_err() {
            break;
        }
    }
    match process.0.wait() {
        Ok(status) if status.success() => Ok(held),
        _ => Err(failed(process.last_words())),
    }
}

/// A process that ends when this value goes.
struct Ended(Child);

impl Ended {
    fn lines(&mut self) -> Option<Lines<BufReader<ChildStdout>>> {
        Some(BufReader::new(self.0.stdout.take()?).lines())
    }

    fn go_on(&mut self) -> std::io::Result<()> {
        self.0.stdin.as_mut().map_or(Ok(()), |stdin| stdin.write_all(b"\n").and_then(|()| stdin.flush()))
    }

    /// The last line that it complained in.
    fn last_words(&mut self) -> String {
        let stderr = self.0.stderr.take().map(BufReader::new);
        let lines = stderr.into_iter().flat_map(|stderr| stderr.lines().map_while(Result::ok));
        let last = lines.filter(|line| !line.trim().is_empty()).last();
        last.map_or_else(|| "ended without a word".to_owned(), |line| cut(&line).to_owned())
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn cut(line: &str) -> &str {
    line.char_indices().nth(200).map_or(line, |(end, _)| &line[..end])
}

/// The stages of this program: a context, a kernel, a product by cuBLAS. Each is told on `out`, and a line from `input`
/// leads to the next.
///
/// # Errors
/// No GPU, or a library that is missing.
pub fn hold(input: &mut dyn BufRead, out: &mut dyn Write) -> Result<(), CalibrateError> {
    let mut gpu = Gpu::open()?;
    let mut tell = |stage: &str| {
        let said = serde_json::json!({"stage": stage}).to_string();
        let mut line = String::new();
        let told = writeln!(out, "{said}").and_then(|()| out.flush()).and_then(|()| input.read_line(&mut line));
        told.map(|_| ())
            .map_err(|error| CalibrateError::Process { program: stage.to_owned(), message: error.to_string() })
    };
    tell("context")?;
    gpu.load_kernels()?;
    gpu.run_nothing()?;
    gpu.wait()?;
    tell("kernel")?;
    gpu.load_blas()?;
    let product = Product { element: Element::Fp32, rows: 256, columns: 256, inner: 256 };
    let held = [product.factors(), product.result()].map(|bytes| gpu.allocate(bytes));
    let [Some(factors), Some(result)] =
        [held[0].as_ref(), held[1].as_ref()].map(|memory| memory.ok().copied().flatten())
    else {
        return Err(CalibrateError::Process { program: "blas".to_owned(), message: "no free memory".to_owned() });
    };
    gpu.multiply(&product, factors.address, result.address)?;
    gpu.release(factors)?;
    gpu.release(result)?;
    tell("blas")
}

/// Memory as the driver tells, with what a process of this program holds; `program` starts it.
///
/// # Errors
/// As `held_by`.
pub fn memory(gpu: &mut Gpu, program: &[OsString]) -> Result<Memory, CalibrateError> {
    let mut words = program.iter();
    let mut command = Command::new(words.next().map_or(OsStr::new("memplan"), OsString::as_os_str));
    command.args(words).args(["calibrate", "--hold"]);
    let held = held_by(gpu, "memplan calibrate --hold", command)?;
    let of = |stage: &str| held.iter().find(|held| held.said.stage == stage).map_or(Bytes(0), |held| held.bytes);
    let (total, free) = (gpu.facts()?.total, gpu.free()?);
    let (context, kernel, blas) = (of("context"), of("kernel"), of("blas"));
    // this process holds a context of its own, and whatever it has loaded: no more than the other did
    let others = Bytes(total.saturating_sub(free).saturating_sub(context.0));
    Ok(Memory { total: Bytes(total), others, granularity: granularity(gpu)?, context, kernel, blas, pytorch: None })
}

/// The sizes that `cudaMalloc` takes from the device in: what two allocations of a size above it are apart.
fn granularity(device: &mut dyn Device) -> Result<Bytes, CalibrateError> {
    const ASKED: u64 = (1 << 20) + 1;
    let before = device.free()?;
    let mut held = Vec::new();
    for _ in 0..64 {
        held.extend(device.allocate(ASKED)?);
    }
    let taken = before.saturating_sub(device.free()?) / (held.len() as u64).max(1);
    for memory in held {
        device.release(memory)?;
    }
    Ok(Bytes(taken.next_power_of_two()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn stages_are_seen_from_outside() {
        let device = Fake::new(1 << 30);
        let script = r#"echo '{"stage": "tensor", "reserved": 2097152, "version": "2.11.0"}'; read line; echo '{"stage": "product"}'; read line"#;
        let held = held_by(&device, "sh", shell(script)).expect("stages");
        let stages: Vec<&str> = held.iter().map(|held| held.said.stage.as_str()).collect();
        assert_eq!(stages, ["tensor", "product"]);
        assert_eq!(held[0].said.version.as_deref(), Some("2.11.0"));
    }

    #[test]
    fn what_a_process_complains_of_is_told() {
        let device = Fake::new(1 << 30);
        let said = |script: &str| held_by(&device, "sh", shell(script)).expect_err("an error").to_string();
        assert_eq!(said("echo 'No module named torch' >&2; exit 1"), "sh: No module named torch");
        assert_eq!(said("echo hello; sleep 9"), "sh: says `hello`");
        assert_eq!(said("exit 3"), "sh: ended without a word");
        let missing = held_by(&device, "nothing", Command::new("/no/such/program")).expect_err("an error").to_string();
        assert!(missing.starts_with("nothing: cannot be started: "), "{missing}");
    }

    #[test]
    fn the_driver_rounds_sizes() {
        assert_eq!(granularity(&mut Fake::new(1 << 30)).expect("a size"), Bytes(2 << 20));
    }
}
