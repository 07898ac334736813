//! Tests a service whose user starts it in another user's home, with its configuration in `/etc/innkeeper`.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use innkeeper_testing::process::command;
use tempfile::TempDir;

/// Runs `check-config` as nobody in `home`, with `etc` in place of `/etc`. Returns the exit code and all output.
fn check(etc: &Path, home: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let program = command("innkeeper", home).get_program().to_owned();
    let script = "mount --make-rprivate / && mount --bind \"$1\" /etc && cd \"$2\" && shift 2 && \
                  exec setpriv --reuid=65534 --regid=65534 --clear-groups \"$@\" check-config";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .args([etc, home])
        .arg(program)
        .args(arguments)
        .output()
        .expect("unshare runs, as root");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn a_file_that_may_not_be_read_is_named_and_does_not_stop_it() {
    let (outer, etc) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let set = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    set(outer.path(), 0o755);
    set(etc.path(), 0o755);
    let home = outer.path().join("home");
    fs::create_dir(&home).unwrap();
    set(&home, 0o755);
    let (place, of_service) = (home.join("innkeeper.toml"), etc.path().join("innkeeper/innkeeper.toml"));
    let passed_over = "cannot read the configuration file ./innkeeper.toml: ";
    let is_used = "/etc/innkeeper/innkeeper.toml is used in its place";
    // Each way to make it inaccessible, and how to undo that.
    type Step<'a> = &'a dyn Fn();
    let write = || {
        fs::write(&place, "instance = \"home\"\n").unwrap();
        set(&place, 0o600);
    };
    let remove = || fs::remove_file(&place).unwrap();
    let directory = || fs::create_dir(&place).unwrap();
    let remove_directory = || fs::remove_dir(&place).unwrap();
    let link = || symlink("/nowhere/innkeeper.toml", &place).unwrap();
    let close = || set(&home, 0o700);
    let open = || set(&home, 0o755);
    let cases: [(&str, Step<'_>, Step<'_>); 4] = [
        ("Permission denied", &write, &remove),
        ("directory", &directory, &remove_directory),
        ("No such file", &link, &remove),
        ("Permission denied", &close, &open),
    ];
    for (why, make, unmake) in cases {
        make();
        let (code, said) = check(etc.path(), &home, &[]);
        assert_eq!(code, Some(1), "{why}: the defaults are not what it says: {said}");
        assert!(said.contains(passed_over) && said.contains(why), "{said}");
        fs::create_dir(etc.path().join("innkeeper")).unwrap();
        fs::write(&of_service, "instance = \"service\"\n").unwrap();
        let (code, said) = check(etc.path(), &home, &[]);
        assert_eq!(code, Some(0), "{why}: {said}");
        for part in [passed_over, why, is_used, "instance        service"] {
            assert!(said.contains(part), "{why}: {part}: {said}");
        }
        let (code, said) = check(etc.path(), &home, &["--config", "./innkeeper.toml"]);
        assert_eq!(code, Some(1), "{why}, and it was named: {said}");
        // The service's own configuration must be readable.
        set(&of_service, 0o600);
        let (code, said) = check(etc.path(), &home, &[]);
        assert_eq!(code, Some(1), "{why}: {said}");
        fs::remove_dir_all(etc.path().join("innkeeper")).unwrap();
        unmake();
    }
}
