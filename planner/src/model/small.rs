//! Models for tests: a family with a config of the test's own, without weights.

use serde_json::Value;

use super::Model;
use crate::read::spec::{Family, Shelf};

impl Model {
    /// A model of a shipped family.
    pub(crate) fn small(architecture: &str, config: Value) -> Model {
        let family = Shelf::default().family_of_architecture(architecture);
        Model::small_of(family.expect("sound specs").expect("a known family"), architecture, config)
    }

    /// A model of a family.
    pub(crate) fn small_of(family: Family, architecture: &str, config: Value) -> Model {
        Model {
            name: "a small one".to_owned(),
            family,
            exported: None,
            architecture: architecture.to_owned(),
            config: config.as_object().cloned().unwrap_or_default(),
            config_file: None,
            dtype: None,
            weights: None,
        }
    }
}
