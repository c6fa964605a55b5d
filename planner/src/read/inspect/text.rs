//! An inspection as text of at most as many lines as asked for: the tree is shown as deep as that allows.

use super::{Inspection, Module, Total};
use crate::words::quote;

/// One line of the tree.
struct Line {
    label: String,
    total: Total,
}

/// Renders an inspection: totals, dtypes, and the tree, which gets what is left of `most_lines`.
pub fn text(inspection: &Inspection, most_lines: usize) -> String {
    let Inspection { files, total, dtypes, root } = inspection;
    let mut rows = vec![["dtype", "tensors", "parameters", "bytes", ""].map(String::from)];
    rows.extend(dtypes.iter().map(|(dtype, total)| row(dtype.to_string(), total)));
    rows.push(row("total".into(), total));
    rows.push([const { String::new() }; 5]);
    rows.push(["module", "tensors", "parameters", "bytes", ""].map(String::from));
    let room = most_lines.saturating_sub(rows.len() + 2).max(1);
    rows.extend(lines(root, room).into_iter().map(|line| row(line.label, &line.total)));
    let files = if *files == 1 { "1 file".to_string() } else { format!("{files} files") };
    format!(
        "{} parameters in {} tensors, {} bytes ({}), {files}\n\n{}",
        total.parameters,
        total.tensors,
        total.bytes.0,
        total.bytes,
        table(&rows)
    )
}

fn row(label: String, total: &Total) -> [String; 5] {
    let Total { tensors, parameters, bytes } = total;
    [label, tensors.to_string(), parameters.to_string(), bytes.0.to_string(), bytes.to_string()]
}

/// The first column to the left, figures to the right.
fn table(rows: &[[String; 5]]) -> String {
    let mut widths = [0; 5];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let [first, tensors, parameters, bytes, human] = widths;
    let mut text = String::new();
    for [a, b, c, d, e] in rows {
        let line = format!("{a:first$}  {b:>tensors$}  {c:>parameters$}  {d:>bytes$}  {e:>human$}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The tree to the greatest depth at which it has at most `room` lines; if even the top has more, its first ones.
fn lines(root: &Module, room: usize) -> Vec<Line> {
    let mut best = Vec::new();
    for depth in 1.. {
        let mut lines = Vec::new();
        let whole = expand(root, depth, 0, room, &mut lines);
        if lines.len() > room {
            if depth == 1 {
                best = lines;
                cut(root, room, &mut best);
            }
            break;
        }
        best = lines;
        if whole {
            break;
        }
    }
    best
}

/// Adds the lines of all below `module`, to `depth` levels, but stops soon after `room`. Whether all levels were shown.
fn expand(module: &Module, depth: usize, indent: usize, room: usize, lines: &mut Vec<Line>) -> bool {
    let mut whole = true;
    for child in &module.children {
        if lines.len() > room {
            return false;
        }
        let (path, last) = chain(child);
        let shown = depth > 1;
        lines.push(Line { label: label(&path, last, indent, shown), total: last.total });
        whole &= last.children.is_empty() || (shown && expand(last, depth - 1, indent + 1, room, lines));
    }
    whole
}

/// A module together with those below it for as long as each has a single child: `mlp.up_proj.weight`.
fn chain(module: &Module) -> (String, &Module) {
    let (mut path, mut last) = (quote::cut(&module.name), module);
    while let ([child], None) = (&last.children[..], &last.tensor) {
        if last.copies > 1 {
            break;
        }
        path = format!("{path}.{}", quote::cut(&child.name));
        last = child;
    }
    (path, last)
}

fn label(path: &str, module: &Module, indent: usize, shown: bool) -> String {
    let copies = if module.copies > 1 { format!("  x{}", module.copies) } else { String::new() };
    let tensor =
        module.tensor.as_ref().map_or(String::new(), |leaf| format!("  {} {}", leaf.dtype, quote::shape(&leaf.shape)));
    let more = if module.children.is_empty() || shown { "" } else { " ..." };
    format!("{:1$}{path}{copies}{tensor}{more}", "", 2 * indent)
}

/// Replaces the last of `room` lines by the sum of all that have none.
fn cut(root: &Module, room: usize, lines: &mut Vec<Line>) {
    let kept = room.saturating_sub(1);
    let rest = root.children.get(kept..).unwrap_or_default();
    let mut total = Total::default();
    rest.iter().for_each(|module| total.add(module.total));
    lines.truncate(kept);
    lines.push(Line { label: format!("... {} more", rest.len()), total });
}
