//! The page in a browser without a screen: Chromium, driven over its devtools. Where there is none the tests say so and end.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use resvg::tiny_skia::Pixmap;
use serde_json::{Value, json};
use tempfile::TempDir;
use tungstenite::{Message, WebSocket};

use crate::support::{Folder, call, json_of};

/// The names under which Chromium is installed.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];
/// The longest that an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A browser with one page.
struct Browser {
    process: Child,
    socket: WebSocket<TcpStream>,
    session: Option<String>,
    sent: u64,
    loaded: bool,
    _profile: TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Browser {
    /// Starts Chromium; None where there is none, which the environment's `MEMPLAN_BROWSER=required` forbids.
    #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
    fn start() -> Option<Browser> {
        let profile = tempfile::tempdir().unwrap();
        let started = NAMES.iter().find_map(|name| {
            Command::new(name)
                .args([
                    "--headless",
                    "--no-sandbox",
                    "--disable-gpu",
                    "--remote-debugging-port=0",
                    "--window-size=1280,1000",
                ])
                .arg(format!("--user-data-dir={}", profile.path().display()))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .ok()
        });
        let Some(mut process) = started else {
            assert!(std::env::var("MEMPLAN_BROWSER").is_err(), "no Chromium, and MEMPLAN_BROWSER is set");
            eprintln!("SKIPPED: no Chromium here, the page was not opened");
            return None;
        };
        let lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = lines.map_while(Result::ok).find_map(|line| Some(line.split_once("ws://")?.1.trim().to_owned()));
        let address = address.expect("the devtools' address");
        let stream = TcpStream::connect(address.split_once('/').unwrap().0).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (socket, _) = tungstenite::client(format!("ws://{address}"), stream).unwrap();
        let mut browser = Browser { process, socket, session: None, sent: 0, loaded: false, _profile: profile };
        let page = browser.send("Target.createTarget", json!({"url": "about:blank"}));
        let attached = browser.send("Target.attachToTarget", json!({"targetId": page["targetId"], "flatten": true}));
        browser.session = Some(attached["sessionId"].as_str().unwrap().to_owned());
        Some(browser)
    }

    /// A command of the devtools, and its result.
    fn send(&mut self, method: &str, parameters: Value) -> Value {
        self.sent += 1;
        let mut message = json!({"id": self.sent, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        self.socket.send(Message::text(message.to_string())).unwrap();
        loop {
            let answer = self.read();
            if answer["id"] == self.sent {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].clone();
            }
        }
    }

    /// What the devtools say next.
    fn read(&mut self) -> Value {
        loop {
            match self.socket.read() {
                Err(tungstenite::Error::Io(error)) if error.kind() == ErrorKind::Interrupted => {}
                message => {
                    let message = serde_json::from_str(&message.unwrap().into_text().unwrap()).unwrap_or(Value::Null);
                    self.loaded |= message["method"] == "Page.loadEventFired";
                    return message;
                }
            }
        }
    }

    /// The value of an expression on the page.
    fn value(&mut self, expression: &str) -> Value {
        let answer = self.send("Runtime.evaluate", json!({"expression": expression, "returnByValue": true}));
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Opens a file, and waits until it has loaded; its scripts have run by then.
    fn open(&mut self, path: &str) {
        self.send("Page.enable", json!({}));
        self.loaded = false;
        self.send("Page.navigate", json!({"url": format!("file://{path}")}));
        while !self.loaded {
            self.read();
        }
    }

    fn mouse(&mut self, kind: &str, (x, y): (f64, f64), more: Value) {
        let mut event = json!({"type": kind, "x": x, "y": y});
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.send("Input.dispatchMouseEvent", event);
    }

    /// The colours of a picture of what is seen.
    fn colours(&mut self) -> usize {
        let answer = self.send("Page.captureScreenshot", json!({"format": "png"}));
        let image = Pixmap::decode_png(&base64(answer["data"].as_str().unwrap())).unwrap();
        let mut colours: Vec<u32> =
            image.pixels().iter().map(|p| u32::from_be_bytes([0, p.red(), p.green(), p.blue()])).collect();
        colours.sort_unstable();
        colours.dedup();
        colours.len()
    }
}

/// The bytes of base64 as browsers write it.
fn base64(text: &str) -> Vec<u8> {
    let digit = |c: u8| match c {
        b'A'..=b'Z' => u32::from(c - b'A'),
        b'a'..=b'z' => u32::from(c - b'a') + 26,
        b'0'..=b'9' => u32::from(c - b'0') + 52,
        b'+' => 62,
        _ => 63,
    };
    let text = text.trim_end_matches('=').as_bytes();
    let bytes = text.chunks(4).flat_map(|group| {
        let bits = group.iter().fold(0, |bits, c| bits << 6 | digit(*c)) << (6 * (4 - group.len()));
        let [_, bytes @ ..] = bits.to_be_bytes();
        bytes.into_iter().take(group.len() - 1)
    });
    bytes.collect()
}

fn looked_at(run: &[&str]) {
    let folder = Folder::new();
    let page = folder.argument("plan.html");
    call(&[&["report"], run, &["-o", &page]].concat());
    assert!(fs::metadata(&page).unwrap().len() < 5_000_000, "{run:?}");
    let plan = json_of(&[&["plan"], run, &["--format", "json"]].concat());
    let Some(mut browser) = Browser::start() else { return };
    browser.open(&page);
    let opened = browser.value("Number(document.documentElement.dataset.ready)").as_f64();
    assert!(opened.is_some(), "{run:?}: the page is not drawn to its end");
    let shown = browser.value("document.getElementById('peak-allocated').textContent");
    assert!(shown.as_str().unwrap().contains(&format!("{} bytes", plan["peak_allocated"])), "{shown}");
    hovered(&mut browser);
    zoomed(&mut browser);
    walked(&mut browser);
    assert!(browser.colours() > 100, "{run:?}: a blank picture");
    let ground = "getComputedStyle(document.body).backgroundColor";
    let light = browser.value(ground);
    let dark = json!({"features": [{"name": "prefers-color-scheme", "value": "dark"}]});
    browser.send("Emulation.setEmulatedMedia", dark);
    assert_ne!(light, browser.value(ground));
    assert!(browser.colours() > 100, "{run:?}: a blank picture in the dark");
}

/// The middle of the timeline.
fn middle(browser: &mut Browser) -> (f64, f64) {
    let place = browser.value("(({x, y, width, height}) => [x + width / 2, y + height / 2])(document.querySelector('.timeline canvas').getBoundingClientRect())");
    (place[0].as_f64().unwrap(), place[1].as_f64().unwrap())
}

fn hovered(browser: &mut Browser) {
    let moment = "document.querySelector('.moment').textContent";
    let before = browser.value(moment);
    let (x, y) = middle(browser);
    browser.mouse("mouseMoved", (x - 150.0, y), json!({}));
    let after = browser.value(moment);
    assert_ne!(before, after);
    let after = after.as_str().unwrap();
    assert!(after.starts_with("Event ") && after.contains("allocated") && after.contains("largest alive"), "{after}");
    browser.value("document.querySelector('.timeline canvas').focus()");
    browser.send("Input.dispatchKeyEvent", json!({"type": "keyDown", "key": "Home"}));
    let peak = browser.value("timelines[0].plan.samples[timelines[0].at][2] === timelines[0].plan.peak");
    assert_eq!(peak, true);
}

/// The keys go through the parts of a picture, and what is below it says which is meant.
fn walked(browser: &mut Browser) {
    for picture in ["treemap", "segments"] {
        let note = format!("document.getElementById('{picture}-note').textContent");
        let before = browser.value(&note);
        browser.value(&format!("document.getElementById('{picture}').focus()"));
        browser.send("Input.dispatchKeyEvent", json!({"type": "keyDown", "key": "ArrowRight"}));
        let first = browser.value(&note);
        browser.send("Input.dispatchKeyEvent", json!({"type": "keyDown", "key": "End"}));
        let last = browser.value(&note);
        assert!(before != first && first != last, "{picture}: {before} {first} {last}");
    }
}

fn zoomed(browser: &mut Browser) {
    let width = "timelines[0].view[1] - timelines[0].view[0]";
    let all = browser.value(width).as_f64().unwrap();
    let place = middle(browser);
    browser.mouse("mouseWheel", place, json!({"deltaX": 0, "deltaY": -120}));
    let narrower = browser.value(width).as_f64().unwrap();
    assert!(narrower < all, "{narrower} of {all}");
    browser.value("document.querySelector('button[aria-label^=\"show all\"]').click()");
    assert_eq!(browser.value(width).as_f64().unwrap(), all);
}

#[test]
fn a_convolutional_network() {
    looked_at(&["resnet50", "--batch", "16"]);
}

#[test]
fn a_transformer_of_126_layers() {
    looked_at(&["llama-3.1-405b", "--seq", "4096"]);
}

#[test]
fn base64_is_read() {
    assert_eq!(base64("TWFu"), b"Man");
    assert_eq!(base64("TWE="), b"Ma");
    assert_eq!(base64("+/8="), [0xfb, 0xff]);
}
