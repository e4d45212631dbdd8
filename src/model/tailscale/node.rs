//! `tailscale/node`: a machine in a tailnet: the package, the daemon, the login.

#[cfg(test)]
mod tests;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::model::contract::{
    Acts, At, Call, Context, Effect, Failure, FailureKind, Instance, MethodRow, Outcome, PhaseRow, SpecRow, TypeRow, Writes,
};
use crate::model::remote::{LOOK, Remote, SshGlobals, off, tail};
use crate::model::schema::object;
use crate::model::wait::{Wait, undeterred};
use crate::secret::{Credential, Secret};
use crate::value::Value;
use crate::wire::command::Command;
use crate::wire::ssh::{Exec, Input};

const DOC: &str = r#"
A machine that is a node of a tailnet.

```toml
type = "tailscale/node"

[global]
sshHost = '${{ model.fleet.resource.vm[inputs.vmName].attributes.ip }}'

[methods.install]
authKey = '${{ vault.get("proxmox-vault", "tailscaleAuthKey") }}'
```

`install` does nothing on a node that runs already. Else it installs the package `tailscale` where it is missing (apk or apt; Alpine has it in its
`community` repository, Debian needs Tailscale's own), starts the daemon now and at every boot, and logs in with the key. The key travels over standard input
into a file that only root may read and that is gone when the login ends, however it ends; it stands in no command. A key that is wrong, used up or expired
fails after `timeout` seconds, where `tailscale up` by itself would wait for ever.

Success is what the daemon says afterwards (`BackendState`), not how the command ended. A machine that an administrator must approve first is a failure that
says so. Settings that somebody made on the node stay: where `tailscale up` asks for them to be named, nothing is reset.

It needs root on the host (or a user who may do all of that).

Every call, as a step of a workflow:

```toml
[[step]]
name = "install"
call = "tailscaleNode.install"
with = { vmName = "web", timeout = 120 }
```
"#;

const INSTALL: &str = "the package to be installed";
const INSTALL_DEADLINE: Duration = Duration::from_secs(300);
const DAEMON: &str = "the daemon to answer";
const DAEMON_DEADLINE: Duration = Duration::from_secs(30);
const LOGIN: &str = "the tailnet to let it in";
/// What a login gets beyond its timeout, for a `tailscale up` that does not keep its own.
const GRACE: Duration = Duration::from_secs(5);
const STATE: &str = "the node to run";
const STATE_DEADLINE: Duration = Duration::from_secs(20);

/// The row of `tailscale/node`.
pub static TYPE: TypeRow = TypeRow {
    name: "tailscale/node",
    revision: 1,
    doc: DOC,
    globals: object::<SshGlobals>,
    specs: &[SpecRow { name: "result", doc: "The node in its tailnet.", attributes: object::<Node>, observer: None, trust: None }],
    methods: &[MethodRow {
        name: "install",
        doc: "Makes the machine a running node of the tailnet that the key belongs to. Does nothing on a node that runs.",
        effect: Effect::Converge,
        by_command: false,
        arguments: object::<Install>,
        writes: &[Writes { spec: "result", instance: Instance::Single("result") }],
        acts: &[Acts { at: At::Host("sshHost"), shared: false }],
        fresh: Duration::ZERO,
        phases: &[
            PhaseRow { name: INSTALL, argument: None, seconds: INSTALL_DEADLINE.as_secs() },
            PhaseRow { name: DAEMON, argument: None, seconds: DAEMON_DEADLINE.as_secs() },
            PhaseRow { name: LOGIN, argument: Some("timeout"), seconds: 60 + GRACE.as_secs() },
            PhaseRow { name: STATE, argument: None, seconds: STATE_DEADLINE.as_secs() },
        ],
        run: |ctx, call| Box::pin(install(ctx, call)),
    }],
};

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Install {
    /// An auth key of the tailnet; a secret.
    auth_key: Credential,
    /// Seconds that the tailnet may take to let the machine in.
    #[serde(default = "a_minute")]
    #[schemars(range(min = 1, max = 3600))]
    timeout: u64,
}

fn a_minute() -> u64 {
    60
}

/// The node in its tailnet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Node {
    /// Its first IPv4 address in the tailnet.
    tailscale_ip: String,
    /// Its full name in the tailnet, without a dot at the end; empty when the tailnet gives no names.
    dns_name: String,
    /// The daemon's word: `Running`.
    state: String,
}

/// What `tailscale status --json` says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Status {
    node: Node,
    /// The key of the node has expired.
    expired: bool,
    health: Vec<String>,
}

impl Status {
    fn runs(&self) -> bool {
        self.node.state == "Running" && !self.node.tailscale_ip.is_empty() && !self.expired
    }

