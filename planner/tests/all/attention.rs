//! Compares the attention plans with what PyTorch 2.11 and 2.15 did on emulated GPUs, row by row.
//!
//! `tests/truth/kernels/record_attention.py` writes the rows and says what their columns are. To compare with rows
//! recorded afresh, name their folder in `KERNEL_TRUTH`.

#![allow(clippy::unwrap_used)]

use planner::run::Backend;
use std::fmt::Write as _;
use std::path::Path;

use planner::dtype::Dtype;
use planner::lower::device::Device;
use planner::lower::kernels::attention::{
    AttentionError, Buffer, BufferId, Gradient, Held, Layout, Mask, Problem, Step, backward, choose, forward,
};
use planner::versions::{Release, Rules, Versions};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/truth/kernels/");

/// The GPUs that the rows name: compute capability and multiprocessors.
const DEVICES: [(&str, (u32, u32), u64); 9] = [
    ("h200", (9, 0), 132),
    ("h100", (9, 0), 132),
    ("a100-80gb", (8, 0), 108),
    ("a100-40gb", (8, 0), 108),
    ("rtx4090", (8, 9), 128),
    ("rtx3090", (8, 6), 82),
    ("l40s", (8, 9), 142),
    ("b200", (10, 0), 148),
    ("rtx5090", (12, 0), 170),
];

#[test]
fn chooses_what_pytorch_chooses() {
    compare("attention_choice.csv", choices);
}

#[test]
fn allocates_what_pytorch_allocates() {
    compare("attention_plan.csv", plan);
}

/// The folders of recordings, with the release that each was made with.
const RECORDED: [(&str, Release); 2] = [("", Release::new(2, 11)), ("torch-2.15", Release::new(2, 15))];

/// Every row's right half, as we say it and as PyTorch did, in each release.
fn compare(file: &str, ours: fn(Rules, &[&str]) -> (String, String)) {
    let folder = std::env::var("KERNEL_TRUTH").unwrap_or(FOLDER.to_owned());
    for (release, torch) in RECORDED {
        let rules = Rules::of(Versions { torch, ..Versions::default() });
        compare_release(&Path::new(&folder).join(release).join(file).display().to_string(), |row| ours(rules, row));
    }
}

fn compare_release(path: &str, ours: impl Fn(&[&str]) -> (String, String)) {
    let rows = std::fs::read_to_string(path).unwrap();
    let (mut wrong, mut report, mut compared) = (0, String::new(), 0);
    for line in rows.lines().filter(|line| !line.starts_with('#')) {
        let (said, truth) = ours(&line.split(',').collect::<Vec<_>>());
        compared += 1;
        if said != truth {
            wrong += 1;
            if wrong <= 20 {
                writeln!(report, "{line}\n  ours    {said}\n  PyTorch {truth}").unwrap();
            }
        }
    }
    assert!(compared > 0, "{path} has no rows");
    assert!(wrong == 0, "{wrong} of {compared} rows differ:\n{report}");
}

/// Columns from 9 on: PyTorch's choice, then whether it runs the call when only cuDNN, flash or efficient may.
fn choices(rules: Rules, row: &[&str]) -> (String, String) {
    let (device, problem) = (device(rules, row[0]), problem(&row[1..9]));
    let chosen = choose(&device, &problem, None).unwrap();
    let mut said = vec![chosen.name()];
    for only in [Backend::Cudnn, Backend::Flash, Backend::Efficient] {
        said.push(if choose(&device, &problem, Some(only)).is_ok() { "yes" } else { "no" });
    }
    assert_eq!(choose(&device, &problem, Some(Backend::Math)), Ok(Backend::Math));
    (said.join(","), row[9..].join(","))
}

