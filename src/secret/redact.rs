//! The redactor: every known secret in outgoing text, in whatever form, becomes `[secret]`.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use zeroize::Zeroizing;

use super::Secret;
use super::forms::forms;

/// Replaces every known secret in outgoing text by `[secret]`: the value itself and its URL-, base64-, shell-quoted, JSON-escaped and hexadecimal forms.
#[derive(Clone, Default)]
pub struct Redactor(Arc<RwLock<Known>>);

/// Shorter secrets, and shorter forms of them, are not searched for: replacing every `ab` would destroy the text and hide nothing.
const SHORTEST: usize = PREFIX;

/// Lines of a longer secret that are shorter than this are not looked for by themselves: `services:` is in many a file and tells nothing.
const SHORTEST_LINE: usize = 16;

/// A text of so many bytes may be a piece of one that was cut: lines and outputs are from 64 KiB on.
const PIECE: usize = 16 << 10;

/// Shorter parts of a secret tell nothing, and may be anything.
const SHORTEST_PART: usize = 6;

/// The length of a needle's beginning, by which it is found.
const PREFIX: usize = 4;

/// All needles, sorted; and a bit for each hash of a beginning, so that most places of a text cost one look.
#[derive(Default)]
struct Known {
    needles: Vec<Zeroizing<String>>,
    starts: Vec<u64>,
}

impl Redactor {
    /// A redactor that knows nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on `secret` is redacted in all its forms.
    pub fn learn(&self, secret: &Secret) {
        let text = secret.expose();
        if text.len() >= SHORTEST {
            self.0.write().unwrap_or_else(PoisonError::into_inner).add(text);
        }
    }

    /// `text` without any secret that was learnt. Secrets that overlap in it go as one. A long text may be a piece of a longer one: of a secret that was cut at
    /// its beginning or end the part goes that is there.
    pub fn clean(&self, text: &str) -> String {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut clean = String::new();
        let mut told = 0;
        for (from, end) in joined(known.places(text)) {
            clean.push_str(&text[told..from]);
            clean.push_str("[secret]");
            told = end;
        }
        clean.push_str(&text[told..]);
        clean
    }
}

/// Places in their order, those that overlap as one.
fn joined(mut places: Vec<(usize, usize)>) -> Vec<(usize, usize)> {
    places.sort_unstable();
    let mut joined: Vec<(usize, usize)> = Vec::new();
    for (from, end) in places {
        match joined.last_mut().filter(|last| from < last.1) {
            Some(last) => last.1 = last.1.max(end),
            None => joined.push((from, end)),
        }
    }
    joined
}

