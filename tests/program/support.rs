//! Runs the program, keeps folders of models for it, and compares what it says with snapshots.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::schemas;

/// A call of the program.
pub fn memplan(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_memplan"));
    command.env("XDG_CONFIG_HOME", "/nonexistent").env_remove("VIRTUAL_ENV").env_remove("CONDA_PREFIX");
    command
        .env("CUDA_VISIBLE_DEVICES", "")
        .env("HF_HUB_OFFLINE", "1")
        .env("HF_HOME", "/nonexistent")
        .env("MEMPLAN_CACHE", "/nonexistent");
    ["HF_HUB_CACHE", "HF_ENDPOINT", "HF_TOKEN"].iter().for_each(|name| _ = command.env_remove(name));
    command.args(arguments).env("NO_COLOR", "1").env("COLUMNS", "100").stdin(Stdio::null());
    command
}

/// What a call gives; every call ends with one of the documented codes, and what it complains of takes one line.
pub fn call(arguments: &[&str]) -> Output {
    let output = memplan(arguments).output().unwrap();
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    let code = output.status.code();
    match code {
        Some(0 | 1 | 4) => assert_eq!(stderr, "", "{arguments:?}"),
        Some(2) => assert_one_line(&stderr, arguments),
        _ => panic!("{arguments:?}: {:?}\n{stderr}", output.status),
    }
    output
}

fn assert_one_line(stderr: &str, arguments: &[&str]) {
    let lines: Vec<&str> = stderr.lines().collect();
    let well_formed = match lines[..] {
        [error] => error.starts_with("memplan: error: "),
        [error, hint] => error.starts_with("memplan: error: ") && hint.starts_with("hint: "),
        _ => false,
    };
    assert!(well_formed, "{arguments:?}:\n{stderr}");
}

/// The text report of a call, with its exit code.
pub fn report(arguments: &[&str]) -> String {
    let output = call(arguments);
    let text = String::from_utf8(output.stdout).unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    format!("$ memplan {}\n{text}{error}exit code {}\n", arguments.join(" "), output.status.code().unwrap())
}

/// The JSON that a call prints, which follows its schema.
pub fn json_of(arguments: &[&str]) -> Value {
    answer(arguments, &call(arguments).stdout)
}

/// The JSON of a call's output, compared with its schema.
pub fn answer(arguments: &[&str], output: &[u8]) -> Value {
    let answer = serde_json::from_slice(output).unwrap();
    schemas::assert_follows(schemas::schema_of(arguments), &answer);
    answer
}

/// Compares a text with `snapshots/NAME.snap`.
pub fn assert_snapshot(name: &str, text: &str) {
    assert!(text.lines().count() <= 80, "{name}: {} lines", text.lines().count());
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    // Shipped specs grow: where in them an error arises is not what these snapshots are about.
    settings.add_filter(r"((?:specs|models)/[\w/-]+\.yaml):\d+:\d+", "$1:LINE:COLUMN");
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// A folder that is removed at the end of the test.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The path of something in this folder, as an argument.
    pub fn argument(&self, name: &str) -> String {
        self.join(name).to_str().unwrap().to_owned()
    }

    /// Writes a file, and the folders above it.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// Writes a safetensors file whose data take no room on the disk.
    pub fn safetensors(&self, name: &str, header: &str, data: u64) {
        let mut file = File::create(self.write(name, "")).unwrap();
        file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
        file.write_all(header.as_bytes()).unwrap();
        file.set_len(8 + header.len() as u64 + data).unwrap();
    }

    /// Writes a model's folder: its config, and weights with the header's tensors laid out anew.
    pub fn model(&self, name: &str, config: &Map<String, Value>, header: &Map<String, Value>) -> String {
        self.write(&format!("{name}/config.json"), serde_json::to_string_pretty(config).unwrap());
        let (header, data) = laid_out(header);
        self.safetensors(&format!("{name}/model.safetensors"), &serde_json::to_string(&header).unwrap(), data);
        self.argument(name)
    }

    /// Writes weights with the header's tensors laid out anew.
    pub fn weights(&self, name: &str, header: &Map<String, Value>) -> String {
        let (header, data) = laid_out(header);
        let name = format!("{name}.safetensors");
        self.safetensors(&name, &serde_json::to_string(&header).unwrap(), data);
        self.argument(&name)
    }

    /// A report with this folder's path replaced by `DIR`.
    pub fn report(&self, arguments: &[&str]) -> String {
        report(arguments).replace(self.0.path().to_str().unwrap(), "DIR")
    }

    /// The error of a call that must fail, as one entry of a list.
    pub fn error(&self, what: &str, arguments: &[&str]) -> String {
        let output = call(arguments);
        assert_eq!(output.status.code(), Some(2), "{what}: {arguments:?}");
        assert!(output.stdout.is_empty(), "{what}");
        let error = String::from_utf8(output.stderr).unwrap().replace(self.0.path().to_str().unwrap(), "DIR");
        format!("# {what}\n{error}")
    }
}

/// Gives the tensors of a header offsets without gaps.
fn laid_out(header: &Map<String, Value>) -> (Map<String, Value>, u64) {
    let mut end = 0;
    let mut entries = Map::new();
    for (name, entry) in header.iter().filter(|(name, _)| *name != "__metadata__") {
        let offset = |at: usize| entry["data_offsets"][at].as_u64().unwrap();
        let bytes = offset(1) - offset(0);
        let mut entry = entry.clone();
        entry["data_offsets"] = json!([end, end + bytes]);
        entries.insert(name.clone(), entry);
        end += bytes;
    }
    (entries, end)
}

/// A recorded model: its config and its header.
pub fn recorded(name: &str) -> (Map<String, Value>, Map<String, Value>) {
    (recorded_file(name, "config.json"), header(name))
}

/// A recorded model's header.
pub fn header(name: &str) -> Map<String, Value> {
    recorded_file(name, "header.json")
}

fn recorded_file(name: &str, file: &str) -> Map<String, Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/truth/models").join(name);
    serde_json::from_str(&fs::read_to_string(folder.join(file)).unwrap()).unwrap()
}
