//! JSON text, appended to a buffer that is used again.

/// Of each byte in a string: what stands for it, behind a backslash if [`ESCAPES`] says so.
const SHOWN: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        #[expect(clippy::cast_possible_truncation, reason = "it is below 256")]
        let same = byte as u8;
        table[byte] = same;
        byte += 1;
    }
    table[0x08] = b'b';
    table[0x09] = b't';
    table[0x0a] = b'n';
    table[0x0c] = b'f';
    table[0x0d] = b'r';
    table
};

/// Number of backslashes before a byte; [`BY_NUMBER`] for control characters without a letter of their own.
const ESCAPES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = match byte {
            0x08 | 0x09 | 0x0a | 0x0c | 0x0d => 1,
            _ => BY_NUMBER,
        };
        byte += 1;
    }
    table[b'"' as usize] = 1;
    table[b'\\' as usize] = 1;
    table
};
const BY_NUMBER: u8 = 2;

/// Appends the inside of a string.
pub(super) fn push_escaped(out: &mut Vec<u8>, text: &[u8]) {
    /// Bytes that are written at once. The buffer has twice as many, and its size is a power of two.
    const CHUNK: usize = 128;
    let mut shown = [0; 2 * CHUNK];
    for chunk in text.chunks(CHUNK) {
        let mut length = 0;
        for byte in chunk {
            let byte = usize::from(*byte);
            let escapes = ESCAPES[byte];
            if escapes == BY_NUMBER {
                out.extend_from_slice(&shown[..length]);
                length = 0;
                push_by_number(out, byte);
                continue;
            }
            // Without a branch: quotation marks, which are frequent in JSON, come when nobody expects them.
            shown[length % (2 * CHUNK)] = b'\\';
            length += usize::from(escapes);
            shown[length % (2 * CHUNK)] = SHOWN[byte];
            length += 1;
        }
        out.extend_from_slice(&shown[..length.min(2 * CHUNK)]);
    }
}

#[cold]
fn push_by_number(out: &mut Vec<u8>, byte: usize) {
    let digit = |it: usize| b"0123456789abcdef"[it % 16];
    out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte / 16), digit(byte)]);
}

/// Appends a number.
pub(super) fn push_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[first..]);
}

/// Appends a number of which this is the hundredfold.
pub(super) fn push_hundredths(out: &mut Vec<u8>, number: u64) {
    push_number(out, number / 100);
    let rest = u8::try_from(number % 100).unwrap_or_default();
    if rest != 0 {
        out.extend_from_slice(&[b'.', b'0' + rest / 10, b'0' + rest % 10]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_numbers_read_as_what_was_written() {
        let all: String = (0..0x100).filter_map(char::from_u32).collect();
        let mut out = vec![b'"'];
        push_escaped(&mut out, all.as_bytes());
        out.push(b'"');
        assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), all);
        for (number, expected) in [(0, "0"), (5, "0.05"), (1200, "12"), (123_456, "1234.56")] {
            let mut out = Vec::new();
            push_hundredths(&mut out, number);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
        let mut out = Vec::new();
        push_number(&mut out, u64::MAX);
        assert_eq!(String::from_utf8(out).unwrap(), u64::MAX.to_string());
    }
}