/// Columns from 11 on: the output, the forward call's events, the backward's, the gradients' layouts.
fn plan(rules: Rules, row: &[&str]) -> (String, String) {
    let (device, problem, backend) = (device(rules, row[0]), problem(&row[2..10]), Backend::named(row[1]).unwrap());
    let gradient = layout(row[10]);
    let truth = row[11..].join(",");
    let call = match forward(&device, &problem, backend) {
        Ok(call) => call,
        Err(AttentionError::Raises { .. }) => return ("raises,,,".to_owned(), truth),
        Err(error) => return (error.to_string(), truth),
    };
    let mut said = vec![text(&call.layout), events(&call.steps, &call.buffers, call.output)];
    if !requires_grad(&problem) {
        said.extend([String::new(), String::new()]);
        return (said.join(","), truth);
    }
    match backward(&device, &problem, backend, &gradient) {
        Ok(back) => {
            assert_eq!(back.buffers[..call.buffers.len()], call.buffers);
            let held = releases(&back.steps);
            assert_eq!(sorted(held), sorted(call.saved), "released what was saved: {row:?}");
            said.push(events(&back.steps, &back.buffers, call.output));
            said.push(gradients(&back.gradients));
        }
        Err(AttentionError::Raises { .. }) => said.extend(["raises".to_owned(), String::new()]),
        Err(error) => said.push(error.to_string()),
    }
    (said.join(","), truth)
}

fn requires_grad(problem: &Problem) -> bool {
    problem.requires_grad.contains(&true) || problem.mask.as_ref().is_some_and(|mask| mask.requires_grad)
}

/// The output is held by autograd alone.
fn events(steps: &[Step], buffers: &[Buffer], output: BufferId) -> String {
    let shown = steps.iter().filter_map(|step| match step {
        Step::Allocate(id) => Some(format!("+{}", buffers[id.0].bytes)),
        Step::Free(id) => Some(format!("-{}", id.0)),
        Step::Release(Held::Output) => Some(format!("-{}", output.0)),
        Step::Release(Held::Gradient) => Some("-g".to_owned()),
        Step::Release(_) | Step::Hand { .. } | Step::Blas | Step::Sum { .. } => None,
    });
    shown.collect::<Vec<_>>().join(" ")
}

fn releases(steps: &[Step]) -> Vec<Held> {
    let of = |step: &Step| match step {
        Step::Release(held) if *held != Held::Gradient => Some(*held),
        _ => None,
    };
    steps.iter().filter_map(of).collect()
}

fn sorted(mut held: Vec<Held>) -> Vec<Held> {
    held.sort_by_key(|held| *held as u8);
    held
}

fn gradients(gradients: &[Option<Gradient>; 4]) -> String {
    let shown = gradients.iter().map(|g| g.as_ref().map_or("-".to_owned(), |g| text(&g.layout)));
    shown.collect::<Vec<_>>().join(";")
}

fn device(rules: Rules, name: &str) -> Device {
    let (_, compute_capability, multiprocessors) = *DEVICES.iter().find(|row| row.0 == name).unwrap();
    let threads = if matches!(compute_capability, (8, 0) | (9, 0) | (10, 0)) { 2048 } else { 1536 };
    Device { compute_capability, multiprocessors, threads_per_multiprocessor: threads, rules }
}

/// Columns dtype, query, key, value, mask, dropout, flags, who requires a gradient.
fn problem(row: &[&str]) -> Problem {
    let mask = (row[4] != "none").then(|| {
        let (kind, shape) = row[4].split_once(' ').unwrap();
        Mask { layout: layout(shape), boolean: kind == "bool", requires_grad: kind.ends_with('*') }
    });
    Problem {
        dtype: Dtype::named(row[0]).unwrap(),
        query: layout(row[1]),
        key: layout(row[2]),
        value: layout(row[3]),
        mask,
        dropout: row[5].parse().unwrap(),
        causal: row[6].contains("causal"),
        grouped: row[6].contains("grouped"),
        cudnn_workspaces: [0; 2],
        requires_grad: ['q', 'k', 'v'].map(|name| row[7].contains(name)),
    }
}

/// `2x3x4`, with `:strides` where it is not contiguous.
fn layout(text: &str) -> Layout {
    let numbers = |text: &str, by: char| text.split(by).map(|n| n.parse().unwrap()).collect::<Vec<u64>>();
    match text.split_once(':') {
        Some((shape, strides)) => Layout { shape: numbers(shape, 'x'), strides: numbers(strides, '/') },
        None => Layout::contiguous(&numbers(text, 'x')),
    }
}

fn text(layout: &Layout) -> String {
    let join = |numbers: &[u64], by: &str| numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(by);
    let shape = join(&layout.shape, "x");
    if *layout == Layout::contiguous(&layout.shape) {
        return shape;
    }
    format!("{shape}:{}", join(&layout.strides, "/"))
}
