//! Scanner of JSON objects: where the members stand, found in one pass without decoding anything.
//!
//! It takes what nearly every message looks like and gives up on the rest: a name with an escape, deep nesting, and everything
//! that is not valid. `serde_json` reads that, and says why it cannot be read.

/// Depth of a value up to which it is scanned: a bit for each level.
const MAX_DEPTH: u32 = u64::BITS;

/// Hands on the name and the JSON text of each member of the object that `text` holds. `None` where the scanner gives up;
/// what it has handed on before means nothing then.
pub(super) fn members<'a>(
    text: &'a str,
    mut member: impl FnMut(&'a str, &'a str),
) -> Option<LineBreaks> {
    let mut scanner = Scanner {
        bytes: text.as_bytes(),
        at: 0,
        breaks: LineBreaks::None,
    };
    scanner.token(b'{')?;
    scanner.skip_space();
    if scanner.peek()? == b'}' {
        scanner.at += 1;
        return scanner.end();
    }
    loop {
        scanner.token(b'"')?;
        let start = scanner.at;
        if scanner.string()? == Escapes::Some {
            return None;
        }
        let name = text.get(start..scanner.at - 1)?;
        scanner.token(b':')?;
        scanner.skip_space();
        let start = scanner.at;
        scanner.value()?;
        member(name, text.get(start..scanner.at)?);
        scanner.skip_space();
        match scanner.next()? {
            b',' => {}
            b'}' => return scanner.end(),
            _ => return None,
        }
    }
}

/// Position in a text. Whatever is not valid is `None`.
struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    breaks: LineBreaks,
}

/// Line breaks between the tokens of a text, which are the only ones that it can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineBreaks {
    None,
    Some,
}

#[derive(PartialEq, Eq)]
enum Escapes {
    None,
    Some,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn skip_space(&mut self) {
        while let Some(space @ (b' ' | b'\n' | b'\t' | b'\r')) = self.peek() {
            if matches!(space, b'\n' | b'\r') {
                self.breaks = LineBreaks::Some;
            }
            self.at += 1;
        }
    }

    /// This byte, after white space.
    fn token(&mut self, byte: u8) -> Option<()> {
        self.skip_space();
        (self.next()? == byte).then_some(())
    }

    fn end(&mut self) -> Option<LineBreaks> {
        self.skip_space();
        (self.at == self.bytes.len()).then_some(self.breaks)
    }

    /// A value, with everything in it.
    fn value(&mut self) -> Option<()> {
        // The lowest bit is the innermost level: set in an object.
        let (mut levels, mut depth) = (0_u64, 0);
        loop {
            self.skip_space();
            match self.next()? {
                opening @ (b'{' | b'[') => {
                    let is_object = opening == b'{';
                    self.skip_space();
                    if self.peek()? != if is_object { b'}' } else { b']' } {
                        if depth == MAX_DEPTH {
                            return None;
                        }
                        levels = levels << 1 | u64::from(is_object);
                        depth += 1;
                        if is_object {
                            self.name()?;
                        }
                        continue;
                    }
                    self.at += 1;
                }
                first => self.scalar(first)?,
            }
            loop {
                if depth == 0 {
                    return Some(());
                }
                self.skip_space();
                match (self.next()?, levels & 1 == 1) {
                    (b',', is_object) => {
                        if is_object {
                            self.name()?;
                        }
                        break;
                    }
                    (b'}', true) | (b']', false) => {
                        levels >>= 1;
                        depth -= 1;
                    }
                    _ => return None,
                }
            }
        }
    }

    /// The name of a member and the colon.
    fn name(&mut self) -> Option<()> {
        self.token(b'"')?;
        self.string()?;
        self.token(b':')
    }

    /// The rest of a string, a number or a word that begins with this byte.
    fn scalar(&mut self, first: u8) -> Option<()> {
        match first {
            b'"' => self.string().map(|_| ()),
            b'-' | b'0'..=b'9' => self.number(first),
            b't' => self.word(b"rue"),
            b'f' => self.word(b"alse"),
            b'n' => self.word(b"ull"),
            _ => None,
        }
    }

    fn word(&mut self, rest: &[u8]) -> Option<()> {
        let is_there = self.bytes[self.at..].starts_with(rest);
        self.at += rest.len();
        is_there.then_some(())
    }

