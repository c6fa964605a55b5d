//! Models of the Hugging Face hub by their ids: config.json, the index and the headers of the weights, never the weights.
//!
//! ```text
//! ORG/NAME[@REVISION] ── in a local cache, or built in? ── no ──> resolve/REVISION/config.json, whose answer names the commit
//!     memplan's own cache <── whole files, config.json last ── headers of all shards, several at once, by range
//! ```

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use planner::model::named::{self, HubId};
use planner::read::checkpoint::LARGEST_INDEX;
use planner::read::config::LARGEST_CONFIG;
use planner::read::header;
use planner::words::quote;
use ureq::http::{HeaderMap, StatusCode};

use crate::failure::Failure;
use crate::output;

/// The hub where HF_ENDPOINT names no other.
const HUB: &str = "https://huggingface.co";

/// What is asked of each shard first: nearly every header lies within.
const FIRST: u64 = 256 << 10;

/// How many files are asked for at once.
const CONNECTIONS: usize = 8;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The longest file that holds a token, in bytes.
const LARGEST_NAME: u64 = 1 << 12;

/// The most shards of a model.
const MOST_SHARDS: usize = 10_000;

/// Reads what is needed of a model into memplan's own cache; false where the hub is not to be asked.
///
/// # Errors
/// The hub cannot be reached, or does not give it.
pub fn fetch(id: &HubId) -> Result<bool, Failure> {
    match named::own_cache().filter(|_| !is_offline()) {
        Some(cache) => Hub::new().snapshot(id, &cache).map(|()| true),
        None => Ok(false),
    }
}

/// Whether people said that the hub is not to be asked (huggingface_hub 1.0, constants.py).
fn is_offline() -> bool {
    let said = |name: &str| std::env::var(name).unwrap_or_default().to_uppercase();
    ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"]
        .iter()
        .any(|name| ["1", "ON", "YES", "TRUE"].contains(&said(name).as_str()))
}

/// The hub, as it is asked.
struct Hub {
    agent: ureq::Agent,
    endpoint: String,
    token: Option<String>,
}

