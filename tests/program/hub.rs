//! Models by their hub ids: from a cache of the hub, and from a hub on this machine of which no more is read than is needed.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Output;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::json;

use crate::support::{Folder, memplan};

const CONFIG: &str = r#"{"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_layer": 2, "n_embd": 64, "n_head": 4, "vocab_size": 100, "dtype": "float16"}"#;

/// A safetensors file of that many layers' worth of names: its header, and data that nobody should read.
fn weights() -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut end = 0;
    let mut add = |name: String, shape: &[u64]| {
        let bytes = 2 * shape.iter().product::<u64>();
        header.insert(name, json!({"dtype": "F16", "shape": shape, "data_offsets": [end, end + bytes]}));
        end += bytes;
    };
    add("wte.weight".into(), &[100, 64]);
    add("wpe.weight".into(), &[1024, 64]);
    for layer in 0..2 {
        for (name, shape) in [
            ("ln_1.weight", &[64][..]),
            ("ln_1.bias", &[64]),
            ("attn.c_attn.weight", &[64, 192]),
            ("attn.c_attn.bias", &[192]),
            ("attn.c_proj.weight", &[64, 64]),
            ("attn.c_proj.bias", &[64]),
            ("ln_2.weight", &[64]),
            ("ln_2.bias", &[64]),
            ("mlp.c_fc.weight", &[64, 256]),
            ("mlp.c_fc.bias", &[256]),
            ("mlp.c_proj.weight", &[256, 64]),
            ("mlp.c_proj.bias", &[64]),
        ] {
            add(format!("h.{layer}.{name}"), shape);
        }
    }
    add("ln_f.weight".into(), &[64]);
    add("ln_f.bias".into(), &[64]);
    let header = serde_json::to_vec(&header).unwrap();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(&header);
    file.extend(vec![0; end as usize]);
    // more than the first range asks for
    file.extend(vec![0; 4 << 20]);
    file
}

/// A hub on a port of this machine, with the lines and the tokens of all requests.
struct Hub {
    endpoint: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Hub {
    fn start() -> Hub {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, address) = (asked.clone(), endpoint.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, address) = (log.clone(), address.clone());
                thread::spawn(move || answer(stream.unwrap(), &log, &address));
            }
        });
        Hub { endpoint, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn call(&self, folder: &Folder, arguments: &[&str]) -> Output {
        self.call_with(folder, arguments, &[])
    }

    fn call_with(&self, folder: &Folder, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        let mut command = memplan(arguments);
        command
            .env_remove("HF_HUB_OFFLINE")
            .env("HF_ENDPOINT", &self.endpoint)
            .env("MEMPLAN_CACHE", folder.join("cache"));
        command.envs(variables.iter().copied()).output().unwrap()
    }
}

/// Answers the requests of a connection.
fn answer(mut stream: TcpStream, log: &Mutex<Vec<String>>, endpoint: &str) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let (mut line, mut range, mut token) = (String::new(), None, String::new());
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).unwrap();
            let (name, value) = header.split_once(':').unwrap_or_default();
            match name.to_ascii_lowercase().as_str() {
                "range" => range = value.trim().strip_prefix("bytes=").map(str::to_owned),
                "authorization" => token = value.trim().to_owned(),
                _ => {}
            }
            if header.trim().is_empty() {
                break;
            }
        }
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        log.lock().unwrap().push(format!("{path} {} {token}", range.clone().unwrap_or_default()).trim().to_owned());
        let (status, headers, body) = file(&path, range.as_deref(), endpoint);
        let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n", body.len());
        if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).is_err() {
            return;
        }
    }
}

