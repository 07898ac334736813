//! Passkeys, and the ceremonies in which they are made and used.

use innkeeper_core::access::UserRole;
use innkeeper_core::second_factor::{Factor, LoginMethod};
use innkeeper_store::{
    ActingStore, Actor, AppAdded, CeremonyKind, Factors, MOST_PASSKEYS, NewPasskey, NewSession, Passkey,
    PasskeyAdded, TokensLeft, User,
};
use innkeeper_testing::database::TestDatabase;

use crate::world::*;

on_both!(
    passkeys_are_their_users_own,
    a_credential_is_one_passkey,
    of_a_passkey_there_is_one,
    a_passkey_is_a_second_factor,
    a_user_has_so_many_passkeys_at_most,
    a_ceremony_is_taken_once_by_its_own_session,
    only_what_is_over_gives_up_its_ceremony,
    what_is_a_users_goes_with_them,
    ceremonies_that_nobody_ended_are_forgotten,
);

const NEW: NewPasskey<'_> =
    NewPasskey { credential_id: "", credential: "{}", name: "Phone", session: "", recovery_codes: &[] };

fn user(store: &ActingStore, name: &str) -> User {
    store.user_or_new(name, UserRole::Editor, at(0)).unwrap().unwrap()
}

fn add(store: &ActingStore, user: &User, credential_id: &str, name: &str) -> PasskeyAdded {
    store.add_passkey(user, NewPasskey { credential_id, name, ..NEW }, at(1)).unwrap()
}

fn only(store: &ActingStore, user: &User) -> Passkey {
    let [passkey] = store.passkeys_of(user.id).unwrap().try_into().unwrap();
    passkey
}

fn passkeys_are_their_users_own(database: &TestDatabase) {
    let store = database.store().acting_as(Actor { who: "user ada".to_owned(), source: String::new() });
    let (ada, bob) = (user(&store, "ada"), user(&store, "bob"));
    assert_eq!(add(&store, &ada, "one", "Phone"), PasskeyAdded::First);
    let added = only(&store, &ada);
    assert_eq!(
        added,
        Passkey {
            id: added.id,
            credential_id: "one".to_owned(),
            credential: "{}".to_owned(),
            name: "Phone".to_owned(),
            created_at: at(1),
            last_used_at: None
        }
    );
    assert_eq!(store.passkeys_of(bob.id).unwrap(), []);
    assert!(!store.rename_passkey(&bob, added.id, "Mine", at(2)).unwrap());
    assert!(!store.remove_passkey(&bob, added.id, "", at(2)).unwrap());
    assert!(!store.use_passkey(bob.id, &added, "{}", 1, at(2)).unwrap());
    assert_eq!(only(&store, &ada), added);

    assert!(store.rename_passkey(&ada, added.id, "Old phone", at(2)).unwrap());
    assert!(store.rename_passkey(&ada, added.id, "Old phone", at(2)).unwrap());
    assert_eq!(only(&store, &ada).name, "Old phone");
    assert!(store.remove_passkey(&ada, added.id, "", at(3)).unwrap());
    assert!(!store.remove_passkey(&ada, added.id, "", at(3)).unwrap());
    assert!(!store.rename_passkey(&ada, added.id, "Phone", at(3)).unwrap());
    let log: Vec<_> =
        store.audit_log(None, 10).unwrap().into_iter().map(|entry| (entry.action, entry.detail)).collect();
    let wanted = [
        ("remove passkey", "Old phone"),
        ("rename passkey", "name: Phone -> Old phone"),
        ("add passkey", "Phone"),
    ];
    assert_eq!(log[..3], wanted.map(|(action, detail)| (action.to_owned(), detail.to_owned())));
}

fn a_credential_is_one_passkey(database: &TestDatabase) {
    let store = database.store();
    let users = [user(&store, "ada"), user(&store, "bob")];
    let added = together(2, |n| {
        let new = NewPasskey { credential_id: "one", ..NEW };
        patiently(|| store.add_passkey(&users[n], new, at(1)))
    });
    assert!(added.contains(&PasskeyAdded::First) && added.contains(&PasskeyAdded::Taken), "{added:?}");
    assert_eq!(database.count("passkeys"), 1);
}

