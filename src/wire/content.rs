//! What an upload sends, in chunks that are hashed as they are read. A chunk of a local file is one step away from the runtime, whatever it takes to open
//! it, read it, and hash it.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use futures_util::stream::{self, BoxStream};
use ring::digest::{Context, SHA256};

use crate::wire::ssh::{Content, SshError, hex};

/// The chunks of a content from its beginning; each but the last has `size` bytes, and there may be one more after it that has none.
pub(super) struct Chunks<'a> {
    source: Source<'a>,
    /// What its SHA-256 must be.
    known: Option<&'a str>,
    size: usize,
    /// Of what was read so far; none while reading, and after the end.
    digest: Option<Context>,
    sha256: Option<String>,
}

enum Source<'a> {
    Memory(&'a [u8]),
    File(&'a Path, Option<File>),
}

impl<'a> Chunks<'a> {
    pub(super) fn of(content: &'a Content, size: usize) -> Self {
        let (source, known) = match content {
            Content::Bytes(bytes) => (Source::Memory(bytes), None),
            Content::Secret(secret) => (Source::Memory(secret.expose().as_bytes()), None),
            Content::File(path) => (Source::File(path, None), None),
            Content::Known(path, sha256) => (Source::File(path, None), Some(sha256.as_str())),
        };
        Self { source, known, size, digest: Some(Context::new(&SHA256)), sha256: None }
    }

    /// The SHA-256 of all of it in hex, once the end was reached; no chunk follows then.
    pub(super) const fn sha256(&self) -> Option<&String> {
        self.sha256.as_ref()
    }

    /// The next chunk; an empty one is the end of it, too.
    ///
    /// # Errors
    /// When the local file cannot be read, or is not what was known of it.
    pub(super) async fn next(&mut self) -> Result<Vec<u8>, SshError> {
        let (size, digest) = (self.size, self.digest.take());
        let mut digest = digest.ok_or_else(|| SshError::Local("an upload was read behind its end".to_owned()))?;
        let chunk = match &mut self.source {
            Source::Memory(rest) => {
                let (chunk, behind) = rest.split_at(rest.len().min(size));
                *rest = behind;
                digest.update(chunk);
                chunk.to_vec()
            }
            Source::File(path, open) => {
                let local = |cause: String| SshError::Local(format!("{} cannot be uploaded: {cause}", path.display()));
                let file = open.take().map_or_else(|| Err(path.to_owned()), Ok);
                let read = tokio::task::spawn_blocking(move || read(file, size, digest)).await.map_err(|e| local(e.to_string()))?;
                let (chunk, file, behind) = read.map_err(|e| local(e.to_string()))?;
                *open = Some(file);
                digest = behind;
                chunk
            }
        };
        if chunk.len() == size {
            self.digest = Some(digest);
            return Ok(chunk);
        }
        let sha256 = hex(digest.finish().as_ref());
        if let (Source::File(path, _), Some(known)) = (&self.source, self.known)
            && known != sha256
        {
            return Err(SshError::Local(format!("{} cannot be uploaded: it changed while it travelled", path.display())));
        }
        self.sha256 = Some(sha256);
        Ok(chunk)
    }

    /// The chunks behind the first one, with the offset of each.
    pub(super) fn rest<'c>(&'c mut self) -> BoxStream<'c, Result<(u64, Vec<u8>), SshError>> {
        let size = self.size as u64;
        let next = |(chunks, offset): (&'c mut Self, u64)| async move {
            if chunks.sha256.is_some() {
                return Ok(None);
            }
            let chunk = chunks.next().await?;
            let behind = offset + chunk.len() as u64;
            Ok(Some(((offset, chunk), (chunks, behind))))
        };
        Box::pin(stream::try_unfold((self, size), next))
    }
}

/// A chunk of a file that is open, or is opened for it.
#[expect(clippy::disallowed_methods, reason = "an upload reads the file that it sends")]
fn read(file: Result<File, PathBuf>, size: usize, mut digest: Context) -> std::io::Result<(Vec<u8>, File, Context)> {
    let (mut file, room) = match file {
        Ok(file) => (file, size),
        Err(path) => {
            let file = File::open(path)?;
            // Room for all of it, and for the look behind its end.
            let room = usize::try_from(file.metadata()?.len()).map_or(size, |length| size.min(length + 1));
            (file, room)
        }
    };
    let mut chunk = Vec::with_capacity(room);
    (&mut file).take(size as u64).read_to_end(&mut chunk)?;
    digest.update(&chunk);
    Ok((chunk, file, digest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::{Origin, Secret};

    async fn all(content: &Content, size: usize) -> Result<(Vec<usize>, Vec<u8>, String), SshError> {
        use futures_util::TryStreamExt as _;
        let mut chunks = Chunks::of(content, size);
        let first = chunks.next().await?;
        let (mut lengths, mut bytes) = (vec![first.len()], first);
        let rest: Vec<(u64, Vec<u8>)> = chunks.rest().try_collect().await?;
        for (offset, chunk) in rest {
            assert_eq!(offset, bytes.len() as u64);
            lengths.push(chunk.len());
            bytes.extend(chunk);
        }
        Ok((lengths, bytes, chunks.sha256().cloned().unwrap_or_default()))
    }

    fn digest(bytes: &[u8]) -> String {
        hex(ring::digest::digest(&SHA256, bytes).as_ref())
    }

    #[tokio::test]
    async fn every_length_comes_whole_with_its_digest() {
        let dir = tempfile::tempdir().unwrap();
        for (length, lengths) in [(0, vec![0]), (1, vec![1]), (7, vec![7]), (8, vec![8, 0]), (9, vec![8, 1]), (24, vec![8, 8, 8, 0])] {
            let text: String = "abcdefghijklmnopqrstuvwxyz".chars().take(length).collect();
            let path = dir.path().join(length.to_string());
            std::io::Write::write_all(&mut File::create_new(&path).unwrap(), text.as_bytes()).unwrap();
            let known = Content::Known(path.clone(), digest(text.as_bytes()));
            let secret = Content::Secret(Secret::new(text.as_str(), Origin::Computed));
            for content in [Content::Bytes(text.clone().into_bytes()), secret, Content::File(path), known] {
                let wanted = (lengths.clone(), text.clone().into_bytes(), digest(text.as_bytes()));
                assert_eq!(all(&content, 8).await.unwrap(), wanted, "{content:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_file_that_is_another_by_now_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file.as_file(), b"0123456789").unwrap();
        for size in [4, 10, 100] {
            let content = Content::Known(file.path().to_owned(), digest(b"before"));
            let error = all(&content, size).await.unwrap_err().to_string();
            assert!(error.ends_with("cannot be uploaded: it changed while it travelled"), "{error}");
        }
    }
}