impl Known {
    fn add(&mut self, text: &str) {
        if self.needles.binary_search_by(|needle| needle.as_str().cmp(text)).is_ok() {
            return;
        }
        // Commands tell a key file line by line; a line too short to be one of its own may be anything.
        let lines = text.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_LINE && line.len() < text.len());
        let all = std::iter::once(text).chain(lines).flat_map(forms).filter(|form| form.len() >= SHORTEST);
        self.needles.extend(all.map(Zeroizing::new));
        self.needles.sort_unstable_by(|one, other| one.as_str().cmp(other));
        self.needles.dedup();
        self.starts = vec![0; 1 << (BITS - 6)];
        for needle in &self.needles {
            let bit = hash(&needle.as_bytes()[..PREFIX]);
            self.starts[bit >> 6] |= 1 << (bit & 63);
        }
    }

    /// Where needles stand, and parts of needles at the ends of a long text.
    fn places(&self, text: &str) -> Vec<(usize, usize)> {
        let mut places = Vec::new();
        let mut at = 0;
        while let Some((from, end)) = self.next(text, at) {
            places.push((from, end));
            at = from + 1;
        }
        if text.len() >= PIECE {
            let parts = |needle: &str| (1..needle.len()).filter(|at| needle.is_char_boundary(*at)).collect::<Vec<_>>();
            for needle in &self.needles {
                let ends = parts(needle).into_iter().filter(|at| needle.len() - at >= SHORTEST_PART && text.starts_with(&needle[*at..]));
                places.extend(ends.map(|at| (0, needle.len() - at)));
                let begins = parts(needle).into_iter().filter(|at| *at >= SHORTEST_PART && text.ends_with(&needle[..*at]));
                places.extend(begins.map(|at| (text.len() - at, text.len())));
            }
        }
        places
    }

    /// The first place from byte `at` where a needle stands, and the end of the longest that does.
    fn next(&self, text: &str, at: usize) -> Option<(usize, usize)> {
        if self.needles.is_empty() {
            return None;
        }
        let bytes = text.as_bytes();
        let last = bytes.len().checked_sub(PREFIX)?;
        (at..=last).find_map(|place| {
            let bit = hash(&bytes[place..place + PREFIX]);
            let end = (self.starts[bit >> 6] >> (bit & 63) & 1 == 1).then(|| self.longest(&bytes[place..])).flatten();
            end.map(|length| (place, place + length))
        })
    }

    /// The length of the longest needle that `bytes` begin with.
    fn longest(&self, bytes: &[u8]) -> Option<usize> {
        let prefix = &bytes[..PREFIX];
        let first = self.needles.partition_point(|needle| &needle.as_bytes()[..PREFIX] < prefix);
        let alike = self.needles[first..].iter().take_while(|needle| needle.as_bytes().starts_with(prefix));
        alike.filter(|needle| bytes.starts_with(needle.as_bytes())).map(|needle| needle.len()).max()
    }
}

/// Bits of a hash of a beginning.
const BITS: u32 = 13;

