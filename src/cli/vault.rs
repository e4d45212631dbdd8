//! `pmx vault`: keeping secrets without showing them.

use std::io::{BufRead, IsTerminal, Read, Write};

use crate::cli::args::{VaultArgs, VaultCommand};
use crate::cli::exit::Exit;
use crate::cli::out::{Out, counted};
use crate::ops::front::Front;
use crate::ops::site::Site;
use crate::ops::{rotate, secrets, world};
use crate::secret::{Origin, Secret};
use crate::source::{Diagnostic, Fault, Severity};
use crate::vault::VaultError;

fn failed(error: &VaultError) -> Vec<Diagnostic> {
    vec![Diagnostic::new(Severity::Error, Fault::Yours, error.to_string())]
}

/// `pmx vault …`.
pub fn run(front: &Front, args: &VaultArgs, out: &mut Out) -> Result<Exit, Vec<Diagnostic>> {
    let site = Site::find(front)?;
    if let VaultCommand::List { vault: None } = &args.command {
        if out.json {
            out.json(&site.pmxfile.vaults.keys().collect::<Vec<_>>());
        } else {
            site.pmxfile.vaults.keys().for_each(|name| out.line(name));
        }
        return Ok(Exit::Done);
    }
    if matches!(args.command, VaultCommand::Rotate) {
        let done = super::runtime()?.block_on(rotate::rotate(front))?;
        tell(&done, out);
        return Ok(Exit::Done);
    }
    let opened = world::open_or_create(&site, front).map_err(|d| vec![d])?;
    let vaults = secrets::vaults(&site, front, &opened.key).map_err(|d| vec![d])?;
    let open = |name: &str| vaults.vault(name).map_err(|error| failed(&error));
    let runtime = super::runtime()?;
    runtime.block_on(async {
        match &args.command {
            VaultCommand::Set { vault, key } => {
                let vault = open(vault)?;
                let secret = read_secret(key, out)?;
                vault.set(key, &secret).await.map_err(|error| failed(&error))?;
            }
            VaultCommand::Get { vault, key } => {
                let secret = open(vault)?.get(key).await.map_err(|error| failed(&error))?;
                if out.json { out.json(&secret.expose()) } else { out.line(secret.expose()) }
            }
            VaultCommand::List { vault } => {
                let keys = open(vault.as_deref().unwrap_or_default())?.list().await.map_err(|error| failed(&error))?;
                if out.json {
                    out.json(&keys);
                } else {
                    keys.iter().for_each(|key| out.line(key));
                }
            }
            VaultCommand::Rm { vault, key } => open(vault)?.remove(key).await.map_err(|error| failed(&error))?,
            VaultCommand::Rotate => {}
        }
        Ok(Exit::Done)
    })
}

/// What a rotation has done, and what is left to a person.
fn tell(done: &rotate::Rotated, out: &mut Out) {
    if out.json {
        return out.json(done);
    }
    let went_on = if done.resumed { "went on with a rotation that had not ended: " } else { "" };
    out.line(format!("{went_on}sealed {} of the store with a new key", counted(done.store, "secret")));
    for (file, count) in &done.vaults {
        out.line(format!("sealed {} of {file} with a new key", counted(*count, "value")));
    }
    match &done.old_key_in {
        Some(place) => out.say(format!("the second key in {place} opens nothing any more: take it away")),
        None => out.say("copies of the old key on other machines open nothing any more; a secret that somebody may have read must be replaced where it is used"),
    }
}

/// From a prompt that does not echo, or all of standard input without its last newline. Never from an argument: other users see those.
pub(super) fn read_secret(key: &str, out: &Out) -> Result<Secret, Vec<Diagnostic>> {
    let unreadable = |error: std::io::Error| vec![Diagnostic::yours(format!("the secret cannot be read: {error}"))];
    let mut text = String::new();
    if std::io::stdin().is_terminal() {
        let _ = write!(std::io::stderr(), "{key} (not shown): ").and_then(|()| std::io::stderr().flush());
        let echo = Echo::off();
        let read = std::io::stdin().lock().read_line(&mut text);
        drop(echo);
        out.say("");
        read.map_err(unreadable)?;
    } else {
        std::io::stdin().lock().read_to_string(&mut text).map_err(unreadable)?;
    }
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(vec![Diagnostic::yours("the secret is empty, so nothing was stored")]);
    }
    Ok(Secret::new(text, Origin::Computed))
}

/// The terminal's echo is off while this lives.
struct Echo;

impl Echo {
    #[expect(clippy::disallowed_methods, reason = "stty knows the terminal; a crate for one flag is not worth it")]
    fn set(flag: &str) {
        // Where there is no stty the secret is echoed: visible, not lost.
        let _ = std::process::Command::new("stty").arg(flag).status();
    }

    fn off() -> Self {
        Self::set("-echo");
        Self
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        Self::set("echo");
    }
}
