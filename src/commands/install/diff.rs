//! Diff of a configuration, for a person.

use std::io::{self, Write};

/// Lines that are shown around a change, so that one sees where it is.
const CONTEXT: usize = 3;

/// More of a line says nothing to a person. Some apps keep their whole file in one.
const LONGEST_LINE: usize = 200;

/// Texts that differ in more lines than this are shown as if nothing in between were the same: the search for
/// the shortest difference takes the square of it.
const MOST_DIFFERENCES: usize = 1000;

/// Equal lines that the search may pass on all its ways together; a long text is passed once for each difference.
const MOST_STEPS: usize = 1 << 24;

/// Fate of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stays,
    Goes,
    Comes,
}

/// Writes the lines that differ, with `-` and `+`, and some before and after them. A line is shown as `masked` has
/// it.
pub(super) fn write(
    out: &mut dyn Write,
    before: &str,
    after: &str,
    masked: &dyn Fn(&str) -> String,
) -> io::Result<()> {
    let (old, new): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    let lines = compare(&old, &new);
    let is_change = |(_, (fate, _)): &(usize, &(Fate, &str))| *fate != Fate::Stays;
    let changes = lines.iter().enumerate().filter(is_change);
    let changes: Vec<_> = changes.map(|(place, _)| place).collect();
    let mut shown = 0;
    for place in changes {
        let start = place.saturating_sub(CONTEXT).max(shown);
        if start > shown && shown > 0 {
            writeln!(out, "  …")?;
        }
        let end = (place + CONTEXT + 1).min(lines.len());
        for (fate, line) in lines.iter().take(end).skip(start) {
            let sign = match fate {
                Fate::Stays => ' ',
                Fate::Goes => '-',
                Fate::Comes => '+',
            };
            write_line(out, sign, &masked(line))?;
        }
        shown = shown.max(end);
    }
    Ok(())
}

/// All lines of both texts, in order.
fn compare<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<(Fate, &'a str)> {
    let head = common(old.iter(), new.iter());
    let (old_rest, new_rest) = (&old[head..], &new[head..]);
    let tail = common(old_rest.iter().rev(), new_rest.iter().rev());
    let (removed, below) = old_rest.split_at(old_rest.len() - tail);
    let added = &new_rest[..new_rest.len() - tail];
    let stays = |lines: &[&'a str]| lines.iter().map(|line| (Fate::Stays, *line)).collect();
    let mut lines: Vec<_> = stays(&old[..head]);
    let apart = || {
        let removed = removed.iter().map(|line| (Fate::Goes, *line));
        let added = added.iter().map(|line| (Fate::Comes, *line));
        removed.chain(added).collect()
    };
    lines.extend(shortest(removed, added).unwrap_or_else(apart));
    lines.extend::<Vec<_>>(stays(below));
    lines
}

/// The shortest difference (Myers, "An O(ND) difference algorithm and its variations"), if it is not too long.
fn shortest<'a>(old: &[&'a str], new: &[&'a str]) -> Option<Vec<(Fate, &'a str)>> {
    let most = (old.len() + new.len()).min(MOST_DIFFERENCES);
    // Diagonals are numbered so that none is negative. For each: the furthest place in `old` that is reached.
    let middle = most + 1;
    let mut furthest = vec![0; 2 * most + 3];
    let mut earlier = Vec::new();
    let mut steps = 0;
    for differences in 0..=most {
        earlier.push(furthest.clone());
        for diagonal in (middle - differences..=middle + differences).step_by(2) {
            let (from, step) = origin(&furthest, diagonal, middle, differences);
            let mut x = furthest[from] + step;
            let mut y = x + middle - diagonal;
            while x < old.len() && y < new.len() && old[x] == new[y] {
                (x, y) = (x + 1, y + 1);
                steps += 1;
            }
            if steps > MOST_STEPS {
                return None;
            }
            furthest[diagonal] = x;
            if x >= old.len() && y >= new.len() {
                return Some(trace(old, new, &earlier, middle));
            }
        }
    }
    None
}

