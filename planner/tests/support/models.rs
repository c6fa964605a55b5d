//! The models of recorded cases: of specs, of exported graphs, of checkpoints with quantised weights.

use std::fs;
use std::path::Path;

use planner::model::class;
use planner::model::export;
use planner::model::{Model, open};
use planner::read::spec::Shelf;
use planner::run::{Construction, GivenInputs};
use serde_json::Value;
use tempfile::TempDir;

use super::{TruthCase, lines, text_of, truth_folder};

/// The shipped specs, with a folder's before them where `MEMPLAN_SPECS` names one.
fn shelf() -> Shelf {
    Shelf { folder: std::env::var_os("MEMPLAN_SPECS").map(Into::into) }
}

/// The model that a case names, of its spec.
pub fn model_of(case: &Value) -> Model {
    if case["model"]["library"] == "timm" {
        let name = case["model"]["name"].as_str().expect("a case of timm names its model");
        return open(&format!("timm/{name}"), None, &shelf()).expect("a built-in model");
    }
    if case["model"]["library"] == "torchvision" {
        let name = case["model"]["name"].as_str().expect("a case of torchvision names its model");
        return open(name, None, &shelf()).expect("a built-in model");
    }
    if let Some(class) = case["model"]["class"].as_str() {
        return class_of(case, class);
    }
    if let Some(own) = case["model"]["own"].as_str() {
        let folder = truth_folder().join("own").join(own);
        return open(&folder.display().to_string(), None, &Shelf::default()).expect("a model with its own source");
    }
    let architecture = case["model"]["architecture"].as_str().expect("a case names its architecture");
    let family = shelf().family_of_architecture(architecture).expect("sound specs").expect("a known family");
    Model {
        exported: None,
        name: case["model"]["called"].as_str().unwrap_or("unnamed").to_owned(),
        family,
        architecture: architecture.to_owned(),
        config: case["model"]["config"].as_object().cloned().unwrap_or_default(),
        config_file: None,
        dtype: None,
        weights: None,
    }
}

/// A class in a file of its own, with its construction and its inputs.
fn class_of(case: &Value, class: &str) -> Model {
    let init = Construction(case["model"]["init"].as_str().unwrap_or_default().to_owned());
    let said = case["model"]["inputs"].as_object().expect("inputs by name");
    let input = |(name, text): (&String, &Value)| {
        let text = text.as_str().expect("a type with sizes");
        (name.clone(), text.parse().unwrap_or_else(|error| panic!("{name}: {error}")))
    };
    let inputs = GivenInputs(said.iter().map(input).collect());
    let name = truth_folder().join("classes").join(class).display().to_string();
    let place = class::place(&name).expect("a file with a class");
    class::open(&name, &place, (&init, &inputs), &shelf()).unwrap_or_else(|error| panic!("{class}: {error}"))
}

/// The graph that a record's model was exported as.
pub fn exported_graph(record: &TruthCase) -> String {
    let graph = record.case["graph"].as_str().unwrap_or(&record.id);
    text_of(&truth_folder().join(format!("exports/graphs/{graph}.json.gz")))
}

/// The exported model of a record.
pub fn exported(record: &TruthCase) -> Model {
    let text = exported_graph(record);
    let whole: Value = serde_json::from_str(&text).expect("a graph");
    let weights = whole["weights_config"].to_string();
    let graph = record.case["graph"].as_str().unwrap_or(&record.id);
    model_of_graph(&format!("{graph}.pt2"), &text, Some(weights.as_bytes()))
}

/// The model of an exported graph, with the configuration of its weights.
pub fn model_of_graph(name: &str, text: &str, weights: Option<&[u8]>) -> Model {
    let model = export::parse(Path::new(name), text.as_bytes(), weights, &Shelf::default());
    let model = model.unwrap_or_else(|error| panic!("{name}: {error}"));
    let (config, weights) = Default::default();
    let (family, architecture, dtype) = (model.family, model.architecture, Some(model.dtype));
    Model { name: name.to_owned(), family, exported: None, architecture, config, config_file: None, dtype, weights }
}

/// A folder with a config and weights of that header; the weights' data is a hole.
pub fn folder(config: &Value, header: &Value) -> TempDir {
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

/// The config and the header of a recorded checkpoint.
pub fn stored(id: &str) -> (Value, Value) {
    let mut values = lines(&format!("tests/truth/stored/models/{id}.json.gz")).into_iter();
    (values.next().expect("a config"), values.next().expect("a header"))
}
