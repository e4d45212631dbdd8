//! Names and texts that Docker takes: checked before anything is asked, refused with the rule that they break.

use crate::model::contract::Failure;

/// The longest line that docker reads from a file of variables.
const LONGEST_LINE: usize = 65_535;
/// The longest image name.
const LONGEST_IMAGE: usize = 255;

fn refuse(what: &str, given: &str, rule: &str) -> Failure {
    let shown: String = given.chars().take(80).collect();
    Failure::yours(format!("`{}` is no {what}: {rule}", shown.escape_debug()))
}

fn alphanumeric(c: char) -> bool {
    c.is_ascii_alphanumeric()
}

/// A container's name, by Docker's rule; the ending that a replaced container gets for a while is left to `run`.
pub fn container(name: &str) -> Result<(), Failure> {
    let rest = name.strip_prefix(alphanumeric).unwrap_or_default();
    let fits = !rest.is_empty() && rest.chars().all(|c| alphanumeric(c) || "_.-".contains(c));
    if !fits {
        let rule = "a letter or digit first, then one or more letters, digits, `_`, `.` or `-`";
        return Err(refuse("container name", name, rule));
    }
    if name.ends_with(super::replace::ASIDE) {
        let rule = format!("`{}` at the end marks a container that is being replaced", super::replace::ASIDE);
        return Err(refuse("container name", name, &rule));
    }
    Ok(())
}

/// An image's name: components in lower case, perhaps a registry before them, perhaps a tag behind.
pub fn image(name: &str) -> Result<(), Failure> {
    let (path, tag) = match name.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (name, None),
    };
    let good_tag = |tag: &str| {
        let rest = tag.strip_prefix(|c| alphanumeric(c) || c == '_');
        rest.is_some_and(|rest| rest.len() < 128 && rest.chars().all(|c| alphanumeric(c) || "_.-".contains(c)))
    };
    let (registry, path) = match path.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (Some(first), rest),
        _ => (None, path),
    };
    let good_registry = |given: &str| {
        let (host, port) = given.split_once(':').unwrap_or((given, "443"));
        host.starts_with(alphanumeric) && host.chars().all(|c| alphanumeric(c) || ".-".contains(c)) && port.parse::<u16>().is_ok()
    };
    let fits =
        name.len() <= LONGEST_IMAGE && path.split('/').all(component) && registry.is_none_or(good_registry) && tag.is_none_or(good_tag);
    let rule = "lower-case letters and digits with single `.`, `_` or `-` between them, parts divided by `/`, perhaps a `:tag` at the end";
    if fits { Ok(()) } else { Err(refuse("image name", name, rule)) }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn component(part: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let between = part.split(plain).filter(|between| !between.is_empty());
    part.starts_with(plain)
        && part.ends_with(plain)
        && between.into_iter().all(|between| matches!(between, "." | "_" | "__") || between.chars().all(|c| c == '-'))
}

/// An image's id.
pub fn image_id(id: &str) -> Result<(), Failure> {
    let hex = id.strip_prefix("sha256:").unwrap_or_default();
    let fits = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if fits { Ok(()) } else { Err(refuse("image id", id, "`sha256:` and 64 hex digits")) }
}

/// A published port: `[address:][host]:container[/protocol]`, each a number or a range.
pub fn port(text: &str) -> Result<(), Failure> {
    let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (outer, inner) = numbers.rsplit_once(':').unwrap_or(("", numbers));
    let (address, host) = outer.rsplit_once(':').unwrap_or(("", outer));
    let number = |text: &str| text.parse::<u16>().is_ok_and(|port| port > 0) && text.bytes().all(|byte| byte.is_ascii_digit());
    let range = |text: &str| text.split_once('-').map_or_else(|| number(text), |(from, to)| number(from) && number(to));
    let plain = address.strip_prefix('[').and_then(|address| address.strip_suffix(']')).unwrap_or(address);
    let good_address = address.is_empty() || plain.parse::<std::net::IpAddr>().is_ok();
    let fits = matches!(protocol, "tcp" | "udp" | "sctp") && range(inner) && (host.is_empty() || range(host)) && good_address;
    if fits { Ok(()) } else { Err(refuse("published port", text, "`8080:80`, `80`, `127.0.0.1:53:53/udp` or a range on both sides")) }
}

/// A mount: `source:target[:options]`.
pub fn volume(text: &str) -> Result<(), Failure> {
    let mut parts = text.split(':');
    let (source, target, options) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next());
    let named = source.strip_prefix(alphanumeric).is_some_and(|rest| rest.chars().all(|c| alphanumeric(c) || "_.-".contains(c)));
    let good_options = |options: &str| !options.is_empty() && options.chars().all(|c| alphanumeric(c) || ",-".contains(c));
    let fits = (source.starts_with('/') || named)
        && target.starts_with('/')
        && options.is_none_or(good_options)
        && parts.next().is_none()
        && !text.contains(char::is_control);
    let rule = "an absolute path or a volume's name, `:`, an absolute path inside, perhaps `:ro`; a path cannot hold a colon";
    if fits { Ok(()) } else { Err(refuse("volume", text, rule)) }
}

/// A path on the host or inside that must be absolute.
pub fn absolute(what: &str, path: &str) -> Result<(), Failure> {
    let fits = path.starts_with('/') && !path.contains(char::is_control);
    if fits { Ok(()) } else { Err(refuse(what, path, "an absolute path without control characters is expected")) }
}

/// A variable. The value is not quoted in the complaint: it is a secret.
pub fn variable(name: &str, value: &str) -> Result<(), Failure> {
    let odd = |c: char| c == '=' || c.is_whitespace() || c.is_control();
    if name.is_empty() || name.starts_with('#') || name.contains(odd) {
        return Err(refuse("variable's name", name, "not empty, no `=`, no blanks, and no `#` at the beginning"));
    }
    let bad = |rule: &str| Err(Failure::yours(format!("the value of `{name}` cannot be given to docker: {rule}")));
    if value.contains(['\n', '\r', '\0']) {
        return bad("it holds a line break or a NUL byte; put it into a file and mount that");
    }
    if name.len() + value.len() + 1 > LONGEST_LINE {
        return bad("it is longer than 64 KiB; put it into a file and mount that");
    }
    Ok(())
}

/// One word of a command.
pub fn word(what: &str, word: &str) -> Result<(), Failure> {
    if word.contains('\0') { Err(Failure::yours(format!("`{what}` holds a NUL byte, which no command can carry"))) } else { Ok(()) }
}
