//! Users who log in by OpenID Connect, and logins that have been begun.

use chrono::TimeDelta;
use innkeeper_core::access::UserRole::{self, Admin, Editor, Viewer};
use innkeeper_store::{ActingStore, Actor, Arrived, Newcomer, TokensLeft, User};
use innkeeper_testing::database::TestDatabase;

use crate::world::*;

on_both!(
    somebody_is_who_they_were_whatever_they_are_called,
    two_first_logins_at_once_make_one_user,
    the_role_follows_and_a_change_ends_the_sessions,
    who_loses_every_role_loses_their_sessions_and_their_password,
    a_role_of_which_nothing_is_said_is_not_taken,
    a_user_whom_another_request_just_made_is_found,
    a_name_that_another_user_has_is_not_taken_over,
    names_are_trusted_where_that_is_wanted,
    who_has_yet_to_be_confirmed_stays_out,
    a_confirmed_user_comes_by_the_provider_as_before,
    a_role_by_openid_vouches_for_nobody,
    a_removed_user_is_known_no_more,
    an_admin_by_openid_is_an_admin,
    a_login_ends_once_and_in_time,
    a_flood_of_beginnings_fills_no_table,
);

const IDLE: TimeDelta = TimeDelta::hours(12);

fn ada() -> Newcomer<'static> {
    Newcomer {
        issuer: "https://id.example.org",
        subject: "0001",
        name: Some("ada"),
        role: Some(Editor),
        role_unsaid: false,
        role_follows: true,
        trust_names: false,
        source: "10.0.0.5",
    }
}

fn acting(database: &TestDatabase) -> ActingStore {
    acting_as(database, "user ada")
}

fn acting_as(database: &TestDatabase, who: &str) -> ActingStore {
    database.store().acting_as(Actor { who: who.to_owned(), source: "10.0.0.6".to_owned() })
}

fn come_in(store: &innkeeper_store::Store, newcomer: &Newcomer<'_>) -> User {
    match store.arrive(newcomer, at(1)).unwrap() {
        Arrived::In(user) => user,
        other => panic!("{newcomer:?}: {other:?}"),
    }
}

fn changes(store: &ActingStore) -> Vec<(String, String)> {
    let mut log = store.audit_log(None, 100).unwrap();
    log.reverse();
    log.into_iter().map(|entry| (entry.action, entry.detail)).collect()
}

fn somebody_is_who_they_were_whatever_they_are_called(database: &TestDatabase) {
    let store = acting(database);
    let first = come_in(&store, &ada());
    assert_eq!((first.name.as_str(), first.role, first.has_password), ("ada", Editor, false));
    let renamed = come_in(&store, &Newcomer { name: Some("ada lovelace"), ..ada() });
    assert_eq!(renamed, first, "the name of the first login stays");
    assert_eq!(come_in(&store, &Newcomer { name: None, ..ada() }), first);
    // The same subject at another provider is another user.
    let other =
        come_in(&store, &Newcomer { issuer: "https://other.example.org", name: Some("eve"), ..ada() });
    assert_ne!(other.id, first.id);
    assert_eq!(
        store.arrive(&Newcomer { subject: "2", name: None, ..ada() }, at(1)).unwrap(),
        Arrived::Nameless
    );
    assert_eq!(store.users().unwrap().len(), 2);
    assert_eq!(store.users_by_openid().unwrap().len(), 2);
    let added = ("add user".to_owned(), "editor\nby OpenID Connect: 0001".to_owned());
    assert_eq!(changes(&store), [added.clone(), added]);
}

fn two_first_logins_at_once_make_one_user(database: &TestDatabase) {
    let store = acting(database);
    let ids = together(4, |_| patiently(|| store.arrive(&ada(), at(1))));
    let first = come_in(&store, &ada());
    assert!(ids.iter().all(|arrived| *arrived == Arrived::In(first.clone())), "{ids:?}");
    assert_eq!((database.count("users"), database.count("identities")), (1, 1));
}

