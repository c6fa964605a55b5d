//! The smallest GPUs on which a run fits, for who names none.

use std::cmp::Reverse;

use crate::bytes::Bytes;
use crate::model::Model;
use crate::plan::{Plan, PlanError, plan};
use crate::read::gpus::{Gpu, GpuCatalogue};
use crate::run::Run;

/// How many sizes of GPUs are planned at most: kernels differ little between them, so the first mostly fits.
const TRIES: usize = 4;

/// What people put into their own machines is named first.
const CONSUMER: &str = "GeForce";

/// The smallest GPU on which a run fits.
#[derive(Clone, Debug, PartialEq)]
pub struct Smallest {
    /// The newest GPU of that size; it was planned.
    pub gpu: Gpu,
    /// What its allocator may take.
    pub capacity: Bytes,
    /// The peak reserved there.
    pub needed: Bytes,
}

/// The smallest GPU of the catalogue, by the size on the box, on which the run fits; None where few tries find none. `planned` is
/// the run's plan for another GPU, which says how much is needed about.
///
/// # Errors
/// As `plan`.
pub fn smallest(
    model: &Model,
    run: &Run,
    planned: &Plan,
    catalogue: &GpuCatalogue,
) -> Result<Option<Smallest>, PlanError> {
    let about = planned.whole().peak_reserved;
    for gpu in sizes(catalogue).into_iter().filter(|gpu| gpu.memory.total > about).take(TRIES) {
        let plan = plan(model, run, gpu)?;
        if plan.fits() {
            let (capacity, needed) = (plan.capacity, plan.whole().peak_reserved);
            return Ok(Some(Smallest { gpu: gpu.clone(), capacity, needed }));
        }
    }
    Ok(None)
}

/// One GPU of each size on the box, smallest first: a consumer's where there is one, the newest of them.
fn sizes(catalogue: &GpuCatalogue) -> Vec<&Gpu> {
    let mut all: Vec<&Gpu> = catalogue.iter().collect();
    all.sort_by_key(|gpu| (gpu.memory.nominal, !gpu.name.contains(CONSUMER), Reverse(gpu.launched), gpu.key.clone()));
    all.dedup_by_key(|gpu| gpu.memory.nominal);
    all
}
