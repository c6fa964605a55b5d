//! A model whose folder brings its own Python source, which transformers would run if it is trusted (`trust_remote_code`): here it is read.
//!
//! ```text
//! config.json: "auto_map": {"AutoModelForCausalLM": "modeling_x.XForCausalLM"}
//! modeling_x.py, configuration_x.py beside it                      -> import -> a spec in memory -> Family
//! ```

use std::path::Path;
use std::sync::Arc;

use import::{Import, Names, Sources, World};
use serde_json::Value;

use super::ModelError;
use crate::files;
use crate::graph;
use crate::read::config::Config;
use crate::read::spec::{Family, Shelf};

/// The name of the package that the folder's files are.
const PACKAGE: &str = "own";

/// The family of an architecture that the config's folder defines itself, if it does.
///
/// # Errors
/// A file that is no Python; a class that is not there, or of a kind that is not planned.
pub fn family(config: &Config, architecture: &str, shelf: &Shelf) -> Result<Option<Family>, ModelError> {
    match spec(config, architecture)? {
        Some((file, text)) => Ok(Some(shelf.family(&file, &text)?)),
        None => Ok(None),
    }
}

/// The spec of an architecture that the config's folder defines itself: its file, and the spec's text.
///
/// # Errors
/// As of [`family`].
pub fn spec(config: &Config, architecture: &str) -> Result<Option<(Arc<str>, String)>, ModelError> {
    let Some(folder) = config.path().parent() else { return Ok(None) };
    let Some((module, kind)) = place(config, architecture) else { return Ok(None) };
    let file = folder.join(&module).with_extension("py");
    if !file.is_file() {
        return Ok(None);
    }
    let failed = |fault: String| ModelError::OwnSource { folder: folder.to_owned(), fault };
    let text = read(folder, &module, architecture, &kind).map_err(failed)?;
    Ok(Some((format!("{}, as a spec", file.display()).into(), text)))
}

/// The file that has the architecture, without its ending, and what kind of model it is: `AutoModelForCausalLM` is of the kind
/// `ForCausalLM`, `AutoModel` of the kind `Model`.
fn place(config: &Config, architecture: &str) -> Option<(String, String)> {
    let map = config.values().get("auto_map")?.as_object()?;
    map.iter().find_map(|(auto, place)| {
        let (module, class) = match place {
            Value::String(place) => place.rsplit_once('.')?,
            _ => return None,
        };
        let kind = auto.strip_prefix("AutoModel")?;
        // another repository's code, `repository--module.Class`, is not here
        let is_plain = module.chars().all(|c| c.is_alphanumeric() || c == '_');
        let kind = if kind.is_empty() { "Model" } else { kind };
        (class == architecture && is_plain).then(|| (module.to_owned(), kind.to_owned()))
    })
}

/// What an import of a package in a folder stands on: its files, the table, and what specs can call.
///
/// # Errors
/// A table or a library that is unsound: their tests see that neither is.
pub fn world(package: &str, folder: &Path) -> Result<World, String> {
    let known = graph::callable_names().map_err(|error| error.to_string())?.into_iter().collect();
    let sources = Sources::with(vec![(package.to_owned(), folder.to_owned())], files::text);
    Ok(World { sources, names: Names::table()?, known })
}

/// The same for a package of torch.nn alone.
///
/// # Errors
/// As of [`world`].
pub fn plain_world(package: &str, folder: &Path) -> Result<World, String> {
    Ok(World { names: Names::plain()?, ..world(package, folder)? })
}

/// The same for timm.
///
/// # Errors
/// As of [`world`].
pub fn timm_world(folder: &Path) -> Result<World, String> {
    Ok(World { names: Names::timm()?, ..world(import::timm::PACKAGE, folder)? })
}

fn read(folder: &Path, module: &str, architecture: &str, kind: &str) -> Result<String, String> {
    let work = || {
        let classes = [(architecture.to_owned(), kind.to_owned())];
        let spec = Import::new(world(PACKAGE, folder)?).own_spec(&format!("{PACKAGE}.{module}"), &classes);
        spec.map_err(|fault| fault.to_string())
    };
    import::on_a_deep_stack(work).map_err(|error| format!("a thread cannot be started: {error}"))?
}
