//! The part of Go's templates that `--format` is used with: paths, `json`, `index`.

use serde_json::Value;

/// Fills a template in from `data`.
///
/// # Errors
/// The words docker prints, for a key that is not there or a construction that is not understood.
pub fn fill(template: &str, data: &Value) -> Result<String, String> {
    let (mut out, mut rest) = (String::new(), template);
    while let Some(at) = rest.find("{{") {
        out.push_str(&rest[..at]);
        let end = rest[at..].find("}}").map(|n| n + at).ok_or("template parsing error: template: :1: unclosed action")?;
        out.push_str(&action(rest[at + 2..end].trim().trim_matches('-').trim(), data)?);
        rest = &rest[end + 2..];
    }
    out.push_str(rest);
    Ok(out.replace("\\n", "\n").replace("\\t", "\t"))
}

fn action(text: &str, data: &Value) -> Result<String, String> {
    if let Some(path) = text.strip_prefix("json ") {
        return Ok(path_of(path.trim(), data)?.to_string());
    }
    if let Some(rest) = text.strip_prefix("index ") {
        let (path, key) = rest.trim().split_once(' ').ok_or("template parsing error: index needs two arguments")?;
        let key = key.trim().trim_matches('"');
        return Ok(plain(path_of(path, data)?.get(key).unwrap_or(&Value::String(String::new()))));
    }
    if text.starts_with('.') {
        return Ok(plain(path_of(text, data)?));
    }
    Err(format!("template parsing error: template: :1: function \"{}\" not defined", text.split(' ').next().unwrap_or("")))
}

fn path_of<'a>(path: &str, data: &'a Value) -> Result<&'a Value, String> {
    let mut at = data;
    for key in path.split('.').filter(|k| !k.is_empty()) {
        at = at.get(key).ok_or_else(|| format!("template: :1:2: executing \"\" at <{path}>: map has no entry for key \"{key}\""))?;
    }
    Ok(at)
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "<no value>".to_owned(),
        Value::Array(items) => format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => format!("map[{}]", map.iter().map(|(k, v)| format!("{k}:{}", plain(v))).collect::<Vec<_>>().join(" ")),
        other => other.to_string(),
    }
}
