//! The schemas that editors read: they are the ones that `pmx` prints, and taplo agrees with them about our own files.

use std::path::Path;
use std::process::{Command, Output};

use super::real;
use super::sandbox::Sandbox;

const KINDS: [&str; 3] = ["pmxfile", "definition", "workflow"];

fn ours(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

#[test]
fn the_kept_schemas_are_the_ones_that_are_printed() {
    for kind in KINDS {
        let printed = Sandbox::new().pmx(&["types", "--schema", kind]).exits(0).stdout;
        assert!(
            ours(&format!("docs/schema/{kind}.json")) == printed,
            "docs/schema/{kind}.json is not current: `just schemas` writes it anew"
        );
    }
    Sandbox::new().pmx(&["types", "--schema", "definitoin"]).exits(2).says("definition");
}

/// The project with what tells an editor about its files.
fn project() -> Sandbox {
    let schemas = KINDS.map(|kind| format!("docs/schema/{kind}.json"));
    let files = schemas.iter().map(String::as_str).chain([".taplo.toml"]);
    files.fold(Sandbox::own(), |sandbox, path| sandbox.file(path, &ours(path)))
}

fn taplo(sandbox: &Sandbox) -> Option<Output> {
    let [taplo] = real::needs(["taplo"])?;
    let mut command = Command::new(taplo);
    command.args(["check", "--colors", "never"]).current_dir(sandbox.path(""));
    Some(command.output().expect("taplo starts"))
}

#[test]
fn taplo_is_content_with_the_project() {
    let Some(out) = taplo(&project()) else { return };
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{said}");
    assert!(said.contains("found files total=") && !said.contains("found files total=0 "), "it must have read the files: {said}");
}

#[test]
fn taplo_finds_misspelt_keys_and_wrong_types() {
    let cases = [
        ("Pmxfile.toml", "[run]\njobs = 16", "[run]\njbos = 16", "jbos"),
        ("Pmxfile.toml", "jobs = 16", "jobs = \"many\"", "many"),
        ("definitions/calamity.toml", "composePath = ", "composePaht = ", "composePaht"),
        ("definitions/calamity.toml", "composePath = \"~/game/\"", "composePath = 7", "7 is not"),
        ("definitions/calamity.toml", "docker/compose", "docker/compost", "docker/compost"),
        // What another type takes is not what this one takes.
        ("definitions/calamity.toml", "composePath = ", "containerName = \"x\"\ncomposePath = ", "containerName"),
        ("definitions/fleet.toml", "waitSeconds = 120", "waitSeconds = \"long\"", "long"),
        ("definitions/fleet.toml", "[methods.start]", "[methods.strat]", "strat"),
        ("workflows/stop-calamity.toml", "call = \"calamity.stop\"", "cal = \"calamity.stop\"", "cal"),
        ("workflows/stop-calamity.toml", "call = \"calamity.stop\"", "call = \"calamity.stop\"\noptional = \"yes\"", "yes"),
    ];
    for (file, old, new, said) in cases {
        let Some(out) = taplo(&project().replace(file, old, new)) else { return };
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(!out.status.success(), "{file} with `{new}` is taken\n{text}");
        assert!(text.contains(said) && text.contains(file.rsplit('/').next().unwrap_or(file)), "{file} with `{new}`:\n{text}");
    }
}
