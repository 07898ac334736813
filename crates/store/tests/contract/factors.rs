//! Second factors: codes and recovery codes are accepted once, a limited number of logins waits for
//! them, and which sessions a user sees.

use chrono::TimeDelta;
use innkeeper_core::access::UserRole;
use innkeeper_core::second_factor::{Factor, LoginMethod};
use innkeeper_store::{
    ActingStore, Actor, AppAdded, Factors, NewPasskey, NewSession, PasskeyAdded, Removed, TokensLeft, User,
};
use innkeeper_testing::database::TestDatabase;

use crate::world::*;

on_both!(
    an_app_is_set_up_by_the_session_that_was_shown_it_and_in_time,
    a_step_is_taken_once,
    a_recovery_code_is_used_once,
    a_login_waits_five_minutes_and_five_tries,
    of_one_user_few_logins_wait,
    a_waiting_login_becomes_one_session,
    a_password_alone_begins_no_session_of_who_has_a_factor,
    a_session_of_an_older_node_goes_around_no_factor,
    what_is_begun_while_a_factor_is_set_up_waits_for_it,
    what_is_begun_while_the_password_changes_waits_for_it,
    of_two_first_factors_at_once_one_brings_the_codes,
    an_app_that_is_begun_twice_at_once_is_begun,
    what_changes_a_login_gives_up_those_that_wait,
    a_second_factor_is_removed_with_all_that_hangs_on_it,
    it_can_be_required_of_one_user,
    a_user_sees_and_ends_their_own_sessions,
    of_one_user_few_sessions_go_on,
    what_a_page_does_by_itself_is_no_use_of_a_session,
    another_password_ends_the_other_sessions,
    a_removed_user_leaves_nothing,
    what_waited_in_vain_is_forgotten,
);

const IDLE: TimeDelta = TimeDelta::hours(12);

fn ada(database: &TestDatabase) -> (ActingStore, User) {
    let store = database.store().acting_as(Actor { who: "user ada".to_owned(), source: "::1".to_owned() });
    let user = store.add_user("ada", UserRole::Editor, "link", at(100), at(0)).unwrap().unwrap();
    let user = store.accept_invitation("link", "", "hash", at(0)).unwrap().unwrap_or(user);
    (store, user)
}

/// Like [`ada`], with an authenticator app set up at 1000 and these recovery codes.
fn ada_with_an_app(database: &TestDatabase, codes: &[&str]) -> (ActingStore, User) {
    let (store, user) = ada(database);
    store.begin_session(&user, &new_session("session"), at(1000)).unwrap();
    store.begin_app_setup(user.id, "session", "SECRET", at(1000)).unwrap();
    let codes: Vec<String> = codes.iter().map(|code| (*code).to_owned()).collect();
    let added = store.finish_app_setup(&user, "session", "SECRET", at(990), &codes, at(1000)).unwrap();
    assert_eq!(added, AppAdded::First);
    (store, user)
}

fn actions(database: &TestDatabase) -> Vec<String> {
    database.texts("SELECT action || ': ' || detail FROM audit ORDER BY id")
}

