//! The four programs run to their end.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use innkeeper_testing::process::{PATIENCE, command};
use tempfile::TempDir;

/// The programs of the workspace.
pub const PROGRAMS: [&str; 4] = ["innkeeper", "ingest", "sweeper", "web"];
/// What no output may have in it.
pub const SECRET: &str = "hunter2";

/// Runs a program in `directory` to its end: exit code, standard output, standard error.
pub fn run(
    program: &str,
    directory: &Path,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> (Option<i32>, String, String) {
    let mut child = command(program, directory)
        .args(arguments)
        .envs(environment.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let end = Instant::now() + PATIENCE;
    while child.try_wait().expect("its state is known").is_none() {
        if Instant::now() > end {
            child.kill().expect("it can be killed");
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let output = child.wait_with_output().expect("its output");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A directory with this `innkeeper.toml`.
pub fn configured(text: &str) -> TempDir {
    let directory = TempDir::new().expect("a temporary directory");
    fs::write(directory.path().join("innkeeper.toml"), text).expect("the configuration is written");
    directory
}

/// The program refuses to start, and to say that its configuration is good, and says all of `parts`.
pub fn refused(program: &str, text: &str, environment: &[(&str, &str)], arguments: &[&str], parts: &[&str]) {
    let directory = configured(text);
    for command in [&["check-config"][..], &[], &["migrate"]] {
        let arguments = [arguments, command].concat();
        let (code, out, err) = run(program, directory.path(), &arguments, environment);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{program} {arguments:?} with {text:?}: {err}");
        for part in parts {
            assert!(err.contains(part), "{program} {arguments:?} with {text:?} does not say {part:?}: {err}");
        }
        assert!(!err.contains(SECRET) && !err.contains("panicked"), "{err}");
    }
    assert!(!directory.path().join("innkeeper-data").exists(), "{program}: nothing is made");
}
