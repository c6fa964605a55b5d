//! Mutated headers and random bytes: nothing panics, what is accepted is whole, and the safetensors crate agrees.

use planner::read::{checkpoint, config, header, inspect};
use proptest::prelude::*;
use safetensors::SafeTensors;

/// Asserts that a header is what `header` promises, and gives back its length on disk.
fn assert_whole(header: &header::Header, text: usize, length: usize) {
    let mut end = 0;
    for tensor in &header.tensors {
        assert_eq!(tensor.data.start, end);
        let bits = tensor.shape.iter().map(|d| u128::from(*d)).product::<u128>() * tensor.dtype.bitsize() as u128;
        assert_eq!(u128::from(tensor.data.end - tensor.data.start) * 8, bits);
        end = tensor.data.end;
    }
    let mut names: Vec<_> = header.tensors.iter().map(|tensor| &tensor.name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), header.tensors.len());
    assert_eq!((end, end), (header.data.0, (length - 8 - text) as u64));
}

/// Reads a file's bytes here and with the crate, which keeps the last of two tensors of the same name.
fn read(file: &[u8]) -> bool {
    let ours = header::from_reader(file, file.len() as u64);
    let theirs = SafeTensors::read_metadata(file);
    match (&ours, &theirs) {
        (Ok(header), Ok((text, metadata))) => {
            assert_whole(header, *text, file.len());
            let names: Vec<_> = header.tensors.iter().map(|tensor| tensor.name.clone()).collect();
            let mut expected = metadata.offset_keys();
            expected.sort_by_key(|name| metadata.info(name).unwrap().data_offsets);
            assert_eq!(metadata.data_len() as u64, header.data.0);
            assert_eq!(names.len(), expected.len());
            for tensor in &header.tensors {
                let info = metadata.info(&tensor.name).unwrap();
                assert_eq!(info.dtype, tensor.dtype);
                assert!(info.shape.iter().map(|d| *d as u64).eq(tensor.shape.iter().copied()));
            }
        }
        (Err(header::HeaderFault::Duplicate { .. }), _) | (Err(_), Err(_)) => {}
        _ => panic!("ours: {ours:?}, the crate's: {theirs:?}"),
    }
    ours.is_ok()
}

const DTYPES: [(&str, u64); 8] = [
    ("F32", 32),
    ("BF16", 16),
    ("F8_E4M3", 8),
    ("F4", 4),
    ("F6_E2M3", 6),
    ("I64", 64),
    ("BOOL", 8),
    ("F8_E5M2FNUZ", 8),
];

