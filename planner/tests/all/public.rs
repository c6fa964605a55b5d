//! Memory that others measured on real GPUs, beside what is planned: `docs/accuracy.md` opens with it.

use std::fmt::Write as _;

use planner::plan::plan;
use planner::run::{Run, RunOptions};
use serde::Deserialize;

use crate::support::{docs_have, text_of, truth_folder};

/// A published figure, and the run that plans it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Published {
    source: String,
    url: String,
    what: String,
    peak: Peak,
    measured: u64,
    differs: Option<String>,
    run: RunOptions,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Peak {
    Allocated,
    Reserved,
}

/// A row: what was measured where, both figures, and the call that plans it.
fn row(published: &Published) -> String {
    let Published { source, url, what, peak, measured, differs, run: options } = published;
    let opened = options.open().unwrap_or_else(|error| panic!("{source}: {error}"));
    let planned = plan(&opened.model, &opened.run, &opened.gpu).unwrap_or_else(|error| panic!("{source}: {error}"));
    let whole = planned.whole();
    let (word, ours) = match peak {
        Peak::Allocated => ("allocated", whole.peak_allocated.0),
        Peak::Reserved => ("reserved", whole.peak_reserved.0),
    };
    let off = 100.0 * (ours as f64 / *measured as f64 - 1.0);
    let why = differs.as_ref().map_or_else(String::new, |why| format!(": {why}"));
    let flags = opened.run.flags_from(&Run::default());
    let call = format!("memplan plan {} {flags} --gpu {}", opened.model.name, opened.gpu.key);
    format!("| {what} ([{source}]({url})) | {measured} {word} | {ours} | {off:+.3} %{why} | `{call}` |\n")
}

#[test]
fn public_measurements() {
    let text = text_of(&truth_folder().join("public.yaml"));
    let all: Vec<Published> = serde_yaml::from_str(&text).expect("published figures");
    let mut table =
        String::from("| run | measured, bytes | planned | difference | call |\n| --- | ---: | ---: | --- | --- |\n");
    all.iter().for_each(|published| {
        let _ = write!(table, "{}", row(published));
    });
    docs_have("accuracy.md", "public", &table);
}
