//! Families written for these tests, in the manner of transformers, and what they become.

use std::fs;

use import::{Import, Names, Sources, World};
use tempfile::TempDir;

const CONFIGURATION: &str = r#"
from ...configuration_utils import PreTrainedConfig


class TinyConfig(PreTrainedConfig):
    model_type = "tiny"
    attribute_map = {"width": "hidden_size"}

    vocab_size: int = 100
    hidden_size: int = 64
    heads: int = 4
    scale: float = bounded(min=0.0)(default=0.5)
    layer_kinds: list[str] | None = None

    def __post_init__(self, **kwargs):
        if self.layer_kinds is None:
            self.layer_kinds = ["full"] * kwargs.pop("depth", 2)
        super().__post_init__(**kwargs)

    def validate_architecture(self):
        if self.hidden_size % self.heads != 0:
            raise ValueError(f"{self.hidden_size} is no multiple of {self.heads}")

    @property
    def depth(self):
        return len(self.layer_kinds)
"#;

const MODELING: &str = r#"
import torch
from torch import nn

from ...activations import ACT2FN
from ...modeling_utils import PreTrainedModel
from ...modeling_layers import GradientCheckpointingLayer
from ...utils import logging
from .configuration_tiny import TinyConfig


logger = logging.get_logger(__name__)


def scaled(x, factor=2.0):
    """A function of the file."""
    return x * factor


class TinyMLP(nn.Module):
    KIND = "gelu"

    def __init__(self, config):
        super().__init__()
        self.up = nn.Linear(config.hidden_size, 4 * config.hidden_size, bias=False)
        self.down = nn.Linear(4 * config.hidden_size, config.hidden_size)
        self.act = ACT2FN[self.KIND]

    def forward(self, x):
        return self.down(self.act(self.up(x)))


class TinyGatedMLP(TinyMLP):
    def __init__(self, config):
        super().__init__(config)
        self.gate = nn.Parameter(torch.ones(config.hidden_size))

    def forward(self, x):
        return super().forward(x) * self.gate


class TinyLayer(GradientCheckpointingLayer):
    def __init__(self, config, layer_idx):
        super().__init__()
        self.mlp = TinyGatedMLP(config)
        self.layer_idx = layer_idx

    @staticmethod
    def halves(x):
        return x.chunk(2, dim=-1)

    def forward(self, x, **kwargs):
        left, right = self.halves(x)
        x = torch.cat((right, left), dim=-1)
        return x + self.mlp(scaled(x))


class TinyPreTrainedModel(PreTrainedModel):
    config: TinyConfig
    base_model_prefix = "model"


class TinyModel(TinyPreTrainedModel):
    def __init__(self, config: TinyConfig):
        super().__init__(config)
        self.embed = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList([TinyLayer(config, i) for i in range(config.depth)])
        self.register_buffer("ids", torch.arange(config.vocab_size).expand((1, -1)), persistent=False)
        self.post_init()

    def forward(self, input_ids, dropout=0.0, *args, **kwargs):
        x = nn.functional.dropout(self.embed(input_ids), p=dropout, training=self.training)
        seen = []
        for layer in self.layers:
            if layer.layer_idx > 7:
                continue
            x = layer(x, **kwargs)
            seen.append(x)
        if (last := seen[-1]) is None:
            logger.warning("never")
            raise ValueError("there is no layer")
        table = {}
        table["last"] = last
        with torch.no_grad():
            total = sum(y.shape[1] for y in seen)
        while total > 3:
            total -= 1
        return table["last"]
"#;

/// An import of a package with that file; the folder is there for as long as it is held.
fn import_of(modeling: &str) -> (Import, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let tiny = folder.path().join("models/tiny");
    fs::create_dir_all(&tiny).expect("a folder");
    fs::write(tiny.join("modeling_tiny.py"), modeling).expect("a file");
    fs::write(tiny.join("configuration_tiny.py"), CONFIGURATION).expect("a file");
    let known =
        ["Linear", "Embedding", "Activation", "Parameter", "Buffer", "cat", "dropout", "ones", "arange", "chunk"];
    let world = World {
        sources: Sources::with(vec![("transformers".to_owned(), folder.path().to_owned())], |path, _| {
            fs::read_to_string(path)
        }),
        names: Names::table().expect("a sound table"),
        known: known.map(str::to_owned).into_iter().collect(),
    };
    (Import::new(world), folder)
}

#[test]
fn a_family_is_written_line_by_line() {
    let (mut import, _folder) = import_of(MODELING);
    let spec = import.spec("tiny", "5.24.0").expect("a family");
    insta::assert_snapshot!(spec);
    let faults: Vec<String> = import.faults.iter().map(ToString::to_string).collect();
    assert_eq!(faults, ["models/tiny/modeling_tiny.py:86: a while loop is not known"]);
}

#[test]
fn what_is_no_python_and_what_is_not_there_are_one_line_each() {
    let (mut import, _folder) = import_of("class Tiny(:\n    pass\n");
    let fault = import.spec("tiny", "5.24.0").expect_err("no Python").to_string();
    assert!(fault.starts_with("models/tiny/modeling_tiny.py:1: this is no Python"), "{fault}");
    let fault = import.spec("other", "5.24.0").expect_err("no file").to_string();
    assert_eq!(fault, "models/other/modeling_other.py:0: there is no such file");
}

#[test]
fn classes_that_derive_from_themselves_are_an_error() {
    let source = "class TinyModel(TinyModel):\n    pass\n\n\n__all__ = [\"TinyModel\"]\n";
    let (mut import, _folder) = import_of(source);
    let fault = import.spec("tiny", "5.24.0").expect_err("a circle").to_string();
    assert!(fault.contains("derives from itself"), "{fault}");
}

#[test]
fn what_nests_beyond_reason_is_an_error() {
    let deep = [
        format!("x = {}1{}", "(".repeat(100_000), ")".repeat(100_000)),
        format!("x = {}1", "not ".repeat(100_000)),
        format!("x = a{}", ".a".repeat(100_000)),
        format!("x = 1{}", " + 1".repeat(100_000)),
        (0..1_000).map(|depth| format!("{}if a:\n", " ".repeat(depth))).collect::<String>()
            + &" ".repeat(1_000)
            + "pass\n",
    ];
    for source in deep {
        let (mut import, _folder) = import_of(&source);
        let fault = import.spec("tiny", "5.24.0").expect_err("too deep").to_string();
        assert!(fault.contains("nests deeper than"), "{fault}");
    }
}

/// Blind changes of a source: whatever comes of them, nothing panics and every complaint is one line.
#[test]
fn changed_sources_end_in_a_spec_or_in_a_line() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let signs = [
        "(", ")", "[", "]", ":", "\n", "    ", "self", "super().", "lambda: ", "*", "**", "=", "class ", "def ", "\"",
        "f\"{", "0", ".",
    ];
    for _ in 0..300 {
        let mut source: Vec<char> = MODELING.chars().collect();
        for _ in 0..=random(4) {
            let at = random(source.len());
            match random(3) {
                0 => drop(source.remove(at)),
                1 => drop(source.splice(at..at, signs[random(signs.len())].chars())),
                _ => drop(source.drain(at..(at + random(40)).min(source.len()))),
            }
        }
        let source: String = source.into_iter().collect();
        let (mut import, _folder) = import_of(&source);
        if let Err(fault) = import.spec("tiny", "5.24.0") {
            let line = fault.to_string();
            assert!(!line.contains('\n') && line.contains("tiny"), "{line}");
        }
    }
}
