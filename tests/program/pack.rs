//! `memplan pack`: packings, what cannot be packed, checks, and what is refused.

use std::fs;

use serde_json::json;

use crate::support::{Folder, assert_snapshot, call, json_of};

/// Loaded with 6 bytes at all times, and packed into 6.
const BUFFERS: &str = "id,lower,upper,size\na,0,3,4\nb,3,9,4\nc,0,9,1\nd,0,6,1\ne,6,9,1\n";

/// What is alive together takes 13 bytes at most, but no packing does with fewer than 14.
const GAP: &str = "\
id,lower,upper,size
0,0,1,3
1,0,1,3
2,0,2,2
3,2,3,1
4,0,3,2
5,1,4,6
6,2,5,1
7,4,5,3
8,3,6,3
9,6,7,3
10,4,7,3
11,0,8,3
12,5,8,4
13,7,8,6
";

fn pack<'a>(buffers: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["pack", buffers], more].concat()
}

#[test]
fn packed_to_the_bound() {
    let folder = Folder::new();
    folder.write("buffers.csv", BUFFERS);
    let (buffers, out) = (folder.argument("buffers.csv"), folder.argument("out.csv"));
    let packed = folder.report(&pack(&buffers, &["--minimize", "-o", &out]));
    let within = folder.report(&pack(&buffers, &["--capacity", "1KiB", "--align", "2"]));
    let valid = folder.report(&["pack", "--validate", &buffers, &out]);
    let written = fs::read_to_string(&out).unwrap();
    assert_snapshot("pack", &[&packed, &within, &valid, "\n# out.csv\n", &written].concat());
}

#[test]
fn what_does_not_fit() {
    let folder = Folder::new();
    folder.write("buffers.csv", BUFFERS);
    folder.write("gap.csv", GAP);
    let (buffers, gap, out) = (folder.argument("buffers.csv"), folder.argument("gap.csv"), folder.argument("out.csv"));
    let reports = [
        folder.report(&pack(&buffers, &["--capacity", "5", "-o", &out])),
        folder.report(&pack(&gap, &["--capacity", "13", "-o", &out])),
        folder.report(&pack(&gap, &["--minimize"])),
    ];
    assert!(!folder.join("out.csv").exists());
    assert_snapshot("pack_does_not_fit", &reports.concat());
}

#[test]
fn the_layout_in_json() {
    let folder = Folder::new();
    folder.write("buffers.csv", "id,start,end,size,offset\na,0,2,8,\nb,1,3,4,8\n");
    let buffers = folder.argument("buffers.csv");
    let fits = json_of(&pack(&buffers, &["--capacity", "12", "--format", "json"]));
    let expected = json!({
        "schema": 1, "status": "optimal (= lower bound)", "fits": true, "buffers": 2, "capacity": 12,
        "lower_bound": 12, "proved_bound": 12, "peak": 12, "gap": 0,
        "layout": [
            { "id": "a", "lower": 0, "upper": 3, "size": 8, "offset": 0 },
            { "id": "b", "lower": 1, "upper": 4, "size": 4, "offset": 8 },
        ],
    });
    assert_eq!(fits, expected);
    let below = json_of(&pack(&buffers, &["--capacity", "11", "--format", "json"]));
    assert_eq!((&below["status"], &below["fits"]), (&json!("infeasible (proved)"), &json!(false)));
    assert!(below["layout"].is_null());
}

#[test]
fn the_time_limit_is_told() {
    let folder = Folder::new();
    folder.write("gap.csv", GAP);
    let report = json_of(&pack(&folder.argument("gap.csv"), &["--minimize", "--time-limit", "0s", "--format", "json"]));
    assert_eq!(report["status"], "time limit");
}

#[test]
fn packings_that_are_not_valid() {
    let folder = Folder::new();
    folder.write("buffers.csv", "id,lower,upper,size,alignment,offset\na,0,3,4,,\nb,2,5,4,4,\nc,5,6,4,,8\n");
    let buffers = folder.argument("buffers.csv");
    let check = |what: &str, places: &str| {
        folder.write("out.csv", format!("id,lower,upper,size,offset\n{places}"));
        let report = folder.report(&["pack", "--validate", &buffers, &folder.argument("out.csv")]);
        format!("# {what}\n{}", report.split_once('\n').unwrap().1)
    };
    let reports = [
        check("right", "c,5,6,4,8\nb,2,5,4,4\na,0,3,4,0\n"),
        check("an overlap", "a,0,3,4,2\nb,2,5,4,4\nc,5,6,4,8\n"),
        check("misaligned", "a,0,3,4,0\nb,2,5,4,6\nc,5,6,4,8\n"),
        check("moved", "a,0,3,4,0\nb,2,5,4,4\nc,5,6,4,0\n"),
        check("one is missing", "a,0,3,4,0\nc,5,6,4,8\n"),
        check("one too many", "a,0,3,4,0\nb,2,5,4,4\nc,5,6,4,8\nd,0,1,4,0\n"),
        check("another size", "a,0,3,4,0\nb,2,5,2,4\nc,5,6,4,8\n"),
        check("no offset", "a,0,3,4,0\nb,2,5,4,\nc,5,6,4,8\n"),
    ];
    assert_snapshot("pack_validate", &reports.concat());
    folder.write("out.csv", "id,lower,upper,size,offset\na,0,3,4,0\nb,2,5,4,4\nc,5,6,4,8\n");
    let out = folder.argument("out.csv");
    let report = json_of(&["pack", "--validate", &buffers, &out, "--format", "json"]);
    assert_eq!(report, json!({ "schema": 1, "valid": true, "fault": null, "buffers": 3, "peak": 12 }));
    let aligned = call(&["pack", "--validate", &buffers, &out, "--align", "3"]);
    assert_eq!(aligned.status.code(), Some(1));
}

