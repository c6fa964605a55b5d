//! What differs between two snapshots, for people and for programs.

use serde::Serialize;

use super::SCHEMA;
use super::table::{Align, table, wrapped};
use crate::bytes::Bytes;
use crate::snapshot::{Comparison, Fact, Held, Kind, Moved, Snapshot};
use crate::words::quote;

use Align::{Left, Right};

/// How many changes of each kind people are shown.
const SHOWN: usize = 5;
/// The characters that a name has before it goes on below.
const NAME: usize = 34;

/// `memplan diff`: what differs and why.
pub fn text((before, after): (&Snapshot, &Snapshot), comparison: &Comparison) -> String {
    let [_, reserved] = &comparison.peaks;
    let name = |snapshot: &Snapshot| snapshot.run.model.clone().unwrap_or_default();
    let verdict = match reserved.change() {
        0 => format!("the same: {} reserved", reserved.after.bytes()),
        change => {
            let more = if change > 0 { "more" } else { "less" };
            format!(
                "{} reserved, {} {more} than {}{}",
                reserved.after.bytes(),
                size(change),
                reserved.before.bytes(),
                share(reserved)
            )
        }
    };
    let mut text = format!("{} -> {}\n{verdict}\n", name(before), name(after));
    for part in [facts(comparison, ""), moves(comparison, ["before", "after"], "")] {
        if !part.is_empty() {
            text.push('\n');
            text.push_str(&part);
        }
    }
    text
}

/// The facts that differ: `batch: 2 -> 4`.
pub(super) fn facts(comparison: &Comparison, indent: &str) -> String {
    let shown = |value: &str| if value.is_empty() { "-".to_owned() } else { quote::cut(value) };
    let line = |fact: &Fact| {
        let words = format!("{}: {} -> {}", fact.what, shown(&fact.before), shown(&fact.after));
        wrapped(&words, indent, &format!("{indent}  "))
    };
    let lines = comparison.run.iter().chain(&comparison.facts).map(line);
    // what stands before the first word is the indent alone
    lines.map(|line| format!("{indent}{}", line.trim_start())).collect()
}

/// The peaks, and the bytes that differ, a line each; the longest names go on below.
pub(super) fn moves(comparison: &Comparison, columns: [&str; 2], indent: &str) -> String {
    let head = ["change", columns[0], columns[1], ""].map(str::to_owned);
    let mut rows = vec![head];
    let mut left_out = 0;
    let mut number = (Kind::Peak, 0);
    for moved in comparison.peaks.iter().chain(told(comparison)) {
        number = if number.0 == moved.kind { (moved.kind, number.1 + 1) } else { (moved.kind, 1) };
        if number.1 > SHOWN {
            left_out += 1;
            continue;
        }
        rows.extend(row(moved));
    }
    let lines = table([Right, Right, Right, Left], &rows);
    let lines: String = lines.lines().map(|line| format!("{indent}{line}\n")).collect();
    match left_out {
        0 => lines,
        1 => format!("{lines}{indent}and one smaller change\n"),
        _ => format!("{lines}{indent}and {left_out} smaller changes\n"),
    }
}

/// The changes that people are told of: the most at any one time where what was alive at the peak does not say enough, because
/// the peak of allocated memory went another way than that of reserved memory.
fn told(comparison: &Comparison) -> impl Iterator<Item = &Moved> {
    let [allocated, reserved] = comparison.peaks.each_ref().map(|peak| peak.change().signum());
    let enough = allocated == reserved && allocated != 0;
    let is_most = |moved: &Moved| matches!(moved.kind, Kind::MostOfCategory | Kind::MostOfModule);
    comparison.moved.iter().filter(move |moved| !(enough && is_most(moved)))
}

fn row(moved: &Moved) -> Vec<[String; 4]> {
    let held = |held: Held| match held {
        Held::Exactly(bytes) => bytes.to_string(),
        Held::AtMost(bytes) => format!("<={bytes}"),
    };
    let least = match (moved.before, moved.after) {
        (Held::Exactly(_), Held::Exactly(_)) => "",
        _ => ">=",
    };
    let change = match moved.change() {
        0 => "0 B".to_owned(),
        change => format!("{least}{}{}", if change > 0 { "+" } else { "-" }, size(change)),
    };
    let name = format!("{} {}", moved.kind.word(), quote::cut(&moved.name));
    let (name, rest) = match name.split_once(": ") {
        _ if name.chars().count() <= NAME => (name, None),
        Some((module, tensor)) => (format!("{module}:"), Some(tensor.to_owned())),
        None => (moved.kind.word().to_owned(), Some(quote::cut(&moved.name))),
    };
    let first = [change, held(moved.before), held(moved.after), name];
    let empty = String::new;
    std::iter::once(first).chain(rest.map(|rest| [empty(), empty(), empty(), rest])).collect()
}

/// The size of a change.
pub(super) fn size(change: i128) -> Bytes {
    Bytes(u64::try_from(change.unsigned_abs()).unwrap_or(u64::MAX))
}

/// ` (+6.9 %)`
pub(super) fn share(moved: &Moved) -> String {
    let percent = 100.0 * moved.change() as f64 / moved.before.bytes().0.max(1) as f64;
    format!(" ({percent:+.1} %)")
}

/// `memplan diff --format json`.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "as in the comparison")]
pub struct DiffReport {
    pub schema: u32,
    #[serde(flatten)]
    pub comparison: ComparisonReport,
}

/// A comparison for programs.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "as in the comparison")]
pub struct ComparisonReport {
    pub run: Vec<FactReport>,
    pub facts: Vec<FactReport>,
    pub peaks: Vec<MovedReport>,
    pub moved: Vec<MovedReport>,
}

/// Something in words that differs.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "as in the comparison")]
pub struct FactReport {
    pub what: String,
    pub before: String,
    pub after: String,
}

/// Bytes that differ; `before_is_bound` and `after_is_bound` where a snapshot does not list them: so many at most.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "as in the comparison")]
pub struct MovedReport {
    pub kind: Kind,
    pub name: String,
    pub before: Bytes,
    pub after: Bytes,
    pub before_is_bound: bool,
    pub after_is_bound: bool,
}

/// The differences in the form that is written out.
pub fn json(comparison: &Comparison) -> DiffReport {
    DiffReport { schema: SCHEMA, comparison: report(comparison) }
}

/// A comparison in the form that is written out.
pub(super) fn report(comparison: &Comparison) -> ComparisonReport {
    let fact =
        |fact: &Fact| FactReport { what: fact.what.clone(), before: fact.before.clone(), after: fact.after.clone() };
    let moved = |moved: &Moved| MovedReport {
        kind: moved.kind,
        name: moved.name.clone(),
        before: moved.before.bytes(),
        after: moved.after.bytes(),
        before_is_bound: matches!(moved.before, Held::AtMost(_)),
        after_is_bound: matches!(moved.after, Held::AtMost(_)),
    };
    ComparisonReport {
        run: comparison.run.iter().map(fact).collect(),
        facts: comparison.facts.iter().map(fact).collect(),
        peaks: comparison.peaks.iter().map(moved).collect(),
        moved: comparison.moved.iter().map(moved).collect(),
    }
}