    /// The rest of a number (RFC 8259 §6).
    fn number(&mut self, first: u8) -> Option<()> {
        let leading = if first == b'-' { self.next()? } else { first };
        match leading {
            b'0' if self.peek().is_some_and(|byte| byte.is_ascii_digit()) => return None,
            b'0' => {}
            b'1'..=b'9' => self.skip_digits(),
            _ => return None,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    /// At least one digit.
    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        self.skip_digits();
        (self.at > start).then_some(())
    }

    fn skip_digits(&mut self) {
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
    }

    /// The rest of a string and its closing quote. A surrogate may be alone, for nobody decodes it.
    fn string(&mut self) -> Option<Escapes> {
        let mut escapes = Escapes::None;
        loop {
            self.at += plain_bytes(&self.bytes[self.at..]);
            match self.next()? {
                b'"' => return Some(escapes),
                b'\\' => {
                    escapes = Escapes::Some;
                    self.escape()?;
                }
                _ => return None,
            }
        }
    }

    /// The rest of an escape.
    fn escape(&mut self) -> Option<()> {
        match self.next()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => {
                let digits = self.bytes.get(self.at..self.at + 4)?;
                self.at += 4;
                digits.iter().all(u8::is_ascii_hexdigit).then_some(())
            }
            _ => None,
        }
    }
}

/// Number of bytes before the first that does not stand for itself in a string: a quote, a backslash or a control character.
fn plain_bytes(bytes: &[u8]) -> usize {
    /// Length up to which a string is not worth a block. Most end before.
    const SHORT: usize = 64;

    let short = plain_words(&bytes[..bytes.len().min(SHORT)]);
    if short < SHORT {
        return short;
    }
    let rest = &bytes[SHORT..];
    let end = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
    let plain = blocks_without_control(&rest[..end]);
    SHORT + plain + plain_words(&rest[plain..end])
}

/// The same by words of the machine.
#[inline]
fn plain_words(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks();
    for (at, word) in words.iter().enumerate() {
        let special = special_bytes(u64::from_le_bytes(*word));
        if special != 0 {
            return at * size_of::<u64>() + special.trailing_zeros() as usize / 8;
        }
    }
    let plain = rest.iter().take_while(|byte| !is_special(**byte));
    words.len() * size_of::<u64>() + plain.count()
}

/// Number of bytes in the blocks of four words before the first that has a control character. Written out, for the program is
/// linked for size, and the compiler makes no vector instructions then.
fn blocks_without_control(bytes: &[u8]) -> usize {
    const BLOCK: usize = 4 * size_of::<u64>();

    let (words, _) = bytes.as_chunks();
    let (blocks, _) = words.as_chunks();
    let has_none = |[a, b, c, d]: &[[u8; 8]; 4]| {
        let below_blank = |word: &[u8; 8]| {
            let word = u64::from_le_bytes(*word);
            word.wrapping_sub(BLANKS) & !word
        };
        (below_blank(a) | below_blank(b) | below_blank(c) | below_blank(d)) & HIGHEST == 0
    };
    BLOCK * blocks.iter().take_while(|block| has_none(block)).count()
}

/// The lowest and the highest bit of each byte of a word.
const EACH: u64 = u64::MAX / 0xff;
const HIGHEST: u64 = EACH << 7;

/// The first character that is no control character, in each byte.
const BLANKS: u64 = EACH * 0x20;

const fn is_special(byte: u8) -> bool {
    matches!(byte, ..b' ' | b'"' | b'\\')
}

/// Sets the highest bit of each byte that is special, and perhaps of some above the lowest of them.
const fn special_bytes(word: u64) -> u64 {
    // With this bit changed, a quote stands right behind the control characters, and the blank does not.
    let control_or_quote = (word ^ (EACH * 2)).wrapping_sub(EACH * 0x21);
    let backslash = (word ^ (EACH * b'\\' as u64)).wrapping_sub(EACH);
    (control_or_quote | backslash) & !word & HIGHEST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_special_byte_is_found_wherever_it_is() {
        for special in 0..=u8::MAX {
            for at in [0, 1, 7, 8, 31, 32, 33, 95, 96, 97, 200] {
                let mut text = [0x7f_u8, b' ', 0xff, b'!', b'#', b'[', b']', 0x80].repeat(32);
                text[at] = special;
                let expected = if is_special(special) { at } else { text.len() };
                assert_eq!(plain_bytes(&text), expected, "{special} at {at}");
                assert_eq!(plain_bytes(&text[..=at]), expected.min(at + 1));
            }
        }
    }
}
