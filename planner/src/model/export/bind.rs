//! How a run fits an export: its batch, its tokens and its images are sizes that the export leaves open, or has fixed.

use std::fmt;

use super::inputs::{Dimension, Exported, Input, Origin};
use crate::run::{Attention, LossKind, NamedSizes, Run, RunError};

/// The loss of a class that its outputs are still to say.
pub const UNSAID: &str = "own";

/// What a size of an input is to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// The first size of the first input.
    Batch,
    /// The second of an input of integers.
    Seq,
    /// Rows and columns of an input of images.
    Image,
}

impl Role {
    const ALL: [Role; 3] = [Role::Batch, Role::Seq, Role::Image];

    fn word(self) -> &'static str {
        match self {
            Role::Batch => "batch",
            Role::Seq => "seq",
            Role::Image => "image",
        }
    }

    fn asked(self, run: &Run) -> Option<u64> {
        match self {
            Role::Batch => Some(run.batch),
            Role::Seq => Some(run.seq),
            Role::Image => run.image,
        }
    }
}

/// The sizes of a run that an export gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Sequences or images at once.
    pub batch: Option<u64>,
    /// Tokens of each.
    pub seq: Option<u64>,
    /// Rows and columns of each image.
    pub image: Option<u64>,
}

impl Exported {
    /// The size of an input that has a role, with the input.
    fn role(&self, role: Role) -> Option<(&Input, &Dimension)> {
        let mut inputs = self.inputs.iter();
        let found = match role {
            Role::Batch => inputs.next().map(|input| (input, 0)),
            Role::Seq => inputs.find(|input| !input.floating && input.sizes.len() == 2).map(|input| (input, 1)),
            Role::Image => inputs.find(|input| input.floating && input.sizes.len() == 4).map(|input| (input, 2)),
        };
        found.and_then(|(input, place)| Some((input, input.sizes.get(place)?)))
    }

    /// Whether its inputs are images.
    pub fn takes_images(&self) -> bool {
        self.role(Role::Image).is_some() && self.role(Role::Seq).is_none()
    }

    /// Whether its inputs are sequences of tokens.
    pub fn takes_tokens(&self) -> bool {
        self.role(Role::Seq).is_some()
    }

    /// The sizes that it was exported with, but for symbols that have another value.
    pub fn sizes(&self, dims: &NamedSizes) -> Sizes {
        let size = |role| match self.role(role)?.1 {
            Dimension::Fixed(size) => Some(*size),
            Dimension::Symbol(name) => dims.get(name).copied().or_else(|| self.symbol(name)?.hint),
            Dimension::Expression(_) => None,
        };
        Sizes { batch: size(Role::Batch), seq: size(Role::Seq), image: size(Role::Image) }
    }

    fn symbol(&self, name: &str) -> Option<&super::inputs::Symbol> {
        self.symbols.iter().find(|symbol| symbol.name == name)
    }

    /// The entries of the config that a run asks for.
    ///
    /// # Errors
    /// A size that the export has fixed otherwise, a symbol that it does not have or that has no value, a loss that it cannot
    /// give.
    pub fn bind(&self, run: &Run) -> Result<Vec<(String, serde_json::Value)>, RunError> {
        let refuse = |message: String| Err(RunError::Export(message));
        let is_class = self.origin == Origin::Class;
        let who = if is_class { "the class" } else { "the export" };
        if run.attention.unwrap_or_default() != Attention::Sdpa {
            return refuse(format!("{who} says how attention is computed: leave attention out"));
        }
        let mut values = run.dim.clone();
        if is_class {
            for role in Role::ALL {
                if let Some(asked) = role.asked(run).filter(|_| self.symbol(role.word()).is_some()) {
                    values.entry(role.word().to_owned()).or_insert(asked);
                }
            }
        }
        if let Some(name) = values.keys().find(|name| self.symbol(name).is_none()) {
            return refuse(format!("{who} has no size {name}: {}", self.listed()));
        }
        for role in Role::ALL {
            let (Some((input, size)), Some(asked)) = (self.role(role), role.asked(run)) else { continue };
            match size {
                Dimension::Symbol(name) => {
                    values.entry(name.clone()).or_insert(asked);
                }
                Dimension::Fixed(size) if *size != asked => {
                    let what = role.word();
                    if is_class {
                        return refuse(format!(
                            "--input {} fixes {what} at {size}: write {what} in place of {size} there to plan {what} {asked}",
                            input.name
                        ));
                    }
                    return refuse(format!(
                        "the export has fixed {what} at {size}, in its input {}: export it with dynamic_shapes to plan {what} {asked}",
                        input.name
                    ));
                }
                _ => {}
            }
        }
        for symbol in &self.symbols {
            let Some(value) = values.get(&symbol.name).copied().or(symbol.hint) else {
                if symbol.name == Role::Image.word() {
                    return refuse("image has no value: give --image N".to_owned());
                }
                return refuse(format!("{} has no value: give --dim {0}=N", symbol.name));
            };
            let (least, most) = symbol.range;
            if value < least || most.is_some_and(|most| value > most) {
                let most = most.map_or(String::new(), |most| format!(" to {most}"));
                return refuse(format!("{} is {value}: the export allows {least}{most}", symbol.name));
            }
        }
        if is_class {
            values.retain(|name, _| self.symbol(name).is_some());
            // what the model returns says which loss there is, where the run does not
            let loss = ("loss".to_owned(), run.loss.map_or(UNSAID, LossKind::word).into());
            return Ok(values.into_iter().map(|(name, value)| (name, value.into())).chain([loss]).collect());
        }
        let loss = run.loss.or(self.loss);
        match loss {
            None if run.mode.records() => {
                return refuse("the export has no output that a loss could be made of".to_owned());
            }
            Some(LossKind::Output) if !self.has_loss => {
                return refuse(
                    "the export has no loss of its own: cross-entropy or sum of its first output".to_owned(),
                );
            }
            Some(LossKind::CrossEntropy) if self.scores.len() < 2 => {
                return refuse(
                    "cross-entropy takes scores for each row: the export's first output has none".to_owned(),
                );
            }
            _ => {}
        }
        let loss = loss.map(|loss| ("loss".to_owned(), loss.word().into()));
        Ok(values.into_iter().map(|(name, value)| (name, value.into())).chain(loss).collect())
    }

    /// The symbols, in words.
    fn listed(&self) -> String {
        if self.symbols.is_empty() {
            return "all its sizes are fixed".to_owned();
        }
        let words = self.symbols.iter().map(|symbol| match symbol.hint {
            Some(hint) => format!("{} ({hint} when exported)", symbol.name),
            None => symbol.name.clone(),
        });
        format!("it has {}", words.collect::<Vec<_>>().join(", "))
    }

    /// The inputs, in words: `input_ids [s72, s38] int64`.
    pub fn inputs_in_words(&self) -> String {
        let words = self.inputs.iter().map(|input| {
            let sizes = input.sizes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            format!("{} [{sizes}]", input.name)
        });
        words.collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dimension::Fixed(size) => write!(f, "{size}"),
            Dimension::Symbol(text) | Dimension::Expression(text) => f.write_str(text),
        }
    }
}
