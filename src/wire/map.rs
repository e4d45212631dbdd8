//! The connect map: which address is dialled for the one that is meant, like curl's `--connect-to`.

use std::collections::BTreeMap;
use std::fmt;

/// An address to dial: `host:port`, IPv6 hosts without their brackets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// A name or an address.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

impl Address {
    /// An address from its parts; a host in brackets loses them.
    pub fn new(host: &str, port: u16) -> Self {
        Self { host: bare(host).to_owned(), port }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') { write!(f, "[{}]:{}", self.host, self.port) } else { write!(f, "{}:{}", self.host, self.port) }
    }
}

/// Why a rule of the map makes no sense.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum MapError {
    /// Not `host:port`.
    #[error("`{given}` in connect is not an address: {why}; write it like `10.0.0.4:8006` or `10.0.0.*:22`")]
    Address {
        /// As written.
        given: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The right side has a `*` for which the left side has no text.
    #[error("`{from}` = `{to}` in connect: the `*` of `{to}` has nothing to carry over, because `{from}` has none at that place")]
    NothingToCarry {
        /// The left side.
        from: String,
        /// The right side.
        to: String,
    },
    /// Two rules for one address.
    #[error("`{given}` stands in connect twice")]
    Twice {
        /// The left side of both.
        given: String,
    },
}

/// The map is closed and no rule names the address.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("{0} is not in the profile's connect map, and the profile is closed: nothing was dialled")]
pub struct OffTheMap(pub Address);

/// Rules from addresses that are meant to addresses that are dialled. Without rules every address is dialled as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectMap {
    exact: BTreeMap<Address, Address>,
    /// The most specific first.
    wild: Vec<(Pattern, Pattern)>,
    closed: bool,
}

/// One side of a rule; at most one `*` in the host, and `*` may stand for the whole port.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    text: String,
    /// The host's text before its `*` and after it; without a `*` all of it is before.
    host: (String, Option<String>),
    port: Option<u16>,
}

impl ConnectMap {
    /// Every address is dialled as it is.
    pub fn open() -> Self {
        Self::default()
    }

    /// A map from pairs of addresses that are meant and addresses that are dialled. When `closed`, an address without a rule is refused.
    pub fn parse<'a>(rules: impl IntoIterator<Item = (&'a str, &'a str)>, closed: bool) -> Result<Self, MapError> {
        let mut map = Self { closed, ..Self::default() };
        for (from, to) in rules {
            let (from, to) = (Pattern::parse(from)?, Pattern::parse(to)?);
            if (to.host.1.is_some() && from.host.1.is_none()) || (to.port.is_none() && from.port.is_some()) {
                return Err(MapError::NothingToCarry { from: from.text, to: to.text });
            }
            let twice = match (&from.host, from.port) {
                ((host, None), Some(port)) => map.exact.insert(Address::new(host, port), to.fill("", 0)).is_some(),
                _ => {
                    let twice = map.wild.iter().any(|(known, _)| known.host == from.host && known.port == from.port);
                    map.wild.push((from.clone(), to));
                    twice
                }
            };
            if twice {
                return Err(MapError::Twice { given: from.text });
            }
        }
        map.wild.sort_by(|(a, _), (b, _)| b.literal().cmp(&a.literal()).then_with(|| a.text.cmp(&b.text)));
        Ok(map)
    }

    /// The address to dial for `meant`: an exact rule wins over wildcards, and of those the one with the most literal text.
    pub fn resolve(&self, meant: &Address) -> Result<Address, OffTheMap> {
        let key = Address { host: meant.host.to_ascii_lowercase(), port: meant.port };
        if let Some(to) = self.exact.get(&key) {
            return Ok(to.clone());
        }
        let carried = self.wild.iter().find_map(|(from, to)| from.carries(&key).map(|text| to.fill(text, key.port)));
        match carried {
            Some(to) => Ok(to),
            None if self.closed => Err(OffTheMap(meant.clone())),
            None => Ok(meant.clone()),
        }
    }
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, MapError> {
        let wrong = |why| MapError::Address { given: text.to_owned(), why };
        let (host, port) = text.rsplit_once(':').ok_or_else(|| wrong("it has no port"))?;
        if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
            return Err(wrong("an IPv6 address needs brackets"));
        }
        let host = bare(host).to_ascii_lowercase();
        if host.is_empty() {
            return Err(wrong("it has no host"));
        }
        if host.contains(|c: char| c.is_whitespace() || c.is_control() || "/@[]".contains(c)) {
            return Err(wrong("its host is not a name or an address"));
        }
        let port = match port {
            "*" => None,
            digits => Some(digits.parse().ok().filter(|port| *port > 0).ok_or_else(|| wrong("its port is not a number from 1 to 65535"))?),
        };
        let host = match host.split_once('*') {
            None => (host, None),
            Some((_, after)) if after.contains('*') => return Err(wrong("its host has more than one `*`")),
            Some((before, after)) => (before.to_owned(), Some(after.to_owned())),
        };
        Ok(Self { text: text.to_owned(), host, port })
    }

    /// What the host's `*` stands for in `address`, when the pattern fits it.
    fn carries<'a>(&self, address: &'a Address) -> Option<&'a str> {
        if self.port.is_some_and(|port| port != address.port) {
            return None;
        }
        match &self.host {
            (host, None) => (*host == address.host).then_some(""),
            (before, Some(after)) => {
                address.host.strip_prefix(before.as_str())?.strip_suffix(after.as_str()).filter(|text| !text.is_empty())
            }
        }
    }

    fn fill(&self, text: &str, port: u16) -> Address {
        let host = match &self.host {
            (host, None) => host.clone(),
            (before, Some(after)) => format!("{before}{text}{after}"),
        };
        Address { host, port: self.port.unwrap_or(port) }
    }

    fn literal(&self) -> usize {
        self.host.0.len() + self.host.1.as_ref().map_or(1, String::len) + usize::from(self.port.is_some())
    }
}

fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialled(map: &ConnectMap, host: &str, port: u16) -> String {
        map.resolve(&Address::new(host, port)).map_or_else(|off| format!("off {}", off.0), |to| to.to_string())
    }

    #[test]
    fn rules_are_followed_the_most_specific_first() {
        let rules = [
            ("10.0.0.4:8006", "127.0.0.1:18006"),
            ("10.0.0.*:22", "127.0.10.*:18022"),
            ("10.0.0.7:22", "127.0.0.1:2207"),
            ("10.0.*:22", "127.1.*:22"),
            ("*.lab:*", "127.0.0.9:*"),
            ("PVE.example:8006", "[::1]:18006"),
            ("*:9", "127.0.0.8:9"),
        ];
        let map = ConnectMap::parse(rules, true).unwrap();
        for (host, port, expected) in [
            ("10.0.0.4", 8006, "127.0.0.1:18006"),
            ("10.0.0.12", 22, "127.0.10.12:18022"),
            ("10.0.0.7", 22, "127.0.0.1:2207"),
            ("10.0.3.7", 22, "127.1.3.7:22"),
            ("db.lab", 5432, "127.0.0.9:5432"),
            (".lab", 5432, "off .lab:5432"),
            ("pve.EXAMPLE", 8006, "[::1]:18006"),
            ("10.0.0.4", 8007, "off 10.0.0.4:8007"),
            ("110.0.0.4", 22, "off 110.0.0.4:22"),
            ("::2", 9, "127.0.0.8:9"),
        ] {
            assert_eq!(dialled(&map, host, port), expected, "{host}:{port}");
        }
    }

    #[test]
    fn an_open_map_dials_what_no_rule_names() {
        let map = ConnectMap::parse([("a:1", "b:2")], false).unwrap();
        assert_eq!((dialled(&map, "a", 1), dialled(&map, "c", 3)), ("b:2".into(), "c:3".into()));
        assert_eq!(dialled(&ConnectMap::open(), "[::1]", 22), "[::1]:22");
        assert_eq!(dialled(&ConnectMap::parse([], true).unwrap(), "127.0.0.1", 22), "off 127.0.0.1:22");
    }

    #[test]
    fn nonsense_is_refused_with_what_was_written() {
        for (from, to, said) in [
            ("10.0.0.4", "127.0.0.1:1", "`10.0.0.4` in connect is not an address: it has no port"),
            ("10.0.0.4:x", "127.0.0.1:1", "its port is not a number"),
            ("10.0.0.4:0", "127.0.0.1:1", "from 1 to 65535"),
            (":22", "127.0.0.1:1", "it has no host"),
            ("::1:22", "127.0.0.1:1", "needs brackets"),
            ("*.*:22", "127.0.0.1:1", "more than one `*`"),
            ("https://a:22", "127.0.0.1:1", "needs brackets"),
            ("a/b:22", "127.0.0.1:1", "not a name or an address"),
            ("a:22", "127.0.0.*:1", "nothing to carry over"),
            ("a:22", "127.0.0.1:*", "nothing to carry over"),
        ] {
            let error = ConnectMap::parse([(from, to)], true).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        let twice = ConnectMap::parse([("a:1", "b:1"), ("A:1", "c:1")], true).unwrap_err();
        assert_eq!(twice.to_string(), "`A:1` stands in connect twice");
        assert!(ConnectMap::parse([("a*:1", "b:1"), ("A*:1", "c:1")], true).is_err());
    }

    #[test]
    fn rules_are_read_or_refused_however_spoiled() {
        crate::walks::feed(&["10.0.0.*:22=127.0.10.*:18022", "[fd00::1]:*=127.0.0.1:1"], |bytes| {
            let text = String::from_utf8_lossy(bytes);
            let (from, to) = text.split_once('=').ok_or("no rule")?;
            let map = ConnectMap::parse([(from, to)], true).map_err(|e| e.to_string())?;
            let _ = map.resolve(&Address::new("10.0.0.7", 22));
            Ok(())
        });
    }
}
