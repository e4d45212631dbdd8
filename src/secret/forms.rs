//! The forms in which a secret may come back: what quoting, escaping and encoding make of it on the way.
//!
//! | form | met in |
//! |---|---|
//! | the text | whatever a program prints |
//! | percent-encoded, by five notions of what needs it, digits of either case, `+` for a space | URLs, form bodies, logs of web servers |
//! | Base64 of it at each of the three places inside a group, of either alphabet, also wrapped | headers, `base64`, PEM |
//! | hexadecimal of either case | dumps |
//! | between single quotes, between double quotes, behind backslashes, `$'…'` | `set -x`, `printf %q`, error messages of shells |
//! | as a JSON string, also one inside another, also with all but ASCII escaped | logs, `docker inspect` |
//!
//! Of an encoding whose first and last letters depend on the neighbours of the secret, only the letters between belong to the form.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::Value;

/// What encoders of URLs leave as it is, besides letters and digits: RFC 3986, the same for paths, `encodeURIComponent`, forms, `encodeURI`.
const KEPT: [&[u8]; 5] = [b"-_.~", b"-_.~/", b"-_.!~*'()", b"-_.*", b"-_.!~*'();,/?:@&=+$#"];

/// Bytes of text in a line of Base64: `base64`, PEM.
const WRAPS: [usize; 2] = [57, 48];

/// Each form of `text`, itself among them; some may be equal.
pub(super) fn forms(text: &str) -> Vec<String> {
    let mut forms = vec![text.to_owned()];
    for kept in KEPT {
        for hex in [HEX, HEX.map(|digit| digit.to_ascii_uppercase())] {
            let encoded = percent(text, kept, hex);
            forms.push(encoded.replace("%20", "+"));
            forms.push(encoded);
        }
    }
    forms.extend(base64(text.as_bytes()));
    for hex in [HEX, HEX.map(|digit| digit.to_ascii_uppercase())] {
        forms.push(text.bytes().flat_map(|byte| digits(byte, hex)).collect());
    }
    forms.extend(quoted(text));
    let json = escaped(text);
    forms.extend([ascii(&json), escaped(&json), json]);
    forms
}

const HEX: [u8; 16] = *b"0123456789abcdef";

fn digits(byte: u8, hex: [u8; 16]) -> [char; 2] {
    [byte >> 4, byte & 15].map(|half| char::from(hex[usize::from(half)]))
}

fn percent(text: &str, kept: &[u8], hex: [u8; 16]) -> String {
    let mut out = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || kept.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.extend(digits(byte, hex));
        }
    }
    out
}

/// What stands in the Base64 of any longer text that holds these bytes, and in the lines of theirs alone.
fn base64(bytes: &[u8]) -> Vec<String> {
    let mut forms = Vec::new();
    for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
        for before in 0..3 {
            let encoded = engine.encode([&[0; 2][..before], bytes].concat());
            // A letter is six bits: those that hold a bit of what stands before or behind are not ours.
            let (first, end) = ((before * 8).div_ceil(6), (before + bytes.len()) * 8 / 6);
            forms.extend(encoded.get(first..end).map(str::to_owned));
        }
    }
    for wrap in WRAPS.iter().filter(|wrap| bytes.len() > **wrap) {
        forms.extend(bytes.chunks(*wrap).map(|chunk| STANDARD_NO_PAD.encode(&chunk[..chunk.len() / 3 * 3])));
    }
    forms
}

fn quoted(text: &str) -> Vec<String> {
    let behind = |special: &dyn Fn(char) -> bool| {
        let mut out = String::with_capacity(text.len() * 2);
        for letter in text.chars() {
            if special(letter) {
                out.push('\\');
            }
            out.push(letter);
        }
        out
    };
    vec![
        text.replace('\'', r"'\''"),
        text.replace('\'', r#"'"'"'"#),
        behind(&|letter| "\"$`\\".contains(letter)),
        behind(&|letter| letter.is_ascii() && !letter.is_ascii_alphanumeric() && !"%+,-./:=@_".contains(letter)),
        behind(&|letter| letter.is_ascii() && !letter.is_ascii_alphanumeric() && !"#%+-./:=@_~".contains(letter)),
        behind(&|letter| "'\\".contains(letter)),
    ]
}

fn escaped(text: &str) -> String {
    let json = Value::from(text).to_string();
    json[1..json.len() - 1].to_owned()
}

/// A JSON string as encoders write it that trust in ASCII only.
fn ascii(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for letter in json.chars() {
        if letter.is_ascii() {
            out.push(letter);
        } else {
            letter.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        }
    }
    out
}
