//! Files over SFTP: put in place whole, listed, read; many requests in flight.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::TryFutureExt as _;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use russh::client::Msg;
use russh::{Channel, ChannelMsg};
use russh_sftp::client::error::Error;
use russh_sftp::client::{Config, RawSftpSession};
use russh_sftp::protocol::{FileAttributes, OpenFlags, Packet, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::wire::command::Command;
use crate::wire::connection::{self, Connection, Fault};
use crate::wire::content::Chunks;
use crate::wire::exec::{self, Job};
use crate::wire::ssh::{Input, RemoteFile, SshError, Upload, beside};

/// Files at once: 1,000 small files take 127 ms so, and 450 one at a time.
const FILES: usize = 64;

/// Bytes of one large file at once: half of the window that OpenSSH gives a channel.
const IN_FLIGHT: usize = 1 << 20;

/// Bytes of a write: what every server takes (draft-ietf-secsh-filexfer-02, section 3), and the most that one gets which says that it takes more.
const CHUNK: usize = 32 << 10;
const LARGEST_CHUNK: usize = 252 << 10;

/// With more files than this one `sync` of the file system takes the place of one per file: 1,000 of those cost seconds.
const TOGETHER: usize = 16;

/// The kernel takes no argument of 128 KiB, and the shell's text is one argument.
const LONGEST_COMMAND: usize = 100_000;

/// So many bytes of one file that have arrived are brought to the disk while others follow.
const EARLY: u64 = 64 << 20;

/// Deeper or larger trees are a mistake in the path.
const MOST_ENTRIES: usize = 1_000_000;

/// An SFTP server greets at once, but the shell that starts it may be slow.
const GREETING_WITHIN: Duration = Duration::from_secs(20);

/// Where systems put OpenSSH's SFTP server.
const SERVERS: &str = "for server in /usr/lib/openssh /usr/lib/ssh /usr/libexec/openssh /usr/libexec; do
  [ -x $server/sftp-server ] && exec $server/sftp-server
done";

/// More than this before the mark comes from no startup file.
const LONGEST_NOISE: usize = 64 << 10;

/// Kinds of files in the permission bits.
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;

const POSIX_RENAME: &str = "posix-rename@openssh.com";
const FSYNC: &str = "fsync@openssh.com";
const LIMITS: &str = "limits@openssh.com";

/// An SFTP session on its own channel.
pub(super) struct Session {
    raw: RawSftpSession,
    connection: Arc<Connection>,
    host: String,
    home: String,
    posix_rename: bool,
    fsync: bool,
    chunk: usize,
    _permit: OwnedSemaphorePermit,
}

/// Where a file goes, and the name under which it is written: in the same directory, so that one rename puts it in place.
struct Place {
    dest: String,
    temp: String,
}

impl Place {
    fn of(dest: String) -> Self {
        let name = dest.rsplit('/').next().unwrap_or_default();
        let temp = format!("{}{}{}", &dest[..dest.len() - name.len()], beside(name), uuid::Uuid::new_v4().simple());
        Self { dest, temp }
    }
}

/// Names of files that are not in place yet.
#[derive(Default)]
pub(super) struct Temporary(Mutex<BTreeSet<String>>);

impl Temporary {
    /// Whether there are any.
    pub(super) fn any(&self) -> bool {
        !self.names().is_empty()
    }

    fn names(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// Starts SFTP on a new channel of `connection`. Nothing has begun when it fails with [`Fault::Gone`].
    pub(super) async fn open(connection: &Arc<Connection>, deadline: Duration) -> Result<Self, Fault> {
        let connection::Place { mut channel, mut permit } = connection.channel().await?;
        subsystem(&mut channel, &connection.name).await?;
        // The caller's deadline rules; a sync on a busy disk may well take longer than the library's 10 s.
        let config = Config { request_timeout_secs: deadline.as_secs().saturating_add(1), ..Config::default() };
        let mut raw = RawSftpSession::new_with_config(channel.into_stream(), config.clone());
        let told = |e: Error| refused(&connection.name, "sftp", &e);
        let version = match tokio::time::timeout(GREETING_WITHIN, raw.init()).await {
            Ok(Ok(version)) => version,
            // The shell that starts the server has printed something first, which no SFTP client understands.
            Ok(Err(_)) | Err(_) => {
                drop((raw, permit));
                let connection::Place { mut channel, permit: again } = connection.channel().await?;
                permit = again;
                by_command(&mut channel, &connection.name).await?;
                raw = RawSftpSession::new_with_config(channel.into_stream(), config);
                raw.init().await.map_err(told)?
            }
        };
        let offers = |name: &str| version.extensions.contains_key(name);
        let (posix_rename, fsync, limits) = (offers(POSIX_RENAME), offers(FSYNC), offers(LIMITS));
        let limits = async {
            let asked = if limits { raw.limits().await.ok() } else { None };
            asked.map_or(CHUNK, |limits| usize::try_from(limits.max_write_len).unwrap_or(LARGEST_CHUNK).clamp(CHUNK, LARGEST_CHUNK))
        };
        let (home, chunk) = tokio::join!(raw.realpath("."), limits);
        let home = home.map_err(told)?.files.into_iter().next().map(|file| file.filename).unwrap_or_default();
        let (connection, host) = (Arc::clone(connection), connection.name.clone());
        Ok(Self { raw, connection, host, home, posix_rename, fsync, chunk, _permit: permit })
    }

    /// Puts all files in place, and tells the SHA-256 of what was sent of each: all are written beside their places first, then reach the disk, then take their places.
    pub(super) async fn upload(
        &self,
        files: &[Upload],
        progress: &(dyn Fn(u64) + Send + Sync),
        temporary: &Temporary,
    ) -> Result<Vec<String>, SshError> {
        let places: Vec<Place> = files.iter().map(|file| Place::of(self.path(&file.dest))).collect();
        let dirs: BTreeSet<&str> = places.iter().map(|place| parent(&place.dest)).collect();
        self.make_dirs(&dirs).await?;
        let travelled = AtomicU64::new(0);
        let report = |bytes: usize| progress(travelled.fetch_add(bytes as u64, Ordering::SeqCst) + bytes as u64);
        let each = self.fsync && files.len() <= TOGETHER;
        temporary.names().extend(places.iter().map(|place| place.temp.clone()));
        let writes = (0..files.len()).map(|at| self.write(&files[at], &places[at], each, &report).map_ok(move |sha256| (at, sha256)));
        let mut sent: Vec<(usize, String)> = stream::iter(writes).buffer_unordered(FILES).try_collect().await?;
        sent.sort_unstable();
        if self.fsync && !each && !self.sync_together(&dirs).await {
            let syncs = (0..files.len()).map(|at| self.sync(&places[at]));
            stream::iter(syncs).buffer_unordered(FILES).try_collect::<()>().await?;
        }
        let renames = (0..files.len()).map(|at| self.settle(&places[at], &files[at].dest, temporary));
        stream::iter(renames).buffer_unordered(FILES).try_collect::<()>().await?;
        Ok(sent.into_iter().map(|(_, sha256)| sha256).collect())
    }

    /// Writes a file beside its place, and tells its SHA-256.
    async fn write(&self, file: &Upload, place: &Place, sync: bool, report: &(dyn Fn(usize) + Send + Sync)) -> Result<String, SshError> {
        let told = |e: Error| refused(&self.host, &file.dest, &e);
        let mut chunks = Chunks::of(&file.content, self.chunk);
        let first = chunks.next().await?;
        let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::EXCLUDE;
        // Closed to all others from its first moment; what it may become, it becomes when it is complete.
        let handle = self.raw.open(place.temp.as_str(), flags, mode(0o600)).await.map_err(told)?.handle;
        let handle = handle.as_str();
        let arrived = &watch::Sender::new(0);
        let write = |offset: u64, data: Vec<u8>| async move {
            let length = data.len();
            if length > 0 {
                self.raw.write(handle, offset, data).await.map_err(told)?;
                report(length);
                arrived.send_modify(|bytes| *bytes += length as u64);
            }
            Ok::<(), SshError>(())
        };
        let moded = async { self.raw.fsetstat(handle, mode(file.mode)).await.map(drop).map_err(told) };
        let synced = async { if sync { self.raw.fsync(handle).await.map(drop).map_err(told) } else { Ok(()) } };
        let close = async { self.raw.close(handle).await.map(drop).map_err(told) };
        if let Some(sha256) = chunks.sha256() {
            // A server does what concerns one file in the order in which it was asked (draft-ietf-secsh-filexfer-02, section 6.1), so nothing has to wait.
            tokio::try_join!(biased; write(0, first), moded, synced, close)?;
            return Ok(sha256.clone());
        }
        let begun = stream::once(async move { Ok((0, first)) });
        let writes = begun.chain(chunks.rest()).map_ok(|(offset, data)| write(offset, data));
        let writes = writes.try_buffer_unordered((IN_FLIGHT / self.chunk).max(1)).try_collect::<()>();
        tokio::select! {
            written = writes => written?,
            never = self.sync_early(&place.temp, sync, arrived) => match never {},
        }
        moded.await?;
        synced.await?;
        close.await?;
        Ok(chunks.sha256().cloned().unwrap_or_default())
    }

    /// Brings what has arrived of a large file to the disk while the rest of it is on its way: the sync at its end waits for less. Where that is not
    /// possible it waits for all of it.
    async fn sync_early(&self, path: &str, wanted: bool, arrived: &watch::Sender<u64>) -> Infallible {
        let (mut arrived, mut next) = (arrived.subscribe(), EARLY);
        while wanted && arrived.wait_for(|bytes| *bytes >= next).await.is_ok() {
            if !self.sync_by_command(std::iter::once(path), &[]).await {
                break;
            }
            next = *arrived.borrow() + EARLY;
        }
        std::future::pending().await
    }

    async fn sync(&self, place: &Place) -> Result<(), SshError> {
        let told = |e: Error| refused(&self.host, &place.dest, &e);
        // Opened to read, because its mode may by now forbid writing; the sync does not mind.
        let handle = self.raw.open(place.temp.as_str(), OpenFlags::READ, FileAttributes::empty()).await.map_err(told)?.handle;
        self.raw.fsync(handle.as_str()).await.map_err(told)?;
        self.raw.close(handle).await.map(drop).map_err(told)
    }

    /// Brings the file systems of `dirs` to the disk by one command; whether that worked.
    async fn sync_together(&self, dirs: &BTreeSet<&str>) -> bool {
        self.sync_by_command(dirs.iter().copied(), &["-f"]).await
    }

    async fn sync_by_command(&self, paths: impl Iterator<Item = &str>, options: &[&str]) -> bool {
        let paths = paths.map(|path| if path.starts_with('-') { format!("./{path}") } else { path.to_owned() });
        let command = Command::new("sync").args(options.iter().copied()).args(paths);
        match command.render() {
            Ok(text) if text.len() <= LONGEST_COMMAND => matches!(self.connection.aside(&text).await, Ok(Some(0))),
            _ => false,
        }
    }

    async fn settle(&self, place: &Place, asked: &str, temporary: &Temporary) -> Result<(), SshError> {
        if let Err(error) = self.rename(&place.temp, &place.dest).await {
            // The host itself says no more than "failure".
            if self.raw.stat(place.dest.as_str()).await.is_ok_and(|there| kind(&there.attrs) == DIRECTORY) {
                let cause = "there is a directory of that name".to_owned();
                return Err(SshError::File { host: self.host.clone(), path: asked.to_owned(), cause });
            }
            return Err(refused(&self.host, asked, &error));
        }
        temporary.names().remove(&place.temp);
        Ok(())
    }

    async fn make_dirs(&self, dirs: &BTreeSet<&str>) -> Result<(), SshError> {
        let owned: Vec<String> = dirs.iter().map(|dir| (*dir).to_owned()).collect();
        let looks = owned.into_iter().map(|dir| async move { self.raw.stat(dir.as_str()).await.is_err().then_some(dir) });
        let missing: BTreeSet<String> = stream::iter(looks).buffer_unordered(FILES).filter_map(async |dir| dir).collect().await;
        for dir in &missing {
            self.make_dir(dir).await?;
        }
        Ok(())
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        if self.posix_rename {
            let mut data = Vec::new();
            for text in [from, to] {
                data.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
                data.extend_from_slice(text.as_bytes());
            }
            return match self.raw.extended(POSIX_RENAME, data).await? {
                Packet::Status(status) if status.status_code == StatusCode::Ok => Ok(()),
                Packet::Status(status) => Err(Error::Status(status)),
                _ => Err(Error::UnexpectedPacket),
            };
        }
        // Plain SFTP refuses to replace a file: between the two steps there is none, which only a server without the extension makes us accept.
        if self.raw.rename(from, to).await.is_ok() {
            return Ok(());
        }
        absent_is_fine(self.raw.remove(to).await.map(drop))?;
        self.raw.rename(from, to).await.map(drop)
    }

    async fn make_dir(&self, dir: &str) -> Result<(), SshError> {
        let ends = dir.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0).chain([dir.len()]);
        for end in ends {
            let path = &dir[..end];
            if self.raw.stat(path).await.is_ok() {
                continue;
            }
            if let Err(error) = self.raw.mkdir(path, FileAttributes::empty()).await {
                // Somebody else may have made it meanwhile.
                self.raw.stat(path).await.map_err(|_| refused(&self.host, path, &error))?;
            }
        }
        Ok(())
    }

    /// Removes temporary files; what cannot be removed stays.
    pub(super) async fn remove(&self, temporary: &Temporary) {
        let names: Vec<String> = temporary.names().iter().cloned().collect();
        let removals = names.into_iter().map(|name| self.raw.remove(name));
        stream::iter(removals).buffer_unordered(FILES).for_each(async |_| ()).await;
    }

    /// The regular files below `dir`, sorted by path; none when it does not exist.
    pub(super) async fn list(&self, dir: &str) -> Result<Vec<RemoteFile>, SshError> {
        let root = self.path(dir);
        let (mut files, mut level, mut seen) = (Vec::new(), vec![String::new()], 0);
        while !level.is_empty() {
            let pages = (0..level.len()).map(|at| self.entries(&root, &level[at]));
            let found: Vec<(String, FileAttributes)> = stream::iter(pages).buffer_unordered(FILES).try_concat().await?;
            seen += found.len();
            if seen > MOST_ENTRIES {
                let cause = format!("there are more than {MOST_ENTRIES} entries below it");
                return Err(SshError::File { host: self.host.clone(), path: dir.to_owned(), cause });
            }
            let (dirs, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|(_, attributes)| kind(attributes) == DIRECTORY);
            level = dirs.into_iter().map(|(path, _)| path).collect();
            let regular = others.into_iter().filter(|(_, attributes)| kind(attributes) == REGULAR);
            files.extend(regular.map(|(path, attributes)| {
                let (size, mode) = (attributes.size.unwrap_or(0), attributes.permissions.unwrap_or(0) & 0o7777);
                RemoteFile { path, size, mode, sha256: None }
            }));
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// What stands directly in `root/below`, by path below `root`. An absent directory is empty: the root may never have been there, and one below it
    /// may be gone by now.
    async fn entries(&self, root: &str, below: &str) -> Result<Vec<(String, FileAttributes)>, SshError> {
        let path = if below.is_empty() && !root.is_empty() { root.to_owned() } else { format!("{root}/{below}") };
        let told = |e: Error| refused(&self.host, &path, &e);
        let handle = match self.raw.opendir(path.as_str()).await {
            Ok(handle) => handle.handle,
            Err(error) if is_absent(&error) => return Ok(Vec::new()),
            Err(error) => return Err(told(error)),
        };
        let mut entries = Vec::new();
        loop {
            let page = match self.raw.readdir(handle.as_str()).await {
                Ok(page) => page.files,
                Err(Error::Status(status)) if status.status_code == StatusCode::Eof => break,
                Err(error) => return Err(told(error)),
            };
            let named = page.into_iter().filter(|entry| entry.filename != "." && entry.filename != "..");
            entries.extend(named.map(|entry| {
                let path = if below.is_empty() { entry.filename } else { format!("{below}/{}", entry.filename) };
                (path, entry.attrs)
            }));
            if entries.len() > MOST_ENTRIES {
                break;
            }
        }
        self.raw.close(handle).await.map_err(told)?;
        Ok(entries)
    }

    /// The bytes of a file of at most `limit` bytes; `None` when it does not exist.
    pub(super) async fn read(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, SshError> {
        let told = |e: Error| refused(&self.host, path, &e);
        let handle = match self.raw.open(self.path(path), OpenFlags::READ, FileAttributes::empty()).await {
            Ok(handle) => handle.handle,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(told(error)),
        };
        let mut bytes = Vec::new();
        // Read to its end instead of its size: files of /proc say they have none.
        loop {
            match self.raw.read(handle.as_str(), bytes.len() as u64, CHUNK as u32).await {
                Ok(data) => bytes.extend_from_slice(&data.data),
                Err(Error::Status(status)) if status.status_code == StatusCode::Eof => break,
                Err(error) => return Err(told(error)),
            }
            if bytes.len() as u64 > limit {
                let cause = format!("it has more than the {limit} bytes that were asked for");
                return Err(SshError::File { host: self.host.clone(), path: path.to_owned(), cause });
            }
        }
        self.raw.close(handle).await.map_err(told)?;
        Ok(Some(bytes))
    }

    /// `~` and `~/x` are the remote user's home; everything else is taken as it stands.
    fn path(&self, path: &str) -> String {
        let path = match path.strip_prefix('~') {
            Some("") => self.home.clone(),
            Some(rest) if rest.starts_with('/') => format!("{}{rest}", self.home.trim_end_matches('/')),
            _ => path.to_owned(),
        };
        let trimmed = path.trim_end_matches('/');
        trimmed.to_owned()
    }
}

/// Asks for the host's own SFTP server.
async fn subsystem(channel: &mut Channel<Msg>, host: &str) -> Result<(), Fault> {
    channel.request_subsystem(true, "sftp").await.map_err(|e| Fault::Gone(e.to_string()))?;
    loop {
        match channel.wait().await {
            Some(ChannelMsg::Success) => return Ok(()),
            Some(ChannelMsg::Failure) => return Err(no_sftp(host, "the host offers no SFTP (`Subsystem sftp` in its sshd_config)")),
            Some(ChannelMsg::Close) | None => return Err(Fault::Gone("the channel closed at once".to_owned())),
            Some(_) => {}
        }
    }
}

/// Starts the SFTP server as a command, behind a mark, and passes over all that comes before it.
async fn by_command(channel: &mut Channel<Msg>, host: &str) -> Result<(), Fault> {
    let (mark, text) = exec::marked(SERVERS);
    channel.exec(true, text).await.map_err(|e| Fault::Gone(e.to_string()))?;
    let mut heard = Vec::new();
    let listening = async {
        while let Some(message) = channel.wait().await {
            if let ChannelMsg::Data { data } = message {
                heard.extend_from_slice(&data);
                if exec::behind(&heard, &mark).is_some() {
                    return Ok(());
                }
            }
            if heard.len() > LONGEST_NOISE {
                break;
            }
        }
        let cause = "its SFTP does not answer; a startup file of the user's shell that prints something is the usual reason";
        Err(no_sftp(host, cause))
    };
    let late = |_| no_sftp(host, "its SFTP does not answer in time");
    tokio::time::timeout(GREETING_WITHIN, listening).await.map_err(late)?
}

fn no_sftp(host: &str, cause: &str) -> Fault {
    SshError::File { host: host.to_owned(), path: "sftp".to_owned(), cause: cause.to_owned() }.into()
}

/// Adds the SHA-256 of each file, computed on the host.
pub(super) async fn with_digests(connection: &Arc<Connection>, dir: &str, files: Vec<RemoteFile>) -> Result<Vec<RemoteFile>, Fault> {
    if files.is_empty() {
        return Ok(files);
    }
    // A name may begin with a dash, or with anything else: `./` before it and NUL behind it make it harmless.
    let names: String = files.iter().map(|file| format!("./{}\0", file.path)).collect();
    let keep = names.len() * 2 + files.len() * 80;
    let command = Command::new("xargs").args(["-0", "sha256sum"]).in_dir(dir);
    let text = command.render().map_err(|e| SshError::Local(e.to_string()))?;
    let what = format!("sha256sum in {dir}");
    let input = Input::Bytes(names.into_bytes());
    let job = Job { text: &text, words: command.words(), input: &input, keep, what: &what, begun: &|| () };
    let output = job.run(connection, &|_, _| ()).await?;
    let digests: BTreeMap<String, &str> = output.stdout.lines().filter_map(digest_line).collect();
    let add = |mut file: RemoteFile| match digests.get(&file.path) {
        Some(digest) => {
            file.sha256 = Some((*digest).to_owned());
            Ok(file)
        }
        None => {
            let cause = format!("no digest of it: {}", output.stderr.lines().last().unwrap_or("sha256sum did not name it"));
            Err(SshError::File { host: connection.name.clone(), path: format!("{dir}/{}", file.path), cause }.into())
        }
    };
    files.into_iter().map(add).collect()
}

/// `<64 hex>  ./path`; a leading backslash says that newlines and backslashes of the path are escaped.
fn digest_line(line: &str) -> Option<(String, &str)> {
    let (escaped, line) = line.strip_prefix('\\').map_or((false, line), |line| (true, line));
    let (digest, path) = line.split_at_checked(64)?;
    let path = path.strip_prefix("  ./").or_else(|| path.strip_prefix(" *./"))?;
    let path = if escaped { unescaped(path) } else { path.to_owned() };
    digest.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some((path, digest))
}

fn unescaped(path: &str) -> String {
    let (mut plain, mut rest) = (String::with_capacity(path.len()), path.chars());
    while let Some(c) = rest.next() {
        match (c, c == '\\') {
            (_, true) => match rest.next() {
                Some('n') => plain.push('\n'),
                Some('r') => plain.push('\r'),
                Some(other) => plain.push(other),
                None => plain.push('\\'),
            },
            (c, false) => plain.push(c),
        }
    }
    plain
}

fn mode(bits: u32) -> FileAttributes {
    FileAttributes { permissions: Some(bits & 0o7777), ..FileAttributes::default() }
}

/// What kind of thing it is. The library's own questions look at single bits, and a socket has those of a directory.
fn kind(attributes: &FileAttributes) -> u32 {
    attributes.permissions.unwrap_or(0) & 0o170_000
}

/// The directory of a path; one without is in the home, where SFTP and commands begin.
fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or(".", |(dir, _)| if dir.is_empty() { "/" } else { dir })
}

fn is_absent(error: &Error) -> bool {
    matches!(error, Error::Status(status) if status.status_code == StatusCode::NoSuchFile)
}

fn absent_is_fine(result: Result<(), Error>) -> Result<(), Error> {
    result.or_else(|error| if is_absent(&error) { Ok(()) } else { Err(error) })
}

fn refused(host: &str, path: &str, error: &Error) -> SshError {
    let host = host.to_owned();
    match error {
        Error::Status(status) => {
            let code = status.status_code.to_string().to_lowercase();
            let said = status.error_message.to_lowercase();
            // OpenSSH says the code again in words; other servers say more.
            let cause = if said.is_empty() || said == code { code } else { format!("{code} ({})", status.error_message) };
            SshError::File { host, path: path.to_owned(), cause }
        }
        // What the library says when the answer's channel is gone with the connection.
        Error::UnexpectedBehavior(words) if words == "sender dropped" => {
            SshError::Broken { host, what: path.to_owned(), cause: "the other side closed it".to_owned() }
        }
        other => SshError::Broken { host, what: path.to_owned(), cause: other.to_string() },
    }
}

#[cfg(test)]
#[path = "sftp_tests.rs"]
mod tests;
