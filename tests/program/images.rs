//! Models of images: `--image`, and the workspace that is not known.

use crate::support::{Folder, assert_snapshot, json_of, report};

#[test]
fn images_have_a_size() {
    assert_snapshot(
        "plan_resnet18",
        &report(&["plan", "resnet18", "--batch", "8", "--image", "160", "--mode", "infer"]),
    );
    let run = |arguments: &[&str]| json_of(arguments)["run"].clone();
    let given = run(&["plan", "resnet18", "--image", "64", "--format", "json"]);
    assert_eq!((&given["image"], given.get("seq")), (&64.into(), None));
    assert_eq!(run(&["plan", "resnet18", "--format", "json"])["image"], 224);
}

#[test]
fn sizes_of_other_inputs_are_refused() {
    let folder = Folder::new();
    let errors = [
        folder.error("tokens for a model of images", &["plan", "resnet18", "--seq", "128"]),
        folder.error("images for a model of tokens", &["plan", "gpt2", "--image", "224"]),
        folder.error("no image", &["plan", "resnet18", "--image", "0"]),
        folder.error("more than any image has", &["plan", "resnet18", "--image", "99999999"]),
        folder.error("no tokens to generate", &["plan", "resnet18", "--mode", "generate"]),
    ];
    assert_snapshot("errors_images", &errors.concat());
}
