//! An overlay's archive (tar in gzip), read entry by entry: what must not be shared is left out, all else goes through byte for byte.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

/// Tar's unit.
const BLOCK: usize = 512;
/// Longer is no path.
const LONGEST_NAME: u64 = 1 << 16;
/// A shadow file is read up to here.
const LARGEST_SHADOW: u64 = 1 << 20;
/// An archive of 64 MiB that unpacks to more than this is no overlay.
const LARGEST: u64 = 1 << 30;

/// What became of an archive.
#[derive(Debug, PartialEq, Eq)]
pub struct Shared {
    /// The archive to serve.
    pub bytes: Vec<u8>,
    /// The paths that were left out.
    pub dropped: Vec<String>,
    /// Users whose password's hash is in it.
    pub passwords: Vec<String>,
    /// Users who need no password.
    pub open: Vec<String>,
}

/// Whether a file must differ from machine to machine.
fn own(path: &str) -> bool {
    path.strip_prefix("etc/ssh/").is_some_and(|name| name.starts_with("ssh_host_"))
}

/// Goes through an archive. An archive that is cut short, or none at all, is an error in words. The same bytes give the same bytes; an archive from which
/// nothing has to go is kept as it is.
pub fn share(packed: &[u8]) -> Result<Shared, String> {
    let mut tar = Tar { from: MultiGzDecoder::new(packed), to: GzEncoder::new(Vec::new(), Compression::best()), passed: 0 };
    let mut shared = Shared { bytes: Vec::new(), dropped: Vec::new(), passwords: Vec::new(), open: Vec::new() };
    // Headers that describe the next entry, kept until its fate is known.
    let mut pending: Vec<u8> = Vec::new();
    let mut name: Option<String> = None;
    loop {
        let header = tar.block()?;
        if header.iter().all(|byte| *byte == 0) {
            break;
        }
        let size = number(&header[124..136]).ok_or("a size in it is no number")?;
        match header[156] {
            kind @ (b'L' | b'K' | b'x') => {
                let body = tar.body(size, LONGEST_NAME)?;
                let told = match kind {
                    b'L' => Some(text(&body)),
                    b'x' => pax_path(&body),
                    _ => None,
                };
                name = told.or(name);
                pending.extend_from_slice(&header);
                pending.extend(padded(body));
            }
            kind => {
                let path = name.take().unwrap_or_else(|| plain_name(&header));
                let path = path.trim_start_matches("./").trim_end_matches('/').to_owned();
                if own(&path) {
                    tar.skip(size)?;
                    shared.dropped.push(path);
                    pending.clear();
                    continue;
                }
                tar.write(&pending)?;
                pending.clear();
                tar.write(&header)?;
                if path == "etc/shadow" && matches!(kind, b'0' | 0) {
                    let body = tar.body(size, LARGEST_SHADOW)?;
                    users(&text(&body), &mut shared);
                    tar.write(&padded(body))?;
                } else {
                    tar.copy(size)?;
                }
            }
        }
    }
    tar.rest()?;
    shared.bytes = if shared.dropped.is_empty() { packed.to_vec() } else { tar.end()? };
    Ok(shared)
}

fn users(shadow: &str, shared: &mut Shared) {
    for line in shadow.lines() {
        let mut fields = line.split(':');
        match (fields.next(), fields.next()) {
            (Some(user), Some("")) => shared.open.push(user.to_owned()),
            (Some(user), Some(field)) if !field.starts_with(['*', '!', 'x']) => shared.passwords.push(user.to_owned()),
            _ => {}
        }
    }
}

/// An octal number that ends with a space or NUL, or GNU's binary form for large ones.
fn number(field: &[u8]) -> Option<u64> {
    if field.first().is_some_and(|byte| byte & 0x80 != 0) {
        return field[field.len() - 8..].try_into().ok().map(u64::from_be_bytes);
    }
    let digits = text(field);
    let digits = digits.trim();
    if digits.is_empty() { Some(0) } else { u64::from_str_radix(digits, 8).ok() }
}

/// Text up to its first NUL.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// The name in a header itself: POSIX splits long ones in two.
fn plain_name(header: &[u8]) -> String {
    let (name, prefix) = (text(&header[..100]), text(&header[345..500]));
    if header[257..262] == *b"ustar" && header[262] == 0 && !prefix.is_empty() { format!("{prefix}/{name}") } else { name }
}

/// `30 path=etc/…\n` records.
fn pax_path(body: &[u8]) -> Option<String> {
    let records = String::from_utf8_lossy(body).into_owned();
    records.lines().filter_map(|record| record.split_once(' ')?.1.strip_prefix("path=").map(str::to_owned)).next_back()
}

fn padded(mut body: Vec<u8>) -> Vec<u8> {
    body.resize(body.len().div_ceil(BLOCK) * BLOCK, 0);
    body
}

struct Tar<'a> {
    from: MultiGzDecoder<&'a [u8]>,
    to: GzEncoder<Vec<u8>>,
    passed: u64,
}

impl Tar<'_> {
    fn read(&mut self, into: &mut [u8]) -> Result<(), String> {
        self.passed += into.len() as u64;
        if self.passed > LARGEST {
            return Err(format!("it unpacks to more than {} MiB", LARGEST >> 20));
        }
        self.from.read_exact(into).map_err(|e| e.to_string())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.to.write_all(bytes).map_err(|e| e.to_string())
    }

    fn block(&mut self) -> Result<[u8; BLOCK], String> {
        let mut block = [0; BLOCK];
        self.read(&mut block)?;
        Ok(block)
    }

    /// A body that is to be looked at, without its padding.
    fn body(&mut self, size: u64, most: u64) -> Result<Vec<u8>, String> {
        if size > most {
            return Err(format!("an entry of {size} bytes stands where none is larger than {most}"));
        }
        let size = usize::try_from(size).map_err(|e| e.to_string())?;
        let mut body = vec![0; size.div_ceil(BLOCK) * BLOCK];
        self.read(&mut body)?;
        body.truncate(size);
        Ok(body)
    }

    fn skip(&mut self, size: u64) -> Result<(), String> {
        (0..size.div_ceil(BLOCK as u64)).try_for_each(|_| self.block().map(drop))
    }

    fn copy(&mut self, size: u64) -> Result<(), String> {
        (0..size.div_ceil(BLOCK as u64)).try_for_each(|_| {
            let block = self.block()?;
            self.write(&block)
        })
    }

    /// Reads on to the end of the compressed data, whose checksum proves that nothing is missing.
    fn rest(&mut self) -> Result<(), String> {
        let mut buffer = [0; BLOCK];
        loop {
            match self.from.read(&mut buffer).map_err(|e| e.to_string())? {
                0 => return Ok(()),
                count => self.passed += count as u64,
            }
            if self.passed > LARGEST {
                return Err(format!("it unpacks to more than {} MiB", LARGEST >> 20));
            }
        }
    }

    /// Two empty blocks end an archive.
    fn end(mut self) -> Result<Vec<u8>, String> {
        self.write(&[0; 2 * BLOCK])?;
        self.to.finish().map_err(|e| e.to_string())
    }
}