#[test]
fn mistakes_in_buffers_and_flags() {
    let folder = Folder::new();
    let read = |what: &str, text: &str| {
        folder.write("buffers.csv", text);
        folder.error(what, &["pack", &folder.argument("buffers.csv"), "--minimize"])
    };
    let mut errors = vec![
        read("nothing", ""),
        read("an unknown column", "id,lower,upper,bytes\n"),
        read("a missing column", "id,lower,upper\na,0,1\n"),
        read("a field too few", "id,lower,upper,size\na,0,1\n"),
        read("no number", "id,lower,upper,size\na,0,1,4\nb,0,1,4k\n"),
        read("a negative size", "id,lower,upper,size\na,0,1,-4\n"),
        read("a lifetime that ends before it begins", "id,lower,upper,size\na,3,2,4\n"),
        read("an id twice", "id,lower,upper,size\na,0,1,4\na,0,1,4\n"),
        read("fixed places that overlap", "id,lower,upper,size,offset\na,0,1,4,0\nb,0,1,4,2\n"),
        read("beyond 2^60 in all", "id,lower,upper,size\na,0,1,1152921504606846976\nb,0,1,1152921504606846976\n"),
    ];
    folder.write("buffers.csv", BUFFERS);
    let (buffers, nowhere) = (folder.argument("buffers.csv"), folder.argument("no/out.csv"));
    let flags = |what: &str, more: &[&str]| folder.error(what, &pack(&buffers, more));
    errors.extend([
        folder.error("no file", &["pack", &nowhere, "--minimize"]),
        flags("neither --capacity nor --minimize", &[]),
        flags("both", &["--capacity", "8", "--minimize"]),
        flags("a packing with nothing to check it", &[&buffers, "--minimize"]),
        flags("--validate of nothing", &["--validate"]),
        flags("--validate with --capacity", &[&buffers, "--validate", "--capacity", "8"]),
        flags("--validate with a time limit", &[&buffers, "--validate", "--time-limit", "1s"]),
        flags("a time without its unit", &["--minimize", "--time-limit", "10"]),
        flags("a negative time", &["--minimize", "--time-limit", "-1s"]),
        flags("a time beyond all", &["--minimize", "--time-limit", &format!("{}s", "9".repeat(40))]),
        flags("an alignment of nothing", &["--minimize", "--align", "0"]),
        flags("an alignment beyond 2^60", &["--minimize", "--align", "18446744073709551615"]),
        flags("a folder that is not there", &["--minimize", "-o", &nowhere]),
    ]);
    let half = errors.len() / 2;
    assert_snapshot("errors_pack_buffers", &errors[..half].concat());
    assert_snapshot("errors_pack_flags", &errors[half..].concat());
}

/// The last step of a plan in one arena: what stays lies first, and the checker, which shares no code, finds no overlap.
#[test]
fn models_in_one_arena() {
    let folder = Folder::new();
    let out = folder.argument("layout.csv");
    let reports: Vec<String> = [
        &["pack", "gpt2", "--batch", "4", "--seq", "256"][..],
        &["pack", "resnet50", "--batch", "8"],
        &["pack", "llama-3.2-1b", "--mode", "generate", "--new-tokens", "4"],
        &["pack", "bert-base", "--batch", "2", "--capacity", "1GiB"],
    ]
    .into_iter()
    .map(|arguments| {
        fs::remove_file(folder.join("layout.csv")).ok();
        let report = folder.report(&[arguments, &["-o", &out]].concat());
        if folder.join("layout.csv").exists() {
            let checked = folder.report(&["pack", "--validate", &out, &out]);
            assert!(checked.contains("\nvalid: "), "{checked}");
        }
        report
    })
    .collect();
    assert_snapshot("pack_models", &reports.join("\n"));
}

#[test]
fn a_model_s_layout_in_json() {
    let report = json_of(&["pack", "gpt2", "--mode", "infer", "--format", "json"]);
    let layout = report["layout"].as_array().unwrap();
    assert_eq!(report["buffers"], layout.len());
    let number = |place: &serde_json::Value, name: &str| place[name].as_u64().unwrap();
    assert!(layout.iter().all(|place| number(place, "offset").is_multiple_of(512)));
    let end = layout.iter().map(|place| number(place, "offset") + number(place, "bytes").next_multiple_of(512)).max();
    assert_eq!(end, report["arena"].as_u64());
    let stays = layout.iter().filter(|place| number(place, "offset") < number(&report, "stays"));
    assert!(stays.clone().all(|place| place["category"] == "parameters" || place["category"] == "buffers"));
    let first = &layout[0];
    assert_eq!(
        (&first["tensor"], &first["offset"], &first["lower"]),
        (&json!("transformer.wte.weight"), &json!(0), &json!(0))
    );
    assert!(report["arena"].as_u64() < report["reserved"].as_u64());
}
