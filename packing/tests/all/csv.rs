//! The CSV of buffers: what is read, what is refused and how, and any bytes at all.

use crate::support::buffer;
use packing::csv::{read, write};
use packing::{Buffer, Options, pack, validate};
use proptest::prelude::*;

fn refused(text: &str) -> String {
    read(text.as_bytes()).unwrap_err().to_string()
}

#[test]
fn columns_in_any_order_and_both_kinds_of_ends() {
    let half_open = read(b"size,id,upper,lower\n8,a,5,-2\r\n\n16,b,6,5").unwrap();
    let named = |id: &str, lower, upper, size| Buffer { id: id.to_owned(), ..buffer(0, lower, upper, size) };
    assert_eq!(half_open, [named("a", -2, 5, 8), named("b", 5, 6, 16)]);
    assert_eq!(read(b"\xef\xbb\xbfid,start,end,size\na,-2,4,8\nb,5,5,16\n").unwrap(), half_open);
    let all = read(b"id,lower,upper,size,alignment,offset\na,0,1,8,4,\nb,0,1,8,,16\n").unwrap();
    assert_eq!((all[0].alignment, all[0].offset, all[1].alignment, all[1].offset), (Some(4), None, None, Some(16)));
    assert_eq!(read(b"id,lower,upper,size").unwrap(), []);
}

#[test]
fn what_is_written_is_read() {
    let mut buffers = vec![buffer(0, 0, 3, 8), buffer(1, 2, 5, 8)];
    assert_eq!(write(&buffers, &[0, 8]), "id,lower,upper,size,offset\n0,0,3,8,0\n1,2,5,8,8\n");
    buffers[0].alignment = Some(4);
    let mut expected = buffers.clone();
    (expected[0].offset, expected[1].offset) = (Some(0), Some(8));
    assert_eq!(read(write(&buffers, &[0, 8]).as_bytes()).unwrap(), expected);
}

#[test]
fn errors_say_where_they_are() {
    let head = "id,lower,upper,size,alignment\n";
    let of = |line: &str| refused(&format!("{head}a,0,1,1,\n{line}"));
    assert_eq!(refused(""), "line 1: there is no header: `id,lower,upper,size` is expected");
    assert_eq!(refused("id,lower,size\n"), "line 1, column `upper`: the header does not have it");
    assert_eq!(refused("id,lower,start,upper,size"), "line 1, column `start`: the header has it twice");
    assert!(refused("id,lower,upper,size,gaps").starts_with("line 1: unknown column `gaps`: known are"));
    assert_eq!(of("b,0,1,1"), "line 3: 4 fields, where the header has 5");
    assert_eq!(of("b,0,1,x\ty,"), "line 3, column `size`: `x\\ty` is no whole number of 64 bits");
    assert_eq!(of("b,0,1,-1,"), "line 3, column `size`: -1 is not between 0 and 2^60 bytes");
    assert_eq!(of("b,0,1,1,0"), "line 3, column `alignment`: 0 is not between 1 and 2^60 bytes");
    assert_eq!(of("b,4,4,1,"), "line 3, column `upper`: the lifetime ends at 4, which is not after 4");
    assert_eq!(of("a,0,1,1,"), "line 3, column `id`: `a` is already the id of line 2");
    assert_eq!(of(",0,1,1,"), "line 3, column `id`: it is empty");
    assert_eq!(of("\"b\",0,1,1,"), "line 3, column `id`: quotes are not read: write `\\\"b\\\"` plainly");
    assert_eq!(read(b"id,lower,upper,size\n\xff").unwrap_err().to_string(), "line 2: this is not UTF-8");
    let last = "id,start,end,size\na,0,9223372036854775807,1";
    assert!(refused(last).contains("no whole number of 64 bits"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    /// Nothing panics; a refusal takes one line; what is read can be packed or is refused.
    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..80), fields in "([0-9a-c,\n-]{0,60})") {
        for text in [bytes, format!("id,lower,upper,size\n{fields}").into_bytes()] {
            match read(&text) {
                Ok(buffers) => {
                    if let Ok(packing) = pack(&buffers, &Options::default()) {
                        prop_assert_eq!(validate(&buffers, &packing.offsets), Ok(()));
                    }
                }
                Err(error) => prop_assert!(!error.to_string().contains(char::is_control)),
            }
        }
    }
}
