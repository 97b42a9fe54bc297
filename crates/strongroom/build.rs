//! Functions whose code is the same are in the binary once, and symbols not at all, where the
//! linker can do that. Cargo's own `strip` leaves symbols in a package whose profile is overridden.

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
    }
}
