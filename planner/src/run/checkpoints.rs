//! The words of `checkpoint` and `checkpoint-save`: which calls are checkpointed, and which operators' results they save.

use std::fmt;
use std::str::FromStr;

use super::{Parallel, Run, RunError};
use crate::ops::{Savable, savable};
use crate::words::nearest::nearest;

/// Which modules' calls are checkpointed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Checkpointing {
    /// None.
    #[default]
    Off,
    /// Those that transformers' `gradient_checkpointing_enable()` checkpoints.
    Full,
    /// These.
    Modules(Vec<Region>),
}

impl Checkpointing {
    /// The regions, where they are given one by one.
    pub fn regions(&self) -> &[Region] {
        if let Checkpointing::Modules(regions) = self { regions } else { &[] }
    }
}

/// A module whose calls are checkpointed, or a run of calls in a module's code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// The module's path; `FIRST..LAST` of a run of calls, from one to another: `PATH`, or `PATH@1` for a module's second call
    /// in a forward pass, `PATH%add` for an operator's in the code of the module itself.
    pub path: String,
    /// What its calls save; None where they save what all others do.
    pub save: Option<SavedOperators>,
}

impl Region {
    /// A module that saves what all others do.
    pub fn new(path: &str) -> Region {
        Region { path: path.to_owned(), save: None }
    }

    /// The first and the last call, where it is a run of calls in one module's code, `FIRST..LAST`, in place of a module.
    pub fn span(&self) -> Option<(&str, &str)> {
        self.path.split_once("..")
    }
}

/// Operators of ATen whose results checkpointed regions save, in the order of their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedOperators(Vec<(&'static str, &'static str)>);

/// A name of no operator that can be saved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is no operator whose result can be saved: the nearest are {nearest}")]
pub struct UnknownOperator {
    /// The word or number that was given.
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

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|(name, _)| *name)
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
    let fits = |known: &&Savable| known.name == name && overload.is_none_or(|overload| known.overload == overload);
    savable().iter().find(fits).map(|known| (known.name, known.overload)).ok_or_else(|| {
        let full = |near: &str| {
            savable().iter().find(|known| known.name == near).map(|known| match known.overload {
                "default" => known.name.to_owned(),
                overload => format!("{}.{overload}", known.name),
            })
        };
        let names = savable().iter().map(|known| known.name);
        let nearest: Vec<String> = nearest(name, names).into_iter().filter_map(full).collect();
        UnknownOperator { word: crate::words::quote::cut(word), nearest: nearest.join(", ") }
    })
}

impl FromStr for SavedOperators {
    type Err = UnknownOperator;

    /// Names with commas between them.
    fn from_str(text: &str) -> Result<SavedOperators, UnknownOperator> {
        let found = SavedOperators::of(text.split(','))?;
        found.ok_or_else(|| UnknownOperator { word: crate::words::quote::cut(text), nearest: "mm, addmm".to_owned() })
    }
}

impl fmt::Display for SavedOperators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().collect::<Vec<_>>().join(","))
    }
}

impl Region {
    /// The regions that a text lists, a line each or with commas between; what stands behind a `#` says nothing.
    ///
    /// # Errors
    /// An operator that is not known.
    pub fn listed(text: &str) -> Result<Vec<Region>, UnknownOperator> {
        let lines = text.lines().filter_map(|line| line.split('#').next());
        let listed = lines.flat_map(|line| line.split(',')).map(str::trim).filter(|region| !region.is_empty());
        listed.map(str::parse).collect()
    }
}

impl FromStr for Region {
    type Err = UnknownOperator;

    /// `PATH` or `FIRST..LAST`, each with `:OP+OP` behind it where its calls save what operators give.
    fn from_str(text: &str) -> Result<Region, UnknownOperator> {
        let (path, save) = match text.split_once(':') {
            // a file's name may hold anything
            Some((path, operators)) if !path.starts_with('@') => (path, SavedOperators::of(operators.split('+'))?),
            _ => (text, None),
        };
        Ok(Region { path: path.trim().to_owned(), save })
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        self.save.iter().try_for_each(|saved| write!(f, ":{}", saved.to_string().replace(',', "+")))
    }
}

impl FromStr for Checkpointing {
    type Err = UnknownOperator;

    /// `none`, `full`, or regions with commas between them.
    fn from_str(words: &str) -> Result<Checkpointing, UnknownOperator> {
        Ok(match words.trim() {
            "none" | "" => Checkpointing::Off,
            "full" => Checkpointing::Full,
            regions => Checkpointing::Modules(regions.split(',').map(str::parse).collect::<Result<_, _>>()?),
        })
    }
}

impl fmt::Display for Checkpointing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Checkpointing::Off => f.write_str("none"),
            Checkpointing::Full => f.write_str("full"),
            Checkpointing::Modules(regions) => {
                let words: Vec<String> = regions.iter().map(Region::to_string).collect();
                f.write_str(&words.join(","))
            }
        }
    }
}

impl Run {
    /// Checks what is said of checkpoints: a policy is for non-reentrant ones.
    pub(super) fn check_checkpoints(&self) -> Result<(), RunError> {
        let mut saved = self
            .checkpoint_save
            .iter()
            .chain(self.checkpoint.regions().iter().filter_map(|region| region.save.as_ref()));
        let off = self.checkpoint == Checkpointing::Off;
        let fsdp = if let Some(Parallel::Fsdp(fsdp)) = &self.parallel { Some(fsdp) } else { None };
        let contradiction = match () {
            () if self.reentrant && off => "reentrant is a way to checkpoint: give checkpoint too",
            () if self.reentrant && fsdp.is_some() => {
                "reentrant checkpoints under fsdp are not planned: leave reentrant out"
            }
            () if self.checkpoint_save.is_some() && off => {
                "checkpoint-save says what checkpointed regions save: give checkpoint too"
            }
            () if self.reentrant && saved.clone().next().is_some() => {
                "reentrant checkpoints take no policy: leave checkpoint-save or reentrant out"
            }
            () if fsdp.is_some_and(|fsdp| fsdp.offload) && saved.any(|saved| saved.contains("_to_copy")) => {
                "under fsdp with offload, shards come to the device as _to_copy too: leave it out of checkpoint-save"
            }
            () => return Ok(()),
        };
        Err(RunError::Contradiction(contradiction))
    }
}
