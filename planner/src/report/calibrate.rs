//! What was measured on a GPU, and how a replay compares with its plan.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use super::table::{Align, table};
use super::{SCHEMA, seconds};
use crate::bytes::Bytes;
use crate::read::profiles::{Figure, Profile};

use Align::{Left, Right};

/// What would be measured: parts with their counts and the most that they take.
pub fn agenda(gpu: &str, parts: &[(&str, u64, Duration)]) -> String {
    let mut rows = vec![["", "measurements", "at most"].map(str::to_owned)];
    let whole = |time: Duration| format!("{} s", time.as_secs_f64().ceil());
    rows.extend(parts.iter().map(|(what, count, most)| [(*what).to_owned(), count.to_string(), whole(*most)]));
    let total: Duration = parts.iter().map(|(.., most)| *most).sum();
    rows.push(["all".to_owned(), String::new(), whole(total)]);
    format!("would measure on {gpu}; nothing was measured\n\n{}", table([Left, Right, Right], &rows))
}

/// A profile for people.
pub fn text(profile: &Profile, path: &str) -> String {
    let measured = &profile.measured;
    let pytorch = measured.pytorch.as_ref().map(|version| format!(", PyTorch {version}")).unwrap_or_default();
    let mut text = format!(
        "measured: {}, driver {}, CUDA {}{pytorch}\nwritten to {path}\n\n",
        measured.gpu, measured.driver, measured.cuda
    );
    let mut rows: Vec<[String; 3]> = Vec::new();
    let mut row = |name: &str, value: String, remark: String| rows.push([name.to_owned(), value, remark]);
    if let Some(memory) = &profile.memory {
        let exact = |bytes: Bytes| format!("{} bytes", bytes.0);
        row("memory", memory.total.to_string(), exact(memory.total));
        if memory.others > Bytes(0) {
            row("held by other processes", memory.others.to_string(), "measurements may have suffered".to_owned());
        }
        row("cudaMalloc takes multiples of", memory.granularity.to_string(), String::new());
        row("context", memory.context.to_string(), exact(memory.context));
        row("  and a kernel", memory.kernel.to_string(), exact(memory.kernel));
        row("  and cuBLAS", memory.blas.to_string(), exact(memory.blas));
        if let Some(pytorch) = &memory.pytorch {
            row("PyTorch's process outside its allocator", pytorch.attention.to_string(), exact(pytorch.attention));
        }
    }
    if let Some(fitted) = &profile.speeds {
        let error = |part: f64| format!("{:.1} %", 100.0 * part);
        row("kernel's overhead", seconds(fitted.overhead), String::new());
        row("memory bandwidth", rate(fitted.bandwidth, "B/s"), String::new());
        fitted.rates.given().for_each(|(name, speed)| row(name, rate(speed, "FLOP/s"), String::new()));
        let most = format!("half of them; at most {}", error(fitted.error.most));
        row("kernels are within", error(fitted.error.median), most);
        if let Some(launch) = fitted.launch {
            row("launch", seconds(launch.median), spread(launch));
        }
    }
    if let Some(copies) = &profile.copies {
        let ways = [
            ("copies in the device", copies.device),
            ("from pinned memory", copies.from_pinned),
            ("to pinned memory", copies.to_pinned),
            ("from pageable memory", copies.from_pageable),
            ("to pageable memory", copies.to_pageable),
        ];
        ways.into_iter().for_each(|(name, figure)| row(name, rate(figure.median, "B/s"), spread(figure)));
    }
    if let Some(workspaces) = profile.workspaces.as_ref().filter(|found| !found.convolutions.is_empty()) {
        row("cuDNN's workspaces", workspaces.convolutions.len().to_string(), "convolutions".to_owned());
    }
    text.push_str(&table([Left, Right, Left], &rows));
    text
}

fn spread(figure: Figure) -> String {
    format!("spread {:.1} % of {} runs", 100.0 * figure.spread, figure.runs)
}

fn rate(rate: f64, unit: &str) -> String {
    match rate {
        1e12.. => format!("{:.2} T{unit}", rate / 1e12),
        _ => format!("{:.2} G{unit}", rate / 1e9),
    }
}

/// A phase of a replay: what the plan has reserved, what that is in the driver's pages, and what the driver says is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "as above")]
pub struct Step {
    pub step: u64,
    pub phase: String,
    pub reserved: Bytes,
    pub paged: Bytes,
    pub used: Bytes,
}

