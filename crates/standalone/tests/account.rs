//! My account: the password, the sessions, colours and zone. The second factor has a file of its own.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::time::Duration;

use common::instance::Instance;
use common::visitor::{
    BEHIND_A_PROXY, OTHER_PASSWORD, PASSWORD, Visitor, audit, instance, is_inside, is_written_down, location,
    user,
};
use innkeeper_testing::process::Server;

/// As if there had been more wrong passwords of strangers: what follows is not in a hurry.
fn longer(instance: &Instance) {
    let these = "who LIKE 'account % from %'";
    assert!(
        instance.database.number(&format!("SELECT failures FROM login_failures WHERE {these}")) >= Some(5)
    );
    instance.database.execute(&format!("UPDATE login_failures SET failures = 14 WHERE {these}"));
}

#[test]
fn a_password_is_changed_with_the_one_of_before() {
    let instance = instance("", &[("ada", "editor")]);
    let (mut ada, mut elsewhere) = (user(&instance, "ada"), user(&instance, "ada"));
    assert!(ada.get("/status").body.contains("<a href=\"/account\">ada</a>"), "her name leads there");
    let known_before = ada.cookies.clone();
    let mut change = |now: &str, new: &str, again: &str| {
        ada.submit("/account/password", &[("password", now), ("new", new), ("again", again)])
    };
    for (now, new, again, problem) in [
        ("wrong", OTHER_PASSWORD, OTHER_PASSWORD, "The password is wrong."),
        (PASSWORD, OTHER_PASSWORD, "another", "was not typed the same both times"),
        (PASSWORD, "short", "short", "is too short"),
        (PASSWORD, "password1234", "password1234", "one of the first that an attacker tries"),
        (PASSWORD, "ada innkeeper", "ada innkeeper", "one of the first that an attacker tries"),
    ] {
        let answer = change(now, new, again);
        assert!(answer.status == 400 && answer.body.contains(problem), "{problem}: {answer:?}");
    }
    let answer = change(PASSWORD, OTHER_PASSWORD, OTHER_PASSWORD);
    assert!(answer.status == 200 && answer.body.contains("The password is changed."), "{answer:?}");
    is_written_down(&instance, "user ada | change password | user ada | ");
    assert!(is_inside(&mut ada), "this session goes on");
    assert!(!is_inside(&mut elsewhere), "the others end");
    let mut stranger = Visitor::new(&instance.server);
    assert_eq!(stranger.log_in("ada", PASSWORD).status, 401);
    assert_eq!(stranger.log_in("ada", OTHER_PASSWORD).status, 303);

    // Who guesses keeps strangers out. This browser is known, and one of before the change is none any more.
    for _ in 0..6 {
        Visitor::new(&instance.server).log_in("ada", "wrong");
    }
    longer(&instance);
    let mut before = Visitor::new(&instance.server);
    before.cookies = known_before;
    before.cookies.remove("innkeeper");
    assert_eq!(before.log_in("ada", OTHER_PASSWORD).status, 429);
    let mut known = Visitor::new(&instance.server);
    known.cookies = ada.cookies.clone();
    known.cookies.remove("innkeeper");
    assert_eq!(known.log_in("ada", OTHER_PASSWORD).status, 303);
}

#[test]
fn wrong_passwords_of_the_account_are_counted_as_those_of_a_login() {
    let instance = instance("", &[("ada", "editor")]);
    let mut ada = user(&instance, "ada");
    // Whoever has the session alone, without what makes the browser known.
    ada.cookies.retain(|name, _| !name.contains("device"));
    let mut wrong = |path: &str| {
        ada.submit(path, &[("password", "wrong"), ("new", OTHER_PASSWORD), ("again", OTHER_PASSWORD)]).status
    };
    for path in
        ["/account/password", "/account/second-factor", "/account/recovery-codes", "/account/password"]
    {
        assert_eq!(wrong(path), 400, "{path}");
    }
    assert_eq!(wrong("/account/second-factor/remove"), 400);
    longer(&instance);
    for path in ["/account/password", "/account/second-factor", "/account/second-factor/remove"] {
        assert_eq!(wrong(path), 429, "{path}");
    }
    assert_eq!(Visitor::new(&instance.server).log_in("ada", PASSWORD).status, 429, "nor by the login");
    let refused = audit(&instance).into_iter().find(|entry| entry.contains("refused login")).unwrap();
    assert!(refused.contains("user ada") && refused.contains("a wrong name or password: 5"), "{refused}");
}

