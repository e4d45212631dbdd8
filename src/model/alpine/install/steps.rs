//! `install`: prove the machine, look, refuse what must not be erased; then password, setup-alpine, completion, proof, host key.

use std::net::IpAddr;
use std::time::Duration;

use crate::model::alpine::boot;
use crate::model::alpine::install::answers::{self, Answers};
use crate::model::alpine::install::disk::{self, Disk};
use crate::model::alpine::install::installed::{Found, Mounted};
use crate::model::alpine::install::{Globals, Install, Installed};
use crate::model::contract::{Call, Context, Failure, Outcome};
use crate::model::remote::{LOOK, Remote};
use crate::secret::{Origin, Secret};
use crate::value::Value;
use crate::wire::command::Command;
use crate::wire::ssh::{Exec, Input, Pinning};

/// The wait for setup-alpine.
pub const SETUP: &str = "setup-alpine";
/// Its deadline where nobody says another: it downloads a system.
pub const SETUP_SECONDS: u64 = 900;
/// For a login that pins the host key.
const PIN: Duration = Duration::from_secs(30);

/// `-e`, because without it and without a terminal the question for root's password is asked for ever. The file is on a file system in memory.
const SETUP_SCRIPT: &str = r#"umask 077
file=$(mktemp /tmp/pmx-answers.XXXXXX) && cat >"$file" || exit 1
ERASE_DISKS="$1" setup-alpine -e -f "$file" </dev/null
status=$?
rm -f "$file"
exit $status"#;

/// The running system, as far as the installed one takes after it.
struct Live {
    keys: String,
    dns: Vec<IpAddr>,
    mounts: String,
}

/// `install(hostname, password, disk, force)`.
pub(super) async fn install(ctx: &Context, call: Call) -> Result<Outcome, Failure> {
    let (globals, arguments) = call.typed::<Globals, Install>()?;
    answers::check_hostname(&arguments.hostname)?;
    answers::check_password(arguments.password.as_ref())?;
    let wanted = disk::wanted(&arguments.disk)?;
    allowed(ctx)?;
    let remote = boot::reach(ctx, &globals.ssh).await?;
    let live = look(&remote).await?;
    let disk = disk::find(ctx, &remote, wanted).await?;
    let content = erasable(&remote, &live, &disk, arguments.force).await?;
    let text = Answers { hostname: &arguments.hostname, disk: &disk.path(), keys: &live.keys, dns: &live.dns }.text()?;
    if let Some(content) = content {
        ctx.reporter.warn(&format!("{}: {} holds {content}, which is erased now", remote.target.host, disk.path()));
        disk::wipe(&remote, &disk).await?;
    }
    set_password(&remote, arguments.password.as_ref()).await?;
    let done = set_up(&remote, &disk, &text, &live.keys, &arguments).await.map_err(Failure::maybe_acted)?;
    let host_key = pin(ctx, &remote, done.1.host_key).await;
    ctx.wire.ssh.forget(&remote.target).await;
    let installed = Installed {
        host: remote.target.host.clone(),
        hostname: arguments.hostname.clone(),
        disk: disk.path(),
        root_device: done.0,
        release: done.1.release,
        root_password: arguments.password.is_some(),
        host_key,
    };
    let attributes = Value::from_typed(&installed).map_err(|e| Failure::bug(format!("attributes: {e}")))?;
    let summary = format!("installed Alpine {} as {} on {}", installed.release, installed.hostname, installed.disk);
    Ok(Outcome::changed(summary).write("result", "result", attributes))
}

/// The proofs that need no connection: which VM was shown, whether it may be erased, and whether it is the one whose address is used.
fn allowed(ctx: &Context) -> Result<(), Failure> {
    let Some(shown) = &ctx.guard.shown else {
        return Err(Failure::refused("no version of the machine was shown, so nothing proves which one is meant"));
    };
    let text = |name: &str| shown.get(name).and_then(Value::as_str).unwrap_or_default();
    let name = text("vmName");
    if ctx.guard.protected.iter().any(|protected| protected == name) {
        return Err(Failure::refused(format!("`{name}` is never erased: [protect] vms in the Pmxfile names it")));
    }
    if ctx.guard.own_only && text("madeBy") != ctx.who.run.as_str() {
        return Err(Failure::refused(format!("`{name}` is not erased: this run did not make it")));
    }
    let uuid = text("uuid");
    if uuid.is_empty() {
        return Err(Failure::refused(format!("the version shown of `{name}` has no SMBIOS uuid, so nothing proves its identity")));
    }
    if !ctx.identity.eq_ignore_ascii_case(&format!("vm:{uuid}")) {
        let message = format!("the address belongs to {}, but the version shown is of vm:{uuid}: nothing was erased", ctx.identity);
        return Err(Failure::refused(message));
    }
    Ok(())
}

/// What is on the disk and may be erased; refuses what must not be.
async fn erasable(remote: &Remote<'_>, live: &Live, disk: &Disk, force: bool) -> Result<Option<String>, Failure> {
    let host = &remote.target.host;
    if let Some((device, at)) = disk::mounted(&live.mounts, disk) {
        let message = format!("{host}: {device} is mounted at {at}; nothing was erased");
        return Err(Failure::refused(message).help(format!("`umount {at}` there first, if nothing needs it")));
    }
    let content = disk::content(remote, disk).await?;
    match &content {
        Some(content) if !force => {
            let message = format!("{host}: {} holds {content}; nothing was erased", disk.path());
            Err(Failure::refused(message).help("`force = true` erases it"))
        }
        _ => Ok(content),
    }
}

