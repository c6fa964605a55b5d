//! Messages that list names: of many the nearest are kept.

use super::nearest::nearest;

/// The most names that a message lists in full.
const MOST: usize = 6;

/// A message of serde's that lists the names which it expected in place of another one. Of more than six the nearest three stay, and
/// `lists` says where the others can be seen.
pub fn nearest_of_many(message: &str, lists: &str) -> String {
    let Some((found, expected)) = message.rsplit_once("`, expected one of ") else { return message.to_owned() };
    let names: Vec<&str> = expected.split(", ").map(|name| name.trim_matches('`')).collect();
    let Some((_, wanted)) = found.rsplit_once('`').filter(|_| names.len() > MOST) else { return message.to_owned() };
    format!("{found}`; {}", nearest_few(wanted, &names, lists))
}

/// The names nearest to a misspelled one, and where all are listed.
pub fn nearest_few(wanted: &str, names: &[impl AsRef<str>], lists: &str) -> String {
    let near: Vec<String> =
        nearest(wanted, names.iter().map(AsRef::as_ref)).iter().map(|name| format!("`{name}`")).collect();
    format!("the nearest are {}; {lists}", near.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_become_the_nearest_names() {
        let list = |count: usize| (0..count).map(|n| format!("`key{n}`")).collect::<Vec<_>>().join(", ");
        let message = |count| format!("a: unknown field `key33`, expected one of {}", list(count));
        assert_eq!(nearest_of_many(&message(6), "x"), message(6));
        assert_eq!(
            nearest_of_many(&message(40), "the help lists all"),
            "a: unknown field `key33`; the nearest are `key33`, `key13`, `key23`; the help lists all"
        );
        assert_eq!(nearest_of_many("not a list", "x"), "not a list");
    }
}
