//! The event stream that `--events` writes.

use std::fs;

use serde_json::Value;

use crate::support::{Folder, assert_snapshot, call, json_of};

#[test]
fn events_are_written_a_line_each_with_what_let_go_of_memory() {
    let folder = Folder::new();
    let path = folder.argument("events.json");
    call(&["plan", "gpt2", "--mode", "infer", "--batch", "1", "--seq", "128", "--steps", "1", "--events", &path]);
    let text = fs::read_to_string(&path).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    let mut live: Vec<Option<u64>> = Vec::new();
    for event in json["events"].as_array().unwrap() {
        if let Some(bytes) = event["alloc"].as_u64() {
            live.push(Some(bytes));
        }
        if let Some(freed) = event["free"].as_u64() {
            assert!(live[usize::try_from(freed).unwrap()].take().is_some(), "{event}");
            assert_eq!(event.as_object().unwrap().len(), 2, "{event}: what let go is said");
        }
    }
    let end = json["phases"].as_array().unwrap().last().unwrap();
    assert_eq!(end["allocations"], live.len());
    assert_eq!(end["requested"], live.iter().flatten().sum::<u64>());
    let lines: Vec<&str> = text.lines().collect();
    let begin = lines.iter().position(|line| line.starts_with("\"events\"")).unwrap();
    let events = &lines[begin..];
    let shown = [&events[1..4], &events[150..172], &events[events.len() - 4..]].concat();
    assert_snapshot("events", &without_lines(&shown.join("\n")));
    assert_eq!(fs::read_dir(folder.join("")).unwrap().count(), 1);
}

