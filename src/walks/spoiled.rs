//! Spoiled input: valid examples that were cut, changed and mixed, for whatever reads bytes from a disk or a network.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{TestError, TestRunner};

use super::cases;

/// How many inputs each reader gets, besides its examples and all their beginnings.
const CASES: u32 = 300;

/// One input may take so long on a machine that does a hundred things besides; who takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// How much more memory the process may hold after a reader's inputs, in KiB. None of them is larger than 300 KiB.
const GROWTH: u64 = 1 << 20;

/// What hurts readers: ends, quotes, depth, signs, numbers at the edge of their types, text that is no UTF-8.
const HOSTILE: [&[u8]; 22] = [
    b"\0",
    b"\n",
    b"\r\n",
    b"\"",
    b"\\",
    b"'",
    b"[",
    b"{",
    b"}",
    b":",
    b"=",
    b"-",
    b" ",
    b"\xff\xfe",
    b"\xc3",
    b"\xf0\x9f\x92\xa9",
    b"4294967296",
    b"18446744073709551616",
    b"-1",
    b"1e999",
    b"\xff\xff\xff\xff\x7f",
    b"%s${{x}}$(x)",
];

/// One change of an input; places are fractions of its length.
#[derive(Clone, Debug)]
enum Edit {
    Cut(u16),
    Drop(u16, u16),
    Flip(u16, u8),
    Insert(u16, usize, usize),
    Noise(u16, Vec<u8>),
    Double(u16, u16),
    Tail(u16, usize, u16),
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<u16>;
    // Once, often enough for any depth or length that somebody thought enough, and a few times.
    let times = prop_oneof![6 => Just(1_usize), 1 => Just(20_000), 2 => 2..200_usize];
    prop_oneof![
        2 => at().prop_map(Edit::Cut),
        2 => (at(), 0..2000_u16).prop_map(|(at, length)| Edit::Drop(at, length)),
        3 => (at(), any::<u8>()).prop_map(|(at, mask)| Edit::Flip(at, mask)),
        4 => (at(), 0..HOSTILE.len(), times).prop_map(|(at, which, times)| Edit::Insert(at, which, times)),
        1 => (at(), vec(any::<u8>(), 0..40)).prop_map(|(at, bytes)| Edit::Noise(at, bytes)),
        1 => (at(), 0..4000_u16).prop_map(|(at, length)| Edit::Double(at, length)),
        1 => (at(), any::<usize>(), at()).prop_map(|(at, seed, from)| Edit::Tail(at, seed, from)),
    ]
}

fn place(at: u16, length: usize) -> usize {
    usize::from(at) * (length + 1) / (usize::from(u16::MAX) + 1)
}

