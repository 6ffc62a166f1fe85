//! Parts of the user's desktop session that the environment of this process does not name.

#[cfg(all(unix, not(target_os = "macos")))]
mod freedesktop;

#[cfg(all(unix, not(target_os = "macos")))]
pub(crate) use freedesktop::{bus_address, has_screen, missing_variables};

/// None: elsewhere programs find the session without variables.
#[cfg(not(all(unix, not(target_os = "macos"))))]
pub(crate) const fn missing_variables() -> Vec<(&'static str, std::ffi::OsString)> {
    Vec::new()
}

/// Elsewhere the launcher itself knows.
#[cfg(not(all(unix, not(target_os = "macos"))))]
pub(crate) const fn has_screen(_: &[(&'static str, std::ffi::OsString)]) -> bool {
    true
}