fn the_role_follows_and_a_change_ends_the_sessions(database: &TestDatabase) {
    let store = acting(database);
    let user = come_in(&store, &ada());
    store.begin_session(&user, &new_session("session"), at(1)).unwrap();
    come_in(&store, &ada());
    assert!(store.session("session", true, IDLE, at(2)).unwrap().is_some(), "the same role ends nothing");
    let changed = come_in(&store, &Newcomer { role: Some(Admin), ..ada() });
    assert_eq!((changed.id, changed.role), (user.id, Admin));
    assert_eq!(store.session("session", true, IDLE, at(2)).unwrap(), None);
    let last = changes(&store).pop().unwrap();
    assert_eq!(last, ("change user".to_owned(), "role: editor -> admin\nby OpenID Connect".to_owned()));
    // If roles do not follow the provider, the role set by an admin stays.
    let kept = come_in(&store, &Newcomer { role: Some(Viewer), role_follows: false, ..ada() });
    assert_eq!(kept.role, Admin);
}

fn who_loses_every_role_loses_their_sessions_and_their_password(database: &TestDatabase) {
    let store = acting(database);
    let nobody = Newcomer { role: None, ..ada() };
    assert_eq!(store.arrive(&nobody, at(1)).unwrap(), Arrived::NoRole);
    assert_eq!(database.count("users"), 0, "nobody is made who may not come in");
    let user = come_in(&store, &ada());
    store.begin_session(&user, &new_session("session"), at(1)).unwrap();
    assert_eq!(store.arrive(&nobody, at(2)).unwrap(), Arrived::NoRole);
    assert_eq!(store.session("session", true, IDLE, at(2)).unwrap(), None);
    assert_eq!(store.users().unwrap()[0].role, Viewer, "their tokens do no more than read");
    let entries = changes(&store);
    let (action, detail) = entries.last().unwrap();
    assert!(action == "change user" && detail.starts_with("role: editor -> viewer\n"), "{detail}");
    // A further attempt adds no audit entry.
    assert_eq!(store.arrive(&nobody, at(3)).unwrap(), Arrived::NoRole);
    assert_eq!(changes(&store).len(), entries.len());
    assert_eq!(come_in(&store, &ada()).role, Editor);

    // A user who also has a password and a link for another password.
    let root = acting_as(database, "user root");
    let user = come_in(&store, &ada());
    root.invite_again(user.id, "first", at(100), at(4)).unwrap();
    store.accept_invitation("first", "", "hash", at(5)).unwrap().unwrap();
    root.invite_again(user.id, "second", at(100), at(6)).unwrap();
    assert!(store.user_named("ada").unwrap().unwrap().1.is_some());
    assert_eq!(store.arrive(&nobody, at(7)).unwrap(), Arrived::NoRole);
    assert_eq!(store.user_named("ada").unwrap().unwrap().1, None, "no password lets them in");
    assert_eq!(store.invited("second", at(8)).unwrap(), None, "nor a link for one");
    let (_, detail) = changes(&store).pop().unwrap();
    assert!(detail.ends_with("sessions ended, password removed"), "{detail}");
    // The same for a viewer.
    come_in(&store, &Newcomer { role: Some(Viewer), ..ada() });
    root.invite_again(user.id, "third", at(100), at(9)).unwrap();
    store.accept_invitation("third", "", "hash", at(10)).unwrap().unwrap();
    assert_eq!(store.arrive(&nobody, at(11)).unwrap(), Arrived::NoRole);
    assert_eq!(store.user_named("ada").unwrap().unwrap().1, None);
    let written = changes(&store).len();
    assert_eq!(store.arrive(&nobody, at(12)).unwrap(), Arrived::NoRole);
    assert_eq!(changes(&store).len(), written);
    assert_eq!(come_in(&store, &ada()).role, Editor, "and the provider lets them in again");
}

