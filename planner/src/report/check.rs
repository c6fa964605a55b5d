//! Checked snapshots: for people, for programs, as JUnit's XML and as annotations of GitHub Actions.

use std::fmt::Write;

use quick_xml::escape::escape;
use serde::Serialize;

use super::SCHEMA;
use super::changes::{self, ComparisonReport};
use super::table::wrapped;
use crate::bytes::Bytes;
use crate::snapshot::{Checked, Found, Kind, Moved, Refusal, Verdict};

/// The verdicts for people: a line a file, and below it what differs.
pub fn text(checked: &[Checked]) -> String {
    let mut text = String::new();
    for file in checked {
        let _ = writeln!(text, "{}", headline(file));
        match &file.found {
            Ok(found) if found.verdict != Verdict::Same => text.push_str(&details(found)),
            Ok(_) => {}
            Err((_, error)) => text.push_str(&wrapped(error, "  ", "  ")),
        }
    }
    if checked.len() > 1 {
        let _ = writeln!(text, "\n{}", counts(checked));
    }
    text
}

/// `memplan/gpt2.yaml: grew: 5.40 GiB reserved, 360.00 MiB more (+6.9 %)`
fn headline(file: &Checked) -> String {
    let path = file.path.display();
    let Ok(found) = &file.found else { return format!("{path}: {}", file.words()) };
    let change = match headline_peak(found) {
        Some(peak) => format!(": {}", sentence(peak)),
        None => String::new(),
    };
    format!("{path}: {}{change}", file.words())
}

/// The peak that decides: reserved, or allocated where that alone changed.
fn headline_peak(found: &Found) -> Option<&Moved> {
    let [allocated, reserved] = &found.comparison.peaks;
    let grows = |peak: &&Moved| peak.change() > 0;
    let changes = |peak: &&Moved| peak.change() != 0;
    [reserved, allocated].into_iter().find(grows).or_else(|| [reserved, allocated].into_iter().find(changes))
}

/// `5.40 GiB reserved, 360.00 MiB more (+6.9 %)`
fn sentence(peak: &Moved) -> String {
    let more = if peak.change() > 0 { "more" } else { "less" };
    format!("{} {}, {} {more}{}", peak.after.bytes(), peak.name, changes::size(peak.change()), changes::share(peak))
}

fn details(found: &Found) -> String {
    let mut text = String::new();
    if found.is_other_version() {
        text.push_str("  planned by another version, see program and spec: what differs may come from there\n");
    }
    text.push_str(&changes::facts(&found.comparison, "  "));
    text.push_str(&changes::moves(&found.comparison, ["kept", "now"], "  "));
    text
}

/// `1 grew, 2 same`
fn counts(checked: &[Checked]) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for file in checked {
        match counts.iter_mut().find(|(words, _)| *words == file.words()) {
            Some((_, count)) => *count += 1,
            None => counts.push((file.words(), 1)),
        }
    }
    counts.iter().map(|(words, count)| format!("{count} {words}")).collect::<Vec<_>>().join("; ")
}

/// What grew most, by kind: `category saved activations, module transformer.h.[0-11].mlp`. Where the peak of allocated memory
/// is as it was, what was alive then says nothing: the most at any one time does.
fn culprits(found: &Found) -> String {
    let [allocated, _] = &found.comparison.peaks;
    let kinds = match allocated.change() > 0 {
        true => &[Kind::Category, Kind::Module, Kind::Tensor, Kind::Phase][..],
        false => &[Kind::MostOfCategory, Kind::MostOfModule, Kind::Phase],
    };
    let most = kinds.iter().filter_map(|kind| {
        let grown = found.comparison.moved.iter().filter(|moved| moved.kind == *kind && moved.change() > 0);
        grown.max_by_key(|moved| moved.change())
    });
    most.map(|moved| format!("{} {}", moved.kind.word(), moved.name)).collect::<Vec<_>>().join(", ")
}

