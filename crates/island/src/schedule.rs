//! When something is offered: windows of the week, in the time of a place.
//!
//! `"22:00-07:00"` is every night, `"Sat-Sun"` two whole days, `"Mon-Fri 22:00-07:00"` the nights that begin on a
//! working day. A window that ends before it begins ends on the next day.

use jiff::tz::{Offset, TimeZone};
use types::time::Timestamp;

const DAY_MINUTES: u32 = 24 * 60;
const WEEK_MINUTES: u32 = 7 * DAY_MINUTES;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// The most windows in one schedule.
const MAX_WINDOWS: usize = 64;

/// Windows of the week. Open while any of them is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    windows: Vec<Window>,
}

/// From a minute of some days on, for so many minutes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Window {
    /// From Monday.
    days: [bool; 7],
    from: u32,
    length: u32,
}

/// Whose time of day it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Zone {
    /// The machine's.
    #[default]
    Local,
    /// A named place's, or a fixed distance from UTC.
    Of(TimeZone),
}

impl Schedule {
    /// Reads windows such as `22:00-07:00`, `Sat-Sun` and `Mon-Fri 22:00-07:00`.
    ///
    /// # Errors
    /// A sentence that says which one is wrong, to be read after the key.
    pub fn parse<T: AsRef<str>>(windows: &[T]) -> Result<Self, String> {
        if windows.is_empty() || windows.len() > MAX_WINDOWS {
            return Err(format!("must have 1 to {MAX_WINDOWS} windows; leave it away to offer always"));
        }
        let windows = windows
            .iter()
            .map(|text| {
                Window::parse(text.as_ref()).ok_or_else(|| {
                    format!(
                        "has {:?}, which is no window; write \"22:00-07:00\", \"Sat-Sun\" or \
                         \"Mon-Fri 22:00-07:00\"",
                        text.as_ref()
                    )
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { windows })
    }

    /// Whether it is open at this moment.
    #[must_use]
    pub fn is_open(&self, now: Timestamp, zone: &Zone) -> bool {
        let minute = zone.minute_of_week(now);
        self.windows.iter().any(|window| window.holds(minute))
    }
}

impl Window {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let (first, second) = (words.next()?, words.next());
        if words.next().is_some() {
            return None;
        }
        let (days, times) = match (first.contains(':'), second) {
            (true, None) => ([true; 7], Some(first)),
            (false, times) => (days(first)?, times),
            (true, Some(_)) => return None,
        };
        let Some(times) = times else {
            return Some(Self { days, from: 0, length: DAY_MINUTES });
        };
        let (from, to) = times.split_once('-')?;
        let (from, to) = (minute(from)?, minute(to)?);
        // A window of no length is more likely a mistake than a wish.
        if from == to || from == DAY_MINUTES {
            return None;
        }
        Some(Self { days, from, length: (to + DAY_MINUTES - from) % DAY_MINUTES }.of_at_least_a_minute())
    }

    /// From midnight to midnight is a whole day, not none.
    const fn of_at_least_a_minute(self) -> Self {
        if self.length == 0 { Self { length: DAY_MINUTES, ..self } } else { self }
    }

    fn holds(&self, minute: u32) -> bool {
        (0..7).zip(self.days).any(|(day, included)| {
            let from = day * DAY_MINUTES + self.from;
            included && (minute + WEEK_MINUTES - from) % WEEK_MINUTES < self.length
        })
    }
}

/// `Sat`, or `Sat-Sun`, or `Fri-Mon`.
fn days(text: &str) -> Option<[bool; 7]> {
    let day = |name: &str| DAYS.iter().position(|day| day.eq_ignore_ascii_case(name));
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (day(first)?, day(last)?);
    let mut days = [false; 7];
    for (index, included) in days.iter_mut().enumerate() {
        *included = (index + 7 - first) % 7 <= (last + 7 - first) % 7;
    }
    Some(days)
}

/// `7:00` or `07:00`, up to `24:00`.
fn minute(text: &str) -> Option<u32> {
    let (hour, minute) = text.split_once(':')?;
    let plain = |digits: &str, longest: usize| {
        (!digits.is_empty() && digits.len() <= longest && digits.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| digits.parse::<u32>().ok())?
    };
    let (hour, minute) = (plain(hour, 2)?, plain(minute, 2).filter(|_| minute.len() == 2)?);
    let minutes = hour * 60 + minute;
    (minute < 60 && minutes <= DAY_MINUTES).then_some(minutes)
}

impl Zone {
    /// Reads `local`, `UTC`, `+02:00` or the name of a place such as `Europe/Berlin`.
    ///
    /// # Errors
    /// A sentence to be read after the key.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("local") {
            return Ok(Self::Local);
        }
        let wrong = || {
            format!(
                "is {text:?}, which is not known here; write \"local\", an offset such as \"+02:00\", or a place \
                 such as \"Europe/Berlin\""
            )
        };
        let (negative, rest) = match text.as_bytes().first() {
            Some(b'+') => (false, &text[1..]),
            Some(b'-') => (true, &text[1..]),
            _ if text.eq_ignore_ascii_case("utc") => return Ok(Self::Of(TimeZone::UTC)),
            _ => return TimeZone::get(text).map(Self::Of).map_err(|_| wrong()),
        };
        let minutes = minute(rest).and_then(|minutes| i32::try_from(minutes).ok()).ok_or_else(wrong)?;
        let seconds = if negative { -minutes * 60 } else { minutes * 60 };
        Offset::from_seconds(seconds).map(|offset| Self::Of(TimeZone::fixed(offset))).map_err(|_| wrong())
    }

