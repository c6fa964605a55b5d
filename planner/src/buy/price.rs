//! What GPUs cost: the latest price of the catalogue, never an estimate.

use std::cmp::Ordering;
use std::str::FromStr;

use crate::read::gpus::{Gpu, PriceUnit};

/// A price for all GPUs of an offer.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// US dollars, taxes not included.
    pub usd: f64,
    /// Year and month of the price of one.
    pub date: String,
    /// Who asked it.
    pub source: String,
}

/// What is known of an offer's price.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prices {
    /// For an hour.
    pub hourly: Option<Asked>,
    /// To own them.
    pub purchase: Option<Asked>,
}

/// The most that an offer may cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// US dollars for an hour.
    Hourly(f64),
    /// US dollars to own them.
    Purchase(f64),
}

impl FromStr for Budget {
    type Err = String;

    /// `4/h` or `4/hour` for an hour, `2500` to own them; a dollar sign may stand before.
    fn from_str(text: &str) -> Result<Budget, String> {
        let wrong = || {
            format!(
                "`{}` is no budget: 4/h are dollars for an hour, 2500 dollars to own the GPUs",
                crate::words::quote::cut(text)
            )
        };
        let (number, hourly) = match text.trim().split_once('/') {
            Some((number, "h" | "hour")) => (number, true),
            Some(_) => return Err(wrong()),
            None => (text.trim(), false),
        };
        let usd: f64 = number.trim().trim_start_matches('$').parse().map_err(|_| wrong())?;
        match () {
            () if !usd.is_finite() || usd < 0.0 => Err(wrong()),
            () if hourly => Ok(Budget::Hourly(usd)),
            () => Ok(Budget::Purchase(usd)),
        }
    }
}

impl Prices {
    /// The latest of each kind, times the GPUs; of the same date the lowest.
    pub fn of(gpu: &Gpu, gpus: u64) -> Prices {
        let latest = |unit: PriceUnit| {
            let prices = gpu.prices.iter().filter(|price| price.per == unit);
            let price = prices.max_by(|one, other| one.date.cmp(&other.date).then(other.usd.total_cmp(&one.usd)))?;
            Some(Asked { usd: price.usd * gpus as f64, date: price.date.clone(), source: price.source.clone() })
        };
        Prices { hourly: latest(PriceUnit::Hour), purchase: latest(PriceUnit::Card) }
    }

    /// Whether a budget is enough; None where no price of its kind is known.
    pub fn within(&self, budget: Budget) -> Option<bool> {
        match budget {
            Budget::Hourly(most) => self.hourly.as_ref().map(|asked| asked.usd <= most),
            Budget::Purchase(most) => self.purchase.as_ref().map(|asked| asked.usd <= most),
        }
    }

    /// By the hour, or first by the purchase; what has no price comes last.
    pub fn compare(&self, other: &Prices, purchase_first: bool) -> Ordering {
        let key = |prices: &Prices| {
            let (hourly, purchase) = (prices.hourly.as_ref(), prices.purchase.as_ref());
            let (first, second) = if purchase_first { (purchase, hourly) } else { (hourly, purchase) };
            match (first, second) {
                (Some(asked), _) => (0, asked.usd),
                (None, Some(asked)) => (1, asked.usd),
                (None, None) => (2, 0.0),
            }
        };
        let ((kind, usd), (other_kind, other_usd)) = (key(self), key(other));
        kind.cmp(&other_kind).then(usd.total_cmp(&other_usd))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_by_the_hour_or_to_own() {
        for (text, budget) in
            [("4/h", Budget::Hourly(4.0)), ("$2.5/hour", Budget::Hourly(2.5)), ("2500", Budget::Purchase(2500.0))]
        {
            assert_eq!(text.parse(), Ok(budget));
        }
        for wrong in ["", "4/day", "-1", "cheap", "inf", "/h"] {
            assert!(wrong.parse::<Budget>().is_err(), "{wrong}");
        }
    }
}
