//! The one integration binary: the real `pmx` in a sandbox, and the real components it works on.
#![expect(clippy::disallowed_methods, reason = "tests own files, processes, the environment and the clock of their sandbox")]

mod lab_transcripts;
mod normal;
mod process;
mod real;
mod real_smoke;
mod real_types;
mod sandbox;