fn a_role_of_which_nothing_is_said_is_not_taken(database: &TestDatabase) {
    let store = acting(database);
    let silent = |role: UserRole| Newcomer { role: Some(role), role_unsaid: true, ..ada() };
    let user = come_in(&store, &ada());
    store.begin_session(&user, &new_session("session"), at(1)).unwrap();
    let written = changes(&store).len();
    assert_eq!(store.arrive(&silent(Viewer), at(2)).unwrap(), Arrived::RoleUnsaid);
    assert_eq!(store.users().unwrap()[0].role, Editor);
    assert!(store.session("session", true, IDLE, at(2)).unwrap().is_some());
    assert_eq!(changes(&store).len(), written);
    // A user who has that role already can log in, and so can a new user.
    assert_eq!(come_in(&store, &silent(Editor)), user);
    assert_eq!(come_in(&store, &Newcomer { role_follows: false, ..silent(Viewer) }), user);
    let eve = come_in(&store, &Newcomer { subject: "0002", name: Some("eve"), ..silent(Viewer) });
    assert_eq!(eve.role, Viewer);
    // A user who is found by name keeps their role.
    store.add_user("bob", Admin, "link", at(100), at(0)).unwrap().unwrap();
    let bob = Newcomer { subject: "0003", name: Some("bob"), trust_names: true, ..silent(Viewer) };
    assert_eq!(store.arrive(&bob, at(3)).unwrap(), Arrived::RoleUnsaid);
    assert_eq!(database.count("identities"), 2);
}

/// Two first logins at once: of one person whom the provider names differently each time, and of
/// two people with the same name.
fn a_user_whom_another_request_just_made_is_found(database: &TestDatabase) {
    let store = acting(database);
    let names = ["ada", "ada lovelace", "countess", "a. l."];
    let arrived =
        together(4, |n| patiently(|| store.arrive(&Newcomer { name: Some(names[n]), ..ada() }, at(1))));
    let first = come_in(&store, &ada());
    assert!(arrived.iter().all(|one| *one == Arrived::In(first.clone())), "{arrived:?}");
    assert_eq!((database.count("users"), database.count("identities")), (1, 1));
    assert_eq!(changes(&store).len(), 1);

    store.add_user("bob", Editor, "link", at(100), at(0)).unwrap().unwrap();
    let bob = Newcomer { subject: "b", name: Some("bob"), trust_names: true, ..ada() };
    let arrived = together(4, |_| patiently(|| store.arrive(&bob, at(2))));
    assert!(arrived.iter().all(|one| matches!(one, Arrived::In(user) if user.name == "bob")), "{arrived:?}");
    store.add_user("eve", Editor, "another link", at(100), at(0)).unwrap().unwrap();
    let subjects = ["e1", "e2", "e3", "e4"];
    let eve = |n: usize| Newcomer { subject: subjects[n], name: Some("eve"), ..bob };
    let arrived = together(4, |n| patiently(|| store.arrive(&eve(n), at(3))));
    assert_eq!(arrived.iter().filter(|one| matches!(one, Arrived::In(_))).count(), 1, "{arrived:?}");
    assert_eq!(arrived.iter().filter(|one| **one == Arrived::AnotherSubject).count(), 3, "{arrived:?}");
}

fn a_name_that_another_user_has_is_not_taken_over(database: &TestDatabase) {
    let store = acting(database);
    store.add_user("ada", Admin, "link", at(100), at(0)).unwrap().unwrap();
    assert_eq!(store.arrive(&ada(), at(1)).unwrap(), Arrived::NameTaken);
    assert_eq!((database.count("users"), database.count("identities")), (1, 0));
    assert_eq!(store.users().unwrap()[0].role, Admin);
}

