//! Users, links, sessions, tokens, and the audit log.

use chrono::TimeDelta;
use innkeeper_core::access::{Scope, UserRole};
use innkeeper_core::guesses::GuessCount;
use innkeeper_core::reservation::Patch;
use innkeeper_core::snooze::SnoozeMode;
use innkeeper_store::{
    Actor, ChangeOutcome, NewToken, Removed, Reserved, Share, StoreError, Token, TokenAdded, TokenConfirmed,
    TokensLeft, Unconfirmed,
};
use innkeeper_testing::database::{TESTER, TestDatabase};

use crate::world::*;

on_both!(
    the_first_admin_is_made_once,
    a_name_that_looks_like_anothers_is_taken,
    a_link_is_used_once_and_in_time,
    sessions_end,
    a_role_that_changes_ends_the_sessions,
    wrong_passwords_are_counted_and_forgotten,
    of_many_guesses_at_once_each_is_counted_before,
    a_flood_of_guesses_fills_no_table,
    a_users_tokens_end_with_them_or_are_handed_over,
    what_anybody_makes_has_to_be_confirmed,
    what_no_database_takes_is_written_down_all_the_same,
    an_entry_that_is_written_again_is_one,
    tokens_are_known_by_their_hash_until_they_end,
    who_changed_what_is_written_down,
    a_past_checkout_is_of_the_names_that_it_had,
    a_change_of_what_was_changed_is_refused,
    what_has_ended_is_forgotten,
    what_is_shown_outside_has_one_key,
);

const IDLE: TimeDelta = TimeDelta::hours(12);

fn the_first_admin_is_made_once(database: &TestDatabase) {
    let store = database.store();
    for link in ["one", "two"] {
        assert!(store.invite_first_admin(link, at(100)).unwrap());
    }
    assert_eq!(store.invited("one", at(1)).unwrap(), Some(None));
    let made = together(2, |n| {
        let link = ["one", "two"][n];
        patiently(|| store.accept_invitation(link, &format!("ada{n}"), "hash", at(1)))
    });
    assert_eq!(made.iter().flatten().count(), 1, "{made:?}");
    assert!(!store.invite_first_admin("three", at(100)).unwrap());
    assert_eq!((store.invited("one", at(1)).unwrap(), store.invited("two", at(1)).unwrap()), (None, None));
    let users = store.users().unwrap();
    assert_eq!((users.len(), users[0].role, users[0].has_password), (1, UserRole::Admin, true));
}

fn a_name_that_looks_like_anothers_is_taken(database: &TestDatabase) {
    let store = database.store();
    for name in ["ada", "Bjorn Åse", "юлия"] {
        store.add_user(name, UserRole::Editor, name, at(100), at(0)).unwrap().unwrap();
    }
    for name in
        ["Ada", "ADA", "ａｄａ", "a\u{200B}da", "ad\u{430}", "Bjorn A\u{30A}se", "bjornåse", "ЮЛИЯ", "юлиa"]
    {
        let made = store.add_user(name, UserRole::Admin, "other", at(100), at(0)).unwrap();
        assert_eq!(made, None, "{name}");
        assert_eq!(store.user_or_new(name, UserRole::Admin, at(0)).unwrap(), None, "{name}");
    }
    assert_eq!(database.count("users"), 3);
    assert!(store.user_or_new("ada", UserRole::Admin, at(0)).unwrap().is_some());
    assert!(store.user_or_new("ada2", UserRole::Admin, at(0)).unwrap().is_some());
}

