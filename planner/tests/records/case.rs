//! One recorded case: its plan beside what PyTorch did.

use std::sync::OnceLock;

use planner::bytes::Bytes;
use planner::plan::Plan;
use planner::trace::file::{self, Head};
use planner::trace::{Cause, Event, Trace};
use serde::Deserialize;

use super::sets::Set;
use crate::support::plans::{difference, export_planned, peaks, phase_difference, planned, stored_planned};
use crate::support::{self, TruthCase};

/// A case of a set. Its record is read, and its plan made, when they are first asked for.
pub struct Case {
    /// The set that it belongs to.
    pub set: &'static Set,
    /// Its name.
    pub id: String,
    line: String,
    verdict: OnceLock<Verdict>,
}

/// What a plan and a record have in common.
pub struct Verdict {
    /// Both peaks that are planned, and those recorded: allocated, reserved.
    pub peaks: [(Bytes, Bytes); 2],
    /// How many allocations and frees are planned.
    pub events: usize,
    /// The first difference of the events, in words.
    pub stream: Option<String>,
    /// The first difference of the figures, in words.
    pub figures: Option<String>,
    /// What an independent reading of the plan finds wrong with it.
    pub unsound: Option<String>,
}

#[derive(Deserialize)]
struct Named {
    id: String,
}

/// Exports whose events are the eager model's.
const EXPORTS_WITH_ALL_EVENTS: [&str; 12] = [
    "efficientnet-b0-train",
    "gpt2-infer",
    "bert-train",
    "albert-train",
    "electra-train",
    "electra-infer",
    "vit-train",
    "vit-infer",
    "resnet50-train",
    "vgg11-bn-train",
    "mobilenet-v3-train",
    "regnet-train",
];

impl Case {
    /// The case that a line of a set's file records.
    pub fn new(set: &'static Set, line: &str) -> Case {
        let named: Named = serde_json::from_str(line).unwrap_or_else(|error| panic!("{}: {error}", set.path()));
        Case { set, id: named.id, line: line.to_owned(), verdict: OnceLock::new() }
    }

    /// `2.15/truth/gpt2-train-fp32`
    pub fn path(&self) -> String {
        format!("{}/{}", self.set.path(), self.id)
    }

    /// Whether the plan is what the set says of it: an error says in words what is not.
    pub fn check(&self) -> Result<(), String> {
        let verdict = self.verdict();
        let differs = [&verdict.stream, &verdict.figures, &verdict.unsound].into_iter().flatten().next();
        if self.set.name == "exports" && !EXPORTS_WITH_ALL_EVENTS.contains(&&*self.id) {
            return verdict.has_the_peak_of_an_eager_model(self.id.ends_with("train"));
        }
        match (differs, self.set.known.contains(&&*self.id)) {
            (Some(text), false) => Err(text.clone()),
            (None, true) => Err("it is the same now: take it off the list".to_owned()),
            _ => Ok(()),
        }
    }

    /// The plan beside the record; both are made once.
    pub fn verdict(&self) -> &Verdict {
        self.verdict.get_or_init(|| {
            let record: TruthCase = serde_json::from_str(&self.line).unwrap_or_else(|error| panic!("{error}"));
            let plan = match self.set.name {
                "exports" | "losses" => export_planned(&record),
                "stored" => stored_planned(&record),
                _ => planned(&record),
            };
            Verdict::of(&plan, &record, &self.trace(&record))
        })
    }

    /// The record's events: in itself, or in a file beside it.
    fn trace(&self, record: &TruthCase) -> support::Trace {
        let folder = if self.set.name == "truth" { "traces" } else { self.set.name };
        record.trace().unwrap_or_else(|| support::Trace::load_from(folder, &self.id))
    }
}