fn an_app_is_set_up_by_the_session_that_was_shown_it_and_in_time(database: &TestDatabase) {
    let (store, user) = ada(database);
    for session in ["one", "two"] {
        store.begin_session(&user, &new_session(session), at(0)).unwrap();
    }
    let finish = |session: &str, secret: &str, now: i64| {
        let codes = ["a".to_owned(), "b".to_owned()];
        store.finish_app_setup(&user, session, secret, at(now - 10), &codes, at(now)).unwrap()
            == AppAdded::First
    };
    assert!(!finish("one", "SECRET", 1), "nothing was shown");
    store.begin_app_setup(user.id, "one", "SECRET", at(0)).unwrap();
    assert_eq!(store.app_setup(user.id, "one", at(899)).unwrap().as_deref(), Some("SECRET"));
    assert_eq!(store.app_setup(user.id, "one", at(900)).unwrap(), None, "a quarter of an hour");
    assert_eq!(store.app_setup(user.id, "two", at(1)).unwrap(), None, "another session");
    assert!(!finish("two", "SECRET", 1) && !finish("one", "OTHER", 1) && !finish("one", "SECRET", 900));
    assert_eq!(store.factors(user.id).unwrap(), Factors::default());
    store.begin_app_setup(user.id, "one", "AGAIN", at(1000)).unwrap();
    let done = together(4, |_| {
        patiently(|| {
            store.finish_app_setup(
                &user,
                "one",
                "AGAIN",
                at(1000),
                &["a".to_owned(), "b".to_owned()],
                at(1001),
            )
        })
    });
    assert_eq!(done.iter().filter(|done| **done == AppAdded::First).count(), 1, "{done:?}");
    let factors = store.factors(user.id).unwrap();
    assert!(factors.any() && factors.app);
    assert_eq!((factors.recovery_codes, store.app_secret(user.id).unwrap().as_deref()), (2, Some("AGAIN")));
    assert_eq!(store.factors_of_all().unwrap().into_iter().collect::<Vec<_>>(), [(user.id, factors)]);
    // Other sessions began without a second factor.
    assert!(store.session("one", true, IDLE, at(1002)).unwrap().is_some());
    assert_eq!(store.session("two", true, IDLE, at(1002)).unwrap(), None);
    // A second app does not replace the first.
    store.begin_app_setup(user.id, "one", "THIRD", at(1003)).unwrap();
    assert!(!finish("one", "THIRD", 1004));
    assert_eq!(store.app_secret(user.id).unwrap().as_deref(), Some("AGAIN"));
    assert!(actions(database).contains(&"set up second factor: app".to_owned()));
}

fn a_step_is_taken_once(database: &TestDatabase) {
    let (store, user) = ada_with_an_app(database, &[]);
    assert!(!store.take_step(user.id, "SECRET", at(990)).unwrap(), "the one of the set-up");
    assert!(!store.take_step(user.id, "SECRET", at(960)).unwrap(), "one before it");
    assert!(
        !store.take_step(user.id, "OTHER", at(1020)).unwrap()
            && !store.take_step(99, "SECRET", at(1020)).unwrap()
    );
    // Several at once, on several nodes.
    let (one, other) = (database.connect(), database.connect());
    let taken = together(8, |n| patiently(|| [&one, &other][n % 2].take_step(user.id, "SECRET", at(1020))));
    assert_eq!(taken.iter().filter(|taken| **taken).count(), 1, "{taken:?}");
    assert!(store.take_step(user.id, "SECRET", at(1050)).unwrap());
    assert!(!store.take_step(user.id, "SECRET", at(1020)).unwrap(), "an older one");
}

fn a_recovery_code_is_used_once(database: &TestDatabase) {
    let (store, user) = ada_with_an_app(database, &["a", "b", "c"]);
    let bob = store.user_or_new("bob", UserRole::Viewer, at(0)).unwrap().unwrap();
    assert!(!store.use_recovery_code(&bob, "a", at(1001)).unwrap(), "somebody else's");
    assert!(!store.use_recovery_code(&user, "x", at(1001)).unwrap());
    let (one, other) = (database.connect(), database.connect());
    let used = together(8, |n| patiently(|| [&one, &other][n % 2].use_recovery_code(&user, "a", at(1002))));
    assert_eq!(used.iter().filter(|used| **used).count(), 1, "{used:?}");
    assert_eq!(store.factors(user.id).unwrap().recovery_codes, 2);
    assert!(store.use_recovery_code(&user, "b", at(1003)).unwrap());
    assert!(actions(database).contains(&"use recovery code: 1 left".to_owned()), "{:?}", actions(database));
    store.renew_recovery_codes(&user, &["d".to_owned(), "e".to_owned()], at(1004)).unwrap();
    assert!(!store.use_recovery_code(&user, "c", at(1005)).unwrap(), "those of before are gone");
    assert!(store.use_recovery_code(&user, "d", at(1005)).unwrap());
}

