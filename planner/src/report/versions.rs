//! What is known of releases: which ones are planned, and what changed in each.

use std::fmt::Write;

use serde::Serialize;

use super::SCHEMA;
use super::table::wrapped;
use crate::read::spec::SpecError;
use crate::read::spec::changes;
use crate::versions::{CHANGES, Library, Versions};

/// `memplan versions --format json`: the releases that are planned, and what changed.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "the keys say it")]
pub struct VersionsReport {
    pub schema: u32,
    pub libraries: Vec<LibraryReport>,
    pub changes: Vec<ChangeReport>,
}

/// A library's releases.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "the keys say it")]
pub struct LibraryReport {
    pub library: &'static str,
    pub oldest: String,
    /// The default.
    pub newest: String,
    /// All that are planned, oldest first.
    pub releases: Vec<String>,
}

/// A change that plans follow.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "the keys say it")]
pub struct ChangeReport {
    pub library: &'static str,
    pub since: String,
    /// The first release without it again.
    pub until: Option<String>,
    pub what: String,
    /// The library's source file.
    pub source: String,
    /// Its pull requests, where they are known.
    pub pulls: Vec<u32>,
    /// The spec that follows it; the allocator and the kernels are no specs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spec: Option<String>,
}

/// Everything that is known: the rules of code first, then those of specs.
///
/// # Errors
/// A spec that cannot be read.
pub fn report() -> Result<VersionsReport, SpecError> {
    let rules = CHANGES.iter().map(|row| ChangeReport {
        library: row.library.package(),
        since: row.since.to_string(),
        until: row.until.map(|until| until.to_string()),
        what: row.what.to_owned(),
        source: row.source.to_owned(),
        pulls: row.pulls.to_vec(),
        spec: None,
    });
    let mut changes: Vec<ChangeReport> = rules.collect();
    for (spec, change) in changes::changes()? {
        let Some((library, since)) = change.span() else { continue };
        let (what, source, pulls) = (change.what, change.source, change.pulls);
        changes.push(ChangeReport {
            library: library.package(),
            since: since.to_string(),
            until: None,
            what,
            source,
            pulls,
            spec: Some(spec),
        });
    }
    let libraries = Library::ALL.into_iter().map(|library| LibraryReport {
        library: library.package(),
        oldest: library.oldest().to_string(),
        newest: library.newest().to_string(),
        releases: library.releases().map(|release| release.to_string()).collect(),
    });
    Ok(VersionsReport { schema: SCHEMA, libraries: libraries.collect(), changes })
}

/// The same as text: a heading for each release, a change in a line or two.
///
/// # Errors
/// A spec that cannot be read.
pub fn text() -> Result<String, SpecError> {
    let VersionsReport { changes, .. } = report()?;
    let range = |library: Library| format!("{} {}", library.name(), library.planned());
    let mut text = wrapped(
        &format!(
            "{} and {} are planned. A run has the releases of --torch and --transformers, else those of --env, of the activated \
             environment or of a lock file beside it, else {}.",
            range(Library::Torch),
            range(Library::Transformers),
            Versions::default(),
        ),
        "",
        "",
    );
    for library in Library::ALL {
        for release in library.releases() {
            let mut of_release = changes
                .iter()
                .filter(|change| change.library == library.package() && change.since == release.to_string())
                .peekable();
            if of_release.peek().is_none() {
                continue;
            }
            let gap =
                library.before_gap(release).map_or_else(String::new, |before| format!(", or between it and {before}"));
            let _ = write!(text, "\n{} {release}{gap}\n", library.name());
            for change in of_release {
                let until = change.until.as_ref().map_or_else(String::new, |until| format!(" (until {until})"));
                text.push_str(&wrapped(&format!("{}{until}", change.what), "  ", "    "));
            }
        }
    }
    text.push_str("\n`memplan versions --format json` has the source file of each.\n");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_has_its_place_in_the_text() {
        let (report, text) = (report().unwrap(), text().unwrap());
        assert!(report.changes.len() > 30, "{}", report.changes.len());
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let text = words(&text);
        for change in &report.changes {
            assert!(text.contains(&words(&change.what)), "{}", change.what);
            assert!(!change.source.is_empty());
        }
    }
}
