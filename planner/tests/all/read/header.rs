//! One file's header: what is accepted, and each error by its text.

use planner::bytes::Bytes;
use planner::read::header::{self, Dtype};

use super::support::{Folder, data_length, truth};

/// The error's text for a file of this header and as many bytes of data.
fn refused(header: &str, data: u64) -> String {
    let folder = Folder::new();
    let path = folder.safetensors("m.safetensors", header, data);
    folder.text(header::read(&path).unwrap_err())
}

/// The error's text for a file of these bytes.
fn refused_bytes(content: &[u8]) -> String {
    let folder = Folder::new();
    let path = folder.write("m.safetensors", content);
    folder.text(header::read(&path).unwrap_err())
}

#[test]
fn tensors_come_by_offset() {
    let folder = Folder::new();
    let text = r#"{"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[4,16]},"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}   "#;
    let header = header::read(&folder.safetensors("m.safetensors", text, 16)).unwrap();
    assert_eq!(header.data, Bytes(16));
    assert_eq!(header.metadata.get("format").unwrap(), "pt");
    let shown: Vec<_> = header.tensors.iter().map(|t| (&t.name[..], t.dtype, &t.shape[..], t.data.clone())).collect();
    assert_eq!(shown, [("a", Dtype::F32, &[][..], 0..4), ("b", Dtype::BF16, &[2, 3][..], 4..16)]);
}

#[test]
fn empty_headers_and_empty_tensors() {
    let folder = Folder::new();
    assert_eq!(header::read(&folder.safetensors("m", "{}", 0)).unwrap().tensors, []);
    let text = r#"{"a":{"dtype":"F32","shape":[0,7],"data_offsets":[0,0]},"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#;
    assert_eq!(header::read(&folder.safetensors("m", text, 1)).unwrap().tensors.len(), 2);
}

