//! The steps of a program as they are recorded, and where the code stands that records them.

use std::cell::{Cell, RefCell};
use std::ops::Range;

use super::{Step, TensorId};
use crate::interpret::{address, code};
use crate::read::spec::syntax::Function;
use crate::trace::{Place, PlaceId, Places, Standing};

/// The steps so far. References to tensors share it: when one goes, that is a step.
#[derive(Debug, Default)]
pub struct Tape {
    steps: RefCell<Vec<Step>>,
    standing: Cell<Standing>,
    places: RefCell<Places>,
}

impl Tape {
    /// Records a step.
    pub fn record(&self, step: Step) {
        self.steps.borrow_mut().push(step);
    }

    /// Records that Python's last reference to a tensor goes, where the code stands now.
    pub fn drop_tensor(&self, tensor: TensorId) {
        self.record(Step::Drop(tensor, self.place()));
    }

    /// How many steps there are so far.
    pub fn count(&self) -> usize {
        self.steps.borrow().len()
    }

    /// Some of the steps so far.
    pub fn steps(&self, range: Range<usize>) -> Vec<Step> {
        self.steps.borrow()[range].to_vec()
    }

    /// Takes what has been recorded; the tape is empty then.
    pub fn take(&self) -> Vec<Step> {
        self.steps.take()
    }

    /// Puts back what was taken, in place of what has been recorded since.
    pub fn put_back(&self, steps: Vec<Step>) {
        self.steps.replace(steps);
    }

    /// A function begins to run.
    pub fn enter(&self, function: &Function) {
        self.places.borrow_mut().enter(address(function), || code(function));
    }

    /// Where the code stands.
    pub fn standing(&self) -> Standing {
        self.standing.get()
    }

    /// The code goes there.
    pub fn go_to(&self, standing: Standing) {
        self.standing.set(standing);
    }

    /// The number of the place where the code stands.
    pub fn place(&self) -> PlaceId {
        self.places.borrow_mut().number(self.standing.get())
    }

    /// Takes all places that have a number.
    pub fn take_places(&self) -> Vec<Place> {
        self.places.take().all
    }
}
