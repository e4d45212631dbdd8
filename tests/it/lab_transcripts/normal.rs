//! What may differ between two runs of the same exchange, taken out of both: numbers of processes, times, statistics, ids made at random.

use serde_json::Value;

/// Keys whose numbers are never the same twice; that they are numbers is compared.
const VOLATILE: &[&str] = &[
    "pid",
    "pstart",
    "starttime",
    "endtime",
    "uptime",
    "cpu",
    "mem",
    "netin",
    "netout",
    "diskread",
    "diskwrite",
    "ctime",
    "snaptime",
    "used",
    "time",
];

/// Calls whose lists have no order.
const UNORDERED: &[&str] = &["/qemu", "/cluster/resources", "/content", "/pending", "/domains"];

/// Takes the volatile out of an answer to `path`.
pub fn normal(value: &Value, path: &str) -> Value {
    let mut value = walk(value, "", path);
    let bare = path.split('?').next().unwrap_or("").trim_end_matches('/');
    if UNORDERED.iter().any(|end| bare.ends_with(end))
        && let Some(list) = value.get_mut("data").and_then(Value::as_array_mut)
    {
        list.sort_by_key(ToString::to_string);
    }
    value
}

fn walk(value: &Value, key: &str, path: &str) -> Value {
    let statistics = path.contains("\u{0}");
    match value {
        Value::Object(map) => Value::Object(
            map.iter()
                .filter(|(name, _)| !drifts(name, path))
                .map(|(name, value)| {
                    let inner = if matches!(name.as_str(), "blockstat" | "nics") { format!("{path}\u{0}") } else { path.to_owned() };
                    (name.clone(), walk(value, name, &inner))
                })
                .collect(),
        ),
        Value::Array(list) => Value::Array(list.iter().map(|value| walk(value, key, path)).collect()),
        Value::Number(_) if statistics || VOLATILE.contains(&key) => Value::String("<number>".into()),
        Value::String(text) if key == "content" && text.contains(',') => {
            let mut parts: Vec<&str> = text.split(',').collect();
            parts.sort_unstable();
            Value::String(parts.join(","))
        }
        Value::String(text) => Value::String(words(text)),
        other => other.clone(),
    }
}

/// Keys that depend on when pvestatd looked last.
fn drifts(key: &str, path: &str) -> bool {
    let cached = path.contains("/cluster/resources") || path.contains("/pools/");
    cached && (key == "status" || path.contains("/pools/") && key == "name")
}

/// The same for a text: UPIDs keep their kind, id and user; uuids, MACs and times go.
pub fn words(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(step) = next(rest) {
        let (before, replaced, after) = step;
        out.push_str(before);
        out.push_str(&replaced);
        rest = after;
    }
    out.push_str(rest);
    out
}

fn next(text: &str) -> Option<(&str, String, &str)> {
    (0..text.len()).filter(|at| text.is_char_boundary(*at)).find_map(|at| {
        let (length, replaced) = token(&text[at..])?;
        Some((&text[..at], replaced, &text[at + length..]))
    })
}

/// A token that changes from run to run, at the beginning of a text: its length and what stands for it.
fn token(text: &str) -> Option<(usize, String)> {
    if text.starts_with("UPID:") {
        let pieces: Vec<&str> = text.splitn(9, ':').collect();
        let [_, node, _, _, _, kind, id, user, _] = pieces[..] else { return None };
        let length: usize = pieces[..8].iter().map(|piece| piece.len() + 1).sum();
        return Some((length, format!("<UPID {node} {kind} {id} {user}>")));
    }
    if let Some(digits) = text.strip_prefix("ctime=") {
        let count = digits.bytes().take_while(u8::is_ascii_digit).count();
        return Some((6 + count, "<ctime>".into()));
    }
    let shaped = |groups: &[usize], mark: u8| {
        let length = groups.iter().sum::<usize>() + groups.len() - 1;
        let bytes = text.as_bytes().get(..length)?;
        let mut at = 0;
        for (index, group) in groups.iter().enumerate() {
            if index > 0 {
                if bytes[at] != mark {
                    return None;
                }
                at += 1;
            }
            if !bytes[at..at + group].iter().all(u8::is_ascii_hexdigit) {
                return None;
            }
            at += group;
        }
        Some(length)
    };
    if let Some(length) = shaped(&[40], b'-') {
        return Some((length, "<digest>".into()));
    }
    if let Some(length) = shaped(&[8, 4, 4, 4, 12], b'-') {
        return Some((length, "<uuid>".into()));
    }
    shaped(&[2, 2, 2, 2, 2, 2], b':').map(|length| (length, "<mac>".into()))
}

#[test]
fn what_differs_goes_and_what_matters_stays() {
    let upid = "UPID:pve:00000104:0002BF80:6B04271A:qmcreate:101:root@pam:";
    assert_eq!(
        words(&format!("overruled: {upid}, {upid}")),
        "overruled: <UPID pve qmcreate 101 root@pam>, <UPID pve qmcreate 101 root@pam>"
    );
    assert_eq!(words("virtio=BC:24:11:CA:A0:97,bridge=vmbr0"), "virtio=<mac>,bridge=vmbr0");
    assert_eq!(words("uuid=e3452eda-e449-4a72-9d7a-b848436874c5"), "uuid=<uuid>");
    assert_eq!(words("creation-qemu=7.2.22,ctime=1795434267"), "creation-qemu=7.2.22,<ctime>");
    let row = serde_json::json!({"data": {"pid": 3, "maxmem": 3, "cpu": "3", "blockstat": {"scsi0": {"rd_bytes": 4}}}});
    assert_eq!(
        normal(&row, "/x"),
        serde_json::json!({"data": {"pid": "<number>", "maxmem": 3, "cpu": "3", "blockstat": {"scsi0": {"rd_bytes": "<number>"}}}})
    );
}