#[test]
fn dtypes_below_a_byte() {
    let folder = Folder::new();
    let text = r#"{"a":{"dtype":"F4","shape":[3,2],"data_offsets":[0,3]},"b":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[3,6]}}"#;
    assert_eq!(header::read(&folder.safetensors("m", text, 6)).unwrap().data, Bytes(6));
    assert_eq!(
        refused(r#"{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}"#, 2),
        r#"DIR/m.safetensors: tensor "a" (F4 [3]) ends inside a byte"#
    );
}

#[test]
fn recorded_models() {
    let folder = Folder::new();
    for (name, header) in truth() {
        let path = folder.safetensors(&name, &header, data_length(&header));
        let read = header::read(&path).unwrap();
        let raw: serde_json::Value = serde_json::from_str(&header).unwrap();
        let tensors = raw.as_object().unwrap().keys().filter(|key| *key != "__metadata__").count();
        assert_eq!((read.tensors.len(), read.data), (tensors, Bytes(data_length(&header))), "{name}");
        for tensor in &read.tensors {
            assert_eq!(raw[&tensor.name]["dtype"], tensor.dtype.to_string());
            assert_eq!(raw[&tensor.name]["shape"], serde_json::json!(tensor.shape));
            assert_eq!(raw[&tensor.name]["data_offsets"], serde_json::json!([tensor.data.start, tensor.data.end]));
        }
    }
}

#[test]
fn no_file() {
    let folder = Folder::new();
    let read = |name: &str| folder.text(header::read(&folder.join(name)).unwrap_err());
    assert_eq!(read("none"), "DIR/none: cannot be read: No such file or directory (os error 2)");
    assert_eq!(read("."), "DIR/.: cannot be read: it is a folder, and only files are read");
}

#[test]
fn wrong_lengths() {
    assert_eq!(
        refused_bytes(b"1234567"),
        "DIR/m.safetensors: is not a safetensors file: 7 bytes, where the header's length alone takes 8"
    );
    assert_eq!(
        refused_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"),
        "DIR/m.safetensors: is a Git LFS pointer, not the weights: run `git lfs pull`"
    );
    assert_eq!(
        refused_bytes(&[&100_000_001u64.to_le_bytes()[..], b"{}"].concat()),
        "DIR/m.safetensors: is not a safetensors file: its header would be 100000001 bytes long, above the limit of 100000000"
    );
    assert_eq!(
        refused_bytes(&[255; 64]),
        "DIR/m.safetensors: is not a safetensors file: its header would be 18446744073709551615 bytes long, above the limit of 100000000"
    );
    assert_eq!(
        refused_bytes(&[&3u64.to_le_bytes()[..], b"{}"].concat()),
        "DIR/m.safetensors: truncated: its header is 3 bytes long, but only 2 bytes follow"
    );
    let header = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    assert_eq!(
        refused(header, 5),
        "DIR/m.safetensors: truncated: 3 bytes are missing (its tensors end at byte 70, the file at 67)"
    );
    assert_eq!(refused(header, 10), "DIR/m.safetensors: 2 bytes follow its last tensor");
}

#[test]
fn wrong_text() {
    assert_eq!(
        refused_bytes(&[&4u64.to_le_bytes()[..], b"{\"\xff}"].concat()),
        "DIR/m.safetensors: its header is not UTF-8 (byte 2 of the header)"
    );
    assert_eq!(
        refused("", 0),
        "DIR/m.safetensors: its header is not JSON: EOF while parsing a value (line 1 column 0)"
    );
    assert_eq!(
        refused("{\"a\":\n nonsense}", 0),
        "DIR/m.safetensors: its header is not JSON: expected ident (line 2 column 3)"
    );
    assert_eq!(refused("{} {}", 0), "DIR/m.safetensors: its header is not JSON: trailing characters (line 1 column 4)");
    assert_eq!(
        refused("[]", 0),
        "DIR/m.safetensors: its header is not a JSON object: invalid type: sequence, expected an object of tensors (line 1 column 0)"
    );
}

#[test]
fn wrong_entries() {
    assert_eq!(
        refused(r#"{"a":{"dtype":"F32","shape":[2]}}"#, 8),
        r#"DIR/m.safetensors: its header's entry "a" is wrong: missing field `data_offsets` (line 1 column 32)"#
    );
    assert_eq!(
        refused(r#"{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}"#, 8),
        r#"DIR/m.safetensors: its header's entry "a" is wrong: invalid value: integer `-2`, expected u64 (line 1 column 31)"#
    );
    assert_eq!(
        refused(r#"{"__metadata__":{"format":1}}"#, 0),
        r#"DIR/m.safetensors: its header's entry "__metadata__" is wrong: invalid type: integer `1`, expected a string (line 1 column 27)"#
    );
    assert_eq!(
        refused(r#"{"a":{"dtype":"F33","shape":[2],"data_offsets":[0,8]}}"#, 8),
        r#"DIR/m.safetensors: tensor "a" has the unknown dtype "F33""#
    );
}

#[test]
fn repeated_names() {
    assert_eq!(
        refused(
            r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#,
            2
        ),
        r#"DIR/m.safetensors: its header names "a" twice"#
    );
    assert_eq!(
        refused(r#"{"__metadata__":{},"__metadata__":{}}"#, 0),
        r#"DIR/m.safetensors: its header names "__metadata__" twice"#
    );
}

#[test]
fn wrong_sizes() {
    assert_eq!(
        refused(r#"{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,8]}}"#, 8),
        r#"DIR/m.safetensors: tensor "a" (F32 [2, 3]) takes 24 bytes, but its offsets hold 8"#
    );
    let overflow = r#"DIR/m.safetensors: tensor "a" of shape [4294967296, 4294967296] is too large to count"#;
    assert_eq!(refused(r#"{"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}}"#, 0), overflow);
    assert_eq!(
        refused(r#"{"a":{"dtype":"F32","shape":[9223372036854775807],"data_offsets":[0,0]}}"#, 0),
        r#"DIR/m.safetensors: tensor "a" of shape [9223372036854775807] is too large to count"#
    );
}

#[test]
fn wrong_offsets() {
    let two = |a: [u64; 2], b: [u64; 2]| {
        let entry = |name, [start, end]: [u64; 2]| {
            let length = end.saturating_sub(start);
            format!(r#""{name}":{{"dtype":"U8","shape":[{length}],"data_offsets":[{start},{end}]}}"#)
        };
        refused(&format!("{{{},{}}}", entry("a", a), entry("b", b)), 10)
    };
    assert_eq!(two([0, 6], [4, 10]), r#"DIR/m.safetensors: tensor "b" starts at offset 4, inside "a" which ends at 6"#);
    assert_eq!(
        two([0, 4], [6, 10]),
        r#"DIR/m.safetensors: tensor "b" starts at offset 6, 2 bytes after the end of the one before"#
    );
    assert_eq!(
        two([1, 4], [4, 10]),
        r#"DIR/m.safetensors: tensor "a" starts at offset 1, 1 bytes after the end of the one before"#
    );
    assert_eq!(two([0, 4], [10, 4]), r#"DIR/m.safetensors: tensor "b" ends at offset 4, before its start at 10"#);
}

#[test]
fn names_cannot_break_the_line() {
    assert_eq!(
        refused(r#"{"a\n\u001b[31m\u202e\"":{"dtype":"X\r","shape":[],"data_offsets":[0,0]}}"#, 0),
        r#"DIR/m.safetensors: tensor "a\n\u{1b}[31m\u{202e}"" has the unknown dtype "X\r""#
    );
    let long = "x".repeat(5000);
    let message = refused(&format!(r#"{{"{long}":{{"dtype":"X","shape":[],"data_offsets":[0,0]}}}}"#), 0);
    assert_eq!(
        message,
        format!(r#"DIR/m.safetensors: tensor "{}... (5000 bytes)" has the unknown dtype "X""#, "x".repeat(200))
    );
}
