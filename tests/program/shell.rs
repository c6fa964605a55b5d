//! Completions, the manual, and examples in every command's help.

use std::fs;

use crate::support::{Folder, assert_snapshot, call, report};

fn text(arguments: &[&str]) -> String {
    String::from_utf8(call(arguments).stdout).unwrap()
}

/// The commands that `memplan --help` lists.
fn commands() -> Vec<String> {
    let help = text(&["--help"]);
    let (_, list) = help.split_once("\nCommands:\n").unwrap();
    let lines = list.lines().take_while(|line| !line.is_empty());
    let lines = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    // `help` shows the others' help
    lines.map(|line| line.split_whitespace().next().unwrap().to_owned()).filter(|word| word != "help").collect()
}

#[test]
fn every_commands_help_has_an_example() {
    let commands = commands();
    assert!(commands.len() >= 13, "{commands:?}");
    for command in commands {
        let help = text(&[&command, "--help"]);
        assert!(help.contains("Examples:\n  memplan"), "{command}");
        assert!(help.contains(&format!("\n  memplan {command}")), "{command}");
    }
}

#[test]
fn completions_know_every_command() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = text(&["completions", shell]);
        for word in commands().iter().map(String::as_str).chain(["tolerance", "checkpoint-save"]) {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
}

#[test]
fn the_manual_has_a_page_for_every_command() {
    let folder = Folder::new();
    assert_eq!(text(&["man", "-o", &folder.argument("man1")]), "");
    for command in commands() {
        let page = fs::read_to_string(folder.join(&format!("man1/memplan-{command}.1"))).unwrap();
        assert!(page.contains(".SH SYNOPSIS") && page.contains("Examples:"), "{command}");
        assert_eq!(text(&["man", &command]), page, "{command}");
    }
    assert_eq!(text(&["man"]), fs::read_to_string(folder.join("man1/memplan.1")).unwrap());
    assert_snapshot(
        "errors_shell",
        &[folder.error("no such page", &["man", "plna"]), folder.error("no such shell", &["completions", "dos"])]
            .concat(),
    );
}

#[test]
fn help_of_snapshots_and_reports() {
    for command in ["check", "completions", "man"] {
        assert_snapshot(&format!("help_{command}"), &report(&[command, "--help"]));
    }
}
