//! The second factor, from its set-up to its loss: what a login asks for, what cannot be gone around, who must have
//! one.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::fs;
use std::time::Duration;

use common::eventually;
use common::instance::Instance;
use common::visitor::{
    BEHIND_A_PROXY, OTHER_PASSWORD, PASSWORD, Visitor, audit, code, codes_on, instance, instance_under,
    is_inside, is_written_down, location, secret_on, user,
};
use innkeeper_http::keys::totp;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::faketime::FakeClock;
use innkeeper_testing::process::Server;

#[test]
fn a_login_asks_for_the_second_factor_and_takes_each_code_once() {
    let instance = instance("", &[("ada", "editor")]);
    let (mut ada, mut other) = (user(&instance, "ada"), user(&instance, "ada"));
    // Only with the password.
    let page = ada.get("/account/second-factor");
    assert!(!page.body.contains("otpauth"), "{page:?}");
    let answer = ada.submit("/account/second-factor", &[("password", "wrong")]);
    assert!(answer.status == 400 && answer.body.contains("The password is wrong."), "{answer:?}");
    let answer = ada.submit("/account/second-factor", &[("password", PASSWORD)]);
    assert_eq!(location(&answer), "/account/second-factor?next=%2Fstatus");
    let secret = secret_on(&ada.get("/account/second-factor"));
    assert!(!other.get("/account/second-factor").body.contains("otpauth"), "another session does not see it");
    // It does not count before a code.
    let mut stranger = Visitor::new(&instance.server);
    assert_eq!(location(&stranger.log_in("ada", PASSWORD)), "/alerts?q=a");
    let answer = ada.submit("/account/second-factor/confirm", &[("code", "000000")]);
    assert!(answer.status == 400 && answer.body.contains("The code is wrong."), "{answer:?}");
    assert_eq!(secret_on(&answer), secret, "the same again");
    let first = code(&secret, -1);
    let codes = codes_on(&ada.submit("/account/second-factor/confirm", &[("code", &first)]));
    is_written_down(&instance, "user ada | set up second factor | user ada | app");
    assert!(is_inside(&mut ada) && !is_inside(&mut other), "the others came in without it");
    let page = ada.get("/account").body;
    assert!(page.contains("Recovery codes left: <strong>10</strong>") && !page.contains(&secret), "{page}");
    assert!(!ada.get("/account/second-factor").body.contains(&secret), "it is shown no more");

    let mut visitor = Visitor::new(&instance.server);
    let answer = visitor.log_in("ada", PASSWORD);
    assert_eq!(location(&answer), "/login/second?next=%2Falerts%3Fq%3Da");
    let pending = answer.headers.iter().find(|(_, value)| value.starts_with("innkeeper-second=")).unwrap();
    assert!(pending.1.contains("HttpOnly") && pending.1.contains("SameSite=Strict"), "{pending:?}");
    assert!(pending.1.contains("Max-Age=300"), "{pending:?}");
    // The password alone opens nothing.
    assert!(!visitor.cookies.contains_key("innkeeper") && !is_inside(&mut visitor));
    let mut clever = Visitor::new(&instance.server);
    clever.cookies.insert("innkeeper".to_owned(), visitor.cookies["innkeeper-second"].clone());
    assert!(!is_inside(&mut clever) && clever.call("GET", "/api/v1/me", "").status == 401);
    assert!(!visitor.cookies.keys().any(|name| name.contains("device")), "nor is the browser known by it");
    let page = visitor.get("/login/second?next=%2Falerts%3Fq%3Da");
    assert!(page.status == 200 && page.body.contains("value=\"/alerts?q=a\""), "{page:?}");
    let answer = visitor.submit("/login/second", &[("code", "123 45"), ("next", "/alerts?q=a")]);
    assert!(
        answer.status == 401 && answer.body.contains("The code is wrong, or was used before."),
        "{answer:?}"
    );
    let answer = visitor.submit("/login/second", &[("code", &first), ("next", "/alerts?q=a")]);
    assert_eq!(answer.status, 401, "the one of the set-up: {answer:?}");
    let used = code(&secret, 0);
    let answer = visitor.submit("/login/second", &[("code", &used), ("next", "/alerts?q=a")]);
    assert_eq!(location(&answer), "/alerts?q=a");
    assert!(is_inside(&mut visitor) && !visitor.cookies.contains_key("innkeeper-second"));
    is_written_down(&instance, "user ada | ask for second factor | user ada | the password was right");
    is_written_down(&instance, "user ada | log in | user ada | password and code");
    assert!(visitor.get("/account").body.contains("password and code"));

    // The same again, by whoever looked over the shoulder.
    let mut second = Visitor::new(&instance.server);
    second.log_in("ada", PASSWORD);
    assert_eq!(second.submit("/login/second", &[("code", &used)]).status, 401);
    let next = code(&secret, 1);
    let spaced = format!(" {} {}", &next[..3], &next[3..]);
    let answer = second.submit("/login/second", &[("code", &spaced), ("next", "//evil.example")]);
    assert_eq!(location(&answer), "/status", "nobody is sent elsewhere");
    let refused = audit(&instance).into_iter().filter(|entry| entry.contains("and a wrong code: ")).count();
    assert_eq!(refused, 1, "{:#?}", audit(&instance));

    // Without the phone.
    let typed = codes[3].to_lowercase().replace('-', " ");
    for (n, is_right) in [true, false].into_iter().enumerate() {
        let mut visitor = Visitor::new(&instance.server);
        visitor.log_in("ada", PASSWORD);
        let answer = visitor.submit("/login/second", &[("code", &typed)]);
        assert_eq!(answer.status == 303, is_right, "{n}: {answer:?}");
        assert_eq!(is_inside(&mut visitor), is_right, "{n}");
    }
    is_written_down(&instance, "user ada | use recovery code | user ada | 9 left");
    is_written_down(&instance, "user ada | log in | user ada | password and recovery code");
    assert!(ada.get("/account").body.contains("Recovery codes left: <strong>9</strong>"));

    // What was drawn stands nowhere but where codes are computed from.
    let mut kept = instance.server.log() + &audit(&instance).join("\n");
    for table in ["recovery_codes", "pending_logins", "sessions"] {
        kept += &instance.database.texts(&format!("SELECT hash FROM {table}")).join("\n");
    }
    for secret in codes.iter().chain([&secret, &used]) {
        let bare = secret.replace('-', "");
        assert!(!kept.contains(secret) && !kept.contains(&bare), "{secret} in {kept}");
    }
}

