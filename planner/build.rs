//! Packs the specs that the library carries: those of the repository beside the crate, or in a packed crate those within it. Each is
//! compressed by itself, with the names by which it is asked for beside it, so that a plan unpacks what it reads alone.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let specs = Path::new(if Path::new("specs").is_dir() { "specs" } else { "../specs" });
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    println!("cargo:rerun-if-changed=build.rs");
    let mut files = Vec::new();
    find(specs, &mut files)?;
    files.sort_by_key(|file| file.to_string_lossy().replace('\\', "/"));
    let mut table = String::from("static FILES: &[Packed] = &[\n");
    let mut packed = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file)?;
        let path = file.strip_prefix(specs).unwrap_or(file).to_string_lossy().replace('\\', "/");
        let mut compressed = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        compressed.write_all(text.as_bytes())?;
        let compressed = compressed.finish()?;
        let (from, to) = (packed.len(), packed.len() + compressed.len());
        packed.extend(compressed);
        let (length, names) = (text.len(), names(&text).join(" "));
        let _ = writeln!(
            table,
            "    Packed {{ path: {path:?}, names: {names:?}, length: {length}, place: ({from}, {to}) }},"
        );
    }
    table += "];\n";
    fs::write(out.join("specs.rs"), table)?;
    fs::write(out.join("specs.bin"), packed)
}

/// The files below a folder. Cargo builds anew when one changes or appears.
fn find(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    println!("cargo:rerun-if-changed={}", folder.display());
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else {
            println!("cargo:rerun-if-changed={}", path.display());
            files.push(path);
        }
    }
    Ok(())
}

/// What stands one level below the keys `architectures` and `configurations`, and what these say of other names: all words of these sections.
fn names(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut is_asked_for = false;
    for line in text.lines() {
        if !line.starts_with([' ', '#']) {
            is_asked_for = line.starts_with("architectures:") || line.starts_with("configurations:");
        } else if is_asked_for && line.starts_with("  ") && !line.starts_with("   ") {
            names.extend(line.trim().split(':').next().map(|name| name.trim_matches(['"', '\''])));
        }
    }
    names
}
