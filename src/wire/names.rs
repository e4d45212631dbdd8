//! Names of hosts: `/etc/hosts` first, then the name servers of `/etc/resolv.conf`, asked by pmx itself.
//!
//! The C library is not asked: a program that has it linked in would load those parts of it that the machine's `nsswitch.conf` names, made for another
//! C library, or not there at all. So a name means the same on every machine and in an empty image. What only such parts know (mDNS, LDAP) is not
//! known here; a name server on the machine itself, as systemd-resolved runs one, is.
#![expect(clippy::disallowed_methods, reason = "reads the system's hosts and its name servers")]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::path::PathBuf;
use std::time::Duration;

use hickory_resolver::config::{LookupIpStrategy, ResolveHosts, ResolverConfig, ResolverOpts, ServerOrderingStrategy};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::{Resolver, system_conf};
use tokio::net::{TcpStream, UdpSocket};

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;

/// One lookup, all servers and search domains together: below the 10 s that a connection may take, so that who was asked can still be told.
const WITHIN: Duration = Duration::from_secs(8);

/// One question to one server. The system's default of 5 s would leave no time for the second server.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Why a name has no address.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum NameError {
    /// Not a name at all.
    #[error("`{0}` is neither an address nor the name of a host")]
    NoName(String),
    /// Nobody can be asked.
    #[error(
        "no address for `{host}`: it is not in {hosts}, and {conf} {why}; add the name to {hosts}, or a line `nameserver ADDRESS` to {conf}"
    )]
    NoServers {
        /// The name.
        host: String,
        /// The file of hosts.
        hosts: String,
        /// The file of name servers.
        conf: String,
        /// What is wrong with it.
        why: String,
    },
    /// The servers say that there is no such name, or that it has no address.
    #[error("no address for `{host}`: it is not in {hosts}, and {servers} know{s} none; is the name right?", s = if *.one { "s" } else { "" })]
    Unknown {
        /// The name.
        host: String,
        /// The file of hosts.
        hosts: String,
        /// `the name servers 10.0.0.1, 10.0.0.2`.
        servers: String,
        /// Whether it is one.
        one: bool,
    },
    /// Nobody answered in time.
    #[error("no address for `{host}`: {servers} did not answer within {seconds} s; {conf} names them")]
    Silent {
        /// The name.
        host: String,
        /// Who was asked.
        servers: String,
        /// The file that names them.
        conf: String,
        /// How long was waited.
        seconds: u64,
    },
    /// They answered with something else.
    #[error("no address for `{host}`: {servers} answered: {why}; {conf} names them")]
    Failed {
        /// The name.
        host: String,
        /// Who was asked.
        servers: String,
        /// The file that names them.
        conf: String,
        /// What they said.
        why: String,
    },
}

/// The addresses of `host` with this port, the best first: never none. An address stands for itself.
pub async fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>, NameError> {
    System::default().addresses(host, port).await
}

/// A TCP connection to the first address of `host` that takes it. Names that are not known are an error of kind [`io::ErrorKind::NotFound`]. The caller
/// has the deadline of connecting; looking the name up has one of its own.
pub async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = None;
    for address in addresses(host, port).await.map_err(|error| io::Error::new(io::ErrorKind::NotFound, error))? {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::ErrorKind::NotFound.into()))
}

/// Where the system keeps what it knows of names.
struct System {
    hosts: PathBuf,
    conf: PathBuf,
    /// Another port of all name servers, for tests.
    port: Option<u16>,
    within: Duration,
}

impl Default for System {
    fn default() -> Self {
        Self { hosts: PathBuf::from("/etc/hosts"), conf: PathBuf::from("/etc/resolv.conf"), port: None, within: WITHIN }
    }
}

