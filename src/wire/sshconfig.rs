//! The user's ssh config: what a name means, which user, port and keys go with it, and through which hosts it is reached.
#![expect(clippy::disallowed_methods, reason = "reads the user's ssh config")]

use std::io::{BufReader, ErrorKind};
use std::path::{Path, PathBuf};

use ssh2_config::{HostParams, ParseRule, SshConfig};

use crate::wire::map::Address;
use crate::wire::ssh::{Pinning, SshError, Target};

/// More hosts in a row than anybody has; beyond it a config is taken for a circle.
const MOST_HOPS: usize = 8;

/// A host on the way: the target, or one that a `ProxyJump` names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Hop {
    pub(super) target: Target,
    /// The hosts before it, first one first, as a list in `ProxyJump` gave them; when empty, its own entry in the config says.
    pub(super) via: Vec<String>,
}

/// How a hop is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) address: Address,
    pub(super) user: String,
    /// `IdentityFile` entries.
    pub(super) keys: Vec<PathBuf>,
    /// `IdentitiesOnly`: the agent is not asked for other keys.
    pub(super) only_these: bool,
    pub(super) jump: Option<Hop>,
}

/// Reads the config at each connection: it may change while a server runs.
pub(super) struct ConfigFile {
    pub(super) path: Option<PathBuf>,
    pub(super) home: PathBuf,
}

impl ConfigFile {
    /// How `hop` is reached.
    pub(super) fn route(&self, hop: &Hop) -> Result<Route, SshError> {
        let config = self.load()?;
        let mut next = self.one(&config, hop)?;
        let found = next.clone();
        for _ in 0..MOST_HOPS {
            match &next.jump {
                None => return Ok(found),
                Some(jump) => next = self.one(&config, jump)?,
            }
        }
        let host = &hop.target.host;
        Err(SshError::Local(format!("the ProxyJump of {host} goes through more than {MOST_HOPS} hosts or in a circle")))
    }

    fn load(&self) -> Result<SshConfig, SshError> {
        let Some(path) = &self.path else { return Ok(SshConfig::default()) };
        let failed = |why: String| SshError::Local(format!("the ssh config {} cannot be used: {why}", path.display()));
        let text = match std::fs::read_to_string(path) {
            Ok(text) => without_match_blocks(&text),
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => return Err(failed(error.to_string())),
        };
        let rules = ParseRule::ALLOW_UNKNOWN_FIELDS | ParseRule::ALLOW_UNSUPPORTED_FIELDS;
        let config = SshConfig::default().home_dir(&self.home);
        config.parse(&mut BufReader::new(text.as_bytes()), rules).map_err(|e| failed(e.to_string()))
    }

    fn one(&self, config: &SshConfig, hop: &Hop) -> Result<Route, SshError> {
        let target = &hop.target;
        let entry = config.query(&target.host);
        let host = entry.host_name.as_ref().map_or_else(|| target.host.clone(), |name| name.replace("%h", &target.host).replace("%%", "%"));
        let user = target.user.clone().or_else(|| entry.user.clone()).unwrap_or_else(|| "root".to_owned());
        let keys = entry.identity_file.iter().flatten().map(|path| self.key_path(path, &user)).collect();
        let mut via = if hop.via.is_empty() { jumps(&entry, &target.host) } else { hop.via.clone() };
        let jump = via.pop().map(|spec| jump(&spec, via)).transpose()?;
        let address = Address::new(&host, target.port.or(entry.port).unwrap_or(22));
        Ok(Route { address, user, keys, only_these: says_yes(&entry, "identitiesonly"), jump })
    }

    fn key_path(&self, path: &Path, user: &str) -> PathBuf {
        let text = path.to_string_lossy();
        let text = text.replace("%d", &self.home.to_string_lossy()).replace("%r", user).replace("%%", "%");
        match text.strip_prefix("~/") {
            Some(below) => self.home.join(below),
            None => PathBuf::from(text),
        }
    }
}

fn jumps(entry: &HostParams, host: &str) -> Vec<String> {
    let listed = entry.proxy_jump.iter().flatten();
    // `Host *` with a jump matches the jump itself too; nobody means that.
    listed.filter(|spec| !spec.eq_ignore_ascii_case("none") && spec.as_str() != host).cloned().collect()
}

/// `[user@]host[:port]` or `ssh://[user@]host[:port]`.
fn jump(spec: &str, via: Vec<String>) -> Result<Hop, SshError> {
    let rest = spec.strip_prefix("ssh://").unwrap_or(spec).trim_end_matches('/');
    let (user, rest) = rest.rsplit_once('@').map_or((None, rest), |(user, rest)| (Some(user.to_owned()), rest));
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (rest, None),
    };
    let port = port.map(str::parse).transpose().map_err(|_| SshError::Local(format!("`{spec}` in ProxyJump has no valid port")))?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    if host.is_empty() {
        return Err(SshError::Local(format!("`{spec}` in ProxyJump names no host")));
    }
    let identity = format!("host:{host}");
    Ok(Hop { target: Target { host, port, user, identity, pinning: Pinning::Pinned }, via })
}

