//! The table, as Markdown.

use std::fmt::Write as _;

use serde_json::json;

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
    let mut reasons: Vec<String> = Vec::new();
    for row in &ROWS {
        let _ = write!(text, "| {}", row.title);
        for (contender, measured) in all {
            let _ = match measured.fault(row.figure) {
                Some(fault) => {
                    let reason = format!("{}: {fault}", contender.name);
                    write!(text, " | ✗ ({})", number(&mut reasons, reason))
                }
                None => write!(text, " | {}", cell(row, measured)),
            };
        }
        let (ratio, goal, verdict) = verdict(row, all);
        let _ = writeln!(text, " | {ratio} | {goal} | {verdict} |");
    }
    if !reasons.is_empty() {
        text.push_str("\n✗, failed:\n\n");
    }
    for (at, reason) in reasons.iter().enumerate() {
        let _ = writeln!(text, "{}. {}", at + 1, reason.replace('\n', " "));
    }
    text
}

/// The same as JSON.
pub(crate) fn json(all: &Measurements) -> serde_json::Value {
    let rows = ROWS.iter().map(|row| {
        let values = all.iter().map(|(contender, measured)| {
            let value = match measured.fault(row.figure) {
                Some(fault) => json!({ "failed": fault }),
                None => json!(measured.median(row.figure)),
            };
            (contender.name.clone(), value)
        });
        let values: serde_json::Map<_, _> = values.collect();
        let (ratio, goal, verdict) = verdict(row, all);
        json!({ "title": row.title, "values": values, "ratio": ratio, "goal": goal, "reached": verdict == "✓" })
    });
    json!({ "rows": rows.collect::<Vec<_>>() })
}

/// The number of a reason in the list below the table.
fn number(reasons: &mut Vec<String>, reason: String) -> usize {
    let known = reasons.iter().position(|known| *known == reason);
    let at = known.unwrap_or_else(|| {
        reasons.push(reason);
        reasons.len() - 1
    });
    at + 1
}

fn cell(row: &Row, measured: &Measured) -> String {
    measured
        .median(row.figure)
        .map_or_else(|| "–".to_owned(), |value| row.format.show(value))
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
