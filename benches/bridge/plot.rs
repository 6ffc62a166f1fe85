//! The plot: how many times the limit each bridge needs, on a logarithmic scale.

use std::fmt::Write as _;

use crate::contender::Role;
use crate::figures::{Figure, Goal, ROWS, Row};
use crate::table::Measurements;

/// Drawn figures, with their words and units.
const SHOWN: [(Figure, &str, &str); 8] = [
    (Figure::Start, "start", "ms"),
    (Figure::Idle, "memory, idle", "MB"),
    (Figure::CallJson, "one small call", "µs"),
    (Figure::RateJson, "64 in flight", "calls/s"),
    (Figure::Cpu, "CPU, 10,000 calls", "s"),
    (Figure::ResultSse, "1 MB result, SSE", "ms"),
    (Figure::LargeSse, "16 MB result, SSE", "ms"),
    (Figure::Progress, "notifications", "/s"),
];

const WIDTH: f64 = 860.0;
const LEFT: f64 = 190.0;
const RIGHT: f64 = 110.0;
/// Names in a row of the legend, its first row, and the distance of the rows.
const NAMES: usize = 3;
const LEGEND: f64 = 34.0;
const LEGEND_ROW: f64 = 20.0;
const BAR: f64 = 14.0;
const GAP: f64 = 16.0;

const COLOURS: usize = 6;

const STYLE: &str = "\
text{font:13px system-ui,sans-serif;fill:#1f2328}.quiet{fill:#59636e;font-size:11px}\
.grid{stroke:#d1d9e0;stroke-width:1}.one{stroke:#59636e;stroke-width:1.5}\
.b0{fill:#8c959f}.b1{fill:#0969da}.b2{fill:#cf7b2c}.b3{fill:#8250df}.b4{fill:#1a7f37}.b5{fill:#bf3989}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.quiet{fill:#9198a1}.grid{stroke:#3d444d}\
.one{stroke:#9198a1}.b0{fill:#7d8590}.b1{fill:#4493f8}.b2{fill:#e0924a}.b3{fill:#ab7df8}.b4{fill:#3fb950}.b5{fill:#db61a2}}";

/// The plot as a file. It has no ground of its own, and its colours follow the reader's scheme.
pub(crate) fn svg(all: &Measurements) -> String {
    let bridges: Vec<_> = all
        .iter()
        .filter(|(contender, _)| contender.role != Role::Limit)
        .collect();
    let groups: Vec<_> = SHOWN
        .iter()
        .filter_map(|(figure, words, unit)| {
            let row = ROWS.iter().find(|row| row.figure == *figure)?;
            Some((row, *words, *unit))
        })
        .collect();
    let most = groups
        .iter()
        .flat_map(|(row, ..)| bridges.iter().filter_map(|(_, m)| times(row, m, all)))
        .fold(10.0, f64::max);
    let decades = most.log10().ceil().max(1.0);
    let scale = (WIDTH - LEFT - RIGHT) / decades;
    let x = |times: f64| LEFT + times.max(1.0).log10() * scale;
    let top = LEGEND + LEGEND_ROW * bridges.len().div_ceil(NAMES) as f64 + 10.0;
    let group = BAR * bridges.len() as f64 + GAP;
    let bottom = top + group * groups.len() as f64;
    let height = bottom + 34.0;

    let mut body = String::new();
    for decade in 0..=decades as u32 {
        let times = 10_f64.powi(decade.cast_signed());
        let class = if decade == 0 { "one" } else { "grid" };
        let at = x(times);
        let _ = writeln!(
            body,
            r#"<line class="{class}" x1="{at:.1}" y1="{top}" x2="{at:.1}" y2="{bottom}"/><text class="quiet" x="{at:.1}" y="{:.1}" text-anchor="middle">{times}×</text>"#,
            bottom + 18.0
        );
    }
    for (at, (contender, _)) in bridges.iter().enumerate() {
        let left = LEFT + (WIDTH - LEFT) / NAMES as f64 * (at % NAMES) as f64;
        let y = LEGEND + LEGEND_ROW * (at / NAMES) as f64;
        let _ = writeln!(
            body,
            r#"<rect class="b{}" x="{left:.1}" y="{y}" width="12" height="12" rx="2"/><text x="{:.1}" y="{}">{}</text>"#,
            at % COLOURS,
            left + 18.0,
            y + 11.0,
            contender.name
        );
    }
    for (number, (row, words, unit)) in groups.iter().enumerate() {
        let first = top + group * number as f64 + GAP / 2.0;
        let middle = first + BAR * bridges.len() as f64 / 2.0 + 4.0;
        let _ = writeln!(
            body,
            r#"<text x="{}" y="{middle:.1}" text-anchor="end">{words}</text>"#,
            LEFT - 12.0
        );
        for (at, (_, measured)) in bridges.iter().enumerate() {
            let y = first + BAR * at as f64;
            let (Some(times), Some(value)) =
                (times(row, measured, all), measured.median(row.figure))
            else {
                let fault = measured.fault(row.figure).map_or("–", |_| "failed");
                let _ = writeln!(
                    body,
                    r#"<text class="quiet" x="{:.1}" y="{:.1}">{fault}</text>"#,
                    LEFT + 6.0,
                    y + 10.0
                );
                continue;
            };
            let width = (x(times) - LEFT).max(2.0);
            let shown = match *unit {
                "/s" | "calls/s" => format!("{:.0}k", value / 1000.0),
                _ => row.format.show(value),
            };
            let _ = writeln!(
                body,
                r#"<rect class="b{}" x="{LEFT}" y="{y:.1}" width="{width:.1}" height="{}" rx="2"/><text class="quiet" x="{:.1}" y="{:.1}">{shown} {unit}</text>"#,
                at % COLOURS,
                BAR - 2.0,
                LEFT + width + 6.0,
                y + 10.0
            );
        }
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n\
         <title>What bridges cost: times the same without one</title>\n<style>{STYLE}</style>\n\
         <text x=\"{LEFT}\" y=\"20\">times what it takes without a bridge (start, memory and CPU: times the least that bridges)</text>\n{body}</svg>\n"
    )
}

/// Figures that the limit has none of, or none that says something: they are compared with the least.
const WITHOUT_LIMIT: [Figure; 3] = [Figure::Start, Figure::Idle, Figure::Cpu];

/// Ratio to the cost of the limit, or of the least.
fn times(row: &Row, measured: &crate::figures::Measured, all: &Measurements) -> Option<f64> {
    let role = if WITHOUT_LIMIT.contains(&row.figure) {
        Role::Least
    } else {
        Role::Limit
    };
    let (_, reference) = all.iter().find(|(contender, _)| contender.role == role)?;
    let ratio = measured.ratio(reference, row.figure)?;
    Some(match row.goal {
        Goal::Rate(..) => 1.0 / ratio,
        Goal::Times(..) | Goal::AtMost(_) | Goal::Yes => ratio,
    })
}
