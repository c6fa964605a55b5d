//! The steps of a program as they are recorded, and where the code stands that records them.

use std::cell::{Cell, RefCell};

use super::{Step, TensorId};
use crate::trace::PlaceId;

/// The steps so far. References to tensors share it: when one goes, that is a step.
#[derive(Debug, Default)]
pub struct Tape {
    steps: RefCell<Vec<Step>>,
    place: Cell<PlaceId>,
}

impl Tape {
    /// Records a step.
    pub fn record(&self, step: Step) {
        self.steps.borrow_mut().push(step);
    }

    /// Records that Python's last reference to a tensor goes, where the code stands now.
    pub fn drop_tensor(&self, tensor: TensorId) {
        self.record(Step::Drop(tensor, self.place.get()));
    }

    /// Takes what has been recorded; the tape is empty then.
    pub fn take(&self) -> Vec<Step> {
        self.steps.take()
    }

    /// Puts back what was taken, in place of what has been recorded since.
    pub fn put_back(&self, steps: Vec<Step>) {
        self.steps.replace(steps);
    }

    /// Where the code stands.
    pub fn place(&self) -> PlaceId {
        self.place.get()
    }

    /// The code goes there.
    pub fn go_to(&self, place: PlaceId) {
        self.place.set(place);
    }
}
