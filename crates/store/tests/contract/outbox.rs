//! The outbox: messages are claimed by a lease, sent, and recorded; a crash between any two of these loses nothing.

use std::cell::RefCell;

use innkeeper_core::notice::{EventKind, Notice};
use innkeeper_store::{
    ActingStore, AlertEvent, FinishedDeliveries, GivingUp, GoneAlerter, SendOutcome, Sending, WaitingCounts,
};
use innkeeper_testing::database::TestDatabase;

use crate::world::*;

on_both!(
    a_claim_is_a_lease_that_runs_out,
    the_record_of_a_lease_that_was_taken_over_counts_for_nothing,
    delivered_and_dead_are_never_claimed_again,
    a_retry_waits_for_its_time,
    what_was_not_tried_is_ready_at_once,
    each_alerter_claims_its_own_the_oldest_first,
    a_claim_may_begin_behind_what_was_claimed_before,
    a_digest_is_what_waits_for_one_recipient,
    many_outcomes_are_recorded_at_once,
    a_digest_that_may_have_been_sent_goes_out_again_just_so,
    a_digest_that_nobody_saw_finds_new_company,
    a_repeat_has_the_same_key,
    several_claimers_share_the_work,
    several_digesters_share_the_work,
    what_waits_for_an_alerter_that_is_gone_is_given_up,
    messages_come_back_as_they_were_put_in,
    a_message_that_cannot_be_read_is_given_up_and_hinders_nobody,
);

pub const TO: &str = "a@example.org";

/// Puts messages through `mail` to [`TO`] into the outbox, at `at(second)`. They belong to no
/// alert.
pub fn put(store: &ActingStore, second: i64, subjects: &[&str]) {
    let new: Vec<_> = subjects.iter().map(|subject| delivery("mail", TO, remark(subject))).collect();
    store.put_notices(&new, at(second)).unwrap();
}

/// Claims single messages of the alerter `mail` with a lease of ten seconds.
pub fn singles(store: &ActingStore, second: i64, token: &str) -> Vec<Sending> {
    store.claim_singles("mail", at(second), seconds(10), token, 100).unwrap()
}

/// Claims a digest of the alerter `mail` with a lease of ten seconds.
pub fn digest(store: &ActingStore, second: i64, token: &str) -> Option<Sending> {
    store.claim_digest("mail", at(second), seconds(10), token, 100, false).unwrap()
}

/// Records `outcome` for everything in `sendings`.
pub fn finish<'a>(
    store: &ActingStore,
    token: &str,
    sendings: impl IntoIterator<Item = &'a Sending>,
    outcome: SendOutcome,
    second: i64,
) {
    let ids = sendings.into_iter().flat_map(|one| &one.deliveries).map(|one| one.id).collect();
    store.finish(token, &[FinishedDeliveries { ids, outcome }], at(second)).unwrap();
}

pub fn retry(second: i64, maybe_sent: bool) -> SendOutcome {
    SendOutcome::Retry { at: at(second), maybe_sent, problem: "busy".to_owned() }
}

/// The subjects of all messages in these sendings.
pub fn subjects<'a>(sendings: impl IntoIterator<Item = &'a Sending>) -> Vec<&'a str> {
    sendings.into_iter().flat_map(|one| &one.deliveries).map(|one| one.notice.subject.as_str()).collect()
}

fn a_claim_is_a_lease_that_runs_out(database: &TestDatabase) {
    let store = database.store();
    put(&store, 0, &["one"]);
    assert!(singles(&store, -1, "early").is_empty());
    let first = singles(&store, 0, "first");
    assert_eq!(subjects(&first), ["one"]);
    assert!(singles(&store, 9, "second").is_empty());
    assert_eq!(digest(&store, 9, "second"), None);
    // The sender crashed. The next one sends under the same key.
    let again = singles(&store, 10, "second");
    assert_eq!((subjects(&again), &again[0].key), (vec!["one"], &first[0].key));
    assert_eq!(digest(&store, 20, "third").unwrap().key, first[0].key);
}

