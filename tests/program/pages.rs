//! What the README and the pages of `docs/` show of the program is what it prints: each command of a page runs in the page's order, in one
//! folder. A line `...` stands for any others. `UPDATE_DOCS=1` writes what the program prints now, where nothing is left out.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use tempfile::TempDir;

use crate::support::memplan;

/// Commands that need what is not here: a model's folder, a GPU, a browser, minutes.
const ELSEWHERE: [&str; 9] = [
    "all-MiniLM-L6-v2",
    "memplan calibrate",
    "pip ",
    "cargo ",
    ".pt2",
    "A.1048576.csv",
    "run.trace",
    "path/to/",
    "jq ",
];

/// A command of a page, and the lines below it that show its output.
struct Shown {
    command: String,
    /// Where its output begins, and ends, among the page's lines.
    lines: std::ops::Range<usize>,
    /// What stands before each line: four spaces or nothing.
    indent: &'static str,
}

/// The commands of a page: lines with a prompt in code, fenced or indented.
fn shown(lines: &[&str]) -> Vec<Shown> {
    let mut found: Vec<Shown> = Vec::new();
    let mut open: Option<&'static str> = None;
    for (number, line) in lines.iter().enumerate() {
        let within = open.is_some_and(|indent| line.starts_with(indent) || line.is_empty()) && !line.starts_with("```");
        let prompt = [("", "$ "), ("    ", "    $ ")].into_iter().find(|(_, prompt)| line.starts_with(prompt));
        if let Some((indent, prompt)) = prompt {
            let command = line[prompt.len()..].to_owned();
            found.push(Shown { command, lines: number + 1..number + 1, indent });
            open = Some(indent);
        } else if let (true, Some(last)) = (within, found.last_mut()) {
            last.lines.end = number + 1;
        } else {
            open = None;
        }
    }
    for each in &mut found {
        while each.lines.end > each.lines.start && lines[each.lines.end - 1].trim().is_empty() {
            each.lines.end -= 1;
        }
    }
    found
}

/// What commands print that write nothing and read no files: pages share some.
type Known = HashMap<String, Vec<String>>;

/// Whether all is here that a command needs.
fn is_here(command: &str) -> bool {
    !ELSEWHERE.iter().any(|word| command.contains(word))
}

/// Whether a command's output follows from its words alone.
fn is_known(command: &str) -> bool {
    let reads_nothing = ["memplan plan ", "memplan advise ", "memplan buy ", "memplan fit "];
    reads_nothing.iter().any(|begin| command.starts_with(begin))
}

/// What a command prints, on either stream, without spaces at the ends of its lines.
fn printed(command: &str, folder: &Path) -> Vec<String> {
    let program = memplan(&[]);
    let bin = Path::new(program.get_program()).parent().unwrap().to_owned();
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &format!("exec 2>&1; {command}")]).current_dir(folder);
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::iter::once(bin).chain(std::env::split_paths(&path).collect::<Vec<PathBuf>>());
    let output = shell.env("PATH", std::env::join_paths(paths).unwrap()).env("COLUMNS", "80").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.trim_end().lines().map(|line| line.trim_end().to_owned()).collect()
}

/// Whether the lines are those of a page, with any in place of `...`.
fn agree(page: &[&str], lines: &[String]) -> bool {
    let Some((first, rest)) = page.split_first() else { return lines.is_empty() };
    if first.trim() == "..." {
        return (0..=lines.len()).any(|from| agree(rest, &lines[from..]));
    }
    lines.split_first().is_some_and(|(line, others)| *first == line.as_str() && agree(rest, others))
}

/// The differences of a page; written away where that is asked for.
fn differences(path: &Path, known: &Known) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let folder = TempDir::new().unwrap();
    let (mut wrong, mut anew, mut kept) = (Vec::new(), String::new(), 0);
    for Shown { command, lines: place, indent } in shown(&lines) {
        if !is_here(&command) {
            continue;
        }
        let output = known.get(&command).cloned().unwrap_or_else(|| printed(&command, folder.path()));
        let page: Vec<&str> =
            lines[place.clone()].iter().map(|line| line.strip_prefix(indent).unwrap_or("").trim_end()).collect();
        if page.is_empty() || agree(&page, &output) {
            continue;
        }
        wrong.push(format!(
            "{}: {command}\nshown:\n{}\nprinted:\n{}\n",
            path.display(),
            page.join("\n"),
            output.join("\n")
        ));
        if page.contains(&"...") {
            continue;
        }
        lines[kept..place.start].iter().for_each(|line| anew += &format!("{line}\n"));
        output.iter().for_each(|line| anew += &format!("{}\n", format!("{indent}{line}").trim_end()));
        kept = place.end;
    }
    lines[kept..].iter().for_each(|line| anew += &format!("{line}\n"));
    if std::env::var_os("UPDATE_DOCS").is_some() && !wrong.is_empty() {
        fs::write(path, anew).unwrap();
        return Vec::new();
    }
    wrong
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// What the commands of pages print that depend on nothing else, side by side.
fn known(pages: &[PathBuf]) -> Known {
    let texts: Vec<String> = pages.iter().map(|page| fs::read_to_string(page).unwrap()).collect();
    let commands = texts.iter().flat_map(|text| shown(&text.lines().collect::<Vec<_>>())).map(|shown| shown.command);
    let commands: BTreeSet<String> = commands.filter(|command| is_here(command) && is_known(command)).collect();
    let folder = TempDir::new().unwrap();
    let (waiting, done) = (Mutex::new(commands.into_iter()), Mutex::new(Known::new()));
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let Some(command) = waiting.lock().unwrap().next() else { return };
                    let output = printed(&command, folder.path());
                    done.lock().unwrap().insert(command, output);
                }
            });
        }
    });
    done.into_inner().unwrap()
}

#[test]
fn what_pages_show_is_what_is_printed() {
    let pages = fs::read_dir(root().join("docs")).unwrap().map(|page| page.unwrap().path());
    let pages = pages.filter(|page| page.extension().is_some_and(|extension| extension == "md"));
    let pages: Vec<PathBuf> = std::iter::once(root().join("README.md")).chain(pages).collect();
    let known = known(&pages);
    let wrong: String = pages.iter().flat_map(|page| differences(page, &known)).collect();
    assert!(wrong.is_empty(), "{wrong}");
}
