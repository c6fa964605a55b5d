//! The names nearest to a misspelled one.

/// The three names nearest to `wanted`, nearest first; a name that begins with it is nearer than any misspelling.
pub fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted: String = wanted.chars().take(LONGEST).collect::<String>().to_ascii_lowercase();
    let distance = |name: &str| if name.starts_with(&wanted) { 0 } else { edits(name.as_bytes(), wanted.as_bytes()) };
    let mut ranked: Vec<(usize, &str)> = names.map(|name| (distance(name), name)).collect();
    ranked.sort();
    ranked.into_iter().take(3).map(|(_, name)| name).collect()
}

/// What is longer is no misspelled name, and need not be compared in full.
const LONGEST: usize = 100;

/// The fewest insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
pub fn edits(a: &[u8], b: &[u8]) -> usize {
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()]; // rows[i][j]: of a[..i] to b[..j]
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut fewest = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                fewest = fewest.min(rows[i - 2][j - 2] + 1);
            }
            row.push(fewest);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginnings_come_before_misspellings() {
        let names = ["bert-base", "gpt2", "gpt2-xl", "llama-2-7b"];
        assert_eq!(nearest("gtp2", names.into_iter())[0], "gpt2");
        assert_eq!(nearest("bert", names.into_iter())[0], "bert-base");
        assert_eq!(nearest("", names.into_iter()).len(), 3);
        assert_eq!(nearest(&"x".repeat(1_000_000), names.into_iter()).len(), 3);
    }
}
