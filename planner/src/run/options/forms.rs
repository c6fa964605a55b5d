//! The forms that values have in a run file: words, lists, mappings.

use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::run::{
    Checkpointing, Construction, Ddp, Fsdp, GivenInputs, Lora, OptimizerChoice, Parallel, SavedOperators, TrainedBias,
    Variables,
};
use crate::versions::Release;

/// `none`, `full`, or a list of module paths.
pub(super) fn checkpoint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Checkpointing>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "none, full, or a list of module paths, is expected")]
    enum Written {
        Word(String),
        Paths(Vec<String>),
    }
    let chosen = match Option::<Written>::deserialize(deserializer)? {
        None => return Ok(None),
        Some(Written::Word(word)) => word.parse(),
        Some(Written::Paths(paths)) => {
            paths.iter().map(|path| path.parse()).collect::<Result<_, _>>().map(Checkpointing::Modules)
        }
    };
    chosen.map(Some).map_err(D::Error::custom)
}

/// `mm,addmm`, or a list of names.
pub(super) fn saved_operators<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SavedOperators>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a list of operators is expected")]
    enum Written {
        Word(String),
        Names(Vec<String>),
    }
    let saved = match Option::<Written>::deserialize(deserializer)? {
        None => return Ok(None),
        Some(Written::Word(word)) => word.parse().map(Some),
        Some(Written::Names(names)) => SavedOperators::of(names.iter().map(String::as_str)),
    };
    saved.map_err(D::Error::custom)
}

/// `r=16,targets=q_proj+v_proj`, or `{r: 16, targets: [q_proj, v_proj]}`.
pub(super) fn adapters<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Lora>, D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Entries {
        #[serde(alias = "rank")]
        r: Option<u64>,
        #[serde(alias = "lora_alpha")]
        alpha: Option<f64>,
        #[serde(alias = "lora_dropout")]
        dropout: Option<f64>,
        #[serde(default, alias = "target_modules")]
        targets: Names,
        #[serde(default)]
        modules_to_save: Names,
        #[serde(default, deserialize_with = "word")]
        bias: Option<TrainedBias>,
        #[serde(default, rename = "use_rslora")]
        _use_rslora: bool, // another number for the scale: no memory
        #[serde(default)]
        use_dora: bool,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Names {
        Word(String),
        All(Vec<String>),
    }
    impl Default for Names {
        fn default() -> Names {
            Names::All(Vec::new())
        }
    }
    impl From<Names> for Vec<String> {
        fn from(names: Names) -> Vec<String> {
            match names {
                Names::Word(word) => vec![word],
                Names::All(names) => names,
            }
        }
    }
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "r=16,targets=q_proj+v_proj is expected, or a mapping of such keys")]
    enum Written {
        Word(String),
        Entries(Entries),
    }
    let lora = match Option::<Written>::deserialize(deserializer)? {
        None => return Ok(None),
        Some(Written::Word(word)) => word.parse(),
        Some(Written::Entries(said)) => {
            let default = Lora::default();
            let lora = Lora {
                rank: said.r.unwrap_or(default.rank),
                alpha: said.alpha.unwrap_or(default.alpha),
                dropout: said.dropout.unwrap_or(default.dropout),
                targets: said.targets.into(),
                bias: said.bias.unwrap_or_default(),
                saved: said.modules_to_save.into(),
                dora: said.use_dora,
            };
            lora.check()
        }
    };
    lora.map(Some).map_err(D::Error::custom)
}

/// `NAME=VALUE`, or a mapping of names and values.
pub(super) fn variables<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Variables>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "NAME=VALUE, or a mapping of names and values, is expected")]
    enum Written {
        Word(String),
        Entries(indexmap::IndexMap<String, serde_json::Value>),
    }
    let set = match Option::<Written>::deserialize(deserializer)? {
        None => return Ok(None),
        Some(Written::Word(word)) => word.parse(),
        Some(Written::Entries(entries)) => Variables::of(entries.into_iter().map(|(name, value)| match value {
            serde_json::Value::String(text) => (name, text),
            other => (name, other.to_string()),
        })),
    };
    set.map(Some).map_err(D::Error::custom)
}

/// `depth=12, width=256`, or a mapping of names and values.
pub(super) fn construction<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Construction>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "arguments as Python, depth=12, or a mapping of names and values, is expected")]
    enum Written {
        Word(String),
        Entries(indexmap::IndexMap<String, serde_json::Value>),
    }
    Ok(Option::<Written>::deserialize(deserializer)?.map(|written| match written {
        Written::Word(word) => Construction(word.trim().to_owned()),
        Written::Entries(entries) => {
            let said = entries.iter().map(|(name, value)| format!("{name}={}", as_python(value)));
            Construction(said.collect::<Vec<_>>().join(", "))
        }
    }))
}

