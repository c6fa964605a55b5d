//! The tables of accuracy in docs/: `UPDATE_DOCS=1 cargo test --test records docs` writes them anew.

use std::fmt::Write as _;

use planner::bytes::Bytes;

use super::case::{Case, Verdict};

/// Two sets of the same cases, side by side.
fn pairs<'a>(cases: &'a [Case], set: &str) -> impl Iterator<Item = (&'a Case, &'a Case)> {
    let of = |release: &str| {
        let path = format!("{release}/{set}");
        cases.iter().filter(move |case| case.set.path() == path)
    };
    let pairs: Vec<_> = of("2.11")
        .map(|before| (before, of("2.15").find(|now| now.id == before.id).expect("the same cases")))
        .collect();
    pairs.into_iter()
}

/// The 64 cases with 2.11 and with the newest release.
pub fn accuracy(cases: &[Case]) -> String {
    let mut table = String::from(
        "| case | allocated, 2.11 | reserved, 2.11 | events, 2.11 | allocated, 2.15 | reserved, 2.15 | events, 2.15 |\n\
         | --- | ---: | ---: | --- | ---: | ---: | --- |\n",
    );
    for (before, now) in pairs(cases, "truth") {
        let _ = writeln!(table, "| {} | {} | {} |", now.id, figures(before.verdict()), figures(now.verdict()));
    }
    table
}

/// Both peaks and the events of a plan beside a record's.
fn figures(verdict: &Verdict) -> String {
    let show = |(ours, theirs): (Bytes, Bytes)| match ours.0 as i128 - theirs.0 as i128 {
        0 => format!("{} B, exact", ours.0),
        off => format!("{} B, {off:+} B", ours.0),
    };
    let events = match &verdict.stream {
        None => format!("{} the same", verdict.events),
        Some(_) => "differ".to_owned(),
    };
    format!("{} | {} | {events}", show(verdict.peaks[0]), show(verdict.peaks[1]))
}

/// The exports with 2.11 and with the newest release.
pub fn exports(cases: &[Case]) -> String {
    let mut table = String::from(
        "| case | allocated, 2.11 | planned | events | allocated, 2.15 | planned | events |\n\
         | --- | ---: | ---: | --- | ---: | ---: | --- |\n",
    );
    for (before, now) in pairs(cases, "exports") {
        let _ = writeln!(table, "| {} | {} | {} |", now.id, columns(before.verdict()), columns(now.verdict()));
    }
    table
}

/// What the eager model has at its peak, what the plan from the export says of it, and whether the events are the same.
fn columns(verdict: &Verdict) -> String {
    let (ours, theirs) = verdict.peaks[0];
    let shown = if ours == theirs { "exact".to_owned() } else { format!("{:+.3} %", verdict.off()) };
    let events = if verdict.stream.is_some() { "differ" } else { "the same" };
    format!("{} B | {shown} | {events}", theirs.0)
}