fn a_login_waits_five_minutes_and_five_tries(database: &TestDatabase) {
    let (store, user) = ada(database);
    store.add_pending_login(&user, "hash", "login", "10.0.0.5", at(0)).unwrap();
    assert_eq!(store.pending_login("login", at(299)).unwrap(), Some(user.clone()));
    assert_eq!(store.pending_login("login", at(300)).unwrap(), None);
    assert_eq!(store.try_pending_login("login", at(300)).unwrap(), None);
    assert_eq!(store.pending_login("other", at(1)).unwrap(), None);
    store.add_pending_login(&user, "hash", "again", "10.0.0.5", at(400)).unwrap();
    assert_eq!(database.count("pending_logins"), 1, "what waited in vain is gone");
    let tries = together(12, |_| patiently(|| store.try_pending_login("again", at(401))));
    assert_eq!(tries.iter().flatten().count(), 5, "{tries:?}");
    assert_eq!(store.pending_login("again", at(402)).unwrap(), None);
    assert_eq!(database.count("sessions"), 0);
}

fn of_one_user_few_logins_wait(database: &TestDatabase) {
    let (store, user) = ada(database);
    let bob = store.user_or_new("bob", UserRole::Viewer, at(0)).unwrap().unwrap();
    database.execute("UPDATE users SET password = 'hash'");
    assert!(store.add_pending_login(&bob, "hash", "bobs", "10.0.0.5", at(0)).unwrap());
    for n in 0..120 {
        store.add_pending_login(&user, "hash", &format!("login {n}"), "10.0.0.5", at(n)).unwrap();
    }
    assert_eq!(database.count("pending_logins"), 51);
    assert!(store.pending_login("login 119", at(120)).unwrap().is_some());
    assert_eq!(store.pending_login("login 69", at(120)).unwrap(), None, "the oldest are given up");
    assert!(store.pending_login("bobs", at(120)).unwrap().is_some());
    // Logins from one network do not displace those from another.
    assert!(store.add_pending_login(&user, "hash", "elsewhere", "10.0.0.6", at(121)).unwrap());
    for n in 122..222 {
        store.add_pending_login(&user, "hash", &format!("login {n}"), "10.0.0.5", at(n)).unwrap();
    }
    assert!(store.pending_login("elsewhere", at(222)).unwrap().is_some());
    assert_eq!(store.pending_login("login 172", at(222)).unwrap(), None);
    for n in 222..322 {
        let network = format!("10.1.{n}.0");
        store.add_pending_login(&user, "hash", &format!("login {n}"), &network, at(n)).unwrap();
    }
    assert_eq!(database.count("pending_logins"), 51);
    assert!(store.pending_login("login 321", at(322)).unwrap().is_some());
}

fn a_waiting_login_becomes_one_session(database: &TestDatabase) {
    let (store, user) = ada(database);
    store.add_pending_login(&user, "hash", "login", "10.0.0.5", at(0)).unwrap();
    let begun = together(4, |n| {
        let hash = format!("session {n}");
        let method = LoginMethod::PasswordAnd(Factor::RecoveryCode);
        let new = NewSession { method, pending: Some("login"), ..new_session(&hash) };
        patiently(|| store.begin_session(&user, &new, at(1)))
    });
    assert_eq!(begun.iter().filter(|begun| **begun).count(), 1, "{begun:?}");
    assert_eq!((database.count("sessions"), database.count("pending_logins")), (1, 0));
    let known = store.sessions_of(user.id, IDLE, at(2)).unwrap();
    assert_eq!(known[0].method, LoginMethod::PasswordAnd(Factor::RecoveryCode));
    assert!(actions(database).contains(&"log in: password and recovery code".to_owned()));
}

fn a_password_alone_begins_no_session_of_who_has_a_factor(database: &TestDatabase) {
    let (store, user) = ada_with_an_app(database, &[]);
    assert!(!store.begin_session(&user, &new_session("late"), at(1001)).unwrap());
    assert_eq!(store.session("late", true, IDLE, at(1001)).unwrap(), None);
    let with_code = NewSession { method: LoginMethod::PasswordAnd(Factor::Code), ..new_session("late") };
    assert!(store.begin_session(&user, &with_code, at(1001)).unwrap());
}

