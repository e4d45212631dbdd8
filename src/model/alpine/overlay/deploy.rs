//! `deployApkovl`: package, leave out what must not be shared, compare, replace, and fetch it as the machines will.

use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::model::alpine::boot;
use crate::model::alpine::overlay::archive::{Shared, share};
use crate::model::alpine::overlay::{Deploy, Globals, Overlay};
use crate::model::contract::{Call, Context, Failure, Outcome};
use crate::model::local::sha256;
use crate::model::remote::{LOOK, Remote, tail};
use crate::model::wait::Wait;
use crate::value::Value;
use crate::wire::command::Command;
use crate::wire::percent;
use crate::wire::ssh::{Content, Exec, Pinning, RemoteFile, Target, Upload, beside};

/// The wait for the package.
pub const PACKAGE: &str = "lbu package";
/// The wait for the transfer.
pub const TRANSFER: &str = "the overlay to travel";
/// The wait for the HTTP server.
pub const SERVED: &str = "the overlay to be served";
/// The deadline of each.
pub const DEADLINE: Duration = Duration::from_secs(300);

/// How long the server may go on giving what stood there before. lighttpd keeps what it knows of a file for a second
/// (<https://redmine.lighttpd.net/projects/lighttpd/wiki/Server_stat-cache-engineDetails>), nginx with `open_file_cache` for a minute
/// (<https://nginx.org/en/docs/http/ngx_http_core_module.html#open_file_cache_valid>).
pub const KEPT: Duration = Duration::from_secs(90);
/// The intervals at which it is asked again.
const ASKED: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// The largest package. An overlay is what differs from the packages: some kilobytes, some megabytes where somebody keeps a program in it.
const LARGEST: usize = 64 << 20;
/// The same in base64 with its line breaks, and some room to notice that it is more.
const LARGEST_TEXT: usize = LARGEST / 3 * 4 / 76 * 77 + 1024;
/// The name that the kernel's `apkovl=` asks for.
const FILE: &str = "alpine.apkovl.tar.gz";
/// Whoever serves it is another user than root.
const MODE: u32 = 0o644;
/// How many of a path's directories a server may keep to itself.
const DEEPEST: usize = 8;

/// What is said of a file that is served in place of the overlay.
const OTHER: &str = "other bytes came";
const ANOTHER: &str = "the HTTP server gives another file under that name: is its document root elsewhere, or does it keep old files open (nginx's `open_file_cache`)?";
/// What a failed transfer leaves.
const WHOLE: &str = "what was served before is served still: a new overlay takes its place only when all of it has come; run it again";

/// As text, because what a command prints arrives here as text. A pipe hides its first command's status.
const PACKAGE_SCRIPT: &str = r#"{ lbu package - || echo "pmx: lbu package ended with exit code $?" >&2; } | base64"#;
/// What a machine of that network gets; the reason of a refusal is on standard error.
const FETCH: &str = r#"wget -q -T 30 -O - "$1" | sha256sum"#;

/// Removes the files whose names begin so.
const SWEEP: &str = r#"for file in "$1"*; do [ ! -f "$file" ] || rm -f "$file" || exit 1; done"#;

/// `deployApkovl(tftpHost, tftpPath)`.
pub(super) async fn deploy(ctx: &Context, call: Call) -> Result<Outcome, Failure> {
    let (globals, arguments) = call.typed::<Globals, Deploy>()?;
    let (host, path) = (check_host(&arguments.tftp_host)?, check_path(&arguments.tftp_path)?);
    let gold = boot::reach(ctx, &globals.ssh).await?;
    let shared = package(&gold).await?;
    warn(ctx, &shared);
    let digest = sha256(&shared.bytes);
    let identity = format!("host:{host}");
    let target = Target { host: host.to_owned(), port: None, user: None, identity, pinning: Pinning::Pinned };
    let server = Remote { ctx, target };
    let bytes = shared.bytes.len() as u64;
    let changed = put(&server, &path, shared.bytes, &digest).await?;
    let blame = |failure: Failure| if changed { failure.maybe_acted() } else { failure };
    let url = served(&gold, host, &path, &digest, changed).await.map_err(blame)?;
    let overlay = Overlay {
        file: path.rsplit('/').next().unwrap_or(FILE).to_owned(),
        bytes,
        digest: format!("sha256:{digest}"),
        target: format!("{host}:{path}"),
        url,
        dropped: shared.dropped,
    };
    let attributes = Value::from_typed(&overlay).map_err(|e| Failure::bug(format!("attributes: {e}")))?;
    let outcome = if changed {
        Outcome::changed(format!("put the overlay, {bytes} bytes, at {}", overlay.target))
    } else {
        Outcome::unchanged(format!("{} has this overlay already", overlay.target))
    };
    Ok(outcome.write("overlay", "overlay", attributes))
}

