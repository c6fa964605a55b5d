//! A plan as text for people: the verdict, what was planned, the peaks, the timeline, the phases, what the memory at the peak is for.
//!
//! At most 70 lines; figures are exact bytes with the human form beside.

use Align::{Left, Right};

use super::blocks::timeline;
use super::table::{Align, list, table, wrapped};
use super::{LARGEST, Planned, options};
use crate::allocate::PhaseFigures;
use crate::bytes::Bytes;
use crate::plan::host::When;
use crate::replay::Replay;
use crate::run::{Attention, CacheKind, Checkpointing, Kernel, Mode, QuantizedType, Run};
use crate::trace::Phase;
use crate::trace::file::Head;
use crate::words::quote;

/// Renders a plan; its first line is the verdict.
pub fn text(planned: &Planned<'_>) -> String {
    let sections = [
        verdict(planned),
        subject(planned),
        peaks(planned),
        timeline(planned.plan),
        phases(planned.plan),
        categories(planned.plan),
        largest(planned.plan),
        host(planned),
        remarks(planned),
    ];
    let shown: Vec<String> = sections.into_iter().filter(|section| !section.is_empty()).collect();
    shown.join("\n")
}

/// Renders a trace from a file that was replayed; its first line is the verdict.
pub fn replayed(head: &Head, replay: &Replay) -> String {
    let line = |name: &str, text: &str| if text.is_empty() { String::new() } else { headed(name, text) };
    let with = if head.torch.is_empty() { String::new() } else { format!("PyTorch {}", head.torch) };
    let subject = [line("model", &head.id), line("run", &head.run), line("with", &with), line("gpu", &head.device)];
    let options = line("", &head.allocator);
    let mut rows = peak_rows(replay);
    rows.push(row("free", replay.capacity, "what the allocator may take".to_owned()));
    let sections = [
        verdict_of(replay, &head.torch),
        format!("{}{options}", subject.concat()),
        table([Left, Right, Right, Left], &rows),
        timeline(replay),
        phases(replay),
        categories(replay),
        largest(replay),
    ];
    let shown: Vec<String> = sections.into_iter().filter(|section| !section.is_empty()).collect();
    shown.join("\n")
}

/// Whether a plan fits, and how.
pub fn verdict(planned: &Planned<'_>) -> String {
    let verdict = with_host(planned, verdict_of(planned.plan, &planned.run.torch.to_string()));
    match planned.plan.agreement.mismatch() {
        Some(what) => format!("weights of another model: {what}\n{verdict}"),
        None => verdict,
    }
}

/// The verdict with what the host's memory makes of it: where that does not hold the run, it comes first.
fn with_host(planned: &Planned<'_>, verdict: String) -> String {
    let Some(host) = planned.plan.host_memory(planned.run).filter(|host| !host.fits()) else { return verdict };
    let ram = host.ram.unwrap_or_default();
    format!("does not fit: the host needs up to {} of {ram}\non the GPU it {verdict}", host.most())
}

/// Whether a replay fits, and how; `torch` is the release whose allocator it is.
pub fn verdict_of(replay: &Replay, torch: &str) -> String {
    let (peak, capacity) = (replay.whole().peak_reserved, replay.capacity);
    if let Some(failure) = replay.failure() {
        let (error, place) = (failure.error, replay.trace.module(&failure.allocation));
        let place = if place.is_empty() { "the model" } else { place };
        let phase = failure.phase.map_or_else(|| "the end".to_owned(), Phase::to_string);
        let at = format!("runs out in {phase}: {} in {place}", replay.trace.asked_by(&failure.allocation));
        return format!(
            "does not fit: {peak} needed, {capacity} free\n{}  {} asked for, {} allocated, {} reserved\n",
            wrapped(&at, "", "  "),
            failure.allocation.bytes,
            error.allocated,
            error.reserved,
        );
    }
    let headroom = replay.headroom().unwrap_or_default();
    let mut line = format!("fits: {peak} of {capacity} free, {headroom} to spare\n");
    if replay.given_back().0 > 0 {
        let times = replay.outcome.given_back.len();
        let first = replay.phase_at(replay.outcome.given_back[0].event).map_or_else(String::new, Phase::to_string);
        let often = if times == 1 { String::new() } else { format!(", {times} times, first") };
        let given_back = replay.given_back();
        let remark =
            format!("only because cached blocks are given back to the driver{often} in {first}: {given_back} in all");
        line.push_str(&wrapped(&remark, "", "  "));
    }
    if let Some(spread) = &replay.outcome.spread {
        let same = spread.reserved.0 == spread.reserved.1;
        let ((least, most), of) = if same { (spread.allocated, "allocated") } else { (spread.reserved, "reserved") };
        let remark = format!(
            "bounded: {} to {} bytes {of}; PyTorch {torch} takes equal free blocks by the driver's addresses",
            least.0, most.0
        );
        line.push_str(&wrapped(&remark, "", "  "));
    }
    line
}

