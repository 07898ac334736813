//! Changes are shown before they are made, are made only once, and are reverted byte for byte.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod discover_common;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;

use discover_common::{Machine, at, entry};
use innkeeper_agent::discover::apply::{ApplyOutcome, apply};
use innkeeper_agent::discover::machine::Cron;
use innkeeper_agent::discover::plan::{DiscoverPlan, PlanOptions};
use innkeeper_agent::discover::record::DiscoverRecord;
use innkeeper_agent::discover::source::WrapTarget;
use innkeeper_agent::discover::undo::undo;
use innkeeper_agent::discover::{Inventory, WatchedBy};
use proptest::prelude::*;

impl Machine {
    fn apply(&self, found: &Inventory) -> Vec<ApplyOutcome> {
        apply(&self.plan(found), found, &self.state(), &self.options).unwrap()
    }

    fn apply_all(&self) -> Vec<ApplyOutcome> {
        let outcomes = self.apply(&self.find());
        assert!(outcomes.iter().all(|outcome| outcome.done), "{outcomes:?}");
        outcomes
    }

    fn undo(&self) -> Vec<ApplyOutcome> {
        undo(&self.find(), &self.state(), &self.options).unwrap()
    }

    fn files(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(directory)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

const OWN: &str =
    "# mine\nMAILTO=\"a  b\"\n\n  0 2 * * *\troot  cd /x && ./y  'q'%in\n@daily ada /opt/z\n#end\n";

#[test]
fn a_diff_then_the_change_then_nothing_more() {
    let machine = Machine::new(Cron::Debian);
    machine.put("etc/cron.d/own", OWN);
    machine.mode("etc/cron.d/own", 0o640);
    let found = machine.find();
    let plan = machine.plan(&found);
    let diff = plan.diff();
    for line in [
        "--- /etc/cron.d/own",
        "+++ /etc/cron.d/own",
        "-  0 2 * * *\troot  cd /x && ./y  'q'%in",
        "+  0 2 * * *\troot  /usr/bin/innkeeper-agent exec web1/y -- /bin/sh -c 'cd /x && ./y  '\\''q'\\''' #innkeeper%in",
        "+@daily ada /usr/bin/innkeeper-agent exec web1/z -- /opt/z #innkeeper",
        " #end",
    ] {
        assert!(diff.lines().any(|have| have == line), "{line}\n{diff}");
    }
    assert_eq!(machine.read("etc/cron.d/own"), OWN, "a plan changes nothing");

    let before = fs::metadata(machine.path("etc/cron.d/own")).unwrap();
    machine.apply_all();
    let after = fs::metadata(machine.path("etc/cron.d/own")).unwrap();
    assert_eq!(
        (after.mode(), after.uid(), after.gid(), after.nlink()),
        (before.mode(), before.uid(), before.gid(), 1)
    );
    assert_ne!(after.mtime(), before.mtime(), "cron sees the change, which compares whole seconds");
    let files = machine.files("etc/cron.d");
    assert_eq!(files, [".own.innkeeper-20261125T155000Z", "own"]);
    let backup = machine.path("etc/cron.d/.own.innkeeper-20261125T155000Z");
    assert_eq!(fs::read_to_string(&backup).unwrap(), OWN);
    assert_eq!(fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o600);

    let again = machine.find();
    assert!(again.entries.iter().all(|entry| entry.watched == WatchedBy::Discover));
    let plan = machine.plan(&again);
    assert!(plan.changes.is_empty() && plan.refused.is_empty() && plan.diff().is_empty());
    assert_eq!(again.reservations(&plan).len(), 2);

    let undone = machine.undo();
    assert!(undone[0].done && undone[0].says.contains("byte for byte"), "{undone:?}");
    assert_eq!(machine.read("etc/cron.d/own"), OWN);
    assert_eq!(machine.files("etc/cron.d"), ["own"]);
    assert!(machine.undo().is_empty(), "nothing is left to take back");
}

#[test]
fn what_was_changed_since_keeps_its_changes() {
    let mut machine = Machine::new(Cron::Debian);
    machine.put("etc/cron.d/own", OWN);
    machine.apply_all();
    let edited = machine.read("etc/cron.d/own").replace("  0 2 * * *", "5 5 * * 1") + "0 9 * * * bob /new\n";
    machine.put("etc/cron.d/own", &edited);
    let undone = machine.undo();
    assert!(
        undone[0].done && undone[0].says.contains("was changed after 2026-11-25T15:50:00Z"),
        "{undone:?}"
    );
    assert!(undone[0].says.contains(".own.innkeeper-"));
    let expected = OWN.replace("  0 2 * * *", "5 5 * * 1") + "0 9 * * * bob /new\n";
    assert_eq!(machine.read("etc/cron.d/own"), expected);

    // A line that came later is wrapped later, and all of it is taken back at once.
    machine.apply_all();
    let more = machine.read("etc/cron.d/own") + "0 8 * * * bob /later\n";
    machine.put("etc/cron.d/own", &more);
    machine.options.now = at("2026-11-26T00:00:00Z");
    let outcomes = machine.apply_all();
    assert!(outcomes[0].says.contains("one job"), "{outcomes:?}");
    let undone = machine.undo();
    assert!(undone[0].says.contains("byte for byte"), "{undone:?}");
    assert_eq!(machine.read("etc/cron.d/own"), expected + "0 8 * * * bob /later\n");
}

#[test]
fn a_table_that_is_gone_is_told_once() {
    let machine = Machine::new(Cron::Debian);
    machine.put("etc/cron.d/own", OWN);
    machine.apply_all();
    fs::remove_file(machine.path("etc/cron.d/own")).unwrap();
    let undone = machine.undo();
    assert!(undone[0].done && undone[0].says.contains(".own.innkeeper-"), "{undone:?}");
    assert!(machine.undo().is_empty());
}

#[test]
fn a_change_in_between_is_never_lost() {
    let machine = Machine::new(Cron::Debian);
    machine.put("etc/cron.d/own", OWN);
    let found = machine.find();
    let plan = machine.plan(&found);
    machine.put("etc/cron.d/own", "0 1 * * * root /quite/another\n");
    let outcomes = apply(&plan, &found, &machine.state(), &machine.options).unwrap();
    assert!(!outcomes[0].done && outcomes[0].says.contains("changed since it was read"), "{outcomes:?}");
    assert_eq!(machine.read("etc/cron.d/own"), "0 1 * * * root /quite/another\n");
    assert_eq!(machine.files("etc/cron.d"), ["own"]);
}

#[test]
fn a_name_stays_though_the_change_is_taken_back() {
    let mut machine = Machine::new(Cron::Debian);
    machine.put("etc/cron.d/own", "0 1 * * * root /a/x 1\n");
    machine.apply_all();
    machine.undo();
    machine.put("etc/cron.d/own", "0 1 * * * root /b/x 2\n0 7 * * 1 root /a/x 1\n");
    machine.options.names = DiscoverRecord::read(&machine.state()).unwrap().names;
    let found = machine.find();
    assert_eq!(entry(&found, "/a/x 1").component, "x");
    assert_ne!(entry(&found, "/b/x 2").component, "x");
}

/// A `crontab` program that keeps tables as files with Debian's header and rejects some invalid ones.
fn crontab(machine: &Machine) -> PathBuf {
    let tables = machine.path("var/spool/cron/crontabs");
    fs::create_dir_all(&tables).unwrap();
    machine.script(
        "crontab",
        &format!(
            "user=ada; [ \"$1\" = -u ] && {{ user=$2; shift 2; }}\ntable={}/$user\ncase $1 in\n\
             -l) [ -e $table ] || {{ echo \"no crontab for $user\" >&2; exit 1; }}; tail -n +4 $table;;\n\
             -) cat > $table.new; if grep -q REFUSE $table.new; then rm $table.new; echo 'bad minute' >&2; exit 1; fi\n\
             {{ echo '# DO NOT EDIT THIS FILE - edit the master and reinstall.'; echo '# (x)'; echo '# (y)'; cat $table.new; }} > $table\n\
             chmod 600 $table; rm $table.new;;\nesac\n",
            tables.display()
        ),
    )
}

#[test]
fn users_tables_go_through_their_program() {
    let mut machine = Machine::new(Cron::Debian);
    machine.options.crontab = Some(crontab(&machine));
    const HEADER: &str = "# DO NOT EDIT THIS FILE - edit the master and reinstall.\n# (x)\n# (y)\n";
    let table = "# of ada\n0 2 * * * a | b\n";
    machine.spool("ada", format!("{HEADER}{table}"));
    let long: String = (0..4000).map(|n| format!("0 3 * * * /opt/job {n}\n")).collect();
    machine.spool("bob", format!("{HEADER}{long}"));
    let found = machine.find();
    assert_eq!(entry(&found, "a | b").place(), "crontab of ada:2", "as crontab -e counts them");
    machine.apply_all();
    let wrapped = machine.read("var/spool/cron/crontabs/ada");
    let expected =
        "# of ada\n0 2 * * * /usr/bin/innkeeper-agent exec web1/a -- /bin/sh -c 'a | b' #innkeeper\n";
    assert_eq!(wrapped, format!("{HEADER}{expected}"), "no second header");
    assert!(machine.read("var/spool/cron/crontabs/bob").matches("#innkeeper\n").count() == 4000);
    let backup = DiscoverRecord::read(&machine.state()).unwrap().changed[0].backup.clone().unwrap();
    assert!(backup.starts_with(machine.state()));
    let undone = machine.undo();
    assert!(undone.iter().all(|undone| undone.says.contains("byte for byte")), "{undone:?}");
    assert_eq!(machine.read("var/spool/cron/crontabs/ada"), format!("{HEADER}{table}"));
    assert_eq!(machine.read("var/spool/cron/crontabs/bob"), format!("{HEADER}{long}"));

    let refused = "0 2 * * * echo REFUSE\n";
    machine.spool("ada", format!("{HEADER}{refused}"));
    let found = machine.find();
    let outcomes = machine.apply(&found);
    let of_ada = outcomes.iter().find(|outcome| outcome.place == "crontab of ada").unwrap();
    assert!(!of_ada.done && of_ada.says.contains("bad minute"), "{of_ada:?}");
    assert_eq!(machine.read("var/spool/cron/crontabs/ada"), format!("{HEADER}{refused}"));
    // Nothing is left of the try.
    let record = DiscoverRecord::read(&machine.state()).unwrap();
    assert_eq!(
        record.changed.iter().map(|changed| &changed.target).collect::<Vec<_>>(),
        [&WrapTarget::Crontab("bob".to_owned())]
    );
    let backups = fs::read_dir(machine.state()).unwrap().flatten();
    let backups: Vec<_> = backups
        .map(|entry| entry.file_name())
        .filter(|name| name.to_string_lossy().contains("-ada-"))
        .collect();
    assert!(backups.is_empty(), "{backups:?}");
}

#[test]
fn comments_at_the_beginning_are_not_taken_for_a_header() {
    let mut machine = Machine::new(Cron::Debian);
    machine.options.crontab = Some(crontab(&machine));
    // As a tool for configurations puts it there, past the program.
    machine.spool("ada", "# one\n# two\n# three\n0 2 * * * /x\n");
    machine.apply_all();
    machine.undo();
    let after = machine.read("var/spool/cron/crontabs/ada");
    assert!(after.ends_with("\n# one\n# two\n# three\n0 2 * * * /x\n"), "{after}");
}

#[test]
fn a_users_own_table_is_changed_by_that_user() {
    let mut machine = Machine::new(Cron::Debian);
    machine.options.crontab = Some(crontab(&machine));
    machine.options.only_user = Some("ada".to_owned());
    machine.spool("ada", "#1\n#2\n#3\n0 2 * * * /x\n");
    machine.apply_all();
    assert!(machine.read("var/spool/cron/crontabs/ada").contains("exec web1/x -- /x #innkeeper"));
    machine.undo();
    assert!(machine.read("var/spool/cron/crontabs/ada").ends_with("\n0 2 * * * /x\n"));
}

#[test]
fn what_is_left_as_it_is_says_why() {
    let machine = Machine::new(Cron::Debian);
    machine.put("var/lib/dpkg/info/e2fsprogs.conffiles", "/etc/cron.d/e2scrub_all\n");
    machine.put("etc/cron.d/e2scrub_all", "30 3 * * 0 root /scrub\n");
    machine.put("etc/cron.d/own", format!("SHELL=/usr/bin/fish\n0 1 * * * root /fish\nSHELL=/bin/sh\n0 1 * * * root /long{}\n@reboot root /boot\n", "x".repeat(960)));
    let found = machine.find();
    let plan = machine.plan(&found);
    assert!(plan.changes.is_empty());
    let why = |command: &str| {
        let index = found.entries.iter().position(|entry| entry.command.starts_with(command)).unwrap();
        plan.refused.iter().find(|refused| refused.entry == index).unwrap().reason.clone()
    };
    assert!(why("/scrub").contains("package"));
    assert!(why("/fish").contains("SHELL"));
    assert!(why("/long").contains("bytes"));
    assert!(why("/boot").contains("each start"));
    assert!(found.reservations(&plan).is_empty(), "nothing is expected of what does not report");

    let mut machine = machine;
    machine.options.packaged = true;
    machine.options.reboot = true;
    let found = machine.find();
    let plan = machine.plan(&found);
    assert_eq!(plan.entries().count(), 2);
    let terms = found.reservations(&plan);
    assert_eq!(
        terms.iter().map(|terms| terms.flags().join(" ")).collect::<Vec<_>>(),
        ["--cron 30 3 * * 0 --tz Europe/Berlin --grace 1h", "--every 3650d --grace 5m"]
    );
}

#[test]
fn a_line_may_carry_its_schedule() {
    let machine = Machine::new(Cron::Debian);
    machine.put("etc/cron.d/own", "*/15 8-18 * * mon-fri root a;b\n");
    let found = machine.find();
    let options = PlanOptions { agent: &machine.agent, schedule_flags: true, only: &[] };
    let plan = DiscoverPlan::new(&found, options);
    let after = String::from_utf8(plan.changes[0].after.clone()).unwrap();
    assert_eq!(
        after,
        "*/15 8-18 * * mon-fri root /usr/bin/innkeeper-agent exec web1/a --cron '*/15 8-18 * * mon-fri' --tz \
         Europe/Berlin --grace 7m30s -- /bin/sh -c 'a;b' #innkeeper\n"
    );
    apply(&plan, &found, &machine.state(), &machine.options).unwrap();
    assert!(machine.plan(&machine.find()).changes.is_empty());
    // Somebody lets it run at another time: the next change says that.
    machine.put("etc/cron.d/own", after.replacen("*/15", "*/20", 1));
    machine.apply_all();
    assert!(
        machine
            .read("etc/cron.d/own")
            .contains("--cron '*/20 8-18 * * mon-fri' --tz Europe/Berlin --grace 10m")
    );
    assert!(machine.undo()[0].says.contains("byte for byte"));
    assert_eq!(machine.read("etc/cron.d/own"), "*/20 8-18 * * mon-fri root a;b\n");
}

#[test]
fn whoever_cannot_run_the_agent_keeps_the_job() {
    let mut machine = Machine::new(Cron::Debian);
    machine.put("etc/cron.d/own", "0 1 * * * ada /a\n0 2 * * * root /b\n");
    let agent = machine.script("innkeeper-agent", "exit 0\n");
    fs::set_permissions(&agent, fs::Permissions::from_mode(0o700)).unwrap();
    machine.agent = agent;
    let plan = machine.plan(&machine.find());
    // Another user than root changes only what is its own.
    if rustix::process::geteuid().is_root() {
        assert_eq!(plan.entries().collect::<Vec<_>>(), [1]);
        assert!(plan.refused[0].reason.contains("ada cannot run"), "{:?}", plan.refused);
    }
    machine.options.only_user = Some("ada".to_owned());
    let plan = machine.plan(&machine.find());
    assert!(plan.changes.is_empty() && plan.refused[0].reason.contains("only root"), "{:?}", plan.refused);
}

#[test]
fn whoever_could_not_report_is_not_expected() {
    let machine = Machine::new(Cron::Debian);
    let table = "0 1 * * * ada /a\n0 2 * * * root /b\nINNKEEPER_TOKEN_FILE=/t\n0 3 * * * bob /c\n";
    machine.put("etc/cron.d/own", table);
    let planned = || machine.plan(&machine.find()).entries().collect::<Vec<_>>();
    assert_eq!(planned(), [0, 1, 2], "nothing is configured yet");
    machine.put("etc/innkeeper/agent.toml", "");
    machine.mode("etc/innkeeper/agent.toml", 0o600);
    assert_eq!(planned(), [1, 2]);
    let refused = machine.plan(&machine.find()).refused;
    assert!(refused[0].reason.contains("/home/ada/.config/innkeeper/agent.toml"), "{refused:?}");
    machine.mode("etc/innkeeper/agent.toml", 0o640);
    let group = fs::metadata(machine.path("etc/innkeeper/agent.toml")).unwrap().gid();
    machine.put("etc/group", format!("innkeeper:x:{group}:bob,ada\n"));
    assert_eq!(planned(), [0, 1, 2]);
    machine.mode("etc/innkeeper/agent.toml", 0o600);
    machine.put("home/ada/.config/innkeeper/agent.toml", "");
    assert_eq!(planned(), [0, 1, 2]);
}

#[test]
fn a_line_that_was_copied_is_told() {
    let machine = Machine::new(Cron::Debian);
    machine.put("etc/cron.d/own", "0 1 * * * root /a\n");
    machine.apply_all();
    let line = machine.read("etc/cron.d/own");
    machine.put("etc/cron.d/own", line.clone() + &line.replace("0 1", "0 2"));
    let found = machine.find();
    assert!(found.entries[1].notes[0].contains("/etc/cron.d/own:1"), "{:?}", found.entries[1].notes);
    let terms = found.reservations(&DiscoverPlan::default());
    assert_eq!(terms.len(), 1);
    assert_eq!(terms[0].flags()[1], "0 1 * * *");
}

#[test]
fn only_some_may_be_meant() {
    let machine = Machine::new(Cron::Debian);
    machine.put("etc/cron.d/own", "0 1 * * * root /a\n0 2 * * * root /b\n@reboot root /c\n");
    let found = machine.find();
    for only in ["b", "web1/b"] {
        let only = [only.to_owned()];
        let plan = DiscoverPlan::new(
            &found,
            PlanOptions { agent: &machine.agent, schedule_flags: false, only: &only },
        );
        assert_eq!(plan.entries().collect::<Vec<_>>(), [1]);
        assert!(plan.refused.is_empty());
    }
}

#[test]
fn links_are_followed_and_hidden_troubles_told() {
    let machine = Machine::new(Cron::Debian);
    machine.put("srv/table", "0 1 * * * root /x\n");
    fs::create_dir_all(machine.path("etc/cron.d")).unwrap();
    std::os::unix::fs::symlink(machine.path("srv/table"), machine.path("etc/cron.d/own")).unwrap();
    machine.apply_all();
    assert!(fs::symlink_metadata(machine.path("etc/cron.d/own")).unwrap().is_symlink());
    assert!(machine.read("srv/table").contains("#innkeeper"));
    // Its record is gone: what is discover's is known all the same.
    fs::remove_file(machine.state().join("record.json")).unwrap();
    let undone = machine.undo();
    assert!(undone[0].says.contains("no record"), "{undone:?}");
    assert_eq!(machine.read("srv/table"), "0 1 * * * root /x\n");
    // A record that cannot be read stops everything before it begins.
    fs::write(machine.state().join("record.json"), "{").unwrap();
    let found = machine.find();
    apply(&machine.plan(&found), &found, &machine.state(), &machine.options).unwrap_err();
    assert_eq!(machine.read("srv/table"), "0 1 * * * root /x\n");
}

#[test]
fn old_backups_go() {
    let mut machine = Machine::new(Cron::Debian);
    machine.put("etc/cron.d/own", "");
    for day in 1..=8 {
        machine.options.now = at(&format!("2026-12-0{day}T00:00:00Z"));
        let more = machine.read("etc/cron.d/own") + &format!("0 1 * * * root /x {day}\n");
        machine.put("etc/cron.d/own", more);
        machine.apply_all();
    }
    let files = machine.files("etc/cron.d");
    assert_eq!(files.len(), 6, "{files:?}");
    assert_eq!(files[0], ".own.innkeeper-20261204T000000Z");
}

#[test]
fn anacrons_table_is_changed_too() {
    let machine = Machine::new(Cron::Debian);
    machine.put("usr/sbin/anacron", "");
    let table = "SHELL=/bin/bash\n1 5 daily date +%F | x\n7 10 weekly /opt/w\n";
    machine.put("etc/anacrontab", table);
    machine.apply_all();
    assert_eq!(
        machine.read("etc/anacrontab"),
        "SHELL=/bin/bash\n1 5 daily /usr/bin/innkeeper-agent exec web1/daily -- /bin/sh -c 'date +%F | x' #innkeeper\n\
         7 10 weekly /usr/bin/innkeeper-agent exec web1/weekly -- /opt/w #innkeeper\n"
    );
    machine.undo();
    assert_eq!(machine.read("etc/anacrontab"), table);
}

#[test]
fn services_report_by_a_drop_in() {
    let mut machine = Machine::new(Cron::Debian);
    let calls = machine.directory.path().join("calls");
    machine.options.systemctl = Some(machine.script(
        "systemctl",
        &format!("[ \"$1\" = daemon-reload ] && {{ echo reload >> {}; exit 0; }}\nexit 1\n", calls.display()),
    ));
    machine.put("usr/lib/systemd/system/trim.timer", "[Timer]\nOnCalendar=weekly\n");
    machine.put("usr/lib/systemd/system/trim.service", "[Service]\nExecStart=/sbin/fstrim --all\n");
    machine.put("etc/systemd/system/timers.target.wants/trim.timer", "");
    let found = machine.find();
    let plan = machine.plan(&found);
    let diff = plan.diff();
    assert!(
        diff.starts_with("--- /dev/null\n+++ /etc/systemd/system/trim.service.d/innkeeper-agent.conf\n"),
        "{diff}"
    );
    assert!(diff.contains("+ExecStopPost=-+/bin/sh -c '"), "{diff}");
    assert!(diff.contains("; exec /usr/bin/innkeeper-agent checkin web1/trim --keep \"$$@\"'\n"), "{diff}");
    machine.apply_all();
    assert_eq!(fs::read_to_string(&calls).unwrap(), "reload\n");
    let file = "etc/systemd/system/trim.service.d/innkeeper-agent.conf";
    assert_eq!(fs::metadata(machine.path(file)).unwrap().permissions().mode() & 0o777, 0o644);
    let found = machine.find();
    assert_eq!(entry(&found, "fstrim").watched, WatchedBy::Discover);
    assert!(machine.plan(&found).changes.is_empty());
    assert_eq!(found.reservations(&DiscoverPlan::default()).len(), 1);
    assert!(machine.undo().iter().all(|outcome| outcome.done));
    assert!(!machine.path("etc/systemd/system/trim.service.d").exists());
    assert_eq!(fs::read_to_string(&calls).unwrap(), "reload\nreload\n");

    // What somebody added stays; and the unit may be gone by then.
    machine.apply_all();
    machine.put(file, machine.read(file) + "Nice=5\n");
    fs::remove_file(machine.path("usr/lib/systemd/system/trim.timer")).unwrap();
    let undone = machine.undo();
    assert!(undone[0].says.contains("changed by hand"), "{undone:?}");
    assert_eq!(machine.read(file), "[Service]\nNice=5\n");
    // And a file of that name that is not discover's is left alone.
    machine.put("usr/lib/systemd/system/trim.timer", "[Timer]\nOnCalendar=weekly\n");
    let plan = machine.plan(&machine.find());
    assert!(plan.changes.is_empty() && plan.refused[0].reason.contains("not made by discover"));
}

fn line() -> impl Strategy<Value = String> {
    let time = prop_oneof![
        Just("0 2 * * *".to_owned()),
        Just(" \t*/5\t8-18 * * 1-5".to_owned()),
        Just("@daily".to_owned()),
        Just("@reboot".to_owned()),
        Just("5? 1 * * *".to_owned()),
    ];
    let job = (time, "[ \t]{1,3}", "[a-z '\"\\\\%{}();|<>#~*!=$&`-]{1,20}", "[ \r]{0,2}")
        .prop_map(|(time, blank, command, end)| format!("{time}{blank}{command}{end}"));
    prop_oneof![
        6 => job,
        1 => "[A-Z]{1,4} ?= ?[a-z\"']{0,6}",
        1 => "#[ -~]{0,20}",
        1 => Just(String::new()),
        1 => "[ -~]{0,30}",
        1 => Just("SHELL=/bin/bash".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) })]