fn hash(prefix: &[u8]) -> usize {
    let word = prefix.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
    (word.wrapping_mul(0x9E37_79B1) >> (u32::BITS - BITS)) as usize
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor")
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use proptest::prelude::*;

    use super::*;
    use crate::secret::Origin;

    fn knowing(secrets: &[&str]) -> Redactor {
        let redactor = Redactor::new();
        secrets.iter().for_each(|text| redactor.learn(&Secret::new(*text, Origin::Computed)));
        redactor
    }

    #[test]
    fn redaction_finds_every_form() {
        let redactor = knowing(&["It's=a;b \"c$d`e\\f/ü+"]);
        let forms = [
            "It's=a;b \"c$d`e\\f/ü+",
            "It%27s%3Da%3Bb%20%22c%24d%60e%5Cf%2F%C3%BC%2B",
            "It%27s%3da%3bb%20%22c%24d%60e%5cf%2f%c3%bc%2b",
            "It%27s%3Da%3Bb+%22c%24d%60e%5Cf%2F%C3%BC%2B",
            "It's%3Da%3Bb%20%22c%24d%60e%5Cf%2F%C3%BC%2B",
            "It's=a;b%20%22c$d%60e%5Cf/%C3%BC+",
            r#"It'\''s=a;b "c$d`e\f/ü+"#,
            r#"It'"'"'s=a;b "c$d`e\f/ü+"#,
            r#"It's=a;b \"c\$d\`e\\f/ü+"#,
            r#"It\'s=a\;b\ \"c\$d\`e\\f/ü+"#,
            r#"It\'s=a;b "c$d`e\\f/ü+"#,
            r#"It's=a;b \"c$d`e\\f/ü+"#,
            r#"It's=a;b \"c$d`e\\f/\u00fc+"#,
            r#"It's=a;b \\\"c$d`e\\\\f/ü+"#,
            "497427733d613b62202263246460655c662fc3bc2b",
            "497427733D613B62202263246460655C662FC3BC2B",
        ];
        for seen in forms {
            assert_eq!(redactor.clean(&format!("<{seen}>")), "<[secret]>", "{seen}");
        }
    }

    proptest! {
        #![proptest_config(crate::walks::cases(256))]
        #[test]
        fn base64_gives_nothing_of_it_away_wherever_it_stands(before in ".{0,5}", secret in "[a-z?>ü]{8,80}", after in ".{0,5}") {
            let redactor = knowing(&[&secret]);
            let whole = format!("{before}{secret}{after}");
            for engine in [&base64::engine::general_purpose::STANDARD, &base64::engine::general_purpose::URL_SAFE] {
                let clean = redactor.clean(&engine.encode(&whole));
                // What is left of the secret is at most a letter at each end, which it shares with its neighbours.
                let kept = clean.len() - "[secret]".len();
                prop_assert!(clean.contains("[secret]"), "{clean}");
                prop_assert!(kept <= (before.len() + after.len()) * 4 / 3 + 8, "{clean}");
            }
        }

        #[test]
        fn what_holds_no_secret_stays_as_it_is_and_the_rest_is_kept(parts in proptest::collection::vec("[a-dü]{0,7}", 1..8)) {
            let redactor = knowing(&["abcdab", "üab#"]);
            let clean = redactor.clean(&parts.join("#"));
            prop_assert!(!clean.contains("abcdab") && !clean.contains("üab#"));
            let text = parts.join("#");
            if !text.contains("abcdab") && !text.contains("üab#") {
                prop_assert_eq!(&clean, &text);
            }
            let fences = |text: &str| text.matches('#').count();
            prop_assert!(fences(&clean) + text.matches("üab#").count() >= fences(&text));
        }
    }

    #[test]
    fn lines_that_base64_wraps_are_found() {
        let secret = "0123456789".repeat(12);
        let encoded = base64::engine::general_purpose::STANDARD.encode(&secret);
        let redactor = knowing(&[&secret]);
        for wrap in [76, 64] {
            let lines: Vec<String> = encoded.as_bytes().chunks(wrap).map(|line| redactor.clean(&String::from_utf8_lossy(line))).collect();
            assert!(lines.iter().all(|line| line.trim_end_matches('=') == "[secret]"), "{lines:?}");
        }
    }

    #[test]
    fn each_line_of_a_key_file_is_found() {
        let redactor = knowing(&["-----BEGIN KEY-----\nb3BlbnNzaC1rZXktdjEA\nSECRET=\"two words\"\nok: yes\n"]);
        assert_eq!(redactor.clean("line 2 is b3BlbnNzaC1rZXktdjEA."), "line 2 is [secret].");
        assert_eq!(redactor.clean(r#"{"line": "SECRET=\"two words\""}"#), r#"{"line": "[secret]"}"#);
        assert_eq!(redactor.clean("ok: yes"), "ok: yes");
    }

    #[test]
    fn a_secret_that_was_cut_goes_as_far_as_it_is_there() {
        let redactor = knowing(&["c4nary-of-ü-the-mine"]);
        let long = "-".repeat(PIECE);
        assert_eq!(redactor.clean(&format!("{long}c4nary-of-ü-the-mi")), format!("{long}[secret]"));
        assert_eq!(redactor.clean(&format!("ary-of-ü-the-mine{long}c4nary-of-ü")), format!("[secret]{long}[secret]"));
        assert_eq!(redactor.clean(&format!("mine{long}c4n")), format!("mine{long}c4n"));
        assert_eq!(redactor.clean("c4nary-of-ü-the-mi"), "c4nary-of-ü-the-mi", "a short text is whole");
    }

    #[test]
    fn secrets_inside_one_another_and_across_one_another_leave_nothing() {
        let redactor = knowing(&["abcd", "abcdefgh", "ghijklmn"]);
        assert_eq!(redactor.clean("x abcdefgh y abcd"), "x [secret] y [secret]");
        assert_eq!(redactor.clean("abcdefghijklmn."), "[secret].");
        assert_eq!(redactor.clean("abcdabcd"), "[secret][secret]");
        assert_eq!(knowing(&["aaaa"]).clean("aaaaaaaaa-"), "[secret]-");
        assert_eq!(redactor.clean(""), "");
    }
}
