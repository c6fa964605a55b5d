//! Every row of tests/truth/kernels: what the allocator saw in PyTorch 2.11, and of kernels/torch-2.15, against the functions of
//! `lower::kernels`.
//!
//! The files' notation: an event is n (n bytes were allocated) or -k (the k-th allocation of the row was freed).
//! `KERNEL_TRUTH=DIR` compares longer recordings of the same form.

use planner::dtype::Dtype;
use planner::lower::device::Device;
use planner::lower::kernels::cub::Width;
use planner::lower::kernels::embedding;
use planner::lower::kernels::facts;
use planner::lower::kernels::foreach::{self, Norms};
use planner::lower::kernels::layer_norm;
use planner::lower::kernels::layout::Layout;
use planner::lower::kernels::reduce::{self, Reduction};
use planner::lower::kernels::sort;
use planner::lower::kernels::step::Step;
use planner::versions::{Release, Rules, Versions};
use std::path::Path;

const DEVICES: [(&str, (u32, u32), u64, u64); 6] = [
    ("h200", (9, 0), 132, 2048),
    ("h100", (9, 0), 132, 2048),
    ("a100-80gb", (8, 0), 108, 2048),
    ("a100-40gb", (8, 0), 108, 2048),
    ("rtx4090", (8, 9), 128, 1536),
    ("rtx3090", (8, 6), 82, 1536),
];

/// A row of a file and the release that it was recorded with.
struct Row<'a> {
    columns: Vec<&'a str>,
    rules: Rules,
}

impl<'a> std::ops::Index<usize> for Row<'a> {
    type Output = &'a str;

    fn index(&self, column: usize) -> &&'a str {
        &self.columns[column]
    }
}

impl Row<'_> {
    /// The GPU of the first column.
    fn device(&self) -> Device {
        let (_, compute_capability, multiprocessors, threads_per_multiprocessor) =
            DEVICES.into_iter().find(|device| device.0 == self[0]).expect(self[0]);
        Device { compute_capability, multiprocessors, threads_per_multiprocessor, rules: self.rules }
    }
}

/// The folders of recordings within tests/truth/kernels, with the release that each was made with.
const RECORDED: [(&str, Release); 2] = [("", Release::new(2, 11)), ("torch-2.15", Release::new(2, 15))];

/// Compares every row of a file: all columns but the last are given to `predict`, the last is the truth.
fn check(file: &str, predict: impl Fn(&Row) -> Vec<i64>) {
    let built_in = || format!("{}/../tests/truth/kernels", env!("CARGO_MANIFEST_DIR"));
    let folder = std::env::var("KERNEL_TRUTH").unwrap_or_else(|_| built_in());
    for (release, torch) in RECORDED {
        let rules = Rules::of(Versions { torch, ..Versions::default() });
        check_release(&Path::new(&folder).join(release).join(file), rules, &predict);
    }
}

fn check_release(path: &Path, rules: Rules, predict: impl Fn(&Row) -> Vec<i64>) {
    let rows = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut wrong = Vec::new();
    for row in rows.lines().filter(|row| !row.starts_with('#')) {
        let (question, answer) = row.rsplit_once(',').expect(row);
        let row = Row { columns: question.split(',').collect(), rules };
        let predicted = predict(&row).iter().map(i64::to_string).collect::<Vec<_>>().join(" ");
        if predicted != answer {
            wrong.push(format!("{question}\n    PyTorch {answer}\n    planner {predicted}"));
        }
    }
    let (count, shown) = (rows.lines().count(), wrong[..wrong.len().min(20)].join("\n"));
    let path = path.display();
    assert!(count > 0, "{path} is empty");
    assert!(wrong.is_empty(), "{} of {count} rows of {path} differ, e.g.\n{shown}", wrong.len());
}

/// Outputs that come first, and then steps, in the files' notation.
fn events(outputs: &[u64], steps: &[Step]) -> Vec<i64> {
    let mut events: Vec<i64> = outputs.iter().filter(|&&bytes| bytes > 0).map(|&bytes| bytes as i64).collect();
    let (mut count, mut temporaries) = (events.len() as i64, Vec::<i64>::new());
    for step in steps {
        if let Step::Free(number) = *step {
            events.push(-temporaries[number]);
            continue;
        }
        count += 1;
        match *step {
            Step::Allocate(bytes) => {
                temporaries.push(count);
                events.push(bytes as i64);
            }
            Step::Output(bytes) => events.push(bytes as i64),
            Step::Free(_) => {}
        }
    }
    events
}

fn numbers<T: std::str::FromStr>(joined: &str) -> Vec<T> {
    joined.split('x').filter_map(|n| n.parse().ok()).collect()
}

