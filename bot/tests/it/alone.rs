//! A network of its own for a test: a loopback, and one way out that leads nowhere and counts.
//!
//! The test starts itself again in a network namespace, with the one thread of that test in it: stand-in, bot and whatever the test does beside them.
//! There is a default route, and every name of Discord's leads to an address behind it, so that nothing is refused for want of a way: what leaves is
//! counted by the kernel. IPv6 is off, because it would send of its own accord.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::present::present;

/// Says to the second start of a test that it is in its own network.
const INSIDE: &str = "PMX_TEST_ALONE";
/// Where Discord is in there: an address of the block that is for documents.
pub const OUTSIDE: &str = "203.0.113.1";

/// `$1` is a file of host names; what follows is run in the end.
const ENTER: &str = r#"
set -e
hosts=$1; shift
echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6 2>/dev/null || true
ip link set lo up
ip link add out0 type veth peer name far0
ip address add 192.0.2.2/24 dev out0
ip link set far0 up
ip link set out0 up
ip neighbour replace 192.0.2.254 lladdr 02:00:00:00:00:fe dev out0
ip route add default via 192.0.2.254 dev out0
mount --bind "$hosts" /etc/hosts
exec "$@"
"#;

/// The network that the test is in.
pub struct Alone {
    before: u64,
}

impl Alone {
    /// How many packets have left since the test began.
    pub fn left(&self) -> u64 {
        sent() - self.before
    }
}

/// Packets that went out by the one way.
fn sent() -> u64 {
    let text = std::fs::read_to_string("/proc/self/net/dev").expect("the kernel counts");
    let line = text.lines().find_map(|line| line.trim().strip_prefix("out0:")).expect("the way out is there");
    // Behind eight columns of what came in are the bytes and then the packets that went out.
    line.split_whitespace().nth(9).and_then(|packets| packets.parse().ok()).expect("a count is a number")
}

/// The network, for the test named `test` (its path in this binary) in its second start. In the first start it runs the second to its end and
/// returns `None`, as it does where the test is to be skipped.
///
/// # Panics
/// When the second start fails, or when `PMX_REAL=1` says that this machine can do it and it cannot.
pub fn inside(test: &str) -> Option<Alone> {
    if std::env::var_os(INSIDE).is_some() {
        return Some(Alone { before: sent() });
    }
    present("root, unshare and ip for a network of its own", can().then_some(()))?;
    let hosts = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    let names = format!("127.0.0.1 localhost\n{OUTSIDE} discord.com gateway.discord.gg discord.gg discordapp.com cdn.discordapp.com\n");
    std::fs::write(hosts.path(), names).expect("a temporary file can be written");
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "sh", "-c", ENTER, "enter"]).arg(hosts.path());
    command.arg(std::env::current_exe().expect("a program knows where it is")).args(["--exact", test, "--nocapture", "--test-threads=1"]);
    let out = command.env(INSIDE, "1").stdin(Stdio::null()).output().expect("unshare starts");
    let (said, errors) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && said.contains("test result: ok. 1 passed"), "in a network of its own, {test}:\n{said}\n{errors}");
    None
}

/// Whether a namespace with a way out can be made here.
fn can() -> bool {
    let script = "ip link set lo up && ip link add out0 type veth peer name far0";
    let made = Command::new("unshare").args(["--net", "--mount", "sh", "-c", script]).stdin(Stdio::null()).output();
    Path::new("/etc/hosts").exists() && made.is_ok_and(|out| out.status.success())
}