/// A replay with what its plan says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct Replayed {
    /// Whether the plan fits.
    pub fits: bool,
    /// Its phases, as far as it came.
    pub steps: Vec<Step>,
    /// The segment that the device had no memory for.
    pub out_of_memory: Option<Bytes>,
    /// Bytes that were written.
    pub touched: Bytes,
    /// Products that ran.
    pub products: u64,
}

/// Whether each replay fits where its plan does, and the first uses what its plan has reserved at every phase's end.
pub fn holds(given: &Replayed, limits: &[(u64, Replayed)]) -> bool {
    let as_planned = |replayed: &Replayed| replayed.fits == replayed.out_of_memory.is_none();
    as_planned(given)
        && given.steps.iter().all(|step| step.used == step.paged)
        && limits.iter().all(|(_, replayed)| as_planned(replayed))
}

/// A replay for people.
pub fn replay(given: &Replayed, limits: &[(u64, Replayed)]) -> String {
    let word = if holds(given, limits) { "as planned" } else { "not as planned" };
    let mut text = format!(
        "{word}: {} phases replayed, {} written, {} products run\n\n",
        given.steps.len(),
        given.touched,
        given.products
    );
    let mut rows = vec![["", "reserved", "in pages", "driver", "apart"].map(str::to_owned)];
    rows.extend(given.steps.iter().map(|step| {
        let apart = Bytes(step.used.0.abs_diff(step.paged.0));
        let name = format!("step {} {}", step.step, step.phase);
        [name, step.reserved.0.to_string(), step.paged.0.to_string(), step.used.0.to_string(), apart.0.to_string()]
    }));
    text.push_str(&table([Left, Right, Right, Right, Right], &rows));
    if !limits.is_empty() {
        text.push('\n');
    }
    for (batch, replayed) in limits {
        let said = |fits: bool| if fits { "fits" } else { "does not fit" };
        let (planned, ran) = (said(replayed.fits), said(replayed.out_of_memory.is_none()));
        let _ = writeln!(text, "batch {batch}: planned {planned}, on the device {ran}");
    }
    text
}

/// `memplan calibrate --format json`: the profile that was written.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct JsonProfile<'a> {
    schema: u32,
    #[serde(flatten)]
    profile: &'a Profile,
}

/// The profile in JSON.
pub fn json(profile: &Profile) -> JsonProfile<'_> {
    JsonProfile { schema: SCHEMA, profile }
}

/// `memplan calibrate --replay --format json`: a replay; sizes are bytes.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct JsonReplay<'a> {
    schema: u32,
    as_planned: bool,
    #[serde(flatten)]
    given: &'a Replayed,
    limits: Vec<JsonLimit<'a>>,
}

/// A batch at the limit.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
struct JsonLimit<'a> {
    batch: u64,
    #[serde(flatten)]
    replayed: &'a Replayed,
}

/// The replay in JSON.
pub fn replay_json<'a>(given: &'a Replayed, limits: &'a [(u64, Replayed)]) -> JsonReplay<'a> {
    let limit = |(batch, replayed): &'a (u64, Replayed)| JsonLimit { batch: *batch, replayed };
    JsonReplay { schema: SCHEMA, as_planned: holds(given, limits), given, limits: limits.iter().map(limit).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(used: u64) -> Step {
        let phase = "forward".to_owned();
        Step { step: 0, phase, reserved: Bytes(21 << 20), paged: Bytes(22 << 20), used: Bytes(used) }
    }

    fn replayed(fits: bool, out_of_memory: Option<Bytes>, used: u64) -> Replayed {
        Replayed { fits, steps: vec![step(used)], out_of_memory, touched: Bytes(1 << 30), products: 7 }
    }

    #[test]
    fn what_differs_is_said() {
        let (fine, short) = (replayed(true, None, 22 << 20), replayed(false, Some(Bytes(2 << 20)), 22 << 20));
        let limits = vec![(8, fine.clone()), (9, short.clone())];
        let expected = "\
as planned: 1 phases replayed, 1.00 GiB written, 7 products run

                reserved  in pages    driver  apart
step 0 forward  22020096  23068672  23068672      0

batch 8: planned fits, on the device fits
batch 9: planned does not fit, on the device does not fit
";
        assert_eq!(replay(&fine, &limits), expected);
        assert!(!holds(&replayed(true, None, 24 << 20), &limits));
        assert!(!holds(&replayed(true, Some(Bytes(1)), 22 << 20), &limits));
        assert!(!holds(&fine, &[(9, replayed(false, None, 22 << 20))]));
    }
}