fn a_link_is_used_once_and_in_time(database: &TestDatabase) {
    let store = database.store();
    let bob = store.add_user("bob", UserRole::Editor, "link", at(100), at(0)).unwrap().unwrap();
    assert_eq!(store.add_user("bob", UserRole::Admin, "other", at(100), at(0)).unwrap(), None);
    assert!(!bob.has_password);
    assert_eq!(store.invited("link", at(100)).unwrap(), None);
    assert_eq!(store.invited("link", at(99)).unwrap(), Some(Some(bob.clone())));
    assert_eq!(store.accept_invitation("link", "", "hash", at(100)).unwrap(), None);
    assert!(store.accept_invitation("link", "", "hash", at(99)).unwrap().unwrap().has_password);
    assert_eq!(store.accept_invitation("link", "", "other", at(99)).unwrap(), None);
    assert_eq!(store.user_named("bob").unwrap().unwrap().1.as_deref(), Some("hash"));
    assert!(store.invite_again(bob.id, "again", at(200), at(100)).unwrap());
    assert_eq!(store.remove_user(bob.id, TokensLeft::End, at(101)).unwrap(), Removed::Done { tokens: 0 });
    assert_eq!(store.invited("again", at(102)).unwrap(), None);
    assert_eq!(store.remove_user(bob.id, TokensLeft::End, at(101)).unwrap(), Removed::Unknown);
}

fn sessions_end(database: &TestDatabase) {
    let store = database.store();
    let user = store.user_or_new("ada", UserRole::Admin, at(0)).unwrap().unwrap();
    assert_eq!(store.user_or_new("ada", UserRole::Viewer, at(0)).unwrap().unwrap(), user);
    store.begin_session(&user, &new_session("session"), at(0)).unwrap();
    let hours = |n: i64| at(n * 3600);
    let session = store.session("session", true, IDLE, hours(11)).unwrap().unwrap();
    assert_eq!((session.user.name.as_str(), session.csrf.as_str()), ("ada", "csrf"));
    assert!(store.session("session", true, IDLE, hours(22)).unwrap().is_some(), "each use keeps it");
    assert_eq!(store.session("session", true, IDLE, hours(34)).unwrap(), None);
    assert_eq!(store.session("other", true, IDLE, hours(1)).unwrap(), None);

    store.begin_session(&user, &new_session("long"), at(0)).unwrap();
    for half_day in 1..60 {
        assert!(
            store.session("long", true, TimeDelta::hours(13), hours(12 * half_day)).unwrap().is_some(),
            "{half_day}"
        );
    }
    assert_eq!(
        store.session("long", true, TimeDelta::hours(13), hours(12 * 60)).unwrap(),
        None,
        "30 days are the most"
    );

    store.begin_session(&user, &new_session("short"), at(0)).unwrap();
    store.end_session("short", at(1)).unwrap();
    assert_eq!(store.session("short", true, IDLE, at(1)).unwrap(), None);
}

fn a_role_that_changes_ends_the_sessions(database: &TestDatabase) {
    let store = database.store();
    let user = store.user_or_new("ada", UserRole::Admin, at(0)).unwrap().unwrap();
    store.begin_session(&user, &new_session("session"), at(0)).unwrap();
    assert!(store.change_role(user.id, UserRole::Viewer, at(1)).unwrap());
    assert_eq!(store.session("session", true, IDLE, at(1)).unwrap(), None);
    assert_eq!(store.users().unwrap()[0].role, UserRole::Viewer);
    assert!(!store.change_role(user.id + 1, UserRole::Viewer, at(1)).unwrap());
}

fn wrong_passwords_are_counted_and_forgotten(database: &TestDatabase) {
    let store = database.store();
    let counts = GuessCount::of_stranger("ada", "10.0.0.5");
    for n in 1..=5 {
        assert_eq!(store.count_guess(&counts, at(n)).unwrap(), None, "{n}");
    }
    assert_eq!(store.wait_for(&counts, at(5)).unwrap(), Some(TimeDelta::seconds(1)));
    // An attempt that has to wait is not counted.
    for _ in 0..5 {
        assert_eq!(store.count_guess(&counts, at(5)).unwrap(), Some(TimeDelta::seconds(1)));
    }
    assert_eq!(database.count("login_failures WHERE failures = 5"), 3);
    let elsewhere = GuessCount::of_stranger("ada", "10.0.0.6");
    assert_eq!(store.wait_for(&elsewhere, at(5)).unwrap(), None, "another network");
    assert_eq!(store.wait_for(&GuessCount::of_device("one"), at(5)).unwrap(), None, "a known device");
    assert_eq!(store.count_guess(&counts, at(6)).unwrap(), None);
    assert_eq!(store.wait_for(&counts, at(6)).unwrap(), Some(TimeDelta::seconds(2)));
    // The right password: the network's other wrong attempts still count.
    store.forget_guesses(&counts).unwrap();
    assert_eq!(database.count("login_failures"), 1);
    assert_eq!(database.count("login_failures WHERE who = 'network 10.0.0.5' AND failures = 5"), 1);
    for n in 0..5 {
        store.count_guess(&counts, at(10 + n)).unwrap();
    }
    assert!(store.wait_for(&counts, at(14)).unwrap().is_some());
    assert_eq!(store.wait_for(&counts, at(14 + 3600)).unwrap(), None, "an hour later");
    store.count_guess(&counts, at(4000)).unwrap();
    assert_eq!(database.count("login_failures WHERE failures = 1"), 3, "and counted from one again");
}

