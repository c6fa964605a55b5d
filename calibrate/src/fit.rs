//! Fits a roofline to kernels' times.
//!
//! ```text
//! time = overhead + max(operations / rate of the type, bytes / bandwidth)
//! ```
//!
//! The parameters are those with the least sum of squared logarithms of (roofline / time), so that a kernel of a microsecond
//! counts as much as one of a second. They are found one after another, round after round, each by the golden section on a
//! logarithmic scale: the sum is smooth in each, and a dozen rounds settle it. A rate that no kernel comes to, since memory is
//! slower for each of them, is left out: nothing was learned of it.

use planner::read::gpus::Rates;
use planner::read::profiles::{Figure, FitError, Fitted, Kernel};

use crate::error::CalibrateError;

/// How often all parameters are looked at.
const ROUNDS: usize = 60;
/// Steps of a golden section: each leaves 0.618 of the range.
const STEPS: usize = 32;
/// How far, as a factor, a parameter may be from where it was.
const RANGE: f64 = 8.0;
/// Places in that range, of which the best has the golden section between its neighbours: the sum may have several valleys.
const PLACES: i32 = 16;

/// A roofline as numbers: overhead, bandwidth, then a rate for each type.
struct Parameters {
    values: Vec<f64>,
    types: Vec<String>,
}

/// Fits a roofline. `launch` is kept with it.
///
/// # Errors
/// No kernel that moves memory alone, or none at all: then nothing says what the bandwidth is.
pub fn fit(kernels: &[Kernel], launch: Option<Figure>) -> Result<Fitted, CalibrateError> {
    if !kernels.iter().any(|kernel| kernel.bytes > 0 && kernel.flops == 0) {
        return Err(CalibrateError::Fit("none that moves memory alone".to_owned()));
    }
    if let Some(kernel) =
        kernels.iter().find(|kernel| !(kernel.seconds.median.is_finite() && kernel.seconds.median > 0.0))
    {
        return Err(CalibrateError::Fit(format!("{} of {:?} took no time", kernel.kernel, kernel.shape)));
    }
    let mut parameters = Parameters::first(kernels);
    let mut last = parameters.distance(kernels);
    for _ in 0..ROUNDS {
        for place in 0..parameters.values.len() {
            parameters.improve(place, kernels);
        }
        let now = parameters.distance(kernels);
        if last - now <= 1e-12 * last {
            break;
        }
        last = now;
    }
    Ok(Fitted {
        overhead: parameters.values[0],
        bandwidth: parameters.values[1],
        rates: parameters.rates(kernels)?,
        error: parameters.error(kernels),
        launch,
    })
}

impl Parameters {
    /// Where the search begins: the quickest kernel for the overhead, the best bandwidth and rates that any kernel reached.
    fn first(kernels: &[Kernel]) -> Parameters {
        let most = |of: &dyn Fn(&Kernel) -> f64| kernels.iter().map(of).fold(1.0, f64::max);
        let quickest = kernels.iter().map(|kernel| kernel.seconds.median).fold(1.0, f64::min);
        let mut types: Vec<String> = Vec::new();
        for kernel in kernels.iter().filter(|kernel| kernel.flops > 0) {
            if !types.contains(&kernel.rate) {
                types.push(kernel.rate.clone());
            }
        }
        let mut values = vec![quickest / 2.0, most(&|kernel| kernel.bytes as f64 / kernel.seconds.median)];
        values.extend(types.iter().map(|name| {
            most(&|kernel| if kernel.rate == *name { kernel.flops as f64 / kernel.seconds.median } else { 0.0 })
        }));
        Parameters { values, types }
    }

    fn seconds(&self, kernel: &Kernel) -> f64 {
        let rate = self.types.iter().position(|name| *name == kernel.rate).map(|place| self.values[2 + place]);
        let computes = rate.map_or(0.0, |rate| kernel.flops as f64 / rate);
        self.values[0] + computes.max(kernel.bytes as f64 / self.values[1])
    }

    fn distance(&self, kernels: &[Kernel]) -> f64 {
        kernels.iter().map(|kernel| (self.seconds(kernel) / kernel.seconds.median).ln().powi(2)).sum()
    }

    /// The best value of one parameter with all others as they are.
    fn improve(&mut self, place: usize, kernels: &[Kernel]) {
        const GOLDEN: f64 = 0.618_033_988_749_894_9;
        let before = self.values[place];
        let mut at = |logarithm: f64| {
            self.values[place] = logarithm.exp();
            self.distance(kernels)
        };
        let place_at = |number: i32| before.ln() + RANGE.ln() * f64::from(number) / f64::from(PLACES);
        let looked_at = (-PLACES..=PLACES).map(|number| (number, at(place_at(number))));
        let best = looked_at.min_by(|one, other| one.1.total_cmp(&other.1)).map_or(0, |(number, _)| number);
        let (mut low, mut high) = (place_at(best - 1), place_at(best + 1));
        let (mut left, mut right) = (high - GOLDEN * (high - low), low + GOLDEN * (high - low));
        let (mut at_left, mut at_right) = (at(left), at(right));
        for _ in 0..STEPS {
            if at_left < at_right {
                (high, right, at_right) = (right, left, at_left);
                left = high - GOLDEN * (high - low);
                at_left = at(left);
            } else {
                (low, left, at_left) = (left, right, at_right);
                right = low + GOLDEN * (high - low);
                at_right = at(right);
            }
        }
        let best = (low + high) / 2.0;
        if at(best) > at(before.ln()) {
            self.values[place] = before;
        } else {
            self.values[place] = best.exp();
        }
    }

