//! The timeline as a picture: SVG, which is drawn as PNG too.

use std::fmt::Write;

use quick_xml::escape::escape;

use super::colours::{COLOURS, NAMES};
use super::{Planned, page};
use crate::bytes::Bytes;
use crate::history::{History, Sample, history};
use crate::replay::Replay;
use crate::words::quote;

const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 460.0;
const LEFT: f64 = 90.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 84.0;

/// Where events and bytes lie on the picture.
struct Frame {
    events: f64,
    most: f64,
}

impl Frame {
    fn x(&self, event: usize) -> f64 {
        LEFT + event as f64 / self.events * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, bytes: u64) -> f64 {
        HEIGHT - BOTTOM - bytes as f64 / self.most * (HEIGHT - TOP - BOTTOM)
    }
}

/// The picture of a plan; `font` names the letters' family.
pub fn svg(planned: &Planned<'_>, font: &str) -> String {
    svg_of(&page::title(planned), planned.plan, font)
}

/// The picture of a replay under that title.
pub fn svg_of(title: &str, replay: &Replay, font: &str) -> String {
    let history = history(replay, (WIDTH - LEFT - RIGHT) as usize, 0);
    let whole = replay.whole();
    let title = quote::cut(title);
    let frame = Frame {
        events: history.events.max(1) as f64,
        most: whole.peak_reserved.0.max(whole.peak_allocated.0).max(1) as f64 * 1.04,
    };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         font-family=\"{font}\" font-size=\"13\" role=\"img\">\n<title>{}</title>\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n",
        xml(&title)
    );
    let verdict = if replay.fits() { "fits" } else { "does not fit" };
    let _ = writeln!(svg, "<text x=\"{LEFT}\" y=\"24\" font-size=\"15\" fill=\"#1d2125\">{}</text>", xml(&title));
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"46\" fill=\"#5b6570\">{verdict}: peak {} allocated, {} reserved, {} free</text>",
        whole.peak_allocated, whole.peak_reserved, replay.capacity
    );
    svg.push_str(&axes(&frame));
    svg.push_str(&areas(&frame, &history));
    svg.push_str(&phases(&frame, replay));
    svg.push_str(&marks(&frame, replay, &history));
    svg.push_str(&legend(&history));
    svg.push_str("</svg>\n");
    svg
}

/// Text for XML, without the characters that it has no place for.
fn xml(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    escape(quote::visible(&text)).into_owned()
}

fn axes(frame: &Frame) -> String {
    let mut step = 1_u64;
    while frame.most / step as f64 > 6.0 {
        step *= 2;
    }
    let mut svg = String::new();
    for bytes in (0..).map(|number| number * step).take_while(|bytes| *bytes as f64 <= frame.most) {
        let (y, right) = (frame.y(bytes), WIDTH - RIGHT);
        let _ = writeln!(svg, "<path d=\"M{LEFT} {y:.1}H{right}\" stroke=\"#d9dde1\"/>");
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#5b6570\">{}</text>",
            LEFT - 8.0,
            y + 4.0,
            Bytes(bytes)
        );
    }
    svg
}

/// What a sample has of a part: a category, or the allocator's slack.
fn part(sample: &Sample, part: usize) -> u64 {
    sample.categories.each().get(part).copied().unwrap_or_else(|| sample.slack()).0
}

fn areas(frame: &Frame, history: &History) -> String {
    let mut svg = String::new();
    let mut floor = vec![0_u64; history.samples.len()];
    for (number, colour) in COLOURS.iter().enumerate() {
        let top: Vec<u64> =
            history.samples.iter().zip(&floor).map(|(sample, floor)| floor + part(sample, number)).collect();
        if top == floor {
            continue;
        }
        let _ = write!(svg, "<path fill=\"{colour}\" d=\"M");
        for (sample, top) in history.samples.iter().zip(&top) {
            let y = frame.y(*top);
            let _ = write!(svg, "{:.1} {y:.1} {:.1} {y:.1} ", frame.x(sample.from), frame.x(sample.to));
        }
        for (sample, floor) in history.samples.iter().zip(&floor).rev() {
            let y = frame.y(*floor);
            let _ = write!(svg, "{:.1} {y:.1} {:.1} {y:.1} ", frame.x(sample.to), frame.x(sample.from));
        }
        svg.push_str("Z\"/>\n");
        floor = top;
    }
    let points = history.samples.iter().flat_map(|sample| {
        let y = frame.y(sample.reserved.0);
        [(frame.x(sample.from), y), (frame.x(sample.to), y)]
    });
    let points: Vec<String> = points.map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let _ = writeln!(
        svg,
        "<polyline fill=\"none\" stroke=\"#5b6570\" stroke-dasharray=\"4 3\" points=\"{}\"/>",
        points.join(" ")
    );
    svg
}

fn phases(frame: &Frame, replay: &Replay) -> String {
    let trace = &replay.trace;
    let mut svg = String::new();
    let mut start = 0;
    for (number, phase) in trace.phase_ends(0) {
        let (from, to) = (frame.x(start), frame.x(number + 1));
        start = number + 1;
        let label = trace.phases.get(phase as usize).map(|phase| phase.name.to_string()).unwrap_or_default();
        let _ = writeln!(svg, "<path d=\"M{to:.1} {TOP}V{}\" stroke=\"#d9dde1\"/>", HEIGHT - BOTTOM);
        if to - from > 8.0 * label.len() as f64 {
            let y = HEIGHT - BOTTOM + 18.0;
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{y}\" text-anchor=\"middle\" fill=\"#5b6570\">{}</text>",
                (from + to) / 2.0,
                xml(&label)
            );
        }
    }
    svg
}

fn marks(frame: &Frame, replay: &Replay, history: &History) -> String {
    let (event, peak) = (replay.whole().peak_event, replay.whole().peak_allocated);
    let (x, y) = (frame.x(event), frame.y(peak.0));
    let mut svg = String::new();
    if replay.capacity.0 as f64 <= frame.most {
        let y = frame.y(replay.capacity.0);
        let _ = writeln!(svg, "<path d=\"M{LEFT} {y:.1}H{}\" stroke=\"#b3261e\"/>", WIDTH - RIGHT);
    }
    let (anchor, shift) = if event * 2 > history.events { ("end", -8.0) } else { ("start", 8.0) };
    let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"#b3261e\"/>");
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\" fill=\"#b3261e\">peak {peak}</text>",
        x + shift,
        y - 7.0
    );
    svg
}

fn legend(history: &History) -> String {
    let mut svg = String::new();
    let (mut x, mut y) = (LEFT, HEIGHT - BOTTOM + 44.0);
    let shown = (0..NAMES.len()).filter(|number| history.samples.iter().any(|sample| part(sample, *number) > 0));
    for number in shown {
        let width = 30.0 + 7.5 * NAMES[number].len() as f64;
        if x + width > WIDTH - RIGHT {
            (x, y) = (LEFT, y + 20.0);
        }
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{}\" width=\"11\" height=\"11\" fill=\"{}\"/>",
            y - 10.0,
            COLOURS[number]
        );
        let _ = writeln!(svg, "<text x=\"{}\" y=\"{y}\" fill=\"#1d2125\">{}</text>", x + 16.0, NAMES[number]);
        x += width;
    }
    svg
}