fn of_many_guesses_at_once_each_is_counted_before(database: &TestDatabase) {
    let store = database.store();
    let counts = GuessCount::of_stranger("ada", "10.0.0.5");
    let looked_at = together(12, |_| patiently(|| store.count_guess(&counts, at(1))))
        .into_iter()
        .filter(Option::is_none)
        .count();
    assert_eq!(looked_at, 5);
}

fn a_flood_of_guesses_fills_no_table(database: &TestDatabase) {
    let store = database.store();
    let old = at(0).timestamp_millis();
    database.execute(&format!(
        "INSERT INTO login_failures (who, failures, last_at)
         WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 30000)
         SELECT 'network ' || n, 1, {old} + n FROM numbers"
    ));
    let counts = GuessCount::of_stranger("ada", "10.0.0.5");
    assert_eq!(store.count_guess(&counts, at(100)).unwrap(), None);
    let left = database.count("login_failures");
    assert!((15_000..=20_000).contains(&left), "{left}");
    assert_eq!(database.count("login_failures WHERE who = 'network 1'"), 0, "the oldest go");
    assert_eq!(database.count("login_failures WHERE who IN ('network 30000', 'network 10.0.0.5')"), 2);
}

fn a_users_tokens_end_with_them_or_are_handed_over(database: &TestDatabase) {
    let store = database.store();
    let ids = ["ada", "bob", "eve", "vera"].map(|name| {
        let role = if name == "vera" { UserRole::Viewer } else { UserRole::Editor };
        store.user_or_new(name, role, at(0)).unwrap().unwrap().id
    });
    let [ada, bob, eve, vera] = ids;
    let by = |who: &str| store.acting_as(Actor { who: who.to_owned(), source: "10.0.0.5".to_owned() });
    let new = |name: &str| NewToken {
        name: name.to_owned(),
        hash: format!("hash of {name}"),
        scopes: vec![Scope::Manage],
        apps: Vec::new(),
        expires_at: None,
    };
    made(by("user bob").add_token(&new("bobs"), at(1)));
    made(by("token bobs").add_token(&new("bobs-tokens"), at(2)));
    made(by("user eve").add_token(&new("eves"), at(2)));
    made(by("command line").add_token(&new("nobodys"), at(2)));
    let owners = || -> Vec<(String, Option<String>)> {
        store.tokens().unwrap().into_iter().map(|token| (token.name, token.owner)).collect()
    };
    let is_used = |name: &str| store.token(&format!("hash of {name}"), at(5)).unwrap().is_some();
    for heir in [bob, vera, 999] {
        assert_eq!(store.remove_user(bob, TokensLeft::GoTo(heir), at(3)).unwrap(), Removed::NoHeir, "{heir}");
    }
    assert!(is_used("bobs") && is_used("bobs-tokens"));
    let log = by("user ada");
    assert_eq!(log.remove_user(bob, TokensLeft::GoTo(eve), at(3)).unwrap(), Removed::Done { tokens: 2 });
    let of_eve = Some("eve".to_owned());
    assert_eq!(
        owners(),
        [
            ("bobs".to_owned(), of_eve.clone()),
            ("bobs-tokens".to_owned(), of_eve.clone()),
            ("eves".to_owned(), of_eve),
            ("nobodys".to_owned(), None)
        ]
    );
    assert!(is_used("bobs"));
    assert_eq!(log.remove_user(eve, TokensLeft::End, at(4)).unwrap(), Removed::Done { tokens: 3 });
    assert_eq!(["bobs", "bobs-tokens", "eves", "nobodys"].map(is_used), [false, false, false, true]);
    let told = store.audit_log(None, 2).unwrap();
    assert_eq!(told[0].detail, "token bobs: ended\ntoken bobs-tokens: ended\ntoken eves: ended");
    assert_eq!(told[1].detail, "token bobs: handed over to eve\ntoken bobs-tokens: handed over to eve");
    // A token can do no more than its owner.
    made(by("user ada").add_token(&new("adas"), at(5)));
    let scopes = || store.token("hash of adas", at(5)).unwrap().unwrap().scopes;
    assert_eq!(scopes(), [Scope::Manage]);
    assert!(store.change_role(ada, UserRole::Viewer, at(5)).unwrap());
    assert_eq!(scopes(), []);
    assert!(store.change_role(ada, UserRole::Editor, at(5)).unwrap());
    assert_eq!(scopes(), [Scope::Manage]);
    // A node of an older version removes only the user, but the tokens end as well.
    database.execute(&format!("DELETE FROM users WHERE id = {ada}"));
    assert!(!is_used("adas"));
}

