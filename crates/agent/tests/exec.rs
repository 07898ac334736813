//! `exec` reports a job without changing its status, its output or its environment.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::io::Read as _;
use std::process::Stdio;
use std::time::Instant;

use common::instance::{Instance, Mode};
use common::{Home, nobody, ran};

#[test]
fn a_success_is_reported_with_its_start() {
    let (home, instance) = (Home::new(), Instance::open());
    let (status, out, err) =
        ran(&mut home.exec(&instance.url(), &["shop/backup", "--", "sh", "-c", "echo one; echo two >&2"]));
    assert_eq!((status, out.as_str(), err.as_str()), (Some(0), "one\n", "two\n"));
    assert_eq!(instance.kinds(), ["start", "success"]);
    let (start, end) = (instance.only("start"), instance.only("success"));
    assert_eq!((&end["app"], &end["component"]), (&"shop".into(), &"backup".into()));
    assert_eq!(start["run"], end["run"]);
    assert_ne!(start["key"], end["key"]);
    assert_eq!(end["exit_status"], 0);
    assert!(end.get("signal").is_none());
    let mut lines: Vec<&str> = end["output"].as_str().unwrap().lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["one", "two"]);
    assert!(end["peak_memory_bytes"].as_u64().unwrap() > 100_000);
    assert!(end["duration_ms"].as_u64().is_some() && end["ago_ms"].as_u64().is_some());
    // Neither the command line nor the environment is told.
    let told = format!("{:?}", instance.reports());
    assert!(!told.contains("echo") && !told.contains("PATH"), "{told}");
    assert_eq!(home.spooled(), 0, "{}", home.log());
    assert_eq!(std::fs::read_dir(home.state().join("runs")).unwrap().count(), 0);
}

#[test]
fn the_exit_status_is_the_commands() {
    let (home, instance) = (Home::new(), Instance::open());
    for (script, code, signal) in [
        ("exit 1", 1, None),
        ("exit 255", 255, None),
        ("kill -TERM $$", 143, Some("SIGTERM")),
        ("kill -KILL $$", 137, Some("SIGKILL")),
        ("kill -SEGV $$", 139, Some("SIGSEGV")),
        ("kill -HUP $$", 129, Some("SIGHUP")),
    ] {
        instance.came().reports.clear();
        let (status, out, err) = ran(&mut home.exec(&instance.url(), &["a/b", "--", "sh", "-c", script]));
        assert_eq!((status, out.as_str(), err.as_str()), (Some(code), "", ""), "{script}");
        let end = instance.only("fail");
        match signal {
            Some(signal) => assert!(end["signal"] == signal && end.get("exit_status").is_none(), "{end}"),
            None => assert!(end["exit_status"] == code && end.get("signal").is_none(), "{end}"),
        }
    }
}

#[test]
fn a_real_time_signal_is_named() {
    let (home, instance) = (Home::new(), Instance::open());
    let (status, ..) = ran(&mut home.exec(&instance.url(), &["a/b", "--", "sh", "-c", "kill -37 $$"]));
    assert_eq!(status, Some(128 + 37));
    assert_eq!(instance.only("fail")["signal"], "SIGRTMIN+3");
}

