//! Small safetensors files in a folder of their own.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

/// A folder that is removed at the end of the test.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Writes a file of these bytes.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// Writes a safetensors file with this header and `data` bytes that take no room on the disk.
    pub fn safetensors(&self, name: &str, header: &str, data: u64) -> PathBuf {
        let path = self.join(name);
        let mut file = File::create(&path).unwrap();
        file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
        file.write_all(header.as_bytes()).unwrap();
        file.set_len(8 + header.len() as u64 + data).unwrap();
        path
    }

    /// Writes a safetensors file with one F32 vector of 2 elements for each name.
    pub fn vectors(&self, name: &str, tensors: &[&str]) -> PathBuf {
        let entry = |(i, tensor): (usize, &&str)| {
            format!(r#""{tensor}":{{"dtype":"F32","shape":[2],"data_offsets":[{},{}]}}"#, 8 * i, 8 * i + 8)
        };
        let header: Vec<String> = tensors.iter().enumerate().map(entry).collect();
        self.safetensors(name, &format!("{{{}}}", header.join(",")), 8 * tensors.len() as u64)
    }

    /// An error's text with this folder's path replaced by `DIR`; one line.
    pub fn text(&self, error: impl ToString) -> String {
        let text = error.to_string().replace(&self.path().to_string_lossy()[..], "DIR");
        assert_eq!(text.lines().count(), 1, "{text}");
        text
    }
}

/// The models of `tests/truth/models`: name and header.
pub fn truth() -> Vec<(String, String)> {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/truth/models");
    let mut read: Vec<(String, String)> = fs::read_dir(models)
        .unwrap()
        .map(|entry| {
            let folder = entry.unwrap();
            let header = fs::read_to_string(folder.path().join("header.json")).unwrap();
            (folder.file_name().into_string().unwrap(), header)
        })
        .collect();
    read.sort();
    assert_eq!(read.len(), 18);
    read
}

/// The truth record's folder of one model.
pub fn truth_folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/truth/models").join(name)
}

/// Bytes of data that a header's tensors take.
pub fn data_length(header: &str) -> u64 {
    let header: Value = serde_json::from_str(header).unwrap();
    let ends = header.as_object().unwrap().values().filter_map(|entry| entry.pointer("/data_offsets/1")?.as_u64());
    ends.max().unwrap_or(0)
}
