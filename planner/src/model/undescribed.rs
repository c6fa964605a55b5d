//! A model that no family describes, as far as its config.json and the headers of its weights tell of it.

use std::path::{Path, PathBuf};

use super::named::{self, HubId};
use super::{ModelError, named_dtype, weights, weights_beside};
use crate::dtype::Dtype;
use crate::read::checkpoint::{self, Checkpoint};
use crate::read::config::{self, Config};

/// A model that no family describes.
#[derive(Debug)]
pub struct Undescribed {
    /// What the user called it: a folder, a config.json or an id of the hub.
    pub name: String,
    /// The class that its config names.
    pub architecture: String,
    /// Its config.json.
    pub config: Config,
    /// What the headers of its weights list; None where it has none.
    pub weights: Option<Checkpoint>,
    /// The type of its published weights.
    pub dtype: Option<Dtype>,
}

/// Reads what there is of such a model: of a folder, a config.json, or an id of the hub that lies in a local cache. `own` are weights in
/// place of those beside its config. None where the name has no config.json.
///
/// # Errors
/// A config, an index or a header that is not what it should be.
pub fn read(name: &str, own: Option<&Path>) -> Result<Option<Undescribed>, ModelError> {
    let Some(path) = config_of(name) else { return Ok(None) };
    let config = config::read(&path)?;
    let folder = config.path().parent().unwrap_or(Path::new(""));
    let weights = match own {
        Some(own) => Some(checkpoint::read(own)?),
        None => weights_beside(folder)?,
    };
    let dtype = named_dtype(&config)?.or_else(|| weights::first_floating(weights.as_ref()?));
    let architecture = config.architecture()?.to_owned();
    Ok(Some(Undescribed { name: name.to_owned(), architecture, config, weights, dtype }))
}

/// The folder or file that has the config of what is called so.
fn config_of(name: &str) -> Option<PathBuf> {
    let path = Path::new(name);
    let is_config = path.is_file() && path.extension().is_some_and(|extension| extension == "json");
    if path.is_dir() || is_config {
        return Some(path.to_owned());
    }
    HubId::of(name).as_ref().and_then(named::cached)
}
