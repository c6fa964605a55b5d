//! Sizes of memory: exact integers that people see in binary units.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::words::quote;

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

#[cfg(feature = "schemas")]
impl schemars::JsonSchema for Bytes {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Bytes".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "description": "A number of bytes.", "type": "integer", "format": "uint64", "minimum": 0 })
    }
}

/// 1 KiB.
pub const KIB: u64 = 1 << 10;
/// 1 MiB.
pub const MIB: u64 = 1 << 20;
/// 1 GiB.
pub const GIB: u64 = 1 << 30;
/// 1 TiB.
pub const TIB: u64 = 1 << 40;

impl Bytes {
    /// A size of memory, as [`FromStr`] reads it, whose unit nobody forgot.
    ///
    /// # Errors
    /// As there, and a number without a unit that is too small to be one of bytes.
    pub fn of_memory(text: &str) -> Result<Bytes, SizeError> {
        let bare = text.trim().ends_with(|c: char| c.is_ascii_digit());
        let size = text.parse().ok().filter(|size: &Bytes| !(bare && size.lacks_a_unit()));
        size.ok_or_else(|| SizeError { text: text.to_owned() })
    }

    /// Whether it is a number whose unit was forgotten: nobody counts so little memory in bytes.
    pub(crate) fn lacks_a_unit(self) -> bool {
        (1..KIB).contains(&self.0)
    }

    /// The next multiple of `step`, or `None` where it does not fit in 64 bits.
    pub fn round_up(self, step: u64) -> Option<Bytes> {
        self.0.checked_next_multiple_of(step).map(Bytes)
    }
}

impl fmt::Display for Bytes {
    /// The figure for people: bytes below 1 KiB, else two decimals of the largest binary unit that is not above it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, name) = match self.0 {
            0..KIB => return f.pad(&format!("{} B", self.0)),
            KIB..MIB => (KIB, "KiB"),
            MIB..GIB => (MIB, "MiB"),
            GIB..TIB => (GIB, "GiB"),
            _ => (TIB, "TiB"),
        };
        f.pad(&format!("{:.2} {name}", self.0 as f64 / unit as f64))
    }
}

/// Text that is no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{}` is no size: write bytes (21474836480) or a number with its unit (20GiB, 1.5GiB, 500MiB, 24GB)",
    quote::cut(.text)
)]
pub struct SizeError {
    /// The word or number that was given.
    pub text: String,
}

/// Units that a size may be written in: powers of 1024, also as docker and slurm write them, and powers of 1000 as SI names
/// them.
const UNITS: [(&str, u64); 18] = [
    ("", 1),
    ("B", 1),
    ("KiB", KIB),
    ("MiB", MIB),
    ("GiB", GIB),
    ("TiB", TIB),
    ("Ki", KIB),
    ("Mi", MIB),
    ("Gi", GIB),
    ("Ti", TIB),
    ("K", KIB),
    ("M", MIB),
    ("G", GIB),
    ("T", TIB),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

impl FromStr for Bytes {
    type Err = SizeError;

    /// Decimals are exact: 1.5GiB are 1610612736 bytes; what is below a byte is cut off.
    fn from_str(text: &str) -> Result<Bytes, SizeError> {
        size(text.trim()).ok_or_else(|| SizeError { text: text.to_owned() })
    }
}

fn size(text: &str) -> Option<Bytes> {
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = (&text[..split], text[split..].trim_start());
    let (_, factor) = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    let scale = 10u128.checked_pow(u32::try_from(decimals.len()).ok()?)?;
    let digits: u128 = format!("{whole}{decimals}").parse().ok()?;
    u64::try_from(digits.checked_mul(u128::from(*factor))? / scale).ok().map(Bytes)
}

impl Add for Bytes {
    type Output = Bytes;
    fn add(self, other: Bytes) -> Bytes {
        Bytes(self.0 + other.0)
    }
}

impl AddAssign for Bytes {
    fn add_assign(&mut self, other: Bytes) {
        self.0 += other.0;
    }
}

impl Sub for Bytes {
    type Output = Bytes;
    fn sub(self, other: Bytes) -> Bytes {
        Bytes(self.0 - other.0)
    }
}

impl SubAssign for Bytes {
    fn sub_assign(&mut self, other: Bytes) {
        self.0 -= other.0;
    }
}

impl Sum for Bytes {
    fn sum<I: Iterator<Item = Bytes>>(bytes: I) -> Bytes {
        Bytes(bytes.map(|b| b.0).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_units() {
        let read = |text: &str| text.parse::<Bytes>().ok().map(|bytes| bytes.0);
        assert_eq!(read("21474836480"), Some(20 * GIB));
        assert_eq!(read("20GiB"), Some(20 * GIB));
        assert_eq!(read(" 1.5 gib "), Some(GIB + GIB / 2));
        assert_eq!(read("24GB"), Some(24_000_000_000));
        assert_eq!(read("24G"), Some(24 * GIB));
        assert_eq!(read("0.5TiB"), Some(512 * GIB));
        assert_eq!(read("0"), Some(0));
        for (text, bytes) in [("24B", Some(24)), ("24", None), ("0", Some(0)), ("1024", Some(1024))] {
            assert_eq!(Bytes::of_memory(text).ok().map(|bytes| bytes.0), bytes, "{text}");
        }
        for wrong in ["", "GiB", "-1", "1.2.3GiB", "1e9", "20 apples", "99999999999TiB", "٣GiB"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
