//! Plans of each release against what that release recorded: `tests/truth/torch-*/SET.jsonl.gz`, made by
//! `tests/truth/record_release.py`. The records say themselves which releases they were made with.

mod support;

use support::plans::{release_differences, report};

/// All records of a set are planned as they were recorded, event by event, but for those named.
fn all_are_the_same(release: &str, set: &str, at_least: usize, known: &[&str]) {
    let (count, wrong) = release_differences(release, set);
    assert!(count >= at_least, "{release}/{set}: only {count} records");
    let unexpected: Vec<&(String, String)> = wrong.iter().filter(|(id, _)| !known.contains(&id.as_str())).collect();
    assert!(unexpected.is_empty(), "{release}/{set}: {} of {count} differ:\n{}", unexpected.len(), report(&unexpected));
    let gone: Vec<&&str> = known.iter().filter(|id| !wrong.iter().any(|(wrong, _)| wrong == *id)).collect();
    assert!(gone.is_empty(), "{release}/{set}: {gone:?} are the same now: take them off the list");
}

#[test]
fn torch_2_9() {
    for (r, sets) in [("2.9", "truth"), ("2.10", "truth"), ("2.12", "truth"), ("2.13", "truth"), ("2.14", "truth"), ("2.15", "truth unseen text caches experts optimizers adapters combinations selective parallel vision")] { for set in sets.split(" ") { let (n, w) = release_differences(&format!("torch-{r}"), set); for (id, t) in &w { println!("DIFF {r} {set} {id}: {t}\n"); } println!("SET {r} {set}: {} of {n} differ", w.len()); } }
    all_are_the_same("torch-2.9", "truth", 64, &[]);
}
