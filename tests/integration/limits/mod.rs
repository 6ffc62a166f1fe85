//! Bounds of memory, connections and file descriptors.

#[cfg(target_os = "linux")]
mod descriptors;
mod kept_memory;