fn of_a_passkey_there_is_one(database: &TestDatabase) {
    let store = database.store();
    let ada = user(&store, "ada");
    add(&store, &ada, "one", "Phone");
    let passkey = only(&store, &ada);
    // A passkey without a counter may continue without one.
    for second in [2, 3] {
        assert!(store.use_passkey(ada.id, &passkey, "{}", 0, at(second)).unwrap());
    }
    assert_eq!(only(&store, &ada).last_used_at, Some(at(3)));
    assert!(store.use_passkey(ada.id, &passkey, r#"{"counter":5}"#, 5, at(4)).unwrap());
    // Two uses with the same counter: one of them is a copy.
    let used = together(2, |_| patiently(|| store.use_passkey(ada.id, &passkey, "{}", 6, at(5))));
    assert_eq!(used.iter().filter(|used| **used).count(), 1, "{used:?}");
    for older in [6, 5, 0] {
        assert!(!store.use_passkey(ada.id, &passkey, "older", older, at(6)).unwrap(), "{older}");
    }
    let after = only(&store, &ada);
    assert_eq!((after.credential.as_str(), after.last_used_at), ("{}", Some(at(5))));
    assert!(store.use_passkey(ada.id, &passkey, "{}", u32::MAX, at(7)).unwrap());
}

/// Like an authenticator app: the first factor brings recovery codes, and removing the last one
/// removes them.
fn a_passkey_is_a_second_factor(database: &TestDatabase) {
    let store = database.store();
    let ada = user(&store, "ada");
    let begin = |hash: &'static str| {
        let method = LoginMethod::PasswordAnd(Factor::Passkey);
        let new =
            NewSession { hash, csrf: "", method, source: "", browser: "", password: None, pending: None };
        store.begin_session(&ada, &new, at(1)).unwrap();
    };
    let sessions = || -> Vec<String> {
        store.sessions_of(ada.id, seconds(1000), at(1)).unwrap().into_iter().map(|one| one.hash).collect()
    };
    let factors = |app, passkeys, recovery_codes| Factors { app, passkeys, recovery_codes };
    let codes = |names: [&str; 2]| names.map(str::to_owned);
    let (first, other) = (codes(["a", "b"]), codes(["c", "d"]));
    begin("here");
    begin("there");
    let new = NewPasskey { credential_id: "one", session: "here", recovery_codes: &first, ..NEW };
    assert_eq!(store.add_passkey(&ada, new, at(1)).unwrap(), PasskeyAdded::First);
    assert_eq!(sessions(), ["here"], "the other came in without");
    assert_eq!(store.factors(ada.id).unwrap(), factors(false, 1, 2));
    assert_eq!(store.factors_of_all().unwrap()[&ada.id], factors(false, 1, 2));
    begin("there");
    let new = NewPasskey { credential_id: "two", session: "here", recovery_codes: &other, ..NEW };
    assert_eq!(store.add_passkey(&ada, new, at(1)).unwrap(), PasskeyAdded::Another);
    assert!(
        store.use_recovery_code(&ada, "a", at(1)).unwrap()
            && !store.use_recovery_code(&ada, "c", at(1)).unwrap()
    );
    assert_eq!(sessions().len(), 2);
    // A further app brings no other codes, and removes none.
    store.begin_app_setup(ada.id, "here", "secret", at(1)).unwrap();
    assert_eq!(
        store.finish_app_setup(&ada, "here", "secret", at(0), &["c".to_owned()], at(1)).unwrap(),
        AppAdded::Another
    );
    assert_eq!(store.factors(ada.id).unwrap(), factors(true, 2, 1));
    assert!(
        store.remove_app(&ada, "here", at(1)).unwrap() && !store.remove_app(&ada, "here", at(1)).unwrap()
    );
    assert_eq!(store.factors(ada.id).unwrap(), factors(false, 2, 1));
    begin("there");
    let [one, two] = store.passkeys_of(ada.id).unwrap().try_into().unwrap();
    assert!(store.remove_passkey(&ada, one.id, "here", at(1)).unwrap());
    assert_eq!(sessions(), ["here"]);
    assert_eq!(store.factors(ada.id).unwrap(), factors(false, 1, 1));
    assert!(store.remove_passkey(&ada, two.id, "here", at(1)).unwrap());
    assert_eq!(store.factors(ada.id).unwrap(), Factors::default());
    // An admin removes the second factors.
    let new = NewPasskey { credential_id: "one", session: "here", recovery_codes: &first, ..NEW };
    assert_eq!(store.add_passkey(&ada, new, at(1)).unwrap(), PasskeyAdded::First);
    store.begin_ceremony("here", CeremonyKind::Authenticate, ada.id, "{}", at(1)).unwrap();
    assert!(store.remove_second_factor(ada.id, None, at(2)).unwrap());
    assert!(!store.remove_second_factor(ada.id, None, at(2)).unwrap());
    assert_eq!((store.factors(ada.id).unwrap(), sessions()), (Factors::default(), Vec::new()));
    assert_eq!(database.count("ceremonies"), 0);
}

fn a_user_has_so_many_passkeys_at_most(database: &TestDatabase) {
    let store = database.store();
    let (ada, bob) = (user(&store, "ada"), user(&store, "bob"));
    for n in 1..MOST_PASSKEYS {
        assert_ne!(add(&store, &ada, &n.to_string(), "Phone"), PasskeyAdded::TooMany, "{n}");
    }
    let names = ["a", "b", "c"];
    let added = together(3, |n| {
        let new = NewPasskey { credential_id: names[n], ..NEW };
        patiently(|| store.add_passkey(&ada, new, at(1)))
    });
    assert_eq!(added.iter().filter(|added| **added == PasskeyAdded::Another).count(), 1, "{added:?}");
    assert_eq!(add(&store, &ada, "z", "Phone"), PasskeyAdded::TooMany);
    assert_eq!(add(&store, &bob, "z", "Phone"), PasskeyAdded::First);
}

fn a_ceremony_is_taken_once_by_its_own_session(database: &TestDatabase) {
    use CeremonyKind::{Authenticate, Register};
    let store = database.store();
    let (ada, bob) = (user(&store, "ada"), user(&store, "bob"));
    let begin = |state: &str| store.begin_ceremony("session", Register, ada.id, state, at(0)).unwrap();
    begin("first");
    begin("second");
    for (hash, kind, id) in
        [("other", Register, ada.id), ("session", Authenticate, ada.id), ("session", Register, bob.id)]
    {
        assert_eq!(store.take_ceremony(hash, kind, id, at(1)).unwrap(), None, "{hash} {kind:?} {id}");
    }
    let taken = together(4, |_| patiently(|| store.take_ceremony("session", Register, ada.id, at(329))));
    let taken: Vec<String> = taken.into_iter().flatten().collect();
    assert_eq!(taken, ["second"]);
    begin("late");
    assert_eq!(store.take_ceremony("session", Register, ada.id, at(330)).unwrap(), None);
    assert_eq!(database.count("ceremonies"), 0);
}

fn only_what_is_over_gives_up_its_ceremony(database: &TestDatabase) {
    use CeremonyKind::{Authenticate, Register};
    let store = database.store();
    let (ada, bob) = (user(&store, "ada"), user(&store, "bob"));
    for (user, session) in [(&ada, "hers"), (&bob, "his"), (&ada, "other")] {
        store.begin_session(user, &new_session(session), at(0)).unwrap();
        store.begin_ceremony(session, Authenticate, user.id, "{}", at(1)).unwrap();
    }
    store.begin_ceremony("hers", Register, ada.id, "{}", at(1)).unwrap();
    // However often another user begins one, at whatever time.
    for n in 0..30 {
        store.begin_ceremony("other", Authenticate, ada.id, "{}", at(100 - n)).unwrap();
    }
    assert_eq!(database.count("ceremonies"), 4);
    store.end_session("other", at(2)).unwrap();
    store.begin_ceremony("hers", Register, ada.id, "{}", at(3)).unwrap();
    assert_eq!(database.count("ceremonies"), 3);
    let take = |hash: &str, kind, user: &User| store.take_ceremony(hash, kind, user.id, at(130)).unwrap();
    assert!(take("his", Authenticate, &bob).is_some());
    assert!(take("hers", Authenticate, &ada).is_some() && take("hers", Register, &ada).is_some());
    assert_eq!(take("other", Authenticate, &ada), None);
}

fn what_is_a_users_goes_with_them(database: &TestDatabase) {
    let store = database.store();
    let (ada, bob) = (user(&store, "ada"), user(&store, "bob"));
    for (user, id) in [(&ada, "one"), (&bob, "two")] {
        add(&store, user, id, "Phone");
        store.begin_ceremony(id, CeremonyKind::Authenticate, user.id, "{}", at(100)).unwrap();
    }
    store.remove_user(ada.id, TokensLeft::End, at(2)).unwrap();
    assert_eq!((database.count("passkeys"), database.count("ceremonies")), (1, 1));
    assert_eq!(only(&store, &bob).credential_id, "two");
}

fn ceremonies_that_nobody_ended_are_forgotten(database: &TestDatabase) {
    let store = database.store();
    let ada = user(&store, "ada");
    for (hash, began) in [("old", 100), ("new", 500)] {
        store.begin_session(&ada, &new_session(hash), at(0)).unwrap();
        store.begin_ceremony(hash, CeremonyKind::Authenticate, ada.id, "{}", at(began)).unwrap();
    }
    store.forget_visits(at(0), at(501)).unwrap();
    assert_eq!(database.count("ceremonies"), 1);
    assert_eq!(database.count("ceremonies WHERE hash = 'new'"), 1);
}
