//! Enums of choices, each with its word.

/// A word that names none of the choices.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no {what}: it is one of {choices}", crate::words::quote::cut(.word))]
pub struct UnknownChoice {
    /// What was to be chosen.
    pub what: &'static str,
    /// The word or number that was given.
    pub word: String,
    /// The words that are accepted.
    pub choices: String,
}

/// The words of an enum of choices: what memplan writes, in answers for programs too, and behind `|` what other programs write.
macro_rules! choices {
    ($type:ty, $what:literal, $($word:literal $(| $other:literal)* => $value:expr),+ $(,)?) => {
        impl $type {
            /// Every choice with its word.
            pub const ALL: &[(&'static str, $type)] = &[$(($word, $value)),+];

            /// What other programs call some of them.
            const OTHERS: &[(&'static str, $type)] = &[$($(($other, $value),)*)+];

            /// Its word.
            pub fn word(self) -> &'static str {
                Self::ALL.iter().find(|(_, value)| *value == self).map_or("", |(word, _)| word)
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::choices::UnknownChoice;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                let folded = word.to_ascii_lowercase().replace('_', "-");
                Self::ALL.iter().chain(Self::OTHERS).find(|(known, _)| *known == folded).map(|(_, value)| *value).ok_or_else(|| {
                    let words: Vec<&str> = Self::ALL.iter().map(|(word, _)| *word).collect();
                    $crate::choices::UnknownChoice { what: $what, word: word.to_owned(), choices: words.join(", ") }
                })
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.word())
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.word())
            }
        }

        #[cfg(feature = "schemas")]
        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "enum": [$($word),+] })
            }
        }
    };
}

pub(crate) use choices;
