//! Which releases of PyTorch and transformers are installed or locked, without starting Python.
//!
//! ```text
//! an environment   lib/python3.*/site-packages/torch-2.15.0+cu132.dist-info     the folders' names say it
//! a lock file      uv.lock, poetry.lock, pylock.toml                            name and version of each package
//! requirements     torch==2.15.0                                                pinned versions alone
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::files;
use crate::versions::{Library, Release};
use crate::words::quote;

/// The longest lock file that is read, in bytes.
const LARGEST: u64 = 64 << 20;
/// The most entries of a folder that are looked at.
const MOST_ENTRIES: usize = 100_000;
/// Lock files by their names, in the order in which they are looked for.
const LOCKS: [&str; 4] = ["uv.lock", "poetry.lock", "pylock.toml", "requirements.txt"];
/// Environments within a project's folder.
const WITHIN: [&str; 2] = [".venv", "venv"];

/// The releases that were found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// PyTorch's.
    pub torch: Option<Release>,
    /// transformers'.
    pub transformers: Option<Release>,
}

impl Found {
    /// Takes a package in, if it is one of the two; of several versions the newest counts, as a lock for several platforms has them.
    fn add(&mut self, package: &str, version: &str) {
        let Ok(release) = version.parse::<Release>() else { return };
        let place = match Library::of_package(package) {
            Some(Library::Torch) => &mut self.torch,
            Some(Library::Transformers) => &mut self.transformers,
            None => return,
        };
        *place = (*place).max(Some(release));
    }

    fn is_empty(self) -> bool {
        self == Found::default()
    }
}

/// Why releases cannot be taken from a place.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// The operating system refused.
    #[error("{}: cannot be read: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A lock file that is no TOML of packages.
    #[error("{}: no lock file: {}", path.display(), quote::cut(.message))]
    Parse {
        /// The file.
        path: PathBuf,
        /// The reason, in words.
        message: String,
    },
    /// A place that says nothing.
    #[error("{}: neither torch nor transformers is installed or pinned there", path.display())]
    Nothing {
        /// What was looked at.
        path: PathBuf,
    },
}

/// The releases of an environment, its site-packages, a lock file, or a project's folder that holds one of these.
///
/// # Errors
/// A place that cannot be read, or that names neither library.
pub fn read(path: &Path) -> Result<Found, EnvironmentError> {
    let found = if path.is_dir() { folder(path)? } else { lock(path)? };
    if found.is_empty() { Err(EnvironmentError::Nothing { path: path.to_owned() }) } else { Ok(found) }
}

/// The place that says what a run in this folder would use, with the releases: the activated environment, else a lock file in the
/// folder. Only places that name one of the libraries count.
pub fn around(activated: Option<&Path>, folder: &Path) -> Option<(PathBuf, Found)> {
    let locks = LOCKS.iter().map(|name| folder.join(name)).filter(|path| path.is_file());
    let mut places = activated.map(Path::to_owned).into_iter().chain(locks);
    places.find_map(|path| read(&path).ok().map(|found| (path, found)))
}

