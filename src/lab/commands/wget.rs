//! `wget`: a file from another machine of the practice network.

use super::args::{Args, Spec};
use crate::lab::host::HostState;
use crate::lab::host::files::normalise;
use crate::lab::shell::Shell;

/// `wget [-q] [-T SECONDS] -O FILE|- URL`.
pub fn wget(shell: &mut Shell, args: &[String]) -> i32 {
    let Ok(options) = Args::parse(&args[1..], Spec { plain: &["-q"], valued: &["-T", "-O"], stop: false }) else {
        shell.complain("wget: unrecognized option");
        return 1;
    };
    let Some((host, path)) = options.operands.first().and_then(|url| url.strip_prefix("http://")).and_then(|rest| rest.split_once('/'))
    else {
        shell.complain("wget: the practice network speaks http:// only");
        return 1;
    };
    match shell.world.machine.fetch(host, &format!("/{path}")) {
        None => shell.complain(&format!("wget: can't connect to remote host ({host}): Connection refused")),
        Some((200, bytes)) => {
            let written = match options.value(&["-O"]) {
                Some("-") => shell.io.stdout.write(&bytes),
                Some(file) => {
                    let file = shell.path(file);
                    shell.world.files(|files| files.write(&file, bytes, 0o644)).is_ok()
                }
                None => false,
            };
            return i32::from(!written);
        }
        Some((status, _)) => shell.complain(&format!("wget: server returned error: HTTP/1.1 {status} Not Found")),
    }
    1
}

impl HostState {
    /// What its HTTP server answers to a path: status and bytes; none when no server runs.
    #[must_use]
    pub fn serves(&self, path: &str) -> Option<(u16, Vec<u8>)> {
        self.services.get("lighttpd").filter(|service| service.running)?;
        let config = self.files.read_text("/etc/lighttpd/lighttpd.conf").unwrap_or_default();
        let root = config.lines().find_map(|line| line.strip_prefix("server.document-root")?.split('"').nth(1)).unwrap_or("/var/www");
        let file = normalise("/", &format!("{root}{path}"));
        Some(match self.files.read(&file) {
            Ok(bytes) if file.starts_with(root) => (200, bytes.to_vec()),
            _ => (404, Vec::new()),
        })
    }
}
