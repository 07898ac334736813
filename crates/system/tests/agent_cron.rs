//! Tests the agent with Debian's real cron and real crontabs: with the agent in front, a line does the same and cron
//! mails the same as without it, its runs are reported, and all changes can be undone.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::process::{Child, Stdio};

use innkeeper_system::machine::{AGENT, Machine, USER};
use innkeeper_system::standalone::{Standalone, wait_for};
use serde_json::json;

/// A user's table. The jobs run every minute, which lasts ten seconds here.
const TABLE: &str = "# ada's jobs, with\ttabs and  blanks
MAILTO=ops@example.org
* * * * *	/usr/local/bin/backup --all
*/1 * * * *   /usr/local/bin/clean  'two words' \"$HOME\" # not for innkeeper
* * * * * /usr/local/bin/surroundings >new; umask >>new; pwd >>new; mv new surroundings
* * * * * cat >input; echo 100\\%; echo no mail >/dev/null%first line%with \\% in it
* * * * * cd /var && false | true && echo \"it's\" 'all' $((6*7))

* * * * * /usr/local/bin/innkeeper-agent exec web1/quiet --every 1d --quiet-unless-fail -- /usr/local/bin/noisy 0
* * * * * /usr/local/bin/innkeeper-agent exec web1/loud --every 1d --quiet-unless-fail -- /usr/local/bin/noisy 4
* * * * * env -i /usr/local/bin/innkeeper-agent exec web1/bare --every 1d -- /usr/local/bin/noisy 5
";
/// A file of `/etc/cron.d`, from a package or a person.
const SHOPS: &str = "SHELL=/bin/bash
MAILTO=\"\"
* * * * * ada\t[[ -d /etc ]] && /usr/local/bin/rotate >>/var/log/rotated
";
/// The machine's table.
const SYSTEM: &str = "SHELL=/bin/sh
PATH=/usr/local/bin:/usr/bin:/bin
MAILTO=\"\"
* * * * *\troot  report >>/var/log/reported # as root
";
const ROOTS: &str = "@reboot env -u HOME -u PATH /usr/local/bin/innkeeper-agent probe\n";
/// A stand-in for sendmail, which stores the mail.
const SENDMAIL: &str = "to=$(mktemp /var/mails/new.XXXXXX); cat >\"$to\"; mv \"$to\" \"$to.mail\"\n";

/// A machine with these tables, and an Innkeeper that its agent knows.
fn begin() -> (Machine, Standalone) {
    let (machine, inn) = (Machine::boot(), Standalone::start());
    let probe =
        format!("[probe.front]\nkind = \"tcp\"\nevery = \"2s\"\ntarget = \"{}\"\n", inn.server.address());
    machine.write("etc/innkeeper/agent.toml", &format!("server = \"{}\"\n{probe}", inn.server.url("")));
    machine.run("install", &["-d", "-m", "1777", "/var/mails"]);
    machine.run("rm", &["-f", "/usr/sbin/sendmail"]);
    machine.script("/usr/sbin/sendmail", SENDMAIL);
    let run = "echo \"run=$INNKEEPER_RUN\" >>\"$HOME/runs\"\n";
    machine.script("/usr/local/bin/backup", &format!("{run}echo copied 12 files\n"));
    machine.script("/usr/local/bin/clean", "echo \"no room: $*\" >&2\nexit 3\n");
    machine.script("/usr/local/bin/surroundings", "env | grep -v INNKEEPER_RUN | sort; cat; ulimit -a\n");
    machine.script("/usr/local/bin/noisy", "echo noise\nexit $1\n");
    machine.script("/usr/local/bin/report", "id -un\n");
    machine.script("/usr/local/bin/rotate", "echo rotated\n");
    machine.run("install", &["-m", "666", "/dev/null", "/var/log/rotated"]);
    machine.write("etc/crontab", SYSTEM);
    machine.write("etc/cron.d/shop", SHOPS);
    machine.write("root/tables/ada", TABLE);
    machine.write("root/tables/root", ROOTS);
    for user in [USER, "root"] {
        machine.run("crontab", &["-u", user, &format!("/root/tables/{user}")]);
    }
    (machine, inn)
}

