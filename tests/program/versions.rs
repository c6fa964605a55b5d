//! The releases of a run: flags, run files, environments, lock files, and `memplan versions`.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{assert_snapshot, call, json_of, memplan, report};

/// What a plan of gpt2 in this folder says, as JSON.
fn planned_in(folder: &Path, arguments: &[&str]) -> Value {
    let all = [&["plan", "gpt2", "--format", "json"], arguments].concat();
    let output = memplan(&all).current_dir(folder).output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn releases(plan: &Value) -> (&str, &str, &str) {
    let word = |key: &str| plan["run"][key].as_str().unwrap_or("");
    (word("torch"), word("transformers"), word("environment"))
}

/// The complaint of a call in this folder.
fn refused_in(folder: &Path, arguments: &[&str]) -> String {
    let output = memplan(arguments).current_dir(folder).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn the_newest_is_the_default_and_flags_name_others() {
    let folder = TempDir::new().unwrap();
    assert_eq!(releases(&planned_in(folder.path(), &[])), ("2.15", "5.24", ""));
    let older = planned_in(folder.path(), &["--torch", "2.11.0", "--transformers", "5.17.1"]);
    assert_eq!(releases(&older), ("2.11", "5.17", ""));
    let newest = planned_in(folder.path(), &[]);
    assert_ne!(older["peak_allocated"], newest["peak_allocated"]);
    let unknown = planned_in(folder.path(), &["--torch", "2.99"]);
    let warning = unknown["warnings"][0].as_str().unwrap();
    assert_eq!(warning, "PyTorch 2.99 is not known here: planned by the rules of 2.15, the newest that is");
    assert_eq!(unknown["peak_reserved"], newest["peak_reserved"]);
}

/// Flags win over a run file, that over --env, that over the activated environment, that over a lock file.
#[test]
fn releases_are_taken_from_what_is_installed_or_locked() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let lock = "[[package]]\nname = \"torch\"\nversion = \"2.13.1+cu130\"\n[[package]]\nname = \"transformers\"\nversion = \"5.20.2\"\n";
    fs::write(at("uv.lock"), lock).unwrap();
    assert_eq!(releases(&planned_in(folder.path(), &[])), ("2.13", "5.20", "uv.lock"));

    let packages = at("env/lib/python3.13/site-packages");
    fs::create_dir_all(packages.join("torch-2.12.0+cu129.dist-info")).unwrap();
    fs::create_dir_all(packages.join("transformers-5.19.0.dist-info")).unwrap();
    let output = memplan(&["plan", "gpt2", "--format", "json"])
        .current_dir(folder.path())
        .env("VIRTUAL_ENV", at("env"))
        .output();
    let activated: Value = serde_json::from_slice(&output.unwrap().stdout).unwrap();
    assert_eq!(releases(&activated).0, "2.12");
    assert_eq!(releases(&planned_in(folder.path(), &["--env", "env"])), ("2.12", "5.19", "env"));

    fs::write(at("run.yaml"), "torch: 2.10\ntransformers: '5.18'\n").unwrap();
    assert_eq!(releases(&planned_in(folder.path(), &["--run", "run.yaml"])), ("2.10", "5.18", ""));
    let mixed = planned_in(folder.path(), &["--run", "run.yaml", "--torch", "2.14", "--env", "env"]);
    assert_eq!(releases(&mixed), ("2.14", "5.18", ""));
}

#[test]
fn older_releases_are_refused_with_the_range() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("requirements.txt"), "torch==2.4.1\n").unwrap();
    let plan = ["plan", "--full", "gpt2"];
    assert_eq!(
        refused_in(folder.path(), &plan),
        "memplan: error: requirements.txt: PyTorch 2.4 is older than what is planned: --torch takes 2.9 to 2.15\n\
         hint: --torch 2.15 plans with the newest release\n"
    );
    assert_eq!(
        refused_in(folder.path(), &[&plan[..], &["--torch", "2.8"]].concat()),
        "memplan: error: PyTorch 2.8 is older than what is planned: --torch takes 2.9 to 2.15\n"
    );
    assert_eq!(releases(&planned_in(folder.path(), &["--torch", "2.15"])).0, "2.15");
    let gone = refused_in(folder.path(), &[&plan[..], &["--env", "gone"]].concat());
    assert!(gone.starts_with("memplan: error: gone: "), "{gone}");
}