    /// Reverting a change restores the same bytes, whatever the crontab contains.
    #[test]
    fn any_table_comes_back(
        lines in prop::collection::vec(line(), 0..12),
        end in prop::bool::weighted(0.8),
        cronie in any::<bool>(),
        rubbish in any::<bool>(),
    ) {
        // One line of rubbish, and Debian's cron ignores the table.
        let starts = ["0 2", " \t*/5", "@", "5?", "#", "SHELL="];
        let keep = |line: &String| rubbish || line.is_empty() || starts.iter().any(|start| line.starts_with(start));
        let lines: Vec<String> = lines.into_iter().filter(keep).collect();
        let machine = Machine::new(if cronie { Cron::Cronie } else { Cron::Debian });
        let table = lines.join("\n") + if end { "\n" } else { "" };
        machine.spool("ada", &table);
        let found = machine.find();
        let plan = machine.plan(&found);
        let count = plan.entries().count();
        for outcome in machine.apply(&found) {
            prop_assert!(outcome.done, "{}", outcome.says);
        }
        let after = machine.read("var/spool/cron/crontabs/ada");
        prop_assert_eq!(after.lines().count(), table.lines().count());
        let again = machine.find();
        prop_assert_eq!(again.entries.len(), found.entries.len());
        prop_assert_eq!(again.entries.iter().filter(|entry| entry.watched == WatchedBy::Discover).count(), count);
        for (one, other) in found.entries.iter().zip(&again.entries) {
            prop_assert_eq!((&one.command, &one.user, one.line, &one.schedule), (&other.command, &other.user, other.line, &other.schedule));
        }
        prop_assert!(machine.plan(&again).changes.is_empty());
        for outcome in machine.undo() {
            prop_assert!(outcome.done && outcome.says.ends_with("byte for byte"), "{}", outcome.says);
        }
        prop_assert_eq!(machine.read("var/spool/cron/crontabs/ada"), table);
    }
}
