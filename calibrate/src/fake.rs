//! A device for tests: memory is numbers, and work is noted.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::device::{Device, Memory};
use crate::error::CalibrateError;
use crate::products::Product;

/// As cudaMalloc rounds.
pub const PAGE: u64 = 2 << 20;

/// A device that hands out so many bytes in pages, at addresses from a page on.
pub struct Fake {
    capacity: u64,
    used: u64,
    next: u64,
    held: BTreeMap<u64, u64>,
    /// Parts that were written.
    pub touched: RefCell<Vec<(u64, u64)>>,
    /// Products that ran, with where their results went.
    pub products: RefCell<Vec<(Product, u64)>>,
}

impl Fake {
    /// One with so much memory.
    pub fn new(capacity: u64) -> Fake {
        let (touched, products) = Default::default();
        Fake { capacity, used: 0, next: PAGE, held: BTreeMap::new(), touched, products }
    }

    /// Whether a part lies in memory that is held.
    fn holds(&self, address: u64, bytes: u64) -> bool {
        let before = self.held.range(..=address).next_back();
        before.is_some_and(|(begin, size)| address + bytes <= begin + size)
    }
}

impl Device for Fake {
    fn free(&self) -> Result<u64, CalibrateError> {
        Ok(self.capacity - self.used)
    }

    fn allocate(&mut self, bytes: u64) -> Result<Option<Memory>, CalibrateError> {
        let pages = bytes.next_multiple_of(PAGE);
        if self.used + pages > self.capacity {
            return Ok(None);
        }
        let address = self.next;
        self.next += pages + PAGE;
        self.used += pages;
        self.held.insert(address, bytes);
        Ok(Some(Memory { address, bytes }))
    }

    fn release(&mut self, memory: Memory) -> Result<(), CalibrateError> {
        let bytes = self.held.remove(&memory.address).expect("memory that is held");
        self.used -= bytes.next_multiple_of(PAGE);
        Ok(())
    }

    fn touch(&self, memory: &Memory, offset: u64, bytes: u64) -> Result<(), CalibrateError> {
        assert!(self.holds(memory.address + offset, bytes), "a part of memory that is held");
        self.touched.borrow_mut().push((memory.address + offset, bytes));
        Ok(())
    }

    fn multiply(&self, product: &Product, factors: u64, result: u64) -> Result<(), CalibrateError> {
        assert!(self.holds(factors, product.factors()) && self.holds(result, product.result()));
        self.products.borrow_mut().push((*product, result));
        Ok(())
    }

    fn wait(&mut self) -> Result<(), CalibrateError> {
        Ok(())
    }
}
