//! What an edit changes, for a person to look at.

use std::io::{self, Write};

/// Lines that are shown around a change, so that one sees where it is.
const CONTEXT: usize = 3;

/// More of a line says nothing to a person. Some apps keep their whole file in one.
const LONGEST_LINE: usize = 200;

/// Writes the lines that differ, with `-` and `+`, and some before and after them. An edit is in one
/// place; so what is common at the beginning and at the end is all that has to be found.
pub(super) fn write(out: &mut dyn Write, before: &str, after: &str) -> io::Result<()> {
    let (old, new): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    let head = common(old.iter(), new.iter());
    let (old_rest, new_rest) = (&old[head..], &new[head..]);
    let tail = common(old_rest.iter().rev(), new_rest.iter().rev());
    let (removed, below) = old_rest.split_at(old_rest.len() - tail);
    let added = &new_rest[..new_rest.len() - tail];
    for line in &old[head.saturating_sub(CONTEXT)..head] {
        write_line(out, ' ', line)?;
    }
    for line in removed {
        write_line(out, '-', line)?;
    }
    for line in added {
        write_line(out, '+', line)?;
    }
    for line in below.iter().take(CONTEXT) {
        write_line(out, ' ', line)?;
    }
    Ok(())
}

fn common<'a>(
    one: impl Iterator<Item = &'a &'a str>,
    other: impl Iterator<Item = &'a &'a str>,
) -> usize {
    one.zip(other)
        .take_while(|(one, other)| one == other)
        .count()
}

fn write_line(out: &mut dyn Write, sign: char, line: &str) -> io::Result<()> {
    let line = line.trim_start_matches('\u{feff}');
    let mut shown: String = line.chars().take(LONGEST_LINE).map(printable).collect();
    if line.chars().nth(LONGEST_LINE).is_some() {
        shown.push('…');
    }
    writeln!(out, "{}", format!("{sign} {shown}").trim_end())
}

/// A comment in a project's file could move the cursor, and show another change than is made.
fn printable(letter: char) -> char {
    if letter.is_control() && letter != '\t' {
        return char::REPLACEMENT_CHARACTER;
    }
    letter
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diff(before: &str, after: &str) -> String {
        let mut out = Vec::new();
        write(&mut out, before, after).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_change_is_shown_with_the_lines_around_it() {
        assert_eq!(
            diff(
                "1\n2\n3\n4\n5\n6\n7\n8\n9\n",
                "1\n2\n3\n4\nfive\nmore\n6\n7\n8\n9\n"
            ),
            "  2\n  3\n  4\n- 5\n+ five\n+ more\n  6\n  7\n  8\n"
        );
        assert_eq!(diff("", "a\nb\n"), "+ a\n+ b\n");
        assert_eq!(diff("a\nb\n", "a\n"), "  a\n- b\n");
        assert_eq!(diff("x\nx\n", "x\nx\nx\n"), "  x\n  x\n+ x\n");
        assert_eq!(diff("a\r\n", "a\r\nb\r\n"), "  a\n+ b\n");
    }

    #[test]
    fn long_lines_are_cut() {
        let (before, after) = ("é".repeat(300), "è".repeat(300));
        let cut = |sign: &str, letter: &str| format!("{sign} {}…\n", letter.repeat(LONGEST_LINE));
        assert_eq!(diff(&before, &after), cut("-", "é") + &cut("+", "è"));
    }

    #[test]
    fn what_would_steer_the_terminal_is_not_shown() {
        assert_eq!(diff("", "// \u{1b}[2J\tx"), "+ // \u{fffd}[2J\tx\n");
    }
}
