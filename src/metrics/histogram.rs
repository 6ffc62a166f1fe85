//! Histogram of durations with fixed buckets.

use std::time::Duration;

/// Upper bounds of the buckets. The shortest is about what a call on one machine takes; the longest, what official SDKs wait
/// for an answer.
pub(super) const BOUNDS: [Duration; 13] = [
    Duration::from_millis(1),
    Duration::from_micros(2500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2500),
    Duration::from_secs(10),
    Duration::from_secs(60),
];

/// Number of durations in each bucket, and their sum.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    counts: [u64; BOUNDS.len()],
    beyond: u64,
    pub(super) sum: Duration,
}

impl Histogram {
    /// Adds a duration.
    pub(super) fn add(&mut self, duration: Duration) {
        match BOUNDS.iter().position(|bound| duration <= *bound) {
            Some(bucket) => self.counts[bucket] += 1,
            None => self.beyond += 1,
        }
        self.sum += duration;
    }

    /// The number of durations up to each bound.
    pub(super) fn up_to_bounds(&self) -> impl Iterator<Item = (Duration, u64)> {
        let sums = self.counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        BOUNDS.into_iter().zip(sums)
    }

    /// The number of durations.
    pub(super) fn count(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.beyond
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_in_its_bucket_and_in_all_longer_ones() {
        let mut histogram = Histogram::default();
        for milliseconds in [1, 2, 70_000] {
            histogram.add(Duration::from_millis(milliseconds));
        }
        let counts: Vec<u64> = histogram.up_to_bounds().map(|(_, count)| count).collect();
        assert_eq!(counts[..3], [1, 2, 2]);
        assert_eq!(counts.last(), Some(&2));
        assert_eq!(histogram.count(), 3);
        assert_eq!(histogram.sum, Duration::from_millis(70_003));
    }
}