    /// The JSON stands on standard output whatever the exit code: a stopped node ends with 1.
    fn read(text: &str) -> Option<Self> {
        let json: Json = serde_json::from_str(text.trim()).ok()?;
        let state = json.get("BackendState")?.as_str()?.to_owned();
        let own = json.get("Self").filter(|own| own.is_object());
        let addresses = own.and_then(|own| own.get("TailscaleIPs")).or_else(|| json.get("TailscaleIPs")).and_then(Json::as_array);
        let ipv4 = addresses.into_iter().flatten().filter_map(Json::as_str).find(|ip| ip.parse::<std::net::Ipv4Addr>().is_ok());
        let name = own.and_then(|own| own.get("DNSName")).and_then(Json::as_str).unwrap_or_default();
        let health = json.get("Health").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str);
        let node = Node { tailscale_ip: ipv4.unwrap_or_default().to_owned(), dns_name: name.trim_end_matches('.').to_owned(), state };
        let expired = own.and_then(|own| own.get("Expired")).and_then(Json::as_bool).unwrap_or(false);
        Some(Self { node, expired, health: health.map(str::to_owned).collect() })
    }
}

async fn install(ctx: &Context, call: Call) -> Result<Outcome, Failure> {
    let (ssh, Install { auth_key, timeout }) = call.typed::<SshGlobals, _>()?;
    let remote = ssh.remote(ctx).ok_or_else(|| off(ctx))?;
    let host = remote.target.host.clone();
    if let Some(status) = status(&remote).await?.filter(Status::runs) {
        return done(Outcome::unchanged(format!("{host} is {} already", status.node.tailscale_ip)), &status.node);
    }
    let key = key(ctx, &auth_key).await?;
    package(&remote).await?;
    daemon(&remote).await.map_err(Failure::maybe_acted)?;
    let before = answering(&remote).await.map_err(Failure::maybe_acted)?;
    // A node that was stopped and knows its tailnet may run again as soon as its daemon does.
    if before.runs() {
        return done(Outcome::changed(format!("{host} is {} again", before.node.tailscale_ip)), &before.node);
    }
    let told = login(&remote, key, timeout).await.map_err(Failure::maybe_acted)?;
    let status = running(&remote, told, timeout).await.map_err(Failure::maybe_acted)?;
    done(Outcome::changed(format!("{host} is {} now", status.node.tailscale_ip)), &status.node)
}

fn done(outcome: Outcome, node: &Node) -> Result<Outcome, Failure> {
    let value = Value::from_typed(node).map_err(|e| Failure::bug(format!("attributes: {e}")))?;
    Ok(outcome.write("result", "result", value))
}

/// The key, refused when it cannot be one: a daemon would wait for it in vain.
async fn key(ctx: &Context, credential: &Credential) -> Result<Secret, Failure> {
    let key = ctx.credentials.open(credential).await?;
    let text = key.expose().trim();
    if text.is_empty() || text.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err(
            Failure::yours("authKey is empty or holds spaces or control characters").help("make one in the tailnet's admin console")
        );
    }
    Ok(Secret::new(text, key.origin().clone()))
}

/// What the daemon says; `None` when there is none that answers.
async fn status(remote: &Remote<'_>) -> Result<Option<Status>, Failure> {
    let output = remote.look(Command::new("tailscale").args(["status", "--json"])).await?;
    Ok(Status::read(&output.stdout))
}

const PACKAGE: &str = "if command -v tailscale >/dev/null 2>&1; then exit 0; fi
if command -v apk >/dev/null 2>&1; then apk add --no-cache tailscale
elif command -v apt-get >/dev/null 2>&1; then DEBIAN_FRONTEND=noninteractive apt-get install -y tailscale
else echo 'there is neither apk nor apt-get' >&2; exit 69; fi";

async fn package(remote: &Remote<'_>) -> Result<(), Failure> {
    remote.ctx.reporter.phase(INSTALL, Some(INSTALL_DEADLINE));
    let output = remote.act(Exec::new(Command::script(PACKAGE), INSTALL_DEADLINE)).await?;
    if output.status == 0 {
        return Ok(());
    }
    let help = "on Alpine the repository `community` must stand in /etc/apk/repositories; on Debian, Tailscale's own (https://tailscale.com/download)";
    Err(remote.failed("installing the package tailscale", &output).help(help).maybe_acted())
}

/// OpenRC calls it `tailscale`, systemd `tailscaled`.
const SERVICE: &str = "if command -v rc-service >/dev/null 2>&1; then
  rc-update add tailscale default && rc-service tailscale start
else
  systemctl enable --now tailscaled
fi";

async fn daemon(remote: &Remote<'_>) -> Result<(), Failure> {
    let output = remote.act(Exec::new(Command::script(SERVICE), INSTALL_DEADLINE)).await?;
    if output.status == 0 { Ok(()) } else { Err(remote.failed("starting the service tailscale", &output)) }
}

async fn answering(remote: &Remote<'_>) -> Result<Status, Failure> {
    let mut wait = Wait::begin(remote.ctx, DAEMON, DAEMON_DEADLINE, (Duration::from_millis(200), Duration::from_secs(3)));
    loop {
        // It answers `NoState` while it reads what it knows.
        if let Some(status) = status(remote).await?.filter(|status| status.node.state != "NoState") {
            return Ok(status);
        }
        if !wait.again("it does not").await? {
            return Err(Failure::theirs(format!(
                "{}: the Tailscale daemon does not answer within {} s",
                remote.target.host,
                wait.seconds()
            ))
            .help("`tailscale status` and the daemon's log on the host say more; it needs /dev/net/tun"));
        }
    }
}

