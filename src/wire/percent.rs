//! Percent-encoding of forms and queries: everything but letters, digits and `-_.~`, because Proxmox cuts a value at a bare `=`, `;` or `+`.

use zeroize::Zeroizing;

use crate::wire::http::Field;

/// The pairs as `k=v&k=v`. Wiped from memory when dropped: it may hold secrets.
pub fn pairs(pairs: &[(String, Field)]) -> Zeroizing<String> {
    let longest: usize = pairs.iter().map(|(key, field)| 3 * (key.len() + field.expose().len()) + 2).sum();
    // Sized at once: a string that grows leaves copies of its beginning behind.
    let mut text = Zeroizing::new(String::with_capacity(longest));
    for (at, (key, field)) in pairs.iter().enumerate() {
        if at > 0 {
            text.push('&');
        }
        encode(key, &mut text);
        text.push('=');
        encode(field.expose(), &mut text);
    }
    text
}

/// One piece of a path or value.
pub fn piece(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    encode(text, &mut encoded);
    encoded
}

fn encode(text: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.extend(['%', char::from(HEX[usize::from(byte >> 4)]), char::from(HEX[usize::from(byte & 15)])]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads a body as Proxmox does: pairs split at `&` and `;`, a pair at `=` keeping two pieces, `+` is a space.
    fn as_proxmox_reads(body: &str) -> Vec<(String, String)> {
        let decode = |piece: &str| {
            let (mut bytes, mut rest) = (Vec::new(), piece.as_bytes());
            while let Some((&byte, after)) = rest.split_first() {
                rest = after;
                match byte {
                    b'+' => bytes.push(b' '),
                    b'%' => {
                        let hex = std::str::from_utf8(&rest[..2]).unwrap();
                        bytes.push(u8::from_str_radix(hex, 16).unwrap());
                        rest = &rest[2..];
                    }
                    other => bytes.push(other),
                }
            }
            String::from_utf8(bytes).unwrap()
        };
        let pairs = body.split(['&', ';']).filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| {
                let mut pieces = pair.split('=');
                (decode(pieces.next().unwrap_or_default()), decode(pieces.next().unwrap_or_default()))
            })
            .collect()
    }

    proptest! {
        #![proptest_config(crate::walks::cases(256))]

        #[test]
        fn proxmox_reads_what_was_meant(given in prop::collection::vec((".*", ".*"), 1..8)) {
            let fields: Vec<_> = given.iter().map(|(key, value)| (key.clone(), Field::from(value.as_str()))).collect();
            prop_assert_eq!(as_proxmox_reads(&pairs(&fields)), given);
        }
    }

    #[test]
    fn the_values_that_hurt_others_survive() {
        let value = "virtio,bridge=vmbr0;a+b&c%20d #é";
        let body = pairs(&[("net0".into(), value.into()), ("command".into(), "-c".into())]);
        assert_eq!(body.as_str(), "net0=virtio%2Cbridge%3Dvmbr0%3Ba%2Bb%26c%2520d%20%23%C3%A9&command=-c");
        assert_eq!(as_proxmox_reads(&body)[0].1, value);
        assert_eq!(piece("a/b"), "a%2Fb");
    }
}
