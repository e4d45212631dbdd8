//! `nginx/stream`: the proxy of one VM's ports, in an nginx that serves many.

mod compose;
mod place;
mod ports;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::contract::{Acts, At, Call, Context, Effect, Failure, Instance, MethodRow, Outcome, PhaseRow, SpecRow, TypeRow, Writes};
use crate::model::local::sha256;
use crate::model::nginx::stream::place::{FOLDER, Place};
use crate::model::nginx::stream::ports::{Listen, Port, listens, parse, render, spoken};
use crate::model::remote::{Host, Remote, off};
use crate::model::schema::object;
use crate::model::wait::{Wait, undeterred};
use crate::value::Value;

const DOC: &str = r#"
TCP and UDP proxies in an nginx with the stream module: one file of configuration for each VM.

```toml
type = "nginx/stream"

[global]
sshHost = "treehouse"
streamDir = "~/stream"

[methods.configure]
vmName = '${{ inputs.vmName }}'
targetIp = '${{ inputs.targetIp }}'
portMap = '${{ inputs.portMap }}'
```

`pmx build configure-proxy -i vmName=calamity -i targetIp=10.0.0.107 -i portMap=7777:7777,24454:24454/udp` then writes `~/stream/conf.d/calamity.conf`:

```text
# calamity: written by pmx, which replaces the whole file.
server {
    listen 7777;
    proxy_pass 10.0.0.107:7777;
}
server {
    listen 24454 udp;
    proxy_pass 10.0.0.107:24454;
}
```

What is assumed of `streamDir`:

* it holds a compose file (`compose.yaml`, `compose.yml`, `docker-compose.yml` or `docker-compose.yaml`) with one service whose image is nginx, or that has no
  other service; `sshUser` may speak to Docker. Or it holds no compose file but an `nginx.conf`, and nginx runs on the host with it:
  `nginx -p ~/stream -c nginx.conf`;
* `nginx.conf` loads the stream module where it is one (Debian: libnginx-mod-stream, Alpine: nginx-mod-stream) and includes the files of `conf.d/*.conf` (in
  the container: what is mounted from there) inside its `stream { }`.

```yaml
services:
  stream:
    image: nginx:1.27
    restart: unless-stopped
    ports:
      - "7777:7777"
    volumes:
      - ./nginx.conf:/etc/nginx/nginx.conf:ro
      - ./conf.d:/etc/nginx/stream.d:ro     # nginx.conf: stream { include /etc/nginx/stream.d/*.conf; }
```

`portMap` is `listen:backend[/tcp|udp],…`, at most 64 of them: the port that players connect to, then that of the machine behind. `targetIp` is an address,
never a name: nginx refuses its whole configuration for one name that does not resolve. A port that another file of `conf.d` listens on is refused with that
file's name.

The same ports are published in the compose file, by lines `- "25565:25565"` below the service's `ports:`, unless the service has `network_mode: host`.
Comments, order and quotes of the file stay as they are, ports that this proxy no longer needs go, and those of other proxies are never touched. A file
written in a form that the editor does not understand (`ports: [...]`, tabs, an anchor) is refused with its line. What the new file means is checked by
`docker compose config`: it must differ in these ports alone.

What happens, in this order, and what then becomes of the other proxies:

