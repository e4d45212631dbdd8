//! Rows of JSON as command-line tools print them: one array, or an object a line.

use serde_json::Value as Json;

/// The rows of `--format json`: one array (docker compose before 2.21), an object a line (since), nothing at all for a list without rows.
pub fn rows(text: &str) -> Result<Vec<Json>, serde_json::Error> {
    let text = text.trim();
    if text.starts_with('[') {
        return serde_json::from_str(text);
    }
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(serde_json::from_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_or_refused_however_spoiled() {
        crate::walks::feed(&["[{\"a\":1},{\"b\":[null,\"x\"]}]", "{\"a\":1}\n{\"b\":2}\n", ""], |bytes| {
            rows(&String::from_utf8_lossy(bytes)).map(drop).map_err(|e| e.to_string())
        });
    }
}