#[test]
fn what_cannot_be_started_is_told_as_a_shell_would() {
    let (home, instance) = (Home::new(), Instance::open());
    let plain = home.file("plain", "echo hi\n");
    let broken = home.file("broken", "#!/no/such/interpreter\n");
    std::fs::set_permissions(&broken, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for (command, code, words) in [
        ("/no/such/program", 127, "is not found"),
        ("no-such-program", 127, "is not found"),
        (plain.to_str().unwrap(), 126, "Permission denied"),
        (broken.to_str().unwrap(), 127, "interpreter"),
        ("/", 126, "cannot be run"),
    ] {
        instance.came().reports.clear();
        // Not even where somebody counts these as a success.
        let (status, out, err) =
            ran(&mut home.exec(&instance.url(), &["a/b", "--ok", "126,127", "--", command]));
        assert_eq!((status, out.as_str()), (Some(code), ""), "{command}");
        assert!(err.starts_with("innkeeper-agent: ") && err.contains(words), "{err}");
        let end = instance.only("fail");
        assert_eq!(end["exit_status"], code);
        assert!(end["output"].as_str().unwrap().contains(words), "{end}");
    }
    // A script that names no interpreter is one of the shell's, as it is for the shell.
    std::fs::set_permissions(&plain, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let (status, out, _) = ran(&mut home.exec(&instance.url(), &["a/b", "--", plain.to_str().unwrap()]));
    assert_eq!((status, out.as_str()), (Some(0), "hi\n"));
}

#[test]
fn a_hundred_megabytes_pass_byte_for_byte() {
    let (home, instance) = (Home::new(), Instance::open());
    let script = "(yes out | head -c 100000000) & (yes error | head -c 50000000 >&2) & wait";
    let mut child = home.exec(&instance.url(), &["a/b", "--", "sh", "-c", script]).spawn().unwrap();
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let errors = std::thread::spawn(move || count(&mut stderr, b"error\n"));
    assert_eq!(count(&mut stdout, b"out\n"), 100_000_000);
    assert_eq!(errors.join().unwrap(), 50_000_000);
    assert!(child.wait().unwrap().success());
    let output = instance.only("success")["output"].as_str().unwrap().to_owned();
    assert!(output.len() <= 10_000 && output.contains("bytes before this are left out]"), "{}", output.len());
}

/// Counts the bytes and checks that they are repetitions of `pattern`.
fn count(from: &mut impl std::io::Read, pattern: &[u8]) -> usize {
    let (mut total, mut chunk) = (0, vec![0; 1 << 16]);
    let long: Vec<u8> = pattern.iter().copied().cycle().take((1 << 16) + pattern.len()).collect();
    loop {
        let n = from.read(&mut chunk).unwrap();
        if n == 0 {
            return total;
        }
        let at = total % pattern.len();
        assert_eq!(chunk[..n], long[at..at + n]);
        total += n;
    }
}

#[test]
fn arguments_input_and_environment_reach_the_job_unchanged() {
    let (home, instance) = (Home::new(), Instance::open());
    let script = r#"printf '[%s]' "$@"; cat; env | grep -c '^INNKEEPER_RUN='; env | sort | grep -v INNKEEPER_RUN | md5sum"#;
    let mut with = home.exec(
        &instance.url(),
        &["a/b", "--", "sh", "-c", script, "sh", "exec", "a b", "", "--", "-v", "$x", "a%b"],
    );
    let mut without = std::process::Command::new("sh");
    without.args(["-c", script, "sh"]).current_dir(home.path()).env("INNKEEPER_SERVER", instance.url());
    home.clean(&mut without);
    without.env("INNKEEPER_SERVER", instance.url()).stdin(Stdio::null());
    let text = home.file("input", "from stdin\n");
    with.stdin(std::fs::File::open(text).unwrap());
    let (_, out, _) = ran(&mut with);
    let (_, bare, _) = ran(&mut without);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "[exec][a b][][--][-v][$x][a%b]from stdin");
    assert_eq!(lines[1], "1");
    assert_eq!(Some(&lines[2]), bare.lines().collect::<Vec<_>>().last(), "the same environment");
}

#[test]
fn umask_directory_and_signal_dispositions_are_handed_down() {
    let home = Home::new();
    let script = "umask; pwd; grep -E '^Sig(Blk|Ign)' /proc/self/status; \
                  ls /proc/self/fd | wc -l; ulimit -a; cat /proc/self/oom_score_adj; nice";
    let under = |prefix: &str, command: &str| {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &format!("umask 027; {prefix}; exec {command}")]).current_dir(home.path());
        home.clean(&mut shell);
        shell.env("INNKEEPER_SERVER", nobody()).stdin(Stdio::null());
        ran(&mut shell).1
    };
    let agent = env!("CARGO_BIN_EXE_innkeeper-agent");
    for prefix in [":", "trap '' HUP INT QUIT USR1"] {
        let with = under(prefix, &format!("{agent} exec a/b -- sh -c \"{script}\""));
        let without = under(prefix, &format!("sh -c \"{script}\""));
        assert_eq!(with, without, "{prefix}");
        assert!(with.starts_with("0027\n"));
    }
}

