//! Bad input, argument by argument as the registry lists them: a new method is covered before anybody thinks of it.

mod hostile;
mod wrong;

use pmx::lang::types::{Field, Kind, Type};
use pmx::value::Value;

/// A value that fits, as TOML writes it: the default where there is one that says something.
fn good(name: &str, field: &Field) -> String {
    let known = [
        ("apiUrl", "\"https://10.0.0.4:8006\""),
        ("node", "\"keeb-dev-02\""),
        ("vmName", "\"atm10\""),
        ("composePath", "\"~/game/\""),
        ("imageTag", "\"bot\""),
        ("containerName", "\"tmodloader\""),
        ("contextPath", "\"/srv/bot\""),
        ("boot", "\"order=net0\""),
        ("portMap", "\"25565:25565\""),
        ("targetIp", "\"10.0.0.107\""),
        ("tftpHost", "\"10.0.0.191\""),
        ("tftpPath", "\"/srv/http/alpine\""),
        ("hostname", "\"web\""),
        ("player", "\"Keeb\""),
        ("dest", "\"/root/hostile\""),
        ("source", "\"Pmxfile.toml\""),
        ("remoteDir", "\"/root/copy\""),
        ("command", "\"true\""),
        ("seconds", "0"),
        ("timeout", "1"),
        ("config", "{ onboot = true }"),
    ];
    if let Some((_, text)) = known.iter().find(|(known, _)| *known == name) {
        return (*text).to_owned();
    }
    match field.default.as_ref().filter(|default| **default != Value::Null) {
        Some(default) => default.display(),
        None => fitting(&field.ty),
    }
}

fn fitting(ty: &Type) -> String {
    match &ty.kind {
        Kind::Bool => "false".to_owned(),
        Kind::Int | Kind::Float => ty.min.unwrap_or(1.0).to_string(),
        Kind::Enum(words) => format!("\"{}\"", words[0]),
        Kind::List(_) => "[]".to_owned(),
        Kind::Map(_) | Kind::Object(_) => "{}".to_owned(),
        Kind::Any | Kind::Null | Kind::String => "\"x\"".to_owned(),
    }
}

/// A name for a definition file: `docker-engine`.
fn stem(ty: &str) -> String {
    ty.replace('/', "-")
}
