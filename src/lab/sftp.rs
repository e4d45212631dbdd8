//! The SFTP subsystem over a practice machine's files: protocol version 3 with OpenSSH's extensions `posix-rename`, `fsync`, `hardlink` and `limits`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use russh::Channel;
use russh::server::Msg;
use russh_sftp::protocol::{
    Attrs, Data, ExtendedReply, File, FileAttributes, Handle as Opened, Name, OpenFlags, Packet, Status, StatusCode, Version,
};
use russh_sftp::server::{Handler, StatusReply};

use super::host::files::{FileError, Files, Kind, Node, normalise};
use super::machine::Machine;

/// Files and directories that one connection may have open; OpenSSH's own limit is near it.
const MAX_HANDLES: usize = 1000;
/// Bytes of one read.
const MAX_READ: u32 = 256 << 10;

/// Serves SFTP on a channel, as `user`, until the far end closes it.
pub fn serve(channel: Channel<Msg>, machine: Arc<dyn Machine>, user: &str) {
    let home = if user == "root" { "/root".to_owned() } else { format!("/home/{user}") };
    let session = Session { machine, home, handles: BTreeMap::new(), next: 0 };
    let stream = channel.into_stream();
    tokio::spawn(async move { russh_sftp::server::run(stream, session).await });
}

/// What a handle stands for.
enum Open {
    File { path: String, write: bool, append: bool },
    Dir { path: String, entries: Option<Vec<String>> },
}

struct Session {
    machine: Arc<dyn Machine>,
    home: String,
    handles: BTreeMap<String, Open>,
    next: u64,
}

fn code(error: FileError) -> StatusReply {
    let code = match error {
        FileError::NotFound => StatusCode::NoSuchFile,
        _ => StatusCode::Failure,
    };
    // sshd says only "Failure" for most errors; the words of the errno help whoever debugs, and no client depends on them.
    code.with_message(error.to_string())
}

fn ok(id: u32) -> Status {
    Status { id, status_code: StatusCode::Ok, error_message: "Success".to_owned(), language_tag: String::new() }
}

fn attributes(node: &Node) -> FileAttributes {
    let kind = match node.kind {
        Kind::File(_) => 0o100_000,
        Kind::Dir => 0o040_000,
        Kind::Link(_) => 0o120_000,
    };
    let mtime = u32::try_from(node.mtime).unwrap_or(0);
    FileAttributes {
        size: Some(node.size()),
        uid: Some(node.uid),
        gid: Some(node.gid),
        permissions: Some(kind | node.mode),
        atime: Some(mtime),
        mtime: Some(mtime),
        ..FileAttributes::empty()
    }
}

fn apply(files: &mut Files, path: &str, attrs: &FileAttributes) -> Result<(), FileError> {
    if let Some(size) = attrs.size {
        files.truncate(path, size)?;
    }
    files.change(path, true, |node| {
        node.mode = attrs.permissions.map_or(node.mode, |p| p & 0o7777);
        node.uid = attrs.uid.unwrap_or(node.uid);
        node.gid = attrs.gid.unwrap_or(node.gid);
        node.mtime = attrs.mtime.map_or(node.mtime, i64::from);
    })
}

/// The next length-prefixed text of an extension's body.
fn text(body: &mut &[u8]) -> Option<String> {
    let (length, rest) = body.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let bytes = rest.get(..length)?;
    *body = &rest[length..];
    String::from_utf8(bytes.to_vec()).ok()
}

impl Session {
    fn files<R>(&self, act: impl FnOnce(&mut Files) -> Result<R, FileError>) -> Result<R, StatusReply> {
        let full = self.machine.faults().disk_full;
        let (mut act, mut result) = (Some(act), None);
        self.machine.with(&mut |host| {
            host.files.full = full;
            result = act.take().map(|act| act(&mut host.files));
        });
        result.unwrap_or(Err(FileError::Invalid)).map_err(code)
    }

    fn path(&self, given: &str) -> String {
        normalise(&self.home, given)
    }

    fn add(&mut self, open: Open) -> Result<String, StatusReply> {
        if self.handles.len() >= MAX_HANDLES {
            return Err(StatusCode::Failure.with_message("Too many open files"));
        }
        self.next += 1;
        let name = format!("{:x}", self.next);
        self.handles.insert(name.clone(), open);
        Ok(name)
    }

    fn file(&self, handle: &str) -> Result<(String, bool, bool), StatusReply> {
        match self.handles.get(handle) {
            Some(Open::File { path, write, append }) => Ok((path.clone(), *write, *append)),
            _ => Err(StatusCode::Failure.with_message("Invalid handle")),
        }
    }