fn subject(planned: &Planned<'_>) -> String {
    let Planned { model, run, gpu, plan } = planned;
    let parameters = plan.parameters();
    let (count, bytes, memory) = (parameters.count, parameters.bytes, gpu.memory.total);
    let model = format!("{}: {}, {count} parameters, {} bytes ({bytes})", model.name, plan.architecture, bytes.0);
    let gpu = format!("{}: {} bytes ({memory}), source: {}", gpu.name, memory.0, gpu.memory.source);
    let allocator = if run.allocator.is_empty() { String::new() } else { headed("", &run.allocator) };
    [
        headed("model", &model),
        headed("run", &run_line(planned)),
        allocator,
        headed("with", &releases(run)),
        headed("gpu", &gpu),
        step(planned).map_or_else(String::new, |step| headed("step", &step)),
    ]
    .concat()
}

/// A line below what it is about.
pub(super) fn headed(name: &str, text: &str) -> String {
    let below = " ".repeat(7);
    let first = if name.is_empty() { below.clone() } else { format!("{name:<6}") };
    wrapped(text, &first, &below)
}

/// `PyTorch 2.15, transformers 5.24 (uv.lock)`, with the environment's variables.
pub(super) fn releases(run: &Run) -> String {
    let said = run.env.as_ref().map(|path| format!(" ({})", quote::cut(&path.display().to_string())));
    let variables = run.variables.iter().map(|(name, value)| format!(", {name}={}", quote::cut(value)));
    format!("{}{}{}", run.versions(), said.unwrap_or_default(), variables.collect::<String>())
}

/// What the run is, on one line: `train, fp32, batch 4`.
pub(super) fn run_line(planned: &Planned<'_>) -> String {
    words(planned).join(", ")
}

/// What the run is, in words: `train`, `fp32`, `batch 4`, ...
pub(super) fn words(planned: &Planned<'_>) -> Vec<String> {
    let Planned { model, run, plan, .. } = planned;
    let mut words = vec![run.mode.to_string(), plan.precision.to_string(), format!("batch {}", run.batch)];
    words.extend(match model.image_of(run) {
        Some(size) => Some(format!("image {size}")),
        None => model.takes_tokens().then(|| format!("seq {}", run.seq)),
    });
    match run.mode {
        Mode::Generate => words.push(format!("{} new tokens", run.new_tokens)),
        Mode::Train => words.push(run.optimizer.to_string()),
        Mode::Infer | Mode::EvalWithGrad => {}
    }
    if run.mode == Mode::Train && run.checkpoint != Checkpointing::Off {
        let way = if run.reentrant { ", reentrant" } else { "" };
        words.push(format!("checkpoint {}{way}", quote::cut(&run.checkpoint.to_string())));
        words.extend(run.checkpoint_save.as_ref().map(|saved| format!("save {}", quote::cut(&saved.to_string()))));
    }
    if run.mode == Mode::Train {
        words.extend(run.use_cache.map(|cache| if cache { "cache" } else { "no cache" }.to_owned()));
        words.extend(run.clip.map(|norm| format!("clip {norm}")));
        words.extend(run.trainable.as_ref().map(|names| format!("trainable {}", quote::cut(&names.to_string()))));
    }
    words.extend((run.accumulate > 1 && run.mode == Mode::Train).then(|| format!("accumulate {}", run.accumulate)));
    words.extend(run.parallel.as_ref().map(|parallel| parallel.words()));
    words.push(format!("{} step{}", run.steps, if run.steps == 1 { "" } else { "s" }));
    words.extend(plan.graph.attention().map(|attention| match (attention, run.sdpa) {
        (Attention::Sdpa, Kernel(Some(_))) => format!("sdpa attention ({})", run.sdpa),
        _ => format!("{attention} attention"),
    }));
    words.extend(cache(run));
    words.extend(run.lora.as_ref().map(|lora| format!("lora {lora}")));
    words.extend(run.quantize.map(|form| match (form, run.double_quant) {
        (QuantizedType::Int8, _) | (_, true) => format!("{form} weights"),
        (_, false) => format!("{form} weights without double quantisation"),
    }));
    words.extend(planned.quantization().map(|stored| format!("{} weights as stored", stored.word())));
    words.extend(run.hold_outputs.then(|| "outputs held".to_owned()));
    words.extend(options::words(run));
    words
}

