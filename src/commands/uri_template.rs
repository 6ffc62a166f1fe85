//! URI templates (RFC 6570), with text for each value: levels 1 to 3, and prefixes of level 4.

use std::fmt::Write as _;

/// A template, or an address without expressions.
#[derive(Debug, PartialEq)]
pub(super) struct UriTemplate<'a> {
    parts: Vec<TemplatePart<'a>>,
}

#[derive(Debug, PartialEq)]
enum TemplatePart<'a> {
    Literal(&'a str),
    Expression {
        operator: Operator,
        variables: Vec<Variable<'a>>,
    },
}

#[derive(Debug, PartialEq)]
struct Variable<'a> {
    name: &'a str,
    /// The characters of the value that are used (RFC 6570 §2.4.1).
    prefix: Option<usize>,
}

/// The kind of an expression (RFC 6570, appendix A).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Operator {
    first: &'static str,
    separator: &'static str,
    /// The text between a name and its empty value, if values have names.
    named: Option<&'static str>,
    allows_reserved: bool,
}

const SIMPLE: Operator = Operator {
    first: "",
    separator: ",",
    named: None,
    allows_reserved: false,
};

/// The expression's kind by its first character.
const OPERATORS: [(char, Operator); 7] = [
    (
        '+',
        Operator {
            allows_reserved: true,
            ..SIMPLE
        },
    ),
    (
        '#',
        Operator {
            first: "#",
            allows_reserved: true,
            ..SIMPLE
        },
    ),
    (
        '.',
        Operator {
            first: ".",
            separator: ".",
            ..SIMPLE
        },
    ),
    (
        '/',
        Operator {
            first: "/",
            separator: "/",
            ..SIMPLE
        },
    ),
    (
        ';',
        Operator {
            first: ";",
            separator: ";",
            named: Some(""),
            ..SIMPLE
        },
    ),
    (
        '?',
        Operator {
            first: "?",
            separator: "&",
            named: Some("="),
            ..SIMPLE
        },
    ),
    (
        '&',
        Operator {
            first: "&",
            separator: "&",
            named: Some("="),
            ..SIMPLE
        },
    ),
];

impl<'a> UriTemplate<'a> {
    /// Reads a template; the error says what is wrong with it.
    pub(super) fn parse(text: &'a str) -> Result<Self, &'static str> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((literal, expression)) = rest.split_once('{') {
            if literal.contains('}') {
                return Err("} without {");
            }
            let (expression, after) = expression.split_once('}').ok_or("{ without }")?;
            parts.push(TemplatePart::Literal(literal));
            parts.push(TemplatePart::parse(expression)?);
            rest = after;
        }
        if rest.contains('}') {
            return Err("} without {");
        }
        parts.push(TemplatePart::Literal(rest));
        Ok(Self { parts })
    }

    /// The names of all values.
    pub(super) fn names(&self) -> Vec<&'a str> {
        self.variables()
            .map(|(_, variable)| variable.name)
            .collect()
    }

    /// The names without whose values it is no address: all except those of a query, which can be left out.
    pub(super) fn required_names(&self) -> Vec<&'a str> {
        let required = self
            .variables()
            .filter(|(operator, _)| operator.named.is_none());
        required.map(|(_, variable)| variable.name).collect()
    }

    fn variables(&self) -> impl Iterator<Item = (Operator, &Variable<'a>)> {
        self.parts.iter().flat_map(|part| match part {
            TemplatePart::Literal(_) => Vec::new(),
            TemplatePart::Expression {
                operator,
                variables,
            } => variables.iter().map(|it| (*operator, it)).collect(),
        })
    }

    /// The address. A name without a value is left out.
    pub(super) fn expand(&self, values: &[(String, String)]) -> String {
        let mut uri = String::new();
        for part in &self.parts {
            match part {
                TemplatePart::Literal(literal) => uri.push_str(literal),
                TemplatePart::Expression {
                    operator,
                    variables,
                } => operator.expand(variables, values, &mut uri),
            }
        }
        uri
    }
}