    fn rename_over(&self, body: &[u8]) -> Result<(), StatusReply> {
        let mut body = body;
        let (Some(from), Some(to)) = (text(&mut body), text(&mut body)) else { return Err(StatusCode::BadMessage.into()) };
        let (from, to) = (self.path(&from), self.path(&to));
        self.files(|f| f.rename(&from, &to))
    }

    fn link(&self, body: &[u8]) -> Result<(), StatusReply> {
        let mut body = body;
        let (Some(from), Some(to)) = (text(&mut body), text(&mut body)) else { return Err(StatusCode::BadMessage.into()) };
        let (from, to) = (self.path(&from), self.path(&to));
        self.files(|f| {
            if f.lstat(&to).is_ok() {
                return Err(FileError::Exists);
            }
            let node = f.stat(&from)?.clone();
            let bytes = f.read(&from)?.to_vec();
            f.write(&to, bytes, node.mode)
        })
    }
}

impl Handler for Session {
    type Error = StatusReply;

    fn unimplemented(&self) -> StatusReply {
        StatusCode::OpUnsupported.into()
    }

    async fn init(&mut self, _version: u32, _extensions: HashMap<String, String>) -> Result<Version, StatusReply> {
        let mut version = Version::new();
        for name in ["posix-rename@openssh.com", "fsync@openssh.com", "hardlink@openssh.com", "limits@openssh.com"] {
            version.extensions.insert(name.to_owned(), "1".to_owned());
        }
        Ok(version)
    }

    async fn open(&mut self, id: u32, filename: String, pflags: OpenFlags, attrs: FileAttributes) -> Result<Opened, StatusReply> {
        let path = self.path(&filename);
        let write = pflags.intersects(OpenFlags::WRITE | OpenFlags::APPEND);
        let mode = attrs.permissions.map_or(0o644, |p| p & 0o777);
        let real = self.files(|files| {
            let there = files.stat(&path).map(Node::is_dir);
            match there {
                Ok(true) => return Err(FileError::IsDir),
                Ok(false) if pflags.contains(OpenFlags::EXCLUDE) && pflags.contains(OpenFlags::CREATE) => return Err(FileError::Exists),
                Ok(false) if pflags.contains(OpenFlags::TRUNCATE) => files.truncate(&path, 0)?,
                Ok(false) => {}
                Err(FileError::NotFound) if pflags.contains(OpenFlags::CREATE) => files.write(&path, Vec::new(), mode)?,
                Err(error) => return Err(error),
            }
            files.resolve(&path, true)
        })?;
        let handle = self.add(Open::File { path: real, write, append: pflags.contains(OpenFlags::APPEND) })?;
        Ok(Opened { id, handle })
    }

    async fn close(&mut self, id: u32, handle: String) -> Result<Status, StatusReply> {
        self.handles.remove(&handle).map(|_| ok(id)).ok_or_else(|| StatusCode::Failure.with_message("Invalid handle"))
    }

    async fn read(&mut self, id: u32, handle: String, offset: u64, len: u32) -> Result<Data, StatusReply> {
        let (path, ..) = self.file(&handle)?;
        let bytes = self.files(|f| f.read(&path))?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let length = usize::try_from(len.min(MAX_READ)).unwrap_or(0);
        let data = bytes[start..bytes.len().min(start + length)].to_vec();
        if data.is_empty() && len > 0 { Err(StatusCode::Eof.into()) } else { Ok(Data { id, data }) }
    }

    async fn write(&mut self, id: u32, handle: String, offset: u64, data: Vec<u8>) -> Result<Status, StatusReply> {
        let (path, write, append) = self.file(&handle)?;
        if !write {
            return Err(StatusCode::PermissionDenied.into());
        }
        // A file that was removed while it is open has no name to write to any more; sshd would write to the nameless one.
        self.files(|f| if append { f.append(&path, &data, 0o644) } else { f.write_at(&path, offset, &data) })?;
        Ok(ok(id))
    }

    async fn lstat(&mut self, id: u32, path: String) -> Result<Attrs, StatusReply> {
        let path = self.path(&path);
        Ok(Attrs { id, attrs: self.files(|f| f.lstat(&path).map(attributes))? })
    }

    async fn stat(&mut self, id: u32, path: String) -> Result<Attrs, StatusReply> {
        let path = self.path(&path);
        Ok(Attrs { id, attrs: self.files(|f| f.stat(&path).map(attributes))? })
    }

    async fn fstat(&mut self, id: u32, handle: String) -> Result<Attrs, StatusReply> {
        let (path, ..) = self.file(&handle)?;
        Ok(Attrs { id, attrs: self.files(|f| f.stat(&path).map(attributes))? })
    }

    async fn setstat(&mut self, id: u32, path: String, attrs: FileAttributes) -> Result<Status, StatusReply> {
        let path = self.path(&path);
        self.files(|f| apply(f, &path, &attrs))?;
        Ok(ok(id))
    }

