//! Every operator is asked for all that its row says, and the tables that are built from rows for what they rest on.

use std::collections::BTreeSet;

use super::aten::{COMPOSED, Line, SAME, overloads};
use super::{Autocast, Class, Multiplied, Operator, Row, TABLE, all, matrix_products, named, savable};

/// The functions that put rows together.
const FUNCTIONS: &str = include_str!("../../../specs/library/aten.yaml");

fn rows() -> impl Iterator<Item = &'static Row> {
    TABLE.iter().copied().flatten()
}

fn operator(row: &Row) -> &'static Operator {
    named(row.name).expect("a row is an operator")
}

#[test]
fn each_name_is_one_row_with_a_source() {
    assert_eq!(rows().count(), all().len(), "two rows have one name");
    for row in rows() {
        assert!(!row.source.is_empty(), "{} names no source", row.name);
        let names: BTreeSet<_> = operator(row).parameters.iter().map(|parameter| parameter.name).collect();
        assert_eq!(names.len(), operator(row).parameters.len(), "{} takes two of one name", row.name);
    }
}

#[test]
fn a_class_fits_its_row() {
    for row in rows() {
        let parameters = operator(row).parameters.len();
        match row.class {
            Class::Product { left, right, of } => {
                assert!(left < parameters && right.is_none_or(|right| right < parameters), "{}", row.name);
                assert!(of != Multiplied::Images || right.is_some(), "{} sums over a weight", row.name);
            }
            Class::InPlace => assert!(row.name.ends_with('_'), "{} is no name of what works in place", row.name),
            Class::Attention => assert!(parameters >= 3, "{} takes queries, keys and values", row.name),
            Class::Moves | Class::Picks | Class::Elements | Class::Nothing => {
                let of_loop = row.class == Class::Nothing;
                assert!(of_loop || !row.name.ends_with('_'), "{} works in place", row.name);
            }
        }
    }
}

#[test]
fn autocast_lowers_what_multiplies_and_finds_the_type_of_a_result() {
    for row in rows() {
        if row.autocast == Autocast::FullResult {
            assert!(operator(row).place("dtype").is_some(), "{} takes no type for its result", row.name);
        }
        if row.class.multiplies() && !row.aten.is_empty() {
            assert_eq!(row.autocast, Autocast::Lower, "{}", row.name);
        }
    }
}

#[test]
fn each_savable_operator_is_declared_once() {
    let names: BTreeSet<_> = savable().iter().map(|savable| savable.name).collect();
    assert_eq!(names.len(), savable().len(), "an operator of ATen is declared twice");
    assert_eq!(rows().map(|row| row.savable.len()).sum::<usize>(), names.len());
    for row in rows() {
        for full in row.savable {
            let parts: Vec<&str> = full.split('.').collect();
            assert!(parts.len() == 2 && !parts.contains(&""), "{full} is no operator with its overload");
            // where an export may call it, it is this row, or a function around it
            let known = overloads().iter().find(|overload| overload.name == *full);
            let is_of_row = |callee: &str| callee == row.name || callee.ends_with(row.name) || named(callee).is_none();
            assert!(known.is_none_or(|overload| is_of_row(overload.callee)), "{full} is not {}", row.name);
        }
    }
}

/// Those of selective checkpointing are what replays multiply, with attention and products of groups beside.
#[test]
fn products_are_the_same_everywhere() {
    assert_eq!(matrix_products(), ["addmm", "baddbmm", "bmm", "mm"]);
    for savable in savable().iter().filter(|savable| savable.class.multiplies()) {
        let is_matrix = matrix_products().contains(&savable.name);
        let other = matches!(savable.class, Class::Attention | Class::Product { of: Multiplied::Groups, .. });
        assert!(is_matrix != other, "{}", savable.name);
    }
}

#[test]
fn each_line_of_aten_fits_what_it_calls() {
    for row in rows() {
        let parameters = &operator(row).parameters;
        let needed = parameters.iter().filter(|parameter| parameter.default.is_none()).count();
        row.aten.iter().for_each(|line| fits(line, needed, parameters.len()));
    }
    for (function, lines) in COMPOSED {
        let (needed, all) = if *function == SAME { (1, 1) } else { arguments_of(function) };
        lines.iter().for_each(|line| fits(line, needed, all));
    }
    let names: BTreeSet<_> = overloads().iter().map(|overload| overload.name).collect();
    assert_eq!(names.len(), overloads().len(), "two lines have one name");
}

/// Checks that a line can be read and gives as many arguments as are taken, each of another name.
fn fits((name, arguments, passed): &Line, needed: usize, all: usize) {
    assert!(name.split_once('.').is_some_and(|(name, overload)| !name.is_empty() && !overload.is_empty()), "{name}");
    let parts = |text: &'static str| text.split(", ").filter(|part| !part.is_empty());
    let plain = |part: &'static str| part.split(['=', ':', '!']).next().unwrap_or_default();
    let given = parts(arguments).count();
    assert!((needed..=all).contains(&given), "{name} gives {given} arguments where {needed} to {all} are taken");
    for part in parts(arguments) {
        let form = part.split('=').next().and_then(|part| part.split_once(':')).map(|(_, form)| form);
        assert!(form.is_none_or(|form| ["one", "train", "rate"].contains(&form)), "{name}: {part}");
    }
    let names: Vec<_> = parts(arguments).chain(parts(passed)).map(plain).collect();
    let word =
        |name: &&str| !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    assert!(names.iter().all(word), "{name}: {names:?}");
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{name}: {names:?}");
}

/// How many arguments a function of the library needs, and how many it takes.
fn arguments_of(function: &str) -> (usize, usize) {
    let begins = format!("  {function}(");
    let written = FUNCTIONS.lines().find_map(|line| line.strip_prefix(&begins)?.split(')').next());
    let arguments: Vec<_> = written.unwrap_or_else(|| panic!("no {function} in aten.yaml")).split(", ").collect();
    (arguments.iter().filter(|argument| !argument.contains('=')).count(), arguments.len())
}
