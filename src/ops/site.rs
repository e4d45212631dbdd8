//! The site: where a project lies on disk, and which store and vaults belong to it under a profile.
#![expect(clippy::disallowed_methods, reason = "reads the project's files; nobody else does")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::lang::pmxfile::{self, Pmxfile, Profile, VaultKind};
use crate::ops::front::Front;
use crate::source::{Diagnostic, Fault, Severity, Source, Span};

/// A project's place on disk, with its Pmxfile read.
#[derive(Clone, Debug)]
pub struct Site {
    /// The directory of the Pmxfile.
    pub root: PathBuf,
    /// The Pmxfile.
    pub pmxfile: Pmxfile,
    /// The profile's name and settings.
    pub profile: Option<(String, Profile)>,
}

/// The name of the file that makes a directory a project.
pub const PMXFILE: &str = "Pmxfile.toml";

impl Site {
    /// Finds the project that `front` stands in, by walking up.
    pub fn find(front: &Front) -> Result<Self, Vec<Diagnostic>> {
        let root = front.cwd.ancestors().find(|dir| dir.join(PMXFILE).is_file());
        let root = root.ok_or_else(|| {
            let message = format!("there is no {PMXFILE} in {} or any directory above it", front.cwd.display());
            vec![Diagnostic::yours(message).help("`pmx init` makes a project here")]
        })?;
        let source = read(root, Path::new(PMXFILE)).map_err(|d| vec![d])?;
        let (pmxfile, complaints) = pmxfile::parse(&source);
        let pmxfile = pmxfile.filter(|_| complaints.iter().all(|d| d.severity != Severity::Error)).ok_or(complaints)?;
        let profile = front.profile.as_ref().map(|name| choose(&pmxfile, name)).transpose().map_err(|d| vec![d])?;
        Ok(Self { root: root.to_path_buf(), pmxfile, profile })
    }

    /// The settings of the chosen profile.
    pub fn settings(&self) -> Option<&Profile> {
        self.profile.as_ref().map(|(_, profile)| profile)
    }

    /// The directory of the store.
    pub fn store_dir(&self) -> PathBuf {
        let chosen = self.settings().and_then(|profile| profile.store.as_ref());
        self.root.join(chosen.unwrap_or(&self.pmxfile.store))
    }

    /// The file of a file vault.
    pub fn vault_file(&self, name: &str) -> Option<PathBuf> {
        let VaultKind::File(path) = &self.pmxfile.vaults.get(name)?.kind else { return None };
        Some(match self.settings().and_then(|profile| profile.vaults.as_ref()) {
            Some(dir) => self.root.join(dir).join(format!("{name}.toml")),
            None => self.root.join(path),
        })
    }
}

fn choose(pmxfile: &Pmxfile, name: &str) -> Result<(String, Profile), Diagnostic> {
    let known = pmxfile.profiles.keys().map(String::as_str).collect::<Vec<_>>();
    match pmxfile.profiles.get(name) {
        Some(profile) => Ok((name.to_owned(), profile.clone())),
        None => {
            let listed = if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) };
            Err(Diagnostic::yours(format!("{PMXFILE} has no profile `{name}`; {listed}")).did_you_mean(name, known))
        }
    }
}

/// Reads one file of the project; its name in messages is relative to the root.
pub fn read(root: &Path, relative: &Path) -> Result<Arc<Source>, Diagnostic> {
    let path = root.join(relative);
    let unreadable = |error: std::io::Error| Diagnostic::yours(format!("{} cannot be read: {error}", path.display()));
    let bytes = std::fs::read(&path).map_err(unreadable)?;
    String::from_utf8(bytes).map(|text| Source::new(relative, text)).map_err(|error| not_utf8(relative, &error))
}

/// Points at the first letter that is not UTF-8, in what can be shown of its line.
fn not_utf8(relative: &Path, error: &std::string::FromUtf8Error) -> Diagnostic {
    let at = error.utf8_error().valid_up_to();
    let source = Source::new(relative, String::from_utf8_lossy(error.as_bytes()).into_owned());
    let message = format!("{} is not UTF-8: byte {:#04x} after {at} good ones", relative.display(), error.as_bytes()[at]);
    Diagnostic::yours(message).at(&Span::new(&source, at..at + '\u{fffd}'.len_utf8()), "").help("save the file as UTF-8")
}

/// Reads every `*.toml` of one directory of the project, in name order; a missing directory is empty.
pub fn read_all(root: &Path, dir: &str) -> Result<Vec<Arc<Source>>, Diagnostic> {
    let entries = match std::fs::read_dir(root.join(dir)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            let message = format!("{} cannot be listed: {error}", root.join(dir).display());
            return Err(Diagnostic::new(Severity::Error, Fault::Yours, message));
        }
    };
    let mut names: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|entry| Path::new(dir).join(entry.file_name()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    names.sort();
    names.iter().map(|name| read(root, name)).collect()
}
