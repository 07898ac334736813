//! Links the agent so that it takes little memory beside a job: at a fixed address, with as few shared libraries as can
//! be, and a release without symbols; each where the linker is known to take it.
//!
//! The tables of the time zones are full of addresses. A program that can lie anywhere has them corrected one by one when
//! it starts, which costs each agent two megabytes of memory of its own and a part of its start. Of a shared library some
//! pages are in memory for each program that names it, whatever that calls of it.

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
        // What is linked already is not looked for in a shared library.
        if let Some(directory) = directory_of("libgcc_eh.a") {
            println!("cargo:rustc-link-search=native={directory}");
            println!("cargo:rustc-link-lib=static=gcc_eh");
        }
    }
}

/// Where the C compiler that links for this machine has this archive; none where it has it not, or links for another.
fn directory_of(archive: &str) -> Option<String> {
    if std::env::var("HOST") != std::env::var("TARGET") {
        return None;
    }
    let found = Command::new("cc").arg(format!("-print-file-name={archive}")).output().ok()?;
    let path = String::from_utf8(found.stdout).ok()?;
    let directory = Path::new(path.trim()).parent().filter(|directory| directory.is_absolute())?;
    directory.to_str().map(str::to_owned)
}
