//! `lbu`: what a diskless machine would keep, as an archive.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::lab::host::files::{Kind, Node};
use crate::lab::shell::Shell;

/// `lbu package -`: `/etc`, and what `lbu include` has added, on standard output.
pub fn lbu(shell: &mut Shell, args: &[String]) -> i32 {
    let words: Vec<&str> = args[1..].iter().map(String::as_str).collect();
    if words != ["package", "-"] {
        shell.complain("lbu: the practice machine packages to standard output only: lbu package -");
        return 1;
    }
    let packed = shell.world.files(|files| {
        let list = files.read_text("/etc/apk/protected_paths.d/lbu.list").unwrap_or_default();
        let more: Vec<String> = list.lines().filter_map(|line| line.strip_prefix('+')).map(|path| format!("/{path}")).collect();
        let under = |path: &str, dir: &str| path == dir || path.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'));
        let mut tar = Vec::new();
        for (path, node) in files.iter().filter(|(path, _)| under(path, "/etc") || more.iter().any(|dir| under(path, dir))) {
            entry(&mut tar, path.trim_start_matches('/'), node);
        }
        tar.resize(tar.len() + 1024, 0);
        tar
    });
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    match gzip.write_all(&packed).and_then(|()| gzip.finish()) {
        Ok(bytes) if shell.io.stdout.write(&bytes) => 0,
        _ => 1,
    }
}

/// One entry of a tar archive: its header, then the bytes in blocks of 512.
fn entry(tar: &mut Vec<u8>, path: &str, node: &Node) {
    let (kind, body, link): (u8, &[u8], &str) = match &node.kind {
        Kind::File(bytes) => (b'0', bytes, ""),
        Kind::Dir => (b'5', &[], ""),
        Kind::Link(target) => (b'2', &[], target),
    };
    // Longer names than a header holds are nobody's on a practice machine.
    let mut header = [0_u8; 512];
    let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    put(0, &path.as_bytes()[..path.len().min(100)]);
    put(100, format!("{:07o}", node.mode).as_bytes());
    put(108, format!("{:07o}", node.uid).as_bytes());
    put(116, format!("{:07o}", node.gid).as_bytes());
    put(124, format!("{:011o}", body.len()).as_bytes());
    put(136, format!("{:011o}", node.mtime.max(0)).as_bytes());
    put(148, b"        ");
    put(156, &[kind]);
    put(157, &link.as_bytes()[..link.len().min(100)]);
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar.extend_from_slice(&header);
    tar.extend_from_slice(body);
    tar.resize(tar.len().div_ceil(512) * 512, 0);
}
