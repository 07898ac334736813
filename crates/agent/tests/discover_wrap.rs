//! A wrapped line, run as cron runs it, behaves like the original one. Unwrapping it restores the same bytes.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod discover_common;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use discover_common::script;
use innkeeper_agent::discover::machine::Cron;
use innkeeper_agent::discover::wrap::{Percent, Wrapping, unwrap};
use proptest::prelude::*;

/// Splits a line as cron does: the command for the shell, and its input. Only Debian's cron reads `\\` as one
/// backslash.
fn cron_reads(command: &[u8], cron: Cron) -> (Vec<u8>, Vec<u8>) {
    let mut text = Vec::new();
    let mut bytes = command.iter().copied();
    let mut is_escaped = false;
    let mut has_input = false;
    for byte in bytes.by_ref() {
        if is_escaped {
            if byte == b'%' || (byte == b'\\' && cron == Cron::Debian) {
                text.pop();
            }
            text.push(byte);
            is_escaped = false;
            continue;
        }
        if byte == b'%' {
            has_input = true;
            break;
        }
        is_escaped = byte == b'\\';
        text.push(byte);
    }
    let mut input = Vec::new();
    let mut is_escaped = false;
    for byte in bytes {
        match byte {
            b'%' if is_escaped => {
                input.pop();
                input.push(b'%');
            }
            b'%' => input.push(b'\n'),
            other => input.push(other),
        }
        is_escaped = byte == b'\\' && !is_escaped;
    }
    if has_input && !input.is_empty() && input.last() != Some(&b'\n') {
        input.push(b'\n');
    }
    (text, input)
}