#[test]
fn a_pipeline_of_shell_fails_with_its_first_part() {
    let (home, instance) = (Home::new(), Instance::open());
    let (status, out, _) = ran(
        &mut home.exec(&instance.url(), &["a/b", "--shell", "echo $1 | cat; (exit 3) | cat", "--", "hi"])
    );
    assert_eq!((status, out.as_str()), (Some(3), "hi\n"));
    assert_eq!(instance.only("fail")["exit_status"], 3);
}

#[test]
fn without_bash_shell_is_refused_or_run_by_one_that_can() {
    let (home, instance) = (Home::new(), Instance::open());
    let mut command = home.exec(&instance.url(), &["a/b", "--shell", "(exit 3) | true"]);
    // The paths at which it is looked for beside PATH are those of this machine.
    command.env("PATH", home.path());
    let (status, _, err) = ran(&mut command);
    match status {
        Some(127) => assert!(err.contains("--shell needs bash"), "{err}"),
        other => assert_eq!(other, Some(3), "{err}"),
    }
}

#[test]
fn statuses_of_ok_are_a_success_and_stay_what_they_are() {
    let (home, instance) = (Home::new(), Instance::open());
    let (status, ..) =
        ran(&mut home.exec(&instance.url(), &["a/b", "--ok", "1,24", "--", "sh", "-c", "exit 24"]));
    assert_eq!(status, Some(24));
    assert_eq!(instance.only("success")["exit_status"], 24);
    let (status, ..) =
        ran(&mut home.exec(&instance.url(), &["a/b", "--ok", "143", "--", "sh", "-c", "kill $$"]));
    assert_eq!(status, Some(143));
    assert_eq!(instance.kinds(), ["start", "success", "start", "success"]);
}

#[test]
fn quiet_unless_fail_holds_back_until_it_knows() {
    let (home, instance) = (Home::new(), Instance::open());
    let quiet = |script: &str| {
        ran(&mut home.exec(&instance.url(), &["a/b", "--quiet-unless-fail", "--", "sh", "-c", script]))
    };
    assert_eq!(quiet("echo x; echo y >&2"), (Some(0), String::new(), String::new()));
    assert_eq!(quiet("echo x; echo y >&2; exit 2"), (Some(2), "x\n".to_owned(), "y\n".to_owned()));
    let (status, out, _) = quiet("yes | head -c 20000000; exit 1");
    assert_eq!((status, out.len()), (Some(1), 20_000_000));
    assert!(out.bytes().enumerate().all(|(n, byte)| byte == b"y\n"[n % 2]));
    assert!(instance.reports()[1]["output"].as_str().unwrap().contains('x'));
}

#[test]
fn one_destination_of_both_streams_keeps_their_order() {
    let (home, instance) = (Home::new(), Instance::open());
    let path = home.path().join("log");
    let file = std::fs::File::create(&path).unwrap();
    let script = "for n in $(seq 200); do echo out $n; echo err $n >&2; done";
    let mut command = home.exec(&instance.url(), &["a/b", "--", "sh", "-c", script]);
    assert!(command.stdout(file.try_clone().unwrap()).stderr(file).status().unwrap().success());
    let wanted: String = (1..=200).map(|n| format!("out {n}\nerr {n}\n")).collect();
    assert_eq!(std::fs::read_to_string(path).unwrap(), wanted);
}

#[test]
fn no_output_leaves_the_job_its_own() {
    let (home, instance) = (Home::new(), Instance::open());
    let path = home.path().join("log");
    let mut command =
        home.exec(&instance.url(), &["a/b", "--no-output", "--", "readlink", "/proc/self/fd/1"]);
    assert!(command.stdout(std::fs::File::create(&path).unwrap()).status().unwrap().success());
    assert_eq!(std::fs::read_to_string(&path).unwrap().trim(), path.to_str().unwrap());
    assert!(instance.only("success").get("output").is_none());
}