#[test]
fn a_clock_that_was_ahead_refuses_no_code_after() {
    const HOURS: i64 = 20 * 3600;
    let clock = FakeClock::ahead(HOURS);
    let variables = clock.variables();
    let variables: Vec<(&str, &str)> =
        variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let instance = instance_under(&variables, "", &[("ada", "editor")]);
    let mut ada = user(&instance, "ada");
    ada.submit("/account/second-factor", &[("password", PASSWORD)]);
    let secret = secret_on(&ada.get("/account/second-factor"));
    let ahead = code(&secret, i32::try_from(HOURS / totp::STEP.num_seconds()).unwrap());
    codes_on(&ada.submit("/account/second-factor/confirm", &[("code", &ahead)]));

    // The time that the nodes share comes back slowly; a phone knows nothing of it.
    clock.set(0);
    let mut visitor = Visitor::new(&instance.server);
    visitor.log_in("ada", PASSWORD);
    let used = code(&secret, 0);
    let answer = visitor.submit("/login/second", &[("code", &used)]);
    assert!(answer.status == 303 && is_inside(&mut visitor), "{answer:?}");
    let mut second = Visitor::new(&instance.server);
    second.log_in("ada", PASSWORD);
    assert_eq!(second.submit("/login/second", &[("code", &used)]).status, 401, "and is taken once");
}

