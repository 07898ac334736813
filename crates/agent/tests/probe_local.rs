//! Probes of this machine: `command`, `disk`, `process` and `systemd-unit`, with real programs.

mod probe_support;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use innkeeper_agent::probe::{ProbeOutcome, ProbeStatus};
use innkeeper_testing::process::stat;
use probe_support::{assert_said, check, eventually};

/// A program in a directory of the test.
fn script(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    // Written by another program: a copy of our own open file, in what another test starts just then, would
    // keep it from being run.
    let mut tee =
        Command::new("tee").arg(&path).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("tee");
    let mut into = tee.stdin.take().expect("a pipe to tee");
    into.write_all(format!("#!/bin/sh\n{text}\n").as_bytes()).expect("a reader");
    drop(into);
    assert!(tee.wait().expect("its end").success());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a file of our own");
    path
}

/// The outcome of a plugin with this output.
fn plugin(text: &str, more: &str) -> ProbeOutcome {
    let directory = tempfile::tempdir().expect("a directory");
    let path = script(directory.path(), "check_it", text);
    check(&format!("kind = 'command'\ncommand = ['{}']\n{more}", path.display()))
}

fn runs(pid: &str) -> bool {
    stat(pid.trim().parse().expect("a number")).is_some_and(|stat| stat.is_alive())
}

#[test]
fn the_exit_status_alone_says_how_it_stands() {
    for (exit, status) in [
        (0, ProbeStatus::Ok),
        (1, ProbeStatus::Warning),
        (2, ProbeStatus::Critical),
        (3, ProbeStatus::Unknown),
    ] {
        // The word in the text does not count.
        for word in ["OK", "CRITICAL"] {
            let outcome = plugin(&format!("echo 'DISK {word} - all'; exit {exit}"), "");
            assert_said(&outcome, status, &format!("DISK {word} - all"));
        }
    }
    for (end, says) in [
        ("exit 4", "exit status 4, which is not in 0 to 3: half"),
        ("exit 255", "exit status 255"),
        ("exit 126", "exit status 126: it cannot be executed: half"),
        ("exit 127", "exit status 127: it, or a program that it needs, was not found: half"),
        ("kill -9 $$", "ended by SIGKILL: half"),
        ("kill -TERM $$", "ended by SIGTERM"),
    ] {
        assert_said(&plugin(&format!("echo half\n{end}"), ""), ProbeStatus::Unknown, says);
    }
}

#[test]
fn a_first_line_more_lines_and_performance_data() {
    let directory = tempfile::tempdir().unwrap();
    let said = directory.path().join("said");
    let text = "LOAD OK - 0.5, 0.4 | load1=0.5;5;10;0 load5=0.4\r\nmore \u{1b}[31mred\u{1b}[0m\n\
                last|'a b'=3MB;;\nbad=1,5 x c=7c;";
    fs::write(&said, text).unwrap();
    let outcome = plugin(&format!("cat {}", said.display()), "");
    assert_said(&outcome, ProbeStatus::Ok, "LOAD OK - 0.5, 0.4");
    assert!(!outcome.summary.contains('|'));
    assert_eq!(outcome.details, "more red\nlast\n");
    let figures: Vec<(&str, f64, &str)> = outcome
        .figures
        .iter()
        .filter(|(name, _)| *name != "time_ms")
        .map(|(name, figure)| (name.as_str(), figure.value, figure.unit.as_str()))
        .collect();
    assert_eq!(figures, [("a b", 3.0, "MB"), ("c", 7.0, "c"), ("load1", 0.5, ""), ("load5", 0.4, "")]);
}

#[test]
fn odd_performance_data_never_changes_how_it_stands() {
    for data in ["time=0,012888s", "a=", "=5", "'a", "\"a b\"=1", "|||", "a=1;2;3;4;5;6;7", "a=nan", "%%%"] {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("said"), format!("fine | {data}\n")).unwrap();
        let path = script(directory.path(), "check_it", &format!("cat {}/said", directory.path().display()));
        let outcome = check(&format!("kind = 'command'\ncommand = ['{}']", path.display()));
        assert_said(&outcome, ProbeStatus::Ok, "fine");
        assert!(outcome.figures.values().all(|figure| figure.value.is_finite()));
    }
}