#[test]
fn secrets_are_masked_in_the_report_and_nowhere_else() {
    let (home, instance) = (Home::new(), Instance::open());
    let script = "printf 'key hun'; sleep 0.2; printf 'ter22\\ntoken=abc'; sleep 0.2; echo def end";
    let mut command = home.exec(
        &instance.url(),
        &["a/b", "--redact", "token=[a-z]+", "--redact-env", "PASS", "--", "sh", "-c", script],
    );
    let (_, out, _) = ran(command.env("PASS", "hunter22"));
    assert_eq!(out, "key hunter22\ntoken=abcdef end\n");
    assert_eq!(instance.only("success")["output"], "key [redacted]\n[redacted] end\n");
}

#[test]
fn a_reader_that_leaves_is_the_jobs_to_notice() {
    let (home, instance) = (Home::new(), Instance::open());
    let mut child = home.exec(&instance.url(), &["a/b", "--", "yes"]).spawn().unwrap();
    let mut some = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut some).unwrap();
    // `yes` ends by SIGPIPE, as it would without the agent.
    assert_eq!(child.wait().unwrap().code(), Some(141));
    assert_eq!(instance.only("fail")["signal"], "SIGPIPE");
}

#[test]
fn a_run_within_a_run_of_the_same_job_is_not_reported() {
    let (home, instance) = (Home::new(), Instance::open());
    let agent = env!("CARGO_BIN_EXE_innkeeper-agent");
    let inner = format!("{agent} exec a/b -- sh -c 'echo x; exit 3'; echo $?; {agent} exec a/other -- true");
    let (status, out, _) = ran(&mut home.exec(&instance.url(), &["a/b", "--", "sh", "-c", &inner]));
    assert_eq!((status, out.as_str()), (Some(0), "x\n3\n"));
    let components: Vec<String> = instance
        .reports()
        .iter()
        .map(|report| format!("{} {}", report["component"], report["kind"]))
        .collect();
    assert_eq!(
        components,
        ["\"b\" \"start\"", "\"other\" \"start\"", "\"other\" \"success\"", "\"b\" \"success\""]
    );
    // What a job leaves behind keeps the variable; it is within no run any more.
    let run = instance.only_run();
    let mut later = home.exec(&instance.url(), &["a/b", "--", "true"]);
    ran(later.env("INNKEEPER_RUN", run));
    assert_eq!(instance.kinds().iter().filter(|kind| *kind == "success").count(), 3);
}

#[test]
fn a_ping_address_is_enough() {
    let (home, instance) = (Home::new(), Instance::open());
    let ping = format!("{}/ping/0c2a3f0e-0000-4000-8000-000000000000", instance.url());
    let mut command = home.agent(&["exec", "--ping", &ping, "--", "false"]);
    let (status, ..) = ran(command.env("INNKEEPER_TOKEN", "secret"));
    assert_eq!(status, Some(1));
    let end = instance.only("fail");
    assert!(end.get("app").is_none() && end.get("component").is_none());
    let requests = instance.came().requests.clone();
    assert!(
        requests.iter().all(|(line, headers)| line.contains("/reports ") && !headers.contains("secret")),
        "{requests:?}"
    );
}

#[test]
fn a_token_goes_to_the_server_and_to_no_other() {
    let (home, instance, other) = (Home::new(), Instance::open(), Instance::open());
    let file = home.file("token", "hush\n");
    let run = |server: &str| {
        let mut command = home.exec(server, &["a/b", "--", "true"]);
        ran(command.env("INNKEEPER_TOKEN_FILE", &file))
    };
    run(&instance.url());
    let has_token = |instance: &Instance| {
        instance.came().requests.iter().any(|(_, headers)| headers.contains("Bearer hush"))
    };
    assert!(has_token(&instance));
    instance.now(Mode::Say(
        307,
        format!("Location: {}/elsewhere\r\n", other.url().replace("127.0.0.1", "localhost")),
        String::new(),
    ));
    let (status, out, err) = run(&instance.url());
    assert_eq!((status, out.as_str(), err.as_str()), (Some(0), "", ""));
    assert!(other.came().requests.is_empty());
    assert!(home.log().contains("redirects to "), "{}", home.log());
}

