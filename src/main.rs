//! The `pmx` binary: hands over and returns the exit code.

/// Not glibc's, whose smallest piece takes 32 bytes: most of a graph is texts of ten.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    pmx::cli::main().into()
}