#[test]
fn what_it_says_when_it_says_nothing() {
    assert_said(&plugin("echo 'no such | file' >&2; exit 2", ""), ProbeStatus::Critical, "no such ¦ file");
    assert_said(&plugin("echo warned >&2; echo fine", ""), ProbeStatus::Ok, "fine");
    assert!(!plugin("echo warned >&2; echo fine", "").text().contains("warned"), "only stdout counts");
    assert_said(&plugin("exit 1", ""), ProbeStatus::Warning, "it has no output");
    assert_said(&plugin("printf '\\n\\n  late\\n'", ""), ProbeStatus::Ok, "late");
}

#[test]
fn how_it_is_started() {
    let said = |text: &str, more: &str| plugin(text, more).summary;
    assert_eq!(said("echo \"$LC_ALL\"", ""), "C");
    assert_eq!(said("pwd", ""), "/");
    assert_eq!(said("pwd", "directory = '/tmp'"), "/tmp");
    assert_eq!(said("cat; echo end", ""), "end", "it gets no input");
    let words =
        check("kind = 'command'\ncommand = ['echo', '<{target}>', '$TARGET;', 'b c']\ntarget = 'x; y'");
    assert_said(&words, ProbeStatus::Ok, "<x; y> $TARGET; b c");
    let shell =
        check("kind = 'command'\nshell = 'echo \"$TARGET\" | tr a-z A-Z'\ntarget = \"a; echo $(id)\"");
    assert_said(&shell, ProbeStatus::Ok, "A; ECHO $(ID)");
    assert_said(
        &check("kind = 'command'\ncommand = ['/no/such/plugin']"),
        ProbeStatus::Unknown,
        "cannot run /no/such/plugin: No such file or directory",
    );
    let plain = tempfile::NamedTempFile::new().unwrap();
    let plain = check(&format!("kind = 'command'\ncommand = ['{}']", plain.path().display()));
    assert_said(&plain, ProbeStatus::Unknown, "Permission denied");
    assert_said(
        &check("kind = 'command'\ncommand = ['true']\ndirectory = '/none'"),
        ProbeStatus::Unknown,
        "cannot run true",
    );
}