#[test]
fn a_login_that_waits_has_bounds_of_time_and_tries() {
    let instance = instance("", &[("ada", "editor")]);
    let (secret, _) = user(&instance, "ada").set_up_app();
    let mut late = Visitor::new(&instance.server);
    late.log_in("ada", PASSWORD);
    instance.database.age(Duration::from_secs(301));
    assert_eq!(location(&late.get("/login/second?next=%2Falerts")), "/login?next=%2Falerts");
    let answer = late.submit("/login/second", &[("code", &code(&secret, 0)), ("next", "/alerts")]);
    assert!(answer.status == 401 && answer.body.contains("took too long, too many codes"), "{answer:?}");
    assert!(answer.body.contains("value=\"/alerts\""), "{answer:?}");

    let mut visitor = Visitor::new(&instance.server);
    visitor.log_in("ada", PASSWORD);
    for n in 0..5 {
        let answer = visitor.submit("/login/second", &[("code", "000000")]);
        assert!(answer.body.contains("The code is wrong"), "{n}: {answer:?}");
    }
    // As if there had been more, so that what follows is not in a hurry.
    assert_eq!(
        instance.database.number("SELECT failures FROM login_failures WHERE who LIKE 'codes of % from %'"),
        Some(5)
    );
    instance.database.execute("UPDATE login_failures SET failures = 14 WHERE who LIKE 'codes of %'");
    // Nor by the right one, and whoever begins again has to wait: a right password forgets no wrong codes.
    let right = code(&secret, 0);
    let answer = visitor.submit("/login/second", &[("code", &right)]);
    assert!(answer.status == 401 && answer.body.contains("Begin again"), "{answer:?}");
    for _ in 0..3 {
        assert_eq!(location(&visitor.log_in("ada", PASSWORD)), "/login/second?next=%2Falerts%3Fq%3Da");
        let answer = visitor.submit("/login/second", &[("code", &right)]);
        assert!(
            answer.status == 429 && answer.body.contains("innkeeper invite NAME --reset-second-factor"),
            "{answer:?}"
        );
        assert!(!answer.body.contains("by a link"), "which leads to the second factor again: {answer:?}");
    }
    instance.database.age(Duration::from_secs(600));
    visitor.log_in("ada", PASSWORD);
    assert_eq!(visitor.submit("/login/second", &[("code", &code(&secret, 0))]).status, 303);
    // Without the password there is nothing to try.
    let mut nobody = Visitor::new(&instance.server);
    assert_eq!(nobody.submit("/login/second", &[("code", &code(&secret, 1))]).status, 401);
    assert_eq!(location(&nobody.get("/login/second")), "/login?next=%2Fstatus");
}

#[test]
fn wrong_codes_from_everywhere_keep_no_known_device_out() {
    let instance = instance(BEHIND_A_PROXY, &[("ada", "editor")]);
    let mut ada = user(&instance, "ada");
    let (secret, _) = ada.set_up_app();
    // Somebody with the password, from many networks.
    let mut looked_at = 0;
    for n in 0..40 {
        let mut guesser = Visitor::new(&instance.server);
        guesser.headers.push(("x-forwarded-for", format!("203.0.113.{n}")));
        guesser.log_in("ada", PASSWORD);
        let status = guesser.submit("/login/second", &[("code", "000000")]).status;
        assert!(matches!(status, 401 | 429), "{status}");
        looked_at += usize::from(status == 401);
        if n == 9 {
            // The next one can be looked at a second later, then after two, after four, …: as if there had been more.
            assert_eq!(looked_at, 10);
            let all = "who LIKE 'codes of %' AND who NOT LIKE '% from %'";
            assert_eq!(
                instance.database.number(&format!("SELECT failures FROM login_failures WHERE {all}")),
                Some(10)
            );
            instance.database.execute(&format!("UPDATE login_failures SET failures = 19 WHERE {all}"));
        }
    }
    assert_eq!(looked_at, 10);
    let mut known = Visitor::new(&instance.server);
    known.cookies = ada.cookies.clone();
    known.cookies.remove("innkeeper");
    known.log_in("ada", PASSWORD);
    assert_eq!(known.submit("/login/second", &[("code", &code(&secret, 0))]).status, 303);
}