/// The last release of transformers 4 is planned; those before it and between it and 5.17 are not.
#[test]
fn transformers_4_57_is_planned_and_its_neighbours_are_refused() {
    let folder = TempDir::new().unwrap();
    let named = planned_in(folder.path(), &["--transformers", "4.57.6"]);
    assert_eq!(releases(&named), ("2.15", "4.57", ""));
    assert_ne!(named["peak_allocated"], planned_in(folder.path(), &[])["peak_allocated"]);
    fs::write(folder.path().join("requirements.txt"), "torch==2.11.0\ntransformers==4.57.6\n").unwrap();
    assert_eq!(releases(&planned_in(folder.path(), &[])), ("2.11", "4.57", "requirements.txt"));
    for (release, is) in [("4.56.2", "4.56 is older than what is planned"), ("5.3.0", "5.3 is not planned")] {
        let complaint = format!("memplan: error: transformers {is}: --transformers takes 4.57 and 5.17 to 5.24\n");
        assert_eq!(refused_in(folder.path(), &["plan", "gpt2", "--transformers", release]), complaint);
    }
}

/// Experts are modules there, which bitsandbytes quantises, and T5 is eager.
#[test]
fn models_are_as_transformers_4_57_has_them() {
    let plan = |model: &str, transformers: &str, more: &[&str]| {
        let all = [&["plan", model, "--transformers", transformers, "--format", "json"], more].concat();
        json_of(&all)
    };
    let parameters = |transformers: &str| {
        let quantized = ["--mode", "infer", "--quantize", "nf4", "--gpu", "h200"];
        plan("mixtral-8x7b", transformers, &quantized)["phases"][0]["allocated"].as_u64().unwrap()
    };
    assert_eq!(parameters("5.17") >> 30, 85);
    assert_eq!(parameters("4.57") >> 30, 22);
    assert_eq!(plan("t5-small", "5.17", &[])["run"]["attention"], "sdpa");
    assert_eq!(plan("t5-small", "4.57", &[])["run"]["attention"], "eager");
    let folder = TempDir::new().unwrap();
    let config = r#"{"architectures": ["GPTNeoXForCausalLM"], "num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 2}"#;
    fs::write(folder.path().join("config.json"), config).unwrap();
    let imported = plan(folder.path().to_str().unwrap(), "4.57", &[]);
    let warning =
        imported["warnings"].as_array().unwrap().iter().find(|warning| warning.as_str().unwrap().contains("4.57"));
    assert_eq!(
        warning.unwrap(),
        "gpt_neox was read in transformers 5.24: what it does otherwise in 4.57 is not known here"
    );
}

#[test]
fn variables_change_the_workspace() {
    let folder = TempDir::new().unwrap();
    let small = ["--torch", "2.11", "--variable", "CUBLAS_WORKSPACE_CONFIG=:16:8"];
    let plan = planned_in(folder.path(), &small);
    assert_eq!(plan["run"]["variables"]["CUBLAS_WORKSPACE_CONFIG"], ":16:8");
    let default = planned_in(folder.path(), &["--torch", "2.11"]);
    assert!(plan["peak_allocated"].as_u64() < default["peak_allocated"].as_u64());
    let text = report(&[
        "plan",
        "--full",
        "gpt2",
        "--variable",
        "CUBLAS_WORKSPACE_CONFIG=:16:8",
        "--variable",
        "CUBLASLT_WORKSPACE_SIZE=64",
    ]);
    let with =
        "\nwith   PyTorch 2.15, transformers 5.24, CUBLAS_WORKSPACE_CONFIG=:16:8,\n       CUBLASLT_WORKSPACE_SIZE=64\n";
    assert!(text.contains(with), "{text}");
    let unknown = call(&["plan", "--full", "gpt2", "--variable", "HOME=/"]);
    assert_eq!(unknown.status.code(), Some(2));
}

/// transformers 5.21 gave up Gemma 2's sdpa attention: what is planned is what runs.
#[test]
fn gemma_2_takes_the_attention_that_its_release_has() {
    let plan = |transformers: &str| {
        json_of(&["plan", "gemma-2-2b", "--mode", "infer", "--transformers", transformers, "--format", "json"])
    };
    assert_eq!(plan("5.20")["run"]["attention"], "sdpa");
    assert_eq!(plan("5.21")["run"]["attention"], "eager");
    let asked = call(&["plan", "--full", "gemma-2-2b", "--transformers", "5.21", "--attention", "sdpa"]);
    assert_eq!(asked.status.code(), Some(2));
}

#[test]
fn versions_lists_what_changed() {
    let report = json_of(&["versions", "--format", "json"]);
    assert_eq!(report["libraries"][0]["newest"], "2.15");
    let changes = report["changes"].as_array().unwrap();
    assert!(changes.iter().any(|change| change["library"] == "transformers" && change["spec"].is_string()));
    assert!(changes.iter().all(|change| change["source"].as_str().is_some_and(|source| !source.is_empty())));
    let text = String::from_utf8(call(&["versions"]).stdout).unwrap();
    assert_snapshot("versions", &text.lines().take(40).collect::<Vec<_>>().join("\n"));
}
