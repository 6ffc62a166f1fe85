//! Plot of the curves: one panel for each, both axes logarithmic.

use std::fmt::Write as _;

use super::Curve;
use super::curve::{Series, digits};
use crate::contender::Role;

/// Curves that are drawn; the tables have all.
const SHOWN: [&str; 12] = [
    "Calls in flight, time",
    "Calls in flight, peak memory",
    "HTTP/2 over TLS",
    "Size of results in JSON, time",
    "Size of requests, time",
    "Size of requests, peak memory",
    "Tools in a list, time",
    "Progress notifications, time",
    "Progress notifications, peak memory",
    "Bridges on the machine, memory (PSS)",
    "A long session, memory (RSS)",
    "Delay, one small call",
];

const COLUMNS: usize = 3;
const PANEL_WIDTH: f64 = 286.0;
const PANEL_HEIGHT: f64 = 216.0;
const TOP: f64 = 44.0;

/// The room for axes and words around the lines of a panel.
const LEFT: f64 = 52.0;
const RIGHT: f64 = 14.0;
const ABOVE: f64 = 40.0;
const BELOW: f64 = 44.0;

const STYLE: &str = "\
text{font:12px system-ui,sans-serif;fill:#1f2328}.quiet{fill:#59636e;font-size:10px}.head{font-weight:600}\
.grid{stroke:#d1d9e0;stroke-width:1}.line{fill:none;stroke-width:2}\
.limit{stroke:#8c959f}.least{stroke:#8c959f;stroke-dasharray:4 3}.ours{stroke:#0969da}.hiding{stroke:#8250df}\
.worse{fill:#d1242f}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.quiet{fill:#9198a1}.grid{stroke:#3d444d}\
.limit,.least{stroke:#9198a1}.ours{stroke:#4493f8}.hiding{stroke:#ab7df8}.worse{fill:#ff7b72}}";

const LEGEND: [(&str, &str); 4] = [
    ("limit", "limit: no bridge"),
    ("least", "the least that bridges"),
    ("ours", "mcp-bridge"),
    ("hiding", "mcp-bridge, hiding tools"),
];

/// The plot as a file. It has no ground of its own, and its colours follow the reader's scheme.
pub(crate) fn svg(curves: &[Curve]) -> String {
    let shown: Vec<&Curve> = SHOWN
        .iter()
        .filter_map(|title| curves.iter().find(|curve| curve.title == *title))
        .collect();
    let rows = shown.len().div_ceil(COLUMNS);
    let width = PANEL_WIDTH * COLUMNS as f64;
    let height = TOP + PANEL_HEIGHT * rows as f64;
    let mut body = String::new();
    for (at, (class, words)) in LEGEND.iter().enumerate() {
        let x = 12.0 + 200.0 * at as f64;
        let _ = writeln!(
            body,
            r#"<line class="line {class}" x1="{x}" y1="20" x2="{}" y2="20"/><text x="{}" y="24">{words}</text>"#,
            x + 26.0,
            x + 34.0
        );
    }
    let mut descriptions = String::new();
    for (at, curve) in shown.iter().enumerate() {
        let x = PANEL_WIDTH * (at % COLUMNS) as f64;
        let y = TOP + PANEL_HEIGHT * (at / COLUMNS) as f64;
        let words = description(curve);
        let _ = writeln!(descriptions, "{words}");
        let _ = writeln!(
            body,
            r#"<g transform="translate({x} {y})" role="img"><title>{words}</title>"#
        );
        panel(&mut body, curve);
        body.push_str("</g>\n");
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\" aria-labelledby=\"title desc\">\n\
         <title id=\"title\">Growth of the cost of a bridge beside the limit, both axes logarithmic</title>\n\
         <desc id=\"desc\">{descriptions}</desc>\n<style>{STYLE}</style>\n{body}</svg>\n"
    )
}

/// The content of a panel in words.
fn description(curve: &Curve) -> String {
    let mut text = format!("{}, {} by {}:", curve.title, curve.unit, curve.by);
    for series in &curve.series {
        let (first, last) = (series.value(0), series.value(curve.points() - 1));
        let show = |value: Option<f64>| value.map_or_else(|| "nothing".to_owned(), digits);
        let _ = write!(
            text,
            " {} from {} to {}",
            series.name,
            show(first),
            show(last)
        );
        if let Some(verdict) = curve.verdict(series) {
            let _ = write!(text, " ({verdict})");
        }
        text.push(';');
    }
    text.pop();
    text.push('.');
    text
}

/// A logarithmic axis.
struct Axis {
    low: f64,
    high: f64,
    start: f64,
    length: f64,
}

