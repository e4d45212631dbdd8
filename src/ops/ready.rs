//! Readiness: a profile's machines are started when they do not answer.
#![expect(clippy::disallowed_methods, reason = "starts the profile's command and waits for its address")]

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::ops::front::Front;
use crate::ops::site::Site;
use crate::source::{Diagnostic, Fault, Severity};
use crate::wire::names;

/// How long the start command may take.
const START: Duration = Duration::from_secs(60);
/// How long one look at the address may take.
const LOOK: Duration = Duration::from_secs(2);

/// Runs the profile's start command unless its ready address answers already.
pub async fn make_ready(site: &Site, front: &Front) -> Result<(), Diagnostic> {
    let Some((name, profile)) = &site.profile else { return Ok(()) };
    let Some(start) = &profile.start else { return Ok(()) };
    let address = profile.ready.as_ref().map(|ready| ready.value.as_str());
    if let Some(address) = address
        && answers(&site.root, address).await
    {
        return Ok(());
    }
    let shown = start.value.join(" ");
    let theirs = |message: String| Diagnostic::new(Severity::Error, Fault::Theirs, message).at(&start.span, "");
    let Some((first, rest)) = start.value.split_first() else { return Err(theirs(format!("profile {name}: `start` is empty"))) };
    // `pmx` is this very program, also when it is not on the PATH yet.
    let program = if first == "pmx" { front.program.clone().into_os_string() } else { first.into() };
    let mut command = tokio::process::Command::new(program);
    command.args(rest).current_dir(&site.root).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let began = Instant::now();
    let output = tokio::time::timeout(START, command.output()).await;
    match output {
        Err(_) => return Err(theirs(format!("profile {name}: `{shown}` did not end within {} s", START.as_secs()))),
        Ok(Err(error)) => return Err(theirs(format!("profile {name}: `{shown}` cannot be started: {error}"))),
        Ok(Ok(output)) if !output.status.success() => {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(theirs(format!("profile {name}: `{shown}` failed ({}): {said}", output.status)));
        }
        Ok(Ok(_)) => {}
    }
    let Some(address) = address else { return Ok(()) };
    while !answers(&site.root, address).await {
        if began.elapsed() > START {
            return Err(theirs(format!("profile {name}: {address} does not answer {} s after `{shown}`", START.as_secs())));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Whether something listens at `host:port`, or at a unix socket below the project: the socket cannot be another project's.
async fn answers(root: &Path, address: &str) -> bool {
    let look = async {
        if address.contains('/') {
            return tokio::net::UnixStream::connect(root.join(address)).await.is_ok();
        }
        let Some((host, port)) = address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?))) else { return false };
        names::connect(host.trim_start_matches('[').trim_end_matches(']'), port).await.is_ok()
    };
    tokio::time::timeout(LOOK, look).await.unwrap_or(false)
}