fn made(added: Result<TokenAdded, StoreError>) -> Token {
    match added.unwrap() {
        TokenAdded::Made(token) => token,
        other => panic!("{other:?}"),
    }
}

fn what_anybody_makes_has_to_be_confirmed(database: &TestDatabase) {
    let store = database.store();
    let anybody = store.acting_as(Actor { who: "anybody".to_owned(), source: "10.0.0.5".to_owned() });
    let admin = store.acting_as(Actor { who: "user ada".to_owned(), source: "10.0.0.5".to_owned() });
    store.user_or_new("ada", UserRole::Editor, at(0)).unwrap().unwrap();
    let yet = |count| Unconfirmed { users: count, tokens: count, shares: 0 };
    let mallory = anybody.add_user("mallory", UserRole::Admin, "link", at(100), at(0)).unwrap().unwrap();
    assert!(!mallory.confirmed);
    store.accept_invitation("link", "", "hash", at(1)).unwrap().unwrap();
    store.begin_session(&mallory, &new_session("session"), at(1)).unwrap();
    assert_eq!(store.session("session", true, IDLE, at(2)).unwrap(), None, "no session of theirs counts");
    assert!(!store.has_admin().unwrap() && store.invite_first_admin("first", at(100)).unwrap());
    let new = |name: &str| NewToken {
        name: name.to_owned(),
        hash: format!("hash of {name}"),
        scopes: vec![Scope::Manage],
        apps: Vec::new(),
        expires_at: None,
    };
    let token = made(anybody.add_token(&new("open"), at(2)));
    let own = store.acting_as(Actor { who: "user mallory".to_owned(), source: String::new() });
    made(own.add_token(&new("mallorys"), at(2)));
    let confirmed = |name: &str| store.token(&format!("hash of {name}"), at(3)).unwrap().unwrap().confirmed;
    assert!(!confirmed("open") && !confirmed("mallorys"));
    assert_eq!(store.unconfirmed().unwrap(), yet(1));

    assert_eq!(admin.confirm_token(token.id, at(3)).unwrap(), TokenConfirmed::Done);
    assert_eq!(admin.confirm_token(999, at(3)).unwrap(), TokenConfirmed::Unknown);
    let mallorys = store.tokens().unwrap().into_iter().find(|token| token.name == "mallorys").unwrap();
    assert_eq!(
        admin.confirm_token(mallorys.id, at(3)).unwrap(),
        TokenConfirmed::OwnerFirst("mallory".to_owned())
    );
    assert!(confirmed("open") && !confirmed("mallorys"));
    anybody.invite_again(mallory.id, "anybodys link", at(100), at(3)).unwrap();
    for _ in 0..2 {
        let user = admin.confirm_user(mallory.id, at(3)).unwrap().unwrap();
        assert!(user.confirmed && !user.has_password);
    }
    assert_eq!(admin.confirm_user(999, at(3)).unwrap(), None);
    // Strangers may have the password, the sessions and the links, so all of them end.
    assert_eq!(store.session("session", true, IDLE, at(4)).unwrap(), None);
    assert_eq!(store.invited("anybodys link", at(4)).unwrap(), None);
    assert_eq!(store.user_named("mallory").unwrap().unwrap().1, None);
    assert!(!confirmed("mallorys"), "what they made meanwhile is confirmed by itself");
    assert_eq!(admin.confirm_token(mallorys.id, at(3)).unwrap(), TokenConfirmed::Done);
    assert!(confirmed("mallorys"));
    assert_eq!(store.unconfirmed().unwrap(), yet(0));
    store.doubt_the_open_past().unwrap();
    assert_eq!(store.unconfirmed().unwrap(), yet(0), "confirmed once and for all");
    // What a node of an older version lets an unnamed visitor do.
    database.execute(
        "INSERT INTO tokens (name, hash, scopes, apps, created_by, created_at)
         VALUES ('older', 'hash of older', 'manage', '[]', 'anybody', 4)",
    );
    assert!(!confirmed("older"));
    let older = store.tokens().unwrap().into_iter().find(|token| token.name == "older").unwrap();
    assert!(anybody.change_role(mallory.id, UserRole::Editor, at(5)).unwrap());
    store.doubt_the_open_past().unwrap();
    assert_eq!(store.unconfirmed().unwrap(), yet(1));
    assert_eq!(admin.confirm_token(older.id, at(6)).unwrap(), TokenConfirmed::Done);
    assert!(confirmed("older"));
    assert!(admin.confirm_user(mallory.id, at(6)).unwrap().is_some());
    store.doubt_the_open_past().unwrap();
    assert_eq!(store.unconfirmed().unwrap(), yet(0));
    let log = store.audit_log(None, 2).unwrap();
    let told: Vec<(&str, &str)> =
        log.iter().map(|entry| (entry.action.as_str(), entry.subject.as_str())).collect();
    assert_eq!(told, [("confirm user", "user mallory"), ("confirm token", "token older")]);
}