1. looking, which changes nothing: the present configuration must be good (`nginx -T`; else nginx's own words name the file), and nobody else may listen on a
   wanted port. A container that does not run is started first;
2. the configuration is written, and nginx tests it;
3. when ports are to be published, the compose file is written and the container made anew: this breaks the connections of all its proxies for a moment.
   Otherwise nginx reads its configuration again, and live connections stay;
4. every port is looked for among the sockets that nginx itself has open, because nginx says yes to a reload even if it cannot have a port.

When 2, 3 or 4 fails, or the run is cancelled, the files are put back byte for byte, the container is made as before if it was made anew, nginx reads its
configuration again, and the failure ends with "everything is as it was before", or says what is not.

When everything is so already, files and open ports, nothing is done: no file is written and nginx is not told anything. There is no method that removes
a proxy: delete its file and its lines below `ports:`, then `docker compose up -d` and `docker compose exec stream nginx -s reload`.

Every call, as a step of a workflow:

```toml
[[step]]
name = "configure"
call = "treehouse.configure"
with = { vmName = "calamity", targetIp = "10.0.0.107", portMap = "7777:7777,24454:24454/udp" }
```
"#;

const SERVED: &str = "nginx to serve every port";
/// For taking everything back, the container included.
const BACK_DEADLINE: Duration = Duration::from_secs(360);
/// nginx tries to take a port for 2.5 s.
const SERVED_DEADLINE: Duration = Duration::from_secs(15);

/// The row of `nginx/stream`.
pub static TYPE: TypeRow = TypeRow {
    name: "nginx/stream",
    revision: 1,
    doc: DOC,
    globals: object::<Globals>,
    specs: &[SpecRow { name: "proxy", doc: "The proxy of one VM.", attributes: object::<Proxy>, observer: None, trust: None }],
    methods: &[MethodRow {
        name: "configure",
        doc: "Makes the ports of one VM reachable through the proxy. Does nothing when they are.",
        effect: Effect::Converge,
        by_command: false,
        arguments: object::<Configure>,
        writes: &[Writes { spec: "proxy", instance: Instance::Argument("vmName") }],
        acts: &[Acts { at: At::Host("sshHost"), shared: false }],
        fresh: Duration::ZERO,
        phases: &[
            PhaseRow { name: "the container to be made anew", argument: None, seconds: place::UP_DEADLINE.as_secs() },
            PhaseRow { name: place::STARTED, argument: None, seconds: place::STARTED_DEADLINE.as_secs() },
            PhaseRow { name: SERVED, argument: None, seconds: SERVED_DEADLINE.as_secs() },
        ],
        run: |ctx, call| Box::pin(configure(ctx, call)),
    }],
};

/// Which nginx, on which host.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Globals {
    /// The host: an address, a name, or an alias of the user's ssh config. Null or empty means that the VM is off.
    ssh_host: Host,
    /// The user; null means the ssh config's, else `root`.
    #[serde(default = "keeb")]
    ssh_user: Option<String>,
    /// The port; null means the ssh config's, else 22.
    #[serde(default)]
    ssh_port: Option<u16>,
    /// The proxy's directory; a leading `~/` is the user's home.
    #[serde(default = "stream_dir")]
    stream_dir: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Configure {
    /// The VM whose proxy this is; its name is the file's.
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}$"))]
    vm_name: String,
    /// The address that is behind the proxy; no name.
    target_ip: String,
    /// `listen:backend[/tcp|udp],…`
    port_map: String,
}

#[expect(clippy::unnecessary_wraps, reason = "it is the default of an optional field")]
fn keeb() -> Option<String> {
    Some("keeb".to_owned())
}
fn stream_dir() -> String {
    "~/stream".to_owned()
}

/// The proxy of one VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Proxy {
    /// The address behind it.
    target_ip: String,
    /// Its ports, by number.
    ports: Vec<Port>,
    /// Its file on the host.
    file: String,
    /// The SHA-256 of that file.
    digest: String,
}

/// A change as it is to be made.
struct Change {
    /// The proxy's file below the project.
    file: String,
    /// What it holds now.
    old: Option<String>,
    /// What it is to hold.
    new: String,
    /// The ports it is to serve.
    wanted: BTreeSet<Listen>,
    /// The compose file to be, if it changes, with the ports that it then publishes.
    compose: Option<(String, BTreeSet<Listen>)>,
    /// Ports that nobody published before.
    fresh: BTreeSet<Listen>,
}

async fn configure(ctx: &Context, call: Call) -> Result<Outcome, Failure> {
    let (globals, arguments) = call.typed::<Globals, Configure>()?;
    let name = vm_name(&arguments.vm_name)?;
    let target: IpAddr = arguments.target_ip.trim().parse().map_err(|_| {
        Failure::yours(format!("targetIp `{}` is no address", arguments.target_ip.escape_debug()))
            .help("nginx would refuse its whole configuration for one name that does not resolve")
    })?;
    let ports = parse(&arguments.port_map)?;
    let remote = Remote::at(ctx, &globals.ssh_host, globals.ssh_user.as_deref(), globals.ssh_port).ok_or_else(|| off(ctx))?;
    let place = Place::find(&remote, &globals.stream_dir).await?;
    let change = plan(&place, name, render(name, target, &ports), &ports).await?;
    let proxy = Proxy {
        target_ip: target.to_string(),
        digest: sha256(change.new.as_bytes()),
        file: format!("{}/{}", globals.stream_dir.trim_end_matches('/'), change.file),
        ports,
    };
    let (host, shown) = (&remote.target.host, spoken(&change.wanted));
    let outcome = if equal(&place, &change).await? {
        Outcome::unchanged(format!("{host} proxies {shown} to {target} already"))
    } else {
        apply(&place, &change).await?;
        Outcome::changed(format!("{host} proxies {shown} to {target}"))
    };
    let value = Value::from_typed(&proxy).map_err(|e| Failure::bug(format!("attributes: {e}")))?;
    Ok(outcome.write("proxy", arguments.vm_name.as_str(), value))
}

