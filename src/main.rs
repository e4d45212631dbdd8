//! The `pmx` binary: hands over and returns the exit code.

fn main() -> std::process::ExitCode {
    pmx::cli::main().into()
}
