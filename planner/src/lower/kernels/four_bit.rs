//! Which way bitsandbytes multiplies with a weight in 4 bits: one kernel over the codes, or the whole weight made first.
//!
//! The choice is one of speed, measured by its authors on each generation of GPUs, and it decides about memory: the whole
//! weight is as large as it would be without quantisation. `waves(a, b)` below asks whether the kernel's blocks of 64
//! outputs fill a/b of the multiprocessors.
//!
//! Read from bitsandbytes 0.50.2, backends/cuda/ops.py (`gemm_4bit`, `_gemm_4bit_use_custom_cuda`).

use crate::dtype::Dtype;
use crate::lower::device::Device;

/// Few enough rows for the kernel everywhere, and too many for it everywhere.
const ALWAYS: u64 = 4;
const NEVER: u64 = 1536;

/// Rows of the input that share a scale of the weight.
const BLOCK: u64 = 64;

/// Whether a product of `rows` inputs with a weight of `outputs` times `inputs` runs over the codes.
pub fn uses_fused_kernel(device: &Device, dtype: Dtype, rows: u64, outputs: u64, inputs: u64) -> bool {
    if rows > NEVER || !inputs.is_multiple_of(BLOCK) {
        return false;
    }
    if rows <= ALWAYS {
        return true;
    }
    let problem = Problem { device, rows, n: outputs, k: inputs, blocks: outputs.div_ceil(64) };
    let (major, minor) = device.compute_capability;
    if dtype == Dtype::F32 || major < 7 || (major == 7 && (minor < 5 || dtype != Dtype::F16)) {
        return rows < 8;
    }
    match (major, minor) {
        (8, 7) | (11, _) => false,
        (10, _) => rows <= problem.blackwell_datacenter(),
        _ if problem.n * problem.k < 4 << 20 => rows <= problem.small(),
        _ if rows > 512 => false,
        _ if rows < 8 => problem.few_rows(),
        (7, 5) => rows <= problem.turing(),
        (8, 0) => rows <= problem.a100(),
        (8, 6) => rows <= problem.ampere(),
        (9, _) => rows <= problem.hopper(),
        (12, 1) if problem.waves(1, 1) => rows <= 256,
        (12, 0) => rows <= problem.blackwell(),
        _ => rows <= problem.ada(),
    }
}

/// The sizes of a product.
struct Problem<'a> {
    device: &'a Device,
    rows: u64,
    n: u64,
    k: u64,
    blocks: u64,
}