/// What the hub has under a path: status, headers, body.
fn file(path: &str, range: Option<&str>, endpoint: &str) -> (&'static str, String, Vec<u8>) {
    let none = |status, code: &str| (status, format!("x-error-code: {code}\r\n"), Vec::new());
    let commit = "x-repo-commit: c0ffee\r\n".to_owned();
    let index = json!({"weight_map": {"wte.weight": "model-00001-of-00001.safetensors"}}).to_string();
    let name = path.rsplit('/').next().unwrap_or_default();
    match path.trim_start_matches('/').split('/').next().unwrap_or_default() {
        "gated" => none("401 Unauthorized", "GatedRepo"),
        "busy" => ("429 Too Many Requests", "retry-after: 7\r\n".to_owned(), Vec::new()),
        "broken" if name == "config.json" => ("200 OK", commit, b"{".to_vec()),
        "moved" => ("302 Found", format!("location: {endpoint}{}\r\n", path.replace("/moved/", "/org/")), Vec::new()),
        "stored" => (ranged(range).0, String::new(), ranged(range).1),
        "org" | "sharded" if path.contains("/resolve/v9/") => none("404 Not Found", "RevisionNotFound"),
        "org" if name == "config.json" => ("200 OK", commit, CONFIG.as_bytes().to_vec()),
        "sharded" if name == "config.json" => ("200 OK", commit, CONFIG.as_bytes().to_vec()),
        "sharded" if name.ends_with(".index.json") => ("200 OK", commit, index.into_bytes()),
        // as the hub does, weights lie elsewhere
        "org" if name == "model.safetensors" => ("302 Found", "location: /stored/x\r\n".to_owned(), Vec::new()),
        "sharded" if name.ends_with(".safetensors") => (ranged(range).0, String::new(), ranged(range).1),
        "org" | "sharded" | "broken" => none("404 Not Found", "EntryNotFound"),
        _ => none("401 Unauthorized", "RepoNotFound"),
    }
}

/// The asked range of the weights.
fn ranged(range: Option<&str>) -> (&'static str, Vec<u8>) {
    let file = weights();
    let Some((first, last)) = range.and_then(|range| range.split_once('-')) else { return ("200 OK", file) };
    let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
    ("206 Partial Content", file[first..(last + 1).min(file.len())].to_vec())
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap() + &String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_model_of_the_hub_is_planned_from_its_headers_and_kept() {
    let (hub, folder) = (Hub::start(), Folder::new());
    for id in ["org/small", "moved/small", "sharded/small"] {
        let output = hub.call(&folder, &["plan", id, "--full"]);
        let said = text(&output);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.contains(&format!("model  {id}: GPT2LMHeadModel")) && said.contains("train, fp16"), "{said}");
        assert!(!said.contains("warning") && !said.contains("no weights"), "{said}");
        let before = hub.asked().len();
        assert!(before > 0);
        assert_eq!(text(&hub.call(&folder, &["plan", id, "--full"])), said);
        assert_eq!(hub.asked().len(), before, "what was fetched is kept");
    }
    // a whole file is never asked for, and nothing but the four names
    let asked = hub.asked();
    assert!(
        asked.iter().filter(|line| line.contains(".safetensors ")).all(|line| line.contains("0-262143")),
        "{asked:?}"
    );
    let inspected = text(&hub.call(&folder, &["inspect", "org/small"]));
    assert!(inspected.contains("h.") && !inspected.contains("error"), "{inspected}");
}

#[test]
fn revisions_and_tokens_are_asked_with() {
    let (hub, folder) = (Hub::start(), Folder::new());
    let said = text(&hub.call_with(&folder, &["plan", "org/small@v2"], &[("HF_TOKEN", "secret")]));
    assert!(said.starts_with("fits"), "{said}");
    let asked = hub.asked();
    assert!(
        asked[0].starts_with("/org/small/resolve/v2/config.json") && asked[0].ends_with("Bearer secret"),
        "{asked:?}"
    );
    assert!(folder.join("cache/models--org--small/refs/v2").exists());
    // a token is the hub's alone: where weights lie elsewhere, it is not handed on to another host; here it is the same
    assert!(!said.contains("secret"));
}

/// Snapshots and comparisons ask the hub as plans do.
#[test]
fn snapshots_ask_the_hub() {
    let (hub, folder) = (Hub::start(), Folder::new());
    let kept = hub.call(&folder, &["snapshot", "org/small"]);
    assert!(text(&kept).contains("model: org/small"), "{kept:?}");
    let (hub, folder) = (Hub::start(), Folder::new());
    let compared = hub.call(&folder, &["diff", "gpt2", "org/small"]);
    assert_eq!(compared.status.code(), Some(0), "{compared:?}");
}