fn names_are_trusted_where_that_is_wanted(database: &TestDatabase) {
    let store = acting(database);
    let local = store.add_user("ada", Viewer, "link", at(100), at(0)).unwrap().unwrap();
    let trusting = Newcomer { trust_names: true, ..ada() };
    let user = come_in(&store, &trusting);
    assert_eq!((user.id, user.role), (local.id, Editor));
    // Another person who has this name at the same provider later is another user.
    let later = Newcomer { subject: "0002", ..trusting };
    for later in [later, Newcomer { trust_names: false, ..later }] {
        assert_eq!(store.arrive(&later, at(2)).unwrap(), Arrived::AnotherSubject);
    }
    assert_eq!(database.count("identities"), 1);
    assert_eq!(come_in(&store, &trusting).id, local.id);
}

fn who_has_yet_to_be_confirmed_stays_out(database: &TestDatabase) {
    let anybody = database.store().acting_as(Actor { who: "anybody".to_owned(), source: String::new() });
    let ghost = anybody.add_user("ada", Admin, "link", at(100), at(0)).unwrap().unwrap();
    let store = acting(database);
    let trusting = Newcomer { trust_names: true, ..ada() };
    assert_eq!(store.arrive(&trusting, at(1)).unwrap(), Arrived::Unconfirmed(ghost.clone()));
    assert_eq!(database.count("identities"), 0);
    acting_as(database, "user root").confirm_user(ghost.id, at(2)).unwrap();
    assert_eq!(come_in(&store, &trusting).id, ghost.id);
}

/// An unnamed visitor cannot change what the provider says about a user.
fn a_confirmed_user_comes_by_the_provider_as_before(database: &TestDatabase) {
    let (store, root) = (acting(database), acting_as(database, "user root"));
    let user = come_in(&store, &ada());
    let anybody = acting_as(database, "anybody");
    anybody.change_role(user.id, Admin, at(2)).unwrap();
    store.doubt_the_open_past().unwrap();
    let doubted = store.users().unwrap().remove(0);
    assert_eq!(store.arrive(&ada(), at(3)).unwrap(), Arrived::Unconfirmed(doubted));
    root.confirm_user(user.id, at(4)).unwrap();
    assert_eq!(come_in(&store, &ada()), user, "with the role that the provider gives them");
    store.doubt_the_open_past().unwrap();
    assert_eq!(come_in(&store, &ada()), user);
}

/// A change of role at a login counts as an action of the user under their name here, so it neither
/// ends nor causes doubt.
fn a_role_by_openid_vouches_for_nobody(database: &TestDatabase) {
    let (store, anybody) = (database.store(), acting_as(database, "anybody"));
    let user = come_in(&store, &ada());
    anybody.add_user("mallory", Viewer, "link", at(100), at(2)).unwrap().unwrap();
    // A node of an older version has just let an unnamed visitor act, so nothing is marked as
    // doubted yet.
    anybody.change_role(user.id, Viewer, at(2)).unwrap();
    database.execute("UPDATE users SET confirmed = TRUE");
    assert_eq!(come_in(&store, &Newcomer { name: Some("eve"), ..ada() }).role, Editor);
    let nobody = Newcomer { name: Some("eve"), role: None, ..ada() };
    assert_eq!(store.arrive(&nobody, at(3)).unwrap(), Arrived::NoRole);
    let who = |action: &str| {
        let log = store.audit_log(None, 100).unwrap();
        let of_login = log.into_iter().filter(|entry| entry.action == action && entry.who != "anybody");
        of_login.map(|entry| (entry.who, entry.source)).collect::<Vec<_>>()
    };
    let ada_herself = ("user ada".to_owned(), "10.0.0.5".to_owned());
    assert_eq!(who("change user"), [ada_herself.clone(), ada_herself]);
    store.doubt_the_open_past().unwrap();
    assert!(store.users().unwrap().iter().all(|user| !user.confirmed), "{:?}", store.users());

    // A user whom the provider names like a doubted user is not doubted.
    let grace = come_in(&store, &Newcomer { subject: "0003", name: Some("grace"), ..ada() });
    let called_so = Newcomer { subject: "0003", name: Some("mallory"), role: Some(Admin), ..ada() };
    assert_eq!(come_in(&store, &called_so).id, grace.id);
    store.doubt_the_open_past().unwrap();
    assert_eq!(come_in(&store, &called_so).id, grace.id);
}

