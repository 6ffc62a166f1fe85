//! The table, as Markdown.

use std::fmt::Write as _;

use crate::contender::{Contender, Role};
use crate::figures::{Goal, Measured, ROWS, Row};

pub(crate) type Measurements = [(Contender, Measured)];

/// The whole table; the last columns say whether the bridge of this repository reaches the goal.
pub(crate) fn markdown(all: &Measurements) -> String {
    let mut text = String::from("|");
    for (contender, _) in all {
        let _ = write!(text, " | {}", contender.name);
    }
    text.push_str(" | mcp-bridge ÷ | to reach | |\n|---");
    text.push_str(&"|---:".repeat(all.len() + 2));
    text.push_str("|---|\n");
    for row in &ROWS {
        let _ = write!(text, "| {}", row.title);
        for (_, measured) in all {
            let _ = write!(text, " | {}", cell(row, measured));
        }
        let (ratio, goal, verdict) = verdict(row, all);
        let _ = writeln!(text, " | {ratio} | {goal} | {verdict} |");
    }
    text
}

fn cell(row: &Row, measured: &Measured) -> String {
    match (measured.fault(row.figure), measured.median(row.figure)) {
        (Some(fault), _) => format!("✗ {}", fault.replace('|', "/")),
        (None, Some(value)) => row.format.show(value),
        (None, None) => "–".to_owned(),
    }
}

/// The bridge's ratio to what it is compared with, the goal, and whether that is reached.
fn verdict(row: &Row, all: &Measurements) -> (String, String, &'static str) {
    let of = |role: Role| all.iter().find(|(contender, _)| contender.role == role);
    let ours = of(Role::Ours).map(|(_, measured)| measured);
    let ratio_to = |role: Role| ours?.ratio(&of(role)?.1, row.figure);
    let value = ours.and_then(|ours| ours.median(row.figure));
    let (ratio, goal, reached) = match row.goal {
        Goal::Times(role, bound) => {
            let ratio = ratio_to(role);
            (
                ratio,
                format!("≤ {bound} × {}", name(role)),
                ratio.map(|ratio| ratio <= bound),
            )
        }
        Goal::Rate(role, bound) => {
            let ratio = ratio_to(role);
            (
                ratio,
                format!("≥ {bound} × {}", name(role)),
                ratio.map(|ratio| ratio >= bound),
            )
        }
        Goal::AtMost(bound) => (
            None,
            format!("≤ {bound}"),
            value.map(|value| value <= bound),
        ),
        Goal::Yes => (None, "yes".to_owned(), value.map(|value| value > 0.0)),
    };
    let fault = ours.and_then(|ours| ours.fault(row.figure));
    let verdict = match (fault, reached) {
        (Some(_), _) | (None, Some(false)) => "✗",
        (None, Some(true)) => "✓",
        (None, None) => "",
    };
    let ratio = ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
    (ratio, goal, verdict)
}

const fn name(role: Role) -> &'static str {
    match role {
        Role::Limit => "the limit",
        Role::Least => "the least",
        Role::Ours | Role::Other => "",
    }
}