/// A valid file, or nearly: tensors of less than a byte may end inside one.
fn file() -> impl Strategy<Value = Vec<u8>> {
    let tensor = (0..DTYPES.len(), prop::collection::vec(0u64..5, 0..4));
    (prop::collection::vec(tensor, 0..6), any::<bool>(), 0usize..9).prop_map(|(tensors, reverse, padding)| {
        let (mut entries, mut end) = (vec![r#""__metadata__":{"format":"pt"}"#.to_string()], 0);
        for (i, (dtype, shape)) in tensors.into_iter().enumerate() {
            let (name, bits) = DTYPES[dtype];
            let start = end;
            end += (shape.iter().product::<u64>() * bits).div_ceil(8);
            entries.push(format!(
                r#""layer.{i}.w":{{"dtype":"{name}","shape":{shape:?},"data_offsets":[{start},{end}]}}"#
            ));
        }
        if reverse {
            entries.reverse();
        }
        let text = format!("{{{}}}{}", entries.join(","), " ".repeat(padding));
        [&(text.len() as u64).to_le_bytes()[..], text.as_bytes(), &vec![0; end as usize][..]].concat()
    })
}

/// One change of a file.
#[derive(Clone, Debug)]
enum Change {
    Byte(prop::sample::Index, u8),
    Digit(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Grow(u8),
    Insert(prop::sample::Index, &'static str),
    Repeat(prop::sample::Index, prop::sample::Index),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<prop::sample::Index>;
    let pieces = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "-",
        "1e9",
        "null",
        "99999999999999999999",
        "\\u0000",
        "\u{1b}",
        "[[[[",
        "F4",
    ];
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        (at(), b'0'..=b'9').prop_map(|(at, digit)| Change::Digit(at, digit)),
        at().prop_map(Change::Cut),
        any::<u8>().prop_map(Change::Grow),
        (at(), prop::sample::select(pieces.to_vec())).prop_map(|(at, piece)| Change::Insert(at, piece)),
        (at(), at()).prop_map(|(from, to)| Change::Repeat(from, to)),
    ]
}

fn apply(file: &mut Vec<u8>, change: &Change) {
    if file.len() < 9 {
        return;
    }
    let digits: Vec<usize> = (8..file.len()).filter(|at| file[*at].is_ascii_digit()).collect();
    let (mut start, mut added) = (0, Vec::new());
    match change {
        Change::Byte(at, byte) => *at.get_mut(file) = *byte,
        Change::Digit(at, digit) if !digits.is_empty() => file[*at.get(&digits)] = *digit,
        Change::Digit(..) => {}
        Change::Cut(at) => file.truncate(at.index(file.len())),
        Change::Grow(by) => file.resize(file.len() + usize::from(*by), 0),
        Change::Insert(at, piece) => (start, added) = (8 + at.index(file.len() - 8), piece.as_bytes().to_vec()),
        Change::Repeat(from, to) => {
            let (from, to) = (8 + from.index(file.len() - 8), 8 + to.index(file.len() - 8));
            (start, added) = (to.max(from), file[from.min(to)..from.max(to)].to_vec());
        }
    }
    if let Some(prefix) = file.first_chunk::<8>().filter(|_| !added.is_empty()) {
        let text = u64::from_le_bytes(*prefix).saturating_add(added.len() as u64);
        file[..8].copy_from_slice(&text.to_le_bytes());
        file.splice(start..start, added);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn valid_files_are_accepted_as_the_crate_does(file in file()) {
        read(&file);
    }

    #[test]
    fn mutated_files(mut file in file(), changes in prop::collection::vec(change(), 1..4)) {
        changes.iter().for_each(|change| apply(&mut file, change));
        read(&file);
    }

    #[test]
    fn random_bytes_behind_a_true_length(text in prop::collection::vec(any::<u8>(), 0..200)) {
        read(&[&(text.len() as u64).to_le_bytes()[..], &text].concat());
    }

    #[test]
    fn random_bytes(file in prop::collection::vec(any::<u8>(), 0..64)) {
        read(&file);
        let _ = config::parse(std::path::Path::new("config.json"), &file);
    }

    #[test]
    fn configurations_of_random_pieces(pieces in prop::collection::vec(prop::sample::select(
        vec!["{", "}", "[", "]", "\"", "\\", ":", ",", "NaN", "-Infinity", "Infinity", "a", "1", "\u{e9}"]), 0..20)) {
        let _ = config::parse(std::path::Path::new("config.json"), pieces.concat().as_bytes());
    }
}

#[test]
fn mutations_reach_both_verdicts() {
    let header = r#"{"a":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}}"#;
    let file = |header: &str| [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), b"x"].concat();
    assert!(read(&file(header)));
    assert!(!read(&file(&header.replace("[2]", "[3]"))));
}

#[test]
fn a_name_that_is_all_dots() {
    let folder = super::support::Folder::new();
    let deep = ".".repeat(1_000_000);
    let read = checkpoint::read(&folder.vectors("m.safetensors", &[&deep, "a", "a.b"])).unwrap();
    let inspection = inspect::inspect(&read);
    assert_eq!((inspection.total.tensors, inspection.total.bytes.0), (3, 24));
    assert!(inspect::text(&inspection, 60).lines().count() <= 60);
}
