//! Records what a call allocates and frees, counting references as the C++ code does.

use std::ops::Range;

use super::layout::Layout;
use crate::versions::Rules;

/// A buffer of a plan: an index into its `buffers`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BufferId(pub usize);

/// A buffer that a plan allocates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// What it holds.
    pub what: &'static str,
    /// As asked for.
    pub bytes: u64,
}

/// What the caller holds too, so that only its references can say when it is freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// The `query` of the call.
    Query,
    /// The `key`.
    Key,
    /// The `value`.
    Value,
    /// The `attn_mask`.
    Mask,
    /// What the call returned.
    Output,
    /// The gradient that reaches the backward.
    Gradient,
}

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The buffer is allocated.
    Allocate(BufferId),
    /// Nothing refers to the buffer any more.
    Free(BufferId),
    /// Autograd, or the engine in the case of the gradient, no longer refers to this.
    Release(Held),
    /// The gradient of the mask is done: it goes on its way before the rest of the backward runs. Where it shares its buffer
    /// with what the rest reads, that holds it too.
    Hand {
        /// Where it lies.
        buffer: BufferId,
        /// Whether the rest reads it.
        shared: bool,
    },
    /// cuBLAS runs: the thread that runs this step takes its handle's workspace here if it has none yet.
    Blas,
    /// `sum` runs over a tensor of this layout, down to this shape (1 where it sums, leading dimensions dropped): its
    /// kernel's own temporaries, for large sums to few elements, are allocated and freed here and are not in the plan.
    Sum {
        /// What is summed.
        from: Layout,
        /// The shape of the result.
        to: Vec<u64>,
    },
}

/// A tensor: where it lives (`None`: in memory that the caller brought) and how it lies there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    pub buffer: Option<BufferId>,
    pub layout: Layout,
    /// Set where dropping it releases what the caller brought.
    pub held: Option<Held>,
}

impl Value {
    /// Memory that the caller brought, and keeps through the call.
    pub fn given(layout: &Layout) -> Value {
        Value { buffer: None, layout: layout.clone(), held: None }
    }

    /// The same memory seen in another way.
    pub fn seen(&self, layout: Layout) -> Value {
        Value { buffer: self.buffer, layout, held: self.held }
    }
}

/// A reference that an autograd node holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// To a tensor of the caller.
    Held(Held),
    /// To a buffer of the plan.
    Own(Value),
}

/// The plan so far.
#[derive(Debug, Default)]
pub struct Tape {
    pub buffers: Vec<Buffer>,
    pub steps: Vec<Step>,
    /// The steps of the fused operator itself: those before and after are of what `scaled_dot_product_attention` calls
    /// around it. Empty where it is made of several operators.
    pub kernel: Range<usize>,
    /// The rules of the release that runs the call.
    pub rules: Rules,
    references: Vec<u32>,
}

impl Tape {
    /// Nothing yet, by the rules of a release.
    pub fn new(rules: Rules) -> Tape {
        Tape { rules, ..Tape::default() }
    }

    /// A new buffer with one reference, or none where it needs no memory.
    pub fn allocate(&mut self, what: &'static str, bytes: u64) -> Option<BufferId> {
        if bytes == 0 {
            return None;
        }
        let id = BufferId(self.buffers.len());
        self.buffers.push(Buffer { what, bytes });
        self.references.push(1);
        self.steps.push(Step::Allocate(id));
        Some(id)
    }

    /// A new tensor with one reference.
    pub fn tensor(&mut self, what: &'static str, layout: Layout, element: u64) -> Value {
        let bytes = layout.elements() * element;
        Value { buffer: self.allocate(what, bytes), layout, held: None }
    }

    /// The fused operator is called.
    pub fn kernel_begins(&mut self) {
        self.kernel.start = self.steps.len();
    }

    /// It returns.
    pub fn kernel_ends(&mut self) {
        self.kernel.end = self.steps.len();
    }

    /// One reference more.
    pub fn keep(&mut self, value: &Value) -> Value {
        if let Some(id) = value.buffer {
            self.references[id.0] += 1;
        }
        value.clone()
    }

    /// One reference less; memory of the caller is not the plan's to free.
    pub fn drop(&mut self, value: &Value) {
        if let Some(held) = value.held {
            self.steps.push(Step::Release(held));
        }
        let Some(id) = value.buffer else { return };
        self.references[id.0] -= 1;
        if self.references[id.0] == 0 {
            self.steps.push(Step::Free(id));
        }
    }

    /// An autograd node lets go of what it saved.
    pub fn release(&mut self, reference: &Reference) {
        match reference {
            Reference::Held(held) => self.steps.push(Step::Release(*held)),
            Reference::Own(value) => self.drop(value),
        }
    }

    /// A gradient goes on its way, and the tape's reference to it with it.
    pub fn hand(&mut self, value: &Value) {
        let Some(buffer) = value.buffer else { return };
        let shared = self.references[buffer.0] > 1;
        if shared {
            self.references[buffer.0] -= 1;
        }
        self.steps.push(Step::Hand { buffer, shared });
    }

    /// `sum` runs.
    pub fn sum(&mut self, from: &Layout, to: &[u64]) {
        self.steps.push(Step::Sum { from: from.clone(), to: to.to_vec() });
    }

    /// cuBLAS runs.
    pub fn blas(&mut self) {
        self.steps.push(Step::Blas);
    }
}

/// Those of the references that are the caller's.
pub fn held(references: &[Reference]) -> Vec<Held> {
    let of = |reference: &Reference| match reference {
        Reference::Held(held) => Some(*held),
        Reference::Own(_) => None,
    };
    references.iter().filter_map(of).collect()
}
