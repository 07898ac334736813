//! Figures of jobs: how they are found in the output, which are sent, and what is expected of them.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use common::instance::{Instance, Mode};
use common::{Home, nobody, ran};
use innkeeper_testing::http_sink::{HttpSink, SinkResponse};
use serde_json::{Value, json};

/// Runs a script with these options and returns the report of its end.
fn end_of(options: &[&str], script: &str) -> Value {
    let (home, instance) = (Home::new(), Instance::open());
    let arguments = [&["a/b"], options, &["--", "sh", "-c", script]].concat();
    ran(&mut home.exec(&instance.url(), &arguments));
    let kinds = instance.kinds();
    instance.only(&kinds[1])
}

#[test]
fn figures_come_from_the_command_line_and_from_both_outputs() {
    let script = "echo ::figure rows=1; echo ::figure errors=2 >&2; echo ::figure rows=1200; exit 3";
    let end = end_of(&["--figure", "limit=5e6", "--figure", "rows=9"], script);
    assert_eq!(end["kind"], "fail");
    assert_eq!(end["figures"], json!({"limit": 5_000_000, "rows": 1200, "errors": 2}));
    let end = end_of(&[], "printf 'x\n  ::figure a=1\r\n::figure b=-0.5'");
    assert_eq!(end["figures"], json!({"a": 1, "b": -0.5}));
    assert_eq!(end_of(&[], "echo rows=5; echo x ::figure a=1").get("figures"), None);
}

#[test]
fn they_are_found_wherever_they_stand_and_however_they_are_read() {
    let end = end_of(
        &[],
        "echo ::figure first=1; yes | head -c 3000000; printf '::fig'; sleep 0.2; printf 'ure second'; sleep 0.2; \
         printf '=2\n'; yes | head -c 3000000; head -c 5000 /dev/zero | tr '\\0' x; echo; \
         printf '::figure long='; head -c 5000 /dev/zero | tr '\\0' 1; echo; echo ::figure third=3",
    );
    assert_eq!(end["figures"], json!({"first": 1, "second": 2, "third": 3}));
}

#[test]
fn the_output_passes_unchanged() {
    let (home, instance) = (Home::new(), Instance::open());
    let script = "echo one; echo ::figure rows=7; echo ::figure bad; echo two >&2";
    let run = |options: &[&str]| {
        ran(&mut home.exec(&instance.url(), &[&["a/b"], options, &["--", "sh", "-c", script]].concat()))
    };
    let all = (Some(0), "one\n::figure rows=7\n::figure bad\n".to_owned(), "two\n".to_owned());
    let last = || instance.reports().pop().unwrap();
    assert_eq!(run(&[]), all);
    assert!(
        last()["output"].as_str().unwrap().contains("begins with ::figure is no figure; give NAME=NUMBER")
    );
    assert!(home.log().contains("begins with ::figure is no figure"), "{}", home.log());
    assert_eq!(run(&["--quiet-unless-fail"]), (Some(0), String::new(), String::new()));
    assert_eq!(last()["figures"], json!({"rows": 7}));
    // Nothing of the output but its figures.
    assert_eq!(run(&["--figures-only"]), all);
    assert_eq!(last()["figures"], json!({"rows": 7}));
    assert!(!last()["output"].as_str().unwrap().contains("one"), "{}", last());
    // The job has the agent's own descriptors: what it writes is read by nobody.
    assert_eq!(run(&["--no-output", "--figure", "known=1"]), all);
    assert_eq!((&last()["figures"], last().get("output")), (&json!({"known": 1}), None));
}

#[test]
fn twenty_names_are_kept_and_the_rest_is_told() {
    let (home, instance) = (Home::new(), Instance::open());
    let script = "for n in $(seq 30); do echo ::figure f$n=$n; done; echo ::figure f1=77";
    ran(&mut home.exec(&instance.url(), &["a/b", "--figure", "given=1", "--", "sh", "-c", script]));
    let end = instance.only("success");
    let figures = end["figures"].as_object().unwrap();
    assert_eq!((figures.len(), &figures["f1"], &figures["given"]), (20, &json!(77), &json!(1)));
    assert!(figures.contains_key("f19") && !figures.contains_key("f20"));
    let told = "innkeeper-agent: a check-in can have 20 figures; the others are left out, the first of them is f20\n";
    assert!(end["output"].as_str().unwrap().starts_with(told), "{end}");
    assert_eq!(home.log().matches("can have 20 figures").count(), 1, "{}", home.log());
}