impl System {
    async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, NameError> {
        if let Some(address) = literal(host, port) {
            return Ok(vec![address]);
        }
        // A text that is no name must not travel to a server.
        if host.is_empty() || host.len() > 253 || host.contains(|c: char| c.is_whitespace() || c.is_control() || "/:@%[]".contains(c)) {
            return Err(NameError::NoName(host.to_owned()));
        }
        let mut found = self.listed(host);
        if found.is_empty() && is_local(host) {
            found = vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()];
        }
        if found.is_empty() {
            found = self.asked(host).await?;
        }
        Ok(sorted(found).await.into_iter().map(|address| SocketAddr::new(address, port)).collect())
    }

    /// What the file of hosts says. Read each time: it changes while a server runs.
    fn listed(&self, host: &str) -> Vec<IpAddr> {
        // A file that is missing or unreadable lists nobody, as everywhere.
        let text = std::fs::read(&self.hosts).unwrap_or_default();
        let host = host.trim_end_matches('.');
        let mut found = Vec::new();
        for line in String::from_utf8_lossy(&text).lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let Some(address) = words.next().and_then(|word| word.parse().ok()) else { continue };
            if words.any(|name| name.trim_end_matches('.').eq_ignore_ascii_case(host)) && !found.contains(&address) {
                found.push(address);
            }
        }
        found
    }

    async fn asked(&self, host: &str) -> Result<Vec<IpAddr>, NameError> {
        let (config, options) = self.servers(host)?;
        let addresses: Vec<String> = config.name_servers().iter().map(|server| server.ip.to_string()).collect();
        let one = addresses.len() == 1;
        let servers = format!("the name server{} {}", if one { "" } else { "s" }, addresses.join(", "));
        let (host, hosts, conf) = (host.to_owned(), self.hosts.display().to_string(), self.conf.display().to_string());
        let builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options);
        let asked = async { builder.build()?.lookup_ip(host.as_str()).await };
        let late = NameError::Silent { host: host.clone(), servers: servers.clone(), conf: conf.clone(), seconds: self.within.as_secs() };
        let error = match tokio::time::timeout(self.within, asked).await {
            Ok(Ok(answer)) => {
                let found: Vec<IpAddr> = answer.iter().collect();
                if !found.is_empty() {
                    return Ok(found);
                }
                return Err(NameError::Unknown { host, hosts, servers, one });
            }
            Ok(Err(error)) => error,
            Err(_) => return Err(late),
        };
        match error {
            NetError::Dns(DnsError::NoRecordsFound(_)) => Err(NameError::Unknown { host, hosts, servers, one }),
            NetError::Timeout => Err(late),
            other => Err(NameError::Failed { host, servers, conf, why: other.to_string() }),
        }
    }

    fn servers(&self, host: &str) -> Result<(ResolverConfig, ResolverOpts), NameError> {
        let none = |why: String| NameError::NoServers {
            host: host.to_owned(),
            hosts: self.hosts.display().to_string(),
            conf: self.conf.display().to_string(),
            why,
        };
        let text = std::fs::read(&self.conf).map_err(|error| none(format!("cannot be read ({error})")))?;
        let (mut config, mut options) = system_conf::parse_resolv_conf(text).map_err(|_| none("names no name server".to_owned()))?;
        if let Some(port) = self.port {
            config = with_port(config, port);
        }
        options.timeout = options.timeout.min(ANSWER_WITHIN);
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.use_hosts_file = ResolveHosts::Never;
        // One after the other, as they stand there: the second may know less than the first.
        options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
        options.num_concurrent_reqs = 1;
        options.cache_size = 0;
        Ok((config, options))
    }
}

fn with_port(config: ResolverConfig, port: u16) -> ResolverConfig {
    let (domain, search, mut servers) = config.into_parts();
    servers.iter_mut().flat_map(|server| &mut server.connections).for_each(|connection| connection.port = port);
    ResolverConfig::from_parts(domain, search, servers)
}

/// An address as it is written; of IPv6 also with its interface, `fe80::1%eth0`.
fn literal(host: &str, port: u16) -> Option<SocketAddr> {
    if let Ok(address) = host.parse() {
        return Some(SocketAddr::new(address, port));
    }
    let (address, interface) = host.split_once('%')?;
    let address: Ipv6Addr = address.parse().ok()?;
    let index = || std::fs::read_to_string(format!("/sys/class/net/{interface}/ifindex")).ok()?.trim().parse().ok();
    let known = !interface.contains(['/', '.']);
    let scope = interface.parse().ok().or_else(|| index().filter(|_| known))?;
    Some(SocketAddrV6::new(address, port, 0, scope).into())
}

/// `localhost` and what is below it are this machine by definition, whatever a name server says.
fn is_local(host: &str) -> bool {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// The order in which they are tried, as the C library has it: those that this machine has a way to, of them the kind that is to be preferred.
async fn sorted(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let mut ranked = Vec::new();
    for address in addresses {
        ranked.push((!has_way(address).await, rank(address), address));
    }
    // Stable: within a kind the name server's order stays, it shares load by it.
    ranked.sort_by_key(|(unreachable, rank, _)| (*unreachable, *rank));
    ranked.into_iter().map(|(_, _, address)| address).collect()
}

/// Whether the kernel has a route there; nothing is sent.
async fn has_way(address: IpAddr) -> bool {
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    match UdpSocket::bind((any, 0)).await {
        Ok(socket) => socket.connect((address, 53)).await.is_ok(),
        Err(_) => false,
    }
}

/// The kinds of addresses, those to be preferred first (RFC 6724).
fn rank(address: IpAddr) -> u8 {
    match address {
        IpAddr::V6(six) if six == Ipv6Addr::LOCALHOST => 0,
        IpAddr::V6(six) if six.is_unique_local() || six.is_unicast_link_local() => 3,
        IpAddr::V6(_) => 1,
        IpAddr::V4(_) => 2,
    }
}
