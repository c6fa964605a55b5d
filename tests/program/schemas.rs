//! `docs/schemas/`: JSON Schemas written from the types of the answers, and answers that follow them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use serde_json::{Map, Value, json};

use crate::support::{Folder, json_of};

const SMALL: &str = "minilm-l6";

/// The schemas by the names of their files.
fn schemas() -> &'static Map<String, Value> {
    static SCHEMAS: OnceLock<Map<String, Value>> = OnceLock::new();
    SCHEMAS.get_or_init(|| {
        planner::report::schemas::all().into_iter().map(|(name, schema)| (name.to_owned(), schema.to_value())).collect()
    })
}

/// Each schema is the one of its file, or with UPDATE_DOCS=1 is written there.
#[test]
fn docs_have_a_schema_of_each_answer() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schemas");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::remove_dir_all(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
    }
    for (name, schema) in schemas() {
        let path = folder.join(format!("{name}.json"));
        let text = serde_json::to_string_pretty(schema).unwrap() + "\n";
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(&path, &text).unwrap();
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(kept, text, "{name}: run UPDATE_DOCS=1 cargo test to write the schemas anew");
        assert_eq!(schema["properties"]["schema"]["const"], 1, "{name} says no version");
        assert!(schema["required"].as_array().unwrap().contains(&"schema".into()), "{name} says no version");
    }
    let files: BTreeSet<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(files, schemas().keys().cloned().collect());
}

/// Fails where an answer is not as the schema of that name says, or has keys that it does not list.
pub fn assert_follows(name: &str, answer: &Value) {
    let schema = schemas().get(name).unwrap_or_else(|| panic!("no schema {name}"));
    let faults = Checked { root: schema }.faults(schema, answer, name);
    assert!(faults.is_empty(), "{faults:#?}");
}

/// The schema of what a call answers in JSON.
pub fn schema_of(arguments: &[&str]) -> &'static str {
    let has = |flag: &str| arguments.contains(&flag);
    let command = arguments.iter().find(|word| schemas().contains_key(**word)).expect("a command with a schema");
    let of_file = |end: &str| arguments.iter().any(|word| word.ends_with(end));
    match *command {
        "calibrate" if has("--replay") => "calibrate-replay",
        "checkpoint" if has("--curve") => "curve",
        "fit" if of_file(".trace") => "rooms",
        "pack" if has("--validate") => "pack-validate",
        "pack" if of_file(".csv") => "pack-buffers",
        "plan" if has("--compare") => "compare",
        "plan" if of_file("zoo") => "estimate",
        command => schemas().get_key_value(command).unwrap().0,
    }
}

/// A schema that answers are compared with; of the language of schemas, what the schemas here use.
struct Checked<'a> {
    root: &'a Value,
}

impl Checked<'_> {
    fn faults(&self, schema: &Value, value: &Value, place: &str) -> Vec<String> {
        let Value::Object(rules) = schema else {
            assert_eq!(schema, true, "{place}: no schema");
            return Vec::new();
        };
        let mut faults = Vec::new();
        let mut expect = |holds: bool, what: &str| {
            if !holds {
                faults.push(format!("{place}: {what}, not {value}"));
            }
        };
        let mut within = Vec::new();
        for (rule, said) in rules {
            match rule.as_str() {
                "$schema" | "$defs" | "title" | "description" | "format" => {}
                "$ref" => {
                    let path = said.as_str().and_then(|path| path.strip_prefix('#')).unwrap();
                    within.extend(self.faults(self.root.pointer(path).unwrap(), value, place));
                }
                "anyOf" | "oneOf" => {
                    let tried: Vec<_> =
                        said.as_array().unwrap().iter().map(|one| self.faults(one, value, place)).collect();
                    if tried.iter().all(|faults| !faults.is_empty()) {
                        within.extend(tried.into_iter().flatten());
                    }
                }
                "type" => {
                    let is = |word: &Value| is_of_type(value, word.as_str().unwrap());
                    expect(said.as_array().map_or_else(|| is(said), |words| words.iter().any(is)), &said.to_string());
                }
                "const" => expect(value == said, &said.to_string()),
                "enum" => expect(said.as_array().unwrap().contains(value), &said.to_string()),
                "minimum" => expect(value.as_f64() >= said.as_f64() || value.is_null(), &format!(">= {said}")),
                "maximum" => expect(value.as_f64() <= said.as_f64(), &format!("<= {said}")),
                "minItems" => expect(length(value) >= said.as_u64(), &format!(">= {said} items")),
                "maxItems" => expect(length(value) <= said.as_u64(), &format!("<= {said} items")),
                "required" => {
                    for key in said.as_array().unwrap().iter().filter_map(Value::as_str) {
                        expect(value.as_object().is_none_or(|object| object.contains_key(key)), &format!("a `{key}`"));
                    }
                }
                "properties" | "additionalProperties" => {}
                "items" => {
                    let first = rules.get("prefixItems").and_then(Value::as_array).map_or(0, Vec::len);
                    for (at, item) in value.as_array().into_iter().flatten().enumerate().skip(first) {
                        within.extend(self.faults(said, item, &format!("{place}[{at}]")));
                    }
                }
                "prefixItems" => {
                    for (one, item) in said.as_array().unwrap().iter().zip(value.as_array().into_iter().flatten()) {
                        within.extend(self.faults(one, item, &format!("{place}[]")));
                    }
                }
                _ => panic!("{place}: the rule {rule} is not known here"),
            }
        }
        // a schema lets keys be added, an answer of today has those that are listed
        let (listed, others) = (rules.get("properties"), rules.get("additionalProperties"));
        for (key, value) in value.as_object().into_iter().flatten().filter(|_| listed.or(others).is_some()) {
            let place = format!("{place}.{key}");
            match listed.and_then(|listed| listed.get(key)).or(others) {
                Some(rule) => within.extend(self.faults(rule, value, &place)),
                None => within.push(format!("{place} is not in the schema")),
            }
        }
        faults.extend(within);
        faults
    }
}

