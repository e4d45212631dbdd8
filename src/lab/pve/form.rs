//! Parameters of a request: the form decoder with its quirks, queries, JSON bodies and multipart uploads.

use std::collections::BTreeMap;

use serde_json::Value;

use super::http::find;

/// Parameters by name; a repeated name has several values.
pub type Params = BTreeMap<String, Vec<String>>;

/// A file in a multipart body.
#[derive(Debug)]
pub struct Upload {
    /// Its name as sent.
    pub name: String,
    /// Its length in bytes: the lab keeps sizes, not contents.
    pub size: u64,
}

/// Undoes percent-encoding; `+` becomes a blank when `plus`.
pub fn decode(text: &str, plus: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = |offset: usize| bytes.get(at + offset).and_then(|byte| (*byte as char).to_digit(16));
        match bytes[at] {
            b'+' if plus => out.push(b' '),
            b'%' => {
                if let (Some(high), Some(low)) = (hex(1), hex(2)) {
                    out.push((high * 16 + low) as u8);
                    at += 2;
                } else {
                    out.push(b'%');
                }
            }
            byte => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Decodes a form body as pveproxy does: pairs end at `&` and at `;`, and of a pair only the first two pieces between `=` survive,
/// so an unescaped second `=` cuts the value.
pub fn decode_form(body: &[u8]) -> Params {
    let text = String::from_utf8_lossy(body);
    let mut params = Params::new();
    for pair in text.split(['&', ';']).filter(|pair| !pair.is_empty()) {
        let mut pieces = pair.split('=');
        let name = decode(pieces.next().unwrap_or(""), true);
        let value = decode(pieces.next().unwrap_or(""), true);
        params.entry(name).or_default().push(value);
    }
    params
}

/// Decodes a query: here a second `=` belongs to the value.
pub fn decode_query(query: &str) -> Params {
    let mut params = Params::new();
    for pair in query.split(['&', ';']).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        params.entry(decode(name, true)).or_default().push(decode(value, true));
    }
    params
}

/// Decodes a JSON body; the text is Proxmox's complaint about a malformed one.
///
/// # Errors
/// The body is no JSON object.
pub fn decode_json(body: &[u8]) -> Result<Params, String> {
    const WHERE: &str = "at /usr/share/perl5/PVE/APIServer/AnyEvent.pm line 917.";
    let value: Value = serde_json::from_slice(body).map_err(|_| {
        let text = String::from_utf8_lossy(body);
        let at = text.trim_end().chars().count();
        // JSON::XS points behind a trailing blank only when there was one: with `{"vmid":` it says 8.
        format!("malformed JSON string, neither tag, array, object, number, string or atom, at character offset {at} (before \"(end of string)\") {WHERE}")
    })?;
    let Value::Object(map) = value else { return Err(format!("Not a HASH reference {WHERE}")) };
    let mut params = Params::new();
    for (name, value) in map {
        let values = match value {
            Value::Array(list) => list.iter().map(plain).collect(),
            Value::Null => continue,
            other => vec![plain(&other)],
        };
        params.insert(name, values);
    }
    Ok(params)
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(flag) => u8::from(*flag).to_string(),
        other => other.to_string(),
    }
}

/// Decodes a multipart body: fields, and the one file.
pub fn decode_multipart(body: &[u8], boundary: &str) -> (Params, Option<Upload>) {
    let mark = format!("--{boundary}").into_bytes();
    let mut params = Params::new();
    let mut upload = None;
    let mut rest = body;
    while let Some(start) = find(rest, &mark) {
        rest = &rest[start + mark.len()..];
        if rest.starts_with(b"--") {
            break;
        }
        let Some(head_end) = find(rest, b"\r\n\r\n") else { break };
        let head = String::from_utf8_lossy(&rest[..head_end]).into_owned();
        let content = &rest[head_end + 4..];
        let end = find(content, &mark).map_or(content.len(), |end| end.saturating_sub(2));
        let name = quoted(&head, "name=").unwrap_or_default();
        if let Some(file) = quoted(&head, "filename=") {
            params.insert(name, vec![file.clone()]);
            upload = Some(Upload { name: file, size: end as u64 });
        } else {
            params.insert(name, vec![String::from_utf8_lossy(&content[..end]).into_owned()]);
        }
        rest = &content[end..];
    }
    (params, upload)
}

fn quoted(head: &str, key: &str) -> Option<String> {
    let at = head.match_indices(key).find(|(at, _)| head[..*at].ends_with([' ', ';']))?.0 + key.len();
    let rest = head[at..].strip_prefix('"')?;
    rest.split('"').next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unescaped_equals_sign_cuts_a_form_value_and_a_semicolon_ends_it() {
        let params = decode_form(b"net0=virtio,bridge=vmbr0&boot=order%3Dscsi0%3Bnet0&description=a;b=c+d&command=x&command=y");
        assert_eq!(params["net0"], ["virtio,bridge"]);
        assert_eq!(params["boot"], ["order=scsi0;net0"]);
        assert_eq!(params["description"], ["a"]);
        assert_eq!(params["b"], ["c d"]);
        assert_eq!(params["command"], ["x", "y"]);
    }

    #[test]
    fn a_query_keeps_what_follows_the_second_equals_sign() {
        assert_eq!(decode_query("size=%2B1G&x=a=b")["x"], ["a=b"]);
        assert_eq!(decode_query("size=%2B1G")["size"], ["+1G"]);
    }

    #[test]
    fn json_booleans_and_numbers_become_what_a_form_would_say() {
        let params = decode_json(br#"{"onboot":true,"vmid":106,"name":"json","gone":null,"command":["a","b"]}"#).unwrap();
        assert_eq!(params["onboot"], ["1"]);
        assert_eq!(params["vmid"], ["106"]);
        assert_eq!(params["command"], ["a", "b"]);
        assert!(!params.contains_key("gone"));
        assert!(decode_json(b"{\"vmid\":").unwrap_err().contains("at character offset 8 (before"));
    }

    #[test]
    fn a_multipart_body_yields_its_fields_and_the_size_of_its_file() {
        let body = b"--X\r\nContent-Disposition: form-data; name=\"content\"\r\n\r\niso\r\n--X\r\nContent-Disposition: form-data; name=\"filename\"; filename=\"x.iso\"\r\nContent-Type: application/octet-stream\r\n\r\nab\r\ncd\r\n--X--\r\n";
        let (params, upload) = decode_multipart(body, "X");
        assert_eq!(params["content"], ["iso"]);
        let upload = upload.unwrap();
        assert_eq!((upload.name.as_str(), upload.size), ("x.iso", 6));
    }
}