/// What is installed in an environment or in one within the folder, else what a lock file in it says.
fn folder(path: &Path) -> Result<Found, EnvironmentError> {
    let environments = WITHIN.iter().map(|name| path.join(name)).filter(|path| path.is_dir());
    for environment in [path.to_owned()].into_iter().chain(environments) {
        let mut packages = site_packages(&environment).into_iter().chain([environment]);
        let found =
            packages.try_fold(Found::default(), |found, folder| installed(&folder).map(|more| or(found, more)))?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    let lock_file = LOCKS.iter().map(|name| path.join(name)).find(|path| path.is_file());
    lock_file.map_or(Ok(Found::default()), |path| lock(&path))
}

fn or(found: Found, other: Found) -> Found {
    Found { torch: found.torch.or(other.torch), transformers: found.transformers.or(other.transformers) }
}

/// The site-packages of an environment, on Linux and on Windows.
fn site_packages(environment: &Path) -> Vec<PathBuf> {
    let lib = environment.join("lib");
    let pythons = fs::read_dir(&lib).into_iter().flatten().flatten().take(MOST_ENTRIES);
    let mut names: Vec<PathBuf> = pythons.map(|entry| entry.path().join("site-packages")).collect();
    names.sort();
    names.push(environment.join("Lib").join("site-packages"));
    names.into_iter().filter(|path| path.is_dir()).collect()
}

/// What the names of a folder's `dist-info` folders say.
fn installed(packages: &Path) -> Result<Found, EnvironmentError> {
    let unreadable = |source| EnvironmentError::Io { path: packages.to_owned(), source };
    let mut found = Found::default();
    for entry in fs::read_dir(packages).map_err(unreadable)?.flatten().take(MOST_ENTRIES) {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let named = name.strip_suffix(".dist-info").and_then(|name| name.split_once('-'));
        if let Some((package, version)) = named {
            found.add(package, version);
        }
    }
    Ok(found)
}

fn lock(path: &Path) -> Result<Found, EnvironmentError> {
    let text = files::text(path, LARGEST).map_err(|source| EnvironmentError::Io { path: path.to_owned(), source })?;
    parse(path, &text)
}

/// The releases that the text of a lock file pins, or of requirements where `path` ends in `.txt` or `.in`; none where it pins
/// neither library.
///
/// # Errors
/// A lock file that is no TOML of packages.
pub fn parse(path: &Path, text: &str) -> Result<Found, EnvironmentError> {
    if path.extension().is_some_and(|extension| extension == "txt" || extension == "in") {
        return Ok(requirements(text));
    }
    locked(text).map_err(|message| EnvironmentError::Parse { path: path.to_owned(), message })
}

/// `torch==2.15.0`, with extras, markers and comments around it; versions that are not pinned say nothing.
fn requirements(text: &str) -> Found {
    let mut found = Found::default();
    for line in text.lines() {
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let Some((package, version)) = line.split_once("==") else { continue };
        let package = package.split('[').next().unwrap_or_default().trim().to_ascii_lowercase();
        let version = version.trim_start_matches('=').split([',', ' ', '\\']).find(|word| !word.is_empty());
        found.add(&package, version.unwrap_or_default());
    }
    found
}

/// The packages of uv.lock and poetry.lock (`[[package]]`) and of pylock.toml (`[[packages]]`).
fn locked(text: &str) -> Result<Found, String> {
    #[derive(Deserialize)]
    struct Lock {
        #[serde(default, alias = "packages")]
        package: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
        version: Option<String>,
    }
    let lock: Lock = toml::from_str(text).map_err(|error| error.message().replace('\n', " "))?;
    let mut found = Found::default();
    for package in &lock.package {
        found.add(&package.name, package.version.as_deref().unwrap_or_default());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn release(text: &str) -> Option<Release> {
        Some(text.parse().expect("a version"))
    }

    fn environment(names: &[&str]) -> TempDir {
        let folder = TempDir::new().expect("a folder");
        let packages = folder.path().join("lib/python3.12/site-packages");
        for name in names {
            fs::create_dir_all(packages.join(name)).expect("a folder");
        }
        folder
    }

    #[test]
    fn environments_are_read_by_the_names_of_their_folders() {
        let folder = environment(&[
            "torch-2.13.0+cu130.dist-info",
            "torchvision-0.28.0.dist-info",
            "transformers-5.20.2.dist-info",
        ]);
        let expected = Found { torch: release("2.13"), transformers: release("5.20") };
        assert_eq!(read(folder.path()).expect("found"), expected);
        assert_eq!(read(&folder.path().join("lib/python3.12/site-packages")).expect("found"), expected);
        let project = TempDir::new().expect("a folder");
        fs::rename(folder.path().join("lib"), project.path().join("lib")).expect("moved");
        fs::create_dir_all(project.path().join("inner/.venv")).expect("a folder");
        fs::rename(project.path().join("lib"), project.path().join("inner/.venv/lib")).expect("moved");
        assert_eq!(read(&project.path().join("inner")).expect("found"), expected);
        let empty = environment(&["numpy-2.0.dist-info"]);
        let refused = read(empty.path()).expect_err("nothing").to_string();
        assert!(refused.ends_with("neither torch nor transformers is installed or pinned there"), "{refused}");
    }

    #[test]
    fn locks_and_requirements_are_read() {
        let folder = TempDir::new().expect("a folder");
        let written = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).expect("a file");
            let found = read(&path);
            fs::remove_file(&path).expect("gone");
            found
        };
        let uv = "version = 1\n[[package]]\nname = \"torch\"\nversion = \"2.14.1\"\nsource = { registry = \"r\" }\n\
                  [[package]]\nname = \"torch\"\nversion = \"2.14.1+cu130\"\n[[package]]\nname = \"mine\"\n";
        assert_eq!(written("uv.lock", uv).expect("found"), Found { torch: release("2.14"), transformers: None });
        let pylock = "lock-version = \"1.0\"\n[[packages]]\nname = \"transformers\"\nversion = \"5.22.2\"\n";
        assert_eq!(written("pylock.toml", pylock).expect("found").transformers, release("5.22"));
        let text = "# ours\nTorch[opt] == 2.12.1 ; sys_platform == 'linux'  # pinned\ntransformers>=5.0\naccelerate==1.0\n\
                    transformers===5.21.0 \\\n  --hash=sha256:0\n";
        let expected = Found { torch: release("2.12"), transformers: release("5.21") };
        assert_eq!(written("requirements.txt", text).expect("found"), expected);
        for (name, text) in [("uv.lock", "not toml"), ("uv.lock", "package = 3"), ("requirements.txt", "torch>=2.9")] {
            let refused = written(name, text).expect_err("refused").to_string();
            assert!(!refused.contains('\n'), "{refused}");
        }
        assert!(read(&folder.path().join("gone.lock")).is_err());
    }

    #[test]
    fn what_surrounds_a_run_is_the_activated_environment_then_a_lock() {
        let (folder, activated) = (TempDir::new().expect("a folder"), environment(&["torch-2.9.1.dist-info"]));
        let around = |activated: Option<&Path>| around(activated, folder.path());
        assert_eq!(around(None), None);
        fs::write(folder.path().join("requirements.txt"), "torch==2.10.0\n").expect("a file");
        let locked = Found { torch: release("2.10"), transformers: None };
        let lock = Some((folder.path().join("requirements.txt"), locked));
        assert_eq!(around(None), lock);
        let installed = Found { torch: release("2.9"), transformers: None };
        assert_eq!(around(Some(activated.path())), Some((activated.path().to_owned(), installed)));
        let without = environment(&["numpy-2.0.dist-info"]);
        assert_eq!(around(Some(without.path())), lock);
    }
}
