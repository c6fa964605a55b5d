//! Says where the specs lie that the library embeds: in the repository beside the crate, in a packed crate within it. Builds anew when
//! one changes or appears: `include_dir!` alone notices only those it has read.

use std::path::Path;

fn main() {
    let specs = if Path::new("specs").is_dir() { "specs" } else { "../specs" };
    println!("cargo:rerun-if-changed={specs}");
    println!("cargo:rustc-env=MEMPLAN_SPECS={specs}");
}
