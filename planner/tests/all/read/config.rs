//! config.json: typed access, and each error by its text.

use std::path::Path;

use planner::read::config::{self, Config, ConfigError};

use super::support::{Folder, truth, truth_folder};

fn parsed(text: &str) -> Result<Config, ConfigError> {
    config::parse(Path::new("config.json"), text.as_bytes())
}

fn refused<T: std::fmt::Debug>(result: Result<T, ConfigError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn recorded_models() {
    let mut read = 0;
    for (name, _) in truth() {
        let folder = truth_folder(&name);
        if !folder.join("config.json").exists() {
            continue;
        }
        let config = config::read(&folder).unwrap();
        assert!(!config.architecture().unwrap().is_empty() && !config.model_type().unwrap().is_empty(), "{name}");
        read += 1;
    }
    assert_eq!(read, 14);
    let llama = config::read(&truth_folder("llama-3.1-8b").join("config.json")).unwrap();
    assert_eq!(llama.architecture().unwrap(), "LlamaForCausalLM");
    assert_eq!(llama.model_type().unwrap(), "llama");
    assert_eq!(llama.dtype().unwrap(), None);
    assert_eq!(llama.integer("num_key_value_heads").unwrap(), Some(8));
    assert_eq!(llama.boolean("tie_word_embeddings").unwrap(), Some(false));
    assert_eq!(llama.section("rope_parameters").unwrap().unwrap().number("rope_theta").unwrap(), Some(10000.0));
    assert_eq!(llama.get("pad_token_id"), None);
}

#[test]
fn dtype_under_either_name() {
    assert_eq!(parsed(r#"{"torch_dtype":"float16"}"#).unwrap().dtype().unwrap(), Some("float16"));
    assert_eq!(parsed(r#"{"dtype":null,"torch_dtype":"float16"}"#).unwrap().dtype().unwrap(), Some("float16"));
    assert_eq!(parsed(r#"{"dtype":"bfloat16","torch_dtype":"float16"}"#).unwrap().dtype().unwrap(), Some("bfloat16"));
    assert_eq!(parsed("{}").unwrap().dtype().unwrap(), None);
}

#[test]
fn numbers_that_json_does_not_have() {
    let config = parsed(r#"{"name":"\"NaN, Infinity","limit":[0.0, Infinity],"low":-Infinity,"none":NaN,"new":{"__float__":"Infinity"}}"#).unwrap();
    assert_eq!(config.string("name").unwrap(), Some("\"NaN, Infinity"));
    assert_eq!(config.number("low").unwrap(), Some(f64::NEG_INFINITY));
    assert_eq!(config.number("new").unwrap(), Some(f64::INFINITY));
    assert!(config.number("none").unwrap().unwrap().is_nan());
    assert_eq!(config.list("limit").unwrap().unwrap().len(), 2);
}

#[test]
fn broken_files() {
    let folder = Folder::new();
    let read = |name: &str| folder.text(config::read(&folder.join(name)).unwrap_err());
    assert_eq!(read(""), "DIR/config.json: no such file: a model's folder has a config.json");
    folder.write("config.json", "{\n  \"a\": 1,\n}");
    assert_eq!(read(""), "DIR/config.json: line 3 column 1: not JSON: trailing comma");
    folder.write("config.json", b"{\"a\": \"\xff\"}");
    assert_eq!(read(""), "DIR/config.json: line 1 column 8: not JSON: invalid unicode code point");
    folder.write("config.json", "[".repeat(100_000));
    assert_eq!(read(""), "DIR/config.json: line 1 column 128: not JSON: recursion limit exceeded");
    folder.write("config.json", "[1]");
    assert_eq!(read(""), "DIR/config.json: not a JSON object but a list");
    let large = std::fs::File::create(folder.join("config.json")).unwrap();
    large.set_len(config::LARGEST_CONFIG + 1).unwrap();
    assert_eq!(read(""), "DIR/config.json: cannot be read: 16777217 bytes, above the limit of 16777216");
    std::fs::create_dir_all(folder.join("odd/config.json")).unwrap();
    assert_eq!(read("odd"), "DIR/odd/config.json: cannot be read: it is a folder, and only files are read");
}

#[test]
fn broken_keys() {
    let config = parsed(r#"{"n":-1,"s":"text","f":1.5,"o":{"k":[]},"architectures":[7],"model_type":null}"#).unwrap();
    assert_eq!(
        refused(config.integer("n")),
        r#"config.json: key "n" is -1, where a whole number of at least 0 is expected"#
    );
    assert_eq!(
        refused(config.integer("f")),
        r#"config.json: key "f" is 1.5, where a whole number of at least 0 is expected"#
    );
    assert_eq!(refused(config.number("s")), r#"config.json: key "s" is the string "text", where a number is expected"#);
    assert_eq!(refused(config.boolean("o")), r#"config.json: key "o" is an object, where true or false is expected"#);
    assert_eq!(
        refused(config.architecture()),
        r#"config.json: key "architectures[0]" is 7, where a class name is expected"#
    );
    assert_eq!(refused(config.model_type()), r#"config.json: key "model_type" is missing"#);
    let section = config.section("o").unwrap().unwrap();
    assert_eq!(refused(section.string("k")), r#"config.json: key "o.k" is an empty list, where a string is expected"#);
    assert_eq!(refused(section.needed("x", section.integer("x").unwrap())), r#"config.json: key "o.x" is missing"#);
    assert_eq!(
        refused(parsed(r#"{"architectures":[]}"#).unwrap().architecture()),
        r#"config.json: key "architectures" is an empty list, where a list of class names is expected"#
    );
    assert_eq!(refused(parsed("{}").unwrap().architecture()), r#"config.json: key "architectures" is missing"#);
}
