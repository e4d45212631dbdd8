//! `pmx doctor`: the findings as they are made, and what to do about each.

use crate::cli::args::DoctorArgs;
use crate::cli::exit::Exit;
use crate::cli::out::Out;
use crate::ops::doctor::{self, Finding, Health};
use crate::ops::front::Front;
use crate::source::Diagnostic;

/// `pmx doctor`.
pub fn run(front: &Front, args: &DoctorArgs, out: &mut Out) -> Result<Exit, Vec<Diagnostic>> {
    if let Some(name) = &args.forget {
        let forgotten = doctor::forget(front, name)?;
        if out.json {
            out.json(&forgotten);
            return Ok(Exit::Done);
        }
        for identity in &forgotten {
            out.line(format!("forgot the host key of {identity}; the next login pins the key that the host shows then"));
        }
        return Ok(Exit::Done);
    }
    let mut worst = Health::Good;
    let mut tell = |finding: Finding| {
        worst = worst.max(finding.health);
        if out.json { out.json(&finding) } else { show(&finding, out) }
    };
    super::runtime()?.block_on(doctor::doctor(front, &mut tell))?;
    Ok(if worst == Health::Bad { Exit::Failed } else { Exit::Done })
}

fn show(finding: &Finding, out: &mut Out) {
    let (code, sign) = match finding.health {
        Health::Good => ("32", "✓"),
        Health::Note => ("33", "!"),
        Health::Bad => ("31", "✗"),
    };
    out.line(format!("{} {}: {}", out.paint(code, sign), finding.topic, finding.message));
    for help in &finding.help {
        out.line(format!("    {help}"));
    }
}