fn length(value: &Value) -> Option<u64> {
    value.as_array().map(|items| items.len() as u64)
}

fn is_of_type(value: &Value, word: &str) -> bool {
    match word {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => panic!("{word} is no type"),
    }
}

#[test]
fn what_does_not_follow_its_schema_is_told() {
    let schema = &schemas()["pack-validate"];
    let right = json!({ "schema": 1, "valid": true, "fault": null, "buffers": 3, "peak": 12 });
    let faults = |answer: &Value| Checked { root: schema }.faults(schema, answer, "answer");
    assert_eq!(faults(&right), Vec::<String>::new());
    let wrong = [
        ("schema", json!(2), "answer.schema: 1, not 2"),
        ("valid", json!("yes"), "answer.valid: \"boolean\", not \"yes\""),
        ("buffers", json!(-1), "answer.buffers: >= 0, not -1"),
        ("peak", json!(1.5), "answer.peak: [\"integer\",\"null\"], not 1.5"),
        ("more", json!(0), "answer.more is not in the schema"),
    ];
    for (key, value, told) in wrong {
        let mut answer = right.clone();
        answer[key] = value;
        assert_eq!(faults(&answer), [told]);
    }
    let mut answer = right;
    answer.as_object_mut().unwrap().remove("fault");
    assert!(faults(&answer)[0].starts_with("answer: a `fault`, not {"));
}

/// `json_of` compares every answer with its schema: here each command that needs no GPU is called, with what few others ask for.
#[test]
fn answers_follow_their_schemas() {
    let folder = Folder::new();
    let (trace, kept, buffers, packed) =
        ["run.trace", "kept.yaml", "buffers.csv", "packed.csv"].map(|name| folder.argument(name)).into();
    let model = crate::support::recorded("gpt2");
    let model = folder.model("model", &model.0, &model.1);
    folder.write("buffers.csv", "id,lower,upper,size\na,0,3,4\nb,2,5,4\n");
    let zoo = json!({ "architectures": ["ZooForCausalLM"], "dim": 64, "n_layers": 2, "n_heads": 4, "vocab_size": 100 });
    folder.write("zoo/config.json", zoo.to_string());
    let zoo = folder.argument("zoo");
    let calls: [&[&str]; 33] = [
        &["plan", &zoo],
        &["plan", SMALL, "--events", &trace],
        &["plan", "gpt2", "--capacity", "1GiB", "--host-ram", "64GiB", "--workers", "2"],
        &["plan", "distilgpt2", "--mode", "generate", "--new-tokens", "3", "--cache", "static"],
        &["plan", "resnet18", "--fsdp", "2"],
        &["plan", "--compare", SMALL, "--batch", "2"],
        &["fit", SMALL, "--gpu", "t4"],
        &["fit", "resnet18", "--mode", "infer", "--gpu", "t4"],
        &["fit", &trace, "--gpu", "t4,h200"],
        &["advise", "gpt2", "--capacity", "2GiB"],
        &["advise", SMALL, "--gpu", "t4"],
        &["checkpoint", "distilbert-base", "--batch", "64", "--granularity", "block"],
        &["checkpoint", "distilbert-base", "--batch", "64", "--granularity", "block", "--budget", "1GiB"],
        &[
            "checkpoint",
            "distilbert-base",
            "--batch",
            "64",
            "--granularity",
            "block",
            "--cost",
            "time",
            "--budget",
            "4GiB",
        ],
        &["checkpoint", "distilbert-base", "--batch", "64", "--granularity", "block", "--curve"],
        &["buy", "gpt2", "--gpu", "t4,h100"],
        &["buy", "gpt2", "--mode", "generate", "--gpu", "t4"],
        &["sweep", SMALL, "--batch", "1,2", "--gpu", "t4"],
        &["check", &kept],
        &["diff", SMALL, "distilbert-base", "--batch", "2"],
        &["inspect", &model],
        &["graph", SMALL],
        &["graph", "resnet18", "--module", "layer1"],
        &["ops"],
        &["gpus"],
        &["models"],
        &["versions"],
        &["pack", &trace, "--time-limit", "1s"],
        &["pack", &buffers, "--minimize", "-o", &packed],
        &["pack", &buffers, "--capacity", "7"],
        &["pack", "--validate", &buffers, &packed],
        &["pack", "--validate", &buffers, &buffers],
        &["replay", &trace],
    ];
    let taken = crate::support::call(&["snapshot", SMALL, "-o", &kept]);
    assert_eq!(taken.status.code(), Some(0));
    let mut seen: BTreeSet<&str> = calls.iter().map(|call| schema_of(call)).collect();
    for call in calls {
        json_of(&[call, &["--format", "json"]].concat());
    }
    // what runs on a GPU is compared in calibrate.rs
    seen.extend(["calibrate", "calibrate-replay"]);
    assert_eq!(seen, schemas().keys().map(String::as_str).collect());
}
