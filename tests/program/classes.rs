//! Classes of torch.nn in files of the user's own: `model.py:Net`.

use std::path::Path;

use crate::support::{Folder, call, json_of};

/// A class of tests/truth/classes, as an argument.
fn class(place: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/truth/classes");
    folder.join(place).to_str().unwrap().to_owned()
}

fn complaint(arguments: &[&str]) -> String {
    let output = call(arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

const GPT_PEAK: u64 = 125_034_496;

const CONV_NET_PEAK: u64 = 128_921_088;

const NET: &str = r#"
import torch
from torch import nn
from .parts import Part


class Net(nn.Module):
    def __init__(self, width, depth=2):
        super().__init__()
        self.parts = nn.ModuleList(Part(width) for _ in range(depth))
        self.head = nn.Linear(width, 10)

    def forward(self, x, scale=1.0):
        for part in self.parts:
            x = part(x)
        return self.head(x) * scale
"#;

const PART: &str = r#"
import torch.nn as nn
import torch.nn.functional as F


class Part(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x):
        return F.relu(self.linear(x), inplace=True)
"#;

fn net() -> Folder {
    let folder = Folder::new();
    folder.write("model.py", NET);
    folder.write("parts.py", PART);
    folder
}

#[test]
fn a_class_with_a_config_and_a_loss_of_its_own_is_planned_from_its_source() {
    let model = class("gpt.py:GPT");
    let inputs = ["--input", "tokens=int64[4,256]", "--input", "targets=int64[4,256]"];
    let plan = json_of(&[&["plan", &*model, "--json"][..], &inputs].concat());
    assert_eq!(plan["model"]["architecture"], "GPT");
    // tests/truth/classes.yaml, gpt-train-fp32, as PyTorch recorded it
    assert_eq!(plan["peak_allocated"], GPT_PEAK);
    let same = json_of(&[&["plan", &*model, "--json", "--init", "GPTConfig(width=256)"][..], &inputs].concat());
    assert_eq!(same["peak_allocated"], GPT_PEAK);
    let smaller =
        json_of(&[&["plan", &*model, "--json", "--init", "depth=1", "--init", "width=64"][..], &inputs].concat());
    assert!(smaller["peak_allocated"].as_u64() < plan["peak_allocated"].as_u64());
}

#[test]
fn its_loss_is_by_what_forward_returns() {
    let model = class("nets.py:ConvNet");
    let plan = json_of(&["plan", &model, "--input", "images=float32[8,3,128,128]", "--json"]);
    assert_eq!(plan["peak_allocated"], CONV_NET_PEAK);
    let notes = plan["notes"].to_string();
    assert!(notes.contains("the loss is the cross entropy of its first output"), "{notes}");
    let error = complaint(&["plan", &model, "--input", "images=float32[8,3,128,128]", "--loss", "output"]);
    assert!(error.contains("the model returns no loss of its own"), "{error}");
}

#[test]
fn sizes_that_are_the_runs_own_may_change() {
    let folder = net();
    let model = folder.argument("model.py:Net");
    let fit = ["fit", &*model, "--init", "64", "--gpu", "4090", "--input"];
    let open = call(&[&fit[..], &["x=float[batch,64]"]].concat());
    assert_eq!(open.status.code(), Some(0));
    let plan = ["plan", &*model, "--init", "64", "--batch", "16", "--input"];
    let error = complaint(&[&plan[..], &["x=float[8,64]"]].concat());
    assert!(error.contains("--input x fixes batch at 8: write batch in place of 8 there to plan batch 16"), "{error}");
}

#[test]
fn what_is_wrong_is_said_with_file_and_line() {
    let folder = net();
    let model = folder.argument("model.py:Net");
    let input = ["--input", "x=float32[8,64]"];
    let said = |more: &[&str], expected: &str| {
        let error = complaint(&[&["plan"][..], more].concat());
        assert!(error.contains(expected), "{error}");
    };
    said(&[&model, "--init", "64"], "model.py:13: forward needs `x`: give --input x=");
    said(
        &[&[&*model, "--init", "64", "--input", "y=float32[8]"][..], &input].concat(),
        "forward takes no `y`: it takes x, scale",
    );
    said(&[&[&*model][..], &input].concat(), "model.py:8: Net needs `width`: give --init width=...");
    said(&[&[&*model, "--init", "64,deep=3"][..], &input].concat(), "Net takes no `deep`: it takes width, depth");
    said(&[&*model, "--init", "(", "--input", "x=float32[8,64]"], "is no list of arguments");
    said(&[&*model, "--init", "64", "--input", "x=float32[8,63]"], "parts.py:12:9");
    said(&[&*model, "--init", "64", "--input", "x=floaty[8,64]"], "`floaty` is no type of a tensor");
    said(&[&folder.argument("model.py:Nett")], "there is no class or function `Nett`; near: Net");
    said(&[&folder.argument("none.py:Net")], "none.py: no such file");
    said(&["gpt2", "--input", "x=float32[8]"], "init and input are for a class of a file of Python");
    let looped =
        NET.replace("        return", "        while scale > 2.0:\n            scale = scale - 1.0\n        return");
    folder.write("model.py", looped);
    said(&[&[&*model, "--init", "64"][..], &input].concat(), "a while loop is not known");
    folder.write("broken.py", "class Net(\n");
    said(&[&folder.argument("broken.py:Net")], "this is no Python");
}

#[test]
fn a_snapshot_keeps_how_it_is_made() {
    let folder = Folder::new();
    folder.write("model.py", NET);
    folder.write("parts.py", PART);
    let (model, kept) = (folder.argument("model.py:Net"), folder.argument("kept.yaml"));
    let made = ["snapshot", &*model, "--init", "width=64", "--input", "x=float[batch,64]", "-o", &*kept];
    assert_eq!(call(&made).status.code(), Some(0));
    assert_eq!(call(&["check", &kept]).status.code(), Some(0));
    let wider = "nn.Linear(width, width)\n        self.more = nn.Linear(width, 64 * width)";
    folder.write("parts.py", PART.replace("nn.Linear(width, width)", wider));
    assert_eq!(call(&["check", &kept]).status.code(), Some(1));
}
