//! Files over SFTP: put in place whole, listed, read; many requests in flight.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use russh::ChannelMsg;
use russh_sftp::client::error::Error;
use russh_sftp::client::{Config, RawSftpSession};
use russh_sftp::protocol::{FileAttributes, OpenFlags, Packet, StatusCode};
use tokio::io::AsyncReadExt as _;
use tokio::sync::OwnedSemaphorePermit;

use crate::wire::command::Command;
use crate::wire::connection::{Connection, Fault, Place};
use crate::wire::exec::Job;
use crate::wire::ssh::{Content, Input, RemoteFile, SshError, Upload};

/// Files at once: 1,000 small files take 127 ms so, and 450 one at a time.
const FILES: usize = 64;

/// Chunks of one large file at once, and their size: together the window that SSH gives a channel.
const CHUNKS: usize = 32;
const CHUNK: usize = 32 << 10;

/// Deeper or larger trees are a mistake in the path.
const MOST_ENTRIES: usize = 1_000_000;

const POSIX_RENAME: &str = "posix-rename@openssh.com";
const FSYNC: &str = "fsync@openssh.com";

/// An SFTP session on its own channel.
pub(super) struct Session {
    raw: RawSftpSession,
    host: String,
    home: String,
    posix_rename: bool,
    fsync: bool,
    _permit: OwnedSemaphorePermit,
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
    pub(super) async fn open(connection: &Connection, deadline: Duration) -> Result<Self, Fault> {
        let Place { mut channel, permit } = connection.channel().await?;
        channel.request_subsystem(true, "sftp").await.map_err(|e| Fault::Gone(e.to_string()))?;
        loop {
            match channel.wait().await {
                Some(ChannelMsg::Success) => break,
                Some(ChannelMsg::Failure) => {
                    let cause = "the host offers no SFTP (`Subsystem sftp` in its sshd_config)".to_owned();
                    return Err(SshError::File { host: connection.name.clone(), path: "sftp".to_owned(), cause }.into());
                }
                Some(ChannelMsg::Close) | None => return Err(Fault::Gone("the channel closed at once".to_owned())),
                Some(_) => {}
            }
        }
        // The caller's deadline rules; a sync on a busy disk may well take longer than the library's 10 s.
        let config = Config { request_timeout_secs: deadline.as_secs().saturating_add(1), ..Config::default() };
        let raw = RawSftpSession::new_with_config(channel.into_stream(), config);
        let told = |e: Error| refused(&connection.name, "sftp", &e);
        let version = raw.init().await.map_err(told)?;
        let home = raw.realpath(".").await.map_err(told)?.files.into_iter().next().map(|file| file.filename).unwrap_or_default();
        let offers = |name: &str| version.extensions.contains_key(name);
        let (posix_rename, fsync) = (offers(POSIX_RENAME), offers(FSYNC));
        Ok(Self { raw, host: connection.name.clone(), home, posix_rename, fsync, _permit: permit })
    }

    /// Puts all files in place.
    pub(super) async fn upload(
        &self,
        files: &[Upload],
        progress: &(dyn Fn(u64) + Send + Sync),
        temporary: &Temporary,
    ) -> Result<(), SshError> {
        let parents: BTreeSet<String> = files.iter().filter_map(|file| parent(&self.path(&file.dest)).map(str::to_owned)).collect();
        for dir in &parents {
            self.make_dir(dir).await?;
        }
        let sent = AtomicU64::new(0);
        let report = |bytes: usize| progress(sent.fetch_add(bytes as u64, Ordering::SeqCst) + bytes as u64);
        let uploads = (0..files.len()).map(|at| self.put(&files[at], &report, temporary));
        stream::iter(uploads).buffer_unordered(FILES).try_collect::<()>().await
    }

    async fn put(&self, file: &Upload, report: &(dyn Fn(usize) + Send + Sync), temporary: &Temporary) -> Result<(), SshError> {
        let dest = self.path(&file.dest);
        let told = |e: Error| refused(&self.host, &file.dest, &e);
        let name = dest.rsplit('/').next().unwrap_or_default();
        let short: String = name.chars().take(100).collect();
        let temp = format!("{}.{short}.pmx-{}", &dest[..dest.len() - name.len()], uuid::Uuid::new_v4().simple());
        temporary.names().insert(temp.clone());
        let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::EXCLUDE;
        // Closed to all others from its first moment; what it may become, it becomes when it is complete.
        let handle = self.raw.open(temp.as_str(), flags, mode(0o600)).await.map_err(told)?.handle;
        self.fill(&handle, file, report).await?;
        self.raw.fsetstat(handle.as_str(), mode(file.mode)).await.map_err(told)?;
        if self.fsync {
            self.raw.fsync(handle.as_str()).await.map_err(told)?;
        }
        self.raw.close(handle).await.map_err(told)?;
        self.rename(&temp, &dest).await.map_err(told)?;
        temporary.names().remove(&temp);
        Ok(())
    }