    /// What its clocks show: `Mon 22:14 (+01:00)`.
    #[must_use]
    pub fn clock(&self, now: Timestamp) -> String {
        self.moment(now).strftime("%a %H:%M (%:z)").to_string()
    }

    fn moment(&self, now: Timestamp) -> jiff::Zoned {
        let zone = match self {
            Self::Local => TimeZone::try_system().unwrap_or(TimeZone::UTC),
            Self::Of(zone) => zone.clone(),
        };
        jiff::Timestamp::from_millisecond(now.as_millis()).unwrap_or_default().to_zoned(zone)
    }

    fn minute_of_week(&self, now: Timestamp) -> u32 {
        let moment = self.moment(now);
        let part = |number: i8| u32::try_from(number).unwrap_or(0);
        let day = part(moment.weekday().to_monday_zero_offset());
        day * DAY_MINUTES + part(moment.hour()) * 60 + part(moment.minute())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_open_and_close() {
        // 2026-11-23 is a Monday.
        let cases = [
            (&["22:00-07:00"][..], "2026-11-23T21:59:59Z", false),
            (&["22:00-07:00"], "2026-11-23T22:00:00Z", true),
            (&["22:00-07:00"], "2026-11-24T06:59:59Z", true),
            (&["22:00-07:00"], "2026-11-24T07:00:00Z", false),
            (&["9:30-17:00"], "2026-11-24T09:30:00Z", true),
            (&["Sat-Sun"], "2026-11-27T23:59:00Z", false),
            (&["Sat-Sun"], "2026-11-28T00:00:00Z", true),
            (&["sat-sun"], "2026-11-29T23:59:00Z", true),
            (&["Sat-Sun"], "2026-11-30T00:00:00Z", false),
            (&["Fri-Mon"], "2026-11-23T12:00:00Z", true),
            (&["Fri-Mon"], "2026-11-24T12:00:00Z", false),
            (&["Sun 22:00-07:00"], "2026-11-23T06:00:00Z", true),
            (&["Sun 22:00-07:00"], "2026-11-22T06:00:00Z", false),
            (&["Mon 00:00-24:00"], "2026-11-23T23:59:00Z", true),
            (&["Mon 00:00-24:00"], "2026-11-24T00:00:00Z", false),
            (&["Tue", "20:00-21:00"], "2026-11-23T20:30:00Z", true),
            (&["Tue", "20:00-21:00"], "2026-11-24T03:00:00Z", true),
        ];
        let utc = Zone::parse("utc").unwrap();
        for (windows, now, expected) in cases {
            let schedule = Schedule::parse(windows).unwrap();
            assert_eq!(schedule.is_open(now.parse().unwrap(), &utc), expected, "{windows:?} at {now}");
        }
    }

    #[test]
    fn every_minute_of_the_week_is_in_a_window_or_outside() {
        let schedule = Schedule::parse(&["Mon-Fri 23:30-00:15"]).unwrap();
        let open = (0..WEEK_MINUTES).filter(|&minute| schedule.windows[0].holds(minute)).count();
        assert_eq!(open, 5 * 45);
    }

    #[test]
    fn the_place_decides() {
        let night = Schedule::parse(&["22:00-07:00"]).unwrap();
        let now = "2026-07-01T20:30:00Z".parse().unwrap();
        for (zone, expected) in
            [("UTC", false), ("+02:00", true), ("-02:00", false), ("+01:30", true), ("+01:29", false)]
        {
            assert_eq!(night.is_open(now, &Zone::parse(zone).unwrap()), expected, "{zone}");
        }
        for wrong in ["", "+2", "+25:00", "Middle/Earth", "02:00"] {
            assert!(Zone::parse(wrong).unwrap_err().contains("not known"), "{wrong}");
        }
        assert_eq!(Zone::parse("local"), Ok(Zone::Local));
        assert_eq!(Zone::parse("+02:00").unwrap().clock(now), "Wed 22:30 (+02:00)");
    }

    #[test]
    fn what_is_no_window_is_named() {
        for wrong in [
            "",
            "night",
            "22-7",
            "22:00",
            "22:00-22:00",
            "25:00-26:00",
            "22:60-23:00",
            "Sat-Foo",
            "Sat Sun",
            "24:00-01:00",
            "22:00-07:00 Sat",
            "Mon 1:00-2:00 x",
            "-1:00-2:00",
            "1:0-2:00",
        ] {
            let error = Schedule::parse(&[wrong]).unwrap_err();
            assert!(error.contains("is no window"), "{wrong}: {error}");
        }
        assert!(Schedule::parse::<&str>(&[]).is_err());
    }
}
