//! `[probe.NAME]`: which values are accepted, and which problems are reported.

mod probe_support;

use chrono::TimeDelta;
use innkeeper_agent::probe::{Remind, timetable};
use innkeeper_core::duration;
use innkeeper_core::schedule::Schedule;
use probe_support::{probe, problems, read};

fn components(text: &str) -> Vec<(String, String)> {
    let named =
        |target: &innkeeper_agent::probe::ProbeTarget| (target.app.to_string(), target.component.to_string());
    probe(text).targets.iter().map(named).collect()
}

#[test]
fn a_list_of_targets_makes_a_reservation_of_each() {
    let of = |app: &str, component: &str| (app.to_owned(), component.to_owned());
    let single = components("kind = 'tcp'\ntarget = 'db:5432'");
    assert_eq!(single, [of("host.example", "test")]);
    let list = components("kind = 'tcp'\ntargets = ['a:1', '[::1]:2']");
    assert_eq!(list, [of("host.example", "test a:1"), of("host.example", "test [::1]:2")]);
    let named = components(
        "kind = 'tcp'\napp = 'net'\ncomponent = '{target} up'\n[probe.test.targets]\ndb = 'a:1'\nweb = 'b:2'",
    );
    assert_eq!(named, [of("net", "db up"), of("net", "web up")]);
    let by_app = components("kind = 'icmp'\napp = '{target}'\ncomponent = 'ping'\ntargets = ['a', 'b']");
    assert_eq!(by_app, [of("a", "ping"), of("b", "ping")]);
    let none = components("kind = 'command'\ncommand = ['true']");
    assert_eq!(none, [of("host.example", "test")]);
}

#[test]
fn every_boolean_key_takes_the_same_words() {
    let (unknown, _) = read("[probe.test]\nevery = '1m'");
    let missing = unknown.broken[0].problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let (_, kinds) = missing.split_once("the key kind is missing; allowed: ").unwrap();
    let kinds: Vec<&str> = kinds.lines().next().unwrap().split(", ").collect();
    assert!(kinds.contains(&"http") && kinds.len() > 5, "{kinds:?}");
    for kind in kinds {
        let of = |line: &str| {
            let (probes, findings) = read(&format!("[probe.test]\nkind = '{kind}'\nevery = '1m'\n{line}"));
            let problems = probes.broken.into_iter().flat_map(|one| one.problems);
            (problems.map(|problem| problem.to_string()).collect::<Vec<_>>(), findings.flags)
        };
        let (_, flags) = of("");
        assert!(flags.contains(&"probe.test.notify_recovery".to_owned()), "{kind}: {flags:?}");
        for flag in flags {
            let key = flag.rsplit('.').next().unwrap();
            let about = |value: &str| {
                let (problems, _) = of(&format!("{key} = {value}"));
                problems.into_iter().find(|problem| problem.contains(&format!("{flag}: ")))
            };
            for word in innkeeper_settings::FLAG_WORDS.map(|(word, _)| word) {
                assert_eq!(about(&format!("'{word}'")), None, "{kind}");
                assert_eq!(about(&format!("'{}'", word.to_uppercase())), None, "{kind}");
            }
            assert_eq!((about("true"), about("false")), (None, None), "{kind}");
            for wrong in ["'maybe'", "1", "'2'"] {
                assert!(about(wrong).is_some(), "{kind}: {key} = {wrong}");
            }
        }
    }
}

#[test]
fn other_limits_make_no_other_reservation() {
    let before =
        components("kind = 'http'\ntarget = 'https://a.example/?token=1'\ntimeout = '1s'\nalert_after = 2");
    let after = components(
        "kind = 'http'\ntarget = 'https://u:p@a.example/x'\ntimeout = '2s'\nstatus = [401]\ntext = 'x'",
    );
    assert_eq!(before, after);
}

#[test]
fn names_have_no_secrets_in_them() {
    let named =
        components("kind = 'http'\ntargets = ['https://user:hunter2@a.example/p?key=hunter2#hunter2']");
    assert_eq!(named[0].1, "test https://a.example/p");
}

