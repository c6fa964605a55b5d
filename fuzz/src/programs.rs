//! What becomes a program or a trace: each is planned or replayed as far as it goes, in a run that is small.

use std::collections::HashSet;
use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use planner::model::{self, Model, export as exports};
use planner::plan::{Plan, PlanError, plan, recorded};
use planner::read::config::{self as configs, Config};
use planner::read::gpus::GpuCatalogue;
use planner::read::spec::Shelf;
use planner::read::{optimizers, spec as specs};
use planner::run::{Mode, OptimizerChoice, Run};
use planner::trace::file as traces;
use planner::{Gpu, RunOptions, history, report};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::{names, readable};

/// The most layers, experts or steps that are run: more of them take longer and show nothing new.
const MANY: u64 = 6;

static GPU: LazyLock<Gpu> = LazyLock::new(|| {
    let catalogue = GpuCatalogue::load(None).expect("the shipped GPUs are sound");
    catalogue.find("h200").expect("in the catalogue").clone()
});

/// A GPT-2 of one narrow layer.
pub(super) static NARROW: LazyLock<Model> = LazyLock::new(|| {
    let sizes =
        json!({ "architectures": ["GPT2LMHeadModel"], "n_layer": 1, "n_embd": 8, "n_head": 2, "vocab_size": 16 });
    let config = configs::parse(Path::new("narrow.json"), sizes.to_string().as_bytes()).expect("a config");
    model::of_config(&config, None, &Shelf::default()).expect("a model")
});

/// The architectures of shipped families: for another one they are all read, which takes long and shows nothing new.
static KNOWN: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let families = Shelf::default().families().expect("sound specs");
    families.into_iter().flat_map(|family| family.architectures.into_keys()).collect()
});

/// Whether a config asks for no more than a small model of a known architecture.
fn is_small(config: &Config) -> bool {
    config.architecture().is_ok_and(|name| KNOWN.contains(name)) && is_short(config.values())
}

/// A short run without gradients.
fn short() -> Run {
    Run { mode: Mode::Infer, batch: 1, seq: 8, steps: 1, ..Run::default() }
}

/// Plans; a complaint is a line.
fn planned(model: &Model, run: &Run) -> Option<Plan> {
    let plan: Result<Plan, PlanError> = plan(model, run, &GPU);
    plan.map_err(|error| readable(&error)).ok()
}

/// Plans a narrow model as options say, if that is not long. Files that they name are not looked at.
pub(super) fn planned_run(options: &RunOptions) {
    let run = Run { specs: None, ..options.run() };
    let long = [run.steps, run.accumulate, run.keep_losses, run.new_tokens / 4].into_iter().any(|times| times > MANY);
    if !long {
        planned(&NARROW, &run);
    }
}

/// Whether no entry of a config asks for many layers, experts or stages.
fn is_short(config: &Map<String, Value>) -> bool {
    config.iter().all(|(key, value)| match value {
        Value::Number(number) => {
            let counts =
                ["layer", "expert", "block", "depth", "loop", "stage", "group"].iter().any(|word| key.contains(word));
            !counts || number.as_f64().is_some_and(|number| number <= MANY as f64)
        }
        Value::Object(section) => is_short(section),
        Value::Array(list) => {
            list.len() <= 64 && list.iter().all(|entry| entry.as_u64().is_none_or(|number| number < 4096))
        }
        _ => true,
    })
}

/// Any bytes as a config.json: the model that it describes is planned or refused.
pub fn config(text: &[u8]) {
    let file = Path::new("config.json");
    match configs::parse(file, text) {
        Err(error) => names(&error, "config.json:"),
        Ok(config) if !is_small(&config) => {}
        Ok(config) => match model::of_config(&config, None, &Shelf::default()) {
            Ok(model) => drop(planned(&model, &short())),
            Err(error) => drop(readable(&error)),
        },
    }
}

/// Any bytes as a model's folder: a line of config.json, and behind it the header of its weights, whose data is a hole.
pub fn stored(text: &[u8]) {
    thread_local! {
        static FOLDER: TempDir = TempDir::new().expect("a folder");
    }
    let Some(end) = text.iter().position(|byte| *byte == b'\n') else { return };
    let (config, header) = (&text[..end], &text[end + 1..]);
    let parsed = configs::parse(Path::new("config.json"), config);
    if !parsed.is_ok_and(|config| is_small(&config)) {
        return;
    }
    FOLDER.with(|folder| {
        fs::write(folder.path().join("config.json"), config).expect("a config");
        let weights = folder.path().join("model.safetensors");
        let file = [&(header.len() as u64).to_le_bytes()[..], header].concat();
        fs::write(&weights, &file).expect("a header");
        let length = file.len() as u64 + ends(header);
        let opened = fs::OpenOptions::new().write(true).open(&weights).expect("the weights");
        let _ = opened.set_len(length.min(1 << 40)); // else it is cut short, which is refused
        match model::open(&folder.path().display().to_string(), None, &Shelf::default()) {
            Ok(model) => drop(planned(&model, &short())),
            Err(error) => drop(readable(&error)),
        }
    });
}

