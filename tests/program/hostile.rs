//! Files that are hostile or wrong: each is refused at once, in few lines, by its name.

use std::fs::{self, File};
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Folder, call, memplan, recorded};

/// How each reader of YAML is given a file, and what the file begins with where that matters.
const YAML: [(&[&str], &str); 13] = [
    (&["plan", "--run", "FILE"], ""),
    (&["plan", "FILE"], ""),
    (&["graph", "FILE"], ""),
    (&["advise", "FILE"], ""),
    (&["plan", "gpt2", "--profile", "FILE"], ""),
    (&["check", "FILE"], "snapshot: 1\n"),
    (&["check", "FILE", "--update"], ""),
    (&["diff", "FILE", "gpt2"], "snapshot: 1\n"),
    (&["diff", "gpt2", "FILE"], ""),
    (&["report", "gpt2", "--against", "FILE", "-o", "page.html"], ""),
    (&["plan", "nothing-built-in", "--specs", "DIR/models"], ""),
    (&["plan", "gpt2", "--gpu", "mine", "--specs", "DIR/gpus"], ""),
    (&["plan", "gpt2", "--optimizer", "mine", "--specs", "DIR/optimizers"], ""),
];

/// A call of a reader with the file that it reads; readers of folders get the file within them.
fn prepared(folder: &Folder, number: usize) -> (Vec<String>, std::path::PathBuf) {
    let (arguments, _) = YAML[number];
    let kind = ["models", "gpus", "optimizers"].into_iter().find(|kind| arguments.iter().any(|a| a.ends_with(kind)));
    let name = kind.map_or("file.yaml".to_owned(), |kind| format!("{kind}/{kind}/file.yaml"));
    let file = folder.write(&name, "");
    let words = arguments.iter().map(|word| match *word {
        "FILE" => folder.argument(&name),
        "page.html" => folder.argument(word),
        word => word.replace("DIR", folder.join("").to_str().unwrap().trim_end_matches('/')),
    });
    (words.collect(), file)
}

/// What a call must end with: code 2, soon, in at most three lines of 100 columns, which name the file unless the report does.
fn refused(words: &[String], file: &Path) -> String {
    let began = Instant::now();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let Output { status, stderr, stdout } = memplan(&words).output().unwrap();
    assert!(began.elapsed() < Duration::from_secs(20), "{words:?}");
    let (error, report) = (String::from_utf8(stderr).unwrap(), String::from_utf8(stdout).unwrap());
    assert_eq!(status.code(), Some(2), "{words:?}: {report}{error}");
    short(&error);
    let name = file.file_name().unwrap().to_str().unwrap();
    assert!(error.contains(name) || words[0] == "check" && report.contains(name), "{words:?}: {report}{error}");
    report + &error
}

fn short(error: &str) {
    let lines: usize = error.lines().map(|line| line.chars().count().div_ceil(100)).sum();
    assert!(lines <= 3 && !error.is_empty(), "{lines} lines:\n{error}");
}

#[test]
fn nested_yaml_is_refused_at_once_by_every_reader() {
    for (number, (_, head)) in YAML.iter().enumerate() {
        let folder = Folder::new();
        let (words, file) = prepared(&folder, number);
        for piece in ["[", "{a: ", "- ", "[[], ", "? ", "[\"]\", "] {
            let begin = if piece == "- " || piece == "? " { "" } else { "model: " };
            fs::write(&file, format!("{head}# nothing-built-in\n{begin}{}", piece.repeat(100_000))).unwrap();
            let said = refused(&words, &file);
            assert!(said.contains("nested more than 128 levels deep"), "{words:?} {piece}: {said}");
        }
    }
}

#[test]
fn misspelt_keys_are_said_in_few_lines() {
    for (number, (_, head)) in YAML.iter().enumerate() {
        let folder = Folder::new();
        let (words, file) = prepared(&folder, number);
        for key in ["bacth", &"long".repeat(500), "\u{202e}key", "nothing-built-in"] {
            fs::write(&file, format!("{head}{key}: 1\n")).unwrap();
            let said = refused(&words, &file);
            assert!(!said.contains('\u{202e}'), "{said}");
        }
    }
    let folder = Folder::new();
    let run = folder.write("run.yaml", "model: gpt2\nbacth: 4\n");
    let said = folder.error("", &["plan", "--run", run.to_str().unwrap()]);
    assert!(said.contains("unknown field `bacth`; the nearest are `batch`"), "{said}");
    assert!(said.contains("run.yaml:2:1") && said.contains("`memplan plan --help` lists all"), "{said}");
}

