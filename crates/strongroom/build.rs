//! Functions whose code is the same are in the binary once, and symbols not at all, where the
//! linker can do that. Cargo's own `strip` leaves symbols in a package whose profile is overridden.
//! Relocations are packed where the C library of the machine that builds can read such (ADR 9).

use std::process::Command;

/// The first glibc that reads packed relocations.
const READS_PACKED: (u32, u32) = (2, 36);

#[expect(
    clippy::disallowed_methods,
    reason = "Cargo tells build scripts what to build for by the environment"
)]
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let of = |name: &str| std::env::var(name).unwrap_or_default();
    // Rust's own linker on this platform is LLD.
    let is_lld = of("CARGO_CFG_TARGET_OS") == "linux"
        && of("CARGO_CFG_TARGET_ARCH") == "x86_64"
        && of("CARGO_CFG_TARGET_ENV") == "gnu";
    if is_lld && of("PROFILE") == "release" {
        println!("cargo:rustc-link-arg-bins=-Wl,--icf=all");
        println!("cargo:rustc-link-arg-bins=-Wl,--strip-all");
        let is_for_here = of("HOST") == of("TARGET");
        if is_for_here && glibc().is_some_and(|version| version >= READS_PACKED) {
            println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
        }
    }
}

/// The version of this machine's C library.
fn glibc() -> Option<(u32, u32)> {
    let asked = Command::new("getconf").arg("GNU_LIBC_VERSION").output();
    let printed = String::from_utf8(asked.ok()?.stdout).ok()?;
    let (major, minor) = printed.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
