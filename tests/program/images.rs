//! Models of images: `--image`, and the workspace that is not known.

use serde_json::{Map, Value, json};

use crate::support::{Folder, assert_snapshot, header, json_of, recorded, report};

#[test]
fn images_have_a_size() {
    assert_snapshot(
        "plan_resnet18",
        &report(&["plan", "--full", "resnet18", "--batch", "8", "--image", "160", "--mode", "infer"]),
    );
    let run = |arguments: &[&str]| json_of(arguments)["run"].clone();
    let given = run(&["plan", "resnet18", "--image", "64", "--format", "json"]);
    assert_eq!((&given["image"], given.get("seq")), (&64.into(), None));
    assert_eq!(run(&["plan", "resnet18", "--format", "json"])["image"], 224);
}

/// Headers of torchvision's own files, and of the hub's ViT under the names that it had before.
#[test]
fn weights_of_their_own() {
    let folder = Folder::new();
    let against = |model: &str, header: &Map<String, Value>| {
        let file = folder.weights(model, header);
        json_of(&["plan", model, "--weights", &file, "--format", "json"])
    };
    for (model, files) in [("resnet50", "resnet50"), ("densenet121", "densenet121"), ("convnext_tiny", "convnext-tiny")]
    {
        let plan = against(model, &header(files));
        assert_eq!((&plan["missing"], &plan["unexpected"]), (&json!([]), &json!([])), "{model}");
        assert_eq!(plan["peak_reserved"], json_of(&["plan", model, "--format", "json"])["peak_reserved"]);
    }
    let before = |name: &str| {
        let fc2 = if name.contains(".layers.") { "output.dense" } else { "mlp.fc2" };
        [
            ("mlp.fc2", fc2),
            ("mlp.fc1", "intermediate.dense"),
            ("o_proj", "output.dense"),
            ("vit.layers.", "vit.encoder.layer."),
        ]
        .into_iter()
        .chain([("q_proj", "attention.query"), ("k_proj", "attention.key"), ("v_proj", "attention.value")])
        .fold(name.to_owned(), |name, (new, old)| name.replace(new, old))
    };
    let (config, now) = recorded("vit-base");
    let old = now.into_iter().map(|(name, entry)| (before(&name), entry)).collect();
    let plan = json_of(&["plan", &folder.model("vit", &config, &old), "--format", "json"]);
    assert_eq!((&plan["missing"], &plan["unexpected"]), (&json!([]), &json!([])));
    let other = folder.weights("other", &header("resnet152"));
    let errors = [
        folder.error("weights of another model", &["plan", "--full", "resnet18", "--weights", &other]),
        folder.error(
            "no such file",
            &["plan", "--full", "resnet18", "--weights", &folder.argument("nothing.safetensors")],
        ),
    ];
    assert_snapshot("errors_weights_flag", &errors.concat());
}

#[test]
fn sizes_of_other_inputs_are_refused() {
    let folder = Folder::new();
    let errors = [
        folder.error("tokens for a model of images", &["plan", "--full", "resnet18", "--seq", "128"]),
        folder.error("images for a model of tokens", &["plan", "--full", "gpt2", "--image", "224"]),
        folder.error("no image", &["plan", "--full", "resnet18", "--image", "0"]),
        folder.error("more than any image has", &["plan", "--full", "resnet18", "--image", "99999999"]),
        folder.error("no tokens to generate", &["plan", "--full", "resnet18", "--mode", "generate"]),
    ];
    assert_snapshot("errors_images", &errors.concat());
}
