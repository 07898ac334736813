//! Links the agent so that it needs little memory: at a fixed address, with few shared libraries, and without symbols
//! in a release. Each option is only used if the linker is known to support it.
//!
//! The time zone tables contain many addresses. The loader relocates each of them in a position-independent program,
//! which costs every agent two megabytes of private memory and some time at its start. A shared library occupies some
//! pages of memory in each program that names it, even if nothing in it is called.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let of_target = |name: &str| std::env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    if of_target("OS") != "linux" || of_target("ENV") != "gnu" {
        return;
    }
    println!("cargo:rustc-link-arg-bins=-no-pie");
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        println!("cargo:rustc-link-arg-bins=-Wl,--strip-all");
        // A library that is linked statically is not needed as a shared one.
        if let Some(directory) = directory_of("libgcc_eh.a") {
            println!("cargo:rustc-link-search=native={directory}");
            println!("cargo:rustc-link-lib=static=gcc_eh");
        }
    }
}

/// The directory in which the C compiler finds `archive`; none if it does not have it or if this is a cross build.
fn directory_of(archive: &str) -> Option<String> {
    if std::env::var("HOST") != std::env::var("TARGET") {
        return None;
    }
    let found = Command::new("cc").arg(format!("-print-file-name={archive}")).output().ok()?;
    let path = String::from_utf8(found.stdout).ok()?;
    let directory = Path::new(path.trim()).parent().filter(|directory| directory.is_absolute())?;
    directory.to_str().map(str::to_owned)
}