/// Shipped specs grow: where in them a line stands is not what these snapshots are about.
fn without_lines(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    for mark in std::iter::repeat(["\"place\":", "\"python\":", ".yaml:"]) {
        let Some((at, mark)) = mark.iter().filter_map(|mark| Some((rest.find(mark)?, mark))).min() else { break };
        let (before, after) = rest.split_at(at + mark.len());
        shown.push_str(before);
        shown.push('N');
        rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    shown + rest
}

#[test]
fn a_file_that_cannot_be_written_is_named_and_nothing_is_left() {
    let folder = Folder::new();
    let path = folder.argument("missing/events.json");
    let error = folder.error("no such folder", &["plan", "gpt2", "--events", &path]);
    let busy = folder.argument("busy");
    fs::create_dir(folder.join("busy")).unwrap();
    let error = error + &folder.error("a folder", &["plan", "gpt2", "--events", &busy]);
    assert_snapshot("errors_events", &error);
    assert_eq!(fs::read_dir(folder.join("")).unwrap().count(), 1);
}

/// A plan's trace in a file is replayed, drawn, packed and asked about as the plan itself is.
#[test]
fn a_trace_from_a_file_is_as_good_as_its_plan() {
    let folder = Folder::new();
    let trace = folder.argument("run.trace");
    let run = ["--batch", "2", "--seq", "64", "--capacity", "4GiB"];
    let plan = json_of(&[&["plan", "distilgpt2"], &run[..], &["--events", &trace, "--format", "json"]].concat());
    let replayed = json_of(&["replay", &trace, "--format", "json"]);
    for key in ["peak_allocated", "peak_reserved", "capacity", "headroom", "at_peak", "fits"] {
        assert_eq!(replayed[key], plan[key], "{key}");
    }
    let (again, text) =
        (folder.report(&["replay", &trace]), folder.report(&[&["plan", "--full", "distilgpt2"], &run[..]].concat()));
    let peaks =
        |text: &str| text.lines().skip_while(|line| !line.starts_with("step ")).skip(1).map(str::to_owned).collect();
    let (again, text): (Vec<String>, Vec<String>) = (peaks(&again), peaks(&text));
    let phases = again.iter().position(|line| line.starts_with("at the peak")).unwrap();
    assert!(again[phases..].iter().all(|line| text.contains(line)), "{again:#?}");
    for form in ["svg", "json"] {
        let (of_plan, of_trace) = (folder.argument(&format!("a.{form}")), folder.argument(&format!("b.{form}")));
        folder.report(&[&["report", "distilgpt2"], &run[..], &["-o", &of_plan]].concat());
        folder.report(&["report", &trace, "-o", &of_trace]);
        let (a, b) = (fs::read_to_string(of_plan).unwrap(), fs::read_to_string(of_trace).unwrap());
        if form == "svg" {
            assert_eq!(a, b);
        }
        assert!(b.len() > 1000);
    }
    let tensor = "addmm of transformer.h.5.mlp.c_fc";
    let told = |report: String| report.split_once('\n').unwrap().1.to_owned();
    let why = folder.report(&["why", &trace, "--tensor", tensor]);
    let planned = folder.report(&[&["why", "distilgpt2"], &run[..], &["--tensor", tensor]].concat());
    assert_eq!(told(why.clone()), told(planned));
    assert_snapshot("why", &without_lines(&why));
    let smaller = call(&["replay", &trace, "--capacity", "1GiB", "--format", "json"]);
    assert_eq!(smaller.status.code(), Some(1));
    let expandable = ["--allocator", "expandable_segments:True"];
    let moved = json_of(&[&["replay", &trace], &expandable[..], &["--gpu", "t4", "--format", "json"]].concat());
    let planned = |more: &[&str]| json_of(&[&["plan", "distilgpt2"], &run[..4], more, &["--format", "json"]].concat());
    assert_eq!(moved["peak_reserved"], planned(&expandable)["peak_reserved"]);
    assert_eq!(moved["capacity"], planned(&["--gpu", "t4"])["capacity"]);
    let packed = |what: &[&str]| json_of(&[&["pack"], what, &["--time-limit", "1s", "--format", "json"]].concat());
    let (of_trace, of_plan) = (packed(&[&trace]), packed(&[&["distilgpt2"], &run[..4]].concat()));
    assert_eq!(of_trace["lower_bound"], of_plan["lower_bound"]);
    let errors = [
        folder.error("no tensor of that name", &["why", &trace, "--tensor", "addmm of transformer.h.5.mlp.c_fx"]),
        folder.error("an option of plans alone", &["fit", &trace, "--batch", "4"]),
        folder.error("no such trace", &["replay", "none.trace"]),
    ];
    assert_snapshot("errors_traces", &errors.concat());
}

/// A trace is kept, checked, compared, fitted and shown as a page, as its plan is.
#[test]
fn a_trace_from_a_file_is_kept_compared_fitted_and_shown() {
    let folder = Folder::new();
    let trace = folder.argument("run.trace");
    let run = ["--batch", "2", "--seq", "64"];
    let plan = json_of(&[&["plan", "distilgpt2"], &run[..], &["--events", &trace, "--format", "json"]].concat());

    let same = json_of(&["diff", &trace, &trace, "--format", "json"]);
    assert_eq!(same["moved"], serde_json::json!([]), "{same}");
    let (kept, of_plan) = (folder.argument("kept.yaml"), folder.argument("plan.yaml"));
    folder.report(&["snapshot", &trace, "-o", &kept]);
    folder.report(&[&["snapshot", "distilgpt2"], &run[..], &["-o", &of_plan]].concat());
    let both = json_of(&["diff", &kept, &of_plan, "--format", "json"]);
    assert_eq!(both["moved"], serde_json::json!([]), "{both}");
    assert!(both["peaks"].as_array().unwrap().iter().all(|peak| peak["before"] == peak["after"]), "{both}");
    assert_eq!(call(&["check", &kept]).status.code(), Some(0));
    folder.report(&[&["plan", "distilgpt2"], &["--batch", "8", "--seq", "512"][..], &["--events", &trace]].concat());
    assert_eq!(call(&["check", &kept]).status.code(), Some(1), "what the file holds grew");
    folder.report(&[&["plan", "distilgpt2"], &run[..], &["--events", &trace]].concat());

    let fitted = json_of(&["fit", &trace, "--gpu", "t4,h200", "--format", "json"]);
    let of_plans = json_of(&[&["fit", "distilgpt2"], &run[..], &["--gpu", "t4,h200", "--format", "json"]].concat());
    for key in ["gpu", "capacity", "fits"] {
        for row in 0..2 {
            assert_eq!(fitted["rows"][row][key], of_plans["rows"][row][key], "{key}");
        }
    }
    assert_eq!(fitted["rows"][1]["peak_reserved"], plan["peak_reserved"]);
    assert_snapshot("fit_trace", &folder.report(&["fit", &trace, "--gpu", "t4,h200"]));

    let (page, plans_page) = (folder.argument("trace.html"), folder.argument("plan.html"));
    folder.report(&["report", &trace, "--against", &trace, "-o", &page]);
    folder.report(&[&["report", "distilgpt2"], &run[..], &["-o", &plans_page]].concat());
    let data = |page: &str| -> serde_json::Value {
        let text = fs::read_to_string(page).unwrap();
        let data = text.split_once("id=\"data\">").unwrap().1.split_once("</script>").unwrap().0;
        serde_json::from_str(data).unwrap()
    };
    let (of_trace, of_plan) = (data(&page), data(&plans_page));
    for key in ["samples", "alive", "groups", "phases", "modules", "tensors", "segments"] {
        assert_eq!(of_trace["plan"][key], of_plan["plan"][key], "{key}");
    }
    assert_eq!(of_trace["against"]["samples"], of_plan["plan"]["samples"]);
}
