//! What a model's name means where it is no path: a hub id in a local cache, or a built-in configuration.
//!
//! ```text
//! Qwen/Qwen3-8B[@REVISION]  ->  HF_HUB_CACHE, HF_HOME/hub or ~/.cache/huggingface/hub; memplan's own cache
//!                           ->  the built-in configuration that was read from that id
//! llama3-8b                 ->  the one built-in configuration of that family and size
//! ```

use std::fmt;
use std::path::{Path, PathBuf};

use crate::read::spec::{Family, Shelf, SpecError};

/// A hub id, `ORG/NAME`, with the revision behind `@`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubId {
    /// `ORG/NAME`.
    pub id: String,
    /// A branch, a tag or a commit; None for `main`.
    pub revision: Option<String>,
}

/// The longest file that holds a commit, in bytes.
const LARGEST_REFERENCE: u64 = 1 << 10;

/// The branch that is meant where no revision is named.
pub const MAIN: &str = "main";

impl fmt::Display for HubId {
    /// `ORG/NAME`, without the revision.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)
    }
}

impl HubId {
    /// The id that a word is, if it can be one and no path: two names of the hub's letters with a slash between.
    pub fn of(word: &str) -> Option<HubId> {
        let (id, revision) = match word.split_once('@') {
            Some((id, revision)) => (id, Some(revision)),
            None => (word, None),
        };
        let is_name = |name: &str| {
            let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            (1..=96).contains(&name.len()) && name.chars().all(fits) && !name.starts_with('.') && !name.contains("..")
        };
        let (organisation, name) = id.split_once('/').filter(|_| !is_path(id))?;
        let is_revision = |revision: &str| !revision.is_empty() && revision.split('/').all(is_name);
        let fits = is_name(organisation) && is_name(name) && revision.is_none_or(is_revision);
        fits.then(|| HubId { id: id.to_owned(), revision: revision.map(str::to_owned) })
    }

    /// The revision that is meant.
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or(MAIN)
    }

    /// The folder that caches of the hub keep a model in (huggingface_hub 1.0, file_download.py, `repo_folder_name`).
    pub fn folder(&self) -> String {
        format!("models--{}", self.id.replace('/', "--"))
    }

    /// Its snapshot in a cache of the hub's layout, where that holds a config.json.
    pub fn within(&self, cache: &Path) -> Option<PathBuf> {
        let folder = cache.join(self.folder());
        let revision = self.revision();
        let read = crate::files::text(&folder.join("refs").join(revision), LARGEST_REFERENCE).ok();
        let commit = read.as_deref().map(str::trim).filter(|commit| commit.chars().all(|c| c.is_ascii_alphanumeric()));
        let snapshot = folder.join("snapshots").join(commit.unwrap_or(revision));
        snapshot.join("config.json").is_file().then_some(snapshot)
    }
}