fn what_no_database_takes_is_written_down_all_the_same(database: &TestDatabase) {
    let store = database.store().acting_as(Actor { who: "user ada".to_owned(), source: String::new() });
    store.note_action("add passkey", "user ada", "a\0b", at(1)).unwrap();
    store.note_action("add passkey", "user ada", &"é".repeat(100_000), at(1)).unwrap();
    let log = store.audit_log(None, 2).unwrap();
    assert_eq!(log[1].detail, "a\u{fffd}b");
    assert_eq!(log[0].detail, "é".repeat(32 * 1024));
}

fn an_entry_that_is_written_again_is_one(database: &TestDatabase) {
    let store = database.store();
    let somebody =
        |source: &str| store.acting_as(Actor { who: "nobody".to_owned(), source: source.to_owned() });
    let one = somebody("10.0.0.5").note_again(None, "refused login", "user ada", "1", at(1)).unwrap();
    let again =
        somebody("10.0.0.5").note_again(one, "refused login", "user ada, user bob", "2", at(1)).unwrap();
    assert_eq!((again, database.count("audit")), (one, 1));
    let entry = store.audit_log(None, 1).unwrap().remove(0);
    assert_eq!((entry.subject.as_str(), entry.detail.as_str(), entry.at), ("user ada, user bob", "2", at(1)));
    // An entry that was removed meanwhile is made anew.
    database.execute("DELETE FROM audit");
    assert!(somebody("10.0.0.5").note_again(one, "refused login", "user ada", "3", at(2)).unwrap().is_some());
    assert_eq!(database.count("audit WHERE detail = '3'"), 1);
}

fn tokens_are_known_by_their_hash_until_they_end(database: &TestDatabase) {
    let store = database.store();
    let new = |name: &str, expires_at| NewToken {
        name: name.to_owned(),
        hash: format!("hash of {name}"),
        scopes: vec![Scope::CheckIn, Scope::Read],
        apps: vec![app(SHOP)],
        expires_at,
    };
    let deploy = made(store.add_token(&new("deploy", None), at(0)));
    assert_eq!(store.add_token(&new("deploy", None), at(0)).unwrap(), TokenAdded::Taken);
    store.add_token(&new("short", Some(at(10))), at(0)).unwrap();
    let found = store.token("hash of deploy", at(5)).unwrap().unwrap();
    assert_eq!((found.id, found.rights()), (deploy.id, deploy.rights()));
    assert!(found.rights().cover(SHOP).is_ok() && found.rights().cover("zoo").is_err());
    assert!(store.token("hash of short", at(9)).unwrap().is_some());
    assert_eq!(store.token("hash of short", at(10)).unwrap(), None);
    assert_eq!(store.tokens().unwrap()[0].used_at, Some(at(5)));
    assert!(
        store.remove_token(deploy.id, at(11)).unwrap() && !store.remove_token(deploy.id, at(11)).unwrap()
    );
    assert_eq!(store.token("hash of deploy", at(12)).unwrap(), None);
}