#[test]
fn a_moved_server_is_followed_with_the_whole_request() {
    let (home, instance, moved) = (Home::new(), Instance::open(), Instance::open());
    // The same host: only its port is another one.
    for status in [301, 302, 307, 308] {
        instance.now(Mode::Say(
            status,
            format!("Location: {}/new/api/v1/checkins\r\n", moved.url()),
            String::new(),
        ));
        let mut command = home.exec(&format!("{}/", instance.url()), &["a/b", "--", "true"]);
        ran(command.env("INNKEEPER_TOKEN", "hush"));
    }
    assert_eq!(moved.kinds(), ["start", "success"].repeat(4));
    // Another port may be another's: it is not shown the token.
    let has_token =
        |instance: &Instance| instance.came().requests.iter().any(|(_, headers)| headers.contains("hush"));
    assert!(has_token(&instance) && !has_token(&moved));
    assert!(instance.came().requests.iter().all(|(line, _)| line.starts_with("POST /api/v1/checkins ")));
}

#[test]
fn a_reservation_is_made_once_and_again_when_its_terms_change() {
    let (home, instance) = (Home::new(), Instance::open());
    let run = |grace: &str| {
        ran(&mut home.exec(&instance.url(), &["a/b", "--every", "1d", "--grace", grace, "--", "true"]))
    };
    run("1h");
    run("1h");
    assert_eq!(instance.came().terms.len(), 1);
    run("2h");
    let terms = instance.came().terms.clone();
    assert_eq!(
        terms[1],
        serde_json::json!({"app": "a", "component": "b", "frequency": 1, "time_units": "days", "grace": "2h"})
    );
    assert_eq!(terms.len(), 2);
    assert_eq!(instance.kinds().len(), 6);
    // It was checked out, or the server is a new one.
    let new = Instance::open();
    new.now(Mode::KnowsNothing);
    ran(&mut home.exec(&new.url(), &["a/b", "--every", "1d", "--grace", "2h", "--", "true"]));
    assert_eq!(new.came().terms.len(), 1);
    assert_eq!(new.kinds(), ["start", "success"]);
}

#[test]
fn a_wrong_command_line_runs_nothing_and_has_a_status_of_its_own() {
    let home = Home::new();
    let marker = home.path().join("ran");
    let touch = marker.to_str().unwrap();
    for arguments in [
        &["exec", "a/b", "touch", touch][..],
        &["exec", "--", "touch", touch],
        &["exec", "ab", "--", "touch", touch],
        &["exec", "a/b", "--every", "x", "--", "touch", touch],
        &["exec", "a/b", "--server", "ftp://x", "--", "touch", touch],
        &["exec", "a/b", "--no-such-option", "--", "touch", touch],
        &["exec", "a/b", "--"],
    ] {
        let (status, _, err) = ran(&mut home.agent(arguments));
        assert_eq!(status, Some(125), "{arguments:?}: {err}");
        assert!(!err.is_empty());
    }
    assert!(!marker.exists());
}

#[test]
fn the_start_is_reported_while_the_job_runs() {
    let (home, instance) = (Home::new(), Instance::open());
    let mut child = home.exec(&instance.url(), &["a/b", "--", "cat"]).stdin(Stdio::piped()).spawn().unwrap();
    common::wait_for("the start", || instance.kinds() == ["start"]);
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    assert_eq!(instance.kinds(), ["start", "success"]);
}

#[test]
fn output_passes_at_once() {
    let (home, instance) = (Home::new(), Instance::open());
    let mut child = home
        .exec(&instance.url(), &["a/b", "--", "sh", "-c", "printf now; cat"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    let mut said = [0; 3];
    child.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
    // It is here while the job waits for the end of its input.
    assert_eq!(&said, b"now");
    assert!(child.try_wait().unwrap().is_none(), "{:?}", begun.elapsed());
    drop(child.stdin.take());
    child.wait().unwrap();
}

trait Runs {
    fn only_run(&self) -> String;
}

impl Runs for Instance {
    /// The run id of the first report.
    fn only_run(&self) -> String {
        self.reports()[0]["run"].as_str().unwrap().to_owned()
    }
}