/// How long a step takes.
fn step(planned: &Planned<'_>) -> Option<String> {
    let (gpu, step) = (planned.gpu, planned.plan.step);
    let time = super::seconds(step.seconds()?);
    let fitted = gpu.profile.as_ref().and_then(|profile| Some((profile, profile.speeds.as_ref()?)));
    let copies = step.copies.map(|copies| format!("; copies to and from the host {} more", super::seconds(copies)));
    let copies = copies.unwrap_or_default();
    Some(match fitted {
        Some((profile, fitted)) => {
            let error = 100.0 * fitted.error.median;
            let name = &profile.name;
            format!("about {time} on the GPU, by the profile {name} (half of its kernels within {error:.0} %){copies}")
        }
        None => format!("at least {time} on the GPU: by its datasheet, not measured{copies}"),
    })
}

/// The cache that was chosen.
fn cache(run: &Run) -> Option<String> {
    let tokens = run.cache_tokens.map_or(String::new(), |tokens| format!(" for {tokens} tokens"));
    match run.cache_kind() {
        CacheKind::Dynamic => None,
        CacheKind::Static => Some(format!("static cache{tokens}")),
        CacheKind::Paged => {
            let dtype = run.cache_dtype.map_or(String::new(), |dtype| format!(" in {}", dtype.word()));
            let chunks = run.prefill_tokens.map_or(String::new(), |chunk| format!(", prefill in chunks of {chunk}"));
            Some(format!("pages of {} tokens{dtype}{tokens}{chunks}", run.tokens_of_page()))
        }
    }
}

fn peaks(planned: &Planned<'_>) -> String {
    let mut rows = peak_rows(planned.plan);
    let given = if planned.run.capacity.is_some() { "as given" } else { "what the allocator may take" };
    rows.push(row("free", planned.plan.capacity, given.to_owned()));
    let Some(outside) = &planned.plan.outside else { return table([Left, Right, Right, Left], &rows) };
    rows.push(row("outside allocator", outside.most, "the CUDA context".to_owned()));
    let source = wrapped(&format!("({})", outside.source), "  ", "  ");
    format!("{}{source}", table([Left, Right, Right, Left], &rows))
}

fn row(name: &str, bytes: Bytes, remark: String) -> [String; 4] {
    [name.into(), bytes.0.to_string(), bytes.to_string(), remark]
}

/// Both peaks, and where they are.
fn peak_rows(replay: &Replay) -> Vec<[String; 4]> {
    let whole = replay.whole();
    let reserved = whole.phases.iter().find(|phase| phase.peak_reserved == whole.peak_reserved);
    let reserved = reserved.and_then(|figures| replay.trace.phases.get(figures.phase as usize));
    let place = |phase: Option<&Phase>| phase.map_or_else(String::new, Phase::to_string);
    vec![
        row("peak allocated", whole.peak_allocated, place(replay.peak_phase())),
        row("peak reserved", whole.peak_reserved, place(reserved)),
    ]
}