impl Verdict {
    fn of(plan: &Plan, record: &TruthCase, trace: &support::Trace) -> Verdict {
        let ours = peaks(plan);
        let theirs = (record.max_allocated, record.max_reserved);
        let differ = || format!("peaks {ours:?}, PyTorch's {theirs:?}");
        let stream = difference(plan, trace);
        let unsound = if stream.is_none() { unbalanced(plan, record).or_else(|| unexplained(plan)) } else { None };
        // what a file holds does not depend on the release: one set of each kind is enough
        let unsound = unsound.or_else(|| (record.torch.starts_with("2.15")).then(|| lost_in_a_file(plan))?);
        Verdict {
            peaks: [(ours.0, theirs.0), (ours.1, theirs.1)],
            events: plan.trace.events().filter(|e| matches!(e, Event::Allocate(_) | Event::Free(..))).count(),
            stream,
            figures: phase_difference(plan, record).or_else(|| (ours != theirs).then(differ)),
            unsound,
        }
    }

    /// By how much the peak allocated is above the record's, in percent.
    pub fn off(&self) -> f64 {
        let (ours, theirs) = self.peaks[0];
        100.0 * (ours.0 as f64 / theirs.0 as f64 - 1.0)
    }

    /// Peak allocated is within 1 % of the eager model's in training, and within 2 % in inference.
    fn has_the_peak_of_an_eager_model(&self, trains: bool) -> Result<(), String> {
        let most = if trains { 1.0 } else { 2.0 };
        let within = self.off().abs() <= most;
        if within { Ok(()) } else { Err(format!("peak allocated {:?}: {:+.3} %", self.peaks[0], self.off())) }
    }
}

/// An independent reading of the events, simpler than what made them: nothing is freed twice or before it is made, and the
/// bytes alive at each phase's end are those that PyTorch counts as requested.
fn unbalanced(plan: &Plan, record: &TruthCase) -> Option<String> {
    let stream = &plan.trace;
    let mut alive = vec![false; stream.allocation_count()];
    let (mut bytes, mut made, mut freed) = (Bytes(0), 0, 0);
    for event in stream.events() {
        match event {
            Event::Allocate(id) => {
                if id.index() != made {
                    return Some(format!("allocation {} is number {made}", id.index()));
                }
                alive[id.index()] = true;
                bytes += stream.allocation(id).bytes;
                made += 1;
            }
            Event::Free(id, _) => {
                if !std::mem::replace(&mut alive[id.index()], false) {
                    return Some(format!("{} is freed twice", id.index()));
                }
                bytes -= stream.allocation(id).bytes;
                freed += 1;
            }
            Event::Becomes(id, _) if !alive[id.index()] => return Some(format!("{} is dead and changes", id.index())),
            Event::Becomes(..) => {}
            Event::Phase(number) => {
                let phase = &record.phases[number as usize];
                let counted = (phase.requested, phase.allocations, phase.frees);
                if (bytes, made, freed) != counted {
                    let at = format!("step {} {}", phase.step, phase.phase);
                    return Some(format!("{at}: {:?}, PyTorch counts {counted:?}", (bytes, made, freed)));
                }
            }
        }
    }
    None
}

/// A trace that is written and read again is the same, and says of every free what let go.
fn lost_in_a_file(plan: &Plan) -> Option<String> {
    let nobody = |event: Event| matches!(event, Event::Free(_, Cause::Unknown));
    if plan.trace.events().any(nobody) {
        return Some("nobody let go of some memory".to_owned());
    }
    let written = |head: &Head, trace: &Trace| {
        let mut text = Vec::new();
        file::write((head, trace), &mut text).expect("memory takes it");
        text
    };
    let text = written(&Head::default(), &plan.trace);
    let read = file::parse(&text).map_err(|error| format!("its file cannot be read: {error}"));
    read.map_or_else(Some, |read| {
        let same = read.trace == plan.trace && written(&read.head, &read.trace) == text;
        (!same).then(|| "its file is read as another trace".to_owned())
    })
}

/// What is alive at the peak, block rounding and unsplit rests aside, is what the allocator counts there.
fn unexplained(plan: &Plan) -> Option<String> {
    let alive: Bytes = plan.at_peak.iter().map(|live| plan.trace.allocation(live.id).bytes).sum();
    let slack = plan.outcome.peak_allocated.0 - alive.0;
    let rounding = 512 * plan.at_peak.len() as u64;
    let rests = (1 << 20) * plan.at_peak.len() as u64;
    (slack > rounding + rests).then(|| format!("{slack} B at the peak belong to nothing"))
}