fn as_python(value: &serde_json::Value) -> String {
    use serde_json::Value;
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(flag) => if *flag { "True" } else { "False" }.to_owned(),
        Value::Array(values) => format!("[{}]", values.iter().map(as_python).collect::<Vec<_>>().join(", ")),
        Value::Object(entries) => {
            let said = entries.iter().map(|(key, value)| format!("{key:?}: {}", as_python(value)));
            format!("{{{}}}", said.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// `x=float32[8,3]`, or a mapping of names and inputs.
pub(super) fn inputs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<GivenInputs>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "NAME=TYPE[SIZES], or a mapping of names and inputs, is expected")]
    enum Written {
        Word(String),
        Entries(indexmap::IndexMap<String, serde_json::Value>),
    }
    let given = match Option::<Written>::deserialize(deserializer)? {
        None => return Ok(None),
        Some(Written::Word(word)) => word.parse(),
        Some(Written::Entries(entries)) => {
            let input = |(name, value): (String, serde_json::Value)| match &value {
                serde_json::Value::String(text) => Ok((name, text.parse()?)),
                other => Ok((name, as_python(other).parse()?)),
            };
            entries.into_iter().map(input).collect::<Result<_, _>>().map(GivenInputs)
        }
    };
    given.map(Some).map_err(D::Error::custom)
}

/// `{ddp: 8}` or `{fsdp: 8}`
pub(super) fn parallel<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Parallel>, D::Error> {
    #[derive(Default, Deserialize)]
    #[serde(deny_unknown_fields, default, expecting = "{ddp: N} or {fsdp: N}")]
    struct Written {
        #[serde(deserialize_with = "word")]
        ddp: Option<Ddp>,
        #[serde(deserialize_with = "word")]
        fsdp: Option<Fsdp>,
    }
    let written = Option::<Written>::deserialize(deserializer)?.unwrap_or_default();
    match (written.ddp, written.fsdp) {
        (Some(_), Some(_)) => Err(D::Error::custom("ddp and fsdp: a run takes one of them")),
        (Some(ddp), None) => Ok(Some(Parallel::Ddp(ddp))),
        (None, fsdp) => Ok(fsdp.map(Parallel::Fsdp)),
    }
}

/// A release: the scalar's own text, which a number would lose.
pub(super) fn release<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Release>, D::Error> {
    Option::<String>::deserialize(deserializer)?.map(|text| text.parse().map_err(D::Error::custom)).transpose()
}

/// A word, or null.
pub(super) fn word<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Ok(Option::<Written<T>>::deserialize(deserializer)?.map(|written| written.0))
}

/// `adamw,foreach=false`, or `{name: adamw, foreach: false}`.
pub(super) fn optimizer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<OptimizerChoice>, D::Error> {
    Ok(Option::<WrittenOptimizer>::deserialize(deserializer)?.map(|written| written.0))
}

struct WrittenOptimizer(OptimizerChoice);

impl<'de> Deserialize<'de> for WrittenOptimizer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<WrittenOptimizer, D::Error> {
        deserializer.deserialize_any(OptimizerWords)
    }
}

struct OptimizerWords;

impl<'de> Visitor<'de> for OptimizerWords {
    type Value = WrittenOptimizer;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an optimizer: `adamw,fused=true` or `{name: adamw, fused: true}`")
    }

    fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<WrittenOptimizer, E> {
        word.parse().map(WrittenOptimizer).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WrittenOptimizer, A::Error> {
        let mut entries = serde_json::Map::new();
        while let Some((key, value)) = map.next_entry()? {
            entries.insert(key, value);
        }
        let written = serde_json::Value::Object(entries);
        OptimizerChoice::from_json(&written).map(WrittenOptimizer).map_err(A::Error::custom)
    }
}

/// A value that is written as a word, as a number that reads as one, or as a mapping whose only key is `name`.
struct Written<T>(T);

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Written<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Written<T>, D::Error> {
        deserializer.deserialize_any(Words(PhantomData))
    }
}

/// Parses within the visitor, where errors are given their line and column.
struct Words<T>(PhantomData<T>);

impl<'de, T: FromStr<Err: Display>> Visitor<'de> for Words<T> {
    type Value = Written<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a word")
    }

    fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<Written<T>, E> {
        word.parse().map(Written).map_err(E::custom)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Written<T>, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Written<T>, A::Error> {
        match map.next_key::<String>()?.as_deref() {
            Some("name") => {}
            Some(other) => return Err(A::Error::custom(format!("unknown key `{other}`, expected `name`"))),
            None => return Err(A::Error::custom("`name` is missing")),
        }
        let written = map.next_value()?;
        match map.next_key::<String>()? {
            Some(other) => Err(A::Error::custom(format!("unknown key `{other}`, expected `name` alone"))),
            None => Ok(written),
        }
    }
}
