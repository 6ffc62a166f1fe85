//! Tables of curves, as Markdown and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::Curve;
use super::curve::{Expected, Series, digits};
use crate::contender::Role;

/// A table for each curve.
pub(crate) fn markdown(curves: &[Curve]) -> String {
    let mut text = String::new();
    for curve in curves {
        table(&mut text, curve);
    }
    text
}

fn table(text: &mut String, curve: &Curve) {
    let is_linear = curve.expected == Expected::Linear;
    let _ = write!(text, "| {}, {} \\ {}", curve.title, curve.unit, curve.by);
    for x in &curve.xs {
        let _ = write!(text, " | {}", digits(*x));
    }
    text.push_str(" | exponent |");
    if is_linear {
        let _ = write!(text, " {} each |", curve.unit);
    }
    text.push_str(" |\n|---");
    text.push_str(&"|---:".repeat(curve.points() + 1 + usize::from(is_linear)));
    text.push_str("|---|\n");
    for series in &curve.series {
        let _ = write!(text, "| {}", series.name);
        for point in 0..curve.points() {
            let value = series.value(point).map(digits);
            let missing = if series.fault.is_some() { "✗" } else { "–" };
            let _ = write!(text, " | {}", value.as_deref().unwrap_or(missing));
        }
        let _ = write!(
            text,
            " | {} |",
            or_dash(series.exponent(&curve.xs), decimals)
        );
        if is_linear {
            let _ = write!(text, " {} |", or_dash(series.each(&curve.xs), digits));
        }
        let verdict = curve.verdict(series);
        let verdict = verdict.map_or_else(String::new, |verdict| verdict.to_string());
        let _ = writeln!(text, " {verdict} |");
    }
    ratios(text, curve, is_linear);
    text.push('\n');
    for series in &curve.series {
        if let Some(fault) = &series.fault {
            let _ = writeln!(text, "✗ {}: {fault}\n", series.name.replace('\n', " "));
        }
    }
}

/// Ratio of mcp-bridge to the reference at each point.
fn ratios(text: &mut String, curve: &Curve, is_linear: bool) {
    let ours = curve.series.iter().find(|series| series.role == Role::Ours);
    let (Some(reference), Some(ours)) = (curve.reference(), ours) else {
        return;
    };
    let _ = write!(text, "| mcp-bridge ÷ {}", reference.name);
    for point in 0..curve.points() {
        let _ = write!(
            text,
            " | {}",
            or_dash(times(ours, reference, point), decimals)
        );
    }
    text.push_str(if is_linear { " | | | |\n" } else { " | | |\n" });
}

fn times(ours: &Series, reference: &Series, point: usize) -> Option<f64> {
    let reference = reference.value(point).filter(|value| *value > 0.0)?;
    Some(ours.value(point)? / reference)
}

fn decimals(value: f64) -> String {
    format!("{value:.2}")
}

fn or_dash(value: Option<f64>, show: impl Fn(f64) -> String) -> String {
    value.map_or_else(|| "–".to_owned(), show)
}

/// The same as JSON.
pub(crate) fn json(curves: &[Curve]) -> Value {
    let curves = curves.iter().map(|curve| {
        let series = curve.series.iter().map(|series| {
            let values: Vec<_> = (0..curve.points())
                .map(|point| series.value(point))
                .collect();
            json!({
                "name": series.name,
                "values": values,
                "exponent": series.exponent(&curve.xs),
                "each": series.each(&curve.xs),
                "verdict": curve.verdict(series).map(|verdict| verdict.to_string()),
                "failed": series.fault,
            })
        });
        json!({
            "title": curve.title,
            "unit": curve.unit,
            "by": curve.by,
            "points": curve.xs,
            "series": series.collect::<Vec<_>>(),
        })
    });
    json!({ "curves": curves.collect::<Vec<_>>() })
}
