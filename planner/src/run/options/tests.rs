use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;

use super::*;
use crate::read::run_file::parse;

/// A run file that says every option but those of `ALONE`.
const ALL: &str = include_str!("all.yaml");

/// Options that do not go with those of `ALL`, each a run file, or are not kept: `env`.
const ALONE: [(&str, &str); 3] = [
    ("fsdp", "fsdp: 8,reshard=false,param_dtype=bf16,reduce_dtype=fp32,offload"),
    ("parallel", "parallel: {fsdp: 4}"),
    ("env", "env: uv.lock"),
];

fn read(text: &str) -> RunOptions {
    parse(Path::new("run.yaml"), text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// What is read of what is written.
fn again(options: &RunOptions) -> RunOptions {
    read(&serde_yaml::to_string(&options.entries()).expect("YAML"))
}

/// The names of options that say something.
fn said(options: &RunOptions) -> BTreeSet<&'static str> {
    OPTIONS.iter().filter(|option| (option.entry)(options).is_some()).map(|option| option.name).collect()
}

#[test]
fn every_option_is_read_and_written_and_read_again() {
    let options = read(ALL);
    assert_eq!(again(&options), options);
    let all: BTreeSet<&str> = OPTIONS.iter().map(|option| option.name).collect();
    let alone = ALONE.iter().flat_map(|(_, text)| said(&read(text)));
    assert_eq!(said(&options).into_iter().chain(alone).collect::<BTreeSet<_>>(), all);
    for text in [ALONE[0].1, ALONE[1].1, "parallel: {ddp: 4}", "checkpoint: full", "checkpoint: none", "sdpa: auto", ""]
    {
        assert_eq!(again(&read(text)), read(text), "{text}");
    }
}

#[test]
fn an_option_is_said_in_either_spelling() {
    for option in OPTIONS {
        let Some(value) = (option.entry)(&read(ALL)) else { continue };
        let file =
            |key: &str| read(&serde_yaml::to_string(&Map::from_iter([(key.to_owned(), value.clone())])).expect("YAML"));
        assert_eq!(said(&file(option.key)), BTreeSet::from([option.name]));
        assert_eq!(file(option.name), file(option.key));
    }
}

#[test]
fn every_key_is_a_flag() {
    let unlike: Vec<_> = OPTIONS.iter().map(|option| (option.key, option.flag.as_ref().map(Flag::name))).collect();
    let unlike: Vec<_> = unlike.into_iter().filter(|(key, flag)| *flag != Some(key)).collect();
    assert_eq!(unlike, [("parallel", None), ("variables", Some("variable"))]);
    for flag in OPTIONS.iter().filter_map(|option| option.flag.as_ref()) {
        assert!(["Run", "Training", "Cache", "GPU", "Versions", "Host", "Options"].contains(&flag.heading));
        assert!(flag.rival.is_none_or(|rival| OPTIONS.iter().any(|option| option.key == rival)));
    }
}

/// The flags that lead from the default to a run, given again, lead to it.
#[test]
fn flags_lead_to_the_run() {
    for text in [ALL, ALONE[0].1, ALONE[2].1] {
        let run = read(text).run();
        let mut options = RunOptions::default();
        for (flag, value) in run.flags_from(&Run::default()).0 {
            let named = |option: &&RunOption| option.flag.as_ref().is_some_and(|known| known.name() == flag);
            let option = OPTIONS.iter().find(named).expect("a flag");
            let value = if value.is_empty() { "true" } else { &value };
            (option.parse)(OsStr::new(value)).expect("a value")(&mut options);
        }
        assert_eq!(options.run(), run, "{text}");
    }
}

#[test]
fn the_command_line_wins_over_the_file() {
    let flags = read("batch: 8\nfsdp: 4\nvariables: CUBLASLT_WORKSPACE_SIZE=1");
    let merged = flags.clone().or(read(ALL));
    for option in OPTIONS.iter().filter(|option| !["variables", "ddp"].contains(&option.name)) {
        let expected = (option.entry)(&flags).or((option.entry)(&read(ALL)));
        assert_eq!((option.entry)(&merged), expected, "{}", option.key);
    }
    assert_eq!((merged.ddp, merged.variables.map(|variables| variables.iter().count())), (None, Some(2)));
    assert_eq!(read(ALL).or(RunOptions::default()), read(ALL));
    assert_eq!(RunOptions::default().or(read(ALL)), read(ALL));
}

#[test]
fn the_help_says_defaults() {
    let help = |key: &str| OPTIONS.iter().find(|option| option.key == key).expect("an option").help();
    assert_eq!(
        help("zero-grad"),
        "When gradients go: after-step, before-forward or before-backward [default: after-step]"
    );
    assert!(help("new-tokens").ends_with(" [default: 8]"));
    assert!(!help("keep-losses").contains("default") && !help("reentrant").contains("default"));
}

/// Words of a choice are completed, and each is read.
#[test]
fn shells_complete_words_that_are_read() {
    let mut choices = 0;
    for option in OPTIONS {
        let Completion::Words(words) = (option.completion)() else { continue };
        choices += 1;
        for word in words {
            assert!((option.parse)(OsStr::new(word)).is_ok(), "{} {word}", option.key);
        }
    }
    assert_eq!(choices, 9);
}
