//! Reads files that may be anything: regular ones only, since a pipe would block and a device never ends, and no longer than
//! their reader's limit. All that `planner` and the program read goes through here.

#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

use std::fs::{self, File, FileType};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// Opens a regular file, and gives its length in bytes. Links are followed.
///
/// # Errors
/// No file, a folder, a pipe, a device, or what the operating system refuses.
pub fn open(path: &Path) -> io::Result<(File, u64)> {
    let found = fs::metadata(path)?;
    if !found.is_file() {
        let message = format!("{}, and only files are read", kind(found.file_type()));
        return Err(io::Error::new(ErrorKind::InvalidInput, message));
    }
    Ok((File::open(path)?, found.len()))
}

/// The bytes of a regular file that is no longer than `most`.
///
/// # Errors
/// As `open`, and a file that is longer, or becomes so.
pub fn bytes(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let (file, length) = open(path)?;
    if length > most {
        return Err(too_long(length, most));
    }
    let mut bytes = Vec::new();
    // files of /proc say that they are empty, and any may grow
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    let length = bytes.len() as u64;
    if length > most { Err(too_long(length, most)) } else { Ok(bytes) }
}

/// The text of a regular file that is no longer than `most`.
///
/// # Errors
/// As `bytes`, and a file that is not UTF-8.
pub fn text(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(bytes(path, most)?).map_err(|error| {
        let text = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        let line = 1 + text.filter(|&&byte| byte == b'\n').count();
        io::Error::new(ErrorKind::InvalidData, format!("line {line} is not UTF-8"))
    })
}

fn too_long(length: u64, most: u64) -> io::Error {
    io::Error::new(ErrorKind::FileTooLarge, format!("{length} bytes, above the limit of {most}"))
}

fn kind(found: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if found.is_fifo() {
            return "it is a pipe";
        }
        if found.is_socket() {
            return "it is a socket";
        }
    }
    if found.is_dir() { "it is a folder" } else { "it is a device" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_up_to_a_limit() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        fs::write(&path, "four").expect("a file");
        assert_eq!(text(&path, 4).expect("a text"), "four");
        let refused = text(&path, 3).expect_err("too long").to_string();
        assert_eq!(refused, "4 bytes, above the limit of 3");
        fs::write(&path, b"one\ntwo \xff").expect("a file");
        assert_eq!(text(&path, 100).expect_err("no text").to_string(), "line 2 is not UTF-8");
        let refused = bytes(folder.path(), 100).expect_err("a folder").to_string();
        assert_eq!(refused, "it is a folder, and only files are read");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_never_ends_is_refused() {
        let refused = bytes(Path::new("/dev/zero"), 100).expect_err("a device").to_string();
        assert_eq!(refused, "it is a device, and only files are read");
        // says that it is empty
        let status = Path::new("/proc/self/status");
        assert!(bytes(status, 1 << 20).expect("a file of the kernel's").len() > 10);
        assert!(bytes(status, 10).is_err());
    }
}