fn a_removed_user_is_known_no_more(database: &TestDatabase) {
    let store = acting(database);
    let user = come_in(&store, &ada());
    store.remove_user(user.id, TokensLeft::End, at(2)).unwrap();
    assert_eq!(database.count("identities"), 0);
    assert_eq!(store.arrive(&Newcomer { role: None, ..ada() }, at(3)).unwrap(), Arrived::NoRole);
    assert_ne!(come_in(&store, &ada()).id, user.id);
}

fn an_admin_by_openid_is_an_admin(database: &TestDatabase) {
    let store = acting(database).with_logins_at(Some(ada().issuer));
    let role = |role: UserRole| Newcomer { role: Some(role), ..ada() };
    assert!(store.invite_first_admin("first", at(100)).unwrap());
    come_in(&store, &role(Editor));
    assert!(!store.has_admin().unwrap());
    come_in(&store, &role(Admin));
    assert!(store.has_admin().unwrap() && !store.invite_first_admin("second", at(100)).unwrap());
    assert_eq!(store.invited("first", at(2)).unwrap(), None, "nobody needs a first one any more");
    // When logins at that provider are no longer possible, there is no admin who can log in.
    for issuer in [None, Some("https://another.example.org")] {
        let store = store.with_logins_at(issuer);
        assert!(!store.has_admin().unwrap(), "{issuer:?}");
        assert!(store.invite_first_admin(issuer.unwrap_or("third"), at(100)).unwrap());
    }
    assert_eq!(acting(database).invited("third", at(2)).unwrap(), Some(None));
}

fn a_login_ends_once_and_in_time(database: &TestDatabase) {
    let store = database.store();
    for (login, began) in [("one", at(0)), ("two", at(0)), ("three", at(100))] {
        store.begin_openid_login(login, "10.0.0.5", "/alerts", began).unwrap();
    }
    assert_eq!(store.end_openid_login("other", at(1)).unwrap(), None);
    let ended = together(4, |_| patiently(|| store.end_openid_login("one", at(599))));
    assert_eq!(ended.iter().flatten().collect::<Vec<_>>(), ["/alerts"], "{ended:?}");
    assert_eq!(store.end_openid_login("two", at(600)).unwrap(), None, "too late");
    assert_eq!(store.end_openid_login("two", at(1)).unwrap(), None);
    // Expired logins are removed when another begins, and by `forget_visits`.
    store.begin_openid_login("four", "10.0.0.5", "/", at(701)).unwrap();
    assert_eq!(database.count("openid_logins"), 1);
    store.forget_visits(at(0), at(86_400)).unwrap();
    assert_eq!(database.count("openid_logins"), 0);
}

fn a_flood_of_beginnings_fills_no_table(database: &TestDatabase) {
    let store = database.store();
    store.begin_openid_login("early", "10.0.0.6", "/", at(0)).unwrap();
    for n in 0..150 {
        store.begin_openid_login(&format!("n{n}"), "10.0.0.5", "/", at(n)).unwrap();
    }
    assert_eq!(database.count("openid_logins WHERE network = '10.0.0.5'"), 100);
    assert_eq!(store.end_openid_login("n49", at(151)).unwrap(), None, "its oldest go");
    assert!(store.end_openid_login("n50", at(151)).unwrap().is_some());
    assert!(store.end_openid_login("early", at(151)).unwrap().is_some(), "and of nobody else");
    let began = at(160).timestamp_millis();
    database.execute(&format!(
        "INSERT INTO openid_logins (hash, network, next, began_at)
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20005)
         SELECT 'f' || i, 'network ' || i, '/', {began} + i FROM n"
    ));
    store.begin_openid_login("late", "10.0.0.7", "/", at(200)).unwrap();
    assert_eq!(database.count("openid_logins"), 20_000);
    assert!(store.end_openid_login("late", at(201)).unwrap().is_some());
}
