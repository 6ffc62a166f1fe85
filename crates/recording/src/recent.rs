//! Texts that were masked a moment ago, with what came of them. A message of the app is the body of a request, too, and
//! the body of a response is a message for the app.

/// Places for texts: as many as there are calls under way at once, mostly. A power of two.
const PLACES: usize = 128;

/// Memory for the texts, in bytes.
const MAX_BYTES: usize = 1024 * 1024;

/// The texts, each in the place that its hash gives it.
pub(super) struct RecentTexts {
    places: Vec<RecentText>,
    bytes: usize,
}

#[derive(Clone, Default)]
struct RecentText {
    hash: u64,
    given: Vec<u8>,
    shown: Vec<u8>,
}

impl Default for RecentTexts {
    fn default() -> Self {
        Self {
            places: vec![RecentText::default(); PLACES],
            bytes: 0,
        }
    }
}

impl RecentTexts {
    /// The text as it is shown, if it was kept.
    pub(super) fn find(&self, text: &[u8]) -> Option<&[u8]> {
        let hash = hash(text);
        let place = &self.places[index(hash)];
        (place.hash == hash && place.given == text && !text.is_empty()).then_some(&place.shown)
    }

    /// Keeps a text.
    pub(super) fn keep(&mut self, text: &[u8], shown: &[u8]) {
        if text.len() + shown.len() > MAX_BYTES / 4 {
            return;
        }
        if self.bytes > MAX_BYTES {
            self.clear();
        }
        let hash = hash(text);
        let place = &mut self.places[index(hash)];
        self.bytes -= place.capacity();
        place.hash = hash;
        for (kept, text) in [(&mut place.given, text), (&mut place.shown, shown)] {
            kept.clear();
            kept.extend_from_slice(text);
        }
        self.bytes += place.capacity();
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.places.fill(RecentText::default());
        self.bytes = 0;
    }
}

impl RecentText {
    fn capacity(&self) -> usize {
        self.given.capacity() + self.shown.capacity()
    }
}

fn index(hash: u64) -> usize {
    usize::try_from(hash >> 32).unwrap_or_default() % PLACES
}

/// A quick hash, as that of Firefox. Who finds two texts of one hash only lets one of them be masked twice.
fn hash(text: &[u8]) -> u64 {
    const FACTOR: u64 = 0x517c_c1b7_2722_0a95;
    let step = |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(FACTOR);
    let (words, rest) = text.as_chunks::<8>();
    let words = words.iter().map(|word| u64::from_le_bytes(*word));
    let hash = words.fold(text.len() as u64, step);
    rest.iter()
        .fold(hash, |hash, byte| step(hash, u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_as_it_was_shown_until_another_takes_its_place() {
        let mut texts = RecentTexts::default();
        assert_eq!(texts.find(b""), None);
        for number in 0..10_000 {
            let (text, shown) = (format!("a text {number}"), format!("shown {number}"));
            assert_eq!(texts.find(text.as_bytes()), None);
            texts.keep(text.as_bytes(), shown.as_bytes());
            assert_eq!(texts.find(text.as_bytes()), Some(shown.as_bytes()));
        }
        texts.clear();
        assert_eq!(texts.find(b"a text 9999"), None);
    }

    #[test]
    fn memory_is_bounded() {
        let mut texts = RecentTexts::default();
        for number in 0..1000 {
            let text = format!("{number}{}", "x".repeat(100_000));
            texts.keep(text.as_bytes(), text.as_bytes());
            let bytes: usize = texts.places.iter().map(RecentText::capacity).sum();
            assert_eq!(bytes, texts.bytes);
            assert!(bytes <= 2 * MAX_BYTES, "{bytes}");
        }
        let long = "x".repeat(MAX_BYTES);
        texts.keep(long.as_bytes(), b"");
        assert_eq!(texts.find(long.as_bytes()), None);
    }
}
