//! Moments as in RFC 3339.

use std::time::{Duration, SystemTime};

use time::OffsetDateTime;

/// Writer of moments. It keeps the text of the last second, as there are many events in one.
#[derive(Debug)]
pub(super) struct DateWriter {
    second: SystemTime,
    /// The text up to the decimal point.
    text: String,
}

impl Default for DateWriter {
    fn default() -> Self {
        Self {
            second: SystemTime::UNIX_EPOCH,
            text: to_the_second(OffsetDateTime::UNIX_EPOCH),
        }
    }
}

impl DateWriter {
    /// Appends a moment, in milliseconds and UTC.
    pub(super) fn push(&mut self, out: &mut Vec<u8>, at: SystemTime) {
        let passed = at.duration_since(self.second).ok();
        let within = passed.filter(|passed| *passed < Duration::from_secs(1));
        let milliseconds = within.unwrap_or_else(|| self.turn_to(at)).subsec_millis();
        let digit = |it: u32| b'0' + u8::try_from(it % 10).unwrap_or_default();
        out.extend_from_slice(self.text.as_bytes());
        let [hundreds, tens] = [milliseconds / 100, milliseconds / 10];
        out.extend_from_slice(&[digit(hundreds), digit(tens), digit(milliseconds), b'Z']);
    }

    /// Takes the second of this moment; returns what has passed of it.
    fn turn_to(&mut self, at: SystemTime) -> Duration {
        let date = OffsetDateTime::from(at);
        let passed = Duration::from_nanos(date.nanosecond().into());
        self.second = at.checked_sub(passed).unwrap_or(at);
        self.text = to_the_second(date);
        passed
    }
}

/// A moment as in RFC 3339, in milliseconds and UTC.
#[must_use]
pub fn rfc3339(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    format!("{}{:03}Z", to_the_second(at), at.millisecond())
}

fn to_the_second(at: OffsetDateTime) -> String {
    let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
    let (hour, minute, second) = (at.hour(), at.minute(), at.second());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_in_any_order_are_as_they_are_alone() {
        let mut dates = DateWriter::default();
        let begin = SystemTime::UNIX_EPOCH + Duration::from_secs(1_764_370_799);
        for milliseconds in [0, 1, 42, 999, 1000, 1001, 60_123, 7, 86_400_000, 999] {
            let at = begin + Duration::from_millis(milliseconds);
            let mut out = Vec::new();
            dates.push(&mut out, at);
            assert_eq!(String::from_utf8(out).unwrap(), rfc3339(at));
        }
    }
}
