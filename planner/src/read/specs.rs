//! The specs that the binary carries: the repository's `specs/` folder, packed when it is built (`build.rs`).
//!
//! The one place that embeds them. Paths are relative to `specs/` and use `/`: `gpus/hopper.yaml`. A spec is unpacked when it is first
//! asked for, and stays.

use std::io::Read;
use std::sync::OnceLock;

use flate2::read::DeflateDecoder;

/// A spec as the binary carries it.
struct Packed {
    path: &'static str,
    /// Its architectures and configurations.
    names: &'static str,
    /// How many bytes it has when it is unpacked.
    length: usize,
    /// Where its bytes begin and end.
    place: (usize, usize),
}

include!(concat!(env!("OUT_DIR"), "/specs.rs"));

static BYTES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/specs.bin"));

/// The text of one embedded spec, or `None` where there is none at this path.
pub fn embedded(path: &str) -> Option<&'static str> {
    let place = FILES.binary_search_by(|file| file.path.cmp(path)).ok()?;
    text(place)
}

/// The embedded specs that lie directly in a folder, as (path, text), sorted by path.
pub fn embedded_files(folder: &str) -> Vec<(&'static str, &'static str)> {
    embedded_files_naming(folder, None)
}

/// The same of those that have an architecture or a configuration whose name holds a word.
pub fn embedded_files_naming(folder: &str, word: Option<&str>) -> Vec<(&'static str, &'static str)> {
    let directly = |path: &str| {
        path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/')).is_some_and(|name| !name.contains('/'))
    };
    let files = FILES.iter().enumerate().filter(|(_, file)| directly(file.path));
    let named = files.filter(|(_, file)| word.is_none_or(|word| file.names.contains(word)));
    named.filter_map(|(place, file)| Some((file.path, text(place)?))).collect()
}

fn text(place: usize) -> Option<&'static str> {
    static TEXTS: OnceLock<Vec<OnceLock<String>>> = OnceLock::new();
    let texts = TEXTS.get_or_init(|| FILES.iter().map(|_| OnceLock::new()).collect());
    let file = FILES.get(place)?;
    let unpacked = texts.get(place)?.get_or_init(|| {
        let mut text = String::with_capacity(file.length);
        let packed = BYTES.get(file.place.0..file.place.1).unwrap_or_default();
        // what the build has packed can be unpacked
        let _ = DeflateDecoder::new(packed).read_to_string(&mut text);
        text
    });
    Some(unpacked)
}
