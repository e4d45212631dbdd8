//! The project: all its files parsed, and checked against the types that exist.

use std::sync::Arc;

use crate::lang::{Project, project};
use crate::ops::site::{self, Site};
use crate::source::{Diagnostic, Severity};

/// A project that was read, with everything that is to be said about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The project, if it can be read at all.
    pub project: Option<Arc<Project>>,
    /// Complaints: errors first, then by place.
    pub complaints: Vec<Diagnostic>,
}

impl Loaded {
    /// The project, if nothing is wrong with it; else the complaints.
    pub fn sound(self) -> Result<Arc<Project>, Vec<Diagnostic>> {
        let broken = self.complaints.iter().any(|d| d.severity == Severity::Error);
        match self.project {
            Some(project) if !broken => Ok(project),
            _ => Err(self.complaints),
        }
    }
}

/// Reads and checks all files of the project at `site`.
pub fn load(site: &Site) -> Result<Loaded, Vec<Diagnostic>> {
    let one = |d| vec![d];
    let sources = project::Sources {
        pmxfile: Arc::clone(&site.pmxfile.source),
        definitions: site::read_all(&site.root, "definitions").map_err(one)?,
        workflows: site::read_all(&site.root, "workflows").map_err(one)?,
    };
    let (project, mut complaints) = project::parse(&sources);
    complaints.sort_by_key(|d| (d.severity, d.at.as_ref().map(|(span, _)| (span.source.name.clone(), span.range.start))));
    Ok(Loaded { project: project.map(Arc::new), complaints })
}
