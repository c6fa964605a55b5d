//! `--specs DIR`: a user's own models and GPUs, and mistakes in them.

use std::fs;
use std::path::Path;

use crate::support::{Folder, assert_snapshot, json_of};

fn shipped(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("specs").join(path)).unwrap()
}

const GPU: &str = "my-gpu:\n  name: My GPU\n  memory_source: nominal\n  memory_nominal_gib: 10\n  \
                   compute_capability: \"8.9\"\n  multiprocessors: 10\n  threads_per_multiprocessor: 1536\n";

#[test]
fn own_models_and_gpus_come_first() {
    let folder = Folder::new();
    folder.write("models/mine.yaml", shipped("models/gpt2.yaml").replace("\n  gpt2: {", "\n  my-model: {"));
    folder.write("gpus/mine.yaml", GPU);
    let json = json_of(&["plan", "my-model", "--gpu", "my gpu", "--specs", &folder.argument(""), "--format", "json"]);
    assert_eq!((&json["model"]["name"], &json["gpu"]["key"]), (&"my-model".into(), &"my-gpu".into()));
}

#[test]
fn mistakes_in_specs() {
    let folder = Folder::new();
    let specs = folder.argument("");
    let spec = shipped("models/gpt2.yaml").replace("\n  gpt2: {", "\n  my-model: {");
    let model = |what: &str, from: &str, to: &str| {
        assert!(spec.contains(from), "{from}");
        folder.write("models/mine.yaml", spec.replacen(from, to, 1));
        let error = folder.error(what, &["plan", "my-model", "--specs", &specs]);
        fs::remove_dir_all(folder.join("models")).unwrap();
        error
    };
    let own = |what: &str, text: &str| {
        folder.write("models/mine.yml", text);
        let error = folder.error(what, &["plan", "my-model", "--specs", &specs]);
        fs::remove_dir_all(folder.join("models")).unwrap();
        error
    };
    let gpu = |what: &str, from: &str, to: &str| {
        assert!(GPU.contains(from), "{from}");
        folder.write("gpus/mine.yaml", GPU.replacen(from, to, 1));
        folder.error(what, &["plan", "gpt2", "--gpu", "my-gpu", "--specs", &specs])
    };
    let errors = [
        model("an unknown key", "\nconfig:", "\nsetings: 3\nconfig:"),
        model("an unknown key of an architecture", "    generates: true", "    genrates: true"),
        model("an unknown key of a module", "    children:\n      transformer", "    childs:\n      transformer"),
        model("no YAML", "\nmodules:", "\nmodules: ["),
        model("no code", "residual = hidden_states\n", "residual = = hidden_states\n"),
        model("an unknown function", "self.ln_1(hidden_states)", "ln_7(hidden_states)"),
        model("an unknown child", "self.ln_1(hidden_states)", "self.ln_7(hidden_states)"),
        model("an unknown library", "uses: [nn,", "uses: [nnn,"),
        model("a division by zero", "config.n_embd // config.n_head", "config.n_embd // 0"),
        model("no end", "residual = hidden_states\n", "return self.forward(hidden_states)\n"),
        model(
            "no end, at depth",
            "residual = hidden_states\n",
            &format!("return {}0{}\n", "self(".repeat(90), ")".repeat(90)),
        ),
        own("a place in the file", "name: mine\n# my-model\nsetings: 3\n"),
        own("a place in the code", "name: my-model\nfunctions:\n  f(x): |\n    y = x\n    return y +\n"),
        gpu("an unknown key of a GPU", "multiprocessors", "multiprocesors"),
        gpu("a GPU without memory", "memory_nominal_gib: 10", "memory_nominal_gib: 0"),
        folder.error("no folder", &["plan", "gpt2", "--specs", &folder.argument("none")]),
    ];
    assert_snapshot("errors_specs", &errors.concat());
}
