# What a developer types; `.ci/run` is what a machine runs.

# How released programs are linked: everything in them, at fixed addresses, because 84,000 of them to be corrected take two thirds of a start.
flags := '["-C", "target-feature=+crt-static", "-C", "relocation-model=static"]'
native := arch() + "-unknown-linux-gnu"

# Shows the recipes.
default:
    @just --list

# Compiles everything, tests included.
check:
    cargo check --locked --workspace --all-targets

# Runs every test; real components that are missing are skipped aloud.
test *ARGS:
    cargo test --locked {{ ARGS }}

# The tests that take minutes: longer walks of what the others walk a part of.
torture *ARGS:
    cargo test --locked --release -- --ignored {{ ARGS }}
    PMX_FLIPS=10000 PMX_TEARS=20000 PMX_KILLS=1000 cargo test --locked --release --lib -- flip_tests torn_tests kill_tests
    PMX_WALK=50 cargo test --locked --release --lib -- lease_model equal_tests past_tests spoiled
    PMX_BOUNDS=10 cargo test --locked --release --test it bounds::

# Programs that need no library, for this or another architecture: they run on Alpine and in an empty image, and `pmx build deploy-bot` sends them.
release TARGET=native:
    cargo build --locked --release --target {{ TARGET }} --config 'target.{{ TARGET }}.rustflags = {{ flags }}' -p pmx -p pmx-bot

# Everything that must hold before a change lands; installs what is missing.
ci:
    bash .ci/run

# Lints, the house rules, and what may be depended on.
lint:
    cargo clippy --locked --workspace --all-targets -- -D warnings
    cargo test --locked --test tidy
    cargo deny --locked --workspace check bans licenses sources

# Known vulnerabilities in dependencies; fetches their database.
advisories:
    cargo deny --locked --workspace check advisories

# Formats all Rust code.
fmt:
    cargo fmt --all

# Measures against peers, programs as they are released: all of it, or `just bench upload --json`.
bench *ARGS:
    cargo bench --locked -p pmx --bench bench --target {{ native }} --config 'target.{{ native }}.rustflags = {{ flags }}' -- {{ ARGS }}

# Runs pmx against the practice fleet: `just lab build stop-calamity`.
lab *ARGS:
    cargo run --locked --quiet -- --profile lab {{ ARGS }}

# Writes the schemas that editors read.
schemas:
    mkdir -p docs/schema
    for kind in pmxfile definition workflow; do cargo run --locked --quiet -- types --schema $kind > docs/schema/$kind.json; done

# Lets every method pretend, one at a time, and asks whether its tests notice; writes docs/inventory.md.
mutants *METHODS:
    tests/mutants/run {{ METHODS }}

# Draws the project's graph into target/graph.svg.
graph *TARGETS:
    cargo run --locked --quiet -- graph {{ TARGETS }} --dot | dot -Tsvg > target/graph.svg
