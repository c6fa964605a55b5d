//! Builds the library anew when a spec changes or a new one appears: `include_dir!` alone notices only those it has read.

fn main() {
    println!("cargo:rerun-if-changed=../specs");
}
