//! Files that the program writes: a file is there in full or as it was, and what is no file is written into.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use atomic_write_file::AtomicWriteFile;

use crate::failure::Failure;

/// Writes to a path. A link stays one, and what it leads to gets the text. A file gets it all at once and keeps its mode and
/// owner. A device or a pipe is written into. A folder or a socket is refused.
pub fn write_whole(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    let written = fill(path, write);
    written.map_err(|error| Failure::new(format!("{}: cannot be written: {error}", path.display()), None))
}

/// Writes a whole file, and makes the folder that it lies in.
pub fn write_with_folder(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        let failed = |error| Failure::new(format!("{}: cannot be made: {error}", folder.display()), None);
        fs::create_dir_all(folder).map_err(failed)?;
    }
    write_whole(path, |file| file.write_all(bytes))
}

fn fill(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let found = match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return replace(&end_of_links(path), write),
        found => found?,
    };
    if let Some(stream) = own_stream(path, &found)? {
        return pour(stream, write);
    }
    // asks the system whether the file may be written, and leaves its text
    let open = || OpenOptions::new().write(true).open(path);
    if !found.is_file() {
        refuse(&found)?;
        return pour(open()?, write);
    }
    open()?;
    replace(&fs::canonicalize(path)?, write)
}

/// Puts a whole file in the place of what stands there, or nothing.
fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut file = BufWriter::new(AtomicWriteFile::open(path)?);
    write(&mut file)?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?.commit()
}

/// Writes into a stream. A reader that has gone away has seen enough.
fn pour(stream: File, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut stream = BufWriter::new(stream);
    match write(&mut stream).and_then(|()| stream.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Where a link that leads to nothing yet would lead; the path itself where it is none.
fn end_of_links(path: &Path) -> PathBuf {
    let mut end = path.to_owned();
    while let Ok(next) = fs::read_link(&end) {
        end = end.parent().unwrap_or(Path::new("")).join(next);
    }
    end
}

/// Standard output or error, where that is what was found (`/dev/stdout`): a file that is opened once more would be written from
/// its beginning.
#[cfg(unix)]
fn own_stream(path: &Path, found: &Metadata) -> io::Result<Option<File>> {
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;

    // where it is closed, what stands there is none of it
    if is_standard_output(path) {
        return super::standard_output().map(Some);
    }
    for stream in [super::standard_output(), io::stderr().as_fd().try_clone_to_owned().map(File::from)] {
        let Ok(stream) = stream else { continue };
        let own = stream.metadata()?;
        if (own.dev(), own.ino()) == (found.dev(), found.ino()) {
            return Ok(Some(stream));
        }
    }
    Ok(None)
}

/// Whether a path names standard output itself, or leads to such a name.
#[cfg(unix)]
fn is_standard_output(path: &Path) -> bool {
    let names = ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];
    let mut end = path.to_owned();
    // as many links as Linux follows
    for _ in 0..40 {
        if names.iter().any(|name| end == Path::new(name)) {
            return true;
        }
        let Ok(next) = fs::read_link(&end) else { return false };
        end = end.parent().unwrap_or(Path::new("")).join(next);
    }
    false
}

#[cfg(not(unix))]
fn own_stream(_: &Path, _: &Metadata) -> io::Result<Option<File>> {
    Ok(None)
}

/// Refuses what nothing can be written into.
fn refuse(found: &Metadata) -> io::Result<()> {
    let what = match found.file_type() {
        kind if kind.is_dir() => "it is a folder",
        #[cfg(unix)]
        kind if std::os::unix::fs::FileTypeExt::is_socket(&kind) => "it is a socket",
        _ => return Ok(()),
    };
    Err(io::Error::other(what))
}
