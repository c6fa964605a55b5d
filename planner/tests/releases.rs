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

#[test]
fn order() {
    use planner::schedule::Event as E;
    use support::{Event, Trace, TruthCase};
    for value in support::lines("tests/truth/torch-2.12/truth.jsonl.gz") {
        let record: TruthCase = serde_json::from_value(value).unwrap();
        let trace = Trace::of(&record.id, &serde_json::json!({ "events": &record.events }));
        let plan = support::plans::planned(&record);
        let groups = |events: Vec<Option<usize>>| { let mut g = vec![vec![]]; for e in events { match e { None => g.push(vec![]), Some(n) => g.last_mut().unwrap().push(n) } } g };
        let ours = groups(plan.stream.events.iter().filter_map(|e| match e { E::Allocate(_) => Some(None), E::Free(id) => Some(Some(id.index())), _ => None }).collect());
        let theirs = groups(trace.events.iter().filter_map(|e| match e { Event::Allocate { .. } => Some(None), Event::Free(n) => Some(Some(*n)), _ => None }).collect());
        let mut n = 0; let mut total = 0;
        let mut kinds = std::collections::BTreeMap::new();
        for (at, (a, b)) in ours.iter().zip(&theirs).enumerate() {
            if a != b {
                total += 1;
                let name = |n: &usize| -> String { if true { return format!("#{n}{}", plan.stream.allocations[*n].op.chars().take(12).collect::<String>()); } let x = &plan.stream.allocations[*n]; format!("#{n} {}{} {} {:?}", x.op, x.node.map_or(String::new(), |n| format!("<{n}")), x.bytes.0, x.category) };
                let before = at.checked_sub(1).map_or(String::new(), |k| name(&k));
                let key: String = format!("{} | {} | {}", before.split(' ').nth(1).unwrap_or(""), a.iter().map(|n| name(n).split(' ').nth(1).unwrap_or("").to_owned()).collect::<Vec<_>>().join(","), b.iter().map(|n| name(n).split(' ').nth(1).unwrap_or("").to_owned()).collect::<Vec<_>>().join(","));
                *kinds.entry(key).or_insert(0) += 1;
                if n < 12 && a.len() < 14 && ["gpt2-train-checkpoint-all","llama-3.1-8b-train-checkpoint-all"].contains(&record.id.as_str()) { println!("ORDER {} after {before}:\n   ours   {:?}\n   theirs {:?}", record.id, a.iter().map(name).collect::<Vec<_>>(), b.iter().map(name).collect::<Vec<_>>()); n += 1; }
            }
        }
        println!("TOTAL {} {total} of {}", record.id, ours.len());
        if ["gpt2-train-checkpoint-all","gpt2-train-checkpoint-some","llama-3.1-8b-train-checkpoint-all","gpt2-train-fp32-b16"].contains(&record.id.as_str()) { let mut k: Vec<_> = kinds.into_iter().collect(); k.sort_by_key(|x| -x.1); for (k, n) in k.iter().take(14) { println!("KIND {} {n} {}", record.id, k.chars().take(420).collect::<String>()); } }
    }
}