#[test]
fn one_that_cannot_be_loaded_does_not_hold_up_the_others() {
    let text = "[probe.good]\nkind = 'tcp'\ntarget = 'a:1'\nevery = '1m'\n\n[probe.bad]\nkind = 'comand'\nevery = '1m'\n[probe]\nworse = 5\n[probe.ugly]\nkind = 'tcp'\ntarget = 'a'\nevery = '1m'\ntimout = '1s'\n";
    let (probes, findings) = read(text);
    assert_eq!(probes.probes.iter().map(|probe| probe.name.as_str()).collect::<Vec<_>>(), ["good"]);
    assert_eq!(findings.problems, []);
    let broken: Vec<String> =
        probes.broken.iter().flat_map(|broken| &broken.problems).map(ToString::to_string).collect();
    assert_eq!(broken.len(), 4, "{broken:#?}");
    assert!(
        broken[0]
            .starts_with("agent.toml:7: probe.bad.kind: \"comand\" is no kind of probe; allowed: tcp, http,"),
        "{broken:#?}"
    );
    assert!(broken[0].ends_with("did you mean \"command\"?"), "{broken:#?}");
    assert!(broken[1].starts_with("agent.toml:13: probe.ugly.target: \"a\" has no port"), "{broken:#?}");
    assert!(broken[2].starts_with("agent.toml:15: probe.ugly.timout: unknown key; allowed: "), "{broken:#?}");
    assert!(
        broken[3].starts_with("agent.toml:10: probe.worse: is a whole number; it is a section"),
        "{broken:#?}"
    );
}

#[test]
fn every_problem_of_a_probe_is_told_at_once_and_where_it_stands() {
    for (text, line, says) in [
        ("", 1, "probe.test.kind: the key kind is missing; allowed: tcp, http, tls"),
        ("kind = 5", 3, "kind: is a whole number; write a text"),
        ("kind = 'tcp'", 3, "target: the key target, or targets for several, is missing"),
        ("kind = 'tcp'\ntarget = 5", 4, "target: is a whole number; write a text"),
        ("kind = 'tcp'\ntarget = 'a:1'\ntargets = ['b:1']", 5, "targets: cannot be combined with target"),
        ("kind = 'tcp'\ntargets = []", 4, "targets: is empty"),
        ("kind = 'tcp'\ntargets = ['a:1',\n'a:1']", 5, "targets: \"a:1\" occurs twice"),
        (
            "kind = 'tcp'\ntargets = ['a:1', 'b:1']\ncomponent = 'x'",
            5,
            "component: would give all targets one reservation",
        ),
        ("kind = 'tcp'\ntarget = 'a:1'\ncron = '* * * * *'", 5, "cron: cannot be combined with every"),
        ("kind = 'tcp'\ntarget = 'a:1'\ntz = 'UTC'", 5, "tz: is only valid with cron or calendar"),
        ("kind = 'tcp'\ntarget = 'a:1'\ntimeout = '2h'", 5, "timeout: a run may take 2h"),
        ("kind = 'tcp'\ntarget = 'a:1'\ntimeout = '0s'", 5, "timeout: \"0s\" is out of bounds"),
        (
            "kind = 'tcp'\ntarget = 'a:1'\nretries = 5\nretry_after = '30m'",
            5,
            "retries: a run with its 5 repeats may take",
        ),
        ("kind = 'tcp'\ntarget = 'a:1'\nalert_after = 51", 5, "alert_after: 51 is out of bounds"),
        (
            "kind = 'tcp'\ntarget = 'a:1'\nremind_every = 'often'",
            5,
            "remind_every: \"often\" is neither once nor each",
        ),
        ("kind = 'tcp'\ntarget = 'a:1'\nnotify = ['a@b c']", 5, "notify: "),
        (
            "kind = 'tcp'\ntarget = 'a:1'\nfamily = '5'",
            5,
            "family: \"5\" is no address family; allowed: any, 4, 6, both",
        ),
        (
            "kind = 'tcp'\ntarget = 'a:1'\nwarnings = 'maybe'",
            5,
            "warnings: \"maybe\" is not known; allowed: fail, pass",
        ),
        ("kind = 'tcp'\ntarget = 'a:1'\nmethod = 'GET'", 5, "method: unknown key; allowed: "),
        ("kind = 'http'\ntarget = 'a.example'", 4, "target: is not a web address"),
        ("kind = 'http'\ntarget = 'http://a/'\nstatus = [700]", 5, "status: \"700\" is no status"),
        (
            "kind = 'http'\ntarget = 'http://a/'\nheaders = { 'X Y' = 'hunter2' }",
            5,
            "headers: \"X Y\" is no name",
        ),
        (
            "kind = 'http'\ntarget = 'http://a/'\npassword = 'hunter2'",
            5,
            "password: is only valid together with username",
        ),
        (
            "kind = 'http'\ntarget = 'http://a/'\npassword_file = '/none'\nusername = 'u'",
            5,
            "cannot read the secret from \"/none\"",
        ),
        (
            "kind = 'http'\ntarget = 'http://a/'\nproxy = 'socks5://p:1'",
            5,
            "proxy: has the scheme \"socks5\"",
        ),
        (
            "kind = 'http'\ntarget = 'http://a/'\njson = { status = 'UP' }",
            5,
            "json: \"status\" is no pointer",
        ),
        ("kind = 'http'\ntarget = 'http://a/'\nca_file = '/none'", 5, "ca_file: cannot read \"/none\""),
        (
            "kind = 'http'\ntarget = 'http://a/'\nca_file = '/etc/hostname'",
            5,
            "ca_file: \"/etc/hostname\" holds no certificate",
        ),
        (
            "kind = 'tls'\ntarget = 'a'\nstarttls = 'ldap'",
            5,
            "starttls: \"ldap\" is not known; allowed: smtp, imap",
        ),
        ("kind = 'dns'\ntarget = 'a'\nrecord = 'ANY'", 5, "record: \"ANY\" is not a supported record type"),
        ("kind = 'command'\ncommand = []", 4, "command: is missing; write command = "),
        ("kind = 'command'\ncommand = ['a']\nshell = 'b'", 5, "shell: cannot be combined with command"),
        ("kind = 'disk'\ntarget = 'var'", 4, "target: \"var\" is no absolute path"),
        (
            "kind = 'disk'\ntarget = '/'\nmin_free = 'much'",
            5,
            "min_free: \"much\" is not understood; write 10% or 5GB",
        ),
        ("kind = 'systemd-unit'\ntarget = '--version'", 4, "target: \"--version\" is no name of a unit"),
        ("kind = 'process'\ntarget = 'a'\nmin = 3\nmax = 2", 6, "max: is less than min"),
    ] {
        let found = problems(text);
        let place = format!("agent.toml:{line}: ");
        assert!(
            found.iter().any(|problem| problem.starts_with(&place) && problem.contains(says)),
            "{text}: {found:#?}"
        );
        assert!(!found.concat().contains("hunter2"), "{found:#?}");
    }
    let many = problems("kind = 'tcp'\ntarget = 'a'\ntimeout = 'x'\nfamily = 'y'\nz = 1");
    assert_eq!(many.len(), 4, "{many:#?}");
}