/// What the hub answered.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl Hub {
    fn new() -> Hub {
        let said = |name: &str| {
            std::env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
        };
        let endpoint = said("HF_ENDPOINT").map_or_else(|| HUB.to_owned(), |said| said.trim_end_matches('/').to_owned());
        let kept = said("HF_TOKEN_PATH").map(PathBuf::from).or_else(|| Some(named::hugging_face()?.join("token")));
        let kept = || planner::files::text(&kept?, LARGEST_NAME).ok().map(|token| token.trim().to_owned());
        let token =
            said("HF_TOKEN").or_else(|| said("HUGGING_FACE_HUB_TOKEN")).or_else(kept).filter(|token| !token.is_empty());
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
        let config = config.user_agent(concat!("memplan/", env!("CARGO_PKG_VERSION"))).build();
        Hub { agent: config.into(), endpoint, token }
    }

    /// Asks for a file, or for a range of it; no more than so many bytes.
    fn ask(&self, url: &str, range: Option<(u64, u64)>, most: u64) -> Result<Answer, String> {
        let mut request = self.agent.get(url);
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        if let Some((first, last)) = range {
            request = request.header("Range", format!("bytes={first}-{last}"));
        }
        let mut response = request.call().map_err(|error| error.to_string())?;
        let (status, headers) = (response.status(), response.headers().clone());
        // a server that does not know ranges sends the whole file: what lies behind is left
        let mut body = Vec::new();
        if status.is_success() {
            let reader = response.body_mut().as_reader();
            std::io::Read::read_to_end(&mut std::io::Read::take(reader, most), &mut body)
                .map_err(|error| error.to_string())?;
        }
        Ok(Answer { status, headers, body })
    }

    /// The address of a file of a model.
    fn address(&self, id: &HubId, file: &str) -> String {
        format!("{}/{}/resolve/{}/{file}", self.endpoint, id.id, id.revision().replace('/', "%2F"))
    }

    /// A small file; None where the model has none of that name.
    fn file(&self, id: &HubId, name: &str, most: u64) -> Result<Option<Answer>, Failure> {
        let answer = self.ask(&self.address(id, name), None, most + 1).map_err(|error| self.unreachable(id, &error))?;
        if answer.status.is_success() && answer.body.len() as u64 > most {
            return Err(Failure::new(format!("{}: {name} is longer than {most} bytes", id.id), None));
        }
        match answer.status {
            status if status.is_success() => Ok(Some(answer)),
            StatusCode::NOT_FOUND if answer.header("x-error-code") == "EntryNotFound" => Ok(None),
            _ => Err(self.refused(id, &answer)),
        }
    }

    /// The whole header of a safetensors file, by range requests.
    fn header(&self, id: &HubId, name: &str) -> Result<Option<Vec<u8>>, Failure> {
        let asked = |first, last: u64| {
            let answer = self.ask(&self.address(id, name), Some((first, last)), last - first + 1);
            answer.map_err(|error| self.unreachable(id, &error))
        };
        let begin = asked(0, FIRST - 1)?;
        match begin.status {
            status if status.is_success() => {}
            StatusCode::NOT_FOUND if begin.header("x-error-code") == "EntryNotFound" => return Ok(None),
            _ => return Err(self.refused(id, &begin)),
        }
        let wrong = |what: &str| Failure::new(format!("{}: {name}: {what}", id.id), None);
        let length = begin
            .body
            .first_chunk()
            .map(|bytes| u64::from_le_bytes(*bytes))
            .filter(|length| *length <= header::LARGEST);
        let length = length.ok_or_else(|| wrong("not a safetensors file"))? + 8;
        let mut bytes = begin.body;
        if (bytes.len() as u64) < length {
            let have = bytes.len() as u64;
            let rest = asked(have, length - 1)?;
            if rest.status != StatusCode::PARTIAL_CONTENT {
                return Err(wrong("the server gives no ranges of files"));
            }
            bytes.extend(rest.body);
        }
        bytes.truncate(length as usize);
        if (bytes.len() as u64) < length { Err(wrong("the answer ends too early: try again")) } else { Ok(Some(bytes)) }
    }

    /// Brings a model's config, index and headers into a cache of the hub's layout.
    fn snapshot(&self, id: &HubId, cache: &Path) -> Result<(), Failure> {
        let Some(config) = self.file(id, "config.json", LARGEST_CONFIG)? else {
            let hint = "memplan plans models of transformers: weights alone (GGUF, diffusers) have no config.json";
            return Err(Failure::new(format!("{}: it has no config.json", id.id), Some(hint.to_owned())));
        };
        let name = PathBuf::from(format!("{}/config.json", id.id));
        planner::read::config::parse(&name, &config.body).map_err(|error| Failure::new(error, None))?;
        let commit = config.header("x-repo-commit").to_owned();
        let commit = if commit.is_empty() || !commit.chars().all(|c| c.is_ascii_alphanumeric()) {
            id.revision().replace('/', "-")
        } else {
            commit
        };
        let mut files = Vec::new();
        let shards = match self.file(id, INDEX, LARGEST_INDEX)? {
            Some(index) => {
                let shards = shards(&id.id, &index.body)?;
                files.push((INDEX.to_owned(), index.body));
                shards
            }
            None => vec!["model.safetensors".to_owned()],
        };
        for (name, header) in self.headers(id, &shards)? {
            files.push((format!("{name}{}", header::ALONE), header));
        }
        files.push(("config.json".to_owned(), config.body));
        keep(id, cache, &commit, &files)
    }

    /// The headers of all files that there are, several at once.
    fn headers(&self, id: &HubId, names: &[String]) -> Result<Vec<(String, Vec<u8>)>, Failure> {
        let bar = output::progress(names.len());
        let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let work = || {
            while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                let header = self.header(id, name);
                let failed = header.is_err();
                if let Ok(mut found) = found.lock() {
                    found.push((name.clone(), header));
                }
                if failed {
                    next.store(names.len(), Ordering::Relaxed);
                }
                bar.inc(1);
            }
        };
        std::thread::scope(|scope| (0..CONNECTIONS.min(names.len())).for_each(|_| drop(scope.spawn(work))));
        bar.finish_and_clear();
        let found = found.into_inner().unwrap_or_default();
        let there = found.into_iter().map(|(name, header)| Ok(header?.map(|header| (name, header))));
        there.filter_map(Result::transpose).collect()
    }

    fn unreachable(&self, id: &HubId, error: &str) -> Failure {
        let hint = "HF_ENDPOINT names another hub, HF_HUB_OFFLINE=1 plans from local caches alone";
        Failure::new(format!("{}: {} cannot be reached: {error}", id.id, self.endpoint), Some(hint.to_owned()))
    }

    /// Why the hub refuses a file, and what to do.
    fn refused(&self, id: &HubId, answer: &Answer) -> Failure {
        let (code, HubId { id: name, .. }) = (answer.header("x-error-code"), id);
        let page = format!("{}/{name}", self.endpoint);
        let (line, hint) = match (answer.status, code) {
            (_, "GatedRepo") => (
                format!("{name} is gated: its makers let in who asks"),
                format!("ask at {page}, then set HF_TOKEN to a token of yours"),
            ),
            (_, "RevisionNotFound") => {
                (format!("{name} has no revision {}", id.revision()), format!("{page} lists its branches"))
            }
            (StatusCode::NOT_FOUND, _) | (_, "RepoNotFound") => (
                format!("{name}: {} has no such model, or it is private", self.endpoint),
                "check its name; for a private one set HF_TOKEN".to_owned(),
            ),
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => {
                (format!("{name}: access is refused ({})", answer.status), format!("log in at {page} and set HF_TOKEN"))
            }
            (StatusCode::TOO_MANY_REQUESTS, _) => {
                let after = answer.header("retry-after");
                let after = if after.is_empty() { "some minutes".to_owned() } else { format!("{after} s") };
                (format!("{name}: too many requests"), format!("try again in {after}, or set HF_TOKEN"))
            }
            (status, _) => (format!("{name}: {} answers {status}", self.endpoint), "try again later".to_owned()),
        };
        Failure::new(line, Some(hint))
    }
}