/// The diagonal that another one is reached from by one more difference, and how far that leads in the old text:
/// 1 where a line goes, 0 where one comes.
fn origin(
    furthest: &[usize],
    diagonal: usize,
    middle: usize,
    differences: usize,
) -> (usize, usize) {
    let is_lowest = diagonal + differences == middle;
    let is_highest = diagonal == middle + differences;
    if is_lowest || (!is_highest && furthest[diagonal - 1] < furthest[diagonal + 1]) {
        (diagonal + 1, 0)
    } else {
        (diagonal - 1, 1)
    }
}

/// Goes back from the end of both texts.
fn trace<'a>(
    old: &[&'a str],
    new: &[&'a str],
    earlier: &[Vec<usize>],
    middle: usize,
) -> Vec<(Fate, &'a str)> {
    let (mut x, mut y) = (old.len(), new.len());
    let mut lines = Vec::new();
    for (differences, furthest) in earlier.iter().enumerate().rev() {
        let (from, step) = origin(furthest, middle + x - y, middle, differences);
        let start = if differences == 0 {
            0
        } else {
            furthest[from] + step
        };
        while x > start {
            (x, y) = (x - 1, y - 1);
            lines.push((Fate::Stays, old[x]));
        }
        match (differences, step) {
            (0, _) => {}
            (_, 0) => {
                y -= 1;
                lines.push((Fate::Comes, new[y]));
            }
            (_, _) => {
                x -= 1;
                lines.push((Fate::Goes, old[x]));
            }
        }
    }
    lines.reverse();
    lines
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
        write(&mut out, before, after, &str::to_owned).unwrap();
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
    fn changes_far_apart_are_shown_each_with_the_lines_around_it() {
        assert_eq!(
            diff(
                "a\n1\n2\n3\n4\n5\n6\n7\n8\nb\nx\n",
                "1\n2\n3\n4\n5\n6\n7\n8\nB\nx\ny\n"
            ),
            "- a\n  1\n  2\n  3\n  …\n  6\n  7\n  8\n- b\n+ B\n  x\n+ y\n"
        );
        assert_eq!(
            diff("1\n2\n3\n4\n5\n", "2\n3\nx\n5\n6\n4\n"),
            "- 1\n  2\n  3\n- 4\n+ x\n  5\n+ 6\n+ 4\n"
        );
    }

    /// Applied to the old text, a difference gives the new one, and the other way round.
    #[test]
    fn both_texts_can_be_read_from_a_comparison() {
        let text = |mut seed: u32| -> Vec<String> {
            let next = || {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                ((seed >> 24) % 4).to_string()
            };
            std::iter::repeat_with(next).take(12).collect()
        };
        for seed in 0..200 {
            let (old, new) = (text(seed), text(seed.wrapping_mul(7919) + 1));
            let (old, new): (Vec<_>, Vec<_>) = (
                old.iter().map(String::as_str).collect(),
                new.iter().map(String::as_str).collect(),
            );
            let lines = compare(&old, &new);
            let without = |fate: Fate| {
                let left = lines.iter().filter(move |(it, _)| *it != fate);
                left.map(|(_, line)| *line).collect::<Vec<_>>()
            };
            assert_eq!(without(Fate::Comes), old, "{seed}");
            assert_eq!(without(Fate::Goes), new, "{seed}");
        }
    }

    #[test]
    fn texts_that_have_little_in_common_are_shown_one_after_the_other() {
        let lines = |letter: &str| format!("{letter}\n").repeat(MOST_DIFFERENCES);
        let shown = diff(&lines("a"), &lines("b"));
        assert_eq!(
            shown,
            "- a\n".repeat(MOST_DIFFERENCES) + &"+ b\n".repeat(MOST_DIFFERENCES)
        );
    }

    #[test]
    fn a_long_text_between_two_changes_is_not_passed_again_and_again() {
        const CHANGED: usize = 400;
        let same = vec!["="; MOST_STEPS / CHANGED];
        let around = |line| [vec![line; CHANGED], same.clone(), vec![line; CHANGED]].concat();
        let lines = compare(&around("a"), &around("b"));
        assert!(lines.iter().all(|(fate, _)| *fate != Fate::Stays));
        let few = |line| [vec![line], same.clone(), vec![line]].concat();
        let lines = compare(&few("a"), &few("b"));
        let stays = lines.iter().filter(|(fate, _)| *fate == Fate::Stays);
        assert_eq!(stays.count(), same.len());
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
