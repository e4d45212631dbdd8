//! Benches: pmx and its peers do the same work in turn, in one run. `just bench` runs all of them, `just bench NAME` one;
//! `--json` prints lines of JSON, `--rounds N` takes another number of rounds, `--large` adds the sizes that take minutes.
#![expect(clippy::disallowed_methods, reason = "a bench owns files, processes and the clock of its sandbox")]
#![expect(clippy::print_stdout, reason = "its figures are what it is for")]

mod bare;
mod exec;
mod growth;
mod harness;
mod memory;
mod noop;
mod pve;
mod reasons;
mod sshd;
mod start;
mod store;
mod sync;
mod upload;

use harness::Harness;

/// What a bench does.
type Bench = fn(&mut Harness);

/// Every bench by its name.
const BENCHES: [(&str, Bench); 8] = [
    ("start", start::bench),
    ("noop", noop::bench),
    ("store", store::bench),
    ("exec", exec::bench),
    ("upload", upload::bench),
    ("sync", sync::bench),
    ("memory", memory::bench),
    ("growth", growth::bench),
];

fn main() {
    // Cargo itself adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let wanted = arguments.first().filter(|word| !word.starts_with("--"));
    let chosen: Vec<_> = BENCHES.iter().filter(|(name, _)| wanted.is_none_or(|wanted| wanted == name)).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = BENCHES.iter().map(|(name, _)| *name).collect();
        println!("there is no bench of that name; there are: {}", names.join(", "));
        std::process::exit(2);
    }
    let mut harness = Harness::new(&arguments);
    for (name, bench) in chosen {
        harness.bench = name;
        bench(&mut harness);
    }
    harness.finish();
}
