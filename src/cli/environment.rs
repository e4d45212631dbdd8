//! The environment: read once, here, for all rooms.
#![expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::cli::args::{Cli, When};
use crate::name::Actor;
use crate::ops::front::Front;
use crate::source::Diagnostic;

/// The surroundings of this invocation, and the choice of colours (`None`: as the terminal has it).
pub fn read(cli: &Cli) -> (Result<Front, Diagnostic>, Option<bool>) {
    let env: BTreeMap<String, String> =
        std::env::vars_os().filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?))).collect();
    let colour = match cli.color {
        When::Always => Some(true),
        When::Never => Some(false),
        When::Auto => env.get("NO_COLOR").filter(|set| !set.is_empty()).map(|_| false),
    };
    (front(cli, env), colour)
}

/// The words of this invocation behind the program's name, as they were typed.
pub fn words() -> Vec<String> {
    std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect()
}

/// Who asked, for a `pmx` that was started at the far end of `--at`: set by that end alone. Not a proof, as `USER` is none.
pub const ASKED_BY: &str = "PMX_ASKED_BY";

fn front(cli: &Cli, mut env: BTreeMap<String, String>) -> Result<Front, Diagnostic> {
    let here = std::env::current_dir().map_err(|error| Diagnostic::yours(format!("the working directory is gone: {error}")))?;
    let cwd = match &cli.directory {
        Some(dir) => here.join(dir),
        None => here,
    };
    let home = env.get("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let config = env.get("XDG_CONFIG_HOME").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let config = config.or_else(|| home.as_ref().map(|home| home.join(".config")));
    let user = env.get("USER").or_else(|| env.get("LOGNAME")).cloned().or_else(account).unwrap_or_else(|| "unknown".to_owned());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").map_or_else(|_| "localhost".to_owned(), |name| name.trim().to_owned());
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("pmx"));
    let actor = Actor::new("cli", &env.remove(ASKED_BY).unwrap_or_else(|| format!("{user}@{host}")));
    Ok(Front { cwd, home, config, env, profile: cli.profile.clone(), actor, program })
}

/// The account's name by its number, where neither USER nor LOGNAME is set, as under cron and in containers.
fn account() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let id = status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().next()?.to_owned();
    let accounts = std::fs::read_to_string("/etc/passwd").ok()?;
    let fields = |line: &str| -> Option<(String, String)> {
        let mut fields = line.split(':');
        Some((fields.next()?.to_owned(), fields.nth(1)?.to_owned()))
    };
    accounts.lines().filter_map(fields).find(|(_, number)| *number == id).map(|(name, _)| name).or(Some(id))
}
