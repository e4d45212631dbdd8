//! The answer file of setup-alpine, which is shell: every value is quoted, and what must be a name is checked to be one.

use std::net::IpAddr;

use crate::model::contract::Failure;
use crate::secret::Secret;
use crate::wire::command::quote;

/// Longer names do not fit the kernel's.
const LONGEST: usize = 63;

/// Everything that is asked.
pub struct Answers<'a> {
    /// The name.
    pub hostname: &'a str,
    /// The disk.
    pub disk: &'a str,
    /// The keys that let root in, one a line.
    pub keys: &'a str,
    /// Name servers, for a DHCP server that gives none.
    pub dns: &'a [IpAddr],
}

impl Answers<'_> {
    /// The file. A question without an answer would be asked, and an installer without a terminal asks for ever.
    pub fn text(&self) -> Result<String, Failure> {
        let interfaces = format!("auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet dhcp\n\thostname {}\n", self.hostname);
        let dns: Vec<String> = self.dns.iter().map(IpAddr::to_string).collect();
        let (hostname, disk, dns) = (format!("-n {}", self.hostname), format!("-m sys {}", self.disk), dns.join(" "));
        let answers = [
            ("KEYMAPOPTS", "us us"),
            ("HOSTNAMEOPTS", &hostname),
            ("DEVDOPTS", "mdev"),
            ("INTERFACESOPTS", &interfaces),
            ("DNSOPTS", &dns),
            ("TIMEZONEOPTS", "UTC"),
            ("PROXYOPTS", "none"),
            // The first mirror, with the community repository: the guest agent is in that.
            ("APKREPOSOPTS", "-c -1"),
            ("USEROPTS", "none"),
            ("SSHDOPTS", "openssh"),
            ("ROOTSSHKEY", self.keys),
            ("NTPOPTS", "chrony"),
            ("DISKOPTS", &disk),
            ("LBUOPTS", "none"),
            ("APKCACHEOPTS", "none"),
        ];
        let line = |(name, value): (&str, &str)| quote(value).map(|value| format!("{name}={value}\n"));
        let lines: Result<String, _> = answers.into_iter().map(line).collect();
        lines.map_err(|e| Failure::yours(e.to_string()))
    }
}

/// A name that the kernel, DHCP and `/etc/hosts` take.
pub fn check_hostname(name: &str) -> Result<(), Failure> {
    let plain =
        |label: &str| label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') && !label.starts_with('-') && !label.ends_with('-');
    if name.len() <= LONGEST && name.split('.').all(|label| !label.is_empty() && plain(label)) {
        return Ok(());
    }
    Err(Failure::yours(format!("`{name}` is no hostname"))
        .help(format!("letters, digits and inner dashes, parts with dots between them, {LONGEST} characters at most")))
}

/// A password that one line of `chpasswd` can carry.
pub fn check_password(password: Option<&Secret>) -> Result<(), Failure> {
    let Some(text) = password.map(Secret::expose) else { return Ok(()) };
    if text.is_empty() {
        return Err(Failure::yours("the password is empty: anybody would be root").help("null means that only keys get in"));
    }
    if text.chars().any(char::is_control) {
        return Err(Failure::yours("the password holds a line break or another control character, which `chpasswd` cannot take"));
    }
    Ok(())
}

/// The name servers of a `resolv.conf`.
pub fn name_servers(resolv_conf: &str) -> Vec<IpAddr> {
    let lines = resolv_conf.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    lines.filter_map(|rest| rest.trim().parse().ok()).take(3).collect()
}
