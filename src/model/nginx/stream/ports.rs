//! Ports of a proxy: as the user writes them, as nginx reads them, and which ones a configuration listens on.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::model::contract::Failure;

/// Ports of one proxy at most.
const MOST: usize = 64;

/// TCP or UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A port that somebody listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listen {
    /// The number.
    pub port: u16,
    /// The protocol.
    pub protocol: Protocol,
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.port, if self.protocol == Protocol::Udp { "udp" } else { "tcp" })
    }
}

/// Ports in a sentence.
pub fn spoken<'a>(ports: impl IntoIterator<Item = &'a Listen>) -> String {
    ports.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// One port of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct Port {
    /// The port that players connect to.
    pub listen: u16,
    /// The port of the machine behind.
    pub backend: u16,
    /// The protocol of both.
    pub protocol: Protocol,
}

impl Port {
    /// The side that players see.
    pub const fn outside(&self) -> Listen {
        Listen { port: self.listen, protocol: self.protocol }
    }
}

/// Reads `listen:backend[/tcp|udp],…`, sorted.
pub fn parse(text: &str) -> Result<Vec<Port>, Failure> {
    let wrong = |part: &str, why: &str| {
        Failure::yours(format!("portMap: `{}` {why}", part.escape_debug()))
            .help("write it as listen:backend[/tcp|udp], such as 25565:25565,24454:24454/udp")
    };
    let mut ports = BTreeSet::new();
    for part in text.split(',').map(str::trim) {
        let (numbers, protocol) = part.split_once('/').unwrap_or((part, "tcp"));
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => return Err(wrong(part, "names no protocol: tcp or udp")),
        };
        let (listen, backend) = numbers.split_once(':').ok_or_else(|| wrong(part, "is no pair of ports"))?;
        // `parse` would take a sign.
        let number =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok().filter(|port: &u16| *port > 0)).flatten();
        let (listen, backend) =
            number(listen).zip(number(backend)).ok_or_else(|| wrong(part, "holds something else than ports from 1 to 65535"))?;
        let port = Port { listen, backend, protocol };
        if ports.iter().any(|known: &Port| known.outside() == port.outside()) {
            return Err(wrong(part, "listens on a port that another part has already"));
        }
        ports.insert(port);
    }
    if ports.len() > MOST {
        return Err(Failure::yours(format!("portMap names {} ports; {MOST} are the most", ports.len())));
    }
    Ok(ports.into_iter().collect())
}

/// The configuration of one proxy. Addresses only: one name that does not resolve would stop every proxy.
pub fn render(name: &str, target: IpAddr, ports: &[Port]) -> String {
    let mut text = format!("# {name}: written by pmx, which replaces the whole file.\n");
    for port in ports {
        let udp = if port.protocol == Protocol::Udp { " udp" } else { "" };
        let backend = std::net::SocketAddr::new(target, port.backend);
        text.push_str(&format!("server {{\n    listen {}{udp};\n    proxy_pass {backend};\n}}\n", port.listen));
    }
    text
}

