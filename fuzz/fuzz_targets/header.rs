//! Any bytes as a safetensors file: `cargo +nightly fuzz run header`.
//!
//! Nothing panics; what is accepted is whole; what the safetensors crate accepts is accepted here too, but for names that
//! occur twice.

#![no_main]

use libfuzzer_sys::fuzz_target;
use planner::read::header::{self, HeaderFault};
use safetensors::SafeTensors;

fuzz_target!(|file: &[u8]| {
    let theirs = SafeTensors::read_metadata(file);
    match header::from_reader(file, file.len() as u64) {
        Ok(header) => {
            let mut end = 0;
            for tensor in &header.tensors {
                assert_eq!(tensor.data.start, end);
                let elements: u128 = tensor.shape.iter().map(|dimension| u128::from(*dimension)).product();
                assert_eq!(elements * tensor.dtype.bitsize() as u128, u128::from(tensor.bytes().0) * 8);
                end = tensor.data.end;
            }
            assert_eq!(end, header.data.0);
            if let Ok((text, metadata)) = theirs {
                assert_eq!(header.data.0, (file.len() - 8 - text) as u64);
                assert_eq!(header.tensors.len(), metadata.offset_keys().len());
            }
        }
        Err(HeaderFault::Duplicate { .. }) => {}
        Err(fault) => {
            assert!(theirs.is_err(), "{fault}");
            assert!(!fault.to_string().contains(char::is_control));
        }
    }
});
