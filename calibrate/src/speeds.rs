//! Times kernels: products, copies, sums, launches, copies between host and device.

use planner::read::profiles::{Copies, Figure, Kernel};

use crate::agenda::{MEMORY_SIZES, Plan, TRANSFER};
use crate::device::{Device, Memory};
use crate::error::CalibrateError;
use crate::gpu::{Gpu, Way};
use crate::products::{Element, Product};

/// Empty kernels between two looks at the clock: what one takes is below the clock's step.
const LAUNCHES: u32 = 1000;

/// Measures something several times, after runs that warm it up, for as long as the plan gives it.
pub(crate) fn repeated(
    plan: &Plan,
    mut measure: impl FnMut() -> Result<f64, CalibrateError>,
) -> Result<Figure, CalibrateError> {
    let begin = std::time::Instant::now();
    for _ in 0..plan.warm_ups {
        measure()?;
    }
    let mut measured = Vec::with_capacity(plan.repetitions as usize);
    while measured.len() < plan.repetitions as usize {
        measured.push(measure()?);
        if begin.elapsed() > plan.most_each && measured.len() >= 3 {
            break;
        }
    }
    Figure::of(measured).ok_or_else(|| CalibrateError::Fit("nothing was measured".to_owned()))
}

/// The times of products of every type that the GPU has, and of kernels that move memory.
///
/// # Errors
/// A driver or a library that fails.
pub fn kernels(gpu: &mut Gpu, plan: &Plan, done: &dyn Fn()) -> Result<Vec<Kernel>, CalibrateError> {
    let mut kernels = Vec::new();
    for element in Element::of(gpu.facts()?.compute_capability) {
        for product in Product::grid(element) {
            kernels.extend(timed_product(gpu, plan, product)?);
            done();
        }
    }
    for bytes in MEMORY_SIZES {
        kernels.extend(memory_kernels(gpu, plan, bytes)?);
        done();
    }
    Ok(kernels)
}

/// Memory that is given back whatever happens.
fn with_memory<T, const N: usize>(
    gpu: &mut Gpu,
    sizes: [u64; N],
    run: impl FnOnce(&mut Gpu, [Memory; N]) -> Result<T, CalibrateError>,
) -> Result<Option<T>, CalibrateError> {
    let mut held = Vec::with_capacity(N);
    for bytes in sizes {
        held.extend(gpu.allocate(bytes)?);
    }
    let taken = <[Memory; N]>::try_from(held.clone()).ok();
    let result = taken.map(|memory| run(gpu, memory)).transpose();
    for memory in held {
        gpu.release(memory)?;
    }
    result
}

/// None where the GPU has too little free memory.
fn timed_product(gpu: &mut Gpu, plan: &Plan, product: Product) -> Result<Option<Kernel>, CalibrateError> {
    let seconds = with_memory(gpu, [product.factors(), product.result()], |gpu, [factors, result]| {
        gpu.touch(&factors, 0, factors.bytes)?;
        repeated(plan, || gpu.seconds(|| gpu.multiply(&product, factors.address, result.address)))
    })?;
    Ok(seconds.map(|seconds| Kernel {
        kernel: "product".to_owned(),
        rate: product.element.name().to_owned(),
        shape: vec![product.rows, product.columns, product.inner],
        flops: product.flops(),
        bytes: product.factors() + product.result(),
        seconds,
    }))
}

/// What a kernel over memory runs on: two buffers that it may read, one that it writes.
type Over = fn(&Gpu, [&Memory; 3], u64) -> Result<(), CalibrateError>;

fn memory_kernels(gpu: &mut Gpu, plan: &Plan, bytes: u64) -> Result<Vec<Kernel>, CalibrateError> {
    // name, bytes moved and operations for each byte of a buffer, the kernel
    let rows: [(&str, f64, f64, Over); 3] = [
        ("copy", 2.0, 0.0, |gpu, [x, _, out], bytes| gpu.run_copy([x, out], bytes / 16)),
        ("add", 3.0, 0.25, |gpu, buffers, bytes| gpu.run_add(buffers, bytes / 16)),
        ("sum", 1.0, 0.25, |gpu, [x, _, out], bytes| gpu.run_sum([x, out], bytes / 4)),
    ];
    // a sum writes a float a block
    let written = bytes.max(gpu.sums());
    let timed = with_memory(gpu, [bytes, bytes, written], |gpu, [x, y, out]| {
        for memory in [&x, &y] {
            gpu.touch(memory, 0, bytes)?;
        }
        let mut kernels = Vec::new();
        for (name, moved, flops, run) in rows {
            let seconds = repeated(plan, || gpu.seconds(|| run(gpu, [&x, &y, &out], bytes)))?;
            kernels.push(Kernel {
                kernel: name.to_owned(),
                rate: Element::Fp32.name().to_owned(),
                shape: vec![bytes],
                flops: (flops * bytes as f64) as u64,
                bytes: (moved * bytes as f64) as u64,
                seconds,
            });
        }
        Ok(kernels)
    })?;
    Ok(timed.unwrap_or_default())
}

/// Seconds from one empty kernel to the next.
///
/// # Errors
/// A driver that fails.
pub fn launch(gpu: &Gpu, plan: &Plan) -> Result<Figure, CalibrateError> {
    repeated(plan, || {
        let all = gpu.seconds(|| (0..LAUNCHES).try_for_each(|_| gpu.run_nothing()))?;
        Ok(all / f64::from(LAUNCHES))
    })
}

/// Bytes a second of copies; None where there is too little free memory.
///
/// # Errors
/// A driver that fails, a host that pins no memory.
pub fn copies(gpu: &mut Gpu, plan: &Plan, done: &dyn Fn()) -> Result<Option<Copies>, CalibrateError> {
    with_memory(gpu, [TRANSFER; 2], |gpu, [x, y]| {
        let host = [true, false].map(|pinned| gpu.host_memory(TRANSFER as usize, pinned));
        let [pinned, pageable] = host;
        let (pinned, pageable) = (pinned?, pageable?);
        let rate = |seconds: f64| TRANSFER as f64 / seconds;
        let way = |host, way| {
            let begin = std::time::Instant::now;
            let figure = repeated(plan, || {
                let begin = begin();
                gpu.copy_host(host, &x, way)?;
                Ok(rate(begin.elapsed().as_secs_f64()))
            });
            done();
            figure
        };
        Ok(Copies {
            device: repeated(plan, || Ok(2.0 * rate(gpu.seconds(|| gpu.run_copy([&x, &y], TRANSFER / 16))?)))?,
            from_pinned: way(&pinned, Way::In)?,
            to_pinned: way(&pinned, Way::Out)?,
            from_pageable: way(&pageable, Way::In)?,
            to_pageable: way(&pageable, Way::Out)?,
        })
    })
}
