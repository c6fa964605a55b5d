//! Plans of image models against what PyTorch recorded: `tests/truth/vision.yaml` and its records and traces.

use crate::support::plans::planned;
use planner::model;
use planner::read::spec::Shelf;

/// Checkpoints of torchvision name their tensors as the specs do, and in no other shapes.
#[test]
fn parameters_are_those_of_pytorchs_models() {
    for id in ["resnet50-train-fp32", "resnet152-train-fp32", "densenet121-train-fp32", "convnext-tiny-train-amp-bf16"]
    {
        let record = &crate::support::truth_case(id);
        let name = record.case["model"]["called"].as_str().expect("a name");
        let path = crate::support::truth_folder().join(format!("models/{name}/header.json"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let header: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).expect("a header");
        let mut theirs: Vec<(String, Vec<u64>)> = header
            .iter()
            .filter(|(name, _)| *name != "__metadata__")
            .map(|(name, entry)| {
                let shape = entry["shape"].as_array().expect("a shape");
                (name.clone(), shape.iter().filter_map(serde_json::Value::as_u64).collect())
            })
            .collect();
        let plan = planned(record);
        let stored = plan.graph.parameters.iter().filter(|parameter| parameter.stored);
        let mut ours: Vec<(String, Vec<u64>)> =
            stored.map(|parameter| (parameter.name.clone(), parameter.shape.to_vec())).collect();
        theirs.sort();
        ours.sort();
        assert_eq!(ours, theirs, "{name}");
    }
}

#[test]
fn a_model_of_images_says_their_size() {
    let open = |name| model::open(name, None, &Shelf::default()).expect("a built-in model");
    assert_eq!(open("resnet50").image_size(), Some(224));
    assert_eq!(open("gpt2").image_size(), None);
}
