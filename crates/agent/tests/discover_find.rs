//! Finds all scheduled jobs below a directory, with their schedules, users, places and names. Reports what cannot be
//! read and what does not run.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod discover_common;

use std::collections::BTreeSet;
use std::fs;

use chrono::TimeDelta;
use discover_common::{Machine, at, entry, notation};
use innkeeper_agent::discover::machine::Cron;
use innkeeper_agent::discover::{Inventory, SourceKind, WatchedBy, table};

fn problems(found: &Inventory, place: &str) -> Vec<String> {
    let here = found.problems.iter().filter(|problem| problem.place.contains(place));
    here.map(|problem| problem.problem.clone()).collect()
}

#[test]
fn a_machine_of_debian() {
    let machine = Machine::new(Cron::Debian);
    machine.put(
        "etc/crontab",
        "SHELL=/bin/sh\n# comment\n17 *\t* * *\troot    cd / && run-parts --report /etc/cron.hourly\n\
         25 6\t* * *\troot\ttest -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron.daily; }\n\
         */10 8-18 * * 1-5 ada /opt/sync.sh --all\n",
    );
    machine.put(
        "etc/cron.d/own",
        "CRON_TZ=Asia/Tokyo\n0 9 1 * MON bob /opt/report%in%put\n@reboot root /opt/boot\n",
    );
    machine.put("etc/cron.d/backup.sh", "0 1 * * * root /dead\n");
    machine.put("etc/cron.d/.hidden", "0 1 * * * root /hidden\n");
    machine.put("etc/cron.daily/logrotate", "#!/bin/sh\n");
    machine.put("etc/cron.daily/trap.sh", "#!/bin/sh\n");
    machine.put("etc/cron.daily/asleep", "#!/bin/sh\n");
    machine.put("etc/cron.daily/.placeholder", "");
    machine.mode("etc/cron.daily/logrotate", 0o755);
    machine.mode("etc/cron.daily/trap.sh", 0o755);
    machine.spool("root", "0 2 * * * /usr/local/bin/backup.sh\n");
    machine.spool("ghost", "0 2 * * * /x\n");

    let found = machine.find();
    let hourly = entry(&found, "cron.hourly");
    assert_eq!(
        (notation(hourly).as_str(), hourly.place().as_str()),
        ("cron 17 * * * * Europe/Berlin", "/etc/crontab:3")
    );
    assert_eq!((hourly.app.as_str(), hourly.component.as_str()), ("web1", "cron.hourly"));
    assert_eq!((hourly.grace, hourly.kind), (TimeDelta::minutes(30), SourceKind::Crontab));
    assert_eq!(hourly.next, Some(at("2026-11-25T16:17:00Z")));
    let sync = entry(&found, "/opt/sync.sh");
    assert_eq!((sync.user.as_str(), sync.component.as_str()), ("ada", "sync"));
    assert_eq!(sync.grace, TimeDelta::minutes(5));
    let report = entry(&found, "/opt/report");
    assert_eq!(report.command, "/opt/report", "without its input");
    assert_eq!(notation(report), "cron 0 9 1 * MON Europe/Berlin");
    assert!(report.notes.iter().any(|note| note.contains("ignores CRON_TZ")), "{:?}", report.notes);
    let boot = entry(&found, "/opt/boot");
    assert_eq!((boot.schedule.clone(), boot.refusal.is_some()), (None, true));
    let script = entry(&found, "/etc/cron.daily/logrotate");
    assert_eq!(
        (script.kind, notation(script).as_str()),
        (SourceKind::Script, "cron 25 6 * * * Europe/Berlin")
    );
    assert_eq!(script.component, "cron.daily-logrotate");
    assert!(script.refusal.as_ref().unwrap().contains("/etc/crontab:4"));
    let backup = entry(&found, "backup.sh");
    assert_eq!((backup.user.as_str(), backup.place().as_str()), ("root", "crontab of root:1"));
    assert!(
        !found.entries.iter().any(|entry| entry.command.contains("dead") || entry.command.contains("hidden"))
    );
    assert!(problems(&found, "cron.d/backup.sh")[0].contains("'.'"));
    assert!(problems(&found, "trap.sh")[0].contains("run-parts ignores"));
    assert!(problems(&found, "asleep")[0].contains("not executable"));
    machine.put("etc/cron.yearly/x", "");
    assert!(problems(&machine.find(), "/etc/cron.yearly")[0].contains("nothing runs"));
    assert!(problems(&found, "crontabs/ghost")[0].contains("no user"));

    let text = table(&found);
    for part in [
        "web1/backup",
        "at 02:00, Europe/Berlin",
        "2026-11-26 02:00",
        "crontab of root:1",
        "Not read, or not run",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let json = serde_json::to_value(&found).unwrap();
    let first = &json["entries"][0];
    assert_eq!(first["schedule"], "cron 17 * * * * Europe/Berlin");
    assert_eq!(
        (&first["line"], &first["grace"], &first["watched"]),
        (&3.into(), &"30m".into(), &"no".into())
    );
}

#[test]
fn anacron_runs_what_debians_own_lines_leave_to_it() {
    let machine = Machine::new(Cron::Debian);
    machine.put(
        "etc/crontab",
        "25 6 * * * root test -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron.daily; }\n",
    );
    machine.put("etc/cron.daily/a", "");
    machine.mode("etc/cron.daily/a", 0o755);
    machine.put("etc/anacrontab", "START_HOURS_RANGE=3-22\nRANDOM_DELAY=45\n1\t5\tcron.daily\trun-parts --report /etc/cron.daily\n@monthly 10 big /opt/big | /opt/50%\n");
    let found = machine.find();
    assert!(problems(&found, "/etc/anacrontab")[0].contains("not installed"));
    assert_eq!(found.entries.len(), 2);
    machine.put("usr/sbin/anacron", "");
    let found = machine.find();
    let left = found.entries.iter().find(|entry| entry.kind == SourceKind::Crontab).unwrap();
    assert!(left.refusal.as_ref().unwrap().contains("anacron"));
    assert_eq!(left.schedule, None);
    let daily = found
        .entries
        .iter()
        .find(|entry| entry.kind == SourceKind::Anacron && entry.command.contains("daily"))
        .unwrap();
    assert_eq!((notation(daily).as_str(), daily.component.as_str()), ("every 1d", "cron.daily"));
    assert_eq!(daily.grace, TimeDelta::minutes(60 + 5 + 45 + 19 * 60));
    assert_eq!(entry(&found, "/opt/big").component, "big");
    let script = found.entries.iter().find(|entry| entry.kind == SourceKind::Script).unwrap();
    assert!(script.refusal.as_ref().unwrap().contains("/etc/anacrontab:3"));
}

#[test]
fn lines_that_leave_their_work_to_a_timer() {
    let machine = Machine::new(Cron::Debian);
    machine.put(
        "etc/cron.d/own",
        "30 3 * * 0 root test -e /run/systemd/system || SERVICE_MODE=1 /lib/scrub\n\
         0 1 * * * root test -x /usr/bin/certbot -a \\! -d /run/systemd/system && certbot -q renew\n\
         0 2 * * * root ls /run/systemd/system\n",
    );
    assert_eq!(machine.find().entries.iter().filter(|entry| entry.schedule.is_some()).count(), 3);
    fs::create_dir_all(machine.path("run/systemd/system")).unwrap();
    let found = machine.find();
    assert_eq!(found.entries.iter().filter(|entry| entry.schedule.is_some()).count(), 1);
    assert!(entry(&found, "certbot").refusal.as_ref().unwrap().contains("systemd"));
}

#[test]
fn a_machine_with_cronie() {
    let machine = Machine::new(Cron::Cronie);
    machine.put(
        "etc/cron.d/own.conf",
        "CRON_TZ=Asia/Tokyo\nRANDOM_DELAY=30\n-0 9 * * * root -n /opt/tokyo\n0~20 3 * * * root /opt/drawn\n\
         CRON_TZ=Nowhere\n0 1 * * * root /opt/lost\n0 25 * * * root /opt/wrong\n0 2 * * * nobody /opt/nobody\n",
    );
    machine.put(
        "var/spool/cron/ada",
        "0 3 30 2 * /opt/never\n5/20 * * * * /opt/refused\n0 4 * * * /opt/unended",
    );
    machine.mode("var/spool/cron/ada", 0o600);
    let found = machine.find();
    let tokyo = entry(&found, "/opt/tokyo");
    assert_eq!(notation(tokyo), "cron 0 9 * * * Asia/Tokyo");
    assert_eq!(tokyo.grace, TimeDelta::minutes(90));
    let drawn = entry(&found, "/opt/drawn");
    assert_eq!(
        (notation(drawn).as_str(), drawn.grace),
        ("cron 0 3 * * * Asia/Tokyo", TimeDelta::minutes(60 + 20 + 30))
    );
    let lost = entry(&found, "/opt/lost");
    assert!(lost.schedule.is_none() && lost.refusal.as_ref().unwrap().contains("Nowhere"));
    let never = entry(&found, "/opt/never");
    assert!(never.refusal.as_ref().unwrap().contains("never comes about"));
    let told = problems(&found, "own.conf");
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("\"25\"") && told[1].contains("\"nobody\""));
    assert_eq!(problems(&found, "crontab of ada").len(), 2);
    assert_eq!(found.entries.len(), 4);
}