impl<'a> TemplatePart<'a> {
    fn parse(expression: &'a str) -> Result<Self, &'static str> {
        let first = expression.chars().next();
        let known = OPERATORS.iter().find(|(sign, _)| first == Some(*sign));
        let (operator, names) = match known {
            Some((sign, operator)) => (*operator, &expression[sign.len_utf8()..]),
            None => (SIMPLE, expression),
        };
        let variables = names.split(',').map(Variable::parse);
        Ok(Self::Expression {
            operator,
            variables: variables.collect::<Result<_, _>>()?,
        })
    }
}

impl<'a> Variable<'a> {
    fn parse(text: &'a str) -> Result<Self, &'static str> {
        // A value is one text, of which "exploded" is the same.
        let text = text.strip_suffix('*').unwrap_or(text);
        let (name, prefix) = match text.split_once(':') {
            Some((name, prefix)) => {
                let prefix = prefix.parse().map_err(|_| "a prefix that is no number")?;
                (name, Some(prefix))
            }
            None => (text, None),
        };
        if name.is_empty() {
            return Err("an expression without a name");
        }
        Ok(Self { name, prefix })
    }
}

impl Operator {
    fn expand(self, variables: &[Variable<'_>], values: &[(String, String)], uri: &mut String) {
        let mut before = self.first;
        for variable in variables {
            let value = values.iter().find(|(name, _)| name == variable.name);
            let Some((name, value)) = value else {
                continue;
            };
            uri.push_str(before);
            before = self.separator;
            if let Some(empty) = self.named {
                uri.push_str(name);
                uri.push_str(if value.is_empty() { empty } else { "=" });
            }
            let letters = value.chars().take(variable.prefix.unwrap_or(usize::MAX));
            self.encode(&letters.collect::<String>(), uri);
        }
    }

    fn encode(self, value: &str, uri: &mut String) {
        let bytes = value.as_bytes();
        for (at, byte) in bytes.iter().enumerate() {
            let is_unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
            let is_kept = self.allows_reserved
                && (b":/?#[]@!$&'()*+,;=".contains(byte) || is_escape(&bytes[at..]));
            if is_unreserved || is_kept {
                uri.push(char::from(*byte));
            } else {
                // Writing to a string does not fail.
                let _ = write!(uri, "%{byte:02X}");
            }
        }
    }
}

/// Returns whether the text begins with a percent-encoded byte.
fn is_escape(text: &[u8]) -> bool {
    match text {
        [b'%', high, low, ..] => high.is_ascii_hexdigit() && low.is_ascii_hexdigit(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 6570 §1.2 and §3.2.
    #[test]
    fn templates_are_expanded_as_in_the_examples_of_the_rfc() {
        let values = [
            ("var", "value"),
            ("hello", "Hello World!"),
            ("path", "/foo/bar"),
            ("empty", ""),
            ("x", "1024"),
            ("y", "768"),
            ("half", "50%"),
            ("v", "6"),
        ];
        let values = values.map(|(name, value)| (name.to_owned(), value.to_owned()));
        for (template, expected) in [
            ("x://none", "x://none"),
            ("{var}", "value"),
            ("{hello}", "Hello%20World%21"),
            ("{half}", "50%25"),
            ("O{empty}X", "OX"),
            ("O{undef}X", "OX"),
            ("{x,y}", "1024,768"),
            ("{x,hello,y}", "1024,Hello%20World%21,768"),
            ("?{x,empty}", "?1024,"),
            ("{var:3}", "val"),
            ("{var:30}", "value"),
            ("{+var}", "value"),
            ("{+hello}", "Hello%20World!"),
            ("{+half}", "50%25"),
            ("{+path}/here", "/foo/bar/here"),
            ("{+path:6}/here", "/foo/b/here"),
            ("{#x,hello,y}", "#1024,Hello%20World!,768"),
            ("{#path,x}/here", "#/foo/bar,1024/here"),
            ("X{.var}", "X.value"),
            ("X{.x,y}", "X.1024.768"),
            ("{/var,x}/here", "/value/1024/here"),
            ("{/var:1,var}", "/v/value"),
            ("{;x,y}", ";x=1024;y=768"),
            ("{;x,y,empty}", ";x=1024;y=768;empty"),
            ("{;v,empty,who}", ";v=6;empty"),
            ("{?x,y}", "?x=1024&y=768"),
            ("{?x,y,empty}", "?x=1024&y=768&empty="),
            ("?fixed=yes{&x}", "?fixed=yes&x=1024"),
            ("{&var:3}", "&var=val"),
            ("{?x*}", "?x=1024"),
        ] {
            let parsed = UriTemplate::parse(template);
            let expanded = parsed.map(|template| template.expand(&values));
            assert_eq!(expanded, Ok(expected.to_owned()), "{template}");
        }
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for template in ["{", "a}b", "{a}}", "{}", "{a,}", "{a:x}"] {
            assert!(UriTemplate::parse(template).is_err(), "{template}");
        }
    }
}