/// A kept plan of a model that no cache has: the hub is asked, and what it refuses is that file's own error.
#[test]
fn checks_ask_the_hub() {
    let (hub, folder) = (Hub::start(), Folder::new());
    let (kept, gated) = (folder.argument("kept.yaml"), folder.argument("gated.yaml"));
    assert_eq!(hub.call(&folder, &["snapshot", "org/small", "-o", &kept]).status.code(), Some(0));
    fs::remove_dir_all(folder.join("cache")).unwrap();
    let checked = hub.call(&folder, &["check", &kept]);
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    let other = fs::read_to_string(&kept).unwrap().replace("org/small", "gated/m");
    fs::write(&gated, other).unwrap();
    let checked = hub.call(&folder, &["check", &kept, &gated]);
    let said = text(&checked);
    assert_eq!(checked.status.code(), Some(2), "{said}");
    assert!(said.contains("kept.yaml: same") && said.contains("gated.yaml: missing model"), "{said}");
    assert!(said.contains("gated/m is gated: its makers let in who asks"), "{said}");
}

#[test]
fn what_the_hub_refuses_is_said_in_one_line() {
    let (hub, folder) = (Hub::start(), Folder::new());
    for (id, line, hint) in [
        ("gated/m", "gated/m is gated: its makers let in who asks", "set HF_TOKEN"),
        ("nobody/m", "has no such model, or it is private", "check its name"),
        ("org/small@v9", "org/small has no revision v9", "lists its branches"),
        ("busy/m", "busy/m: too many requests", "try again in 7 s"),
        ("broken/m", "not JSON", ""),
    ] {
        let output = hub.call(&folder, &["plan", id]);
        let said = text(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(line) && said.contains(hint) && said.lines().count() <= 2, "{said}");
    }
    let gone = Hub { endpoint: "http://127.0.0.1:9".to_owned(), ..Hub::start() };
    let said = text(&gone.call(&folder, &["plan", "org/other"]));
    assert!(
        said.contains("org/other: http://127.0.0.1:9 cannot be reached") && said.contains("HF_HUB_OFFLINE=1"),
        "{said}"
    );
    let said = text(&hub.call_with(&folder, &["plan", "org/other"], &[("HF_HUB_OFFLINE", "1")]));
    assert!(!folder.join("cache/models--broken--m").exists(), "what is broken is not kept");
    assert!(said.contains("org/other is in no local cache of the hub and not built in"), "{said}");
}

#[test]
fn the_cache_of_the_hub_is_read() {
    let folder = Folder::new();
    let snapshot = folder.join("hub/models--org--cached/snapshots/c0ffee");
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(folder.join("hub/models--org--cached/refs")).unwrap();
    fs::write(folder.join("hub/models--org--cached/refs/main"), "c0ffee").unwrap();
    fs::write(snapshot.join("config.json"), CONFIG).unwrap();
    let call = |variables: &[(&str, &Path)]| {
        let mut command = memplan(&["plan", "org/cached", "--full"]);
        text(&command.env_remove("HF_HUB_CACHE").envs(variables.iter().copied()).output().unwrap())
    };
    for variables in [&[("HF_HUB_CACHE", &*folder.join("hub"))][..], &[("HF_HOME", &*folder.join(""))]] {
        let said = call(variables);
        assert!(said.starts_with("fits") && said.contains("note: no weights beside"), "{said}");
    }
    // the config alone, as a file or a folder
    for path in [snapshot.join("config.json"), snapshot] {
        let output = memplan(&["plan", path.to_str().unwrap()]).output().unwrap();
        assert!(text(&output).starts_with("fits"), "{}", text(&output));
    }
}

#[test]
fn names_are_taken_and_said() {
    for (asked, taken) in
        [("Qwen/Qwen3-8B", "qwen3-8b"), ("bert-base-uncased", "bert-base"), ("llama3-8b", "llama-3.1-8b")]
    {
        let output = memplan(&["plan", asked, "--mode", "infer"]).output().unwrap();
        let said = String::from_utf8(output.stderr.clone()).unwrap();
        assert_eq!(said, format!("memplan: note: {asked:?} is taken for the built-in {taken}\n"), "{}", text(&output));
    }
    for path in ["./missing", "missing.pt2", "/nowhere/Qwen3-8B"] {
        let said = text(&memplan(&["plan", path]).output().unwrap());
        assert_eq!(said, format!("memplan: error: {path}: no such file or folder\n"));
    }
}