fn run(command: &[u8], shell: &str, cron: Cron) -> Output {
    use std::os::unix::ffi::OsStrExt as _;
    let (text, input) = cron_reads(command, cron);
    let home = tempfile::tempdir().unwrap();
    let mut child = Command::new(shell)
        .arg("-c")
        .arg(std::ffi::OsStr::from_bytes(&text))
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", "/nonexistent")
        .env("SHELL", shell)
        .env("LOGNAME", "ada")
        .current_dir(home.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A job need not read its input.
    let _ = child.stdin.take().unwrap().write_all(&input);
    child.wait_with_output().unwrap()
}

/// A stand-in for the agent that only runs the job.
fn stand_in(directory: &Path) -> std::path::PathBuf {
    let text = "[ \"$1\" = exec ] || exit 125\nwhile [ \"$1\" != -- ]; do shift; done\nshift\nexec \"$@\"\n";
    script(directory, "innkeeper-agent", text)
}

fn check(command: &[u8], shell: &'static str, agent: &Path, with_errors: bool) {
    let wrapping = Wrapping { agent, app: "a", component: "b", flags: &[], shell, percent: Percent::Input };
    let Ok(wrapped) = wrapping.wrap(command, 0, false) else {
        let text = String::from_utf8_lossy(command);
        assert!(text.split('%').next().unwrap().trim().is_empty() || text.contains('\0'), "{text:?}");
        return;
    };
    assert_eq!(unwrap(&wrapped, Percent::Input).unwrap().command, command);
    for cron in [Cron::Debian, Cron::Cronie] {
        let bare = run(command, shell, cron);
        let through = run(&wrapped, shell, cron);
        let told = format!("{cron:?} {shell}: {:?}", String::from_utf8_lossy(&wrapped));
        assert_eq!(through.status.code(), bare.status.code(), "{told}\n{through:?}");
        assert_eq!(String::from_utf8_lossy(&through.stdout), String::from_utf8_lossy(&bare.stdout), "{told}");
        // What is said of a program that cannot be run names the one who tried it.
        if with_errors && !matches!(bare.status.code(), Some(126 | 127)) {
            assert_eq!(
                String::from_utf8_lossy(&through.stderr),
                String::from_utf8_lossy(&bare.stderr),
                "{told}"
            );
        }
    }
}

#[test]
fn odd_lines_do_what_they_did() {
    let directory = tempfile::tempdir().unwrap();
    let agent = stand_in(directory.path());
    for command in [
        "echo 'a  b' \"c  d\" $HOME",
        "cat%one%two\\%three",
        "cat %",
        "/bin/cat%in",
        "/bin/echo  a   b  ",
        "echo 50\\% \\\\ '\\%' \"\\\\\"",
        "echo a | tr a b && echo c; echo d",
        "false || exit 3",
        "exit 7",
        "FOO=1 sh -c 'echo $FOO'",
        "cd / && pwd",
        "[ -x /bin/sh ] && echo yes",
        "if true; then echo y; fi",
        "echo $(echo x) `echo y`",
        "awk 'BEGIN {print \"$1\"}'",
        "echo it\\'s \"it's\" 'it'\\''s'",
        "echo a # not this",
        "echo a#b",
        "echo 'unbalanced",
        "(echo sub; exit 4)",
        "{ echo group; }",
        "echo a\\",
        "echo x >/dev/null 2>&1",
        "echo err >&2",
        "for i in 1 2 3; do echo $i; done",
        "while read l; do echo \"<$l>\"; done%a  b%%c\\d",
        "echo $0 $# \"$@\"",
        "echo ~ *",
        "/no/such/program",
        "/etc/passwd",
        "no-such-program",
        "echo \\\\% x",
        "echo \\",
        "echo '\\'%in",
        "echo a\r",
        "echo \u{e9}\u{20ac}",
        "trap 'echo bye' EXIT; echo hi",
        "kill -9 $$",
        "kill -TERM $$",
        "exec echo replaced",
        "#only a comment",
        "-n x",
        "!",
    ] {
        for shell in ["/bin/sh", "/bin/bash"] {
            // Death by a signal: the agent ends with 128+n for its shell, as cron's own shell would.
            if command.starts_with("kill") {
                let wrapping = Wrapping {
                    agent: &agent,
                    app: "a",
                    component: "b",
                    flags: &[],
                    shell,
                    percent: Percent::Input,
                };
                let wrapped = wrapping.wrap(command.as_bytes(), 0, false).unwrap();
                assert!(!run(&wrapped, shell, Cron::Debian).status.success());
                continue;
            }
            check(command.as_bytes(), shell, &agent, true);
        }
    }
    check(b"echo \xff\xfe", "/bin/sh", &agent, true);
}

fn fragment() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-c '\"\\\\%{}();|<#~*!=-]{1,6}".prop_map(|text| text),
        1 => Just("echo ".to_owned()),
        1 => Just("cat".to_owned()),
        1 => Just(" \\% ".to_owned()),
        1 => Just("\\\\".to_owned()),
        1 => Just("$HOME".to_owned()),
        1 => Just("\"$(echo 'x  y')\"".to_owned()),
        1 => Just("`echo z`".to_owned()),
        1 => Just("'it'\\''s'".to_owned()),
        1 => Just(" && ".to_owned()),
        1 => Just("; exit 3".to_owned()),
        1 => Just(" | tr a b".to_owned()),
        1 => Just("%in put".to_owned()),
        1 => Just("/bin/echo a".to_owned()),
        1 => Just(" #innkeeper".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(120) })]

    #[test]
    fn any_line_does_what_it_did(fragments in prop::collection::vec(fragment(), 1..7)) {
        let directory = tempfile::tempdir().unwrap();
        let agent = stand_in(directory.path());
        // Two programs of a pipeline write their errors as it comes.
        check(fragments.concat().trim_start().as_bytes(), "/bin/sh", &agent, false);
    }

    #[test]
    fn any_bytes_come_back(command in prop::collection::vec(any::<u8>(), 0..60)) {
        let agent = Path::new(discover_common::AGENT);
        for percent in [Percent::Input, Percent::Itself, Percent::Unknown] {
            let wrapping = Wrapping { agent, app: "a", component: "b", flags: &[], shell: "/bin/sh", percent };
            if let Ok(wrapped) = wrapping.wrap(&command, 0, false) {
                prop_assert_eq!(unwrap(&wrapped, percent).unwrap().command, command.clone());
            }
        }
        // And none of them is taken for a change of discover's, whatever they are.
        prop_assert_eq!(unwrap(&command, Percent::Input), None);
    }
}
