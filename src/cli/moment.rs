//! Moments for people: local time, to the second.
#![expect(clippy::disallowed_methods, reason = "the machine's time zone is a variable and a file of the system's")]

use std::ffi::OsStr;
use std::path::Path;
use std::sync::LazyLock;

use jiff::tz::TimeZone;

use crate::event::Time;

/// The machine's time zone. Whoever looks for one by its name lists all that the machine knows first, and that is half of what a short command does; so
/// it is read where it lies, unless `TZ` names one.
static HERE: LazyLock<TimeZone> =
    LazyLock::new(|| zone(std::env::var_os("TZ").as_deref(), Path::new("/etc/localtime")).unwrap_or_else(TimeZone::system));

/// `2026-11-23 14:02:11`, in the machine's time zone.
pub fn local(time: Time) -> String {
    shown(time, &HERE)
}

fn shown(time: Time, zone: &TimeZone) -> String {
    match jiff::Timestamp::from_millisecond(time.0) {
        Ok(moment) => moment.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => time.to_string(),
    }
}

/// The zone that needs no list: UTC, or the machine's own. Empty is UTC, as POSIX's `TZ` has it.
fn zone(named: Option<&OsStr>, own: &Path) -> Option<TimeZone> {
    match named {
        None => TimeZone::tzif("local", &std::fs::read(own).ok()?).ok(),
        Some(name) if name.is_empty() || name == "UTC" => Some(TimeZone::UTC),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of a zone five hours east of Greenwich, without summer time (RFC 9636, version 2).
    fn east() -> Vec<u8> {
        let counts = [0, 0, 0, 0, 1, 4_u32].map(u32::to_be_bytes).concat();
        let block = [b"TZif2", [0; 15].as_slice(), &counts, &18_000_i32.to_be_bytes(), &[0, 0], b"EST\0"].concat();
        [&block, &block, b"\n<EST>-5\n".as_slice()].concat()
    }

    #[test]
    fn the_zone_is_the_machines_own_unless_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("localtime");
        std::fs::write(&own, east()).unwrap();
        let moment = |named: Option<&str>| zone(named.map(OsStr::new), &own).map(|zone| shown(Time(1_000), &zone));
        assert_eq!(moment(None).as_deref(), Some("1970-01-01 05:00:01"));
        assert_eq!(moment(Some("UTC")).as_deref(), Some("1970-01-01 00:00:01"));
        assert_eq!(moment(Some("")).as_deref(), Some("1970-01-01 00:00:01"));
        assert_eq!(moment(Some("Europe/Berlin")), None, "by its name");
        std::fs::write(&own, b"no zone").unwrap();
        assert_eq!(moment(None), None, "jiff finds another way, or takes UTC");
    }
}
