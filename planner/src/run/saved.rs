//! The words of `checkpoint-save`: which operators selective checkpointing saves.

use std::fmt;
use std::str::FromStr;

use crate::lower::checkpoint::selective::SAVABLE;
use crate::read::nearest::nearest;

/// Operators of ATen whose results checkpointed regions save, in the order of their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedOperators(Vec<(&'static str, &'static str)>);

/// A name of no operator that can be saved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is no operator whose result can be saved: the nearest are {nearest}")]
pub struct UnknownOperator {
    /// What was given.
    pub word: String,
    /// The operators with the nearest names.
    pub nearest: String,
}

impl SavedOperators {
    /// Those of that list; None where it names none.
    ///
    /// # Errors
    /// A name of no operator that can be saved.
    pub fn of<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Option<SavedOperators>, UnknownOperator> {
        let mut found = words.into_iter().map(operator).collect::<Result<Vec<_>, _>>()?;
        found.sort_unstable();
        found.dedup();
        Ok(Some(SavedOperators(found)).filter(|saved| !saved.0.is_empty()))
    }

    /// Whether the operator of that name, without overload, is one of them.
    pub fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| *known == name)
    }

    /// Each as PyTorch's `torch.ops` has it: `aten.mm.default`.
    pub fn overloads(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(name, overload)| format!("aten.{name}.{overload}"))
    }
}

/// `mm`, `mm.default`, `aten.mm`, `aten.mm.default` or `torch.ops.aten.mm.default`.
fn operator(word: &str) -> Result<(&'static str, &'static str), UnknownOperator> {
    let word = word.trim();
    let short = word.strip_prefix("torch.ops.").unwrap_or(word);
    let short = short.strip_prefix("aten.").or_else(|| short.strip_prefix("aten::")).unwrap_or(short);
    let (name, overload) = short.split_once('.').map_or((short, None), |(name, overload)| (name, Some(overload)));
    let fits = |known: &&(&str, &str)| known.0 == name && overload.is_none_or(|overload| known.1 == overload);
    SAVABLE.iter().find(fits).copied().ok_or_else(|| {
        let names = SAVABLE.iter().map(|(name, _)| *name);
        let full = |near: &str| {
            SAVABLE.iter().find(|(name, _)| *name == near).map(|(name, overload)| match overload {
                &"default" => (*name).to_owned(),
                overload => format!("{name}.{overload}"),
            })
        };
        let nearest: Vec<String> = nearest(name, names).into_iter().filter_map(full).collect();
        UnknownOperator { word: crate::read::quote::cut(word), nearest: nearest.join(", ") }
    })
}

impl FromStr for SavedOperators {
    type Err = UnknownOperator;

    /// Names with commas between them.
    fn from_str(text: &str) -> Result<SavedOperators, UnknownOperator> {
        let found = SavedOperators::of(text.split(','))?;
        found.ok_or_else(|| UnknownOperator { word: text.to_owned(), nearest: "mm, addmm".to_owned() })
    }
}

impl fmt::Display for SavedOperators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.iter().map(|(name, _)| *name).collect();
        f.write_str(&names.join(","))
    }
}
