//! How far property tests walk, and where: the same cases on every machine, so that a landing never hangs on luck; `PMX_WALK=50` walks fifty times as many new
//! ones.

mod spoiled;

pub(crate) use spoiled::feed;

use proptest::test_runner::{Config, RngSeed};

/// `count` cases that are always the same, or, by `PMX_WALK`, a multiple of it that nobody has seen before. A case that fails is printed whole.
#[expect(clippy::disallowed_methods, reason = "how far to walk, the environment says")]
pub(crate) fn cases(count: u32) -> Config {
    let (cases, rng_seed) = match std::env::var("PMX_WALK").map(|text| text.parse::<u32>()) {
        Err(_) => (count, RngSeed::Fixed(0)),
        Ok(Ok(times)) => (count.saturating_mul(times), RngSeed::Random),
        Ok(Err(error)) => panic!("PMX_WALK: {error}; it is how many times the usual number of cases is walked, such as 50"),
    };
    Config { cases, rng_seed, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() }
}

/// A temporary directory, in memory where the machine has such: for tests that make a thousand stores, none of which needs a disk.
pub(crate) fn swift() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir()) } else { tempfile::tempdir() }.unwrap()
}