/// The path that a variable of the environment names.
fn said(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// A folder in the user's folder for caches.
fn in_cache(name: &str) -> Option<PathBuf> {
    let home = || Some(said("HOME").or_else(|| said("USERPROFILE"))?.join(".cache"));
    Some(said("XDG_CACHE_HOME").or_else(home)?.join(name))
}

/// Where the hub's own programs keep what is the user's (huggingface_hub 1.0, constants.py, `HF_HOME`).
pub fn hugging_face() -> Option<PathBuf> {
    said("HF_HOME").or_else(|| in_cache("huggingface"))
}

/// The folders that hold what was downloaded, the hub's own first (huggingface_hub 1.0, constants.py).
pub fn caches() -> Vec<PathBuf> {
    let hub = said("HF_HUB_CACHE").or_else(|| Some(hugging_face()?.join("hub")));
    hub.into_iter().chain(own_cache()).collect()
}

/// Where memplan keeps what it has read from the hub.
pub fn own_cache() -> Option<PathBuf> {
    said("MEMPLAN_CACHE").or_else(|| Some(in_cache("memplan")?.join("hub")))
}

/// The snapshot of a hub id that lies in one of the local caches.
pub fn cached(id: &HubId) -> Option<PathBuf> {
    caches().iter().find_map(|cache| id.within(cache))
}

/// A built-in configuration that a word names.
#[derive(Debug)]
pub struct BuiltIn {
    /// Its name.
    pub name: String,
    /// Its family.
    pub family: Family,
    /// Which of its published weights is meant: `a1_in1k` of `timm/resnet50.a1_in1k`.
    pub tag: Option<String>,
}

/// What names of timm's models begin with.
pub const TIMM: &str = "timm/";

/// The built-in configuration of a name, of a hub id or the part of one behind the slash; of none of them, the only one of
/// that family and size (`llama3-8b`).
///
/// # Errors
/// A spec of the user's that cannot be read.
pub fn built_in(word: &str, shelf: &Shelf) -> Result<Option<BuiltIn>, SpecError> {
    let key = word.to_ascii_lowercase();
    if let Some(family) = shelf.family_of_configuration(&key)? {
        return Ok(Some(BuiltIn { name: key, family, tag: None }));
    }
    if let Some(found) = of_timm(&key, shelf)? {
        return Ok(Some(found));
    }
    let families = shelf.families()?;
    let find = |is_meant: &dyn Fn(&str, &str) -> bool| -> Vec<(usize, String)> {
        let all = families.iter().enumerate().flat_map(|(at, family)| {
            family.configurations.iter().map(move |(name, configuration)| (at, name, hub_id(&configuration.source)))
        });
        all.filter(|(_, name, id)| is_meant(name, id)).map(|(at, name, _)| (at, name.clone())).collect()
    };
    let by_id = find(&|_, id| !id.is_empty() && (id == key || !key.contains('/') && id.ends_with(&format!("/{key}"))));
    let close = if by_id.is_empty() && !key.contains('/') { find(&|name, _| is_close(&key, name)) } else { Vec::new() };
    let found = match (&by_id[..], &close[..]) {
        ([found, ..], _) | ([], [found]) => found.clone(),
        _ => return Ok(None),
    };
    Ok(families.into_iter().nth(found.0).map(|family| BuiltIn { name: found.1, family, tag: None }))
}

/// A model of timm, whose name may stand alone where no other model has it, with the tag of its weights: `timm/resnet50.a1_in1k`, `vit_base_patch16_224`.
fn of_timm(key: &str, shelf: &Shelf) -> Result<Option<BuiltIn>, SpecError> {
    let name = key.strip_prefix("hf-hub:").unwrap_or(key);
    let name = name.strip_prefix(TIMM).unwrap_or(name);
    if name.contains('/') {
        return Ok(None);
    }
    let (model, tag) = name.split_once('.').map_or((name, None), |(model, tag)| (model, Some(tag)));
    let called = format!("{TIMM}{model}");
    let Some(family) = shelf.family_of_configuration(&called)? else { return Ok(None) };
    let has_tag = |tag: &str| {
        let configuration = family.configurations.get(&called);
        configuration.and_then(|known| known.config.get("tags")?.get(tag)).is_some()
    };
    let is_known = tag.is_none_or(has_tag);
    Ok(is_known.then(|| BuiltIn { name: called, family, tag: tag.map(str::to_owned) }))
}

/// The hub id that a configuration's source names, in lower case; empty where it names none.
fn hub_id(source: &str) -> String {
    let path = source.strip_prefix("huggingface.co/").unwrap_or_default();
    path.split('/').take(2).collect::<Vec<_>>().join("/").to_ascii_lowercase()
}

/// Words that say how a model was trained on, not what it is.
const TUNED: [&str; 7] = ["instruct", "chat", "it", "base", "hf", "pt", "meta"];

/// Whether two names are of one family and size, and one version is the other's beginning: `llama3-8b`, `llama-3.1-8b`.
fn is_close(wanted: &str, name: &str) -> bool {
    let (wanted, name) = (parts(wanted), parts(name));
    let is_version = |part: &str| part.chars().all(|c| c.is_ascii_digit() || c == '.');
    let has_size = wanted
        .iter()
        .any(|part| part.len() > 1 && part.ends_with('b') && part.starts_with(|c: char| c.is_ascii_digit()));
    let alike =
        |(a, b): (&String, &String)| a == b || is_version(a) && is_version(b) && b.starts_with(&format!("{a}."));
    has_size && wanted.len() == name.len() && wanted.iter().zip(&name).all(alike)
}

/// A name's words, versions and sizes, without what says how it was trained on.
fn parts(name: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut last = ' ';
    for c in name.chars() {
        let is_number = |c: char| c.is_ascii_digit() || c == '.';
        let joins = c.is_ascii_alphanumeric() || c == '.';
        let begins = !last.is_ascii_alphanumeric() && last != '.' || last.is_ascii_alphabetic() && is_number(c);
        match (joins, begins, parts.last_mut()) {
            (true, false, Some(part)) => part.push(c),
            (true, ..) => parts.push(c.to_string()),
            _ => {}
        }
        last = c;
    }
    parts.retain(|part| !TUNED.contains(&part.as_str()));
    parts
}

/// Whether a word can only be a path: by where it begins, by its folders, or by what it ends with.
pub fn is_path(word: &str) -> bool {
    const ENDINGS: [&str; 12] =
        [".pt2", ".yaml", ".yml", ".json", ".csv", ".safetensors", ".gguf", ".pt", ".pth", ".bin", ".onnx", ".py"];
    let begins = ["/", "./", "../", "~", ".\\", "..\\"].iter().any(|begin| word.starts_with(begin));
    let lower = word.to_ascii_lowercase();
    begins
        || word.matches('/').count() > 1
        || word.contains('\\')
        || ENDINGS.iter().any(|ending| lower.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(word: &str) -> Option<String> {
        built_in(word, &Shelf::default()).expect("sound specs").map(|found| found.name)
    }

    #[test]
    fn names_that_people_write_are_taken() {
        for (word, meant) in [
            ("gpt2", "gpt2"),
            ("Qwen/Qwen3-8B", "qwen3-8b"),
            ("meta-llama/Llama-3.1-8B", "llama-3.1-8b"),
            ("bert-base-uncased", "bert-base"),
            ("all-MiniLM-L6-v2", "minilm-l6"),
            ("llama3-8b", "llama-3.1-8b"),
            ("Llama-3.1-8B-Instruct", "llama-3.1-8b"),
            ("Meta-Llama-3-8B", "llama-3.1-8b"),
            ("qwen2.5-7b-instruct", "qwen2.5-7b"),
            ("timm/resnet50", "timm/resnet50"),
            ("timm/resnet50.a1_in1k", "timm/resnet50"),
            ("vit_base_patch16_224.augreg_in21k", "timm/vit_base_patch16_224"),
            ("resnet50", "resnet50"),
        ] {
            assert_eq!(taken(word).as_deref(), Some(meant), "{word}");
        }
        for word in [
            "llama-4-8b",
            "qwen3-9b",
            "gpt3",
            "someone/Llama-3.1-8B",
            "bert",
            "qwen-8b",
            "llama-3.3-70b",
            "timm/resnet50.a9",
            "",
        ] {
            assert_eq!(taken(word), None, "{word}");
        }
    }

    #[test]
    fn hub_ids_are_two_names() {
        let id = |word| HubId::of(word).map(|id| (id.id, id.revision));
        assert_eq!(id("Qwen/Qwen3-8B"), Some(("Qwen/Qwen3-8B".into(), None)));
        assert_eq!(id("a/b@refs/pr/1"), Some(("a/b".into(), Some("refs/pr/1".into()))));
        for wrong in ["gpt2", "a/b.pt2", "/x/y", "a/b/c", "../b", "a/..", "a/b@", "a/b@../c", "a b/c", ""] {
            assert_eq!(id(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn snapshots_are_found_by_branch_and_commit() {
        let cache = tempfile::tempdir().expect("a folder");
        let folder = cache.path().join("models--a--b");
        std::fs::create_dir_all(folder.join("snapshots/c0ffee")).expect("a folder");
        std::fs::create_dir_all(folder.join("refs")).expect("a folder");
        std::fs::write(folder.join("refs/main"), "c0ffee\n").expect("a file");
        let of = |word: &str| HubId::of(word).and_then(|id| id.within(cache.path()));
        assert_eq!(of("a/b"), None);
        std::fs::write(folder.join("snapshots/c0ffee/config.json"), "{}").expect("a file");
        assert_eq!(of("a/b"), Some(folder.join("snapshots/c0ffee")));
        assert_eq!(of("a/b@c0ffee"), Some(folder.join("snapshots/c0ffee")));
        assert_eq!(of("a/b@v2"), None);
        assert_eq!(of("a/c"), None);
    }
}