fn says_yes(entry: &HostParams, field: &str) -> bool {
    let fields = entry.unsupported_fields.iter().chain(&entry.ignored_fields);
    fields
        .into_iter()
        .any(|(name, values)| name.eq_ignore_ascii_case(field) && values.first().is_some_and(|v| v.eq_ignore_ascii_case("yes")))
}

/// The parser knows no `Match` and would give the block's lines to the `Host` above it. Without the block they apply to nobody, except those of
/// `Match all`, which is `Host *`.
fn without_match_blocks(text: &str) -> String {
    let (mut kept, mut skipping) = (String::with_capacity(text.len()), false);
    for line in text.lines() {
        let mut words = line.split(|c: char| c.is_whitespace() || c == '=').filter(|word| !word.is_empty());
        let keyword = words.next().unwrap_or_default();
        let for_all = words.next().is_some_and(|word| word.eq_ignore_ascii_case("all")) && words.next().is_none();
        if keyword.eq_ignore_ascii_case("match") {
            skipping = !for_all;
            if for_all {
                kept.push_str("Host *\n");
            }
            continue;
        }
        skipping = skipping && !keyword.eq_ignore_ascii_case("host");
        if !skipping {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(config: &str, host: &str) -> Result<Route, SshError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        std::fs::write(&path, config).unwrap();
        let target = Target { host: host.into(), port: None, user: None, identity: "vm:1".into(), pinning: Pinning::Pinned };
        ConfigFile { path: Some(path), home: PathBuf::from("/home/me") }.route(&Hop { target, via: Vec::new() })
    }

    const CONFIG: &str = "
Host calamity cal
  HostName 10.0.0.7
  Port 2207
  User terraria
  IdentityFile ~/.ssh/games
  IdentitiesOnly yes
Match host 10.0.0.9 exec \"true\"
  User nobody
Host inner
  HostName %h.lan
  ProxyJump ops@first:2201,second
Host second
  Port 2202
Host a
  ProxyJump b
Host b
  ProxyJump a
Host *
  Port 2222
";

    #[test]
    fn names_mean_what_the_config_says() {
        let found = route(CONFIG, "calamity").unwrap();
        assert_eq!((found.address.to_string(), found.user.as_str()), ("10.0.0.7:2207".into(), "terraria"));
        assert_eq!((found.keys, found.only_these), (vec![PathBuf::from("/home/me/.ssh/games")], true));
        let stranger = route(CONFIG, "10.0.0.9").unwrap();
        assert_eq!((stranger.address.to_string(), stranger.user.as_str()), ("10.0.0.9:2222".into(), "root"));
        assert_eq!((stranger.keys.len(), stranger.only_these), (0, false));
    }

    #[test]
    fn jumps_are_followed_in_their_order_and_not_in_circles() {
        let inner = route(CONFIG, "inner").unwrap();
        let second = inner.jump.unwrap();
        assert_eq!((inner.address.to_string(), second.target.host.as_str()), ("inner.lan:2222".into(), "second"));
        assert_eq!(second.via, ["ops@first:2201"]);
        let first = jump(&second.via[0], Vec::new()).unwrap().target;
        assert_eq!((first.user.as_deref(), first.host.as_str(), first.port), (Some("ops"), "first", Some(2201)));
        assert_eq!(first.identity, "host:first");
        assert!(route(CONFIG, "a").unwrap_err().to_string().contains("circle"));
        assert_eq!(jump("ssh://u@[::1]:22", Vec::new()).unwrap().target.host, "::1");
        assert!(jump("a:b", Vec::new()).is_err());
    }

    #[test]
    fn a_missing_config_is_an_empty_one() {
        let target =
            Target { host: "h".into(), port: Some(7), user: Some("u".into()), identity: "host:h".into(), pinning: Pinning::Pinned };
        let file = ConfigFile { path: Some("/nonexistent/config".into()), home: "/".into() };
        let found = file.route(&Hop { target, via: Vec::new() }).unwrap();
        assert_eq!((found.address.to_string(), found.user.as_str(), found.jump), ("h:7".into(), "u", None));
    }

    #[test]
    fn a_config_is_read_or_refused_however_spoiled() {
        crate::walks::feed(&[CONFIG, "Host *\n  User \"a b\"\nHost x !y\n\tPort=22\n"], |bytes| {
            let config = String::from_utf8_lossy(bytes);
            ["calamity", "inner", "a-host"].iter().try_for_each(|host| route(&config, host).map(drop)).map_err(|e| e.to_string())
        });
    }
}