/// An older node does not check for factors, and has begun this session although the user has one.
fn a_session_of_an_older_node_goes_around_no_factor(database: &TestDatabase) {
    let (store, user) = ada_with_an_app(database, &[]);
    for (hash, method) in [
        ("older", LoginMethod::Password),
        ("code", LoginMethod::PasswordAnd(Factor::Code)),
        ("openid", LoginMethod::OpenId),
    ] {
        database.execute(&format!(
            "INSERT INTO sessions (hash, user_id, csrf, created_at, seen_at, method)
             SELECT '{hash}', id, '', {now}, {now}, '{}' FROM users",
            method.as_str(),
            now = at(1001).timestamp_millis()
        ));
    }
    let is_in = |hash: &str| store.session(hash, true, IDLE, at(1002)).unwrap().is_some();
    assert!(!is_in("older"));
    assert!(is_in("code") && is_in("openid") && is_in("session"), "what came in by more, or before");
    store.remove_app(&user, "older", at(1003)).unwrap();
    assert!(is_in("older"), "there is nothing to go around");
    let new = NewPasskey {
        credential_id: "one",
        credential: "{}",
        name: "Phone",
        session: "older",
        recovery_codes: &[],
    };
    store.add_passkey(&user, new, at(1000)).unwrap();
    assert!(!is_in("older"), "nor around a passkey");
}

/// Runs `begin` while another transaction is open, which ends with `sql`. Checks that `begin` waits
/// for it, and returns its result.
fn meanwhile<T: Send>(database: &TestDatabase, sql: &str, begin: impl Fn() -> T + Sync) -> T {
    let held = database.hold_rows("users");
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| sender.send(begin()).unwrap());
        let early = receiver.recv_timeout(std::time::Duration::from_millis(300));
        assert!(early.is_err(), "it does not wait");
        held.finish(sql);
        receiver.recv().unwrap()
    })
}

fn what_is_begun_while_a_factor_is_set_up_waits_for_it(database: &TestDatabase) {
    let (store, user) = ada(database);
    let app = "INSERT INTO totp (user_id, secret, created_at, used_at) SELECT id, 'SECRET', 0, 0 FROM users";
    let begun = meanwhile(database, app, || {
        patiently(|| {
            store.begin_session(&user, &NewSession { password: Some("hash"), ..new_session("late") }, at(1))
        })
    });
    assert!(!begun);
    assert_eq!(database.count("sessions"), 0);
    // The other way round: a session that begins first is seen, and ended, by the setup of the
    // factor.
    database.execute("DELETE FROM totp");
    store.begin_app_setup(user.id, "this", "SECRET", at(2)).unwrap();
    let session = "INSERT INTO sessions (hash, user_id, csrf, created_at, seen_at) SELECT 'early', id, '', 0, 0 FROM users";
    let set_up = meanwhile(database, session, || {
        patiently(|| store.finish_app_setup(&user, "this", "SECRET", at(0), &[], at(3)))
    });
    assert_eq!((set_up, database.count("sessions")), (AppAdded::First, 0));
    let removed = meanwhile(database, session, || patiently(|| store.remove_app(&user, "this", at(4))));
    assert_eq!((removed, database.count("sessions")), (true, 0));
    database.execute(app);
    let removed =
        meanwhile(database, session, || patiently(|| store.remove_second_factor(user.id, None, at(4))));
    assert_eq!((removed, database.count("sessions")), (true, 0));
    let ended = meanwhile(database, session, || patiently(|| store.end_sessions(user.id, None, at(5))));
    assert_eq!((ended, database.count("sessions")), (Some(1), 0));
}

fn what_is_begun_while_the_password_changes_waits_for_it(database: &TestDatabase) {
    let (store, user) = ada(database);
    let change = "UPDATE users SET password = 'new'";
    let with_hash = NewSession { password: Some("hash"), ..new_session("late") };
    let begun = meanwhile(database, change, || patiently(|| store.begin_session(&user, &with_hash, at(1))));
    assert!(!begun, "a session by the old one");
    database.execute("UPDATE users SET password = 'hash'");
    let waits = meanwhile(database, change, || {
        patiently(|| store.add_pending_login(&user, "hash", "late", "10.0.0.5", at(1)))
    });
    assert!(!waits, "a login by the old one");
    assert_eq!((database.count("sessions"), database.count("pending_logins")), (0, 0));
    // The other way round: the session begins first.
    let session = "INSERT INTO sessions (hash, user_id, csrf, created_at, seen_at) SELECT 'early', id, '', 0, 0 FROM users;
        INSERT INTO pending_logins (hash, user_id, tries, created_at) SELECT 'early', id, 0, 0 FROM users";
    let changed = meanwhile(database, session, || {
        patiently(|| store.change_password(&user, "new", "newer", "this", at(2)))
    });
    assert_eq!((changed, database.count("sessions"), database.count("pending_logins")), (true, 0, 0));
    store.invite_again(user.id, "link", at(100), at(0)).unwrap();
    let chosen = meanwhile(database, session, || {
        patiently(|| store.accept_invitation("link", "", "newest", at(3))).is_some()
    });
    assert_eq!((chosen, database.count("sessions"), database.count("pending_logins")), (true, 0, 0));
}

