//! The life of a kernel's temporaries: what one operator asks the allocator for beside its outputs, in order.
//!
//! ```text
//! steps.hold(100); steps.hold(24); steps.release(2);   =>   +100 +24 -#1 -#0
//! ```

/// One request to the allocator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Allocate that many bytes; the n-th of these is temporary number n, from 0.
    Allocate(u64),
    /// Free the temporary of that number.
    Free(usize),
}

/// A list of steps under construction, and which temporaries are still held.
#[derive(Clone, Debug, Default)]
pub struct Steps {
    list: Vec<Step>,
    held: Vec<usize>,
    count: usize,
}

impl Steps {
    /// Allocates a temporary and gives its number. Nothing is asked of the allocator for 0 bytes, but it is counted as held.
    pub fn hold(&mut self, bytes: u64) -> usize {
        let number = self.count;
        if bytes > 0 {
            self.list.push(Step::Allocate(bytes));
            self.count += 1;
            self.held.push(number);
        } else {
            self.held.push(usize::MAX);
        }
        number
    }

    /// Frees the last `how_many` temporaries, the youngest first, as C++ leaves a scope.
    pub fn release(&mut self, how_many: usize) {
        for _ in 0..how_many {
            if let Some(number) = self.held.pop().filter(|&number| number != usize::MAX) {
                self.list.push(Step::Free(number));
            }
        }
    }

    /// Allocates a temporary and frees it at once.
    pub fn pass(&mut self, bytes: u64) {
        self.hold(bytes);
        self.release(1);
    }

    /// Frees all that is still held, the youngest first, and gives the list.
    pub fn finish(mut self) -> Vec<Step> {
        self.release(self.held.len());
        self.list
    }
}