#[test]
fn a_code_at_two_nodes_at_once_is_taken_by_one() {
    let database = TestDatabase::postgres();
    let config = "auth = \"tokens\"\n[ingest]\nlisten = \"127.0.0.1:0\"\n";
    let start = || Server::start("innkeeper", config, &["--database-url", database.url()]);
    let (one, other) = (start(), start());
    one.address();
    other.address();
    let link = database.store().add_user(
        "ada",
        innkeeper_core::access::UserRole::Viewer,
        &innkeeper_http::keys::hash("link"),
        innkeeper_core::Clock::now(&innkeeper_core::SystemClock) + chrono::TimeDelta::hours(1),
        innkeeper_core::Clock::now(&innkeeper_core::SystemClock),
    );
    link.unwrap().unwrap();
    let mut ada = Visitor::new(&one);
    let answer = ada.submit("/setup/link", &[("password", PASSWORD), ("again", PASSWORD)]);
    assert_eq!(location(&answer), "/status");
    ada.get("/account");
    let (secret, codes) = ada.set_up_app();
    for given in [code(&secret, 1), codes[0].clone()] {
        let mut visitors: Vec<Visitor<'_>> = (0..6)
            .map(|n| {
                let mut visitor = Visitor::new(if n % 2 == 0 { &one } else { &other });
                // Known, so that they wait for nobody's wrong codes.
                visitor.cookies = ada.cookies.clone();
                visitor.cookies.remove("innkeeper");
                visitor.log_in("ada", PASSWORD);
                visitor
            })
            .collect();
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let tries: Vec<_> = visitors
                .iter_mut()
                .map(|visitor| scope.spawn(|| visitor.submit("/login/second", &[("code", &given)]).status))
                .collect();
            tries.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert_eq!(statuses.iter().filter(|status| **status == 303).count(), 1, "{statuses:?}");
        database.execute("DELETE FROM login_failures");
    }
    // A session of one node is one at the other.
    assert_eq!(ada.at(&other).get("/account").status, 200);
}

#[test]
fn a_link_for_a_password_does_not_go_around_the_second_factor() {
    let instance = instance("", &[("ada", "editor")]);
    let (secret, _) = user(&instance, "ada").set_up_app();
    let link = instance.link("ada", "editor");
    let mut visitor = Visitor::new(&instance.server);
    let answer = visitor.submit(&link, &[("password", OTHER_PASSWORD), ("again", OTHER_PASSWORD)]);
    assert_eq!(location(&answer), "/login/second?next=%2Fstatus");
    assert!(!is_inside(&mut visitor));
    assert_eq!(visitor.submit("/login/second", &[("code", &code(&secret, 0))]).status, 303);
    assert!(is_inside(&mut visitor));
}

#[test]
fn removing_it_and_new_recovery_codes_want_the_password_and_a_code() {
    let instance = instance("", &[("ada", "editor")]);
    let mut ada = user(&instance, "ada");
    let (secret, codes) = ada.set_up_app();
    let right = code(&secret, 0);
    for path in ["/account/recovery-codes", "/account/second-factor/remove"] {
        for fields in [
            [("password", ""), ("code", right.as_str())],
            [("password", "wrong"), ("code", &right)],
            [("password", PASSWORD), ("code", "")],
            [("password", PASSWORD), ("code", "000000")],
        ] {
            let answer = ada.submit(path, &fields);
            assert_eq!(answer.status, 400, "{path} {fields:?}: {answer:?}");
        }
        instance.database.execute("DELETE FROM login_failures");
    }
    let new = codes_on(&ada.submit("/account/recovery-codes", &[("password", PASSWORD), ("code", &right)]));
    assert!(new.iter().all(|code| !codes.contains(code)));
    is_written_down(&instance, "user ada | make recovery codes | user ada | ");
    let old = ada.submit("/account/second-factor/remove", &[("password", PASSWORD), ("code", &codes[0])]);
    assert_eq!(old.status, 400, "those of before are gone: {old:?}");
    let answer = ada.submit("/account/second-factor/remove", &[("password", PASSWORD), ("code", &new[0])]);
    assert_eq!(location(&answer), "/account#second-factor");
    is_written_down(&instance, "user ada | remove second factor | user ada | app");
    assert!(is_inside(&mut ada) && ada.get("/account").body.contains("Set up an authenticator app"));
    assert_eq!(location(&Visitor::new(&instance.server).log_in("ada", PASSWORD)), "/alerts?q=a");
    assert_eq!(instance.database.count("recovery_codes"), 0);
}

