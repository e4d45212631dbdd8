//! Moments for people: local time, to the second.

use jiff::tz::TimeZone;

use crate::event::Time;

/// `2026-11-23 14:02:11`, in the machine's time zone.
pub fn local(time: Time) -> String {
    match jiff::Timestamp::from_millisecond(time.0) {
        Ok(moment) => moment.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => time.to_string(),
    }
}