fn check_host(host: &str) -> Result<&str, Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    let name = !host.is_empty() && !host.starts_with('-') && host.chars().all(plain);
    if name || host.parse::<IpAddr>().is_ok() {
        return Ok(host);
    }
    let failure = Failure::yours(format!("`{host}` is no address and no name of a host"));
    if host.contains([':', '/']) {
        Err(failure.help("the address alone: the overlay is served over HTTP at port 80"))
    } else {
        Err(failure)
    }
}

fn check_path(path: &str) -> Result<String, Failure> {
    let bad = |why: &str| Failure::yours(format!("`{path}` cannot hold the overlay: {why}"));
    if !path.starts_with('/') {
        return Err(bad("it is not absolute"));
    }
    if path.chars().any(char::is_control) || path.split('/').any(|part| part == "..") {
        return Err(bad("it holds `..` or a control character"));
    }
    let path = path.trim_end_matches('/');
    Ok(if path.ends_with(".tar.gz") { path.to_owned() } else { format!("{path}/{FILE}") })
}

/// The gold image's overlay without what must not be shared.
async fn package(gold: &Remote<'_>) -> Result<Shared, Failure> {
    let host = &gold.target.host;
    gold.ctx.reporter.phase(PACKAGE, Some(DEADLINE));
    let exec = Exec { keep: LARGEST_TEXT, ..Exec::new(Command::new("sh").args(["-c", PACKAGE_SCRIPT]), DEADLINE) };
    let output = gold.fetch(exec).await?;
    if output.status != 0 || output.stderr.contains("pmx: lbu package ended") {
        return Err(Failure::theirs(format!("{host}: `lbu package -` failed")).tail(tail(&output)));
    }
    if output.stdout.len() >= LARGEST_TEXT {
        let message = format!("{host}: the overlay is larger than {} MiB", LARGEST >> 20);
        return Err(Failure::theirs(message).help("`lbu status` on the gold image lists what is in it; `lbu exclude` leaves something out"));
    }
    let text: Vec<u8> = output.stdout.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let bad = |why: String| Failure::theirs(format!("{host}: `lbu package -` gave no archive in gzip: {why}")).tail(tail(&output));
    let packed = STANDARD.decode(text).map_err(|e| bad(e.to_string()))?;
    if !packed.starts_with(&[0x1f, 0x8b]) {
        return Err(
            bad(format!("it begins with other bytes ({} in all)", packed.len())).help("an encrypted overlay cannot be booted by others")
        );
    }
    share(&packed).map_err(bad)
}

fn warn(ctx: &Context, shared: &Shared) {
    if !shared.open.is_empty() {
        ctx.reporter.warn(&format!("every machine that boots this overlay lets {} in without a password", shared.open.join(", ")));
    }
    if !shared.passwords.is_empty() {
        let users = shared.passwords.join(", ");
        ctx.reporter.warn(&format!("etc/shadow travels with the overlay: every machine has the gold image's password of {users}, and whoever reaches the HTTP server can read its hash"));
    }
}

/// Puts the file there unless it is there; says whether it travelled.
async fn put(server: &Remote<'_>, path: &str, bytes: Vec<u8>, digest: &str) -> Result<bool, Failure> {
    let fits = |file: Option<RemoteFile>| file.is_some_and(|file| file.sha256.as_deref() == Some(digest) && file.mode & 0o004 != 0);
    if fits(server.file(path).await?) {
        return Ok(false);
    }
    server.ctx.reporter.phase(TRANSFER, Some(DEADLINE));
    sweep(server, path).await?;
    let file = Upload { content: Content::Bytes(bytes), dest: path.to_owned(), mode: MODE };
    if let Err(failure) = server.files(server.upload(vec![file], DEADLINE), true).await {
        return Err(with_room(server, path, failure).await);
    }
    if !fits(server.file(path).await.map_err(Failure::maybe_acted)?) {
        let message = format!("{}:{path} was written, but reads differently afterwards", server.target.host);
        return Err(Failure::theirs(message).maybe_acted());
    }
    Ok(true)
}

