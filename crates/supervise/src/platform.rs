//! Names of platforms in bundle manifests: `linux-x64`, `darwin-arm64`, with their aliases.

/// What this machine may be called, the usual name first.
pub(crate) fn names() -> Vec<String> {
    let systems: &[&str] = match std::env::consts::OS {
        "macos" => &["darwin", "mac", "macos"],
        "windows" => &["win", "windows"],
        other => &[other],
    };
    let machines: &[&str] = match std::env::consts::ARCH {
        "x86_64" => &["x64", "amd64", "x86_64"],
        "aarch64" => &["arm64", "aarch64"],
        other => &[other],
    };
    let pairs = systems
        .iter()
        .flat_map(|system| machines.iter().map(move |machine| (system, machine)));
    pairs
        .map(|(system, machine)| format!("{system}-{machine}"))
        .collect()
}