/// An app and a passkey are set up at once.
fn of_two_first_factors_at_once_one_brings_the_codes(database: &TestDatabase) {
    let (store, user) = ada(database);
    for round in 0..10 {
        store.begin_app_setup(user.id, "this", "SECRET", at(1)).unwrap();
        let codes = [vec!["a".to_owned()], vec!["b".to_owned()]];
        let brought = together(2, |n| match n {
            0 => {
                let add = || store.finish_app_setup(&user, "this", "SECRET", at(0), &codes[0], at(2));
                patiently(add) == AppAdded::First
            }
            _ => {
                let recovery_codes = &codes[1];
                let new = NewPasskey {
                    credential_id: "one",
                    credential: "{}",
                    name: "Phone",
                    session: "this",
                    recovery_codes,
                };
                patiently(|| store.add_passkey(&user, new, at(2))) == PasskeyAdded::First
            }
        });
        assert_eq!(brought.iter().filter(|first| **first).count(), 1, "{round}: {brought:?}");
        let good = if brought[0] { "a" } else { "b" };
        assert_eq!(database.texts("SELECT hash FROM recovery_codes"), [good], "{round}");
        assert!(store.remove_second_factor(user.id, Some("this"), at(3)).unwrap());
        assert!(
            !store.renew_recovery_codes(&user, &codes[0], at(4)).unwrap(),
            "they would stand in for nothing"
        );
        assert_eq!(database.count("recovery_codes"), 0);
    }
}

fn an_app_that_is_begun_twice_at_once_is_begun(database: &TestDatabase) {
    let (store, user) = ada(database);
    together(8, |n| {
        patiently(|| store.begin_app_setup(user.id, "this", &format!("SECRET{n}"), at(n as i64)))
    });
    assert_eq!(database.count("totp_setups"), 1);
    store.begin_app_setup(user.id, "other", "LAST", at(9)).unwrap();
    assert_eq!(store.app_setup(user.id, "this", at(9)).unwrap(), None);
    assert_eq!(store.app_setup(user.id, "other", at(9)).unwrap().as_deref(), Some("LAST"));
}

fn what_changes_a_login_gives_up_those_that_wait(database: &TestDatabase) {
    let (store, user) = ada(database);
    let waits = |name: &str| {
        let hash = store.user_named("ada").unwrap().unwrap().1.unwrap();
        assert!(store.add_pending_login(&user, &hash, name, "10.0.0.5", at(0)).unwrap());
    };
    let is_given_up =
        |name: &str, by: &str| assert_eq!(store.pending_login(name, at(1)).unwrap(), None, "{by}");
    waits("one");
    store.change_role(user.id, UserRole::Viewer, at(1)).unwrap();
    is_given_up("one", "another role");
    waits("two");
    store.invite_again(user.id, "link", at(100), at(1)).unwrap();
    store.accept_invitation("link", "", "other hash", at(1)).unwrap().unwrap();
    is_given_up("two", "another password");
    waits("three");
    store.end_sessions(user.id, None, at(1)).unwrap();
    is_given_up("three", "the end of all sessions");
}

