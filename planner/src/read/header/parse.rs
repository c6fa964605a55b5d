//! The header's JSON, entry by entry.
//!
//! The `safetensors` crate's own path (`Metadata` from JSON) buffers every entry twice (`serde(flatten)`), silently keeps
//! the last of two entries of the same name, and reports neither which tensor has an unknown dtype nor where; this one
//! reads each entry straight into place. Tests hold the two to the same verdicts.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use safetensors::Dtype;
use serde::Deserialize;
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};

use super::HeaderFault;
use crate::words::quote;

/// The name under which a header keeps its free-form metadata.
const METADATA: &str = "__metadata__";

/// One tensor's entry as written, with its dtype yet unread.
#[derive(Deserialize)]
pub(super) struct Entry<'text> {
    #[serde(borrow)]
    pub dtype: Cow<'text, str>,
    pub shape: Vec<u64>,
    pub data_offsets: (u64, u64),
}

/// A header's entries, in the order of the text.
#[derive(Default)]
pub(super) struct Entries<'text> {
    pub tensors: Vec<(String, Entry<'text>)>,
    pub metadata: Option<BTreeMap<String, String>>,
    /// The entry that is being read, for the error's sake.
    current: Option<String>,
    /// `__metadata__` occurs twice.
    repeated: bool,
}

/// Reads the header's text. Errors: `Utf8`, `Json`, `NotAnObject`, `Entry`, and `Duplicate` for `__metadata__`.
pub(super) fn entries(bytes: &[u8]) -> Result<Entries<'_>, HeaderFault> {
    let text = std::str::from_utf8(bytes).map_err(|e| HeaderFault::Utf8 { at: e.valid_up_to() })?;
    let mut entries = Entries { tensors: Vec::with_capacity(text.len() / 128), ..Entries::default() };
    let mut json = serde_json::Deserializer::from_str(text);
    match Into(&mut entries).deserialize(&mut json).and_then(|()| json.end()) {
        Err(error) => Err(fault(&error, entries.current)),
        Ok(()) if entries.repeated => Err(HeaderFault::Duplicate { tensor: METADATA.into() }),
        Ok(()) => Ok(entries),
    }
}

/// The dtype that a header calls `name`, or `None` where the safetensors crate has none of that name.
pub(super) fn dtype(name: &str) -> Option<Dtype> {
    Dtype::deserialize(StrDeserializer::<serde::de::value::Error>::new(name)).ok()
}

fn fault(error: &serde_json::Error, current: Option<String>) -> HeaderFault {
    let (line, column) = (error.line(), error.column());
    let message = quote::json_message(error);
    match (error.is_data(), current) {
        (false, _) => HeaderFault::Json { message, line, column },
        (true, Some(entry)) => HeaderFault::Entry { entry, message, line, column },
        (true, None) => HeaderFault::NotAnObject { message, line, column },
    }
}

/// Reads an object into entries that outlive an error.
struct Into<'into, 'text>(&'into mut Entries<'text>);

impl<'text> DeserializeSeed<'text> for Into<'_, 'text> {
    type Value = ();
    fn deserialize<D: Deserializer<'text>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'text> Visitor<'text> for Into<'_, 'text> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<M: MapAccess<'text>>(self, mut map: M) -> Result<(), M::Error> {
        let entries = self.0;
        while let Some(name) = map.next_key::<String>()? {
            let name = entries.current.insert(name);
            if name == METADATA {
                entries.repeated |= entries.metadata.is_some();
                entries.metadata = map.next_value::<Option<_>>()?.or(Some(BTreeMap::new()));
            } else {
                let entry = map.next_value()?;
                entries.tensors.push((std::mem::take(name), entry));
            }
            entries.current = None;
        }
        Ok(())
    }
}
