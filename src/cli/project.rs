//! `pmx init`, `pmx check`, `pmx types`, `pmx describe`: the project's files and what they may say.

use crate::cli::args::{DescribeArgs, InitArgs, SchemaOf, TypesArgs};
use crate::cli::exit::Exit;
use crate::cli::out::{Out, counted};
use crate::cli::report::{JsonComplaint, render};
use crate::ops::describe::{self, Page};
use crate::ops::front::Front;
use crate::ops::schema::{self, FileKind};
use crate::ops::site::Site;
use crate::ops::{init, project};
use crate::source::{Diagnostic, Severity};

/// `pmx init`.
pub fn init(front: &Front, args: &InitArgs, out: &mut Out) -> Result<Exit, Vec<Diagnostic>> {
    let written = init::init(&front.cwd, &args.place).map_err(|d| vec![d])?;
    if out.json {
        out.json(&written);
        return Ok(Exit::Done);
    }
    for path in written {
        out.line(format!("wrote {}", path.display()));
    }
    out.line("");
    out.line("Put your node's address into definitions/node.toml and definitions/fleet.toml, then:");
    out.line("  pmx vault set secrets password");
    out.line("  pmx check");
    out.line("  pmx build fleet.sync");
    Ok(Exit::Done)
}

/// `pmx check`.
pub fn check(front: &Front, out: &mut Out) -> Result<Exit, Vec<Diagnostic>> {
    let site = Site::find(front)?;
    let loaded = project::check(&site)?;
    let errors = loaded.complaints.iter().filter(|d| d.severity == Severity::Error).count();
    let warnings = loaded.complaints.len() - errors;
    if out.json {
        out.json(&loaded.complaints.iter().map(JsonComplaint::from).collect::<Vec<_>>());
        return Ok(if errors > 0 { Exit::Yours } else { Exit::Done });
    }
    for complaint in &loaded.complaints {
        out.say(render(complaint, out.terminal_colour()));
        out.say("");
    }
    let (definitions, workflows) = loaded.project.as_ref().map_or((0, 0), |project| (project.definitions.len(), project.workflows.len()));
    let found = format!("{}, {}", counted(definitions, "definition"), counted(workflows, "workflow"));
    match (errors, warnings) {
        (0, 0) => out.line(format!("{found}: clean")),
        (errors, warnings) => out.line(format!("{found}: {}, {}", counted(errors, "error"), counted(warnings, "warning"))),
    }
    Ok(if errors > 0 { Exit::Yours } else { Exit::Done })
}

/// `pmx types`.
pub fn types(args: &TypesArgs, out: &mut Out) -> Exit {
    let kind = match args.schema {
        None => return page(&describe::types(), out),
        Some(SchemaOf::Pmxfile) => FileKind::Pmxfile,
        Some(SchemaOf::Definition) => FileKind::Definition,
        Some(SchemaOf::Workflow) => FileKind::Workflow,
    };
    let schema = schema::schema(kind);
    if out.json {
        out.json(&schema);
    } else {
        // For people and for version control: a key a line.
        out.line(format!("{schema:#}"));
    }
    Exit::Done
}

/// `pmx describe`. Works without a project for types and methods.
pub fn describe(front: &Front, args: &DescribeArgs, out: &mut Out) -> Result<Exit, Vec<Diagnostic>> {
    let project = Site::find(front).ok().and_then(|site| project::load(&site).ok()).and_then(|loaded| loaded.project);
    let described = describe::describe(project.as_deref(), &args.name).map_err(|d| vec![d])?;
    Ok(page(&described, out))
}

fn page(page: &Page, out: &mut Out) -> Exit {
    if out.json {
        out.json(&page.json);
    } else {
        out.line(page.text.trim_end());
    }
    Exit::Done
}
