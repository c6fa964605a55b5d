//! The command line itself: help, where to begin, mistakes, a reader that goes away.

use std::io::Read;
use std::process::Stdio;

use crate::support::{Folder, assert_snapshot, call, memplan, report};

#[test]
fn help_has_examples() {
    assert_snapshot("help", &report(&["--help"]));
    let plan = report(&["plan", "--help"]);
    let (options, examples) = plan.split_once("\nExamples:").unwrap();
    let lines: Vec<&str> = options.lines().filter(|line| !line.is_empty()).collect();
    for (number, part) in lines.chunks(55).enumerate() {
        assert_snapshot(&format!("help_plan_{number}"), &part.join("\n"));
    }
    assert_snapshot("help_plan_examples", examples);
    assert_snapshot("help_plan_short", &report(&["plan", "-h"]));
    let fit = report(&["fit", "--help"]);
    let (about, options) = fit.split_once("\nRun:").unwrap();
    let gpu = options.lines().skip_while(|line| !line.trim_start().starts_with("--gpu")).take(2).collect::<Vec<_>>();
    let (_, rule) = options.split_once("The largest batch").unwrap();
    assert_snapshot("help_fit", &format!("{about}\n{}\n\nThe largest batch{rule}", gpu.join("\n")));
    let pack = report(&["pack", "--help"]);
    let (about, options) = pack.split_once("\nRun:").unwrap();
    let (_, packing) = options.split_once("\nPacking:").unwrap();
    let packing: Vec<&str> = packing.lines().filter(|line| !line.is_empty()).collect();
    let packing = packing.join("\n");
    assert_snapshot("help_pack", &format!("{about}\n...\nPacking:{packing}").replace("\n\n", "\n"));
    for command in ["inspect", "gpus", "models"] {
        assert_snapshot(&format!("help_{command}"), &report(&[command, "--help"]));
    }
}

#[test]
fn alone_it_says_where_to_begin() {
    let output = memplan(&[]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_snapshot("begin", &String::from_utf8(output.stdout).unwrap());
    assert!(String::from_utf8(call(&["--version"]).stdout).unwrap().starts_with("memplan 0."));
}

#[test]
fn mistakes_on_the_command_line() {
    let folder = Folder::new();
    let errors = [
        folder.error("no such command", &["plna"]),
        folder.error("no such option", &["plan", "gpt2", "--bacth", "4"]),
        folder.error("a negative number", &["plan", "gpt2", "--batch", "-1"]),
        folder.error("no number", &["plan", "gpt2", "--seq", "many"]),
        folder.error("beyond 64 bits", &["plan", "gpt2", "--seq", "99999999999999999999"]),
        folder.error("an unknown mode", &["plan", "gpt2", "--mode", "sleep"]),
        folder.error("an unknown precision", &["plan", "gpt2", "--precision", "int3"]),
        folder.error("an unknown optimizer", &["plan", "gpt2", "--optimizer", "sgdx"]),
        folder.error("an unknown kernel", &["plan", "gpt2", "--sdpa", "fast"]),
        folder.error("an unknown format", &["plan", "gpt2", "--format", "xml"]),
        folder.error("a size without sense", &["plan", "gpt2", "--capacity", "20 apples"]),
        folder.error("no value", &["plan", "gpt2", "--gpu"]),
        folder.error("no model", &["plan"]),
        folder.error("no path", &["inspect"]),
        folder.error("an unknown model", &["plan", "gtp2"]),
        folder.error("an unknown GPU", &["plan", "gpt2", "--gpu", "rtx5099"]),
        folder.error("a GPU of another maker", &["plan", "gpt2", "--gpu", "mi300x"]),
    ];
    assert_snapshot("errors_usage", &errors.concat());
}

#[test]
fn mistakes_in_allocator_options() {
    let folder = Folder::new();
    let plan = |what: &str, options: &str| folder.error(what, &["plan", "gpt2", "--allocator", options]);
    let errors = [
        plan("an unknown key", "expandable_segment:True"),
        plan("no value", "expandable_segments"),
        plan("a wrong value", "expandable_segments:yes"),
        plan("below the least", "max_split_size_mb:1"),
        plan("an open list", "roundup_power2_divisions:[256:1"),
        plan("another allocator", "backend:cudaMallocAsync"),
    ];
    assert_snapshot("errors_allocator", &errors.concat());
}

#[test]
fn sizes_that_cannot_be() {
    let folder = Folder::new();
    let plan = |what: &str, arguments: &[&str]| folder.error(what, &[&["plan"], arguments].concat());
    let most = "18446744073709551615";
    let errors = [
        plan("batch 0", &["gpt2", "--batch", "0"]),
        plan("seq 0", &["gpt2", "--seq", "0"]),
        plan("new-tokens 0", &["gpt2", "--mode", "generate", "--new-tokens", "0"]),
        plan("steps 0", &["gpt2", "--steps", "0"]),
        plan("the largest numbers", &["gpt2", "--batch", most, "--seq", most]),
        plan("a product beyond any memory", &["gpt2", "--batch", "4294967295", "--seq", "1000"]),
        plan("a product beyond 64 bits", &["llama-3.2-1b", "--batch", "4294967295", "--seq", "4294967295"]),
        plan("attention beyond 64 bits", &["llama-3.2-1b", "--seq", "2147483648", "--attention", "eager"]),
        plan("beyond the positions", &["gpt2", "--seq", "2048"]),
        plan("generated beyond the positions", &["gpt2", "--mode", "generate", "--seq", "1020", "--steps", "1"]),
        plan("no generation", &["bert-base", "--mode", "generate"]),
        plan("too many steps", &["gpt2", "--steps", "1000000"]),
    ];
    assert_snapshot("errors_sizes", &errors.concat());
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut child =
        memplan(&["gpus", "--format", "json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 10]).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}

#[test]
fn colour_is_for_terminals() {
    let plain = memplan(&["plan", "gpt2", "--mode", "infer"]).env_remove("NO_COLOR").output().unwrap();
    assert!(!plain.stdout.contains(&0x1b));
    let forced = memplan(&["plan", "gpt2", "--mode", "infer"])
        .env_remove("NO_COLOR")
        .env("CLICOLOR_FORCE", "1")
        .output()
        .unwrap();
    assert!(forced.stdout.contains(&0x1b));
}