#[test]
fn a_user_sees_their_sessions_and_ends_them() {
    let instance = instance(BEHIND_A_PROXY, &[("ada", "editor"), ("bob", "viewer")]);
    let mut ada = user(&instance, "ada");
    let mut phone = Visitor::new(&instance.server);
    phone.headers = vec![
        (
            "user-agent",
            "Mozilla/5.0 (Linux; Android 15) <script>alert(1)</script> Chrome/139.0 Mobile".to_owned(),
        ),
        ("x-forwarded-for", "203.0.113.9".to_owned()),
    ];
    phone.enter("ada");
    let mut third = user(&instance, "ada");
    let mut bob = user(&instance, "bob");
    let page = ada.get("/account").body;
    for text in ["Firefox on Linux", "Chrome on Android", "203.0.113.9", "127.0.0.1", "(this one)"] {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert!(!page.contains("<script>alert"), "{page}");
    assert_eq!(page.matches("(this one)").count(), 1);
    let row = page.split("<tr>").find(|row| row.contains("203.0.113.9")).unwrap();
    let end = row.split("action=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert_eq!(bob.submit(&end, &[]).status, 404, "somebody else's");
    assert!(is_inside(&mut phone));
    assert_eq!(location(&ada.submit(&end, &[])), "/account#sessions");
    assert!(!is_inside(&mut phone) && is_inside(&mut third) && is_inside(&mut ada));
    assert_eq!(ada.submit(&end, &[]).status, 404, "it has ended");
    is_written_down(&instance, "user ada | end session | user ada | Chrome on Android, 203.0.113.9");
    assert_eq!(location(&ada.submit("/account/sessions/end-others", &[])), "/account#sessions");
    assert!(!is_inside(&mut third) && is_inside(&mut ada) && is_inside(&mut bob));
    is_written_down(&instance, "user ada | end sessions | user ada | 1 ended");
    assert!(!ada.get("/account").body.contains("End all others"), "there are none");
}

#[test]
fn a_page_that_is_left_open_keeps_no_session_alive() {
    let instance = instance("[web]\nsession = \"1h\"\n", &[("ada", "viewer")]);
    let (mut open, mut used) = (user(&instance, "ada"), user(&instance, "ada"));
    for minutes in [20, 40, 59] {
        instance.database.age(Duration::from_secs(if minutes == 59 { 19 * 60 } else { 20 * 60 }));
        assert_eq!(open.get_by_itself("/status").status, 200, "{minutes}");
        assert_eq!(used.get("/status").status, 200, "{minutes}");
    }
    instance.database.age(Duration::from_secs(2 * 60));
    let answer = open.get_by_itself("/status");
    assert_eq!(location(&answer), "/login?next=%2Fstatus");
    assert!(open.get("/login?next=%2Fstatus").body.contains("You were logged out"), "and it says why");
    assert!(!Visitor::new(&instance.server).get("/login").body.contains("You were logged out"));
    assert_eq!(used.get("/status").status, 200);
    // Whoever logs out knows it.
    used.submit("/logout", &[]);
    assert!(!used.get("/login").body.contains("You were logged out"));
    // What changes something is a use, whatever its header says.
    let mut ada = user(&instance, "ada");
    instance.database.age(Duration::from_secs(40 * 60));
    ada.headers.push(("x-requested-by", "live".to_owned()));
    ada.submit("/account/display", &[("theme", "dark"), ("zone", "")]);
    instance.database.age(Duration::from_secs(40 * 60));
    assert_eq!(ada.get("/status").status, 200);
}

#[test]
fn colours_and_zone_are_of_the_browser_in_an_open_instance_too() {
    let server = Server::start("innkeeper", "[ingest]\nlisten = \"127.0.0.1:0\"\n", &[]);
    let mut visitor = Visitor::new(&server);
    let page = visitor.get("/account");
    assert_eq!(page.status, 200, "{page:?}");
    for absent in ["Password", "Sessions", "Second factor"] {
        assert!(!page.body.contains(absent), "{absent}: {page:?}");
    }
    assert!(!page.body.contains("data-theme"));
    assert!(visitor.get("/status").body.contains("<a href=\"/account\">Display</a>"));
    let fields = [("theme", "dark"), ("zone", "Asia/Tokyo")];
    assert_eq!(location(&visitor.submit("/account/display", &fields)), "/account#display");
    let page = visitor.get("/status").body;
    assert!(page.contains("data-theme=\"dark\"") && page.contains("Times are in Asia/Tokyo"), "{page}");
    for (theme, attribute) in [("light", "data-theme=\"light\""), ("system", "data-base=\"\">")] {
        visitor.submit("/account/display", &[("theme", theme), ("zone", "")]);
        assert!(visitor.get("/status").body.contains(attribute), "{theme}");
    }
    assert!(
        !visitor.cookies.contains_key("innkeeper-theme") && !visitor.cookies.contains_key("innkeeper-zone")
    );
    for (theme, zone) in [("pink", ""), ("", ""), ("dark", "Asia/Tokio")] {
        assert_eq!(
            visitor.submit("/account/display", &[("theme", theme), ("zone", zone)]).status,
            400,
            "{theme}"
        );
    }
    // A cookie that nobody was given is none; and pages for everybody follow the system.
    visitor.cookies.insert("innkeeper-theme".to_owned(), "x\"><script>".to_owned());
    assert!(!visitor.get("/status").body.contains("data-theme"));
    visitor.cookies.insert("innkeeper-theme".to_owned(), "dark".to_owned());
    let public = visitor.get("/public/nothing");
    assert!(!public.body.contains("data-theme") && public.header("set-cookie").is_none(), "{public:?}");
    // Nothing of an account.
    for path in [
        "/account/password",
        "/account/second-factor",
        "/account/second-factor/confirm",
        "/account/recovery-codes",
    ] {
        assert_eq!(visitor.submit(path, &[("password", "x")]).status, 403, "{path}");
    }
    assert_eq!(visitor.get("/account/second-factor").status, 403);
}

#[test]
fn who_signs_on_elsewhere_has_no_password_here() {
    let instance = Instance::open(
        "[web]\nsecond_factor = \"everybody\"\nsign_on_header = \"X-Forwarded-User\"\nsign_on_proxies = [\"127.0.0.1\"]\n",
    );
    let mut grace = Visitor::new(&instance.server);
    grace.headers.push(("x-forwarded-user", "grace".to_owned()));
    let page = grace.get("/account");
    assert!(page.status == 200 && page.body.contains("You have no password here"), "{page:?}");
    assert!(!page.body.contains("/account/password") && page.body.contains("Display"), "{page:?}");
    assert_eq!(grace.get("/status").status, 200, "a second factor is the business of whoever signs them on");
    let fields = [("password", "x"), ("new", OTHER_PASSWORD), ("again", OTHER_PASSWORD)];
    let answer = grace.submit("/account/password", &fields);
    assert!(answer.status == 400 && answer.body.contains("You have no password here"), "{answer:?}");
    assert_eq!(grace.submit("/account/second-factor", &[("password", "")]).status, 400);
}