/// Starts cron with a clock on which a minute takes ten seconds. The jobs have the true clock. Cron ends with the
/// machine.
fn start_cron(machine: &Machine) -> Child {
    let mut cron = machine.command("faketime", &["-f", "+0 x6", "/usr/sbin/cron", "-f", "-L", "15"]);
    cron.env("NO_FAKE_STAT", "1").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// The mails of cron: each subject, and the mail without its subject.
fn mails(machine: &Machine) -> Vec<(String, String)> {
    let all = std::fs::read_dir(machine.path("var/mails")).unwrap().flatten().map(|file| file.path());
    let whole = all.filter(|path| path.extension().is_some_and(|ending| ending == "mail"));
    let mail = |path| {
        let mail = std::fs::read_to_string(path).unwrap();
        let subject = mail.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap().to_owned();
        let rest = mail.replace(&format!("Subject: {subject}\n"), "");
        (subject, rest)
    };
    whole.map(mail).collect()
}

/// Waits for the mail of a command: whether its subject says that it failed, and the mail without its subject.
fn mail_of(machine: &Machine, command: &str) -> (bool, String) {
    wait_for(&format!("a mail of {command}"), || {
        let (subject, rest) = mails(machine).into_iter().find(|(subject, _)| {
            let rest = subject.strip_prefix("Cron <ada@web1> ");
            rest.is_some_and(|rest| rest.starts_with(command))
        })?;
        Some((subject.ends_with(" (failed)"), rest))
    })
}

/// Waits for the files that the next runs create.
fn next<const N: usize>(machine: &Machine, files: [(&str, &str); N]) -> [String; N] {
    for (path, _) in files {
        let _ = std::fs::remove_file(machine.path(path));
    }
    let whole = |path, end| Some(machine.read(path)).filter(|text: &String| text.ends_with(end));
    files.map(|(path, end)| wait_for(path, || whole(path, end)))
}

/// The environment, the input and the user of the jobs.
fn surroundings(machine: &Machine) -> [String; 3] {
    next(
        machine,
        [("home/ada/surroundings", "\n/home/ada\n"), ("home/ada/input", "\n"), ("var/log/reported", "\n")],
    )
}

#[test]
fn cron_runs_what_it_ran_and_each_run_is_told() {
    let (machine, inn) = begin();
    let mut cron = start_cron(&machine);
    let mailing = [
        ("backup", "/usr/local/bin/backup --all"),
        ("clean", "/usr/local/bin/clean "),
        ("cat", "cat >input; echo 100%; echo no mail >/dev/null"),
        ("false", "cd /var && false | true && echo \"it's\""),
    ];
    let around = surroundings(&machine);
    assert_eq!(around[1], "first line\nwith % in it\n");
    let mailed = mailing.map(|(_, command)| mail_of(&machine, command));
    assert!(mailed[1].0 && mailed[1].1.ends_with("\n\nno room: two words /home/ada\n"), "{mailed:?}");

    // Lines with the agent that were written by hand, with and without the environment that cron provides.
    let by_hand = |name: &str| mail_of(&machine, &format!("{AGENT} exec web1/{name}"));
    let (is_failed, loud) = by_hand("loud");
    assert!(is_failed && loud.ends_with("\n\nnoise\n"), "{loud}");
    assert!(mail_of(&machine, &format!("env -i {AGENT} exec web1/bare")).0);
    for (name, kind, status) in [("quiet", "success", 0), ("loud", "fail", 4), ("bare", "fail", 5)] {
        let end = inn.newest(name, kind);
        assert_eq!((&end["exit_code"], &end["notes"]), (&json!(status), &json!("noise\n")), "{end}");
    }
    // From @reboot.
    for component in ["front", "innkeeper-agent"] {
        inn.newest(component, "success");
    }

    machine.run(AGENT, &["discover", "--apply"]);
    for component in ["backup", "cat", "clean", "false", "report", "rotate", "surroundings"] {
        let (kind, status) = if component == "clean" { ("fail", 3) } else { ("success", 0) };
        let end = inn.newest(component, kind);
        let start = inn.history(component).into_iter().find(|one| {
            one["kind"] == "start" && one["run_id"] == end["run_id"] && one["run_id"].is_string()
        });
        assert!(start.is_some() && end["exit_code"] == status, "{component}: {end}");
        let reservation = inn.reservation(component);
        let every = if component == "clean" { "*/1 * * * *" } else { "* * * * *" };
        assert_eq!(
            (&reservation["cron"], &reservation["time_zone"]),
            (&json!(every), &json!("Europe/Berlin"))
        );
    }
    assert_eq!(inn.newest("backup", "success")["notes"], "copied 12 files\n");
    let alert = inn.alert("clean");
    assert!(alert["sentence"].to_string().contains("with exit status 3."), "{alert}");
    inn.server.wait_for_log("DOWN web1/clean: failed with exit status 3");
    let names = [
        "backup",
        "bare",
        "cat",
        "clean",
        "false",
        "front",
        "innkeeper-agent",
        "loud",
        "quiet",
        "report",
        "rotate",
        "surroundings",
    ];
    assert_eq!(inn.names(), names.map(|name| format!("web1/{name}")));

    // With the agent in front of them, the jobs have the same environment and input, and cause the same mails.
    assert_eq!(surroundings(&machine), around);
    let wrapped = mailing.map(|(name, _)| mail_of(&machine, &format!("{AGENT} exec web1/{name} -- ")));
    assert_eq!(wrapped, mailed);
    let about = |what: &str| mails(&machine).iter().filter(|(subject, _)| subject.contains(what)).count();
    assert_eq!((about("web1/quiet"), about("rotate"), about("report")), (0, 0, 0), "nobody is to be mailed");
    let rotated = machine.read("var/log/rotated");
    assert!(rotated.lines().count() > 1 && rotated.lines().all(|line| line == "rotated"), "{rotated}");

    // The changes are undone byte for byte, and cron runs the jobs without the agent again.
    machine.run(AGENT, &["discover", "--undo"]);
    let tables = [machine.run("crontab", &["-u", USER, "-l"]), machine.read("etc/cron.d/shop")];
    assert_eq!(tables, [TABLE, SHOPS]);
    assert_eq!(machine.read("etc/crontab"), SYSTEM);
    next(&machine, [("home/ada/runs", "run=\n")]);
    let reported = inn.history("backup").len();
    next(&machine, [("home/ada/runs", "run=\n")]);
    assert_eq!(inn.history("backup").len(), reported);
    assert!(cron.try_wait().unwrap().is_none(), "cron has run all the time");
}
