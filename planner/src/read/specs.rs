//! The specs that the binary carries: the repository's `specs/` folder, embedded when it is built.
//!
//! The one place that embeds them. Paths are relative to `specs/` and use `/`: `gpus/hopper.yaml`.

use include_dir::{Dir, include_dir};

static SPECS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/$MEMPLAN_SPECS");

/// The text of one embedded spec, or `None` where there is none at this path.
pub fn embedded(path: &str) -> Option<&'static str> {
    SPECS.get_file(path)?.contents_utf8()
}

/// The embedded specs that lie directly in a folder, as (path, text), sorted by path.
pub fn embedded_files(folder: &str) -> Vec<(&'static str, &'static str)> {
    let Some(folder) = SPECS.get_dir(folder) else { return Vec::new() };
    let mut files: Vec<_> =
        folder.files().filter_map(|file| Some((file.path().to_str()?, file.contents_utf8()?))).collect();
    files.sort_unstable();
    files
}
