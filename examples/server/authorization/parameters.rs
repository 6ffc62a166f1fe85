//! Request parameters, from a query or a form.

use std::collections::HashMap;

use url::form_urlencoded;

use super::error::{ErrorCode, OAuthError};

/// The parameters of a request, read by the rules of RFC 6749 §3.1 and §3.2: an empty one counts as
/// absent, unknown ones are ignored, none may come twice.
pub(crate) struct Parameters(HashMap<String, String>);

impl Parameters {
    /// Reads `application/x-www-form-urlencoded` text.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, OAuthError> {
        let mut parameters = HashMap::new();
        for (name, value) in form_urlencoded::parse(text) {
            if value.is_empty() {
                continue;
            }
            if parameters.contains_key(name.as_ref()) {
                let description = "a parameter is there more than once";
                return Err(OAuthError::new(ErrorCode::InvalidRequest, description));
            }
            parameters.insert(name.into_owned(), value.into_owned());
        }
        Ok(Self(parameters))
    }

    /// A parameter that may be absent.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A parameter that must be there.
    pub(crate) fn require(&self, name: &str) -> Result<&str, OAuthError> {
        self.get(name).ok_or_else(|| {
            OAuthError::new(
                ErrorCode::InvalidRequest,
                format!("the parameter {name} is missing"),
            )
        })
    }
}