#[test]
fn misspelt_words_are_said_in_few_lines() {
    for words in [
        ["--optimizer", "sgdx"],
        ["--optimizer", "adamw,lrr=1"],
        ["--gpu", "rtx5099"],
        ["--allocator", "expandable_segment:True"],
        ["--precision", "int3"],
        ["--variable", "X=1"],
        ["--checkpoint-save", "mmm"],
        ["--bacth", "3"],
        ["--sdpa", "fast"],
        ["--architecture", "GPT3"],
        ["--lora", "x=1"],
        ["--ddp", "2,x=1"],
    ] {
        let output = call(&["plan", "gpt2", words[0], words[1]]);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        short(&String::from_utf8(output.stderr).unwrap());
    }
}

#[test]
fn json_is_refused_in_few_lines() {
    let folder = Folder::new();
    let deep = "[".repeat(100_000);
    let (config, header) = recorded("gpt2");
    let model = folder.model("model", &config, &header);
    let plan = |path: &str| vec!["plan".to_owned(), path.to_owned()];
    for text in [deep.clone(), format!("{{\"a\": {deep}"), "{\"architectures\": [\"\u{202e}x\"]}".to_owned()] {
        let file = folder.write("model/config.json", &text);
        let said = refused(&plan(&model), &file.with_file_name(if text.contains("x\"") { "" } else { "config.json" }));
        assert!(!said.contains('\u{202e}'), "{said}");
        let trace = folder.write("trace.json", &text);
        refused(&["replay".to_owned(), folder.argument("trace.json")], &trace);
        let index = folder.write("index/model.safetensors.index.json", &text);
        refused(&["inspect".to_owned(), folder.argument("index")], &index);
        folder.safetensors("weights.safetensors", &text, 0);
        refused(&["inspect".to_owned(), folder.argument("weights.safetensors")], &folder.join("weights.safetensors"));
        let lock = folder.write("uv.lock", format!("a = {text}"));
        refused(&["plan", "gpt2", "--env", lock.to_str().unwrap()].map(str::to_owned), &lock);
    }
}

#[test]
fn a_file_that_is_not_utf8_is_named_with_its_line() {
    for (number, (_, head)) in YAML.iter().enumerate() {
        let folder = Folder::new();
        let (words, file) = prepared(&folder, number);
        fs::write(&file, [head.as_bytes(), b"# nothing-built-in\nname: \"\xff\"\n"].concat()).unwrap();
        let line = 2 + head.lines().count();
        let said = refused(&words, &file);
        assert!(said.contains(&format!("line {line} is not UTF-8")), "{words:?}: {said}");
    }
}

/// A folder whose name is no text: it is named by `.` from within, and refused in one line from elsewhere.
#[test]
#[cfg(unix)]
fn a_name_that_is_not_utf8_is_refused_in_one_line() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let (folder, (config, header)) = (Folder::new(), recorded("gpt2"));
    let name = OsStr::from_bytes(b"m\xffx");
    let model = folder.join("").join(name);
    fs::rename(folder.model("model", &config, &header), &model).unwrap();
    let within = memplan(&["plan", "."]).current_dir(&model).output().unwrap();
    assert!(within.stdout.starts_with(b"fits"), "{within:?}");
    let inspected = memplan(&["inspect"]).arg(&model).output().unwrap();
    assert_eq!(inspected.status.code(), Some(0), "{inspected:?}");
    for words in [&["plan"][..], &["graph"], &["advise"], &["plan", "gpt2", "--specs"], &["plan", "gpt2", "--weights"]]
    {
        let Output { status, stderr, .. } = memplan(words).arg(&model).output().unwrap();
        let error = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(2), "{words:?}: {error}");
        short(&error);
        assert!(error.contains("x` is not UTF-8: rename it, or go there and name it `.`"), "{words:?}: {error}");
    }
}

