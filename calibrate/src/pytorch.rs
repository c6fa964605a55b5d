//! What PyTorch alone can tell: its process's memory, cuDNN's workspaces. Python runs the scripts in `calibrate/pytorch/`.

use std::io::Write;
use std::process::{Command, Stdio};

use planner::read::profiles::{AttentionKey, ConvolutionKey, PytorchMemory, Workspaces};
use serde::Serialize;

use crate::device::Device;
use crate::error::CalibrateError;
use crate::holder::{Held, held_by};

const HOLD: &str = include_str!("../pytorch/hold.py");
const WORKSPACES: &str = include_str!("../pytorch/workspaces.py");

/// Whether this Python has PyTorch with CUDA.
pub fn is_there(python: &str) -> bool {
    let asked = "import torch, sys; sys.exit(0 if torch.cuda.is_available() else 1)";
    let answer = Command::new(python).args(["-c", asked]).stdin(Stdio::null()).output();
    answer.is_ok_and(|output| output.status.success())
}

/// PyTorch's version, and what its process holds outside its allocator.
///
/// # Errors
/// A script that fails.
pub fn memory(device: &dyn Device, python: &str) -> Result<(Option<String>, PytorchMemory), CalibrateError> {
    let mut command = Command::new(python);
    command.args(["-c", HOLD]);
    stages(python, &held_by(device, python, command)?)
}

fn stages(python: &str, held: &[Held]) -> Result<(Option<String>, PytorchMemory), CalibrateError> {
    let of = |stage: &str| {
        let found = held.iter().find(|held| held.said.stage == stage).map(|held| held.bytes);
        found
            .ok_or_else(|| CalibrateError::Process { program: python.to_owned(), message: format!("no stage {stage}") })
    };
    let version = held.first().and_then(|held| held.said.version.clone());
    let memory = PytorchMemory {
        tensor: of("tensor")?,
        product: of("product")?,
        convolution: of("convolution")?,
        attention: of("attention")?,
    };
    Ok((version, memory))
}

/// What is asked about workspaces.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Asked {
    /// Convolutions.
    pub convolutions: Vec<ConvolutionKey>,
    /// Attention.
    pub attention: Vec<AttentionKey>,
}

/// What cuBLAS and cuDNN take.
///
/// # Errors
/// A script that fails.
pub fn workspaces(python: &str, asked: &Asked) -> Result<Workspaces, CalibrateError> {
    let failed = |message: String| CalibrateError::Process { program: python.to_owned(), message };
    let said = |error: std::io::Error| failed(error.to_string());
    let mut command = Command::new(python);
    command.args(["-c", WORKSPACES]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().map_err(said)?;
    let question = serde_json::to_vec(asked).map_err(|error| failed(error.to_string()))?;
    if let Some(mut stdin) = process.stdin.take() {
        stdin.write_all(&question).map_err(said)?;
    }
    let output = process.wait_with_output().map_err(said)?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let last = stderr.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("ended without a word");
        return Err(failed(last.to_owned()));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| failed(format!("what it prints is no answer: {error}")))
}

#[cfg(test)]
mod tests {
    use planner::bytes::Bytes;
    use planner::read::profiles::Direction;

    use super::*;
    use crate::holder::Said;

    fn held(stage: &str, bytes: u64) -> Held {
        Held {
            said: Said { stage: stage.to_owned(), reserved: 0, version: Some("2.11.0".to_owned()) },
            bytes: Bytes(bytes),
        }
    }

    #[test]
    fn all_stages_are_needed() {
        let mut told = vec![held("tensor", 1), held("product", 2), held("convolution", 3)];
        assert!(stages("python3", &told).is_err());
        told.push(held("attention", 4));
        let (version, memory) = stages("python3", &told).expect("all stages");
        assert_eq!(version.as_deref(), Some("2.11.0"));
        assert_eq!(memory.attention, Bytes(4));
    }

    #[test]
    fn a_question_has_the_profile_s_keys() {
        let convolution = ConvolutionKey {
            direction: Direction::Forward,
            input: [8, 3, 224, 224],
            weight: [64, 3, 7, 7],
            stride: 2,
            padding: 3,
            dilation: 1,
            dtype: "float32".to_owned(),
            channels_last: false,
        };
        let asked = Asked { convolutions: vec![convolution], attention: Vec::new() };
        let text = serde_json::to_string(&asked).expect("JSON");
        assert_eq!(
            text,
            r#"{"convolutions":[{"direction":"forward","input":[8,3,224,224],"weight":[64,3,7,7],"stride":2,"padding":3,"dilation":1,"dtype":"float32","channels_last":false}],"attention":[]}"#
        );
    }

    #[test]
    fn python_without_pytorch_is_no_failure() {
        assert!(!is_there("/no/such/python"));
    }
}