/// The phases of the last step, and of others those that reach a peak.
fn phases(replay: &Replay) -> String {
    let whole = replay.whole();
    let last = replay.trace.phases.last().map_or(0, |phase| phase.step);
    let mut rows = vec![["", "allocated", "peak allocated", "reserved", "peak reserved"].map(String::from)];
    let (mut allocated, mut reserved) = (false, false);
    for figures in &whole.phases {
        let Some(phase) = replay.trace.phases.get(figures.phase as usize) else { continue };
        let allocates = figures.peak_allocated == whole.peak_allocated && !allocated;
        let reserves = figures.peak_reserved == whole.peak_reserved && !reserved;
        (allocated, reserved) = (allocated || allocates, reserved || reserves);
        if phase.step == last || allocates || reserves {
            rows.push(phase_row(phase, figures));
        }
    }
    table([Left, Right, Right, Right, Right], &rows)
}

fn phase_row(phase: &Phase, figures: &PhaseFigures) -> [String; 5] {
    let PhaseFigures { allocated, peak_allocated, reserved, peak_reserved, .. } = figures;
    let [a, b, c, d] = [allocated, peak_allocated, reserved, peak_reserved].map(|bytes| bytes.0.to_string());
    [phase.to_string(), a, b, c, d]
}

fn categories(replay: &Replay) -> String {
    let total = replay.whole().peak_allocated;
    let share = |bytes: Bytes| format!("{:.1} %", 100.0 * bytes.0 as f64 / total.0.max(1) as f64);
    let row = |name: &str, bytes: Bytes| [name.to_owned(), bytes.0.to_string(), bytes.to_string(), share(bytes)];
    let mut rows: Vec<[String; 4]> =
        replay.categories_at_peak().into_iter().map(|(category, bytes)| row(category.name(), bytes)).collect();
    rows.push(row("allocator slack", replay.slack_at_peak()));
    rows.push(row("total", total));
    let place = replay.peak_phase().map_or_else(String::new, |phase| format!(", in {phase}"));
    format!("at the peak{place}\n{}", table([Left, Right, Right, Right], &rows))
}

fn largest(replay: &Replay) -> String {
    let rows: Vec<[String; 4]> = replay
        .siblings_at_peak()
        .into_iter()
        .take(LARGEST)
        .map(|siblings| {
            let count = if siblings.count > 1 { format!(" x{}", siblings.count) } else { String::new() };
            let place = if siblings.place.is_empty() { "the model".to_owned() } else { siblings.place };
            let category = siblings.category.name().to_owned();
            let bytes = siblings.bytes;
            [bytes.0.to_string(), bytes.to_string(), category, format!("{place}{count}: {}", siblings.by)]
        })
        .collect();
    format!("largest at the peak\n{}", list([Right, Right, Left, Left], &rows))
}

/// What the host's memory needs, where that was asked.
fn host(planned: &Planned<'_>) -> String {
    let Some(host) = planned.plan.host_memory(planned.run) else { return String::new() };
    let (most, ranks) = (host.most(), host.ranks);
    let verdict = match host.ram {
        None => format!("host: up to {most}"),
        Some(ram) if host.fits() => format!("host: fits, up to {most} of {ram}"),
        Some(ram) => format!("host: does not fit, up to {most} needed of {ram}"),
    };
    let on = if ranks > 1 { format!(" for {ranks} ranks on one machine") } else { String::new() };
    let mut rows = Vec::new();
    for (when, word) in [(When::Loading, "loading"), (When::Running, "running")] {
        for part in host.parts.iter().filter(|part| part.when == when) {
            let times = if part.count > 1 { format!("{} x {}", part.count, part.each) } else { String::new() };
            let bytes = part.bytes();
            rows.push([word.to_owned(), bytes.0.to_string(), bytes.to_string(), part.name.to_owned(), times]);
        }
    }
    let left_out = "not counted: what worker processes hold themselves (Python, lists of a dataset), and pages of mapped checkpoints, \
                    which the kernel can drop";
    let each = if ranks > 1 { "each rank\n" } else { "" };
    format!("{verdict}{on}\n{each}{}{}", list([Left, Right, Right, Left, Left], &rows), wrapped(left_out, "  ", "  "))
}

fn remarks(planned: &Planned<'_>) -> String {
    let warnings = planned.warnings().into_iter().map(|warning| format!("warning: {warning}"));
    let notes = planned.notes().into_iter().map(|note| format!("note: {note}"));
    warnings.chain(notes).map(|remark| wrapped(&remark, "  ", "  ").trim_start().to_owned()).collect()
}