    /// Whether a kernel takes as long as its operations do.
    fn computes(&self, kernel: &Kernel, rate: f64) -> bool {
        kernel.flops as f64 / rate > kernel.bytes as f64 / self.values[1]
    }

    fn rates(&self, kernels: &[Kernel]) -> Result<Rates, CalibrateError> {
        let mut rates = Rates::default();
        for (name, rate) in self.types.iter().zip(&self.values[2..]) {
            if !kernels.iter().any(|kernel| kernel.rate == *name && self.computes(kernel, *rate)) {
                continue;
            }
            let slot = match name.as_str() {
                "fp64" => &mut rates.fp64,
                "fp32" => &mut rates.fp32,
                "tf32" => &mut rates.tf32,
                "fp16" => &mut rates.fp16,
                "bf16" => &mut rates.bf16,
                "int8" => &mut rates.int8,
                other => return Err(CalibrateError::Fit(format!("`{other}` is no type"))),
            };
            *slot = Some(*rate);
        }
        Ok(rates)
    }

    fn error(&self, kernels: &[Kernel]) -> FitError {
        let apart = |kernel: &Kernel| (self.seconds(kernel) / kernel.seconds.median - 1.0).abs();
        let mut errors: Vec<f64> = kernels.iter().map(apart).collect();
        errors.sort_by(f64::total_cmp);
        let median = errors.get(errors.len() / 2).copied().unwrap_or(0.0);
        FitError { median, most: errors.last().copied().unwrap_or(0.0) }
    }
}

#[cfg(test)]
mod tests {
    use planner::time::{Speeds, Work};
    use proptest::prelude::*;

    use super::*;
    use crate::products::{Element, Product};

    /// The times of a GPU that is a roofline exactly, each off by a factor. No GPU was measured.
    fn timed(speeds: &Speeds, factor: impl Fn(usize) -> f64) -> Vec<Kernel> {
        let elements = [Element::Fp32, Element::Bf16];
        let products = elements.into_iter().flat_map(Product::grid).map(|product| {
            let shape = vec![product.rows, product.columns, product.inner];
            let (flops, bytes) = (product.flops(), product.factors() + product.result());
            ("product", product.element, shape, flops, bytes)
        });
        let copies = (12..31).map(|power| ("copy", Element::Fp32, vec![1 << power], 0, 2 << power));
        let kernel = |(number, (name, element, shape, flops, bytes)): (usize, (&str, Element, Vec<u64>, u64, u64))| {
            let median = speeds.seconds(&Work { flops, bytes, unit: element.unit() }) * factor(number);
            let seconds = Figure { median, spread: 0.0, runs: 1 };
            Kernel { kernel: name.to_owned(), rate: element.name().to_owned(), shape, flops, bytes, seconds }
        };
        products.chain(copies).enumerate().map(kernel).collect()
    }

    fn near(found: f64, wanted: f64, part: f64) -> bool {
        (found / wanted - 1.0).abs() <= part
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

        /// A roofline is found again from its own times; from times that are up to 5 % off, nearly so.
        #[test]
        fn a_roofline_is_found_again(
            overhead in 1e-6..2e-5f64,
            bandwidth in 2e11..8e12f64,
            fp32 in 1e13..1e14f64,
            bf16 in 1e14..1e15f64,
            noise in prop::collection::vec(-0.05..0.05f64, 64),
        ) {
            let rates = Rates { fp32: Some(fp32), bf16: Some(bf16), ..Rates::default() };
            let speeds = Speeds { overhead, bandwidth, rates };
            for (part, factor) in [(0.001, 0.0), (0.08, 1.0)] {
                let kernels = timed(&speeds, |number| 1.0 + factor * noise[number % noise.len()]);
                let fitted = fit(&kernels, None).expect("a roofline");
                prop_assert!(near(fitted.overhead, overhead, part), "overhead {} of {overhead}", fitted.overhead);
                prop_assert!(near(fitted.bandwidth, bandwidth, part), "bandwidth {} of {bandwidth}", fitted.bandwidth);
                for (name, rate, found) in [("fp32", fp32, fitted.rates.fp32), ("bf16", bf16, fitted.rates.bf16)] {
                    // how much longer than memory the operations of the kernel with the most of them for its bytes take
                    let most = kernels.iter().filter(|kernel| kernel.rate == name);
                    let most = most.map(|kernel| kernel.flops as f64 / rate / (kernel.bytes as f64 / bandwidth));
                    let most = most.fold(0.0, f64::max);
                    match found {
                        // where both take within 2 % of each other, no time tells which of them bounds a kernel
                        Some(found) => prop_assert!(near(found, rate, part + (1.02 - most).max(0.0)), "{name} {found} of {rate}"),
                        None => prop_assert!(most < 1.1, "{name} of {rate} was not found"),
                    }
                }
                prop_assert!(fitted.error.most <= 0.12 * factor + 0.001, "{:?}", fitted.error);
            }
        }
    }

    #[test]
    fn without_a_kernel_that_moves_memory_there_is_no_bandwidth() {
        assert!(fit(&[], None).is_err());
        let rates = Rates { fp32: Some(1e13), bf16: Some(1e14), ..Rates::default() };
        let kernels = timed(&Speeds { overhead: 1e-6, bandwidth: 1e12, rates }, |_| 1.0);
        let products: Vec<Kernel> = kernels.into_iter().filter(|kernel| kernel.flops > 0).collect();
        assert!(fit(&products, None).is_err());
        let mut timeless = timed(&Speeds { overhead: 0.0, bandwidth: 1e12, rates: Rates::default() }, |_| 1.0);
        timeless[0].seconds.median = 0.0;
        assert!(fit(&timeless, None).is_err());
    }
}
