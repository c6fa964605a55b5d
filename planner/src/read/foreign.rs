//! Files of other programs that people try: what they are by their first bytes, and what to do instead.

use std::io::Read;
use std::path::Path;

use crate::files;

/// What begins such files, what they are, and what to do.
const KINDS: [(&[u8], &str); 6] = [
    (b"PK\x03\x04", TORCH_SAVE),
    (b"\x80\x02", TORCH_SAVE), // a pickle of protocol 2, as torch.save wrote before 1.6
    (b"GGUF", "is a GGUF file of llama.cpp, which is not planned: give the model that it was made from"),
    (b"\x89HDF", "is an HDF5 file of Keras, which is not planned"),
    (b"\x08\x07\x12", ONNX),
    (b"\x08\x08\x12", ONNX),
];

const TORCH_SAVE: &str = "is a file of torch.save, and no pickle is run here: give the folder with config.json, or export \
                          the model: torch.export.save(torch.export.export(model, inputs), \"model.pt2\")";

const ONNX: &str = "is an ONNX model, which is not planned: export it with torch.export.save as a .pt2";

const PYTHON: &str = "is Python: export the model, torch.export.save(torch.export.export(model, inputs), \"model.pt2\"), or \
                      call memplan.estimate(model, inputs) from it";

/// What a file is by its first bytes, and what to do with it; None where it is none of these.
pub fn kind(begin: &[u8]) -> Option<&'static str> {
    KINDS.iter().find(|(magic, _)| begin.starts_with(magic)).map(|(_, kind)| *kind)
}

/// What a file on the disk is, by its name or its first bytes.
pub fn kind_of(path: &Path) -> Option<&'static str> {
    if path.extension().is_some_and(|extension| extension == "py") {
        return Some(PYTHON);
    }
    let mut begin = [0; 8];
    let (mut file, _) = files::open(path).ok()?;
    let read = file.read(&mut begin).ok()?;
    kind(begin.get(..read)?)
}
