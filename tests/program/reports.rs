//! `memplan report`: pictures, traces and pages that validate; what cannot be written.

use std::fs;

use serde_json::Value;

use crate::support::{Folder, assert_snapshot, call, json_of};

fn written(folder: &Folder, name: &str, run: &[&str]) -> Vec<u8> {
    let path = folder.argument(name);
    let output = call(&[&["report"], run, &["-o", &path]].concat());
    assert!(matches!(output.status.code(), Some(0 | 1)), "{run:?}");
    fs::read(path).unwrap()
}

#[test]
fn a_picture_is_svg_that_parses() {
    let folder = Folder::new();
    let svg = String::from_utf8(written(&folder, "plan.svg", &["gpt2", "--batch", "2"])).unwrap();
    let document = roxmltree::Document::parse(&svg).unwrap();
    let peak = json_of(&["plan", "gpt2", "--batch", "2", "--format", "json"])["peak_allocated"].as_u64().unwrap();
    let peak = format!("peak {:.2} GiB", peak as f64 / (1_u64 << 30) as f64);
    assert!(document.descendants().any(|node| node.text() == Some(&peak)), "{peak}");
    let areas = document.descendants().filter(|node| node.has_tag_name("path") && node.has_attribute("fill"));
    assert!(areas.count() > 4);
}

#[test]
fn a_picture_as_png_has_letters_and_areas() {
    let folder = Folder::new();
    let png = written(&folder, "plan.png", &["resnet18", "--batch", "2"]);
    let image = resvg::tiny_skia::Pixmap::decode_png(&png).unwrap();
    assert_eq!((image.width(), image.height()), (2000, 920));
    let dark = |y: u32| (0..image.width()).filter(|x| image.pixel(*x, y).is_some_and(|pixel| pixel.red() < 90)).count();
    assert!((30..50).map(dark).sum::<usize>() > 100, "the title's letters");
    let parameters =
        image.pixels().iter().filter(|pixel| (pixel.red(), pixel.green(), pixel.blue()) == (0x44, 0x77, 0xaa));
    assert!(parameters.count() > 1000);
}

#[test]
fn a_trace_has_counters_and_slices_that_nest() {
    let folder = Folder::new();
    let trace: Value =
        serde_json::from_slice(&written(&folder, "plan.json", &["gpt2", "--checkpoint", "full"])).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let counter = |name: &'static str| events.iter().filter(move |event| event["ph"] == "C" && event["name"] == name);
    let most = counter("allocated").map(|event| event["args"]["bytes"].as_u64().unwrap()).max();
    let plan = json_of(&["plan", "gpt2", "--checkpoint", "full", "--format", "json"]);
    assert_eq!(most, plan["peak_allocated"].as_u64());
    assert!(counter("saved activations").count() > 100);
    let figure = |slice: &Value, key: &str| slice[key].as_u64().unwrap();
    for row in [1, 2, 3] {
        let slices = events.iter().filter(|event| event["ph"] == "X" && event["tid"] == row);
        let mut spans: Vec<(u64, u64)> =
            slices.map(|slice| (figure(slice, "ts"), figure(slice, "ts") + figure(slice, "dur"))).collect();
        assert!(spans.len() > 10, "{row}");
        spans.sort_by_key(|(from, to)| (*from, std::cmp::Reverse(*to)));
        let mut open: Vec<u64> = Vec::new();
        for (from, to) in spans {
            while open.last().is_some_and(|end| *end <= from) {
                open.pop();
            }
            assert!(open.last().is_none_or(|end| *end >= to), "{row}: {from} to {to} within {open:?}");
            open.push(to);
        }
    }
    let backward = events.iter().any(|event| event["tid"] == 3 && event["name"] == "transformer.h.3.mlp.c_fc");
    assert!(backward);
}