/// A message of one line: what grew, by how much, and where.
fn message(file: &Checked) -> String {
    match &file.found {
        Ok(found) => {
            let peak = headline_peak(found).map_or_else(String::new, |peak| format!(": {}", sentence(peak)));
            let culprits = if found.verdict.passes() { String::new() } else { culprits(found) };
            let most = if culprits.is_empty() { String::new() } else { format!("; most in {culprits}") };
            let other = if found.is_other_version() {
                "; planned by another version of the program or of its specs"
            } else {
                ""
            };
            format!("{}{peak}{most}{other}", file.words())
        }
        Err((_, error)) => format!("{}: {}", file.words(), error.replace('\n', " ")),
    }
}

/// `memplan check --format json`.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "the keys explain themselves")]
pub struct CheckReport {
    pub schema: u32,
    pub snapshots: Vec<CheckedReport>,
}

/// What became of a file.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[serde(untagged)]
#[expect(missing_docs, reason = "the types say it")]
pub enum Status {
    Found(Verdict),
    Refused(Refusal),
}

/// A checked file for programs.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "the keys explain themselves")]
pub struct CheckedReport {
    pub file: String,
    /// The verdict, or why there is none.
    pub status: Status,
    pub passes: bool,
    /// Whether another program or other specs planned now.
    pub other_version: bool,
    pub peak_allocated: Option<Bytes>,
    pub peak_reserved: Option<Bytes>,
    pub comparison: Option<ComparisonReport>,
    pub error: Option<String>,
}

/// The verdicts for programs.
pub fn json(checked: &[Checked]) -> CheckReport {
    let report = |file: &Checked| {
        let found = file.found.as_ref().ok();
        CheckedReport {
            file: file.path.display().to_string(),
            status: match &file.found {
                Ok(found) => Status::Found(found.verdict),
                Err((refusal, _)) => Status::Refused(*refusal),
            },
            passes: file.passes(),
            other_version: found.is_some_and(|found| found.is_other_version()),
            peak_allocated: found.map(|found| found.now.peaks.allocated),
            peak_reserved: found.map(|found| found.now.peaks.reserved),
            comparison: found.map(|found| changes::report(&found.comparison)),
            error: file.found.as_ref().err().map(|(_, error)| error.clone()),
        }
    };
    CheckReport { schema: SCHEMA, snapshots: checked.iter().map(report).collect() }
}

/// The verdicts as JUnit's XML: a test case a file.
pub fn junit(checked: &[Checked]) -> String {
    let failures = checked.iter().filter(|file| file.found.is_ok() && !file.passes()).count();
    let errors = checked.iter().filter(|file| file.found.is_err()).count();
    let totals = format!("tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\"", checked.len());
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(xml, "<testsuites {totals}>\n  <testsuite name=\"memplan check\" {totals}>");
    for file in checked {
        let name = plain(&file.path.display().to_string());
        let _ = write!(xml, "    <testcase classname=\"memplan\" name=\"{name}\"");
        let element = if file.found.is_err() { "error" } else { "failure" };
        if file.passes() {
            xml.push_str("/>\n");
            continue;
        }
        let body = file.found.as_ref().map_or_else(|(_, error)| error.clone(), |found| details(found));
        let _ = writeln!(
            xml,
            ">\n      <{element} type=\"{}\" message=\"{}\">{}</{element}>\n    </testcase>",
            plain(file.words()),
            plain(&message(file)),
            plain(&body)
        );
    }
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}

/// Text for XML, which has no place for most control characters.
fn plain(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
    escape(text).into_owned()
}

/// The verdicts as annotations of GitHub Actions: errors where a check fails, notices where something changed.
pub fn github(checked: &[Checked]) -> String {
    let line = |file: &Checked| {
        let level = match &file.found {
            Ok(found) if found.verdict == Verdict::Same => return None,
            _ if file.passes() => "notice",
            _ => "error",
        };
        let path = data(&file.path.display().to_string()).replace(':', "%3A").replace(',', "%2C");
        Some(format!("::{level} file={path},title=memplan check::{}\n", data(&message(file))))
    };
    checked.iter().filter_map(line).collect()
}

/// Text within a workflow command (github.com/actions/toolkit, packages/core/src/command.ts, `escapeData`).
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}