#[test]
fn what_is_masked_does_not_leave_as_a_figure() {
    let script = "echo ::figure token_abc=1; echo ::figure pin=4711; echo ::figure rows=3";
    let (home, instance) = (Home::new(), Instance::open());
    let arguments = ["a/b", "--redact", "token_[a-z]+", "--redact-env", "PIN", "--", "sh", "-c", script];
    let (_, out, _) = ran(home.exec(&instance.url(), &arguments).env("PIN", "4711"));
    assert_eq!(out, "::figure token_abc=1\n::figure pin=4711\n::figure rows=3\n");
    let end = instance.only("success");
    assert_eq!(end["figures"], json!({"rows": 3}));
    let told = format!("{end}{}", home.log());
    assert!(!told.contains("token_abc") && !told.contains("4711") && told.contains("is left out"), "{told}");
}

#[test]
fn a_wrong_figure_or_clause_runs_nothing() {
    let home = Home::new();
    let marker = home.path().join("ran");
    let touch = marker.to_str().unwrap();
    for (option, value, what) in [
        ("--figure", "rows", "give NAME=NUMBER, as in rows=1200"),
        ("--figure", "9rows=1", "allowed: 1 to 64 letters of ASCII"),
        ("--figure", "rows=many", "no finite number"),
        ("--figure", "rows=nan", "no finite number"),
        ("--expect", "rows", "after rows one of < <= == != >= > must stand: rows > 0"),
        ("--expect", "rows > median(2)", "a median is taken of 3 to 50 values"),
        ("--remind-every", "often", "or each"),
    ] {
        let (status, _, err) = ran(&mut home.agent(&["exec", "a/b", option, value, "--", "touch", touch]));
        assert!(status == Some(125) && err.contains(what) && err.contains(option), "{value}: {err}");
    }
    let many: Vec<String> = (0..21).map(|n| format!("--figure=f{n}=1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let (status, _, err) =
        ran(&mut home.agent(&[&["exec", "a/b"], &many[..], &["--", "touch", touch]].concat()));
    assert!(status == Some(125) && err.contains("--figure: \"f20=1\" is one too many: 20"), "{err}");
    assert!(!marker.exists());
}

#[test]
fn they_wait_with_their_report() {
    let (home, instance) = (Home::new(), Instance::open());
    ran(&mut home.exec(&nobody(), &["a/b", "--", "sh", "-c", "echo ::figure rows=12.5; exit 1"]));
    assert_eq!(home.spooled(), 1);
    let (status, ..) = ran(home.agent(&["flush"]).env("INNKEEPER_SERVER", instance.url()));
    assert_eq!((status, &instance.only("fail")["figures"]), (Some(0), &json!({"rows": 12.5})));
}

#[test]
fn a_ping_address_gets_them_and_so_does_a_command_that_is_not_there() {
    let (home, instance) = (Home::new(), Instance::open());
    let ping = format!("{}/ping/0c2a3f0e-0000-4000-8000-000000000000", instance.url());
    ran(&mut home.agent(&["exec", "--ping", &ping, "--figure", "limit=5", "--", "echo", "::figure rows=1"]));
    assert_eq!(instance.only("success")["figures"], json!({"limit": 5, "rows": 1}));
    ran(&mut home.agent(&["exec", "--ping", &ping, "--figure", "limit=5", "--", "/no/such/program"]));
    assert_eq!(instance.only("fail")["figures"], json!({"limit": 5}));
}

#[test]
fn what_is_expected_goes_into_the_reservation() {
    let (home, instance) = (Home::new(), Instance::open());
    let run = |options: &[&str]| {
        ran(&mut home.exec(&instance.url(), &[&["a/b"], options, &["--", "true"]].concat()));
        instance.came().terms.pop().unwrap()
    };
    let terms = run(&[
        "--every",
        "1d",
        "--expect",
        "rows > 0",
        "--expect",
        "a>=0.5*median(10)",
        "--remind-every",
        "each",
    ]);
    assert_eq!(
        terms,
        json!({"app": "a", "component": "b", "frequency": 1, "time_units": "days", "remind_every": "each",
            "expect": ["rows > 0", "a >= 0.5 * median(10)"]})
    );
    assert_eq!(run(&["--expect", ""]), json!({"app": "a", "component": "b", "expect": []}));
}

#[test]
fn an_older_server_is_asked_for_what_it_knows() {
    let (home, instance) = (Home::new(), Instance::open());
    instance.now(Mode::Older);
    let options = ["--cron", "*/10 * * * *", "--tz", "UTC", "--expect", "rows > 0", "--remind-every", "each"];
    let (status, out, err) =
        ran(&mut home.exec(&instance.url(), &[&["a/b"], &options[..], &["--", "true"]].concat()));
    assert_eq!((status, out.as_str(), err.as_str()), (Some(0), "", ""));
    assert_eq!(
        instance.came().terms,
        [
            json!({"app": "a", "component": "b", "cron": "*/10 * * * *", "time_zone": "UTC", "remind_every": "10m"})
        ]
    );
    assert!(home.log().contains("is left out") && home.log().contains("every 10m instead"), "{}", home.log());
    assert_eq!(instance.kinds(), ["start", "success"]);
    // A person is told.
    let person = |arguments: &[&str]| ran(home.agent(arguments).env("INNKEEPER_SERVER", instance.url()));
    let (status, out, _) = person(&["reserve", "a/c", "--every", "1h", "--remind-every", "each"]);
    assert!(status == Some(2) && out.contains("every 1h instead of at each failed run"), "{out}");
    let (status, out, _) = person(&["reserve", "a/c", "--expect", "rows > 0"]);
    assert!(status == Some(2) && out.contains("what it expects of figures is left out"), "{out}");
}

#[test]
fn a_check_in_by_hand_brings_them() {
    let (home, instance) = (Home::new(), Instance::open());
    let person = |arguments: &[&str]| ran(home.agent(arguments).env("INNKEEPER_SERVER", instance.url()));
    let (status, ..) =
        person(&["checkin", "a/b", "--figure", "rows=5", "--figure", "rows=6", "--figure", "x=1"]);
    assert_eq!((status, &instance.only("success")["figures"]), (Some(0), &json!({"rows": 6, "x": 1})));
    let (status, _, err) = person(&["checkin", "a/b", "--figure", "rows:5"]);
    assert!(status == Some(2) && err.contains("--figure: \"rows:5\" is no figure"), "{err}");
    let (status, _, err) = person(&["reserve", "a/b", "--expect", "rows ~ 5"]);
    assert!(status == Some(2) && err.contains("--expect: \"rows ~ 5\": after rows one of"), "{err}");
    person(&["reserve", "a/b", "--expect", "rows > 5", "--remind-every", "each"]);
    person(&["reserve", "a/b", "--expect", ""]);
    let terms = instance.came().terms.clone();
    let of = |more: Value| {
        let mut all = json!({"app": "a", "component": "b"});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    assert_eq!(
        terms,
        [of(json!({"expect": ["rows > 5"], "remind_every": "each"})), of(json!({"expect": []}))]
    );
}

#[test]
fn show_has_the_last_figures_and_how_each_clause_stands() {
    let home = Home::new();
    // The reservation, what the address of its figures answers, and its history.
    let shown = |figures: SinkResponse, history: Value| {
        let sink = HttpSink::start();
        let one =
            json!({"id": 7, "app": "a", "component": "b", "state": "up", "expect": ["rows > 0", "x < 5"]});
        sink.next(SinkResponse::status(200).body(&json!({"reservations": [one]}).to_string()));
        sink.next(figures);
        sink.otherwise(SinkResponse::status(200).body(&history.to_string()));
        let (status, out, err) = ran(home.agent(&["show", "a/b"]).env("INNKEEPER_SERVER", sink.url("")));
        assert_eq!((status, err.as_str()), (Some(0), ""));
        (out, sink.requests().len())
    };
    let values = json!({"figures": {"rows": [{"value": 9, "counts": true}, {"value": 0, "counts": false}],
            "x": [{"value": 0.5, "counts": true}], "none": []},
        "expect": [{"clause": "rows > 0", "state": "broken", "says": "rows was 0; expected: rows > 0"},
            {"clause": "x < median(5)", "state": "too_few", "says": "passes:\u{1b} it has 1"}]});
    let (out, requests) = shown(SinkResponse::status(200).body(&values.to_string()), Value::Null);
    let wanted = "last figures   rows=0, x=0.5\n\
                  expects        broken: rows was 0; expected: rows > 0\n               x < median(5): passes:  it has 1";
    assert!(out.contains(wanted) && requests == 2, "{out}");
    let nothing = SinkResponse::status(200).body(r#"{"figures": {}, "expect": []}"#);
    let (out, _) = shown(nothing, Value::Null);
    assert!(!out.contains("last figures") && !out.contains("expects"), "{out}");

    // A role that has no such address, or an older server; and one that has no figures at all.
    let history = json!({"checkins": [{"kind": "start"}, {"kind": "success", "figures": {"rows": 7, "x": 0.5}},
        {"kind": "success", "figures": {"rows": 6}}]});
    let others = [
        SinkResponse::status(404).body("{\"status\": 404}"),
        SinkResponse::status(405),
        SinkResponse::status(403),
        SinkResponse::status(200).body("<html>"),
        SinkResponse::status(200).body("{}"),
    ];
    for other in others {
        let (out, _) = shown(other, history.clone());
        assert!(out.contains("last figures   rows=7, x=0.5\nexpects        rows > 0, x < 5"), "{out}");
    }
    for history in [json!({"checkins": [{"kind": "success"}]}), json!("gone")] {
        let (out, _) = shown(SinkResponse::status(404), history);
        assert!(!out.contains("last figures") && out.contains("expects        rows > 0, x < 5"), "{out}");
    }
    let (out, requests) = shown(SinkResponse::status(503), history);
    assert!(out.contains("expects        rows > 0, x < 5") && requests == 2, "{out}");
}

#[test]
fn a_set_has_what_is_expected_as_it_is_written() {
    let (home, sink) = (Home::new(), HttpSink::start());
    let set = "[[reservations]]\napp = \"a\"\ncomponent = \"b\"\nfrequency = 1\ntime_units = \"days\"\n\
               expect = [\"rows > 0\"]\nremind_every = \"each\"\n";
    let file = home.file("set.toml", set);
    let person = |arguments: &[&str]| ran(home.agent(arguments).env("INNKEEPER_SERVER", sink.url("")));
    sink.next(SinkResponse::status(200).body("{\"unchanged\": 1}"));
    assert_eq!(person(&["apply", file.to_str().unwrap()]).0, Some(0));
    assert_eq!(sink.requests()[0].body, set.as_bytes());
    sink.next(SinkResponse::status(200).body(set));
    assert_eq!(person(&["export"]).1, set);
    // What a server does not know is told in its words.
    let problem = json!({"status": 400, "title": "Bad Request", "detail": "a/b: expect: is no field here"});
    sink.next(SinkResponse::status(400).body(&problem.to_string()));
    let (status, _, err) = person(&["apply", file.to_str().unwrap()]);
    assert!(status == Some(2) && err.contains("a/b: expect: is no field here"), "{err}");
}

#[test]
fn a_command_without_its_mark_is_told_so() {
    let home = Home::new();
    for arguments in [
        &["exec", "a/b", "true"][..],
        &["exec", "a/b"],
        &["exec", "a/b", "backup", "--all"],
        &["--verbose", "exec", "a/b", "x", "--", "y"],
    ] {
        let (status, _, err) = ran(&mut home.agent(arguments));
        assert!(status == Some(125) && err.contains("command after --"), "{arguments:?}: {err}");
    }
    for arguments in [&["exec", "a/b", "--evry", "1d", "--", "true"][..], &["checkin", "a/b", "true"]] {
        let (status, _, err) = ran(&mut home.agent(arguments));
        assert!(status == Some(125) && !err.contains("command after --"), "{arguments:?}: {err}");
    }
}

#[test]
fn status_says_why_a_report_waits() {
    let (home, instance) = (Home::new(), Instance::open());
    instance.now(Mode::Hang);
    let mut command = home.exec(&instance.url(), &["a/b", "--", "true"]);
    ran(command.env("INNKEEPER_EXEC_MAX_DELAY", "1s"));
    let (_, out, _) = ran(home.agent(&["status"]).env("INNKEEPER_SERVER", instance.url()));
    assert!(
        out.contains("1 report\n") && out.contains(&format!("{} did not answer in time", instance.url())),
        "{out}"
    );
}