#[test]
fn schedules_are_the_same_as_those_of_reservations() {
    let schedule = |text: &str| {
        let (probes, _) = read(&format!("[probe.a]\nkind = 'icmp'\ntarget = 'a'\n{text}"));
        probes.probes.first().map(|probe| probe.promise.schedule.clone())
    };
    assert_eq!(schedule("every = '90s'"), Schedule::every(TimeDelta::seconds(90)).ok());
    let berlin = "Europe/Berlin";
    assert_eq!(
        schedule("cron = '0 2 * * *'\ntz = 'Europe/Berlin'"),
        Schedule::cron("0 2 * * *", berlin).ok()
    );
    assert_eq!(
        schedule("calendar = 'Mon..Fri 02:00'\ntz = 'Europe/Berlin'"),
        Schedule::calendar("Mon..Fri 02:00", Some(berlin)).ok()
    );
    for (text, says) in [
        ("", "a schedule is missing: give every, cron or calendar"),
        ("cron = '61 * * * *'", "probe.a.cron: "),
        ("cron = '* * * * *'\ntz = 'Mars/Base'", "probe.a.tz: "),
        ("calendar = 'Mon-'", "probe.a.calendar: "),
        ("every = '1500ms'", "must be whole seconds"),
    ] {
        let (probes, _) = read(&format!("[probe.a]\nkind = 'icmp'\ntarget = 'a'\n{text}"));
        let found = probes.broken[0].problems[0].to_string();
        assert!(found.contains(says), "{text}: {found}");
    }
}

