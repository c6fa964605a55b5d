//! A team's own test: the memory of a run stays as it was reviewed. insta keeps the plan as a snapshot, and shows what changed.
//!
//! ```text
//! cargo test --example keep_a_plan       compares
//! cargo insta review                     accepts, or not
//! cargo run --example keep_a_plan        prints what is kept
//! ```

use std::io::Write;

use planner::snapshot::of_run;

/// The run that has to fit on the cards that we have; its keys are those of `memplan plan --run FILE`.
const SERVING: &str = "
model: llama-3.2-1b
mode: generate
batch: 4
seq: 1000
new-tokens: 8
steps: 1
gpu: rtx4090
";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    write!(std::io::stdout(), "{}", of_run(SERVING)?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::SERVING;

    /// Versions may change while the memory stays: they are left out of what is compared.
    const VERSIONS: [(&str, &str); 2] =
        [(r"\nmemplan: .*", "\nmemplan: VERSION"), (r"\n  digest: .*", "\n  digest: DIGEST")];

    #[test]
    fn serving_takes_what_it_did() {
        insta::with_settings!({filters => VERSIONS}, {
            planner::assert_plan!(SERVING);
        });
    }
}