#[test]
fn a_table_that_cron_ignores_is_told_and_expected_never() {
    let machine = Machine::new(Cron::Debian);
    machine.put("etc/cron.d/bad-line", "0 1 * * * root /one\n0 25 * * * root /two\n");
    machine.put("etc/cron.d/bad-mode", "0 1 * * * root /three\n");
    machine.mode("etc/cron.d/bad-mode", 0o664);
    machine.put("etc/cron.d/linked", "0 1 * * * root /four\n");
    fs::hard_link(machine.path("etc/cron.d/linked"), machine.path("etc/other")).unwrap();
    machine.spool("ada", "0 1 * * * /five\n");
    machine.mode("var/spool/cron/crontabs/ada", 0o644);
    machine.put("etc/cron.d/folder/x", "");
    std::os::unix::fs::symlink("/nowhere", machine.path("etc/cron.d/dangling")).unwrap();
    let found = machine.find();
    for command in ["/one", "/three", "/four", "/five"] {
        let entry = entry(&found, command);
        assert!(entry.schedule.is_none() && entry.next.is_none(), "{command}");
        assert!(entry.refusal.as_ref().unwrap().contains("ignores the whole table"), "{command}");
    }
    assert!(problems(&found, "bad-mode")[0].contains("0664"));
    assert!(problems(&found, "linked")[0].contains("hard links"));
    assert!(problems(&found, "folder")[0].contains("not a file"));
    assert!(problems(&found, "dangling")[0].contains("cannot be read"));
    assert!(machine.plan(&found).changes.is_empty());
}

