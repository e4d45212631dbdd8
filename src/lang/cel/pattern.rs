//! Regular expressions, in CEL's dialect, against whole texts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use cel::common::types::CelString;
use cel::common::value::{CowVal, Val};
use regex::Regex;

use crate::lang::cel::{compile, guard};

/// Answers that are kept; patterns repeat, texts hardly do.
const MOST_KEPT: usize = 256;

/// Compiled patterns, `None` for one that is none: compiling one takes a hundred times as long as asking it, and `accepts` asks at every call.
static WHOLE: Mutex<BTreeMap<String, Option<Arc<Regex>>>> = Mutex::new(BTreeMap::new());
static GOOD: Mutex<BTreeMap<String, Result<(), String>>> = Mutex::new(BTreeMap::new());

/// Whether `pattern` is a regular expression.
pub(in crate::lang) fn check(pattern: &str) -> Result<(), String> {
    if pattern.len() > guard::LONGEST_PATTERN {
        return Err(format!("longer than {} bytes", guard::LONGEST_PATTERN));
    }
    let mut good = GOOD.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = good.get(pattern) {
        return known.clone();
    }
    let answer = matches_raw("", pattern).map(|_| ());
    if good.len() >= MOST_KEPT {
        good.clear();
    }
    good.insert(pattern.to_owned(), answer.clone());
    answer
}

/// Whether the whole of `text` matches `pattern`; `false` for a pattern that is none.
pub(in crate::lang) fn matches(text: &str, pattern: &str) -> bool {
    whole(pattern).is_some_and(|regex| regex.is_match(text))
}

/// The pattern against whole texts, by the crate and with the limits that CEL's `matches` has.
fn whole(pattern: &str) -> Option<Arc<Regex>> {
    let mut known = WHOLE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(regex) = known.get(pattern) {
        return regex.clone();
    }
    let compile = |()| Regex::new(&format!("^(?:{pattern})$")).ok().map(Arc::new);
    let regex = check(pattern).ok().and_then(compile);
    if known.len() >= MOST_KEPT {
        known.clear();
    }
    known.insert(pattern.to_owned(), regex.clone());
    regex
}

fn matches_raw(text: &str, pattern: &str) -> Result<bool, String> {
    let args = || vec![CowVal::owned(CelString::from(text.to_owned())), CowVal::owned(CelString::from(pattern.to_owned()))];
    let Some(function) = compile::env().find_overload("matches", &args()) else { return Err("no regular expressions here".to_owned()) };
    match function(args()) {
        Ok(answer) => Ok(truth(answer.as_ref())),
        Err(error) => Err(first_line(&error.to_string())),
    }
}

fn truth(value: &dyn Val) -> bool {
    value.downcast_ref::<cel::common::types::CelBool>().is_some_and(|flag| *flag.inner())
}

/// The last sentence of the library's report: the lines before repeat the pattern.
fn first_line(report: &str) -> String {
    let line = report.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    line.trim().trim_start_matches("error: ").chars().take(200).collect()
}