fn a_second_factor_is_removed_with_all_that_hangs_on_it(database: &TestDatabase) {
    let (store, user) = ada_with_an_app(database, &["a"]);
    let with_code = NewSession { method: LoginMethod::PasswordAnd(Factor::Code), ..new_session("other") };
    assert!(store.begin_session(&user, &with_code, at(1001)).unwrap());
    store.add_pending_login(&user, "hash", "login", "10.0.0.5", at(1001)).unwrap();
    assert!(store.remove_second_factor(user.id, Some("session"), at(1002)).unwrap());
    assert_eq!(store.factors(user.id).unwrap(), Factors::default());
    assert!(store.session("session", true, IDLE, at(1003)).unwrap().is_some());
    assert_eq!(store.session("other", true, IDLE, at(1003)).unwrap(), None);
    assert_eq!(store.pending_login("login", at(1003)).unwrap(), None);
    for table in ["totp", "totp_setups", "recovery_codes"] {
        assert_eq!(database.count(table), 0, "{table}");
    }
    assert!(!store.remove_second_factor(user.id, None, at(1004)).unwrap(), "there is none any more");
    assert!(store.session("session", true, IDLE, at(1005)).unwrap().is_some());
    assert!(!store.remove_second_factor(99, None, at(1004)).unwrap());
    // When an admin removes it, every session ends.
    store.begin_app_setup(user.id, "session", "AGAIN", at(1005)).unwrap();
    store.finish_app_setup(&user, "session", "AGAIN", at(990), &[], at(1006)).unwrap();
    assert!(store.remove_second_factor(user.id, None, at(1007)).unwrap());
    assert_eq!(store.session("session", true, IDLE, at(1008)).unwrap(), None);
    let removed =
        actions(database).iter().filter(|action| action.starts_with("remove second factor")).count();
    assert_eq!(removed, 2);
}

fn it_can_be_required_of_one_user(database: &TestDatabase) {
    let (store, user) = ada(database);
    assert!(!user.second_factor_required);
    for _ in 0..2 {
        assert!(store.require_second_factor(user.id, true, at(1)).unwrap());
    }
    assert!(store.users().unwrap()[0].second_factor_required);
    assert!(store.require_second_factor(user.id, false, at(2)).unwrap());
    assert!(!store.users().unwrap()[0].second_factor_required);
    assert!(!store.require_second_factor(99, true, at(2)).unwrap());
    let changes: Vec<String> =
        actions(database).into_iter().filter(|action| action.starts_with("require second factor")).collect();
    assert_eq!(
        changes,
        ["require second factor: optional -> required", "require second factor: required -> optional"]
    );
}

fn a_user_sees_and_ends_their_own_sessions(database: &TestDatabase) {
    let (store, user) = ada(database);
    let bob = store.user_or_new("bob", UserRole::Viewer, at(0)).unwrap().unwrap();
    store.begin_session(&bob, &new_session("bobs"), at(0)).unwrap();
    for (n, hash) in ["one", "two", "three"].into_iter().enumerate() {
        store.begin_session(&user, &new_session(hash), at(n as i64)).unwrap();
    }
    let hashes = |now| -> Vec<String> {
        store.sessions_of(user.id, IDLE, now).unwrap().into_iter().map(|known| known.hash).collect()
    };
    assert_eq!(hashes(at(10)), ["three", "two", "one"]);
    let known = store.sessions_of(user.id, IDLE, at(10)).unwrap().remove(0);
    assert_eq!((known.source.as_str(), known.browser.as_str()), ("10.0.0.5", "Firefox on Linux"));
    assert_eq!((known.created_at, known.seen_at, known.method), (at(2), at(2), LoginMethod::Password));
    assert!(!store.end_own_session(&user, "bobs", at(10)).unwrap(), "somebody else's");
    assert!(!store.end_own_session(&user, "nothing", at(10)).unwrap());
    assert!(store.end_own_session(&user, "two", at(10)).unwrap());
    assert_eq!(store.session("two", true, IDLE, at(10)).unwrap(), None);
    assert_eq!(store.end_sessions(user.id, Some("one"), at(11)).unwrap(), Some(1));
    assert_eq!(hashes(at(11)), ["one"]);
    assert!(hashes(at(11 + 12 * 3600)).is_empty(), "what has ended is not shown");
    assert_eq!(store.end_sessions(user.id, None, at(12)).unwrap(), Some(1));
    assert_eq!(store.end_sessions(99, None, at(12)).unwrap(), None);
    assert!(store.session("bobs", true, IDLE, at(12)).unwrap().is_some());
    let said = actions(database);
    for entry in ["end session: Firefox on Linux, 10.0.0.5", "end sessions: 1 ended"] {
        assert!(said.contains(&entry.to_owned()), "{said:?}");
    }
}