#[test]
fn a_run_with_its_repeats_fits_into_its_interval() {
    let of = |text: &str| {
        let (mut probes, _) = read(&format!("[probe.a]\nkind = 'tcp'\ntarget = 'a:1'\n{text}"));
        assert!(probes.broken.is_empty(), "{:?}", probes.broken);
        probes.probes.remove(0)
    };
    let usual = of("every = '1m'");
    assert_eq!((usual.timeout.as_secs(), usual.retries, usual.retry_after.as_secs()), (10, 1, 5));
    assert_eq!(usual.longest(), TimeDelta::seconds(25));
    assert_eq!(usual.promise.grace, TimeDelta::seconds(85), "the longest run, and a minute");
    for every in ["1s", "2s", "5s", "20s"] {
        let short = of(&format!("every = '{every}'"));
        assert!(short.longest() < short.promise.schedule.period_at(chrono::DateTime::UNIX_EPOCH), "{every}");
    }
    let fast = of("every = '30s'\ntimeout = '14s'\nretries = 1");
    assert_eq!((fast.retries, fast.retry_after.as_secs()), (1, 0), "the usual pause would not fit");
    let command = "kind = 'command'\ncommand = ['true']\nevery = '1m'\ntimeout = '10s'\nretries = 0";
    let (probes, _) = read(&format!("[probe.a]\n{command}"));
    assert_eq!(probes.probes[0].longest(), TimeDelta::seconds(13), "a program is given time to heed TERM");
}

#[test]
fn what_its_reservations_are_to_be() {
    let probe = probe(
        "kind = 'icmp'\ntarget = 'a'\nalert_after = 3\nremind_every = 'each'\ngrace = '2m'\nnotify_recovery = false\n\
         notify = ['ops@example.org', 'pager']\nalerters = ['pager']\nowner = 'net'\ndescription = 'the gateway'\n\
         tags = ['net', 'eu']\nrunbook = 'https://wiki.example.org/a'\nwarnings = 'pass'",
    );
    let promise = &probe.promise;
    assert_eq!((promise.alert_after, promise.remind_every), (Some(3), Some(Remind::Each)));
    assert_eq!((promise.grace, promise.notify_recovery), (TimeDelta::minutes(2), Some(false)));
    assert_eq!(promise.notify.as_ref().unwrap().to_string(), "ops@example.org,pager");
    assert_eq!(promise.tags.as_deref().unwrap(), ["net", "eu"]);
    assert_eq!((promise.owner.as_deref(), probe.warnings_fail), (Some("net"), false));
    let silent = probe_support::probe("kind = 'icmp'\ntarget = 'a'");
    assert_eq!(
        (silent.promise.alert_after, silent.promise.notify.as_ref()),
        (None, None),
        "as it is, or as is usual"
    );
    for (text, remind) in
        [("once", Remind::Once), ("0s", Remind::Once), ("10m", Remind::Every(TimeDelta::minutes(10)))]
    {
        let probe = probe_support::probe(&format!("kind = 'icmp'\ntarget = 'a'\nremind_every = '{text}'"));
        assert_eq!(probe.promise.remind_every, Some(remind));
    }
}

#[test]
fn a_misspelt_key_is_told_whatever_else_is_missing() {
    for (text, says) in [
        // Its schedule is what is misspelt.
        ("kind = 'tcp'\ntarget = 'a:1'\nevry = '1m'", "agent.toml:4: probe.a.evry: unknown key; allowed: "),
        ("evry = '1m'\nurl = 'http://a/'", "agent.toml:2: probe.a.evry: unknown key; allowed: "),
        (
            "kind = 'comand'\nevery = '1m'\nshel = 'true'",
            "agent.toml:4: probe.a.shel: unknown key; allowed: ",
        ),
        ("kind = 'http'\nevery = '1m'\nstaus = [200]", "agent.toml:4: probe.a.staus: unknown key; allowed: "),
    ] {
        let (probes, _) = read(&format!("[probe.a]\n{text}\n"));
        let told: Vec<String> = probes.broken[0].problems.iter().map(ToString::to_string).collect();
        let found = told.iter().find(|line| line.starts_with(says)).unwrap_or_else(|| panic!("{told:#?}"));
        assert!(told.len() > 1, "what is missing is told as well: {told:#?}");
        let meant = [("evry", "every"), ("shel", "shell"), ("staus", "status")];
        let (_, meant) = meant.into_iter().find(|(word, _)| text.contains(word)).unwrap();
        assert!(found.ends_with(&format!("; did you mean {meant}?")), "{found}");
    }
    // What is right for one kind is not told where the kind is missing.
    let (probes, _) = read("[probe.a]\nevery = '1m'\nshell = 'true'\nstatus = [200]\nmin_free = '5%'\n");
    assert_eq!(probes.broken[0].problems.len(), 1, "{:?}", probes.broken[0].problems);
}

