//! What a run asks of the host: the data loader, and how much memory there is.

use std::fmt;
use std::str::FromStr;

use super::{Run, RunError};
use crate::bytes::Bytes;
use crate::words::quote;

/// `prefetch_factor` where none is given and there are workers (torch/utils/data/dataloader.py).
const PREFETCH: u64 = 2;

/// What one sample takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// So many bytes.
    Bytes(Bytes),
    /// An image of three channels in float32, as torchvision's `ToTensor` gives it.
    Image {
        /// Its rows.
        height: u64,
        /// Its columns.
        width: u64,
    },
}

impl Sample {
    /// Its bytes.
    pub fn bytes(self) -> Bytes {
        match self {
            Sample::Bytes(bytes) => bytes,
            Sample::Image { height, width } => Bytes(3 * 4 * height * width),
        }
    }
}

impl FromStr for Sample {
    type Err = String;

    /// Bytes, as `500kB`, or `image=1024x1024`.
    fn from_str(text: &str) -> Result<Sample, String> {
        const MOST: u64 = 1 << 20;
        let wrong = || {
            format!(
                "`{}` is no sample: write its bytes (600kB), or image=HEIGHTxWIDTH, each up to {MOST}",
                quote::cut(text)
            )
        };
        let Some(size) = text.trim().strip_prefix("image=") else {
            return text.parse().map(Sample::Bytes).map_err(|_| wrong());
        };
        let number = |word: &str| word.parse().ok().filter(|number| (1..=MOST).contains(number)).ok_or_else(wrong);
        let (height, width) = size.split_once('x').ok_or_else(wrong)?;
        Ok(Sample::Image { height: number(height)?, width: number(width)? })
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sample::Bytes(bytes) => write!(f, "{}", bytes.0),
            Sample::Image { height, width } => write!(f, "image={height}x{width}"),
        }
    }
}

impl Run {
    /// Whether anything is asked of the host.
    pub fn asks_of_host(&self) -> bool {
        let asked = self.workers.is_some() || self.prefetch.is_some() || self.sample.is_some();
        asked || self.pin_memory || self.host_ram.is_some()
    }

    /// Batches that a rank's workers have under way together.
    pub fn batches_under_way(&self) -> u64 {
        self.workers.unwrap_or(0) * self.prefetch.unwrap_or(PREFETCH)
    }

    /// Refuses what `DataLoader` refuses, and sizes beyond any machine.
    pub(super) fn check_host(&self) -> Result<(), RunError> {
        let workers = self.workers.unwrap_or(0);
        let prefetch = self.prefetch.unwrap_or(PREFETCH);
        let sizes = [("workers", workers, 10_000), ("prefetch", prefetch, 10_000)];
        for (what, value, most) in sizes {
            if value > most {
                return Err(RunError::TooLarge { what, value, most });
            }
        }
        if prefetch == 0 {
            return Err(RunError::Zero { what: "prefetch" });
        }
        if workers == 0 && self.prefetch.is_some() {
            return Err(RunError::Contradiction("prefetch is what workers fetch ahead: give workers too"));
        }
        let bytes = self.sample.map_or(0, |sample| sample.bytes().0);
        let batches = u128::from(self.batches_under_way() + 2 + workers)
            * u128::from(self.parallel.as_ref().map_or(1, super::Parallel::ranks));
        // so that sums further on, of sizes rounded up to powers of two, stay within 64 bits
        if batches * u128::from(self.batch) * u128::from(bytes) > 1 << 58 {
            return Err(RunError::TooLarge { what: "sample", value: bytes, most: 1 << 40 });
        }
        Ok(())
    }
}
