//! The operators of ATen whose results selective activation checkpointing can save, as the rows of the table declare
//! them, and those of them that multiply matrices.
//!
//! A row is what a program calls; below autograd it runs operators of ATen, which PyTorch's dispatch modes see:
//! `linear` runs `addmm` or `mm`, `matmul` runs `mm` or `bmm`.

use std::sync::OnceLock;

use super::work::Multiplied;
use super::{Class, TABLE};

/// An operator of ATen whose results can be saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Savable {
    /// Its name: `sum`.
    pub name: &'static str,
    /// The overload that is called: `dim_IntList`.
    pub overload: &'static str,
    /// The class of the row that declares it.
    pub class: Class,
}

/// All operators of ATen whose results can be saved, in the order of their names.
pub fn savable() -> &'static [Savable] {
    static ALL: OnceLock<Vec<Savable>> = OnceLock::new();
    ALL.get_or_init(|| {
        let rows = TABLE.iter().copied().flatten();
        let mut all: Vec<Savable> =
            rows.flat_map(|row| row.savable.iter().map(|full| declared(full, row.class))).collect();
        all.sort_by_key(|savable| savable.name);
        all
    })
}

/// The operator of ATen of that name, without overload; None where its results cannot be saved.
pub fn savable_named(name: &str) -> Option<&'static Savable> {
    let place = savable().binary_search_by_key(&name, |savable| savable.name).ok()?;
    savable().get(place)
}

/// The operators of ATen that multiply matrices, or batches of them, in the type of their result.
pub fn matrix_products() -> &'static [&'static str] {
    static ALL: OnceLock<Vec<&'static str>> = OnceLock::new();
    ALL.get_or_init(|| {
        let of_matrices = |class| matches!(class, Class::Product { of: Multiplied::Matrices, .. });
        savable().iter().filter(|savable| of_matrices(savable.class)).map(|savable| savable.name).collect()
    })
}

fn declared(full: &'static str, class: Class) -> Savable {
    let (name, overload) = full.split_once('.').unwrap_or((full, ""));
    Savable { name, overload, class }
}