    async fn fsetstat(&mut self, id: u32, handle: String, attrs: FileAttributes) -> Result<Status, StatusReply> {
        let (path, ..) = self.file(&handle)?;
        self.files(|f| apply(f, &path, &attrs))?;
        Ok(ok(id))
    }

    async fn opendir(&mut self, id: u32, path: String) -> Result<Opened, StatusReply> {
        let path = self.path(&path);
        let entries = self.files(|f| f.list(&path))?;
        let handle = self.add(Open::Dir { path, entries: Some(entries) })?;
        Ok(Opened { id, handle })
    }

    async fn readdir(&mut self, id: u32, handle: String) -> Result<Name, StatusReply> {
        let Some(Open::Dir { path, entries }) = self.handles.get_mut(&handle) else { return Err(StatusCode::Failure.into()) };
        let (path, Some(names)) = (path.clone(), entries.as_mut()) else { return Err(StatusCode::Eof.into()) };
        if names.is_empty() {
            return Err(StatusCode::Eof.into());
        }
        // A hundred at a time, as sshd does, so that a large directory stays below the size of a packet.
        let part: Vec<String> = names.drain(..names.len().min(100)).collect();
        let entry = |f: &Files, name: &String| f.lstat(&normalise(&path, name)).ok().map(|node| File::new(name.clone(), attributes(node)));
        let files = self.files(|f| Ok(part.iter().filter_map(|name| entry(f, name)).collect()))?;
        Ok(Name { id, files })
    }

    async fn remove(&mut self, id: u32, filename: String) -> Result<Status, StatusReply> {
        let path = self.path(&filename);
        self.files(|f| f.remove(&path))?;
        Ok(ok(id))
    }

    async fn mkdir(&mut self, id: u32, path: String, attrs: FileAttributes) -> Result<Status, StatusReply> {
        let path = self.path(&path);
        self.files(|f| f.mkdir(&path, attrs.permissions.map_or(0o755, |p| p & 0o7777)))?;
        Ok(ok(id))
    }

    async fn rmdir(&mut self, id: u32, path: String) -> Result<Status, StatusReply> {
        let path = self.path(&path);
        self.files(|f| f.rmdir(&path))?;
        Ok(ok(id))
    }

    async fn realpath(&mut self, id: u32, path: String) -> Result<Name, StatusReply> {
        let path = self.path(&path);
        let real = self.files(|f| f.resolve(&path, true)).unwrap_or(path);
        Ok(Name { id, files: vec![File::dummy(real)] })
    }

    async fn rename(&mut self, id: u32, oldpath: String, newpath: String) -> Result<Status, StatusReply> {
        // Version 3's rename refuses an existing target; `posix-rename@openssh.com` replaces it.
        let (from, to) = (self.path(&oldpath), self.path(&newpath));
        self.files(|f| if f.lstat(&to).is_ok() { Err(FileError::Exists) } else { f.rename(&from, &to) })?;
        Ok(ok(id))
    }

    async fn readlink(&mut self, id: u32, path: String) -> Result<Name, StatusReply> {
        let path = self.path(&path);
        let target = self.files(|f| match &f.lstat(&path)?.kind {
            Kind::Link(target) => Ok(target.clone()),
            _ => Err(FileError::Invalid),
        })?;
        Ok(Name { id, files: vec![File::dummy(target)] })
    }

    async fn symlink(&mut self, id: u32, linkpath: String, targetpath: String) -> Result<Status, StatusReply> {
        // OpenSSH sends the two arguments the other way round than the draft says, and every client follows OpenSSH.
        let (target, link) = (linkpath, self.path(&targetpath));
        self.files(|f| f.symlink(&target, &link))?;
        Ok(ok(id))
    }

    async fn extended(&mut self, id: u32, request: String, data: Vec<u8>) -> Result<Packet, StatusReply> {
        match request.as_str() {
            "posix-rename@openssh.com" => self.rename_over(&data)?,
            "hardlink@openssh.com" => self.link(&data)?,
            "fsync@openssh.com" => {
                let handle = text(&mut data.as_slice()).ok_or(StatusCode::BadMessage)?;
                self.file(&handle)?;
            }
            "limits@openssh.com" => {
                let limits = [u64::from(MAX_READ), u64::from(MAX_READ) - 1024, u64::from(MAX_READ) - 1024, MAX_HANDLES as u64];
                return Ok(Packet::ExtendedReply(ExtendedReply { id, data: limits.iter().flat_map(|n| n.to_be_bytes()).collect() }));
            }
            _ => return Err(StatusCode::OpUnsupported.into()),
        }
        Ok(Packet::Status(ok(id)))
    }
}