/// What an operator of reduce.csv computes, its output's dtype, and bytes of an element of a second output.
fn reduction(op: &str, input: Dtype) -> (Reduction, Dtype, u64) {
    let sum = if input.is_floating() { input } else { Dtype::I64 };
    match op {
        "sum" => (Reduction::Sum, sum, 0),
        "prod" => (Reduction::Product, sum, 0),
        "mean" => (Reduction::Mean, input, 0),
        "sum-float32" => (Reduction::Sum, Dtype::F32, 0),
        "mean-float32" => (Reduction::Mean, Dtype::F32, 0),
        "amax" => (Reduction::Extreme, input, 0),
        "max" => (Reduction::ExtremeOfAll, input, 0),
        "max-dim" => (Reduction::ExtremeWithIndex, input, 8),
        "argmax" => (Reduction::Argument, Dtype::I64, 0),
        "any" | "all" => (Reduction::Logical, if input == Dtype::U8 { Dtype::U8 } else { Dtype::Bool }, 0),
        "norm-float32" => (Reduction::Norm, Dtype::F32, 0),
        "norm" | "norm-1" | "norm-inf" => (Reduction::Norm, input, 0),
        "var" => (Reduction::Variance, input, 0),
        _ => panic!("unknown {op}"),
    }
}

#[test]
fn reductions_allocate_what_pytorch_does() {
    check("reduce.csv", |row| {
        let layout = Layout { shape: numbers(row[3]), strides: numbers(row[4]), offset: row[5].parse().unwrap() };
        let input = Dtype::named(row[2]).unwrap();
        let reduced: Vec<bool> = row[6].chars().map(|c| c == 'r').collect();
        let (kind, output, second) = reduction(row[1], input);
        let kept: u64 = layout.shape.iter().zip(&reduced).filter(|(_, on)| !**on).map(|(n, _)| n).product();
        let steps = reduce::scratch(&row.device(), kind, &layout, input, &reduced, output);
        events(&[kept * output.size(), kept * second], &steps)
    });
}

#[test]
fn gradients_of_embeddings_allocate_what_pytorch_does() {
    check("embedding.csv", |row| {
        let number = |at: usize| row[at].parse().expect(row[at]);
        let call = embedding::Gradient {
            index_width: if row[2] == "int64" { Width::Eight } else { Width::Four },
            scale_by_frequency: row[7].contains("freq"),
            gradient_is_contiguous: !row[7].contains("grad"),
            indices_are_contiguous: !row[7].contains("indices"),
            ..embedding::Gradient::new(number(3), number(4), number(5), Dtype::named(row[1]).expect(row[1]))
        };
        events(&[], &embedding::backward(&row.device(), &call))
    });
}

#[test]
fn gradients_of_norms_allocate_what_pytorch_does() {
    check("layer_norm.csv", |row| {
        let number = |at: usize| row[at].parse().expect(row[at]);
        let mut wanted = [false; 3];
        wanted.iter_mut().zip(row[5].chars()).for_each(|(on, letter)| *on = letter == 'y');
        let dtype = Dtype::named(row[2]).expect(row[2]);
        let call = layer_norm::Backward {
            gradient_is_contiguous: !row[6].contains("grad"),
            input_is_contiguous: !row[6].contains("input"),
            ..layer_norm::Backward::new(number(3), number(4), dtype, wanted)
        };
        events(&[], &layer_norm::backward(&row.device(), &call))
    });
}

#[test]
fn norms_of_lists_allocate_what_pytorch_does() {
    check("foreach.csv", |row| {
        let (dtype, sizes) = (Dtype::named(row[2]).expect(row[2]), numbers::<u64>(row[3]));
        let steps = match row[1] {
            "norm" => foreach::norm(row.rules, &sizes, dtype),
            "clip" => foreach::clip_grad_norm(&row.device(), &sizes, dtype, Norms::Foreach),
            _ => foreach::clip_grad_norm(&row.device(), &sizes, dtype, Norms::Each),
        };
        events(&[], &steps)
    });
}

#[test]
fn orders_along_rows_allocate_what_pytorch_does() {
    check("sort.csv", |row| {
        let number = |at: usize| row[at].parse::<u64>().expect(row[at]);
        let (device, dtype, rows, length, k) =
            (row.device(), Dtype::named(row[2]).expect(row[2]), number(3), number(4), number(5));
        match row[1] {
            "sort" => {
                let outputs = [rows * length * dtype.size(), rows * length * 8];
                events(&outputs, &sort::sort(&device, dtype, rows, length).expect(row[2]))
            }
            "topk" => events(&[rows * k * dtype.size(), rows * k * 8], &sort::topk(&device, dtype, rows, length)),
            _ => {
                let output = if dtype.is_floating() { dtype } else { Dtype::I64 };
                events(&[rows * length * output.size()], &sort::cumsum(row.rules, dtype, output, rows, length))
            }
        }
    });
}

#[test]
fn further_gradients_allocate_what_pytorch_does() {
    check("facts.csv", |row| {
        let (device, dtype, n) = (row.device(), Dtype::named(row[2]).expect(row[2]), numbers::<u64>(row[3]));
        match row[1] {
            "softmax" => events(&[], &facts::softmax_backward(n[0] * n[1], dtype, dtype)),
            "softmax-float32" => events(&[], &facts::softmax_backward(n[0] * n[1], Dtype::F32, dtype)),
            "group-norm" => events(&[], &facts::group_norm_backward(row.rules, [n[0], n[1], n[2], n[3]], dtype)),
            _ => {
                let output = n[1] * n[2] * n[3] * dtype.size();
                let positions = if row[1] == "index-1" { n[1] } else { n[1] * n[2] };
                let tensors = if row[1] == "index-1" { 1 } else { 2 };
                events(&[output], &facts::index_put_accumulate(&device, n[0], tensors, positions))
            }
        }
    });
}