fn a_past_checkout_is_of_the_names_that_it_had(database: &TestDatabase) {
    let store = database.store();
    let ada = store.acting_as(Actor { who: "user ada".to_owned(), source: "10.0.0.5".to_owned() });
    let checked_out = |names: (&str, &str), t: i64| {
        let made = ada.reserve(&app(names.0), &component(names.1), &every(60), at(0)).unwrap();
        let Reserved::Created(id) = made else { panic!("{made:?}") };
        assert!(ada.check_out_by_id(id, at(t)).unwrap());
        store.forget_checkouts(at(t + 1)).unwrap();
        assert_eq!(store.checkout(id).unwrap(), None);
        id
    };
    let names = |id: i64| {
        let past = store.past_checkout(id).unwrap().unwrap();
        assert_eq!(past.reservation_id, id);
        (past.app, past.component)
    };
    let (deep, wide, plain) =
        (checked_out(("a/b", "c"), 1), checked_out(("x", "y/z/"), 2), checked_out(("p", "q"), 3));
    assert_eq!(names(deep), ("a/b".to_owned(), "c".to_owned()));
    assert_eq!(names(wide), ("x".to_owned(), "y/z/".to_owned()));
    assert_eq!(names(plain), ("p".to_owned(), "q".to_owned()));
    // Both `a` and `a/b` are apps, so it could be either.
    checked_out(("a", "other"), 4);
    assert_eq!(names(deep), ("a/b/c".to_owned(), String::new()));
}

fn who_changed_what_is_written_down(database: &TestDatabase) {
    let store = database.store();
    let ada = store.acting_as(Actor { who: "user ada".to_owned(), source: "10.0.0.5".to_owned() });
    let id = ada.book("backup", &every(60));
    ada.book("backup", &every(60));
    ada.book("backup", &Patch { grace: Some(seconds(90)), ..every(60) });
    store.book("other", &every(60));
    ada.snooze_by_id(id, at(100), SnoozeMode::Quiet, at(1)).unwrap();
    ada.resume_by_id(id, at(2)).unwrap();
    ada.check_out_by_id(id, at(3)).unwrap();
    let checkout = store.checkout(id).unwrap().unwrap();
    assert_eq!((checkout.who.as_str(), checkout.at), ("user ada", at(3)));
    // The checkout is remembered after the day in which it can be undone.
    assert_eq!(store.past_checkout(id).unwrap(), Some(checkout));
    assert_eq!(store.past_checkout(id + 1000).unwrap(), None);
    assert_eq!(store.id_of("shop", "backup").unwrap(), None);
    ada.undo_checkout(id, at(4)).unwrap();
    let mut log = ada.audit_log(None, 100).unwrap();
    assert_eq!(log.iter().filter(|entry| entry.who == TESTER && entry.subject == "shop/other").count(), 1);
    log.retain(|entry| entry.who == "user ada");
    let told: Vec<(&str, &str)> =
        log.iter().rev().map(|entry| (entry.action.as_str(), entry.detail.as_str())).collect();
    assert_eq!(
        told,
        [
            ("make reservation", ""),
            ("change reservation", "grace: 0s -> 1m30s"),
            ("snooze", "until 2026-01-05 00:01:40 UTC, quiet"),
            ("resume", ""),
            ("check out", &format!("reservation {id}")),
            ("undo check-out", ""),
        ]
    );
    assert!(log.iter().all(|entry| entry.who == "user ada" && entry.subject == "shop/backup"));
    assert_eq!(ada.audit_log(Some(log[0].id), 2).unwrap(), log[1..3]);
}