/// The name becomes a file's: no way out of its directory, nothing that a listing hides.
fn vm_name(name: &str) -> Result<&str, Failure> {
    let good = (1..=64).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && !name.ends_with(' ')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || " ._-".contains(c));
    if good {
        return Ok(name);
    }
    Err(Failure::yours(format!("vmName `{}` cannot name a file: letters, digits, spaces, `.`, `_` and `-` only", name.escape_debug())))
}

async fn plan(place: &Place<'_>, name: &str, new: String, ports: &[Port]) -> Result<Change, Failure> {
    let (host, own) = (&place.remote.target.host, format!("{name}.conf"));
    let wanted: BTreeSet<Listen> = ports.iter().map(Port::outside).collect();
    let others = place.others(&own).await?;
    for (file, theirs) in &others {
        if let Some(port) = wanted.intersection(theirs).next() {
            return Err(Failure::yours(format!("{host}: {port} is another proxy's already: {}/{file}", place.dir))
                .help("choose another port, or remove that file"));
        }
    }
    let file = format!("{FOLDER}/{own}");
    let old = place.read(&file).await?;
    let mut change = Change { file, old, new, wanted, compose: None, fresh: BTreeSet::new() };
    let Some(compose) = place.compose.as_ref().filter(|_| place.publishes()) else { return Ok(change) };
    let now = compose.published();
    let foreign: BTreeSet<Listen> = others.into_values().flatten().collect();
    let had = change.old.as_deref().map(listens).unwrap_or_default();
    let remove: BTreeSet<Listen> =
        had.difference(&change.wanted).filter(|port| now.contains(port) && !foreign.contains(port)).copied().collect();
    change.fresh = change.wanted.difference(&now).copied().collect();
    let text = compose::edit(&compose.text, &compose.service, &remove, &change.fresh).map_err(|error| {
        Failure::yours(format!("{host}: {}/{}: {error}", place.dir, compose.file)).help("change that line by hand, then run this again")
    })?;
    if text != compose.text {
        let after = now.difference(&remove).chain(&change.fresh).copied().collect();
        change.compose = Some((text, after));
    }
    Ok(change)
}

/// Whether the files hold what they should and nginx serves it.
async fn equal(place: &Place<'_>, change: &Change) -> Result<bool, Failure> {
    if change.old.as_deref() != Some(change.new.as_str()) || change.compose.is_some() {
        return Ok(false);
    }
    let running = place.running().await?;
    if !running.runs || (place.publishes() && !change.wanted.is_subset(&running.published)) {
        return Ok(false);
    }
    let config = place.test().await?;
    Ok(change.wanted.is_subset(&place.open(&config).await?))
}

/// Makes the change, or leaves everything as it was.
async fn apply(place: &Place<'_>, change: &Change) -> Result<(), Failure> {
    let ctx = place.remote.ctx;
    let running = place.running().await?;
    if place.publishes() {
        free(place, change, &running.published).await?;
    }
    if !running.runs {
        ctx.reporter.warn("the proxy's container does not run: it is started first, as it is");
        place.up().await?;
    }
    let before = match place.test().await {
        Ok(config) => place.open(&config).await?,
        Err(failure) => return Err(failure.help("the configuration is broken already, before any change: mend it first")),
    };
    if !place.publishes() {
        free(place, change, &before).await?;
    }
    let anew = place.publishes() && (change.compose.is_some() || !change.wanted.is_subset(&running.published));
    let mut made = false;
    let Err(failure) = make(place, change, anew, &mut made).await else { return Ok(()) };
    // What was changed is taken back although the run may be cancelled by now.
    let calm = undeterred(ctx, BACK_DEADLINE);
    let remote = Remote { ctx: &calm, target: place.remote.target.clone() };
    let calm = Place { remote: &remote, dir: place.dir, compose: place.compose.clone() };
    match undo(&calm, change, (made, &before)).await {
        Ok(()) => Err(Failure { message: format!("{}; everything is as it was before", failure.message), ..failure }),
        Err(worse) => {
            let message = format!("{}; and it could not be taken back: {worse}", failure.message);
            Err(Failure { message, ..failure }.maybe_acted().help(format!("look at {} on {}", place.dir, place.remote.target.host)))
        }
    }
}