impl Axis {
    /// From the power of ten below the least value to that above the greatest.
    fn decades(values: impl Iterator<Item = f64>, start: f64, length: f64) -> Self {
        let (low, high) = values
            .filter(|value| *value > 0.0)
            .map(f64::log10)
            .fold((f64::MAX, f64::MIN), |(low, high), value| {
                (low.min(value), high.max(value))
            });
        let low = low.min(high).floor();
        Self {
            low,
            high: high.ceil().max(low + 1.0),
            start,
            length,
        }
    }

    /// From the least value to the greatest.
    fn exact(values: &[f64], start: f64, length: f64) -> Self {
        Self {
            low: values.first().copied().unwrap_or(1.0).log10(),
            high: values.last().copied().unwrap_or(10.0).log10(),
            start,
            length,
        }
    }

    fn at(&self, value: f64) -> f64 {
        let share = (value.log10() - self.low) / (self.high - self.low);
        self.start + share * self.length
    }
}

fn panel(body: &mut String, curve: &Curve) {
    let (right, bottom) = (PANEL_WIDTH - RIGHT, PANEL_HEIGHT - BELOW);
    let values = curve
        .series
        .iter()
        .flat_map(|series| (0..curve.points()).filter_map(move |point| series.value(point)));
    let x = Axis::exact(&curve.xs, LEFT, right - LEFT);
    let y = Axis::decades(values, bottom, ABOVE - bottom);
    let _ = writeln!(
        body,
        r#"<text class="head" x="12" y="14">{}</text><text class="quiet" x="12" y="29">{} by {}</text>"#,
        curve.title, curve.unit, curve.by
    );
    // At most five lines.
    let step = ((y.high - y.low) / 4.0).ceil().max(1.0) as usize;
    for decade in (y.low as i32..=y.high as i32).step_by(step) {
        let value = 10_f64.powi(decade);
        let at = y.at(value);
        let _ = writeln!(
            body,
            r#"<line class="grid" x1="{LEFT}" y1="{at:.1}" x2="{right}" y2="{at:.1}"/><text class="quiet" x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
            LEFT - 6.0,
            at + 3.5,
            short(value)
        );
    }
    let marked = (0..curve.points())
        .rev()
        .step_by(curve.points().div_ceil(5));
    for point in marked {
        let _ = writeln!(
            body,
            r#"<text class="quiet" x="{:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
            x.at(curve.xs[point]),
            bottom + 15.0,
            short(curve.xs[point])
        );
    }
    for series in &curve.series {
        line(body, curve, series, &x, &y);
    }
    let words = footnote(curve);
    let class = if words.ends_with("worse") {
        "worse"
    } else {
        "quiet"
    };
    let _ = writeln!(
        body,
        r#"<text class="quiet {class}" x="{LEFT}" y="{:.1}">{words}</text>"#,
        bottom + 31.0
    );
}

fn line(body: &mut String, curve: &Curve, series: &Series, x: &Axis, y: &Axis) {
    let class = match (series.role, series.name.contains("hiding")) {
        (Role::Limit, _) => "limit",
        (Role::Least, _) => "least",
        (_, true) => "hiding",
        (_, false) => "ours",
    };
    let points: Vec<String> = (0..curve.points())
        .filter_map(|point| {
            let value = series.value(point).filter(|value| *value > 0.0)?;
            Some(format!("{:.1},{:.1}", x.at(curve.xs[point]), y.at(value)))
        })
        .collect();
    let _ = writeln!(
        body,
        r#"<polyline class="line {class}" points="{}"/>"#,
        points.join(" ")
    );
}

/// The exponents of mcp-bridge and of its reference, and the verdict.
fn footnote(curve: &Curve) -> String {
    let Some(ours) = curve.series.iter().find(|series| series.role == Role::Ours) else {
        return String::new();
    };
    let exponent = |series: &Series| {
        let exponent = series.exponent(&curve.xs);
        exponent.map_or_else(|| "–".to_owned(), |exponent| format!("{exponent:.2}"))
    };
    let verdict = curve
        .verdict(ours)
        .map_or_else(String::new, |verdict| verdict.to_string());
    match curve.reference() {
        Some(reference) => {
            let name = if reference.role == Role::Limit {
                "limit"
            } else {
                "least"
            };
            format!(
                "exponent {}, {name} {}: {verdict}",
                exponent(ours),
                exponent(reference)
            )
        }
        None => format!("exponent {}: {verdict}", exponent(ours)),
    }
}

/// A number of few characters.
fn short(value: f64) -> String {
    match value {
        1e6.. => format!("{}M", digits(value / 1e6).trim_end_matches(".00")),
        1e3.. => format!(
            "{}k",
            digits(value / 1e3)
                .trim_end_matches(".00")
                .trim_end_matches(".0")
        ),
        1.0.. => format!("{value:.0}"),
        _ => {
            let text = format!("{value:.6}");
            text.trim_end_matches('0').to_owned()
        }
    }
}