fn a_change_of_what_was_changed_is_refused(database: &TestDatabase) {
    let store = database.store();
    let id = store.book("backup", &every(60));
    let seen = store.look("backup").spec;
    let wish = |grace| Patch { grace: Some(seconds(grace)), ..Patch::default() };
    assert_eq!(store.change(id, &wish(1), &|spec| *spec == seen, at(1)).unwrap(), ChangeOutcome::Done);
    assert_eq!(store.change(id, &wish(2), &|spec| *spec == seen, at(2)).unwrap(), ChangeOutcome::Outdated);
    assert_eq!(store.look("backup").spec.grace, seconds(1));
    assert_eq!(store.change(id + 1, &wish(2), &|_| true, at(2)).unwrap(), ChangeOutcome::Unknown);
}

fn what_has_ended_is_forgotten(database: &TestDatabase) {
    let store = database.store().acting_as(Actor { who: "user ada".to_owned(), source: String::new() });
    let days = |n: i64| at(n * 86_400);
    let ada = store.add_user("ada", UserRole::Admin, "old", days(1), at(0)).unwrap().unwrap();
    store.begin_session(&ada, &new_session("old"), at(0)).unwrap();
    store.begin_session(&ada, &new_session("new"), days(20)).unwrap();
    store.invite_first_admin("new", days(50)).unwrap();
    store.count_guess(&GuessCount::of_device("one"), at(0)).unwrap();
    store.forget_visits(days(10), days(31)).unwrap();
    let counts =
        ["users", "sessions", "invitations", "login_failures", "audit"].map(|table| database.count(table));
    assert_eq!(counts, [1, 1, 1, 0, 1]);
    assert!(store.session("new", true, TimeDelta::days(30), days(31)).unwrap().is_some());
}

fn what_is_shown_outside_has_one_key(database: &TestDatabase) {
    let store = database.store();
    let share = |key: &str, title: &str| Share {
        key: key.to_owned(),
        shape: "page".to_owned(),
        kind: "app".to_owned(),
        subject: SHOP.to_owned(),
        title: title.to_owned(),
        created_at: at(1),
        confirmed: true,
    };
    store.add_share(&share("one", "Shop")).unwrap();
    store.add_share(&share("two", "The shop")).unwrap();
    assert_eq!(store.shares().unwrap(), [share("one", "The shop")]);
    assert_eq!(store.share("one").unwrap(), store.share_of("page", "app", SHOP).unwrap());
    assert_eq!((store.share("two").unwrap(), store.share_of("badge", "app", SHOP).unwrap()), (None, None));
    assert!(store.remove_share("one", at(2)).unwrap() && !store.remove_share("one", at(2)).unwrap());
    assert_eq!(store.shares().unwrap(), []);

    // A known user confirms what an unnamed visitor shares: explicitly, or by sharing it again.
    let by = |who: &str| store.acting_as(Actor { who: who.to_owned(), source: String::new() });
    let (anybody, ada) = (by("anybody"), by("user ada"));
    let is_confirmed = |key: &str| store.share(key).unwrap().unwrap().confirmed;
    anybody.add_share(&share("three", "Shop")).unwrap();
    assert!(!is_confirmed("three"));
    assert_eq!(store.unconfirmed().unwrap(), Unconfirmed { shares: 1, ..Unconfirmed::default() });
    for _ in 0..2 {
        assert!(ada.confirm_share("three", at(3)).unwrap() && is_confirmed("three"));
    }
    assert!(!ada.confirm_share("nothing", at(3)).unwrap());
    let last = store.audit_log(None, 2).unwrap();
    let last: Vec<&str> = last.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(last, ["confirm share", "share"]);
    anybody.add_share(&share("four", "Another title")).unwrap();
    assert!(!is_confirmed("three"), "its title is anybody's");
    // Strangers may know its key, so the key ends.
    ada.add_share(&share("five", "Shop")).unwrap();
    assert_eq!(store.share("three").unwrap(), None);
    ada.add_share(&share("six", "The shop")).unwrap();
    assert!(is_confirmed("five") && store.share("six").unwrap().is_none());
}
