//! The workspaces of cuBLAS and cuBLASLt: how large they are, who keeps them, and when they are made.
//!
//! ```text
//! to 2.11      a workspace a handle (a thread) and one for cuBLASLt, each made at its first use and kept
//! from 2.12    cuBLASLt uses the handle's
//! from 2.15    each call takes one and gives it back, unless TORCH_CUBLAS_WORKSPACE_CACHE=1 keeps them as before
//! ```
//!
//! Read from aten/src/ATen/cuda/CublasHandlePool.cpp, and tried out in PyTorch 2.11 and 2.15.

use std::rc::Rc;

use super::context::Context;
use super::device::Device;
use super::tensor::Storage;
use crate::bytes::MIB;
use crate::run::Variables;
use crate::trace::Category;
use crate::versions::Change;

/// What calls of cuBLAS take, and what threads keep of it.
pub(super) struct Workspaces {
    /// Bytes of a handle's workspace, and of cuBLASLt's.
    blas: u64,
    lt: u64,
    /// Whether what a call takes is kept for the next one.
    kept: bool,
    /// Whether cuBLASLt uses the handle's.
    shared: bool,
    /// What the forward thread and the backward thread keep.
    handles: [Option<Rc<Storage>>; 2],
    lt_handles: [Option<Rc<Storage>>; 2],
}

impl Workspaces {
    /// None made yet.
    pub(super) fn new(device: &Device, variables: &Variables) -> Workspaces {
        let rules = device.rules;
        let kept =
            !rules.has(Change::WorkspacePerCall) || variables.switch("TORCH_CUBLAS_WORKSPACE_CACHE") == Some(true);
        let shared = variables.switch("TORCH_CUBLASLT_UNIFIED_WORKSPACE");
        let shared = kept && shared.unwrap_or(rules.has(Change::SharedLtWorkspace));
        let blas = variables.blas_workspace().unwrap_or(default_size(device));
        let lt = variables.lt_workspace().unwrap_or(MIB);
        // a cached workspace of cuBLASLt is no larger than that of cuBLAS, also where they are two
        let lt = if kept { lt.min(blas) } else { lt };
        Workspaces { blas, lt, kept, shared, handles: [None, None], lt_handles: [None, None] }
    }

    /// What each thread keeps for cuBLAS, then for cuBLASLt.
    pub(super) fn kept(&self) -> impl Iterator<Item = Option<&Rc<Storage>>> {
        self.handles.iter().chain(&self.lt_handles).map(Option::as_ref)
    }
}

/// `parseChosenWorkspaceSize`: 32 MiB on Hopper, and from 2.12 on Blackwell; `:4096:2:16:8` on all others.
fn default_size(device: &Device) -> u64 {
    match device.compute_capability.0 {
        9 => 32 * MIB,
        10..=12 if device.rules.has(Change::BlackwellWorkspace) => 32 * MIB,
        _ => 8_519_680,
    }
}

impl Context {
    /// cuBLAS is called by the thread that runs.
    pub fn use_blas(&mut self) {
        let (bytes, thread) = (self.libraries.workspaces.blas, self.thread() as usize);
        if self.libraries.workspaces.handles[thread].is_none() {
            let made = self.workspace("cublas", bytes);
            self.libraries.workspaces.handles[thread] = made.filter(|_| self.libraries.workspaces.kept);
        }
    }

    /// cuBLASLt is called by the thread that runs.
    pub fn use_blas_lt(&mut self) {
        if self.is_stopped() {
            return;
        }
        if !self.libraries.workspaces.kept {
            let bytes = self.libraries.workspaces.lt;
            self.workspace("cublasLt", bytes);
            return;
        }
        let thread = self.thread() as usize;
        self.use_blas();
        if self.libraries.workspaces.shared {
            return;
        }
        if let (Some(timeline), Some(id)) = (&mut self.timeline, self.checkpointing.runs_again) {
            timeline.uses_blas_lt[id.index()] = true;
        }
        if self.libraries.workspaces.lt_handles[thread].is_none() {
            let bytes = self.libraries.workspaces.lt;
            self.libraries.workspaces.lt_handles[thread] = self.workspace("cublasLt", bytes);
        }
    }

    /// Memory that a library's call asks for; None where it asks for nothing, or nothing runs any more.
    pub(crate) fn workspace(&mut self, op: &'static str, bytes: u64) -> Option<Rc<Storage>> {
        if bytes == 0 || self.is_stopped() {
            return None;
        }
        Some(self.counted_as(Category::Workspace, |context| context.allocate(op, bytes)))
    }
}
