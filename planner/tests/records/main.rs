//! Every recorded case is a test of its own: the plan has PyTorch's events, each phase's figures and both peaks.
//!
//! ```text
//! cargo test --test records                          all cases of all releases
//! cargo test --test records 2.15/truth               a set of a release
//! cargo test --test records 2.11/text/t5-small-infer one case
//! ```
//!
//! The emulated device on which they were recorded reads zeros on every copy to the host, so that a program decides
//! otherwise there: about packed sequences without a cache, about rotary frequencies. The plans do the same.

mod case;
mod sets;
#[path = "../support/mod.rs"]
mod support;
mod tables;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial, run};

use case::Case;
use sets::{SETS, Set};

fn main() -> ExitCode {
    // The cases live as long as the tests that share them: each is planned once, for its own test and for a table.
    let cases: &'static [Case] = SETS.iter().flat_map(Set::cases).collect::<Vec<_>>().leak();
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
