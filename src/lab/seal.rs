//! Signatures of tickets and CSRF tokens, and the keyed hash of passwords.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

/// Keyed hash of several texts in hex; their lengths are part of it, so no two lists collide.
pub fn mac(secret: &str, parts: &[&str]) -> String {
    sign(secret, parts).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The same in base64, as CSRF tokens carry it.
pub fn short(secret: &str, parts: &[&str]) -> String {
    STANDARD.encode(sign(secret, parts).as_ref())
}

/// 256 bytes in base64: as long as the RSA signature of a genuine ticket, with all the characters that need encoding.
pub fn long(secret: &str, parts: &[&str]) -> String {
    let mut bytes = Vec::with_capacity(256);
    for round in ["0", "1", "2", "3", "4", "5", "6", "7"] {
        let mut all = parts.to_vec();
        all.push(round);
        bytes.extend_from_slice(sign(secret, &all).as_ref());
    }
    STANDARD.encode(bytes)
}

fn sign(secret: &str, parts: &[&str]) -> hmac::Tag {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let mut context = hmac::Context::with_key(&key);
    for part in parts {
        context.update(&(part.len() as u64).to_le_bytes());
        context.update(part.as_bytes());
    }
    context.sign()
}