/// Nobody sees a form that can only fail, and nobody requires what is asked for elsewhere.
#[test]
fn whoever_has_no_password_sets_up_no_second_factor() {
    let instance = instance("", &[("root", "admin"), ("ada", "editor")]);
    let (mut root, mut ada) = (user(&instance, "root"), user(&instance, "ada"));
    instance.database.execute(
        "UPDATE users SET password = NULL WHERE name = 'ada';
         INSERT INTO identities (issuer, subject, user_id) SELECT 'https://id.example', 'a', id FROM users WHERE name = 'ada'",
    );
    let page = ada.get("/account/second-factor");
    assert!(page.status == 200 && page.body.contains("You have no password here"), "{page:?}");
    assert!(!page.body.contains("name=\"password\""), "{page:?}");
    let page = root.get("/settings").body;
    let row = |name: &str| {
        page.split("<tr>").find(|row| row.starts_with(&format!("<td>{name}"))).unwrap().to_owned()
    };
    assert!(
        row("root").contains("second-factor/require") && !row("ada").contains("second-factor/require"),
        "{page}"
    );
}

#[test]
fn who_must_have_one_does_nothing_before() {
    let config =
        "auth = \"tokens\"\n[ingest]\nlisten = \"127.0.0.1:0\"\nworkers = 1\n[web]\nsecond_factor = ";
    let instance = instance("[web]\nsecond_factor = \"admins\"\n", &[("root", "admin"), ("ada", "editor")]);
    let mut ada = user(&instance, "ada");
    let mut root = Visitor::new(&instance.server);
    let answer = root.log_in("root", PASSWORD);
    assert_eq!(location(&answer), "/account/second-factor?next=%2Falerts%3Fq%3Da");
    for path in ["/", "/status", "/alerts", "/settings", "/settings/audit", "/account", "/new", "/nodes"] {
        assert_eq!(location(&root.get(path)), "/account/second-factor", "{path}");
    }
    let page = root.get("/account/second-factor?next=%2Falerts%3Fq%3Da");
    assert!(
        page.body.contains("You must have a second factor here.") && !page.body.contains("<nav"),
        "{page:?}"
    );
    for (method, path) in [
        ("GET", "/api/v1/me"),
        ("GET", "/api/v1/reservations"),
        ("GET", "/reservation"),
        ("GET", "/metrics"),
        ("POST", "/api/v1/tokens"),
        ("POST", "/checkin"),
    ] {
        let answer = root.call(method, path, "{\"name\":\"x\",\"scopes\":[\"read\"]}");
        assert!(answer.status == 403 && answer.body.contains("set up a second factor"), "{path}: {answer:?}");
    }
    for path in
        ["/settings/users", "/settings/tokens", "/account/password", "/account/sessions/end-others", "/new"]
    {
        let answer = root.submit(path, &[("name", "x"), ("role", "admin"), ("scope", "read")]);
        assert_eq!(location(&answer), "/account/second-factor", "{path}");
    }
    assert_eq!((instance.database.count("tokens"), instance.database.count("users")), (0, 2));
    // The login has begun it: the password was just shown.
    let secret = secret_on(&root.get("/account/second-factor"));
    let fields = [("code", code(&secret, -1)), ("next", "/alerts?q=a".to_owned())];
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer = root.submit("/account/second-factor/confirm", &fields);
    assert!(answer.body.contains("href=\"/alerts?q=a\""), "{answer:?}");
    codes_on(&answer);
    assert!(is_inside(&mut root) && root.get("/settings/audit").status == 200);
    // Whoever may remove it has to set up another.
    let fields = [("password", PASSWORD), ("code", &code(&secret, 0))];
    assert_eq!(root.submit("/account/second-factor/remove", &fields).status, 303);
    assert_eq!(location(&root.get("/status")), "/account/second-factor");
    assert_eq!(
        location(&root.submit("/account/second-factor", &[("password", PASSWORD)])),
        "/account/second-factor?next=%2Fstatus"
    );

    // A token goes on; and what is asked of whom changes while it runs, also for sessions that there are.
    let token = instance.command(&["token", "deploy", "--scope", "read"]);
    let me = |instance: &Instance| {
        let bearer = format!("Bearer {}", token.trim());
        instance
            .client
            .send("GET", &instance.server.url("/api/v1/me"), &[("authorization", &bearer)], b"")
            .unwrap()
    };
    assert!(is_inside(&mut ada));
    fs::write(instance.server.directory().join("innkeeper.toml"), format!("{config}\"everybody\"\n"))
        .unwrap();
    instance.server.signal("HUP");
    eventually("it is asked of everybody", || (ada.get("/status").status == 303).then_some(()));
    assert_eq!(location(&ada.get("/status")), "/account/second-factor");
    assert_eq!(me(&instance).status, 200, "programs have none");
    fs::write(instance.server.directory().join("innkeeper.toml"), format!("{config}\"optional\"\n")).unwrap();
    instance.server.signal("HUP");
    eventually("it is asked of nobody", || (ada.get("/status").status == 200).then_some(()));
}