#[test]
fn the_agents_own_variables_are_not_its_own() {
    const SECRET: &str = "INNKEEPER_TOKEN";
    if std::env::var_os(SECRET).is_some() {
        assert_eq!(plugin("env | grep -c INNKEEPER_; true", "").summary, "0");
        return;
    }
    let program = std::env::current_exe().unwrap();
    let mut again = Command::new(program);
    again.args(["--exact", "the_agents_own_variables_are_not_its_own"]).env(SECRET, "hunter2");
    let output = again.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn one_that_hangs_is_ended_with_all_that_it_has_started() {
    let directory = tempfile::tempdir().unwrap();
    let pid_file = directory.path().join("pid");
    let text = format!("sleep 600 & echo $! > {}\necho so far\nwait", pid_file.display());
    let outcome = plugin(&text, "timeout = '3s'");
    assert_said(&outcome, ProbeStatus::Unknown, "timed out after 3s: so far");
    let child = fs::read_to_string(&pid_file).unwrap();
    eventually("the child is ended too", || !runs(&child));
}

#[test]
fn one_that_heeds_no_term_is_killed_whatever_it_says_then() {
    let begun = Instant::now();
    let outcome = plugin("trap '' TERM\necho hanging\nwhile :; do sleep 0.1; done", "timeout = '3s'");
    assert_said(&outcome, ProbeStatus::Unknown, "timed out after 3s: hanging");
    assert!(begun.elapsed() >= Duration::from_secs(5), "it was given two seconds");
    // One that ends well after TERM has timed out all the same.
    let outcome = plugin("trap 'echo fine; exit 0' TERM\nwhile :; do sleep 0.1; done", "timeout = '3s'");
    assert_said(&outcome, ProbeStatus::Unknown, "timed out after 3s: fine");
}

#[test]
fn what_it_leaves_in_the_background_holds_nothing_up_and_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let pid_file = directory.path().join("pid");
    let outcome =
        plugin(&format!("sleep 300 & echo $! > {}\necho done", pid_file.display()), "timeout = '60s'");
    assert_said(&outcome, ProbeStatus::Ok, "done");
    let child = fs::read_to_string(&pid_file).unwrap();
    assert!(runs(&child));
    let pid = rustix::process::Pid::from_raw(child.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn output_without_end_is_cut_and_says_so() {
    let outcome =
        plugin("echo first\nyes 'line é' | head -c 3000000\necho; exit 1", "output_limit = '10KiB'");
    assert_said(&outcome, ProbeStatus::Warning, "first");
    assert!(
        outcome.details.len() < 11_000 && outcome.details.contains(" bytes left out ...]"),
        "{}",
        outcome.details.len()
    );
    let endless = plugin("exec yes", "timeout = '3s'");
    assert_said(&endless, ProbeStatus::Unknown, "timed out after 3s: y");
    let line = plugin("head -c 100000 /dev/zero | tr '\\0' x", "");
    assert_said(&line, ProbeStatus::Ok, "xxx");
    assert!(line.summary.chars().count() == 300 && line.summary.ends_with('…'));
    let odd = plugin("printf 'a\\000b\\377c\\n'", "");
    assert_eq!(odd.summary, "a\u{fffd}b\u{fffd}c");
}

#[test]
fn space_and_inodes_of_a_real_file_system() {
    let disk = |more: &str| check(&format!("kind = 'disk'\ntarget = '/tmp'\n{more}"));
    let lax = "min_free = '0%'\nwarn_free = '0%'\nmin_inodes = '0%'\nwarn_inodes = '0%'";
    let outcome = disk(lax);
    assert_said(&outcome, ProbeStatus::Ok, "/tmp has ");
    let df = Command::new("df").args(["--output=avail,ipcent", "-B1", "/tmp"]).output().unwrap();
    let free: f64 = String::from_utf8_lossy(&df.stdout).split_whitespace().nth(2).unwrap().parse().unwrap();
    let found = outcome.figures["free_bytes"].value;
    assert!((found - free).abs() < 5e9, "as df counts it: {found} {free}");
    let percent = outcome.figures["free_percent"].value;
    assert!((0.0..=100.0).contains(&percent));
    assert_said(
        &disk("min_free = '100%'\nmin_inodes = '0%'\nwarn_inodes = '0%'"),
        ProbeStatus::Critical,
        "free space: ",
    );
    assert_said(
        &disk("min_free = '0%'\nwarn_free = '900TB'\nmin_inodes = '0%'\nwarn_inodes = '0%'"),
        ProbeStatus::Warning,
        "less than 818.5 TiB",
    );
    assert_said(
        &check("kind = 'disk'\ntarget = '/no/such/path'"),
        ProbeStatus::Critical,
        "/no/such/path: No such file or directory",
    );
    assert_said(
        &check(&format!("kind = 'disk'\ntarget = '/proc'\nmounted = true\n{lax}")),
        ProbeStatus::Ok,
        "/proc has ",
    );
    assert_said(
        &check(&format!("kind = 'disk'\ntarget = '/'\nmounted = true\n{lax}")),
        ProbeStatus::Ok,
        "/ has ",
    );
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().display().to_string();
    assert_said(
        &check(&format!("kind = 'disk'\ntarget = '{path}'\nmounted = true\n{lax}")),
        ProbeStatus::Critical,
        "nothing is mounted at",
    );
}

/// A process that is killed at the end of the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn processes_by_name_and_by_pid_file() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("ik-probe-process");
    assert!(Command::new("cp").arg("/bin/sleep").arg(&program).status().unwrap().success());
    let find = |more: &str| check(&format!("kind = 'process'\ntarget = 'ik-probe-process'\n{more}"));
    assert_said(&find(""), ProbeStatus::Critical, "no process ik-probe-process runs");
    assert_said(&find("min = 0\nmax = 0"), ProbeStatus::Ok, "no process");
    let start = |seconds: &str| Process(Command::new(&program).arg(seconds).spawn().unwrap());
    let (one, two) = (start("601"), start("602"));
    let outcome = find("");
    assert_said(&outcome, ProbeStatus::Ok, "2 processes ik-probe-process run");
    assert_eq!(outcome.figures["processes"].value, 2.0);
    assert_said(&find("arguments = '602'"), ProbeStatus::Ok, &format!("runs (pid {})", two.0.id()));
    assert_said(&find("max = 1"), ProbeStatus::Critical, "at most 1 should");
    assert_said(&find("min = 3"), ProbeStatus::Critical, "at least 3 should");

    let pid_file = directory.path().join("a.pid");
    let by_file = || check(&format!("kind = 'process'\ntarget = '{}'", pid_file.display()));
    assert_said(&by_file(), ProbeStatus::Critical, "No such file");
    fs::write(&pid_file, format!("{}\n", one.0.id())).unwrap();
    assert_said(&by_file(), ProbeStatus::Ok, &format!("pid {}", one.0.id()));
    let gone = one.0.id();
    drop(one);
    assert_said(&by_file(), ProbeStatus::Critical, &format!("there is no process {gone}"));
    fs::write(&pid_file, "none\n").unwrap();
    assert_said(&by_file(), ProbeStatus::Critical, "does not contain a process id");
    // One that is dead and that nobody has waited for does not run.
    let mut dead = Command::new("/bin/true").spawn().unwrap();
    fs::write(&pid_file, dead.id().to_string()).unwrap();
    eventually("it is dead", || !runs(&dead.id().to_string()));
    assert_said(&by_file(), ProbeStatus::Critical, "is dead and not reaped");
    dead.wait().unwrap();
}

#[test]
fn units_as_systemctl_shows_them_and_where_there_is_no_systemd() {
    let directory = tempfile::tempdir().unwrap();
    let unit = |answer: &str| {
        let systemctl = script(directory.path(), "systemctl", answer);
        check(&format!(
            "kind = 'systemd-unit'\ntarget = 'nginx'\ntimeout = '500ms'\nsystemctl = '{}'",
            systemctl.display()
        ))
    };
    let show = "[ \"$*\" = \"show --no-pager --property LoadState,ActiveState,SubState,Result,NRestarts,ExecMainStatus,UnitFileState,StateChangeTimestamp -- nginx.service\" ] || exit 9\n";
    let active = format!(
        "{show}printf 'LoadState=loaded\\nActiveState=active\\nSubState=running\\nResult=success\\n'"
    );
    assert_said(&unit(&active), ProbeStatus::Ok, "nginx.service is active (running)");
    let failed = format!(
        "{show}printf 'LoadState=loaded\\nActiveState=failed\\nSubState=failed\\nResult=oom-kill\\nExecMainStatus=9\\n'"
    );
    assert_said(
        &unit(&failed),
        ProbeStatus::Critical,
        "nginx.service is failed (failed), its result: oom-kill, exit status 9",
    );
    let offline = "echo 'System has not been booted with systemd as init system (PID 1).' >&2; exit 1";
    assert_said(
        &unit(offline),
        ProbeStatus::Unknown,
        "systemctl cannot show the state of nginx.service: System has not been booted",
    );
    assert_said(&unit("sleep 60"), ProbeStatus::Unknown, "systemctl: timed out after 500ms");
    let none = check("kind = 'systemd-unit'\ntarget = 'a.timer'\nsystemctl = '/no/systemctl'");
    assert_said(&none, ProbeStatus::Unknown, "cannot run /no/systemctl");
}
