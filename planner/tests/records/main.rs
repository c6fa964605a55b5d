//! Every recorded case is a test of its own: the plan has PyTorch's events, each phase's figures and both peaks.
//!
//! ```text
//! cargo test --test records                          all cases of all releases
//! cargo test --test records 2.15/truth               a set of a release
//! cargo test --test records 2.11/text/t5-small-infer one case
//! MEMPLAN_RECORDS=new.jsonl MEMPLAN_SPECS=specs cargo test --test records given
//! ```
//!
//! The last one looks at records of a file, by specs of a folder, before they become a set. The emulated device on which they were recorded reads zeros on every copy to the host, so that a program decides
//! otherwise there: about packed sequences without a cache, about rotary frequencies. The plans do the same.

mod case;
mod sets;
#[path = "../support/mod.rs"]
mod support;
mod tables;

use std::path::Path;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial, run};

use case::Case;
use sets::{SETS, Set};
use support::{lines_of, text_of};

fn main() -> ExitCode {
    // The cases live as long as the tests that share them: each is planned once, for its own test and for a table.
    let given = std::env::var_os("MEMPLAN_RECORDS").map(|file| given(Path::new(&file)));
    let cases = given.unwrap_or_else(|| SETS.iter().flat_map(Set::cases).collect());
    let cases: &'static [Case] = cases.leak();
    let mut trials: Vec<Trial> =
        cases.iter().map(|case| Trial::test(case.path(), move || case.check().map_err(Failed::from))).collect();
    trials.extend(SETS.iter().map(|set| {
        let count = cases.iter().filter(|case| std::ptr::eq(case.set, set)).count();
        let message = move || format!("{count} cases, {} were recorded", set.count);
        let check = move || if count == set.count { Ok(()) } else { Err(Failed::from(message())) };
        Trial::test(format!("{} is whole", set.path()), check)
    }));
    let docs = |page: &'static str, name: &'static str, table: fn(&[Case]) -> String| {
        let check = move || {
            support::docs_have(page, name, &table(cases));
            Ok(())
        };
        Trial::test(format!("docs/{page} has the table of {name}"), check)
    };
    trials.push(docs("accuracy.md", "accuracy", tables::accuracy));
    trials.push(docs("exports.md", "exports", tables::exports));
    run(&Arguments::from_args(), trials).exit_code()
}

/// The cases of a file that is no set yet.
fn given(file: &Path) -> Vec<Case> {
    static GIVEN: Set = Set { release: "given", name: "records", count: 0, known: &[] };
    lines_of(&text_of(file)).map(|line| Case::new(&GIVEN, line)).collect()
}