#[test]
fn names_stay_when_lines_move_and_are_never_two() {
    let machine = Machine::new(Cron::Debian);
    let names = |table: &str| {
        machine.spool("ada", table);
        let found = machine.find();
        let name = |entry: &innkeeper_agent::discover::DiscoveredJob| {
            (entry.command.clone(), entry.component.clone())
        };
        found.entries.iter().map(name).collect::<BTreeSet<_>>()
    };
    let first = names("0 1 * * * /a/x 1\n0 2 * * * /b/x 2\n0 3 * * * /y\n");
    let moved = names("# new\n5 5 * * 1 /y\n@daily /b/x 2\n30 1 * * * /a/x 1\n");
    assert_eq!(first, moved);
    let same = names("0 1 * * * /z\n0 2 * * * /z\n0 3 * * * /z\n");
    assert_eq!(same.len(), 3, "{same:?}");
}

#[test]
fn who_watches_already() {
    let machine = Machine::new(Cron::Debian);
    machine.spool(
        "ada",
        "0 1 * * * /usr/bin/innkeeper-agent exec shop/nightly -- /a/one\n\
         0 2 * * * /usr/bin/innkeeper-agent exec web1/two -- /bin/sh -c 'two | x' #innkeeper%in\n\
         0 3 * * * /three && curl -fsS https://hc-ping.com/1\n",
    );
    let found = machine.find();
    let one = entry(&found, "/a/one");
    assert_eq!(
        (one.app.as_str(), one.component.as_str(), &one.watched),
        ("shop", "nightly", &WatchedBy::ByHand)
    );
    let two = entry(&found, "two | x");
    assert_eq!(
        (two.command.as_str(), two.component.as_str(), &two.watched),
        ("two | x", "two", &WatchedBy::Discover)
    );
    let three = entry(&found, "/three");
    assert_eq!(three.watched, WatchedBy::Other("Healthchecks"));
    let plan = machine.plan(&found);
    assert_eq!(plan.entries().count(), 1);
    let terms = found.reservations(&plan);
    assert_eq!(terms.iter().map(|terms| terms.component.as_str()).collect::<Vec<_>>(), ["two", "three"]);
    assert_eq!(
        terms[0].body(),
        serde_json::json!({"app": "web1", "component": "two", "cron": "0 2 * * *", "time_zone": "Europe/Berlin", "grace": "1h"})
    );
}