    async fn fill(&self, handle: &str, file: &Upload, report: &(dyn Fn(usize) + Send + Sync)) -> Result<(), SshError> {
        let write = |offset: u64, data: Vec<u8>| async move {
            let length = data.len();
            self.raw.write(handle, offset, data).await.map_err(|e| refused(&self.host, &file.dest, &e))?;
            report(length);
            Ok::<(), SshError>(())
        };
        let bytes = match &file.content {
            Content::Bytes(bytes) => bytes.as_slice(),
            Content::Secret(secret) => secret.expose().as_bytes(),
            Content::File(path) => {
                let local = |e: std::io::Error| SshError::Local(format!("{} cannot be uploaded: {e}", path.display()));
                let source = tokio::fs::File::open(path).await.map_err(local)?;
                let chunks = stream::try_unfold((source, 0), |(mut source, offset)| async move {
                    let mut data = Vec::with_capacity(CHUNK);
                    (&mut source).take(CHUNK as u64).read_to_end(&mut data).await?;
                    let next = offset + data.len() as u64;
                    Ok((!data.is_empty()).then_some(((offset, data), (source, next))))
                });
                let writes = chunks.map_err(local).map_ok(|(offset, data)| write(offset, data));
                return writes.try_buffer_unordered(CHUNKS).try_collect().await;
            }
        };
        let chunk = |at: usize| bytes[at..bytes.len().min(at + CHUNK)].to_vec();
        let writes = (0..bytes.len()).step_by(CHUNK).map(|at| write(at as u64, chunk(at)));
        stream::iter(writes).buffer_unordered(CHUNKS).try_collect().await
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
        if self.raw.stat(dir).await.is_ok() {
            return Ok(());
        }
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
        let (mut files, mut queue, mut entries) = (Vec::new(), VecDeque::from([String::new()]), 0);
        while let Some(below) = queue.pop_front() {
            let path = format!("{root}/{below}");
            let told = |e: Error| refused(&self.host, &path, &e);
            let handle = match self.raw.opendir(path.trim_end_matches('/').to_owned() + if root.is_empty() { "/" } else { "" }).await {
                Ok(handle) => handle.handle,
                // The root may never have been there, and a directory below it may be gone by now.
                Err(error) if is_absent(&error) => continue,
                Err(error) => return Err(told(error)),
            };
            loop {
                let page = match self.raw.readdir(handle.as_str()).await {
                    Ok(page) => page.files,
                    Err(Error::Status(status)) if status.status_code == StatusCode::Eof => break,
                    Err(error) => return Err(told(error)),
                };
                entries += page.len();
                if entries > MOST_ENTRIES {
                    let cause = format!("there are more than {MOST_ENTRIES} entries below it");
                    return Err(SshError::File { host: self.host.clone(), path: dir.to_owned(), cause });
                }
                for entry in page.into_iter().filter(|entry| entry.filename != "." && entry.filename != "..") {
                    let path = if below.is_empty() { entry.filename.clone() } else { format!("{below}/{}", entry.filename) };
                    if entry.attrs.is_dir() {
                        queue.push_back(path);
                    } else if entry.attrs.is_regular() && !entry.attrs.is_symlink() {
                        let (size, mode) = (entry.attrs.size.unwrap_or(0), entry.attrs.permissions.unwrap_or(0) & 0o7777);
                        files.push(RemoteFile { path, size, mode, sha256: None });
                    }
                }
            }
            self.raw.close(handle).await.map_err(told)?;
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
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

fn parent(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(dir, _)| dir).filter(|dir| !dir.is_empty())
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
        other => SshError::Broken { host, what: path.to_owned(), cause: other.to_string() },
    }
}

#[cfg(test)]
#[path = "sftp_tests.rs"]
mod tests;
