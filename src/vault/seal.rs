//! Sealed boxes: ChaCha20-Poly1305 under a random nonce, as bytes that say their format and their key.
//!
//! | bytes | are |
//! |---|---|
//! | 1 | the format, 1; a reader refuses others |
//! | 4 | the id of the key: tells a wrong key from damage |
//! | 12 | the nonce |
//! | rest | ciphertext and 16-byte tag; all before it and the caller's context are authenticated too |

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

const FORMAT: u8 = 1;
const ID: usize = 4;
const HEADER: usize = 1 + ID;

/// A key that seals and opens.
pub(super) struct SealKey {
    key: LessSafeKey,
    header: [u8; HEADER],
}

/// Why a box does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("it is sealed in a format that this pmx does not know")]
    Format,
    #[error("it is sealed with another store's key")]
    OtherKey,
    #[error("its sealed bytes were changed or belong to another name")]
    Changed,
}

impl SealKey {
    /// The key made of 32 secret bytes.
    pub fn new(bytes: &[u8; 32]) -> Self {
        let id = blake3::keyed_hash(bytes, b"pmx key id 1");
        let mut header = [FORMAT; HEADER];
        header[1..].copy_from_slice(&id.as_bytes()[..ID]);
        // The algorithm's key length is 32: the only error `UnboundKey` knows cannot happen.
        let key = UnboundKey::new(&CHACHA20_POLY1305, bytes).map(LessSafeKey::new);
        Self { key: key.expect("ChaCha20-Poly1305 takes 32 bytes"), header }
    }

    /// Seals `plain` for `context`; each time anew.
    ///
    /// # Panics
    /// When the kernel gives no random bytes: a repeated nonce would give the key away.
    pub fn seal(&self, context: &str, plain: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).expect("the kernel gives random bytes");
        let mut text = Zeroizing::new(plain.to_vec());
        let sealed = self.key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), self.aad(context), &mut text);
        let tag = sealed.expect("the text is shorter than 256 GiB");
        [&self.header, &nonce[..], &text, tag.as_ref()].concat()
    }

    /// Opens what `seal` made for the same context.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let (header, rest) = sealed.split_at_checked(HEADER).ok_or(Refusal::Changed)?;
        match header {
            [FORMAT, ..] if header == self.header => {}
            [FORMAT, ..] => return Err(Refusal::OtherKey),
            _ => return Err(Refusal::Format),
        }
        let (nonce, text) = rest.split_at_checked(NONCE_LEN).ok_or(Refusal::Changed)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Refusal::Changed)?;
        let mut text = Zeroizing::new(text.to_vec());
        let length = self.key.open_in_place(nonce, self.aad(context), &mut text).map_err(|_| Refusal::Changed)?.len();
        text.truncate(length);
        Ok(text)
    }

    fn aad(&self, context: &str) -> Aad<Vec<u8>> {
        Aad::from([&self.header, context.as_bytes()].concat())
    }
}

/// The keys of one purpose: the first seals, all of them open. There are several only while everything is being sealed anew.
pub(super) struct SealKeys {
    first: SealKey,
    older: Vec<SealKey>,
}

impl SealKeys {
    /// The first of these keys seals.
    pub fn new(first: &[u8; 32], older: &[Zeroizing<[u8; 32]>]) -> Self {
        Self { first: SealKey::new(first), older: older.iter().map(|bytes| SealKey::new(bytes)).collect() }
    }

    /// Seals `plain` for `context` with the first key.
    pub fn seal(&self, context: &str, plain: &[u8]) -> Vec<u8> {
        self.first.seal(context, plain)
    }

    /// Opens what any of the keys sealed for the same context.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let keys = std::iter::once(&self.first).chain(&self.older);
        keys.map(|key| key.open(context, sealed)).find(|opened| !matches!(opened, Err(Refusal::OtherKey))).unwrap_or(Err(Refusal::OtherKey))
    }

    /// Whether the first key sealed it, as its header says.
    pub fn newest(&self, sealed: &[u8]) -> bool {
        sealed.starts_with(&self.first.header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_opens_only_whole_under_its_key_and_context() {
        let key = SealKey::new(&[7; 32]);
        for plain in [&b""[..], b"hunter2", &[0xFF; 100_000]] {
            let sealed = key.seal("a", plain);
            assert_eq!(key.open("a", &sealed).unwrap().as_slice(), plain);
            assert_ne!(sealed, key.seal("a", plain), "never the same twice");
            assert_eq!(key.open("b", &sealed), Err(Refusal::Changed));
            assert_eq!(SealKey::new(&[8; 32]).open("a", &sealed), Err(Refusal::OtherKey));
        }
        let sealed = key.seal("a", b"hunter2");
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert!(key.open("a", &changed).is_err(), "byte {place}");
            assert!(key.open("a", &sealed[..place]).is_err(), "cut at {place}");
        }
        assert_eq!(key.open("a", b"\x02 of the future"), Err(Refusal::Format));
    }

    #[test]
    fn the_first_key_seals_and_all_of_them_open() {
        let (old, new) = ([7; 32], [8; 32]);
        let both = SealKeys::new(&new, &[Zeroizing::new(old)]);
        let before = SealKey::new(&old).seal("a", b"hunter2");
        assert!(!both.newest(&before));
        assert_eq!(both.open("a", &before).unwrap().as_slice(), b"hunter2");
        let after = both.seal("a", b"hunter2");
        assert!(both.newest(&after));
        assert_eq!(SealKeys::new(&new, &[]).open("a", &after).unwrap().as_slice(), b"hunter2");
        assert_eq!(SealKeys::new(&new, &[]).open("a", &before), Err(Refusal::OtherKey));
        assert_eq!(both.open("b", &before), Err(Refusal::Changed));
    }

    #[test]
    fn boxes_open_or_are_refused_however_spoiled() {
        let key = SealKey::new(&[7; 32]);
        let seeds = [key.seal("a", b"hunter2"), key.seal("a", b""), key.seal("a", &[0xFF; 3000])];
        let plain = [&b"hunter2"[..], b"", &[0xFF; 3000]].map(<[u8]>::to_vec);
        crate::walks::feed(&seeds, move |bytes| match key.open("a", bytes) {
            Ok(opened) => plain.contains(&opened).then_some(()).ok_or_else(|| panic!("something else was opened")),
            Err(refusal) => Err(refusal.to_string()),
        });
    }
}