fn the_record_of_a_lease_that_was_taken_over_counts_for_nothing(database: &TestDatabase) {
    let store = database.store();
    put(&store, 0, &["one"]);
    let first = singles(&store, 0, "first");
    let second = singles(&store, 10, "second");
    for outcome in [
        SendOutcome::Delivered,
        SendOutcome::Dead { problem: String::new() },
        retry(11, false),
        SendOutcome::Untried,
    ] {
        finish(&store, "first", &first, outcome, 11);
        assert!(singles(&store, 12, "third").is_empty());
    }
    assert_eq!(store.waiting_counts().unwrap(), WaitingCounts { waiting: 1, dead: 0 });
    finish(&store, "second", &second, SendOutcome::Delivered, 12);
    // A lease that ran out still counts if nobody else has taken the messages.
    put(&store, 20, &["two"]);
    let late = singles(&store, 20, "late");
    finish(&store, "late", &late, SendOutcome::Delivered, 500);
    assert_eq!(store.waiting_counts().unwrap(), WaitingCounts::default());
}

fn delivered_and_dead_are_never_claimed_again(database: &TestDatabase) {
    let store = database.store();
    put(&store, 0, &["good", "bad"]);
    let sent = singles(&store, 0, "t");
    finish(&store, "t", &sent[..1], SendOutcome::Delivered, 1);
    finish(&store, "t", &sent[1..], SendOutcome::Dead { problem: "no such mailbox".to_owned() }, 1);
    assert!(singles(&store, 1000, "u").is_empty());
    assert_eq!(digest(&store, 1000, "u"), None);
    assert_eq!(store.next_delivery_at("mail").unwrap(), None);
    assert_eq!(store.waiting_counts().unwrap(), WaitingCounts { waiting: 0, dead: 1 });
    // A finished message stays finished.
    finish(&store, "t", &sent, retry(5, false), 2);
    let states =
        "SELECT state || ' ' || attempts || ' ' || COALESCE(problem, '-') FROM deliveries ORDER BY id";
    assert_eq!(database.texts(states), ["delivered 1 -", "dead 1 no such mailbox"]);
    let finished =
        format!("deliveries WHERE finished_at = {} AND lease_token IS NULL", at(1).timestamp_millis());
    assert_eq!(database.count(&finished), 2);
}

fn a_retry_waits_for_its_time(database: &TestDatabase) {
    let store = database.store();
    put(&store, 0, &["one"]);
    let sent = singles(&store, 0, "t");
    assert_eq!(sent[0].deliveries[0].attempts, 0);
    finish(&store, "t", &sent, retry(60, true), 1);
    assert!(singles(&store, 59, "t").is_empty());
    assert_eq!(store.next_delivery_at("mail").unwrap(), Some(at(60)));
    let again = singles(&store, 60, "t");
    assert_eq!((again[0].deliveries[0].attempts, &again[0].key), (1, &sent[0].key));
    assert_eq!(again[0].deliveries[0].created_at, at(0));
    assert_eq!(database.texts("SELECT problem FROM deliveries"), ["busy"]);
}

fn what_was_not_tried_is_ready_at_once(database: &TestDatabase) {
    let store = database.store();
    put(&store, 0, &["one"]);
    let sent = singles(&store, 0, "t");
    finish(&store, "t", &sent, SendOutcome::Untried, 0);
    let again = singles(&store, 0, "u");
    assert_eq!((again[0].deliveries[0].attempts, subjects(&again)), (0, vec!["one"]));
}

fn a_claim_may_begin_behind_what_was_claimed_before(database: &TestDatabase) {
    let store = database.store();
    put(&store, 5, &["later", "last"]);
    put(&store, 1, &["a", "b", "c"]);
    let claim = |place| store.claim_singles_after(place, "mail", at(9), seconds(10), "t", 2).unwrap();
    let two = claim(None);
    assert_eq!(subjects(&two), ["a", "b"]);
    let place = |sending: &Sending| (sending.deliveries[0].next_at, sending.deliveries[0].id);
    finish(&store, "t", &two[..1], SendOutcome::Untried, 9);
    assert_eq!(subjects(&claim(Some(place(&two[1])))), ["later", "c"], "not what is before the place");
    assert_eq!(subjects(&claim(None)), ["last", "a"]);
}

