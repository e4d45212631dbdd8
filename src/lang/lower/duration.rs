//! Time spans as people write them: `90s`, `10m`, `1h30m`.

use std::time::Duration;

/// How to write one.
pub(in crate::lang) const HELP: &str = "write a number and a unit: \"90s\", \"10m\", \"2h\", \"1d\"; an integer is seconds";

/// Longest time span that means anything here: a hundred years would overflow clocks elsewhere.
const LONGEST: u64 = 366 * 24 * 3600;

/// Reads `ms`, `s`, `m`, `h` and `d`, several in a row from large to small.
pub(in crate::lang) fn parse(text: &str) -> Result<Duration, String> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err("an empty time span".to_owned());
    }
    let (mut total, mut last) = (0_u64, u64::MAX);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, next) = tail.split_at(letters);
        let number: u64 = number.parse().map_err(|_| format!("`{text}` is not a time span"))?;
        let factor = milliseconds(unit).ok_or_else(|| unknown_unit(text, unit))?;
        if factor >= last {
            return Err(format!("`{text}` names its units out of order"));
        }
        let part = number.checked_mul(factor).ok_or_else(|| too_long(text))?;
        total = total.checked_add(part).filter(|sum| *sum <= LONGEST * 1000).ok_or_else(|| too_long(text))?;
        last = factor;
        rest = next;
    }
    Ok(Duration::from_millis(total))
}

/// An integer of seconds.
pub(in crate::lang) fn seconds(number: i64) -> Result<Duration, String> {
    match u64::try_from(number) {
        Ok(number) if number <= LONGEST => Ok(Duration::from_secs(number)),
        Ok(_) => Err(too_long(&number.to_string())),
        Err(_) => Err(format!("{number} is negative")),
    }
}

fn milliseconds(unit: &str) -> Option<u64> {
    Some(match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    })
}

fn unknown_unit(text: &str, unit: &str) -> String {
    match unit {
        "" => format!("`{text}` has no unit"),
        _ => format!("`{text}` has the unknown unit `{unit}`"),
    }
}

fn too_long(text: &str) -> String {
    format!("`{text}` is longer than a year")
}
