//! Regular expressions, in CEL's dialect, against whole texts.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use cel::common::types::CelString;
use cel::common::value::{CowVal, Val};

use crate::lang::cel::{compile, guard};

/// Answers that are kept; patterns repeat, texts hardly do.
const MOST_KEPT: usize = 256;

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
    check(pattern).is_ok() && matches_raw(text, &format!("^(?:{pattern})$")).unwrap_or(false)
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
