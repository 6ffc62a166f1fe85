//! Offer to keep the API keys of an entry in the keychain, so that they stand in no file of an app.

use std::io::{self, BufRead as _, IsTerminal as _};

use super::{Args, Consent};
use crate::cli::HeaderSecret;
use mcp_bridge_auth::{Keychain, SecretName};
use mcp_bridge_text::secret::Secret;

/// The flags with references in the place of the secrets that the person wants to be kept. None where nobody is asked.
pub(super) fn offered(args: &Args) -> Option<Vec<String>> {
    let is_asked = io::stdin().is_terminal() && !args.yes && !args.dry_run && args.print.is_none();
    let entry = args
        .name
        .as_deref()
        .filter(|_| is_asked && args.url.is_some())?;
    let keychain = Keychain::default();
    let flags = with_references(&args.flags, &mut |secret| {
        let name = secret_name(entry, secret.name)?;
        match ask(secret.name) {
            Consent::Yes => {}
            Consent::No | Consent::Nobody => return None,
        }
        let kept = keychain.set_named(&name, &Secret::new(secret.secret.to_owned()));
        if let Err(error) = kept {
            eprintln!(
                "warning: it is not kept there: {error}\nhint: {}",
                error.hint_for_named()
            );
            return None;
        }
        Some(name)
    });
    Some(flags)
}

/// The flags with a reference for each secret that `keep` has taken.
fn with_references(
    flags: &[String],
    keep: &mut dyn FnMut(HeaderSecret<'_>) -> Option<SecretName>,
) -> Vec<String> {
    const FLAG: &str = "--header";
    let mut is_value = false;
    flags
        .iter()
        .map(|word| {
            let was_value = std::mem::replace(&mut is_value, word == FLAG);
            let joined = word
                .strip_prefix(FLAG)
                .and_then(|rest| rest.strip_prefix('='));
            let text = if was_value {
                Some(word.as_str())
            } else {
                joined
            };
            let secret = text.and_then(HeaderSecret::in_header);
            let Some(found) = secret else {
                return word.clone();
            };
            let Some(kept) = keep(found) else {
                return word.clone();
            };
            let HeaderSecret { name, scheme, .. } = found;
            let reference = format!("{name}: {scheme}{{keychain:{kept}}}");
            if was_value {
                reference
            } else {
                format!("{FLAG}={reference}")
            }
        })
        .collect()
}

/// A name that tells a person what the secret is for.
fn secret_name(entry: &str, header: &str) -> Option<SecretName> {
    format!("{entry}-{}", header.to_ascii_lowercase())
        .parse()
        .ok()
}

fn ask(header: &str) -> Consent {
    eprint!("Keep the value of the header {header} in the keychain, instead of the file? [Y/n] ");
    let mut answer = String::new();
    match io::stdin().lock().read_line(&mut answer) {
        Ok(length) if length > 0 && matches!(answer.trim(), "" | "y" | "Y" | "yes") => Consent::Yes,
        Ok(_) | Err(_) => Consent::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    ///
    #[test]
    fn secrets_in_headers_are_replaced_by_references_if_they_were_kept() {
        let flags = [
            "--header",
            "X-Api-Key: hunter2",
            "--debug",
            "--header=Authorization: Bearer hunter3",
            "--header",
            "X-Tenant: acme",
            "--header",
            "X-Key: ${KEY}",
            "--header",
            "X-Token: not-kept",
        ];
        let flags = flags.map(str::to_owned);
        let mut kept = Vec::new();
        let replaced = with_references(&flags, &mut |found| {
            kept.push(found.secret.to_owned());
            secret_name("example", found.name).filter(|_| found.secret != "not-kept")
        });
        assert_eq!(kept, ["hunter2", "hunter3", "not-kept"]);
        assert_eq!(
            replaced,
            [
                "--header",
                "X-Api-Key: {keychain:example-x-api-key}",
                "--debug",
                "--header=Authorization: Bearer {keychain:example-authorization}",
                "--header",
                "X-Tenant: acme",
                "--header",
                "X-Key: ${KEY}",
                "--header",
                "X-Token: not-kept",
            ]
        );
    }
}
