//! Builds the library anew when a spec changes or a new one appears: `include_dir!` alone notices only those it has read.

#![expect(clippy::print_stdout, reason = "this is how a build script speaks to cargo")]

fn main() {
    println!("cargo:rerun-if-changed=../specs");
}
