//! Plans of checkpoints that store weights quantised against what PyTorch recorded: `tests/truth/stored.yaml` with its
//! records, traces and the checkpoints' configs and headers (`record_stored.py` there).

mod support;

use std::fs;
use std::path::Path;

use planner::plan::{Emulation, Plan, PlanError, plan_with};
use planner::read::model;
use planner::read::spec::Shelf;
use planner::run::{Mode, Run};
use support::plans::{difference, gpu_of, phase_difference, run_of};
use support::{Trace, TruthCase, records, truth_folder};
use tempfile::TempDir;

/// A folder with a config and weights of that header; the weights' data is a hole.
fn folder(config: &serde_json::Value, header: &serde_json::Value) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("config.json"), config.to_string()).expect("a config");
    let text = header.to_string();
    let tensors = header.as_object().expect("a header").values();
    let end = tensors.filter_map(|tensor| tensor["data_offsets"][1].as_u64()).max().unwrap_or(0);
    let path = folder.path().join("model.safetensors");
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text.as_bytes());
    fs::write(&path, &bytes).expect("a header");
    let file = fs::OpenOptions::new().write(true).open(&path).expect("the weights");
    file.set_len(bytes.len() as u64 + end).expect("a hole");
    folder
}

fn recorded(id: &str, file: &str) -> serde_json::Value {
    let path = truth_folder().join("stored/models").join(id).join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("JSON")
}

fn planned(record: &TruthCase, folder: &Path) -> Result<Plan, PlanError> {
    let model = model::open(&folder.display().to_string(), None, &Shelf::default())?;
    plan_with(&model, &run_of(record), &gpu_of(record), Emulation::RECORDS)
}

fn wrong_in(record: &TruthCase) -> Option<String> {
    let folder = folder(&recorded(&record.id, "config.json"), &recorded(&record.id, "header.json"));
    let plan = planned(record, folder.path()).unwrap_or_else(|error| panic!("{}: {error}", record.id));
    assert_eq!(plan.agreement, Default::default(), "{}", record.id);
    difference(&plan, &Trace::load_from("stored", &record.id)).or_else(|| phase_difference(&plan, record))
}

#[test]
fn stored_quantised_weights_have_pytorchs_event_stream_and_figures() {
    let records = records("stored.jsonl");
    assert!(records.len() >= 20, "only {} cases", records.len());
    let found = records.iter().filter_map(|record| Some(format!("{}: {}", record.id, wrong_in(record)?)));
    let wrong: Vec<String> = found.collect();
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), records.len(), wrong.join("\n"));
}

/// The plan of a recorded checkpoint after changes to its config and header, as one line where there is none.
fn changed(id: &str, run: &str, change: impl FnOnce(&mut serde_json::Value, &mut serde_json::Value)) -> String {
    let record = records("stored.jsonl").into_iter().find(|record| record.id == id).expect("a record");
    let (mut config, mut header) = (recorded(id, "config.json"), recorded(id, "header.json"));
    change(&mut config["quantization_config"], &mut header);
    let folder = folder(&config, &header);
    let run = match run {
        "" => run_of(&record),
        "train" => Run { mode: Mode::Train, ..run_of(&record) },
        other => Run { quantize: Some(other.parse().expect("a form")), ..run_of(&record) },
    };
    let plan = model::open(&folder.path().display().to_string(), None, &Shelf::default())
        .map_err(PlanError::from)
        .and_then(|model| plan_with(&model, &run, &gpu_of(&record), Emulation::RECORDS));
    match plan {
        Ok(_) => "a plan".to_owned(),
        Err(error) => error.to_string().replace(&*folder.path().to_string_lossy(), "DIR"),
    }
}

#[test]
fn bad_checkpoints_get_one_clear_line() {
    const ABSMAX: &str = "model.layers.0.mlp.up_proj.weight.absmax";
    let nf4 = "nf4-double-infer";
    let set = |key: &'static str, value: serde_json::Value| {
        move |config: &mut serde_json::Value, _: &mut serde_json::Value| config[key] = value
    };
    let remove = |name: &'static str| {
        move |_: &mut serde_json::Value, header: &mut serde_json::Value| {
            let removed = header.as_object_mut().expect("a header").remove(name);
            let at = removed.expect("the tensor")["data_offsets"].clone();
            header["unused"] = serde_json::json!({"dtype": "U8", "shape": [span(&at)], "data_offsets": at});
        }
    };
    let retype = |name: &'static str, dtype: &'static str, width: u64| {
        move |_: &mut serde_json::Value, header: &mut serde_json::Value| {
            let span = span(&header[name]["data_offsets"]);
            header[name]["dtype"] = dtype.into();
            header[name]["shape"] = serde_json::json!([span / width]);
        }
    };
    let lines = [
        changed(nf4, "train", |_, _| {}),
        changed(nf4, "nf4", |_, _| {}),
        changed(nf4, "", set("quant_method", "exotic".into())),
        changed(nf4, "", set("bnb_4bit_quant_type", "nf5".into())),
        changed(nf4, "", set("bnb_4bit_compute_dtype", "int8".into())),
        changed(nf4, "", set("bnb_4bit_quant_storage", "bfloat16".into())),
        changed(nf4, "", set("bnb_4bit_use_double_quant", 3.into())),
        changed(nf4, "", set("load_in_8bit", true.into())),
        changed(nf4, "", set("llm_int8_skip_modules", "lm_head".into())),
        changed(nf4, "", set("llm_int8_skip_modules", serde_json::json!(["(?=x)"]))),
        changed(nf4, "", set("llm_int8_skip_modules", serde_json::json!(["model"]))),
        changed(nf4, "", set("llm_int8_skip_modules", serde_json::json!(["q_proj"]))),
        changed(nf4, "", remove(ABSMAX)),
        changed(nf4, "", remove("model.layers.1.self_attn.k_proj.weight.quant_state.bitsandbytes__nf4")),
        changed(nf4, "", remove("model.layers.1.self_attn.k_proj.weight")),
        changed(nf4, "", retype(ABSMAX, "F32", 4)),
        changed("int8-infer", "", remove("model.layers.0.mlp.up_proj.SCB")),
        changed("int8-infer", "", retype("model.layers.0.mlp.up_proj.SCB", "F16", 2)),
        changed("int8-infer", "", set("llm_int8_has_fp16_weight", true.into())),
    ];
    assert!(lines.iter().all(|line| !line.contains('\n')), "{lines:#?}");
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("errors_stored", lines.join("\n")));
}

fn span(offsets: &serde_json::Value) -> u64 {
    offsets[1].as_u64().expect("an end") - offsets[0].as_u64().expect("a begin")
}