/// Where the last tensor of a header ends.
fn ends(header: &[u8]) -> u64 {
    let header: Map<String, Value> = serde_json::from_slice(header).unwrap_or_default();
    header.values().filter_map(|tensor| tensor["data_offsets"][1].as_u64()).max().unwrap_or(0)
}

/// Any text as a spec of a model: it is parsed, and what is parsed is planned or refused.
pub fn spec(text: &[u8]) {
    let Ok(text) = str::from_utf8(text) else { return };
    if let Err(error) = specs::check("spec.yaml", text) {
        return names(&error, "spec.yaml:");
    }
    let family = match Shelf::default().family(&Arc::from("spec.yaml"), text) {
        Ok(family) => family,
        Err(error) => return drop(readable(&error)),
    };
    if !is_short(&family.defaults.clone().into_iter().collect()) {
        return;
    }
    let configurations = family.configurations.values().take(1);
    if configurations.into_iter().any(|configuration| !is_short(&configuration.config.clone().into_iter().collect())) {
        return;
    }
    match model::of_family(Path::new("spec.yaml"), family, None) {
        Ok(model) => drop(planned(&model, &short())),
        Err(error) => drop(readable(&error)),
    }
}

/// Any text as a spec of optimizers: each of the first ones is run for two steps.
pub fn optimizer(text: &[u8]) {
    thread_local! {
        static FOLDER: TempDir = TempDir::new().expect("a folder");
    }
    let Ok(text) = str::from_utf8(text) else { return };
    let parsed = match optimizers::parse("optimizer.yaml", text) {
        Ok(parsed) => parsed,
        Err(error) => return drop(readable(&error)),
    };
    FOLDER.with(|folder| {
        let own = folder.path().join("optimizers");
        fs::create_dir_all(&own).expect("a folder");
        fs::write(own.join("optimizer.yaml"), text).expect("a spec");
        for optimizer in parsed.into_iter().take(2) {
            let optimizer = OptimizerChoice { name: optimizer.name, options: Vec::new() };
            let specs = Some(folder.path().to_owned());
            planned(&NARROW, &Run { mode: Mode::Train, optimizer, specs, steps: 2, ..short() });
        }
    });
}

/// Any bytes as the graph of an export: the program is planned or refused.
pub fn export(graph: &[u8]) {
    let path = Path::new("export.pt2");
    match exports::parse(path, graph, None, &Shelf::default()) {
        Ok(exported) => drop(planned(&model::of_export(path, exported), &short())),
        Err(error) => names(&error, "export.pt2:"),
    }
}

/// Any bytes as an export.
pub fn archive(bytes: &[u8]) {
    let path = Path::new("export.pt2");
    match exports::from_reader(path, Cursor::new(bytes), &Shelf::default()) {
        Ok(exported) => drop(planned(&model::of_export(path, exported), &short())),
        Err(error) => names(&error, "export.pt2:"),
    }
}

/// Any bytes as a trace: it is written and read back the same, and replayed.
pub fn trace(text: &[u8]) {
    let recorded = match traces::parse(text) {
        Ok(recorded) => recorded,
        Err(error) => return drop(readable(&error)),
    };
    let mut written = Vec::new();
    traces::write((&recorded.head, &recorded.trace), &mut written).expect("a trace can be written");
    let again =
        traces::parse(&written).unwrap_or_else(|error| panic!("{error}\n{}", String::from_utf8_lossy(&written)));
    assert_eq!(again.trace, recorded.trace);
    let replayed = recorded::replay(recorded, &RunOptions::default(), None);
    let (_, replay) = match replayed {
        Ok(replayed) => replayed,
        Err(error) => return drop(readable(&error)),
    };
    let history = history::history(&replay, 16, 16);
    history::alive(&replay, &history, 16);
    let categories: u64 = replay.categories_at_peak().iter().map(|(_, bytes)| bytes.0).sum();
    assert_eq!(categories + replay.slack_at_peak().0, replay.peak_allocated().0);
    let name = replay.at_peak.first().map(|live| replay.trace.tensor(&replay.trace.allocation(live.id)));
    let _ = report::why::text(&replay, &name.unwrap_or_default());
}
