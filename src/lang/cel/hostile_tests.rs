//! Tests of hostile expressions: each ends in bounded time with a plain sentence.

use std::fmt::Write as _;
use std::sync::mpsc::channel;
use std::time::Duration;

use super::fake::Fake;
use crate::lang::template::Expr;
use crate::source::{Source, Span};

/// Compiles and evaluates on a small stack; fails the test when that takes longer than a minute.
fn outcome(text: &str) -> String {
    let (send, receive) = channel();
    let owned = text.to_owned();
    let small = std::thread::Builder::new().stack_size(2 << 20);
    let worker = small.spawn(move || {
        let span = Span::new(&Source::new("x", owned.clone()), 0..owned.len());
        let said = match Expr::parse(&owned, &span) {
            Err(wrong) => wrong.first().map(ToString::to_string).unwrap_or_default(),
            Ok(expr) => match expr.eval(&Fake::new()) {
                Ok(evaluated) => format!("value {}", evaluated.value.kind()),
                Err(complaint) => complaint.to_string(),
            },
        };
        drop(send.send(said));
    });
    let said = receive.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|_| panic!("{:.60} takes for ever", text));
    worker.unwrap().join().unwrap();
    said
}

fn assert_says(text: &str, wanted: &str) {
    let said = outcome(text);
    assert!(said.contains(wanted), "{:.60}: {said:.200}", text);
}

#[test]
fn deep_and_long_expressions() {
    let repeat = |part: &str, times: usize| part.repeat(times);
    assert_says(&repeat("(", 100_000), "more than 4096");
    assert_says(&repeat("(", 4000), "nested too deep");
    assert_says(&repeat("[", 4000), "nested too deep");
    assert_says(&repeat("{1:", 1300), "nested too deep");
    assert_says(&(repeat("1+", 2047) + "1"), "nested deeper than 256");
    assert_says(&format!("inputs{}", repeat("[0]", 1360)), "nested deeper than 256");
    assert_says(&format!("inputs{}", repeat(".b", 2040)), "nested deeper than 256");
    assert_says(&(repeat("!", 4000) + "true"), "value a boolean");
    assert_says(&(repeat("!(", 1300) + "true" + &repeat(")", 1300)), "nested");
    assert_says(&(repeat("-", 4000) + "1"), "value an integer");
    assert_says(&(repeat("true?1:", 580) + "1"), "nested");
    assert_says(&format!("inputs{}", repeat(".b", 100)), "no input `b`");
    assert_says(&(repeat("1+", 200) + "1"), "value an integer");
    assert_says(&format!("'{}'", repeat("ü", 2040)), "value a string");
    assert_says(&repeat("ü", 2040), "not");
}

// On a busy machine the clock may end a loop before the count does; both are limits.
#[test]
fn loops_are_counted() {
    assert_says("lists.range(1000).all(a, lists.range(1000).all(b, lists.range(1000).all(c, a >= 0))) || true", "costs too much");
    assert_says("lists.range(1000).map(a, lists.range(1000).map(b, lists.range(1000).map(c, a)))", "costs too much");
    assert_says("[1].map(a,[1].map(b,[1].map(c,[1].map(d,[1].map(e,1)))))", "loops are nested deeper than 4");
    assert_says("lists.range(100000).map(x, x + 1).size()", "value an integer");
    assert_says("lists.range(2000000000)", "lists.range");
    assert_says("lists.range(1000).exists_one(a, lists.range(1001).exists_one(b, b == 0))", "costs too much");
}

#[test]
fn growth_is_charged() {
    let mut doubling = "[1]".to_owned();
    for _ in 0..24 {
        doubling = format!("{doubling}.map(v,v+v)");
    }
    assert_says("[[1]].map(v,v+v).map(v,v+v).map(v,v+v).size()", "value an integer");
    assert_says(&doubling, "value a list");
    let mut wide = "[[1,1]]".to_owned();
    for _ in 0..24 {
        wide = format!("{wide}.map(v,v+v)");
    }
    assert_says(&wide, "64 MiB");
    let mut text = format!("'{}'", "a".repeat(100));
    for _ in 0..9 {
        let _ = write!(text, ".replace('a','{}')", "a".repeat(8));
    }
    assert_says(&text, "64 MiB");
    let separator = "a".repeat(1000);
    assert_says(&format!("lists.range(100000).map(i, 'aaaaaaaaaa').join('{separator}')"), "64 MiB");
    assert_says("lists.range(200000).map(i, 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa')", "more than 4 MiB");
    assert_says("lists.range(5000).distinct()", "list of more than 2,000");
    assert_says("'%.1000000f'.format([1.0])", "format");
    assert_says("'a'.matches('(a{1000}){1000}')", "matches");
}

#[test]
fn odd_numbers_and_times_are_clean_errors() {
    for text in [
        "-9223372036854775808 / -1",
        "9223372036854775807 * 2",
        "int(1e300)",
        "timestamp('9999-99-99T00:00:00Z')",
        "duration('99999999999999999h')",
        "1 % 0",
    ] {
        let said = outcome(text);
        assert!(!said.starts_with("value") && !said.contains("broke"), "{text}: {said}");
    }
}