/// Whether nobody but this nginx, which has `own`, listens on a port of the change. One that is held without listening cannot be seen; nginx meets that.
async fn free(place: &Place<'_>, change: &Change, own: &BTreeSet<Listen>) -> Result<(), Failure> {
    let taken = place.taken().await?;
    let held: Vec<&Listen> = change.wanted.iter().filter(|port| taken.contains(port) && !own.contains(port)).collect();
    if held.is_empty() {
        return Ok(());
    }
    let message = format!("{}: another process holds {}", place.remote.target.host, spoken(held));
    Err(Failure::theirs(message).help("`ss -lntup` on the host says which; nothing was changed"))
}

/// Makes the change. `made` says afterwards whether the container may have been made anew, however this ended.
async fn make(place: &Place<'_>, change: &Change, anew: bool, made: &mut bool) -> Result<(), Failure> {
    let (host, reporter) = (&place.remote.target.host, &place.remote.ctx.reporter);
    place.write(&change.file, Some(&change.new)).await?;
    let config = place.test().await?;
    let own = format!("/{}:", change.file.rsplit('/').next().unwrap_or_default());
    if !config.lines().any(|line| line.starts_with("# configuration file ") && line.ends_with(&own)) {
        return Err(Failure::theirs(format!("{host}: nginx does not read {}/{}", place.dir, change.file))
            .help(format!("nginx.conf there must include {FOLDER}/*.conf (as it is mounted) inside stream {{ }}")));
    }
    if let (Some(compose), Some((text, ports))) = (&place.compose, &change.compose) {
        place.write(&compose.file, Some(text)).await?;
        if !compose.differs_only(&place.config().await?, ports) {
            return Err(Failure::bug(format!(
                "{host}: the changed {}/{} would mean something else than these ports",
                place.dir, compose.file
            )));
        }
    }
    if anew {
        reporter.warn("ports are published anew: the connections of the other proxies break for a moment");
        reporter.phase("the container to be made anew", Some(place::UP_DEADLINE));
        *made = true;
        place.up().await?;
    }
    // A container that was not made anew has not read the file yet; one that was, reads it once more without harm.
    place.reload().await?;
    served(place, &change.wanted, &config).await
}

/// Waits until nginx has every port open, and its container publishes it.
async fn served(place: &Place<'_>, wanted: &BTreeSet<Listen>, config: &str) -> Result<(), Failure> {
    let mut wait = Wait::begin(place.remote.ctx, SERVED, SERVED_DEADLINE, (Duration::from_millis(100), Duration::from_secs(2)));
    loop {
        let (open, running) = (place.open(config).await?, place.running().await?);
        let missing: Vec<&Listen> =
            wanted.iter().filter(|port| !open.contains(port) || (place.publishes() && !running.published.contains(port))).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let missing = spoken(missing);
        if !wait.again(&format!("{missing} is not open")).await? {
            let message = format!("{}: nginx does not get {missing} within {} s", place.remote.target.host, wait.seconds());
            return Err(Failure::theirs(message).help("another process holds that port: `ss -lntup` on the host says which"));
        }
    }
}

async fn undo(place: &Place<'_>, change: &Change, (made, before): (bool, &BTreeSet<Listen>)) -> Result<(), Failure> {
    place.write(&change.file, change.old.as_deref()).await?;
    if let (Some(compose), Some(_)) = (&place.compose, &change.compose) {
        place.write(&compose.file, Some(&compose.text)).await?;
    }
    if made {
        place.up().await?;
    }
    place.reload().await?;
    let config = place.test().await?;
    let open = place.open(&config).await?;
    let lost: Vec<&Listen> = before.difference(&open).collect();
    if lost.is_empty() { Ok(()) } else { Err(Failure::theirs(format!("{} is not served any more", spoken(lost)))) }
}
