//! Format of log lines.

use std::fmt;

use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::field::{MakeExt as _, RecordFields};
use tracing_subscriber::fmt::format::{self, FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormattedFields};
use tracing_subscriber::registry::{LookupSpan, Scope};

use super::quota;
use mcp_bridge_auth::SIGN_IN_TARGET;
use mcp_bridge_text::printable;

/// The longest value that is logged, in bytes: the address of a sign-in page. A server may name a method of any
/// length.
const LONGEST_VALUE_BYTES: usize = 20 * 1024;

/// Lines of the form `TIME LEVEL span{field=value}: message field=value`.
pub(super) struct LineFormat {
    pub(super) clock: Clock,
    pub(super) dress: Dress,
}

/// Time at the beginning of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    /// UTC, by RFC 3339.
    Utc,
    /// Without: who reads stderr puts one there.
    None,
}

/// Text around the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dress {
    /// The level and the spans.
    Full,
    /// Nothing, for a person.
    Plain,
}

impl<S, N> FormatEvent<S, N> for LineFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let Some(left_out) = quota::admit(metadata) else {
            return Ok(());
        };
        let mut fields = String::new();
        context.format_fields(Writer::new(&mut fields), event)?;
        if metadata.target() != SIGN_IN_TARGET {
            // A line break within the text would let a stranger write lines of the log.
            fields = printable::line(&fields);
        }
        self.begin(&mut writer, metadata)?;
        if self.dress == Dress::Full {
            for span in context.event_scope().into_iter().flat_map(Scope::from_root) {
                let extensions = span.extensions();
                let fields = extensions.get::<FormattedFields<N>>();
                let fields = fields.map_or("", |fields| fields.as_str());
                write!(writer, "{}", span.name())?;
                if !fields.is_empty() {
                    write!(writer, "{{{}}}", printable::line(fields))?;
                }
                write!(writer, ": ")?;
            }
        }
        writeln!(writer, "{fields}")?;
        if left_out > 0 {
            self.begin(&mut writer, metadata)?;
            writeln!(
                writer,
                "left out before that: {left_out} more lines of this kind"
            )?;
        }
        Ok(())
    }
}

impl LineFormat {
    /// The time and the level.
    fn begin(&self, writer: &mut Writer<'_>, metadata: &Metadata<'_>) -> fmt::Result {
        if self.clock == Clock::Utc {
            SystemTime.format_time(writer)?;
            writer.write_char(' ')?;
        }
        if self.dress == Dress::Plain {
            return Ok(());
        }
        let level = *metadata.level();
        if writer.has_ansi_escapes() {
            write!(writer, "\u{1b}[{}m{level:>5}\u{1b}[0m ", color(level))
        } else {
            write!(writer, "{level:>5} ")
        }
    }
}

/// The colour of a level, as a parameter of SGR (ECMA-48 §8.3.117).
const fn color(level: Level) -> u8 {
    match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        Level::TRACE => 35,
    }
}

/// The format of the fields of events and spans: text of strangers is made printable here, whatever was done
/// to it before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields;

impl<'writer> FormatFields<'writer> for Fields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let field =
            |writer: &mut Writer<'_>, field: &tracing::field::Field, value: &dyn fmt::Debug| {
                let value = format!("{value:?}");
                let value = printable::block(&printable::shortened(&value, LONGEST_VALUE_BYTES));
                match field.name() {
                    "message" => write!(writer, "{value}"),
                    name => write!(writer, "{name}={value}"),
                }
            };
        format::debug_fn(field)
            .delimited(" ")
            .format_fields(writer, fields)
    }
}
