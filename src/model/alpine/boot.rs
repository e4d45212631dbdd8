//! A machine that has booted from the network: it shows a new host key at each boot, so its SMBIOS uuid has to say which machine it is.

use std::time::Duration;

use crate::model::contract::{Context, Failure, PhaseRow};
use crate::model::remote::{Remote, SshGlobals, off};
use crate::wire::command::Command;
use crate::wire::ssh::Pinning;

/// The wait for a login.
const LOGIN: &str = "a login to work";
/// An address is known as soon as DHCP is through; sshd makes its keys only then.
const DEADLINE: Duration = Duration::from_secs(180);
/// The wait, for `plan`.
pub const PHASE: PhaseRow = PhaseRow { name: LOGIN, argument: None, seconds: DEADLINE.as_secs() };
/// Where a kernel shows the SMBIOS uuid.
const UUID: &str = "/sys/class/dmi/id/product_uuid";

/// Waits until a login works, and makes sure that the machine there is the one whose address was read.
pub async fn reach<'a>(ctx: &'a Context, ssh: &SshGlobals) -> Result<Remote<'a>, Failure> {
    let mut remote = ssh.remote(ctx).ok_or_else(|| off(ctx))?;
    remote.target.pinning = Pinning::ThisBoot;
    // The key of an earlier boot, seen by this process, says nothing about this one.
    ctx.wire.ssh.forget(&remote.target).await;
    ctx.reporter.phase(LOGIN, Some(DEADLINE));
    remote.files(ctx.wire.ssh.wait(&remote.target, DEADLINE), false).await?;
    prove(&remote).await?;
    Ok(remote)
}

/// Compares the machine's own uuid with the one that belongs to its address. A host that is given by name has none to compare.
async fn prove(remote: &Remote<'_>) -> Result<(), Failure> {
    let Some(expected) = remote.ctx.identity.strip_prefix("vm:") else { return Ok(()) };
    let host = &remote.target.host;
    let output = remote.look(Command::new("cat").arg(UUID)).await?;
    let seen = output.stdout.trim().to_ascii_lowercase();
    if output.status != 0 || seen.is_empty() {
        return Err(Failure::refused(format!("{host} does not tell its SMBIOS uuid ({UUID}), so nothing proves that it is {expected}")));
    }
    if seen != expected.to_ascii_lowercase() {
        return Err(Failure::refused(format!("{host} is another machine: its SMBIOS uuid is {seen}, not {expected}; nothing was done"))
            .help("the address belongs to somebody else by now; `pmx build sync-fleet` reads all addresses anew"));
    }
    Ok(())
}