#[test]
#[cfg(unix)]
fn pipes_and_devices_are_refused_at_once_by_every_reader() {
    use std::os::unix::fs::symlink;
    let of_yaml = |number: usize, folder: &Folder| prepared(folder, number);
    let other = |words: &[&str], name: &str, folder: &Folder| {
        let file = folder.write(name, "");
        let path = folder.argument(name);
        let folder = folder.argument(name.split('/').next().unwrap());
        (words.iter().map(|word| word.replace("FILE", &path).replace("FOLDER", &folder)).collect::<Vec<_>>(), file)
    };
    let more: [(&[&str], &str); 12] = [
        (&["plan", "gpt2", "--checkpoint", "@FILE"], "list"),
        (&["plan", "gpt2", "--env", "FILE"], "uv.lock"),
        (&["plan", "gpt2", "--weights", "FILE"], "w.safetensors"),
        (&["inspect", "FILE"], "w.safetensors"),
        (&["inspect", "FILE"], "i.safetensors.index.json"),
        (&["plan", "FOLDER"], "model/config.json"),
        (&["replay", "FILE"], "trace.json"),
        (&["why", "FILE", "--tensor", "x"], "trace.json"),
        (&["pack", "FILE", "--minimize"], "buffers.csv"),
        (&["plan", "FILE"], "model.pt2"),
        (&["plan", "FILE"], "model"),
        (&["plan", "gpt2", "--specs", "FOLDER"], "specs/library/norms.yaml"),
    ];
    for number in 0..YAML.len() + more.len() - 1 {
        let folder = Folder::new();
        let (words, file) = match number.checked_sub(YAML.len()) {
            None => of_yaml(number, &folder),
            Some(number) => other(more[number].0, more[number].1, &folder),
        };
        for (what, make) in [
            (
                "it is a pipe",
                &(|file: &Path| {
                    assert!(std::process::Command::new("mkfifo").arg(file).status().unwrap().success());
                }) as &dyn Fn(&Path),
            ),
            ("it is a device", &|file| symlink("/dev/zero", file).unwrap()),
        ] {
            fs::remove_file(&file).unwrap();
            make(&file);
            let said = refused(&words, &file);
            assert!(said.contains(what), "{words:?}: {said}");
        }
    }
}

#[test]
fn files_beyond_their_limit_are_refused_at_once() {
    let beyond = |name: &str, words: &[&str]| {
        let folder = Folder::new();
        File::create(folder.write(name, "")).unwrap().set_len(1 << 36).unwrap();
        let path = folder.argument(name);
        let words: Vec<String> = words.iter().map(|word| word.replace("FILE", &path)).collect();
        let said = refused(&words, &folder.join(name));
        assert!(said.contains("68719476736 bytes, above the limit"), "{said}");
    };
    beyond("run.yaml", &["plan", "--run", "FILE"]);
    beyond("spec.yaml", &["plan", "FILE"]);
    beyond("kept.yaml", &["check", "FILE"]);
    beyond("kept.yaml", &["diff", "FILE", "gpt2"]);
    beyond("mine.yaml", &["plan", "gpt2", "--profile", "FILE"]);
    beyond("list", &["plan", "gpt2", "--checkpoint", "@FILE"]);
    beyond("uv.lock", &["plan", "gpt2", "--env", "FILE"]);
    beyond("trace.json", &["replay", "FILE"]);
    beyond("buffers.csv", &["pack", "FILE", "--minimize"]);
    beyond("x.safetensors.index.json", &["inspect", "FILE"]);
}

#[test]
fn what_a_config_causes_names_the_config_and_the_key() {
    let folder = Folder::new();
    let said = |model: &str, changes: Value, arguments: &[&str]| {
        let (mut config, header) = recorded(model);
        config.extend(changes.as_object().unwrap().clone());
        let path = folder.model("model", &config, &header);
        folder.error("", &[&["plan", &path, "--mode", "infer"], arguments].concat())
    };
    let error = said("mistral-7b", json!({"vocab_size": 1u64 << 62}), &[]);
    assert!(error.contains("DIR/model/config.json: vocab_size is 4611686018427387904: "), "{error}");
    let error = said("gpt2", json!({"activation_function": "\u{202e}nope"}), &[]);
    assert!(error.contains("DIR/model/config.json: "), "{error}");
    assert!(error.contains("\\u{202e}nope") && !error.contains('\u{202e}'), "{error}");
    let error = said("gpt2", json!({"quantization_config": 3}), &[]);
    assert!(error.contains("DIR/model/config.json: quantization_config: "), "{error}");
    let quantized = json!({"quantization_config": {"quant_method": "gptq", "bits": "many"}});
    let error = said("llama-3.2-1b", quantized, &[]);
    assert!(error.contains("DIR/model/config.json: quantization_config: \"bits\""), "{error}");
    // what the run causes is not the config's
    let error = said("gpt2", json!({}), &["--batch", "4294967295", "--seq", "1000"]);
    assert!(!error.contains("config.json"), "{error}");
}

#[test]
fn nothing_hides_in_a_report() {
    let folder = Folder::new();
    let buffers = folder.write("b.csv", "id,lower,upper,size\n\u{202e}a,0,1,8\nb,0,1,8\n");
    for format in ["text", "json"] {
        let output = call(&["pack", buffers.to_str().unwrap(), "--minimize", "--format", format]);
        assert!(!String::from_utf8(output.stdout.clone()).unwrap().contains('\u{202e}'));
        if format == "json" {
            let json: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(json["layout"][0]["id"], "\u{202e}a");
        }
    }
}