#[test]
fn timers_of_files() {
    let machine = Machine::new(Cron::Debian);
    let wanted = |name: &str| machine.put(&format!("etc/systemd/system/timers.target.wants/{name}"), "");
    machine.put(
        "usr/lib/systemd/system/trim.timer",
        "[Timer]\nOnCalendar=weekly\nAccuracySec=1h\nRandomizedDelaySec=6000\nPersistent=true\n",
    );
    machine.put(
        "usr/lib/systemd/system/trim.service",
        "[Unit]\nConditionACPower=true\n[Service]\nUser=ada\nExecStart=/sbin/fstrim \\\n  --all\n",
    );
    machine.put(
        "etc/systemd/system/tidy.timer",
        "[Timer]\nOnBootSec=15min\nOnUnitActiveSec=1d\nUnit=clean.service\n",
    );
    machine.put("etc/systemd/system/clean.service", "[Service]\nExecStart=/bin/clean\n");
    machine.put("etc/systemd/system/stays.timer", "[Timer]\nOnCalendar=daily\n");
    machine.put("etc/systemd/system/stays.service", "[Service]\nRemainAfterExit=yes\nExecStart=/bin/stays\n");
    machine.put("etc/systemd/system/boot.timer", "[Timer]\nOnBootSec=5min\n");
    machine.put("etc/systemd/system/boot.service", "[Service]\nExecStart=/bin/boot\n");
    machine.put("etc/systemd/system/off.timer", "[Timer]\nOnCalendar=daily\n");
    machine.put("etc/systemd/system/dump@.timer", "[Timer]\nOnCalendar=Mon..Fri 02:00 UTC\n");
    machine.put("etc/systemd/system/dump@.service", "[Service]\nExecStart=/bin/dump %i\n");
    for name in ["trim.timer", "tidy.timer", "stays.timer", "boot.timer", "dump@main.timer", "gone.timer"] {
        wanted(name);
    }
    machine.put("var/lib/systemd/linger/bob", "");
    machine.put("home/bob/.config/systemd/user/mine.timer", "[Timer]\nOnCalendar=hourly\n");
    machine.put("home/bob/.config/systemd/user/mine.service", "[Service]\nExecStart=/bin/mine\n");
    machine.put("home/bob/.config/systemd/user/timers.target.wants/mine.timer", "");
    let found = machine.find();
    let trim = entry(&found, "fstrim");
    assert_eq!(notation(trim), "calendar weekly Europe/Berlin");
    assert_eq!(trim.grace, TimeDelta::hours(2) + TimeDelta::seconds(6000));
    assert_eq!((trim.user.as_str(), trim.component.as_str()), ("ada", "trim"));
    assert_eq!(trim.place, "/usr/lib/systemd/system/trim.timer");
    assert_eq!(trim.next, Some(at("2026-11-29T23:00:00Z")));
    assert!(trim.notes.iter().any(|note| note.contains("conditions")));
    let tidy = entry(&found, "/bin/clean");
    assert_eq!((notation(tidy).as_str(), tidy.next), ("every 1d", None));
    assert_eq!(notation(entry(&found, "/bin/dump")), "calendar Mon..Fri 02:00 UTC");
    assert!(entry(&found, "/bin/stays").refusal.as_ref().unwrap().contains("RemainAfterExit"));
    assert!(entry(&found, "/bin/boot").refusal.as_ref().unwrap().contains("each start"));
    let mine = entry(&found, "/bin/mine");
    assert_eq!((mine.user.as_str(), mine.refusal.is_some()), ("bob", true));
    assert_eq!(found.entries.len(), 6, "what is not enabled is not scheduled");
}

