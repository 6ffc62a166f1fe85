//! Credentials as npm mcp-remote leaves them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Writes the files of the account whose key this is, below mcp-remote's directory. Returns their paths.
pub fn leave_credentials(
    directory: &Path,
    key: &str,
    tokens: &Value,
    client: &Value,
) -> [PathBuf; 2] {
    let hash = format!("{:x}", <md5::Md5 as md5::Digest>::digest(key));
    let place = directory.join("mcp-remote-v1");
    fs::create_dir_all(&place).unwrap();
    [("tokens", tokens), ("client_info", client)].map(|(name, content)| {
        let path = place.join(format!("{hash}_{name}.json"));
        let text = serde_json::to_string_pretty(content).unwrap();
        fs::write(&path, text).unwrap();
        path
    })
}
