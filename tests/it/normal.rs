//! Volatile words of an output replaced by what they are, so that a whole output can be a snapshot.

use std::collections::BTreeSet;

/// Units behind a number that make it a duration.
const UNITS: [&str; 9] = ["ns", "µs", "us", "ms", "s", "m", "min", "h", "d"];

/// `text` with run ids, digests, uuids, task ids, times and durations replaced, and each of `paths` by its name in brackets.
///
/// A number with a unit counts as a duration wherever it stands: deadlines that a plan prints are asserted apart, on the raw text.
pub fn normal(text: &str, paths: &[(String, &str)]) -> String {
    let mut text = text.to_owned();
    let mut longest_first = paths.to_vec();
    longest_first.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
    for (path, name) in longest_first {
        text = text.replace(&path, &format!("[{name}]"));
    }
    let words = split(&text);
    let runs: BTreeSet<&str> = named_runs(&words);
    let mut out: Vec<String> = Vec::new();
    let mut index = 0;
    while index < words.len() {
        let word = words[index];
        let spaced_unit = words.get(index + 1) == Some(&" ") && words.get(index + 2).is_some_and(|unit| UNITS.contains(unit));
        if number(word) && spaced_unit {
            out.push("[took]".to_owned());
            index += 3;
            continue;
        }
        out.push(if runs.contains(word) { "[run]".to_owned() } else { replaced(word) });
        index += 1;
    }
    // `1 m 2 s` and `2026-11-23 14:02` are one thing each.
    let joined = out.concat().replace("[took] [took]", "[took]").replace("[date] [clock]", "[time]");
    joined.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// Words and what stands between them, in order; a word is made of letters, digits and the marks that occur inside times, ids and numbers.
fn split(text: &str) -> Vec<&str> {
    let inside = |letter: char| letter.is_alphanumeric() || "-:.+_@!".contains(letter);
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = if inside(first) { rest.find(|letter| !inside(letter)).unwrap_or(rest.len()) } else { first.len_utf8() };
        let (word, behind) = rest.split_at(end);
        let bare = word.trim_end_matches(['.', ':', '!', '-']);
        words.extend([bare, &word[bare.len()..]].into_iter().filter(|part| !part.is_empty()));
        rest = behind;
    }
    words
}

/// Short ids behind the word `run`: they may be all digits, so nothing else gives them away.
fn named_runs<'a>(words: &[&'a str]) -> BTreeSet<&'a str> {
    let pairs = words.windows(3).filter(|three| three[0].eq_ignore_ascii_case("run") && three[1] == " ");
    pairs.map(|three| three[2]).filter(|id| hex(id) && id.len() == 7).collect()
}

fn replaced(word: &str) -> String {
    let kind = if word.starts_with("UPID:") {
        "[upid]"
    } else if uuid(word) {
        "[uuid]"
    } else if hex(word) && matches!(word.len(), 12 | 64) {
        "[digest]"
    } else if hex(word) && (word.len() == 32 || word.len() == 7 && mixed(word)) {
        "[run]"
    } else if time(word) {
        "[time]"
    } else if shape(word, "9999-99-99") {
        "[date]"
    } else if shape(word, "99:99") || shape(word, "99:99:99") {
        "[clock]"
    } else if duration(word) {
        "[took]"
    } else {
        word
    };
    kind.to_owned()
}

fn hex(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn mixed(word: &str) -> bool {
    word.bytes().any(|byte| byte.is_ascii_digit()) && word.bytes().any(|byte| byte.is_ascii_alphabetic())
}

fn uuid(word: &str) -> bool {
    let lengths: Vec<usize> = word.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && word.split('-').all(|part| hex(&part.to_ascii_lowercase()))
}

/// Whether `word` has the letters of `wanted` with a digit wherever that has a 9.
fn shape(word: &str, wanted: &str) -> bool {
    word.len() == wanted.len()
        && word.bytes().zip(wanted.bytes()).all(|(byte, want)| if want == b'9' { byte.is_ascii_digit() } else { byte == want })
}

/// `2026-11-23T14:02:03`, with a fraction, `Z` or an offset behind it.
fn time(word: &str) -> bool {
    word.is_char_boundary(19) && word.len() >= 19 && shape(&word[..19], "9999-99-99T99:99:99")
}

fn number(word: &str) -> bool {
    word.starts_with(|letter: char| letter.is_ascii_digit()) && word.parse::<f64>().is_ok()
}

/// `1.2s`, `350ms`, `2m03s`: numbers and units in turn.
fn duration(word: &str) -> bool {
    let mut rest = word;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(rest.len());
        let (amount, behind) = rest.split_at(digits);
        let unit = behind.find(|letter: char| letter.is_ascii_digit()).unwrap_or(behind.len());
        if !number(amount) || !UNITS.contains(&&behind[..unit]) {
            return false;
        }
        rest = &behind[unit..];
    }
    !word.is_empty()
}

#[test]
fn volatile_words_are_named_and_the_rest_stays() {
    let digest = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
    let text = format!(
        "run 1234567: fleet.stop took 1.2s (of 2m03s), waited 12 s.  \nrun 1234567 by cli:root@slate at 2026-11-23T14:02:03.5Z, since 14:02\n\
         blob {digest} af1349b9f5f9, uuid 0f7e1a52-4d4e-4c1e-9d7f-0a1b2c3d4e5f, on 2026-11-23 14:02:03\n/tmp/x1/project/store of 2048 MB at 10.0.0.4:8006"
    );
    let out = normal(&text, &[("/tmp/x1".to_owned(), "home"), ("/tmp/x1/project".to_owned(), "project")]);
    insta::assert_snapshot!(out, @r"
    run [run]: fleet.stop took [took] (of [took]), waited [took].
    run [run] by cli:root@slate at [time], since [clock]
    blob [digest] [digest], uuid [uuid], on [time]
    [project]/store of 2048 MB at 10.0.0.4:8006
    ");
}

#[test]
fn ordinary_words_are_not_volatile() {
    let text = "calamity 107 12 VMs, dead beef, 5 steps, s3, deadbee at port 18006, UPIDs, face 1m-thing, 1024";
    assert_eq!(normal(text, &[]), text);
}
