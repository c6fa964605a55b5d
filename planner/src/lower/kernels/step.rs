//! The life of an operator's allocations: what it asks of the allocator, in order.
//!
//! ```text
//! steps.hold(100); steps.output(512); steps.hold(24); steps.release(2);   =>   +100 +512(stays) +24 -#1 -#0
//! ```

/// One request to the allocator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Allocate a temporary of that many bytes; the n-th of these is temporary number n, from 0.
    Allocate(u64),
    /// Allocate a result of that many bytes, which outlives the operator. Only operators that do so amid their
    /// temporaries list it; all others allocate their results before the first step.
    Output(u64),
    /// Free the temporary of that number.
    Free(usize),
}

/// A list of steps under construction, and which temporaries are still held.
#[derive(Clone, Debug, Default)]
pub struct Steps {
    list: Vec<Step>,
    held: Vec<Option<usize>>,
    count: usize,
}

impl Steps {
    /// Allocates a temporary. Nothing is asked of the allocator for 0 bytes, but it counts as held.
    pub fn hold(&mut self, bytes: u64) {
        if bytes == 0 {
            self.held.push(None);
            return;
        }
        self.list.push(Step::Allocate(bytes));
        self.held.push(Some(self.count));
        self.count += 1;
    }

    /// Allocates a temporary that `free` alone will free, and gives its number.
    pub fn keep(&mut self, bytes: u64) -> usize {
        self.list.push(Step::Allocate(bytes));
        self.count += 1;
        self.count - 1
    }

    /// Frees a kept temporary.
    pub fn free(&mut self, number: usize) {
        self.list.push(Step::Free(number));
    }

    /// All the steps of another operator, which holds nothing at its end.
    pub fn append(&mut self, steps: &[Step]) {
        let first = self.count;
        for step in steps {
            self.count += usize::from(matches!(step, Step::Allocate(_)));
            self.list.push(match *step {
                Step::Free(number) => Step::Free(first + number),
                other => other,
            });
        }
    }

    /// Allocates a result.
    pub fn output(&mut self, bytes: u64) {
        if bytes > 0 {
            self.list.push(Step::Output(bytes));
        }
    }

    /// Frees the last `how_many` temporaries, the youngest first, as C++ leaves a scope.
    pub fn release(&mut self, how_many: usize) {
        for _ in 0..how_many {
            if let Some(Some(number)) = self.held.pop() {
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
