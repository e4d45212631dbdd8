//! The parameter checks: what each parameter may be and Proxmox's words when it is not.

use super::form::Params;
use super::options;
use super::reply::Fail;

/// What a parameter may be.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Any text.
    Text,
    /// A whole number between two bounds.
    Int(i64, i64),
    /// 0 or 1.
    Bool,
    /// 100 to 999999999.
    Vmid,
    /// A DNS name.
    Dns,
    /// A boot order.
    Boot,
    /// `memory`: a number of at least 16, or `current=…`.
    Memory,
    /// `agent`.
    Agent,
    /// `netN`.
    Net,
    /// One of several words.
    Enum(&'static [&'static str]),
    /// Several values.
    List,
}

/// A parameter of a call.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    /// Its name.
    pub name: &'static str,
    /// What it may be.
    pub kind: Kind,
    /// Whether it must be there.
    pub needed: bool,
}

/// A parameter that must be there.
pub const fn need(name: &'static str, kind: Kind) -> Param {
    Param { name, kind, needed: true }
}

/// A parameter that may be there.
pub const fn opt(name: &'static str, kind: Kind) -> Param {
    Param { name, kind, needed: false }
}

const UNKNOWN: &str = "property is not defined in schema and the schema does not allow additional properties";
const MISSING: &str = "property is missing and it is not optional";

/// Checks all parameters of a call; all that is bad is told at once.
///
/// # Errors
/// 400 with a text per bad parameter.
pub fn check(params: &Params, known: &[Param], configures: bool) -> Result<(), Fail> {
    let mut errors = Vec::new();
    for (name, values) in params {
        let kind = known
            .iter()
            .find(|param| param.name == name)
            .map(|param| param.kind)
            .or_else(|| configures.then(|| options::kind(name)).flatten());
        let Some(kind) = kind else {
            errors.push((name.clone(), UNKNOWN.to_owned()));
            continue;
        };
        if let Err(text) = check_one(name, values, kind) {
            errors.push((name.clone(), text));
        }
    }
    for param in known.iter().filter(|param| param.needed && !params.contains_key(param.name)) {
        errors.push((param.name.to_owned(), MISSING.to_owned()));
    }
    if errors.is_empty() { Ok(()) } else { Err(Fail::Params(errors)) }
}

fn check_one(name: &str, values: &[String], kind: Kind) -> Result<(), String> {
    if matches!(kind, Kind::List) {
        return Ok(());
    }
    let [value] = values else { return Err("type check ('string') failed - got ARRAY".to_owned()) };
    match kind {
        Kind::Text | Kind::List => Ok(()),
        Kind::Int(min, max) => integer(value, min, max),
        Kind::Bool => {
            if matches!(value.as_str(), "0" | "1") {
                Ok(())
            } else {
                Err(format!("type check ('boolean') failed - got '{value}'"))
            }
        }
        Kind::Vmid => match value.parse::<i64>() {
            Err(_) => Err(format!("type check ('integer') failed - got '{value}'")),
            Ok(100..=999_999_999) => Ok(()),
            Ok(_) => Err(format_error("value does not look like a valid VM ID")),
        },
        Kind::Dns => {
            if is_dns(value) {
                Ok(())
            } else {
                Err(format_error("value does not look like a valid DNS name"))
            }
        }
        Kind::Boot => boot(value),
        Kind::Memory => {
            let current = value.strip_prefix("current=").unwrap_or(value);
            integer(current, 16, i64::MAX).map_err(|text| format_error(&format!("format error\nmemory.current: {text}")))
        }
        Kind::Agent => agent(value),
        Kind::Net => net(name, value),
        Kind::Enum(words) => one_of(value, words),
    }
}

fn format_error(text: &str) -> String {
    format!("invalid format - {text}\n")
}

fn integer(value: &str, min: i64, max: i64) -> Result<(), String> {
    let Ok(number) = value.parse::<i64>() else { return Err(format!("type check ('integer') failed - got '{value}'")) };
    if number < min {
        Err(format!("value must have a minimum value of {min}"))
    } else if number > max {
        Err(format!("value must have a maximum value of {max}"))
    } else {
        Ok(())
    }
}

fn one_of(value: &str, words: &[&str]) -> Result<(), String> {
    if words.contains(&value) {
        Ok(())
    } else {
        Err(format!("value '{value}' does not have a value in the enumeration '{}'", words.join(", ")))
    }
}

/// Whether a text is a DNS name: labels of letters, digits and inner dashes.
pub fn is_dns(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.split('.').all(label)
}

fn boot(value: &str) -> Result<(), String> {
    let legacy = !value.is_empty() && value.len() <= 4 && value.bytes().all(|byte| b"acdn".contains(&byte));
    let parts: Vec<&str> = value.split(',').filter(|part| !part.trim().is_empty()).collect();
    let good = value.trim().is_empty() || legacy || parts.iter().all(|part| part.starts_with("order=") || part.starts_with("legacy="));
    if good { Ok(()) } else { Err(format_error("format error\nboot.legacy: value does not match the regex pattern")) }
}

/// Splits a property string into keys and values; a part without `=` belongs to `default`.
///
/// # Errors
/// A key comes twice, or there is no default key.
pub fn properties<'a>(text: &'a str, default: Option<&'a str>) -> Result<Vec<(&'a str, &'a str)>, String> {
    let mut list: Vec<(&str, &str)> = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (key, value) = match (part.split_once('='), default) {
            (Some(pair), _) => pair,
            (None, Some(default)) => (default, part),
            (None, None) => return Err(format_error("value without key, but schema does not define a default key")),
        };
        if list.iter().any(|(known, _)| *known == key) {
            return Err(format_error(&format!("duplicate key in comma-separated list property: {key}")));
        }
        list.push((key, value));
    }
    Ok(list)
}

fn agent(value: &str) -> Result<(), String> {
    for (key, value) in properties(value, Some("enabled"))? {
        let bad = |text: String| Err(format_error(&format!("format error\nagent.{key}: {text}")));
        match key {
            "enabled" | "fstrim_cloned_disks" | "freeze-fs-on-backup" if matches!(value, "0" | "1") => {}
            "enabled" | "fstrim_cloned_disks" | "freeze-fs-on-backup" => {
                return bad(format!("type check ('boolean') failed - got '{value}'"));
            }
            "type" => one_of(value, &["virtio", "isa"]).or_else(bad)?,
            _ => return bad(UNKNOWN.to_owned()),
        }
    }
    Ok(())
}

/// Models of network cards.
pub const MODELS: &[&str] = &[
    "e1000",
    "e1000-82540em",
    "e1000-82544gc",
    "e1000-82545em",
    "e1000e",
    "i82551",
    "i82557b",
    "i82559er",
    "ne2k_isa",
    "ne2k_pci",
    "pcnet",
    "rtl8139",
    "virtio",
    "vmxnet3",
];

fn net(name: &str, value: &str) -> Result<(), String> {
    const KEYS: &[&str] = &["bridge", "macaddr", "queues", "rate", "tag", "trunks", "firewall", "link_down", "mtu"];
    for (key, value) in properties(value, Some("model"))? {
        let bad = |key: &str, text: String| Err(format_error(&format!("format error\n{name}.{key}: {text}")));
        if key == "model" {
            one_of(value, MODELS).or_else(|text| bad("model", text))?;
        } else if !MODELS.contains(&key) && !KEYS.contains(&key) {
            return bad(key, UNKNOWN.to_owned());
        }
    }
    Ok(())
}