/// The ports that a configuration listens on, as far as it says so itself.
pub fn listens(text: &str) -> BTreeSet<Listen> {
    let bare: String = text.lines().map(|line| line.split('#').next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    let mut found = BTreeSet::new();
    for directive in bare.split([';', '{', '}']) {
        let mut words = directive.split_whitespace();
        if words.next() != Some("listen") {
            continue;
        }
        let Some(address) = words.next() else { continue };
        let protocol = if words.any(|word| word == "udp") { Protocol::Udp } else { Protocol::Tcp };
        let port = address.rsplit_once(':').map_or(address, |(_, port)| port);
        found.extend(port.parse().ok().map(|port| Listen { port, protocol }));
    }
    found
}

/// The ports of the kernel's tables (`/proc/net/tcp` and `udp`) whose socket `owned` accepts by its inode: listening TCP sockets are in state 0A, unconnected
/// UDP sockets in 07.
pub fn sockets(table: &str, owned: impl Fn(&str) -> bool) -> BTreeSet<Listen> {
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let protocol = match *words.get(3)? {
            "0A" => Protocol::Tcp,
            "07" => Protocol::Udp,
            _ => return None,
        };
        let port = u16::from_str_radix(words.get(1)?.rsplit_once(':')?.1, 16).ok()?;
        words.get(9).filter(|inode| owned(inode)).map(|_| Listen { port, protocol })
    };
    table.lines().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_map_is_read_or_refused_with_the_part_that_is_wrong() {
        let ports = parse("24454:24454/udp, 7777:7778,80:8080/tcp").unwrap();
        let shown: Vec<String> = ports.iter().map(|port| format!("{}→{}", port.outside(), port.backend)).collect();
        assert_eq!(shown, ["80/tcp→8080", "7777/tcp→7778", "24454/udp→24454"]);
        assert_eq!(parse("53:53,53:53/udp").unwrap().len(), 2);
        for bad in [
            "",
            "80",
            "80:",
            ":80",
            "0:80",
            "80:65536",
            "+80:80",
            "80:80/sctp",
            "80:80,80:81",
            "80:80;reboot",
            "80:80,",
            "a:b",
            "80:8\n0",
            "１:1",
        ] {
            let failure = parse(bad).unwrap_err();
            assert!(failure.message.starts_with("portMap: `"), "{bad:?}: {}", failure.message);
        }
        let many: Vec<String> = (1..=65).map(|port| format!("{port}:{port}")).collect();
        assert!(parse(&many.join(",")).is_err());
    }

    #[test]
    fn what_is_rendered_listens_as_it_should() {
        let ports = parse("7777:7777,24454:24455/udp").unwrap();
        let text = render("calamity", "10.0.0.107".parse().unwrap(), &ports);
        assert_eq!(spoken(&listens(&text)), "7777/tcp, 24454/udp");
        assert!(
            text.contains("    proxy_pass 10.0.0.107:7777;\n") && text.contains("    listen 24454 udp;\n    proxy_pass 10.0.0.107:24455;")
        );
        assert!(render("x", "fd00::7".parse().unwrap(), &ports).contains("proxy_pass [fd00::7]:7777;"));
    }

    #[test]
    fn listens_of_other_hands_are_read_too() {
        let text = "upstream a { server 10.0.0.1:9; }\nserver{listen 0.0.0.0:80 so_keepalive=on;listen [::]:81 udp reuseport ; # listen 82;\n}\nlisten unix:/run/x;";
        assert_eq!(spoken(&listens(text)), "80/tcp, 81/udp");
    }

    #[test]
    fn sockets_come_from_the_kernels_tables() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
                     0: 00000000:1E61 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 501 1 0 100 0 0 10 0\n\
                     1: 0100007F:1E61 0100007F:C001 01 00000000:00000000 00:00000000 00000000     0        0 502 1 0 100 0 0 10 0\n\
                     2: 00000000000000000000000000000000:5F86 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 503 2 0 0\n";
        assert_eq!(spoken(&sockets(table, |_| true)), "7777/tcp, 24454/udp");
        assert_eq!(spoken(&sockets(table, |inode| inode == "503")), "24454/udp");
    }

    #[test]
    fn ports_are_read_or_refused_however_spoiled() {
        crate::walks::feed(&["25565:25565,24454:24454/udp", "7777:7777"], |bytes| {
            parse(&String::from_utf8_lossy(bytes)).map(|ports| assert!(ports.len() <= MOST)).map_err(|failure| failure.message)
        });
    }

    #[test]
    fn configurations_and_tables_are_read_however_spoiled() {
        let config = "# x\nstream {\n  server {\n    listen 7777 udp;\n    listen [::]:25565;\n    proxy_pass 10.0.0.7:7777;\n  }\n}\n";
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
                     \x20  0: 0100007F:1E61 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12345 1 0 100 0 0 10 0\n\
                     \x20  1: 00000000:1E61 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 12346 2 0 0\n";
        crate::walks::feed(&[config, table], |bytes| {
            let text = String::from_utf8_lossy(bytes);
            let found = listens(&text).len() + sockets(&text, |inode| inode.len() < 9).len();
            assert!(found <= text.len());
            Ok(())
        });
    }
}
