//! A plan in at most 20 lines: the verdict, what weakens it, what was planned, what takes the peak, the timeline, what was taken for
//! granted, what to do next. `text.rs` has all there is.

use super::blocks::timeline;
use super::table::{Align, table, wrapped};
use super::text::{headed, releases, run_line, verdict};
use super::{Planned, quote};
use crate::bytes::Bytes;
use crate::fit::smallest::Smallest;
use crate::replay::Replay;
use crate::run::{Checkpointing, Mode, Run, RunOptions};
use crate::trace::{Category, Phase};

/// How many lines there are, where warnings leave room.
const LINES: usize = 20;

/// How many categories are shown: the fewest and the most.
const ROWS: (usize, usize) = (3, 5);

/// The fewest thousandths of the peak that a category takes which is shown.
const SHOWN: u64 = 1;

/// A bar's width where all of the peak is one category.
const BAR: u64 = 24;

/// The most lines of remarks.
const REMARKS: usize = 3;

/// Renders a plan in short; its first line is the verdict: on the GPU, or where nobody named one, on which GPUs it fits.
/// `options` say what nobody chose.
pub fn brief(planned: &Planned<'_>, options: &RunOptions, smallest: Option<&Smallest>) -> String {
    let verdict = verdict(planned);
    let verdict = match (smallest, verdict.strip_prefix("fits: ").and_then(|said| said.split_once('\n'))) {
        (Some(smallest), Some((_, rest))) => needs(smallest) + rest,
        _ => verdict,
    };
    let head = format!("{verdict}{}\n{}{}", remarks(planned), subject(planned), peaks(planned.plan));
    let picture = timeline(planned.plan);
    let picture = picture.split_once('\n').map_or("", |(_, picture)| picture); // its title is for the longer text
    let end = format!("{}{}", assumed(planned, options), next(planned, options));
    let taken = [&head, picture, &end].iter().map(|part| part.lines().count()).sum();
    let rows = LINES.saturating_sub(taken).clamp(ROWS.0, ROWS.1);
    format!("{head}{}{picture}{end}", categories(planned.plan, rows))
}

/// What is needed, and on which GPUs there is so much.
fn needs(smallest: &Smallest) -> String {
    let Smallest { gpu, capacity, needed } = smallest;
    let size = gpu.memory.nominal.0 >> 30;
    format!("fits GPUs of {size} GB and more: {needed} needed of {capacity} free on {}\n", gpu.key)
}

/// What weakens the figures, before them; how many notes there are beside.
fn remarks(planned: &Planned<'_>) -> String {
    let weak = planned.warnings().into_iter().chain(planned.unknown_workspaces());
    let lines: String = weak.map(|warning| wrapped(&format!("warning: {warning}"), "", "  ")).collect();
    let kept: Vec<&str> = lines.lines().take(REMARKS).collect();
    let more = if lines.lines().count() > REMARKS { " ... (--full)\n" } else { "\n" };
    if kept.is_empty() { String::new() } else { kept.join("\n") + more }
}

fn subject(planned: &Planned<'_>) -> String {
    let Planned { model, run, gpu, plan } = planned;
    let parameters = plan.parameters();
    let model =
        format!("{}: {}, {} parameters, {}", model.name, plan.architecture, count(parameters.count), parameters.bytes);
    let gpu = format!("{}, {}; {}", gpu.name, gpu.memory.total, releases(run));
    [headed("model", &model), headed("run", &run_line(planned)), headed("gpu", &gpu)].concat()
}

/// A number of parameters as people say it: `8.19 B`, `124 M`.
pub(super) fn count(number: u64) -> String {
    match number {
        0..1_000_000 => number.to_string(),
        1_000_000..1_000_000_000 => format!("{:.1} M", number as f64 / 1e6),
        _ => format!("{:.2} B", number as f64 / 1e9),
    }
}

/// Both peaks, the phase of the first and the module whose operator brings it about.
fn peaks(replay: &Replay) -> String {
    let whole = replay.whole();
    let last = replay.at_peak.iter().map(|live| live.id).max().map(|id| replay.trace.allocation(id));
    let module = last.as_ref().map_or("", |allocation| replay.trace.module(allocation));
    let place = replay.peak_phase().map_or_else(String::new, Phase::to_string);
    let at = if module.is_empty() { String::new() } else { format!(", {module}") };
    headed("peak", &format!("{} allocated, {} reserved: {place}{at}", whole.peak_allocated, whole.peak_reserved))
}

fn categories(replay: &Replay, rows: usize) -> String {
    let total = replay.whole().peak_allocated.0.max(1);
    let mut found = replay.categories_at_peak();
    found.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    let bar = |bytes: Bytes| "█".repeat((u128::from(bytes.0) * u128::from(BAR)).div_ceil(u128::from(total)) as usize);
    let share = |bytes: Bytes| format!("{:.1} %", 100.0 * bytes.0 as f64 / total as f64);
    let row = |(category, bytes): &(Category, Bytes)| {
        [format!("  {}", category.name()), bytes.to_string(), share(*bytes), bar(*bytes)]
    };
    found.retain(|(_, bytes)| bytes.0.saturating_mul(1000) >= SHOWN * total);
    let rows: Vec<[String; 4]> = found.iter().take(rows).map(row).collect();
    table([Align::Left, Align::Right, Align::Right, Align::Left], &rows)
}

/// The defaults that matter, where nobody chose: the answer depends on little else.
fn assumed(planned: &Planned<'_>, options: &RunOptions) -> String {
    let Planned { model, run, plan, .. } = planned;
    let mut words: Vec<String> = Vec::new();
    let mut say = |is_said: bool, text: String| words.extend((!is_said).then_some(text));
    say(options.batch.is_some(), format!("batch {}", run.batch));
    if model.takes_tokens() {
        say(options.seq.is_some(), format!("seq {}", run.seq));
    }
    match (model.image_of(run), model.takes_images_beside()) {
        (Some(_), true) if run.images.unwrap_or(0) == 0 => say(options.images.is_some(), "no images (--images)".into()),
        (Some(size), _) => say(options.image.is_some(), format!("image {size}")),
        (None, _) => {}
    }
    if run.mode == Mode::Train && run.checkpoint == Checkpointing::Off {
        say(options.checkpoint.is_some(), "no checkpointing".to_owned());
    }
    say(options.precision.is_some(), format!("{} weights", plan.precision));
    say(options.names_a_gpu(), "an H200".to_owned());
    if words.is_empty() { String::new() } else { wrapped(&words.join(", "), "assumed:", "  ") }
}

/// What to call next: advice where the run does not fit.
fn next(planned: &Planned<'_>, options: &RunOptions) -> String {
    if planned.plan.fits() {
        return String::new();
    }
    let flags = planned.run.flags_from(&Run::default()).to_string();
    let gpu = options.gpu.as_ref().map(|_| format!(" --gpu {}", planned.gpu.key)).unwrap_or_default();
    let vram = options.vram.map(|vram| format!(" --vram {}", vram.0)).unwrap_or_default();
    let specs = options.specs.as_ref().map(|folder| format!(" --specs {}", word(&folder.display().to_string())));
    let flags = if flags.is_empty() { flags } else { format!(" {flags}") };
    format!("next: memplan advise {}{flags}{gpu}{vram}{}\n", word(&planned.model.name), specs.unwrap_or_default())
}

/// A word as a shell reads it.
fn word(text: &str) -> String {
    let plain = text.chars().all(|c| c.is_alphanumeric() || "-_./=@,:+".contains(c));
    if plain { text.to_owned() } else { format!("'{}'", quote::visible(text).replace('\'', "'\\''")) }
}