#[test]
fn an_admin_requires_and_removes_it_and_ends_sessions() {
    let instance = instance("", &[("root", "admin"), ("ada", "editor"), ("bob", "viewer")]);
    let mut root = user(&instance, "root");
    let id = |name: &str| {
        instance.database.texts(&format!("SELECT CAST(id AS TEXT) FROM users WHERE name = '{name}'"))[0]
            .clone()
    };
    let (ada_id, bob_id, root_id) = (id("ada"), id("bob"), id("root"));
    let mut ada = user(&instance, "ada");
    let require = format!("/settings/users/{ada_id}/second-factor/require");
    assert_eq!(location(&root.submit(&require, &[("required", "yes")])), "/settings#users");
    is_written_down(&instance, "user root | require second factor | user ada | optional -> required");
    let row = |root: &mut Visitor<'_>, name: &str| {
        let page = root.get("/settings").body;
        page.split("<tr>").find(|row| row.starts_with(&format!("<td>{name}"))).unwrap().to_owned()
    };
    assert!(row(&mut root, "ada").contains("has yet to set one up"));
    assert_eq!(location(&ada.get("/status")), "/account/second-factor", "at once");
    let (secret, _) = ada.set_up_app();
    assert!(is_inside(&mut ada));
    assert!(row(&mut root, "ada").contains("has one, as required"));
    // Nobody but admins.
    let mut bob = user(&instance, "bob");
    let remove = format!("/settings/users/{ada_id}/second-factor/remove");
    for path in [&require, &remove, &format!("/settings/users/{ada_id}/sessions/end")] {
        assert_eq!(bob.submit(path, &[]).status, 403, "{path}");
        assert_eq!(ada.submit(path, &[]).status, 403, "{path}");
    }
    // The phone is lost.
    assert_eq!(location(&root.submit(&remove, &[])), "/settings#users");
    is_written_down(&instance, "user root | remove second factor | user ada | ");
    assert!(!is_inside(&mut ada));
    assert_eq!(root.submit(&remove, &[]).status, 404);
    assert_eq!(location(&root.submit(&require, &[])), "/settings#users");
    let mut ada = user(&instance, "ada");
    let (other, _) = ada.set_up_app();
    assert_ne!(other, secret);
    // By the machine, in one go with another password.
    let said = instance.command(&["invite", "ada", "--reset-second-factor"]);
    assert!(said.contains("The second factor of ada is removed") && said.contains("/setup/"), "{said}");
    is_written_down(&instance, "command line | remove second factor | user ada | ");
    assert!(!is_inside(&mut ada));
    let link = &said[said.find("/setup/").unwrap()..];
    let link = link.split_whitespace().next().unwrap();
    let answer = Visitor::new(&instance.server).submit(link, &[("password", PASSWORD), ("again", PASSWORD)]);
    assert_eq!(location(&answer), "/status");
    assert!(
        instance.command(&["invite", "ada", "--reset-second-factor"]).contains("ada had no second factor")
    );

    assert!(is_inside(&mut bob));
    assert_eq!(
        location(&root.submit(&format!("/settings/users/{bob_id}/sessions/end"), &[])),
        "/settings#users"
    );
    assert!(!is_inside(&mut bob));
    is_written_down(&instance, "user root | end sessions | user bob | 1 ended");
    // Their own factor an admin removes as everybody does; of their sessions this one stays.
    assert_eq!(root.submit(&format!("/settings/users/{root_id}/second-factor/remove"), &[]).status, 409);
    assert_eq!(root.submit(&format!("/settings/users/{root_id}/sessions/end"), &[]).status, 303);
    assert!(is_inside(&mut root));
}
