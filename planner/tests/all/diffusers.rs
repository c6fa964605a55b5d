//! Published models of diffusers from their config.json alone, and pipelines' folders.

use std::fs;

use planner::model::{ModelError, open};
use planner::plan::{Emulation, program};
use planner::read::spec::Shelf;
use planner::run::RunOptions;

use crate::support::truth_folder;

/// The parameters are as many as diffusers' own models have.
#[test]
fn published_configs_are_planned() {
    let published = [
        ("stable-diffusion-v1-5", 859_520_964, 512),
        ("sdxl-base", 2_567_463_684, 1024),
        ("sd3-medium", 2_028_328_000, 1024),
        ("flux1-dev", 11_901_408_320, 1024),
    ];
    for (name, count, rows) in published {
        let folder = truth_folder().join("diffusers").join(name);
        let model = open(&folder.display().to_string(), None, &Shelf::default());
        let model = model.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(model.image_size(), Some(rows), "{name}");
        let options = RunOptions { seq: Some(77), batch: Some(1), ..RunOptions::default() };
        let graph = program(&model, &options.run(), Emulation::default());
        let graph = graph.unwrap_or_else(|error| panic!("{name}: {error}"));
        let parameters = graph.parameters.iter().filter(|parameter| !parameter.buffer);
        assert_eq!(parameters.map(|parameter| parameter.shape.iter().product::<u64>()).sum::<u64>(), count, "{name}");
    }
}

#[test]
fn a_pipeline_names_its_models() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let unet = folder.path().join("unet");
    fs::create_dir(&unet).expect("a folder");
    let config = truth_folder().join("diffusers/stable-diffusion-v1-5/config.json");
    fs::copy(config, unet.join("config.json")).expect("a config");
    let index = r#"{"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"], "scheduler": ["diffusers", "PNDMScheduler"]}"#;
    fs::write(folder.path().join("model_index.json"), index).expect("an index");
    let error = open(&folder.path().display().to_string(), None, &Shelf::default()).expect_err("several models");
    assert!(matches!(error, ModelError::Pipeline { .. }), "{error}");
    let said = error.to_string();
    assert!(said.contains("is a StableDiffusionPipeline of several models") && said.contains("unet (UNet2D"), "{said}");
    open(&unet.display().to_string(), None, &Shelf::default()).expect("the part");
}