fn each_alerter_claims_its_own_the_oldest_first(database: &TestDatabase) {
    let store = database.store();
    put(&store, 5, &["late"]);
    put(&store, 1, &["a", "b", "c"]);
    store.put_notices(&[delivery("pager", "", remark("page"))], at(0)).unwrap();
    assert_eq!(store.next_delivery_at("mail").unwrap(), Some(at(1)));
    let two = store.claim_singles("mail", at(9), seconds(10), "t", 2).unwrap();
    assert_eq!(subjects(&two), ["a", "b"]);
    assert!(two[0].key != two[1].key);
    let rest = singles(&store, 9, "t");
    // Messages of one claim are in the order in which they were put into the outbox.
    assert_eq!(subjects(&rest), ["late", "c"]);
    assert_eq!((rest[0].recipient.as_str(), rest[0].deliveries.len()), (TO, 1));
    assert!(store.claim_singles("fax", at(9), seconds(10), "t", 9).unwrap().is_empty());
    assert_eq!(subjects(&store.claim_singles("pager", at(9), seconds(10), "t", 9).unwrap()), ["page"]);
}

fn a_digest_is_what_waits_for_one_recipient(database: &TestDatabase) {
    let store = database.store();
    let to = |recipient: &str, subject: &str| delivery("mail", recipient, remark(subject));
    store.put_notices(&[to("b@example.org", "b1")], at(0)).unwrap();
    store.put_notices(&[to(TO, "a1"), to("b@example.org", "b2"), to(TO, "a2")], at(1)).unwrap();
    store.put_notices(&[to(TO, "a3"), delivery("pager", TO, remark("not mail"))], at(2)).unwrap();
    put(&store, 60, &["not yet"]);
    let first = digest(&store, 3, "t").unwrap();
    assert_eq!((first.recipient.as_str(), subjects([&first])), ("b@example.org", vec!["b1", "b2"]));
    let second = digest(&store, 3, "t").unwrap();
    assert_eq!((second.recipient.as_str(), subjects([&second])), (TO, vec!["a1", "a2", "a3"]));
    assert_ne!(first.key, second.key);
    assert_eq!(digest(&store, 3, "t"), None);

    // No more than the limit, the oldest first. The rest is in the next digest.
    let names: Vec<String> = (0..7).map(|n| n.to_string()).collect();
    put(&store, 4, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let claim = || store.claim_digest("mail", at(5), seconds(10), "t", 3, false).unwrap().unwrap();
    let (first, second, third) = (claim(), claim(), claim());
    assert_eq!(subjects([&first, &second, &third]), ["0", "1", "2", "3", "4", "5", "6"]);
    assert_eq!((first.deliveries.len(), third.deliveries.len()), (3, 1));
}

fn many_outcomes_are_recorded_at_once(database: &TestDatabase) {
    let store = database.store();
    put(&store, 0, &["good", "bad", "busy", "untried", "fine", "worse", "taken over"]);
    let sent = singles(&store, 0, "t");
    database.execute("UPDATE deliveries SET lease_token = 'u' WHERE notice LIKE '%taken over%'");
    let dead = || SendOutcome::Dead { problem: "no such mailbox".to_owned() };
    let outcomes = [
        SendOutcome::Delivered,
        dead(),
        retry(60, true),
        SendOutcome::Untried,
        SendOutcome::Delivered,
        dead(),
        SendOutcome::Delivered,
    ];
    let finished: Vec<FinishedDeliveries> = sent
        .iter()
        .zip(outcomes)
        .map(|(one, outcome)| FinishedDeliveries { ids: vec![one.deliveries[0].id], outcome })
        .collect();
    store.finish("t", &finished, at(1)).unwrap();
    assert_eq!(
        database.texts(
            "SELECT state || ' ' || attempts || ' ' || COALESCE(problem, '-') || ' ' || COALESCE(lease_token, '-')
             FROM deliveries ORDER BY id"
        ),
        [
            "delivered 1 - -",
            "dead 1 no such mailbox -",
            "waiting 1 busy -",
            "waiting 0 - -",
            "delivered 1 - -",
            "dead 1 no such mailbox -",
            "waiting 0 - u",
        ]
    );
}

fn a_digest_that_may_have_been_sent_goes_out_again_just_so(database: &TestDatabase) {
    let store = database.store();
    put(&store, 0, &["1", "2"]);
    let first = digest(&store, 0, "t").unwrap();
    finish(&store, "t", [&first], retry(10, true), 1);
    put(&store, 5, &["3"]);
    // The two groups are not mixed, whichever comes first.
    let mut sent = [digest(&store, 10, "t").unwrap(), digest(&store, 10, "t").unwrap()];
    sent.sort_by_key(|one| one.deliveries[0].id);
    assert_eq!((&sent[0].key, subjects([&sent[0]])), (&first.key, vec!["1", "2"]));
    assert_eq!(subjects([&sent[1]]), ["3"]);
    assert_ne!(sent[1].key, first.key);
    // The same after a crash.
    put(&store, 15, &["4"]);
    let mut sent =
        [digest(&store, 20, "u"), digest(&store, 20, "u"), digest(&store, 20, "u")].map(Option::unwrap);
    sent.sort_by_key(|one| one.deliveries[0].id);
    assert_eq!((&sent[0].key, subjects(&sent)), (&first.key, vec!["1", "2", "3", "4"]));
}

fn a_digest_that_nobody_saw_finds_new_company(database: &TestDatabase) {
    let store = database.store();
    put(&store, 0, &["1", "2"]);
    let first = digest(&store, 0, "t").unwrap();
    finish(&store, "t", [&first], retry(10, false), 1);
    put(&store, 5, &["3"]);
    let second = digest(&store, 10, "t").unwrap();
    assert_eq!(subjects([&second]), ["1", "2", "3"]);
    assert_ne!(second.key, first.key);
}

fn a_repeat_has_the_same_key(database: &TestDatabase) {
    let store = database.store();
    put(&store, 0, &["1"]);
    let alone = digest(&store, 0, "t").unwrap();
    finish(&store, "t", [&alone], retry(5, false), 1);
    assert_eq!(digest(&store, 5, "t").unwrap().key, alone.key, "refused, and sent again as it was");
    finish(&store, "t", [&alone], SendOutcome::Dead { problem: "refused".to_owned() }, 6);
    store.retry_delivery(alone.deliveries[0].id, at(7)).unwrap();
    assert_eq!(digest(&store, 7, "t").unwrap().key, alone.key, "somebody asked for it");
    finish(&store, "t", [&alone], SendOutcome::Delivered, 8);

    put(&store, 10, &["2", "3", "4"]);
    let together = digest(&store, 10, "t").unwrap();
    finish(&store, "t", [&together], retry(15, false), 11);
    let again = digest(&store, 15, "t").unwrap();
    assert_eq!((subjects([&again]), &again.key), (vec!["2", "3", "4"], &together.key));
}

fn several_claimers_share_the_work(database: &TestDatabase) {
    let store = database.store();
    let names: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    put(&store, 0, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let claimed = together(4, |n| {
        let own = database.connect();
        let mut mine = Vec::new();
        while mine.len() < 200 {
            let sent = patiently(|| own.claim_singles("mail", at(1), seconds(10), &n.to_string(), 7));
            if sent.is_empty() && own.waiting_counts().is_ok() && leased(database) == 200 {
                break;
            }
            mine.extend(sent.into_iter().map(|one| one.deliveries[0].id));
        }
        mine
    });
    let mut all = claimed.concat();
    all.sort_unstable();
    all.dedup();
    assert_eq!((all.len(), claimed.concat().len()), (200, 200));
}

fn several_digesters_share_the_work(database: &TestDatabase) {
    let store = database.store();
    for n in 0..40 {
        let to = format!("{n}@example.org");
        let new: Vec<_> = (0..5).map(|m| delivery("mail", &to, remark(&m.to_string()))).collect();
        store.put_notices(&new, at(0)).unwrap();
    }
    let claimed = together(4, |n| {
        let own = database.connect();
        let mut mine = Vec::new();
        while leased(database) < 200 {
            mine.extend(patiently(|| {
                own.claim_digest("mail", at(1), seconds(10), &n.to_string(), 100, false)
            }));
        }
        mine
    });
    let all = claimed.concat();
    assert_eq!(all.len(), 40, "one for each recipient");
    assert!(all.iter().all(|one| subjects([one]) == ["0", "1", "2", "3", "4"]), "{all:?}");
}

fn leased(database: &TestDatabase) -> i64 {
    database.count("deliveries WHERE lease_token IS NOT NULL")
}

fn what_waits_for_an_alerter_that_is_gone_is_given_up(database: &TestDatabase) {
    let store = database.store();
    put(&store, 0, &["one"]);
    let own = remark("to the operator");
    let put = |subject: &str| {
        let summary = Notice { event: EventKind::Summary, ..remark(subject) };
        store.put_notices(&[delivery("gone", "", summary)], at(0)).unwrap();
    };
    put("sent");
    let sent = store.claim_singles("gone", at(1), seconds(10), "t", 1).unwrap();
    for subject in ["two", "three", "four"] {
        put(subject);
    }
    store.put_notices(&[delivery("gone", "", own)], at(0)).unwrap();
    assert_eq!(store.awaited_alerters().unwrap(), ["gone", "mail"]);
    let told = RefCell::new(Vec::new());
    let operator = |gone: &GoneAlerter| {
        told.borrow_mut().push(gone.messages);
        vec![delivery("mail", TO, remark("told"))]
    };
    let anew = |_: &AlertEvent<'_>| panic!("none belongs to an alert");
    let giving_up = |until| GivingUp { limit: 2, until: at(until), anew: &anew, operator: &operator };
    let give_up = |first, second| store.give_up_for_gone("gone", first, at(second), &giving_up(0)).unwrap();
    assert_eq!([give_up(true, 2), give_up(false, 2), give_up(false, 2)], [2, 2, 0], "not what is being sent");
    assert_eq!(*told.borrow(), [3], "of all, and not of the operator's own");
    let counts = store.waiting_counts().unwrap();
    assert_eq!(
        counts,
        WaitingCounts { waiting: 3, dead: 4 },
        "the first, the one that is sent, and what is told"
    );
    let problems = database.texts("SELECT DISTINCT problem FROM deliveries WHERE state = 'dead'");
    assert_eq!(problems, ["there is no alerter gone any more"]);
    let news = store.watch_outages(at(-100), at(3), &|_| panic!("it is told")).unwrap();
    assert_eq!((news.begun.len(), store.outages().unwrap()[0].given_up), (0, 3));
    // A message that could not be sent is given up, too.
    finish(&store, "t", &sent, retry(20, false), 3);
    assert_eq!((give_up(true, 4), told.borrow().len()), (1, 2));
    // Later messages may be for an alerter of this name that was added later.
    let summary = Notice { event: EventKind::Summary, ..remark("late") };
    store.put_notices(&[delivery("gone", "", summary)], at(5)).unwrap();
    let late = |until| store.give_up_for_gone("gone", true, at(9), &giving_up(until)).unwrap();
    assert_eq!((late(4), told.borrow().len()), (0, 2));
    assert_eq!((late(5), told.borrow().last().copied()), (1, Some(1)));
}

fn messages_come_back_as_they_were_put_in(database: &TestDatabase) {
    let store = database.store();
    let mut notice = remark("it's \"odd\" \\ 🦀 {}");
    notice.text = "Zeile 1\nZeile 2\t\u{1}\u{2028}".to_owned();
    notice.url = Some("https://example.org/?a=1&b='2'".to_owned());
    store.put_notices(&[delivery("mail", "o'hara@example.org", notice.clone())], at(0)).unwrap();
    let sent = singles(&store, 0, "t");
    assert_eq!((&sent[0].deliveries[0].notice, sent[0].recipient.as_str()), (&notice, "o'hara@example.org"));
}

fn a_message_that_cannot_be_read_is_given_up_and_hinders_nobody(database: &TestDatabase) {
    let store = database.store();
    let spoil = |subject: &str| {
        database
            .execute(&format!("UPDATE deliveries SET notice = '{{}}' WHERE notice LIKE '%\"{subject}\"%'"));
    };
    put(&store, 0, &["bad", "good"]);
    spoil("bad");
    assert_eq!(subjects(&singles(&store, 0, "t")), ["good"]);
    put(&store, 20, &["worse", "better"]);
    spoil("worse");
    // The only message for its recipient, and older than all others.
    store.put_notices(&[delivery("mail", "b@example.org", remark("worst"))], at(-1)).unwrap();
    spoil("worst");
    let sent = [digest(&store, 20, "u").unwrap(), digest(&store, 20, "u").unwrap()];
    assert_eq!(subjects(&sent).len(), 2, "the good one whose lease ran out, and the better one: {sent:?}");
    assert_eq!(store.waiting_counts().unwrap(), WaitingCounts { waiting: 2, dead: 3 });
    let problem = database.text("SELECT problem FROM deliveries WHERE state = 'dead'").unwrap();
    assert!(problem.contains("deliveries") && problem.contains("notice"), "{problem}");
}