fn apply(edit: &Edit, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    let length = bytes.len();
    match edit {
        Edit::Cut(at) => bytes.truncate(place(*at, length)),
        Edit::Drop(at, count) => {
            let at = place(*at, length);
            bytes.drain(at..(at + usize::from(*count)).min(length));
        }
        Edit::Flip(at, mask) => {
            if let Some(byte) = bytes.get_mut(place(*at, length)) {
                *byte ^= mask;
            }
        }
        Edit::Insert(at, which, times) => {
            let at = place(*at, length);
            bytes.splice(at..at, HOSTILE[*which].repeat((*times).min(60_000 / HOSTILE[*which].len())));
        }
        Edit::Noise(at, noise) => {
            let at = place(*at, length);
            bytes.splice(at..at, noise.iter().copied());
        }
        Edit::Double(at, count) => {
            let at = place(*at, length);
            let piece = bytes[at..(at + usize::from(*count)).min(length)].to_vec();
            bytes.splice(at..at, piece);
        }
        Edit::Tail(at, seed, from) => {
            bytes.truncate(place(*at, length));
            let other = &seeds[seed % seeds.len()];
            bytes.extend_from_slice(&other[place(*from, other.len()).min(other.len())..]);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "asks the kernel for the size of this process")]
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// Gives `read` each of the `seeds`, which must be read well, every beginning of them, and hundreds of changes of them: it neither panics nor hangs, holds
/// no memory to speak of, and ends with a value or with words that say what is wrong. `PMX_WALK` says how many more; should one of those end the process, it
/// lies in the temporary directory as `pmx-fed-…`.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "keeps the last input where a person finds it")]
pub(crate) fn feed<S: AsRef<[u8]>>(seeds: &[S], read: impl Fn(&[u8]) -> Result<(), String> + Send + 'static) {
    let seeds: Vec<Vec<u8>> = seeds.iter().map(|seed| seed.as_ref().to_vec()).collect();
    let before = resident();
    let (give, given) = channel::<Vec<u8>>();
    let (say, said) = channel();
    let reader = std::thread::spawn(move || given.into_iter().try_for_each(|bytes| say.send(read(&bytes))));
    // New inputs could end the process, which tells nobody about them.
    let last = std::env::temp_dir().join(format!("pmx-fed-{}-{:?}", std::process::id(), std::thread::current().id()));
    let keeps = cases(1).cases > 1;
    let tried = |bytes: &[u8]| -> Result<(), String> {
        if keeps {
            std::fs::write(&last, bytes).unwrap();
        }
        give.send(bytes.to_vec()).map_err(|_| "the reader is gone".to_owned())?;
        match said.recv_timeout(PATIENCE) {
            Ok(read) => read,
            Err(RecvTimeoutError::Timeout) => panic!("it hangs at {} bytes: {}", bytes.len(), bytes.escape_ascii()),
            Err(RecvTimeoutError::Disconnected) => panic!("it panics at {} bytes: {}", bytes.len(), bytes.escape_ascii()),
        }
    };
    let worded = |read: Result<(), String>| read.err().is_none_or(|why| !why.trim().is_empty());
    for seed in &seeds {
        assert_eq!(tried(seed), Ok(()), "an example is not read: {}", seed.escape_ascii());
        for end in (0..seed.len()).step_by(seed.len() / 500 + 1) {
            assert!(worded(tried(&seed[..end])), "the first {end} bytes of an example are refused without a word: {}", seed.escape_ascii());
        }
    }
    let input = (any::<prop::sample::Index>(), vec(edit(), 1..6));
    let run = TestRunner::new(cases(CASES)).run(&input, |(seed, edits)| {
        let mut bytes = seeds[seed.index(seeds.len())].clone();
        edits.iter().for_each(|edit| apply(edit, &mut bytes, &seeds));
        // A few edits together could be long; nothing that is read here comes in larger pieces.
        bytes.truncate(300 << 10);
        prop_assert!(worded(tried(&bytes)), "refused without a word: {}", bytes.escape_ascii());
        Ok(())
    });
    match run {
        Err(TestError::Fail(why, edits)) => panic!("{why}\nmade by {edits:?}"),
        other => other.unwrap(),
    }
    let _ = std::fs::remove_file(&last);
    drop(give);
    drop(reader.join().unwrap());
    let grown = resident().saturating_sub(before);
    assert!(grown < GROWTH, "the process has grown by {grown} KiB");
}

#[test]
fn a_reader_that_panics_or_says_nothing_is_caught() {
    let caught = |read: fn(&[u8]) -> Result<(), String>| {
        let fed = std::thread::spawn(move || feed(&["a=1\n", "b=22\n"], read)).join();
        fed.err().and_then(|why| why.downcast_ref::<String>().cloned()).unwrap_or_default()
    };
    assert_eq!(caught(|_| Ok(())), "");
    assert!(caught(|bytes| if bytes.contains(&b'[') { panic!("depth") } else { Ok(()) }).contains("it panics at"));
    assert!(caught(|bytes| if bytes.len() == 3 { Err(" ".to_owned()) } else { Ok(()) }).contains("refused without a word"));
    assert!(caught(|bytes| if bytes.len() == 4 { Err("no".to_owned()) } else { Ok(()) }).contains("an example is not read"));
}
