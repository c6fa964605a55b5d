//! What `memplan import` writes: its table names what specs can call.

use planner::dtype::Dtype;
use planner::graph::callable_names;

#[test]
fn the_table_names_what_specs_can_call() {
    let names = import::Names::table().expect("a sound table");
    let known = callable_names().expect("a sound library");
    let bases = names.bases.values().flat_map(|base| base.methods.values());
    let is_word =
        |text: &&String| text.chars().all(|c| c.is_alphanumeric() || c == '_') && !text.starts_with(char::is_numeric);
    let is_value =
        |text: &str| ["None", "True", "False", "weights_dtype"].contains(&text) || Dtype::named(text).is_some();
    let unknown: Vec<&String> = names
        .means
        .values()
        .chain(bases)
        .filter(is_word)
        .filter(|name| !known.contains(*name) && !is_value(name))
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}