#[test]
fn the_usual_limits_are_no_mistake_however_short_the_interval() {
    for kind in [
        "kind = 'command'\ncommand = ['true']",
        "kind = 'systemd-unit'\ntarget = 'a'",
        "kind = 'icmp'\ntarget = 'a'",
    ] {
        for every in ["1s", "2s", "5s", "10s", "1m"] {
            let (probes, _) = read(&format!("[probe.a]\n{kind}\nevery = '{every}'\n"));
            assert_eq!(probes.broken, [], "{kind}, {every}");
            assert!(probes.probes[0].timeout <= duration::parse("every", every).unwrap().to_std().unwrap());
        }
    }
    let (probes, _) = read("[probe.a]\nkind = 'command'\ncommand = ['true']\nevery = '5s'\ntimeout = '5s'\n");
    assert!(probes.broken[0].problems[0].to_string().contains("timeout: a run may take 8s"));
}

#[test]
fn two_probes_never_share_a_reservation() {
    let text = "[probe.a]\nkind = 'icmp'\ntarget = 'x'\nevery = '1m'\ncomponent = 'same'\n[probe.b]\nkind = 'icmp'\ntarget = 'y'\nevery = '1m'\ncomponent = 'same'\n";
    let (probes, _) = read(text);
    assert_eq!((probes.probes.len(), probes.broken.len()), (1, 1));
    assert!(probes.broken[0].problems[0].what.contains("belongs to probe a already"));
}

#[test]
fn what_is_for_all_probes() {
    let text = "[probes]\nparallel = 5\nper_host = 2\napp = 'mine'\n[probe.a]\nkind = 'icmp'\ntargets = ['x', 'y']\nevery = '1m'\n";
    let (probes, findings) = read(text);
    assert_eq!(findings.problems, []);
    assert_eq!((probes.slots.parallel, probes.slots.per_host), (5, 2));
    let tasks = timetable::tasks(&probes);
    assert_eq!((tasks.len(), tasks[1].0.host.as_str(), tasks[1].1, tasks[1].2), (2, "y", 0, 1));
    assert_eq!(probes.probes[0].targets[0].app.as_str(), "mine");
    let hosts: Vec<String> = (0..400).map(|n| format!("'h{n}:1'")).collect();
    let many = format!("[probe.a]\nkind = 'tcp'\nevery = '1m'\ntargets = [{}]", hosts.join(", "));
    assert_eq!(read(&many).0.slots.parallel, 167, "400 targets that hang for 25 s of each minute");
    assert_eq!(read("").0.slots.parallel, 32);
    let (_, findings) = read("[probes]\nparalel = 5");
    assert!(findings.problems[0].to_string().starts_with("agent.toml:2: probes.paralel: unknown key"));
    let (_, findings) = read("probe = 5");
    assert!(findings.problems[0].to_string().starts_with("agent.toml:1: probe: is a whole number"));
    assert!(read("").0.probes.is_empty());
}

#[test]
fn every_key_is_described() {
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/PROBES.md");
    let text = std::fs::read_to_string(guide).unwrap();
    for kind in [
        "kind = 'tcp'\ntarget = 'a:1'",
        "kind = 'http'\ntarget = 'http://a/'",
        "kind = 'tls'\ntarget = 'a'",
        "kind = 'dns'\ntarget = 'a'",
        "kind = 'icmp'\ntarget = 'a'",
        "kind = 'command'\ncommand = ['a']",
        "kind = 'postgres'\ntarget = 'a'",
        "kind = 'smtp'\ntarget = 'a'",
        "kind = 'disk'\ntarget = '/'",
        "kind = 'systemd-unit'\ntarget = 'a'",
        "kind = 'process'\ntarget = 'a'",
    ] {
        let (_, findings) = read(&format!("[probe.test]\nevery = '1h'\n{kind}"));
        let keys: Vec<&str> = findings.known.iter().filter_map(|key| key.rsplit('.').next()).collect();
        assert!(keys.len() > 20, "{keys:?}");
        for key in keys {
            assert!(text.contains(&format!("`{key}`")), "{key} of {kind}");
        }
    }
}