#[test]
fn timers_of_systemctl_and_of_files_where_it_does_not_answer() {
    let mut machine = Machine::new(Cron::Debian);
    machine.put("etc/systemd/system/trim.timer", "[Timer]\nOnCalendar=daily\n");
    machine.put("etc/systemd/system/trim.service", "[Service]\nExecStart=/sbin/fstrim\n");
    machine.put("etc/systemd/system/timers.target.wants/trim.timer", "");
    let answers = "for a; do case $a in list-units) echo 'trim.timer loaded active waiting Discard'; exit;; \
                   show) printf 'Id=trim.timer\\nUnit=trim.service\\nTimersCalendar={ OnCalendar=Mon *-*-* 00:00:00 ; next_elapse=x }\\n\
                   RandomizedDelayUSec=1h\\nAccuracyUSec=1min\\n'; exit;; esac; done; exit 1\n";
    machine.options.systemctl = Some(machine.script("systemctl", answers));
    let found = machine.find();
    let trim = entry(&found, "fstrim");
    assert_eq!(
        (notation(trim).as_str(), trim.grace),
        ("calendar Mon *-*-* 00:00:00 Europe/Berlin", TimeDelta::minutes(121))
    );
    machine.options.systemctl = Some(machine.script("broken", "echo 'Host is down' >&2; exit 1\n"));
    let found = machine.find();
    assert_eq!(notation(entry(&found, "fstrim")), "calendar daily Europe/Berlin");
    assert!(problems(&found, "systemctl")[0].contains("Host is down"));
}

#[test]
fn whoever_is_not_root_sees_the_own_table() {
    let mut machine = Machine::new(Cron::Debian);
    machine.options.only_user = Some("ada".to_owned());
    machine.spool("bob", "0 1 * * * /of-bob\n");
    machine.options.crontab = Some(machine.script("crontab", "[ \"$*\" = -l ] && echo '0 2 * * * /own'\n"));
    let found = machine.find();
    assert_eq!(found.entries.len(), 1);
    assert_eq!(entry(&found, "/own").user, "ada");
    assert!(problems(&found, "/var/spool/cron")[0].contains("only root"));
    machine.options.crontab = Some(machine.script("none", "echo 'no crontab for ada' >&2; exit 1\n"));
    let found = machine.find();
    assert!(found.entries.is_empty() && problems(&found, "crontab of ada").is_empty());
    assert!(table(&found).starts_with("Nothing is scheduled here."));
    machine.options.crontab =
        Some(machine.script("denied", "echo 'You (ada) are not allowed' >&2; exit 1\n"));
    assert!(problems(&machine.find(), "crontab of ada")[0].contains("not allowed"));
}

#[test]
fn an_empty_directory_and_a_full_one_of_rubbish() {
    let machine = Machine::new(Cron::Debian);
    assert!(machine.find().entries.is_empty());
    machine.put("etc/crontab", b"\xff\0\xfe\n* * *\n\x1b[31m * * * * root x\n");
    machine.put("etc/anacrontab", b"\xff\xff \\\n\\\n\\");
    machine.put("usr/sbin/anacron", "");
    machine.put("etc/systemd/system/timers.target.wants/x.timer", "");
    machine.put("etc/systemd/system/x.timer", b"[Timer\n=\n\xff=\xff\nOnCalendar\n\\\n");
    let found = machine.find();
    assert!(!found.problems.is_empty());
    assert!(!table(&found).contains('\u{1b}'));
}
