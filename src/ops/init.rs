//! Init: a project to start from, which `pmx check` finds clean.
#![expect(clippy::disallowed_methods, reason = "writes the first files of a project")]

use std::path::{Path, PathBuf};

use crate::ops::site::PMXFILE;
use crate::source::Diagnostic;

const FILES: [(&str, &str); 5] = [
    (PMXFILE, include_str!("init/Pmxfile.toml")),
    ("definitions/node.toml", include_str!("init/node.toml")),
    ("definitions/fleet.toml", include_str!("init/fleet.toml")),
    ("workflows/start-vm.toml", include_str!("init/start-vm.toml")),
    (".gitignore", include_str!("init/gitignore")),
];

/// Writes the files of a new project into `directory`, seen from `cwd`, and returns their paths. Refuses, and writes nothing, when one of them is there already.
pub fn init(cwd: &Path, directory: &Path) -> Result<Vec<PathBuf>, Diagnostic> {
    // Components drop the `.` that the argument is by default.
    let directory: PathBuf = cwd.join(directory).components().collect();
    let paths: Vec<PathBuf> = FILES.iter().map(|(name, _)| directory.join(name)).collect();
    if let Some(there) = paths.iter().find(|path| path.exists()) {
        let message = format!("{} is there already, so nothing was written", there.display());
        return Err(Diagnostic::yours(message).help("choose an empty directory: `pmx init DIR`"));
    }
    for (path, (_, text)) in paths.iter().zip(FILES) {
        let write = || -> std::io::Result<()> {
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::write(path, text)
        };
        write().map_err(|error| Diagnostic::yours(format!("{} cannot be written: {error}", path.display())))?;
    }
    Ok(paths)
}
