//! A real web server (lighttpd or nginx) at port 80 of an address of its own in 127.0.0.0/8, serving one directory.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::super::process::{Process, wait_until};
use super::{is_root, needs, present};

/// A running server.
pub struct Web {
    dir: tempfile::TempDir,
    /// Its address; the port is 80.
    pub address: String,
    _process: Process,
}

impl Web {
    /// Serves `root` at `address`; `None` when the test is to be skipped.
    ///
    /// # Panics
    /// When it does not answer in time; with what it logged.
    #[track_caller]
    pub fn start(address: &str, root: &Path) -> Option<Self> {
        let [lighttpd] = needs(["lighttpd"])?;
        Self::serve(address, Command::new(lighttpd).args(["-D", "-f"]), |place| {
            format!(
                "server.modules = (\"mod_accesslog\")\nserver.document-root = \"{}\"\nserver.bind = \"{address}\"\nserver.port = 80\n\
                 accesslog.filename = \"{place}/access\"\naccesslog.format = \"%m %U %s %B\"\n",
                root.display(),
            )
        })
    }

    /// The same by an nginx that goes on giving a file for `seconds` after another has taken its place.
    ///
    /// # Panics
    /// When it does not answer in time; with what it logged.
    #[track_caller]
    pub fn keeping(seconds: u64, address: &str, root: &Path) -> Option<Self> {
        let [nginx] = needs(["nginx"])?;
        Self::serve(address, Command::new(nginx).arg("-c"), |place| {
            format!(
                "daemon off;\nuser root;\npid {place}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\n  access_log off;\n  open_file_cache max=10;\n  \
                 open_file_cache_valid {seconds}s;\n  server {{ listen {address}:80; root {}; }}\n}}\n",
                root.display(),
            )
        })
    }

    /// Starts a command whose last argument is the path of its configuration; that is made of the server's own folder.
    #[track_caller]
    fn serve(address: &str, command: &mut Command, config: impl FnOnce(std::path::Display<'_>) -> String) -> Option<Self> {
        present("root, for port 80", is_root().then_some(()))?;
        let dir = tempfile::Builder::new().prefix("pmx-web-").tempdir().expect("a temporary directory can be made");
        let (file, log) = (dir.path().join("config"), dir.path().join("log"));
        std::fs::write(&file, config(dir.path().display())).expect("a configuration can be written");
        command.arg(file).stdout(Stdio::null()).stderr(std::fs::File::create(&log).expect("a log can be written"));
        let mut process = Process::start(command, Duration::from_millis(500));
        wait_until(&format!("a web server answers at {address}:80"), Duration::from_secs(10), || {
            assert!(process.runs(), "the web server ended:\n{}", std::fs::read_to_string(&log).unwrap_or_default());
            TcpStream::connect((address, 80)).is_ok()
        });
        Some(Self { dir, address: address.to_owned(), _process: process })
    }

    /// The body that it serves under a path, asked for without any client's help.
    ///
    /// # Panics
    /// When it answers with anything but 200.
    #[track_caller]
    pub fn get(&self, path: &str) -> Vec<u8> {
        let mut stream = TcpStream::connect((self.address.as_str(), 80)).expect("the web server listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket takes a deadline");
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.address).expect("a request can be sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer can be read");
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(answer.len());
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        assert!(head.starts_with("HTTP/1.0 200 ") || head.starts_with("HTTP/1.1 200 "), "GET {path}: {head}");
        answer.split_off(answer.len().min(end + 4))
    }

    /// What was asked for: `GET /path 200 bytes` lines.
    pub fn asked(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.access()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn access(&self) -> PathBuf {
        self.dir.path().join("access")
    }
}