#[test]
fn a_page_holds_its_plan_and_nothing_from_elsewhere() {
    let folder = Folder::new();
    let page = String::from_utf8(written(&folder, "plan.html", &["gpt2", "--mode", "generate", "--new-tokens", "20"]))
        .unwrap();
    assert!(!page.contains("src=") && !page.contains("<link") && !page.contains("url("));
    assert!(["{{title", "{{style", "{{script", "{{data"].iter().all(|place| !page.contains(place)));
    let (_, data) = page.split_once("<script type=\"application/json\" id=\"data\">").unwrap();
    let data: Value = serde_json::from_str(data.split_once("</script>").unwrap().0).unwrap();
    let plan = &data["plan"];
    assert_eq!(
        plan["report"],
        json_of(&["plan", "gpt2", "--mode", "generate", "--new-tokens", "20", "--format", "json"])
    );
    let row = |sample: &Value| sample.as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect::<Vec<_>>();
    let samples: Vec<Vec<u64>> = plan["samples"].as_array().unwrap().iter().map(row).collect();
    assert!(
        samples.iter().all(|sample| sample[3] == sample[5..].iter().sum::<u64>()),
        "categories add up to what is allocated"
    );
    let highest = samples.iter().max_by_key(|sample| sample[3]).unwrap();
    assert_eq!(Some(highest[3]), plan["report"]["peak_allocated"].as_u64());
    assert!(samples.iter().any(|sample| Some(sample[2]) == plan["peak"].as_u64() && sample[1] == sample[0] + 1));
    assert_eq!(samples.iter().map(|sample| sample[4]).max(), plan["report"]["peak_reserved"].as_u64());
    let blocks = plan["segments"].as_array().unwrap().iter().flat_map(|segment| segment["blocks"].as_array().unwrap());
    let used: u64 = blocks.filter(|block| block[2] == "used").map(|block| block[0].as_u64().unwrap()).sum();
    assert_eq!(used, highest[3]);
}

#[test]
fn a_page_beside_another_says_what_differs() {
    let folder = Folder::new();
    folder.write("before.yaml", "model: gpt2\nbatch: 1\n");
    let page = String::from_utf8(written(
        &folder,
        "plan.html",
        &["gpt2", "--batch", "2", "--against", &folder.argument("before.yaml")],
    ));
    assert!(page.unwrap().contains("{\"what\":\"batch\",\"before\":\"1\",\"after\":\"2\"}"));
    let page = String::from_utf8(written(&folder, "plan.html", &["gpt2", "--against", "distilgpt2"])).unwrap();
    assert!(page.contains("<title>gpt2: train") && page.contains("\"title\":\"distilgpt2: train"));
    assert!(page.contains("{\"what\":\"model\",\"before\":\"distilgpt2\",\"after\":\"gpt2\"}"));
}

#[test]
fn hostile_names_stay_text() {
    let folder = Folder::new();
    let specs = folder.argument("specs");
    let spec = include_str!("../../specs/models/gpt2.yaml")
        .replace("\n  gpt2: {", "\n  '<script>alert(1)</script>{{data}}': {");
    folder.write("specs/models/mine.yaml", spec);
    let run = ["<script>alert(1)</script>{{data}}", "--specs", &specs];
    let page = String::from_utf8(written(&folder, "plan.html", &run)).unwrap();
    assert!(!page.contains("<script>alert") && page.matches("\"samples\":").count() == 1);
    let svg = String::from_utf8(written(&folder, "plan.svg", &run)).unwrap();
    roxmltree::Document::parse(&svg).unwrap();
}

#[test]
fn mistakes() {
    let folder = Folder::new();
    let errors = [
        folder.error("no file", &["report", "gpt2"]),
        folder.error("no such form", &["report", "gpt2", "-o", "plan.pdf"]),
        folder.error("no folder", &["report", "gpt2", "-o", &folder.argument("none/plan.html")]),
        folder.error("a picture beside another", &["report", "gpt2", "-o", "plan.svg", "--against", "distilgpt2"]),
        folder.error(
            "no such model beside",
            &["report", "gpt2", "-o", &folder.argument("plan.html"), "--against", "gtp2"],
        ),
    ];
    assert_snapshot("errors_report", &errors.concat());
    assert!(!folder.join("plan.html").exists());
}