/// The index of shards.
const INDEX: &str = "model.safetensors.index.json";

/// The shards that an index names, each once.
fn shards(id: &str, index: &[u8]) -> Result<Vec<String>, Failure> {
    let wrong = |what: &str| Failure::new(format!("{id}: {INDEX}: {what}"), None);
    let index: serde_json::Value =
        serde_json::from_slice(index).map_err(|error| wrong(&quote::json_message(&error)))?;
    let map = index["weight_map"].as_object().ok_or_else(|| wrong("it has no weight_map"))?;
    let shards: BTreeSet<&str> = map.values().filter_map(|shard| shard.as_str()).collect();
    let is_plain =
        |name: &&str| !name.starts_with('.') && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    match shards.iter().find(|name| !is_plain(name)) {
        Some(name) => Err(wrong(&format!("a shard is called {}", quote::quoted(name)))),
        None if shards.len() > MOST_SHARDS => Err(wrong(&format!("it names more than {MOST_SHARDS} shards"))),
        None => Ok(shards.into_iter().map(str::to_owned).collect()),
    }
}

/// Writes a snapshot: its config last, without which it counts for nothing, then the revision that points to it.
fn keep(id: &HubId, cache: &Path, commit: &str, files: &[(String, Vec<u8>)]) -> Result<(), Failure> {
    let folder = cache.join(id.folder());
    let snapshot = folder.join("snapshots").join(commit);
    for (name, bytes) in files {
        output::write_with_folder(&snapshot.join(name), bytes)?;
    }
    output::write_with_folder(&folder.join("refs").join(id.revision()), commit.as_bytes())
}
