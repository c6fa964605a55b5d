//! A short run of what `fuzz/` does for hours: every reader gets its seeds, and blind changes of them, by the same functions.

#[path = "../../../fuzz/src/lib.rs"]
mod targets;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use targets::{TARGETS, Target};

/// How long a target's changed seeds are tried. Each is tried once at least, so that a slow machine tests something.
const TIME: Duration = Duration::from_millis(600);

/// The most changed seeds of a target.
const MOST: usize = 2000;

/// Pieces that are put in: what formats are made of, and what they never hold.
const PIECES: [&[u8]; 32] = [
    b"",
    b"\n",
    b" ",
    b"\t",
    b":",
    b": |",
    b"(",
    b")",
    b"[",
    b"]",
    b"{",
    b"}",
    b",",
    b"'",
    b"\"",
    b"=",
    b"-",
    b"-1",
    b"#",
    b"&a",
    b"*a",
    b"!!x",
    b"null",
    b"true",
    b"0",
    b"1e9",
    b"18446744073709551615",
    b"99999999999999999999",
    b"\\u0000",
    b"\x1b",
    b"\xff",
    "\u{202e}".as_bytes(),
];

/// xorshift: the same changes on every machine.
struct Random(u64);

impl Random {
    /// A number below `most`; 0 below 0.
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % most.max(1) as u64) as usize
    }
}

/// A seed with a few changes: a piece for a stretch, a digit, a cut, a stretch again, or one of another seed.
fn changed(seed: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=random.below(3) {
        let start = random.below(bytes.len() + 1);
        let end = (start + random.below(24)).min(bytes.len());
        match random.below(6) {
            0 => drop(bytes.splice(start..end, PIECES[random.below(PIECES.len())].iter().copied())),
            1 => drop(bytes.splice(start..start, PIECES[random.below(PIECES.len())].iter().copied())),
            2 => {
                let digits: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at].is_ascii_digit()).collect();
                if let Some(at) = digits.get(random.below(digits.len())) {
                    bytes[*at] = b'0' + random.below(10) as u8;
                }
            }
            3 if random.below(8) == 0 => bytes.truncate(start),
            3 | 4 => {
                let again = bytes[start..end].to_vec();
                drop(bytes.splice(start..start, again));
            }
            _ => {
                let from = random.below(other.len() + 1);
                let to = (from + random.below(24)).min(other.len());
                drop(bytes.splice(start..end, other[from..to].iter().copied()));
            }
        }
    }
    bytes
}

/// Asks a target, and shows the bytes where it panics.
fn ask(target: &Target, bytes: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| (target.ask)(bytes))).is_err() {
        panic!("{}: {}", target.name, bytes.escape_ascii());
    }
}

/// The seeds of a target, then changed ones for a while.
fn asked(target: &Target) {
    let seeds = (target.seeds)();
    assert!(!seeds.is_empty(), "{} has no seeds", target.name);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let began = Instant::now();
    for number in 0..MOST {
        match seeds.get(number) {
            Some(seed) => ask(target, seed),
            None if began.elapsed() > TIME => break,
            None => {}
        }
        let (seed, other) = (&seeds[number % seeds.len()], &seeds[random.below(seeds.len())]);
        ask(target, &changed(seed, other, &mut random));
    }
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            let target = TARGETS.iter().find(|target| target.name == stringify!($name));
            asked(target.expect("a target of that name"));
        })*

        /// Each target is tested here, and has a file in `fuzz/` that cargo-fuzz finds.
        #[test]
        fn none_is_left_out() {
            let manifest = include_str!("../../../fuzz/Cargo.toml");
            let tested = [$(stringify!($name)),*];
            assert_eq!(TARGETS.map(|target| target.name), tested);
            for name in tested {
                assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
            }
        }
    };
}

targets! { archive config export gpus header index kept lock modules optimizer pack profile run spec stored trace }

/// Writes the seeds where `cargo fuzz run` looks for them: `fuzz/corpus/TARGET/seed-NUMBER`.
#[test]
#[ignore = "fuzz/run asks for it"]
fn seeds_are_written() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for target in TARGETS {
        let folder = corpus.join(target.name);
        fs::create_dir_all(&folder).expect("a folder");
        for (number, seed) in (target.seeds)().iter().enumerate() {
            fs::write(folder.join(format!("seed-{number}")), seed).expect("a seed");
        }
    }
}