/// The file system of `/`, by a `/proc/mounts`: device and kind. What was mounted last is what is there.
fn root(mounts: &str) -> Option<(&str, &str)> {
    let entries = mounts.lines().map(|line| line.split(' ').collect::<Vec<&str>>());
    entries.filter(|words| words.len() > 2 && words[1] == "/").map(|words| (words[0], words[2])).next_back()
}

/// Looks at the running system, and refuses one that is not a netbooted Alpine.
async fn look(remote: &Remote<'_>) -> Result<Live, Failure> {
    let host = &remote.target.host;
    let read = async |path: &str| {
        let output = remote.look(Command::new("cat").arg(path)).await?;
        Ok::<_, Failure>(Some(output.stdout).filter(|_| output.status == 0))
    };
    if read("/etc/alpine-release").await?.is_none() {
        return Err(Failure::theirs(format!("{host} does not run Alpine: it has no /etc/alpine-release")));
    }
    let user = remote.look(Command::new("id").arg("-u")).await?;
    if user.stdout.trim() != "0" {
        return Err(Failure::yours(format!("{host}: only root may install")).help("set sshUser to root"));
    }
    let mounts = read("/proc/mounts").await?.unwrap_or_default();
    let (device, kind) = root(&mounts).ok_or_else(|| Failure::theirs(format!("{host}: /proc/mounts has no root file system")))?;
    if !matches!(kind, "tmpfs" | "ramfs" | "rootfs" | "overlay") {
        return Err(Failure::refused(format!(
            "{host} runs from {device} ({kind}): it is installed, and a running system cannot be erased"
        ))
        .help("boot it from the network first: `fleet.setBootOrder` with `order=net0`, then stop and start"));
    }
    let keys = read("/root/.ssh/authorized_keys").await?.unwrap_or_default();
    let keys: Vec<&str> = keys.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    if keys.is_empty() {
        return Err(Failure::theirs(format!(
            "{host} has no keys in /root/.ssh/authorized_keys: nobody could log in to the installed system"
        ))
        .help("the overlay or the kernel's ssh_key= brings them"));
    }
    let dns = answers::name_servers(&read("/etc/resolv.conf").await?.unwrap_or_default());
    Ok(Live { keys: keys.join("\n") + "\n", dns, mounts })
}

/// Sets or closes root's password on the running system, whose shadow file the installer copies. `*` rather than `!`: sshd keeps locked users out
/// altogether.
async fn set_password(remote: &Remote<'_>, password: Option<&Secret>) -> Result<(), Failure> {
    let line = |text: &str| Secret::new(format!("root:{text}\n"), Origin::Computed);
    let (command, input) = match password {
        // Without a name the method is whatever the host's busybox was built with, which may be DES: eight characters of the password.
        Some(password) => (Command::new("chpasswd").args(["-c", "SHA512"]), line(password.expose())),
        None => (Command::new("chpasswd").arg("-e"), line("*")),
    };
    let output = remote.act(Exec { input: Input::Secret(input), ..Exec::new(command, LOOK) }).await?;
    if output.status == 0 { Ok(()) } else { Err(remote.failed("setting root's password", &output).maybe_acted()) }
}

/// Runs the installer, completes what it made and proves it. The partition of the root, and what was found there.
async fn set_up(remote: &Remote<'_>, disk: &Disk, answers: &str, keys: &str, wanted: &Install) -> Result<(String, Found), Failure> {
    let deadline = Duration::from_secs(wanted.timeout);
    remote.ctx.reporter.phase(SETUP, Some(deadline));
    let command = Command::new("sh").args(["-c", SETUP_SCRIPT, "sh"]).arg(disk.path());
    let exec = Exec { input: Input::Bytes(answers.as_bytes().to_vec()), name: Some(SETUP), ..Exec::new(command, deadline) };
    let half = |failure: Failure| failure.help("the disk may be half installed: `force = true` begins anew");
    let output = remote.act(exec).await.map_err(half)?;
    if output.status != 0 {
        return Err(half(remote.failed(SETUP, &output)));
    }
    let there = disk::present(remote).await?;
    let made = there.into_iter().find(|now| now.name == disk.name).unwrap_or_else(|| disk.clone());
    let system = Mounted::new(remote, &made).await?;
    let done = async {
        system.complete(keys).await?;
        system.check(&wanted.hostname, wanted.password.is_some()).await
    };
    let found = done.await;
    let device = system.device.clone();
    // What went wrong inside counts more than a directory that stays busy.
    let unmounted = system.unmount().await;
    let found = found?;
    unmounted?;
    Ok((device, found))
}

/// Makes the key on the disk, which is the one that shows now, the machine's pinned key. The installation stands, whatever becomes of this.
async fn pin(ctx: &Context, remote: &Remote<'_>, host_key: Option<String>) -> Option<String> {
    let host = &remote.target.host;
    if host_key.is_none() {
        ctx.reporter.warn(&format!("{host}: the installed system shows another host key than now, so it could not be recorded"));
        return None;
    }
    let mut target = remote.target.clone();
    target.pinning = Pinning::Replace;
    if let Err(failure) = remote.files(ctx.wire.ssh.wait(&target, PIN), false).await {
        ctx.reporter.warn(&format!("{host}: the installed system's host key could not be recorded: {}", failure.message));
    }
    host_key
}