/// The key comes in on standard input and stands in a file of mode 0600 while the login lasts. `trap` takes it away however that ends; where even the shell is
/// killed, `forget` does.
const UP: &str = "umask 077
file=$(mktemp FILE.XXXXXX) && trap 'rm -f \"$file\"' EXIT && trap 'exit 143' HUP INT TERM && cat >\"$file\" || exit NO_FILE
tailscale up --timeout SECONDSs --auth-key \"file:$file\" </dev/null";
/// How it ends when there is no place for the key.
const NO_FILE: i32 = 73;

/// Where the key stands: in memory, because /run is, and under a name of this run.
fn file(ctx: &Context) -> String {
    format!("/run/pmx-tailscale.{}", ctx.who.run)
}

/// Logs in, and returns what it said when it says that this came to nothing.
async fn login(remote: &Remote<'_>, key: Secret, timeout: u64) -> Result<Option<Failure>, Failure> {
    let deadline = Duration::from_secs(timeout) + GRACE;
    remote.ctx.reporter.phase(LOGIN, Some(deadline));
    let script = UP.replace("FILE.", &format!("{}.", file(remote.ctx))).replace("SECONDS", &timeout.to_string());
    let mut exec = Exec::new(Command::script(script.replace("NO_FILE", &NO_FILE.to_string())), deadline);
    exec.input = Input::Secret(key);
    let done = remote.act(exec).await;
    if done.as_ref().is_ok_and(|output| output.status == 0) {
        return Ok(None);
    }
    forget(remote).await;
    match done {
        Ok(output) if output.status == NO_FILE => {
            let message = format!("{}: the key could not be put into a file in /run", remote.target.host);
            Err(Failure::theirs(message).tail(tail(&output)).help("it needs root there, and room in /run"))
        }
        Ok(output) => Ok(Some(remote.failed("`tailscale up`", &output))),
        Err(failure) if failure.kind == FailureKind::Cancelled => Err(failure),
        // A login that did not end in time says nothing; the daemon is asked.
        Err(failure) => Ok(Some(failure)),
    }
}

/// Takes the key away behind a login that was killed, whether or not the run is being cancelled.
async fn forget(remote: &Remote<'_>) {
    let ctx = undeterred(remote.ctx, LOOK);
    let again = Remote { ctx: &ctx, target: remote.target.clone() };
    let file = file(&ctx);
    let gone = again.look(Command::script(format!("rm -f {file}.*"))).await;
    if !gone.is_ok_and(|output| output.status == 0) {
        ctx.reporter.warn(&format!("the key may still stand in {file}.* on {}: remove it there", remote.target.host));
    }
}

/// The daemon's word decides: it may run although the command failed, and the other way round.
async fn running(remote: &Remote<'_>, told: Option<Failure>, timeout: u64) -> Result<Status, Failure> {
    let host = &remote.target.host;
    let mut wait = Wait::begin(remote.ctx, STATE, STATE_DEADLINE, (Duration::from_millis(200), Duration::from_secs(3)));
    let last = loop {
        let status = status(remote).await?;
        if let Some(status) = status.as_ref().filter(|status| status.runs()) {
            return Ok(status.clone());
        }
        // A login that failed does not come to succeed by waiting.
        let waits = told.is_none() && status.as_ref().is_none_or(|status| status.node.state != "NeedsMachineAuth");
        let state = status.as_ref().map_or("no answer", |status| status.node.state.as_str());
        if !waits || !wait.again(state).await? {
            break status;
        }
    };
    let Some(status) = last else {
        return Err(told.unwrap_or_else(|| Failure::theirs(format!("{host}: the Tailscale daemon answers no more"))));
    };
    let failure = match status.node.state.as_str() {
        "NeedsMachineAuth" => Failure::theirs(format!("{host}: the tailnet wants an administrator to approve this machine"))
            .help("approve it in the admin console, or use a key that is pre-approved; then run this again"),
        "NeedsLogin" => Failure::theirs(format!("{host}: authKey opened no tailnet within {timeout} s (state NeedsLogin)")).help(
            "the key is wrong, used up or expired, or the host does not reach the tailnet's server; make a new key in the admin console",
        ),
        _ if status.expired => Failure::theirs(format!("{host}: the node's own key has expired")).help("renew it in the admin console"),
        state => Failure::theirs(format!("{host}: the node does not run (state {state})")),
    };
    let said = |told: Failure| if told.tail.is_empty() { vec![told.message] } else { told.tail };
    let tail = told.map(said).unwrap_or(status.health);
    let asks = tail.iter().any(|line| line.contains("mentioning all non-default flags"));
    let failure = failure.tail(tail);
    Err(if asks {
        failure.help("the node has settings of its own, and pmx resets none: run `tailscale up` there with them")
    } else {
        failure
    })
}