/// Removes what earlier tries left beside the file when their connections were cut. This run alone writes there: the file is its place.
async fn sweep(server: &Remote<'_>, path: &str) -> Result<(), Failure> {
    let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
    let command = Command::new("sh").args(["-c", SWEEP, "sh"]).arg(format!("{dir}/{}", beside(name)));
    let output = server.act(Exec::new(command, LOOK)).await?;
    if output.status == 0 { Ok(()) } else { Err(server.failed("removing what an earlier try left", &output)) }
}

/// SFTP calls a full disk no more than a failure: what room there is goes along.
async fn with_room(server: &Remote<'_>, path: &str, failure: Failure) -> Failure {
    let dir = path.rsplit_once('/').map_or("/", |(dir, _)| dir);
    let Ok(output) = server.look(Command::new("df").args(["-Pk", &format!("{dir}/")])).await else {
        return Failure { help: failure.help.or(Some(WHOLE.to_owned())), ..failure };
    };
    let free = output.stdout.lines().nth(1).and_then(|line| line.split_whitespace().nth(3)).and_then(|free| free.parse::<u64>().ok());
    match free {
        Some(free) if failure.help.is_none() => failure.help(format!("{free} KiB are free in {dir}; {WHOLE}")),
        _ => Failure { help: failure.help.or(Some(WHOLE.to_owned())), ..failure },
    }
}

/// The addresses under which a server may serve a file: its document root is one of the file's directories. The deepest directory is the least likely.
fn urls(host: &str, path: &str) -> Vec<String> {
    let parts: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(percent::piece).collect();
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let from = |skip: usize| format!("http://{host}/{}", parts[skip..].join("/"));
    // `/srv/http` and `/var/www` are the usual roots: two directories.
    let usual = [2, 1, 3, 0].into_iter().chain(4..DEEPEST);
    usual.filter(|skip| *skip < parts.len()).map(from).collect()
}

/// The address under which the gold image gets exactly these bytes. After a change the server has some time to notice.
async fn served(gold: &Remote<'_>, host: &str, path: &str, digest: &str, changed: bool) -> Result<String, Failure> {
    let mut wait = Wait::begin(gold.ctx, SERVED, DEADLINE, ASKED);
    loop {
        let refused = match ask(gold, host, path, digest).await? {
            Ok(url) => return Ok(url),
            Err(refused) => refused,
        };
        let other = refused.iter().find(|line| line.contains(OTHER));
        if let Some(other) = other
            && changed
            && wait.lasted() < KEPT
            && wait.again(other).await?
        {
            continue;
        }
        let message = format!("the overlay is in place at {host}:{path}, but {host} does not serve it over HTTP");
        let help = if other.is_some() { ANOTHER } else { "is the HTTP server running, and is the path below its document root?" };
        return Err(Failure::theirs(message).help(help).tail(refused));
    }
}

/// The address at which these bytes come, or why they do not, for each address that may be it.
async fn ask(gold: &Remote<'_>, host: &str, path: &str, digest: &str) -> Result<Result<String, Vec<String>>, Failure> {
    let mut refused = Vec::new();
    for url in urls(host, path) {
        let output = gold.look(Command::new("sh").args(["-c", FETCH, "sh"]).arg(&url)).await?;
        let got = output.stdout.split_whitespace().next().unwrap_or_default();
        if output.status == 0 && got == digest {
            return Ok(Ok(url));
        }
        let why = match output.stderr.lines().map(str::trim).rfind(|line| !line.is_empty()) {
            Some(line) => line.to_owned(),
            None if got == sha256(b"") => "nothing came".to_owned(),
            None => format!("{OTHER} (sha256 {got})"),
        };
        refused.push(format!("{url}: {why}"));
    }
    Ok(Err(refused))
}