impl Problem<'_> {
    fn waves(&self, over: u64, under: u64) -> bool {
        self.blocks * under >= self.device.multiprocessors * over
    }

    /// `num_sms // 2`, rounded down as there.
    fn half_wave(&self) -> bool {
        self.blocks >= self.device.multiprocessors / 2
    }

    fn is_tall(&self) -> bool {
        self.k > self.n * 2
    }

    fn is(&self, capability: (u32, u32)) -> bool {
        self.device.compute_capability == capability
    }

    fn is_hopper(&self) -> bool {
        self.device.compute_capability.0 == 9
    }

    fn has_fast_memory(&self) -> bool {
        self.is((8, 0)) || self.is_hopper()
    }

    fn blackwell_datacenter(&self) -> u64 {
        match () {
            () if self.waves(3, 1) => 32,
            () if self.waves(1, 1) && self.k < self.n => 8,
            () => 0,
        }
    }

    /// Weights below 4 Mi elements.
    fn small(&self) -> u64 {
        if self.k * 2 < self.n {
            return self.small_and_short();
        }
        let quarter = self.blocks * 4 <= self.device.multiprocessors;
        if self.is((8, 0)) && quarter {
            let eighth = self.blocks * 8 <= self.device.multiprocessors;
            return if self.k < self.n { 384 } else { if eighth { 32 } else { 128 } };
        }
        if self.is((7, 5)) && !self.waves(1, 1) && self.rows > 8 {
            return 64;
        }
        match () {
            () if quarter => {
                if self.k < self.n || self.has_fast_memory() {
                    32
                } else {
                    23
                }
            }
            () if self.blocks * 2 <= self.device.multiprocessors => 16,
            () => 0,
        }
    }

    fn small_and_short(&self) -> u64 {
        if self.has_fast_memory() {
            let low = !self.waves(1, 3);
            return match (self.is((8, 0)), low) {
                (true, true) => 1536,
                (true, false) | (false, true) => 512,
                (false, false) => 320,
            };
        }
        if self.is((7, 5)) {
            return match () {
                () if self.waves(3, 1) => 320,
                () if self.k >= 1024 => 64,
                () if self.k >= 704 => 96,
                () => 320,
            };
        }
        let busy = self.blocks * self.k > self.device.multiprocessors * 320;
        if !self.waves(1, 1) && busy { 192 } else { 320 }
    }

    /// Five to seven rows: the kernel, but for tall and square weights on GPUs with fast memory.
    fn few_rows(&self) -> bool {
        let threshold = if self.is_hopper() { 36 } else { 48 };
        if !self.has_fast_memory() || self.rows < 6 || self.blocks < threshold {
            return true;
        }
        let (below_three_quarters, below_three_fifths) = (!self.waves(3, 4), !self.waves(3, 5));
        match () {
            () if self.k > self.n => !below_three_quarters,
            () if self.k == self.n && self.is((8, 0)) => !below_three_fifths,
            () if self.k == self.n => !below_three_quarters || below_three_fifths,
            () => true,
        }
    }

    fn turing(&self) -> u64 {
        match () {
            () if self.waves(3, 1) => {
                if self.k < self.n {
                    128
                } else {
                    64
                }
            }
            () if self.half_wave() => 64,
            () => 32,
        }
    }

    fn a100(&self) -> u64 {
        let short = self.k < self.n;
        match () {
            () if self.waves(3, 1) => 128,
            () if self.waves(1, 1) => {
                if short {
                    64
                } else {
                    32
                }
            }
            () if self.k >= self.n * 3 && self.blocks * 4 > self.device.multiprocessors => 0,
            () if self.k == self.n && self.blocks >= 48 && !self.waves(3, 5) => 0,
            () if !self.waves(1, 2) && self.k <= self.n => 128,
            () if !self.waves(1, 2) && self.waves(1, 3) => 0,
            () if self.half_wave() && short => 128,
            () => 16,
        }
    }

    fn ampere(&self) -> u64 {
        match () {
            () if self.waves(1, 1) => 128,
            () if self.half_wave() => 64,
            () => 16,
        }
    }

    fn hopper(&self) -> u64 {
        match () {
            () if self.waves(3, 1) => 64,
            () if self.waves(2, 1) => 48,
            () if self.waves(1, 1) => 32,
            () if self.half_wave() && (self.k < self.n || self.waves(3, 4)) => 16,
            () => 0,
        }
    }

    fn blackwell(&self) -> u64 {
        match () {
            () if self.waves(3, 1) => 256,
            () if self.waves(2, 1) => 128,
            () if self.waves(4, 5) => {
                if self.k >= self.n {
                    96
                } else {
                    64
                }
            }
            () if self.half_wave() => {
                if self.k * 2 >= self.n && self.blocks >= 128 {
                    64
                } else {
                    8
                }
            }
            () if self.is_tall() && self.blocks > 64 => 16,
            () => 8,
        }
    }

    fn ada(&self) -> u64 {
        match () {
            () if self.waves(3, 1) => 256,
            () if self.waves(2, 1) => 128,
            () if self.waves(4, 5) && (self.is_tall() || self.blocks >= 200) => 128,
            () if self.waves(4, 5) && self.k >= self.n => {
                if self.device.multiprocessors >= 60 {
                    128
                } else {
                    32
                }
            }
            () if self.waves(4, 5) => 64,
            () if self.half_wave() && self.is_tall() => 64,
            () if self.half_wave() => {
                if self.blocks >= 64 {
                    8
                } else {
                    32
                }
            }
            () if self.k > self.n && self.blocks <= 48 => {
                if self.k >= self.n * 3 {
                    12
                } else {
                    10
                }
            }
            () => {
                if self.is_tall() || self.blocks < 48 {
                    16
                } else {
                    8
                }
            }
        }
    }
}
