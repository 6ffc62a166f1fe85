//! OpenMetrics text format, version 1.0, of the [`Numbers`].

use std::fmt::{self, Display, Write as _};

use super::{HttpOutcome, Numbers, SignInState};

/// The text, from the first metric to `# EOF`.
pub(super) fn text(numbers: &Numbers) -> String {
    let mut text = Text::default();
    text.family("mcp_bridge", "info", "Version of the program.");
    text.sample(
        "mcp_bridge_info",
        &[("version", &env!("CARGO_PKG_VERSION"))],
        1,
    );
    about_requests(numbers, &mut text);
    about_http(numbers, &mut text);
    about_sign_in(numbers, &mut text);
    text.0.push_str("# EOF\n");
    text.0
}

fn about_requests(numbers: &Numbers, text: &mut Text) {
    text.family("mcp_bridge_requests", "counter", "Requests of the app.");
    for (method, count) in &numbers.requests {
        text.sample("mcp_bridge_requests_total", &[("method", method)], count);
    }
    let name = "mcp_bridge_requests_open";
    text.family(name, "gauge", "Requests of the app without a response.");
    text.sample(name, &[], numbers.timed.len());
    let name = "mcp_bridge_requests_cancelled";
    text.counter(name, "Requests that the app cancelled.", numbers.cancelled);
    let help = "Error responses to the app: those of the server, or the bridge's own by data.kind.";
    text.family("mcp_bridge_errors", "counter", help);
    for (kind, count) in &numbers.errors {
        text.sample("mcp_bridge_errors_total", &[("kind", kind)], count);
    }
    let name = "mcp_bridge_request_duration_seconds";
    text.family(
        name,
        "histogram",
        "Time from a request of the app to its response.",
    );
    text.unit(name, "seconds");
    for (method, durations) in &numbers.durations {
        let bucket = format!("{name}_bucket");
        for (bound, count) in durations.up_to_bounds() {
            // `Debug` writes `1.0` and not `1`, as OpenMetrics wants it.
            let bound = format!("{:?}", bound.as_secs_f64());
            text.sample(&bucket, &[("le", &bound), ("method", method)], count);
        }
        let count = durations.count();
        text.sample(&bucket, &[("le", &"+Inf"), ("method", method)], count);
        let labels: &[_] = &[("method", method as &dyn Display)];
        text.sample(&format!("{name}_count"), labels, count);
        text.sample(&format!("{name}_sum"), labels, durations.sum.as_secs_f64());
    }
}

fn about_http(numbers: &Numbers, text: &mut Text) {
    let help = "HTTP requests by the status of the response; \"none\" if there was no response.";
    text.family("mcp_bridge_http_requests", "counter", help);
    for ((to, outcome), count) in &numbers.responses {
        let name = "mcp_bridge_http_requests_total";
        text.sample(name, &[("status", outcome), ("to", to)], count);
    }
    let steps = &numbers.steps;
    text.counter(
        "mcp_bridge_http_retries",
        "HTTP requests that were sent again.",
        steps.retries,
    );
}

fn about_sign_in(numbers: &Numbers, text: &mut Text) {
    let name = "mcp_bridge_sign_in_state";
    text.family(name, "stateset", "State of the sign-in.");
    for state in SignInState::ALL {
        let is_it = u8::from(state == numbers.sign_in);
        text.sample(name, &[(name, &state.name())], is_it);
    }
    let steps = &numbers.steps;
    text.family(
        "mcp_bridge_sign_ins",
        "counter",
        "Sign-ins that have ended.",
    );
    for (outcome, count) in [("done", steps.sign_ins), ("failed", steps.failed_sign_ins)] {
        text.sample("mcp_bridge_sign_ins_total", &[("outcome", &outcome)], count);
    }
    let help = "Refreshes of the token that were begun.";
    text.counter("mcp_bridge_token_refreshes", help, steps.refreshes);
    text.family(
        "mcp_bridge_token_refresh_outcomes",
        "counter",
        "Refreshes that have ended.",
    );
    for (outcome, count) in [
        ("done", steps.refreshed),
        ("refused", steps.refused_refreshes),
    ] {
        let name = "mcp_bridge_token_refresh_outcomes_total";
        text.sample(name, &[("outcome", &outcome)], count);
    }
}

/// Text under construction.
#[derive(Default)]
struct Text(String);

impl Text {
    /// Begins a metric family.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let help = help.replace('\\', r"\\").replace('"', r#"\""#);
        self.line(format_args!("# TYPE {name} {kind}\n# HELP {name} {help}\n"));
    }

    fn unit(&mut self, name: &str, unit: &str) {
        self.line(format_args!("# UNIT {name} {unit}\n"));
    }

    /// A counter without labels.
    fn counter(&mut self, name: &str, help: &str, count: u64) {
        self.family(name, "counter", help);
        self.sample(&format!("{name}_total"), &[], count);
    }

    /// A sample. No label has a character that would have to be escaped.
    fn sample(&mut self, name: &str, labels: &[(&str, &dyn Display)], value: impl Display) {
        self.line(format_args!("{name}"));
        for (place, (label, of)) in labels.iter().enumerate() {
            let open = if place == 0 { '{' } else { ',' };
            self.line(format_args!("{open}{label}=\"{of}\""));
        }
        let close = if labels.is_empty() { "" } else { "}" };
        self.line(format_args!("{close} {value}\n"));
    }

    fn line(&mut self, text: fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.0.write_fmt(text);
    }
}

impl Display for HttpOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{}", status.as_u16()),
            Self::Failed => f.write_str("none"),
        }
    }
}
