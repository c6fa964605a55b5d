//! Folders of weights: which files are read, and each error by its text.

use std::fs;

use planner::bytes::Bytes;
use planner::read::checkpoint::{self, Checkpoint, FileId};

use super::support::{Folder, data_length, truth};

const INDEX: &str = "model.safetensors.index.json";

fn refused(folder: &Folder) -> String {
    folder.text(checkpoint::read(folder.path()).unwrap_err())
}

/// The tensors' names and files.
fn shown(checkpoint: &Checkpoint) -> Vec<(&str, String)> {
    let name = |FileId(file)| checkpoint.files[file as usize].path.file_name().unwrap().to_string_lossy().into_owned();
    checkpoint.tensors.iter().map(|(tensor, stored)| (&tensor[..], name(stored.file))).collect()
}

fn owned<'a>(pairs: &[(&'a str, &str)]) -> Vec<(&'a str, String)> {
    pairs.iter().map(|(tensor, file)| (*tensor, file.to_string())).collect()
}

/// A folder with two shards and this weight map.
fn sharded(weight_map: &str) -> Folder {
    let folder = Folder::new();
    folder.vectors("s1.safetensors", &["a", "b"]);
    folder.vectors("s2.safetensors", &["c"]);
    folder.write(INDEX, format!(r#"{{"metadata":{{"total_size":24}},"weight_map":{{{weight_map}}}}}"#));
    folder
}

#[test]
fn a_file_of_its_own() {
    let folder = Folder::new();
    let path = folder.vectors("any.safetensors", &["a", "b"]);
    let read = checkpoint::read(&path).unwrap();
    assert_eq!(shown(&read), owned(&[("a", "any.safetensors"), ("b", "any.safetensors")]));
    assert_eq!((read.bytes(), read.tensors["a"].elements(), read.tensors["a"].bytes), (Bytes(16), 2, Bytes(8)));
    assert_eq!((read.files[0].tensors, read.files[0].data), (2, Bytes(16)));
}

#[test]
fn the_model_comes_before_index_and_others() {
    let folder = sharded(r#""a":"s1.safetensors""#);
    folder.vectors("model.safetensors", &["m"]);
    assert_eq!(shown(&checkpoint::read(folder.path()).unwrap()), owned(&[("m", "model.safetensors")]));
}

#[test]
fn shards_of_an_index() {
    let folder = sharded(r#""c":"s2.safetensors","a":"s1.safetensors","b":"./s1.safetensors""#);
    let error = refused(&folder);
    assert_eq!(error, r#"DIR: tensor "a" is in two shards, "s1.safetensors" and "s1.safetensors""#);
    let folder = sharded(r#""c":"s2.safetensors","a":"s1.safetensors""#);
    let read = checkpoint::read(folder.path()).unwrap();
    let expected = owned(&[("c", "s2.safetensors"), ("a", "s1.safetensors"), ("b", "s1.safetensors")]);
    assert_eq!(shown(&read), expected);
    assert_eq!(shown(&checkpoint::read(&folder.join(INDEX)).unwrap()), expected);
}

#[test]
fn an_only_file_or_index_of_another_name() {
    let folder = Folder::new();
    folder.vectors("adapter_model.safetensors", &["a"]);
    assert_eq!(shown(&checkpoint::read(folder.path()).unwrap()), owned(&[("a", "adapter_model.safetensors")]));
    folder.vectors("other.safetensors", &["b"]);
    folder.write("diffusion.safetensors.index.json", r#"{"weight_map":{"b":"other.safetensors"}}"#);
    assert_eq!(shown(&checkpoint::read(folder.path()).unwrap()), owned(&[("b", "other.safetensors")]));
}

#[test]
fn shards_without_an_index() {
    let folder = Folder::new();
    folder.vectors("model-00002-of-00002.safetensors", &["b"]);
    folder.vectors("model-00001-of-00002.safetensors", &["a"]);
    let read = checkpoint::read(folder.path()).unwrap();
    let files = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    assert_eq!(shown(&read), owned(&[("a", files[0]), ("b", files[1])]));

    let folder = Folder::new();
    folder.vectors("model-00001-of-00003.safetensors", &["a"]);
    folder.vectors("model-00003-of-00003.safetensors", &["c"]);
    assert_eq!(
        refused(&folder),
        r#"DIR: shard "model-00002-of-00003.safetensors" is missing (1 of 3 shards are): finish the download"#
    );
}

#[cfg(unix)]
#[test]
fn links_of_the_hubs_cache() {
    let folder = Folder::new();
    fs::create_dir_all(folder.join("blobs")).unwrap();
    fs::create_dir_all(folder.join("snapshots/1")).unwrap();
    folder.vectors("blobs/5f", &["a"]);
    folder.write("blobs/6e", r#"{"weight_map":{"a":"model-00001-of-00001.safetensors"}}"#);
    let link =
        |blob: &str, name: &str| std::os::unix::fs::symlink(blob, folder.join("snapshots/1").join(name)).unwrap();
    link("../../blobs/5f", "model-00001-of-00001.safetensors");
    link("../../blobs/6e", INDEX);
    let read = checkpoint::read(&folder.join("snapshots/1")).unwrap();
    assert_eq!(shown(&read), owned(&[("a", "model-00001-of-00001.safetensors")]));
}

#[test]
fn no_weights() {
    let folder = Folder::new();
    assert_eq!(folder.text(checkpoint::read(&folder.join("none")).unwrap_err()), "DIR/none: no such file or folder");
    let expected = "DIR: no weights: expected model.safetensors, model.safetensors.index.json with its shards, or another .safetensors file";
    assert_eq!(refused(&folder), expected);
    folder.write("optimizer.bin", "");
    assert_eq!(refused(&folder), expected);
    folder.write("model.gguf", "");
    assert_eq!(refused(&folder), format!("{expected}; model.gguf is there: convert it to safetensors"));
    folder.write("pytorch_model.bin", "");
    assert_eq!(refused(&folder), format!("{expected}; pytorch_model.bin is there: convert it to safetensors"));
}

#[test]
fn several_files_that_nothing_ties_together() {
    let folder = Folder::new();
    for name in ["a", "b", "c", "d"] {
        folder.vectors(&format!("{name}.safetensors"), &[name]);
    }
    assert_eq!(
        refused(&folder),
        "DIR: 4 .safetensors files and no model.safetensors.index.json to say how they belong together (a.safetensors, b.safetensors, c.safetensors, ...): name one of them"
    );
}

#[test]
fn missing_shards() {
    let folder = sharded(r#""a":"s1.safetensors","d":"s3.safetensors","e":"s4.safetensors""#);
    assert_eq!(refused(&folder), r#"DIR: shard "s3.safetensors" is missing (2 of 3 shards are): finish the download"#);
}

#[test]
fn shards_outside_the_folder() {
    for (written, shown) in [
        ("/etc/passwd", "/etc/passwd"),
        ("../s1.safetensors", "../s1.safetensors"),
        ("x/../../s1.safetensors", "x/../../s1.safetensors"),
        ("", ""),
        (".", "."),
        ("..", ".."),
        ("../\\n", "../\\n"),
    ] {
        let folder = sharded(&format!(r#""a":"{written}""#));
        assert_eq!(refused(&folder), format!("DIR/{INDEX}: shard \"{shown}\" does not lie in the model's folder"));
    }
}

#[test]
fn an_index_that_disagrees_with_its_shards() {
    let folder = sharded(r#""a":"s1.safetensors","c":"s1.safetensors""#);
    assert_eq!(
        refused(&folder),
        format!(r#"DIR/{INDEX}: the index puts tensor "c" into shard "s1.safetensors", which does not have it"#)
    );
    let folder = sharded(r#""a":"s1.safetensors","x":"s2.safetensors""#);
    assert_eq!(
        refused(&folder),
        format!(r#"DIR/{INDEX}: the index puts tensor "x" into shard "s2.safetensors", which does not have it"#)
    );
    let folder = sharded(r#""a":"s1.safetensors","c":"s2.safetensors""#);
    folder.vectors("s2.safetensors", &["b", "c"]);
    assert_eq!(refused(&folder), r#"DIR: tensor "b" is in two shards, "s1.safetensors" and "s2.safetensors""#);
}

#[test]
fn a_broken_shard_is_named() {
    let folder = sharded(r#""a":"s1.safetensors","c":"s2.safetensors""#);
    folder.write("s2.safetensors", "short");
    assert_eq!(
        refused(&folder),
        "DIR/s2.safetensors: is not a safetensors file: 5 bytes, where the header's length alone takes 8"
    );
}

#[test]
fn of_several_broken_shards_the_first_is_named() {
    let folder = Folder::new();
    let names: Vec<String> = (0..40).map(|shard| format!("s{shard:02}.safetensors")).collect();
    for (shard, name) in names.iter().enumerate() {
        match shard {
            0..7 => folder.vectors(name, &[&format!("t{shard}")]),
            _ => folder.write(name, ""),
        };
    }
    let entries: Vec<String> = names.iter().enumerate().map(|(i, name)| format!(r#""t{i}":"{name}""#)).collect();
    folder.write(INDEX, format!(r#"{{"weight_map":{{{}}}}}"#, entries.join(",")));
    for _ in 0..20 {
        assert!(refused(&folder).starts_with("DIR/s07.safetensors: is not a safetensors file: 0 bytes"));
    }
}

#[test]
fn a_broken_index() {
    let index = |text: &str| {
        let folder = Folder::new();
        folder.write(INDEX, text);
        refused(&folder).strip_prefix(&format!("DIR/{INDEX}: ")).unwrap().to_string()
    };
    assert_eq!(index("{\n\"weight_map\": {"), "not JSON: EOF while parsing an object (line 2 column 15)");
    assert_eq!(index("{}"), "not an index of shards: missing field `weight_map` (line 1 column 2)");
    assert_eq!(
        index(r#"{"weight_map":{"a":1}}"#),
        "not an index of shards: invalid type: integer `1`, expected a string (line 1 column 20)"
    );
    assert_eq!(
        index(r#"{"weight_map":[]}"#),
        "not an index of shards: invalid type: sequence, expected an object of tensor names and shard names (line 1 column 14)"
    );
    assert_eq!(index(r#"{"weight_map":{}}"#), "its weight_map is empty");
    let folder = Folder::new();
    fs::File::create(folder.join(INDEX)).unwrap().set_len(checkpoint::LARGEST_INDEX + 1).unwrap();
    assert_eq!(refused(&folder), format!("DIR/{INDEX}: cannot be read: 100000001 bytes, above the limit of 100000000"));
    let folder = Folder::new();
    fs::create_dir(folder.join(INDEX)).unwrap();
    assert_eq!(refused(&folder), format!("DIR/{INDEX}: cannot be read: it is a folder, and only files are read"));
}

#[test]
fn recorded_models_in_one_file_and_in_shards() {
    for (name, header) in truth() {
        let single = Folder::new();
        single.safetensors("model.safetensors", &header, data_length(&header));
        let single = checkpoint::read(single.path()).unwrap();
        assert_eq!(single.bytes(), Bytes(data_length(&header)), "{name}");
        assert_eq!(single.tensors.values().map(|tensor| tensor.bytes).sum::<Bytes>(), single.bytes());

        let folder = Folder::new();
        let mut weight_map = serde_json::Map::new();
        let tensors: Vec<_> = single.tensors.iter().collect();
        for (shard, part) in tensors.chunks(tensors.len().div_ceil(3)).enumerate() {
            let (mut header, mut end) = (serde_json::Map::new(), 0);
            for (tensor, stored) in part {
                let start = end;
                end += stored.bytes.0;
                let entry = serde_json::json!({"dtype": stored.dtype.to_string(), "shape": stored.shape, "data_offsets": [start, end]});
                header.insert(tensor.to_string(), entry);
                weight_map.insert(tensor.to_string(), format!("shard{shard}.safetensors").into());
            }
            folder.safetensors(&format!("shard{shard}.safetensors"), &serde_json::to_string(&header).unwrap(), end);
        }
        folder.write(INDEX, serde_json::json!({ "weight_map": weight_map }).to_string());
        let sharded = checkpoint::read(folder.path()).unwrap();
        assert_eq!((sharded.files.len(), sharded.bytes()), (3, single.bytes()), "{name}");
        let kinds = |read: &Checkpoint| -> Vec<_> {
            read.tensors.iter().map(|(name, stored)| (name.clone(), stored.dtype, stored.shape.clone())).collect()
        };
        assert_eq!(kinds(&sharded), kinds(&single), "{name}");
    }
}
