//! Commands over SSH that outlive the process that began them: how they are named in a journal, and how their end is waited for from another process.
//!
//! sshd does not end a command whose connection breaks. Its process group carries a mark in its environment; the journal has it before the command
//! begins, as `SSH <mark> <user> <host> <port> <identity>`.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::contract::{Context, Failure};
use crate::model::wait::Wait;
use crate::wire::command::Command;
use crate::wire::ssh::{Exec, Input, Pinning, Target};

/// The wait for such a command.
const PHASE: &str = "a command of the interrupted run to end";
/// Its deadline.
const DEADLINE: Duration = Duration::from_secs(1800);
/// How long one look may take.
const LOOK: Duration = Duration::from_secs(60);
/// What an id begins with.
const WORD: &str = "SSH";

/// Reads `PMX_TASK=<mark>.` lines; prints the process ids of leaders that carry one of them. A leader is the process whose id stands behind its mark, or the
/// shell whose text sets it.
const SCRIPT: &str = r#"file=$(mktemp) || exit 1
cat >"$file"
for at in $(grep -slF -f "$file" /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null); do
  pid=${at#/proc/}; name=${pid#*/}; pid=${pid%%/*}
  case $name in
    cmdline) echo "$pid" ;;
    environ) tr '\0' '\n' <"$at" 2>/dev/null | grep -qx "PMX_TASK=.*[.]$pid" && echo "$pid" ;;
  esac
done
rm -f "$file""#;

/// A new mark and the id by which a journal knows the command.
pub fn name(target: &Target) -> (String, String) {
    let mark = uuid::Uuid::new_v4().simple().to_string();
    let user = target.user.as_deref().unwrap_or("-");
    let port = target.port.map_or_else(|| "-".to_owned(), |port| port.to_string());
    let id = format!("{WORD} {mark} {user} {} {port} {}", target.host, target.identity);
    (mark, id)
}

/// Where a command was begun, and its mark; `None` for what is no such id.
fn parse(id: &str) -> Option<(Target, &str)> {
    let parts: Vec<&str> = id.splitn(6, ' ').collect();
    let [WORD, mark, user, host, port, identity] = parts[..] else { return None };
    let port = if port == "-" { None } else { Some(port.parse().ok()?) };
    let hex = mark.len() == 32 && mark.bytes().all(|b| b.is_ascii_hexdigit());
    let target = Target {
        host: host.to_owned(),
        port,
        user: (user != "-").then(|| user.to_owned()),
        identity: identity.to_owned(),
        pinning: Pinning::Pinned,
    };
    hex.then_some((target, mark))
}

/// Waits until none of the commands among `ctx.unfinished` runs any more. A host that cannot be looked at is told and left alone: the method that follows
/// finds out by itself whether it can be worked on.
pub async fn wait(ctx: &Context) -> Result<(), Failure> {
    let mut hosts: BTreeMap<String, (Target, Vec<&str>)> = BTreeMap::new();
    for (target, mark) in ctx.unfinished.iter().filter_map(|id| parse(id)) {
        let place = format!("{:?}", (&target.user, &target.host, target.port));
        hosts.entry(place).or_insert_with(|| (target, Vec::new())).1.push(mark);
    }
    for (target, marks) in hosts.into_values() {
        wait_at(ctx, &target, &marks).await?;
    }
    Ok(())
}

async fn wait_at(ctx: &Context, target: &Target, marks: &[&str]) -> Result<(), Failure> {
    let mut wait: Option<Wait<'_>> = None;
    loop {
        let running = match running(ctx, target, marks).await {
            Ok(running) => running,
            Err(why) => {
                ctx.reporter
                    .warn(&format!("{}: whether a command of the interrupted run still runs there is not known: {why}", target.host));
                return Ok(());
            }
        };
        if running.is_empty() {
            return Ok(());
        }
        let why = format!("{}: it still runs there (process {})", target.host, running.join(", "));
        let wait = wait.get_or_insert_with(|| {
            ctx.reporter.warn(&format!("waiting for a command of the interrupted run: {why}"));
            Wait::begin(ctx, PHASE, DEADLINE, (Duration::from_millis(300), Duration::from_secs(5)))
        });
        if !wait.again(&why).await? {
            let failure = Failure::theirs(format!("{why} {} s later", wait.seconds()));
            return Err(failure.maybe_acted().help("end it there if it hangs, then resume the run again"));
        }
    }
}

async fn running(ctx: &Context, target: &Target, marks: &[&str]) -> Result<Vec<String>, String> {
    let lines: String = marks.iter().map(|mark| format!("PMX_TASK={mark}.\n")).collect();
    let exec = Exec { input: Input::Bytes(lines.into_bytes()), ..Exec::new(Command::new("sh").args(["-c", SCRIPT]), LOOK) };
    let looked = tokio::select! {
        biased;
        () = ctx.reporter.cancelled() => return Ok(Vec::new()),
        done = ctx.wire.ssh.exec(target, exec, &|_, _| ()) => done.map_err(|error| error.to_string())?,
    };
    if looked.status != 0 {
        return Err(format!("looking ended with exit code {}", looked.status));
    }
    let mut pids: Vec<String> = looked.stdout.split_whitespace().map(str::to_owned).collect();
    pids.sort();
    pids.dedup();
    Ok(pids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back() {
        let target = Target {
            host: "10.0.0.7".into(),
            port: None,
            user: Some("root".into()),
            identity: "machine:fleet/vm/VM 102".into(),
            pinning: Pinning::Pinned,
        };
        for target in [target.clone(), Target { port: Some(2222), user: None, ..target }] {
            let (mark, id) = name(&target);
            assert_eq!(parse(&id), Some((target, mark.as_str())), "{id}");
        }
        for other in ["UPID:pve:00000001:00000001:00000001:qmstart:1:root@pam:", "SSH x - h - i", "SSH", ""] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn ids_are_read_or_passed_over_however_spoiled() {
        let id = "SSH 0123456789abcdef0123456789abcdef root 10.0.0.7 22 machine:fleet/vm/VM 102".replacen("SSH", WORD, 1);
        crate::walks::feed(&[id], |bytes| parse(&String::from_utf8_lossy(bytes)).map(drop).ok_or_else(|| "no id".to_owned()));
    }
}
