//! The keys that spread a run over several GPUs: `ddp: 8`, `fsdp: 8,reshard=false`, or `parallel: {ddp: 8}`.

use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::word;
use crate::run::{Parallel, ParallelError};

/// What `ddp` says.
struct Ddp(Parallel);

/// What `fsdp` says.
struct Fsdp(Parallel);

impl FromStr for Ddp {
    type Err = ParallelError;

    fn from_str(words: &str) -> Result<Ddp, ParallelError> {
        Parallel::ddp(words).map(Ddp)
    }
}

impl FromStr for Fsdp {
    type Err = ParallelError;

    fn from_str(words: &str) -> Result<Fsdp, ParallelError> {
        Parallel::fsdp(words).map(Fsdp)
    }
}

/// The value of `ddp`.
pub(super) fn ddp<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Parallel>, D::Error> {
    Ok(word::<D, Ddp>(deserializer)?.map(|wish| wish.0))
}

/// The value of `fsdp`.
pub(super) fn fsdp<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Parallel>, D::Error> {
    Ok(word::<D, Fsdp>(deserializer)?.map(|wish| wish.0))
}

/// The value of `parallel`.
pub(super) fn either<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Parallel>, D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, default, expecting = "{ddp: N} or {fsdp: N}")]
    #[derive(Default)]
    struct Written {
        #[serde(deserialize_with = "ddp")]
        ddp: Option<Parallel>,
        #[serde(deserialize_with = "fsdp")]
        fsdp: Option<Parallel>,
    }
    let written = Option::<Written>::deserialize(deserializer)?.unwrap_or_default();
    match (written.ddp, written.fsdp) {
        (Some(_), Some(_)) => Err(D::Error::custom("ddp and fsdp: a run takes one of them")),
        (ddp, fsdp) => Ok(ddp.or(fsdp)),
    }
}