fn of_one_user_few_sessions_go_on(database: &TestDatabase) {
    let (store, user) = ada(database);
    let bob = store.user_or_new("bob", UserRole::Viewer, at(0)).unwrap().unwrap();
    store.begin_session(&bob, &new_session("bobs"), at(0)).unwrap();
    for n in 0..120 {
        store.begin_session(&user, &new_session(&format!("session {n}")), at(n)).unwrap();
        // The first session is used.
        store.session("session 0", true, IDLE, at(n + 40)).unwrap().unwrap();
    }
    assert_eq!(database.count("sessions"), 101);
    let is_there = |session: &str| store.session(session, false, IDLE, at(121)).unwrap().is_some();
    assert!(is_there("session 0") && is_there("session 119") && is_there("bobs"));
    assert!(!is_there("session 1") && !is_there("session 20") && is_there("session 21"));
}

fn what_a_page_does_by_itself_is_no_use_of_a_session(database: &TestDatabase) {
    let (store, user) = ada(database);
    store.begin_session(&user, &new_session("open"), at(0)).unwrap();
    store.begin_session(&user, &new_session("used"), at(0)).unwrap();
    let hours = |n: i64| at(n * 3600);
    for hour in 1..12 {
        assert!(store.session("open", false, IDLE, hours(hour)).unwrap().is_some(), "{hour}");
        assert!(store.session("used", true, IDLE, hours(hour)).unwrap().is_some(), "{hour}");
    }
    assert_eq!(store.session("open", false, IDLE, hours(12)).unwrap(), None);
    assert!(store.session("used", false, IDLE, hours(12)).unwrap().is_some());
}

fn another_password_ends_the_other_sessions(database: &TestDatabase) {
    let (store, user) = ada(database);
    for session in ["this", "other"] {
        store.begin_session(&user, &new_session(session), at(0)).unwrap();
    }
    store.add_pending_login(&user, "hash", "login", "10.0.0.5", at(0)).unwrap();
    store.invite_again(user.id, "again", at(100), at(0)).unwrap();
    assert!(!store.change_password(&user, "not the hash", "new", "this", at(1)).unwrap());
    assert!(store.session("other", true, IDLE, at(1)).unwrap().is_some());
    let changed = together(4, |_| patiently(|| store.change_password(&user, "hash", "new", "this", at(2))));
    assert_eq!(changed.iter().filter(|changed| **changed).count(), 1, "{changed:?}");
    assert_eq!(store.user_named("ada").unwrap().unwrap().1.as_deref(), Some("new"));
    assert!(store.session("this", true, IDLE, at(3)).unwrap().is_some());
    assert_eq!(store.session("other", true, IDLE, at(3)).unwrap(), None);
    assert_eq!(store.pending_login("login", at(3)).unwrap(), None);
    assert_eq!(store.invited("again", at(3)).unwrap(), None, "a link of before is gone");
    assert_eq!(actions(database).iter().filter(|action| *action == "change password: ").count(), 1);
}

fn a_removed_user_leaves_nothing(database: &TestDatabase) {
    let (store, user) = ada_with_an_app(database, &["a"]);
    store.add_pending_login(&user, "hash", "login", "10.0.0.5", at(1001)).unwrap();
    store.begin_app_setup(user.id, "session", "OTHER", at(1001)).unwrap();
    assert_eq!(store.remove_user(user.id, TokensLeft::End, at(1002)).unwrap(), Removed::Done { tokens: 0 });
    for table in ["sessions", "totp", "totp_setups", "recovery_codes", "pending_logins"] {
        assert_eq!(database.count(table), 0, "{table}");
    }
}

fn what_waited_in_vain_is_forgotten(database: &TestDatabase) {
    let (store, user) = ada(database);
    store.begin_session(&user, &new_session("session"), at(0)).unwrap();
    store.add_pending_login(&user, "hash", "login", "10.0.0.5", at(0)).unwrap();
    store.begin_app_setup(user.id, "session", "SECRET", at(0)).unwrap();
    store.forget_visits(at(0), at(299)).unwrap();
    assert_eq!((database.count("pending_logins"), database.count("totp_setups")), (1, 1));
    store.forget_visits(at(0), at(301)).unwrap();
    assert_eq!((database.count("pending_logins"), database.count("totp_setups")), (0, 1));
    store.forget_visits(at(0), at(901)).unwrap();
    assert_eq!(database.count("totp_setups"), 0);
}
