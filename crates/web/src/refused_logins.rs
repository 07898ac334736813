//! Refused logins in the audit log: one entry for each network and minute, which counts them. A flood of guesses fills
//! neither the log nor the database's time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::web;
use innkeeper_core::Time;
use innkeeper_core::guesses::network_of;
use innkeeper_logging::Seldom;
use innkeeper_store::{Actor, Store, StoreError};
use parking_lot::{Mutex, MutexGuard};
use strum::VariantArray;

/// So many networks have an entry of their own in a minute; the others have one together.
const NETWORKS: usize = 20;
/// So many users stand in an entry by their names.
const NAMES: usize = 5;
/// So often in a second an entry is written at once; what comes beyond is written a second later.
const AT_ONCE: u32 = 10;
const SECOND: Duration = Duration::from_secs(1);
/// The longest pause before what could not be written is tried again.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
const MINUTE_MS: i64 = 60_000;
/// The networks that have no entry of their own.
const OTHERS: &str = "many addresses";

/// Why a login was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
pub(crate) enum RefusalReason {
    /// A wrong name or password.
    Wrong,
    /// Too many wrong ones before it.
    TooSoon,
    /// The line was full.
    Crowded,
    /// The user has yet to be confirmed.
    Unconfirmed,
    /// The password was right, and the code was not.
    WrongCode,
    /// The password was right, and the passkey was not.
    WrongPasskey,
    /// A link for a password that is none, was used, or is too old.
    Link,
    /// A return from an OpenID provider that this browser was not waiting for.
    NotBegun,
    /// The provider is away, or answers what cannot be used.
    ProviderAway,
    /// The provider did not let them in.
    ProviderRefused,
    /// The provider accepts neither this program nor what it gave itself.
    Unaccepted,
    /// What the provider answered does not fit.
    Untrusted,
    /// The provider gives them no role.
    NoRole,
    /// The provider says nothing of their role.
    RoleUnsaid,
    /// The provider gives them no name, or one that another user has.
    NoName,
}

impl RefusalReason {
    /// The words for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wrong => "a wrong name or password",
            Self::TooSoon => "too soon after wrong ones",
            Self::Crowded => "too many at once",
            Self::Unconfirmed => "a user who has yet to be confirmed",
            Self::WrongCode => "the right password, and a wrong code",
            Self::WrongPasskey => "the right password, and a wrong passkey",
            Self::Link => "a password link that was used, is too old, or is none",
            Self::NotBegun => "OpenID Connect: not begun in this browser, or over",
            Self::ProviderAway => "OpenID Connect: the provider was away",
            Self::ProviderRefused => "OpenID Connect: the provider did not let them in",
            Self::Unaccepted => "OpenID Connect: the provider did not accept this program, or its own code",
            Self::Untrusted => "OpenID Connect: what the provider answered cannot be trusted",
            Self::NoRole => "OpenID Connect: no role",
            Self::RoleUnsaid => "OpenID Connect: the provider said nothing of the role",
            Self::NoName => "OpenID Connect: no name, or another user's",
        }
    }
}

/// Who was refused.
#[derive(Debug, Clone)]
pub(crate) enum RefusedAccount {
    /// This user, by the name that was typed or that a provider says.
    User(String),
    /// A name that nobody has.
    Unknown,
    /// Nobody said a name.
    Somebody,
}

/// The refused logins of this minute.
#[derive(Default)]
pub(crate) struct RefusedLogins {
    book: Arc<Mutex<Book>>,
    /// Held by whoever writes entries.
    writing: Arc<Mutex<()>>,
}

#[derive(Default)]
struct Book {
    minute: i64,
    /// By network.
    entries: HashMap<String, RefusedLogin>,
    /// Of minutes that are over, and not written yet.
    left: Vec<RefusedLogin>,
    /// Since when it is counted how often was written.
    since: Option<Instant>,
    written: u32,
    is_later: bool,
}

#[derive(Debug, Clone, Default)]
struct RefusedLogin {
    /// Its number in the log.
    id: Option<i64>,
    network: String,
    /// The address, or the network where there were several.
    source: String,
    names: Vec<String>,
    has_more_names: bool,
    has_unknown_name: bool,
    has_somebody: bool,
    counts: [u64; RefusalReason::VARIANTS.len()],
    at: Time,
    /// What is counted is not written.
    is_new: bool,
}

impl RefusedLogins {
    /// Writes down that one was refused.
    pub async fn note(
        &self,
        store: &Store,
        source: &str,
        whom: RefusedAccount,
        why: RefusalReason,
        now: Time,
    ) {
        let is_at_once = {
            let mut book = lock(&self.book);
            book.count(source, whom, why, now);
            book.takes_one(Instant::now())
        };
        let (book, writing, store) = (Arc::clone(&self.book), Arc::clone(&self.writing), store.clone());
        let store_again = store.clone();
        let is_written = match is_at_once {
            // A request that is given up ends here; what it counted is written all the same.
            true => {
                web::block(move || write(&book, &writing, &store)).await.is_ok_and(|written| written.is_ok())
            }
            false => false,
        };
        if !is_written {
            self.write_later(store_again);
        }
    }

    /// Writes what waits in a while, and again until that succeeds.
    fn write_later(&self, store: Store) {
        if std::mem::replace(&mut lock(&self.book).is_later, true) {
            return;
        }
        let (book, writing) = (Arc::clone(&self.book), Arc::clone(&self.writing));
        actix_web::rt::spawn(async move {
            let mut wait = SECOND;
            loop {
                actix_web::rt::time::sleep(wait).await;
                let (own, writing, store) = (Arc::clone(&book), Arc::clone(&writing), store.clone());
                let written = web::block(move || write(&own, &writing, &store)).await;
                if written.is_ok_and(|written| written.is_ok()) {
                    lock(&book).is_later = false;
                    return;
                }
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        });
    }

    /// Writes what waits, at the end of the process. Blocks.
    pub fn finish(&self, store: &Store) {
        if write(&self.book, &self.writing, store).is_err() {
            log::warn!(
                "refused logins cannot be written to the audit log: the database does not accept them"
            );
        }
    }
}

fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock()
}

/// Something could not be written, and waits.
struct Unwritten;

/// Writes what is not written. Where somebody else is at it, they see to it.
fn write(book: &Mutex<Book>, writing: &Mutex<()>, store: &Store) -> Result<(), Unwritten> {
    // Again, since something may be counted just before the turn is given up.
    while lock(book).has_unwritten() {
        let Some(_writing) = writing.try_lock() else { return Ok(()) };
        let unwritten = lock(book).take_unwritten();
        let mut failed = false;
        for entry in unwritten {
            // After the first that fails the others wait with it.
            match if failed { Err(None) } else { entry.write(store).map_err(Some) } {
                Ok(id) => lock(book).mark_written(&entry, id),
                Err(error) => {
                    if let Some(error) = error {
                        static FAILED: Seldom = Seldom::new();
                        FAILED.warn(format_args!("a refused login cannot be written down yet: {error}"));
                    }
                    failed = true;
                    lock(book).put_back(entry);
                }
            }
        }
        if failed {
            return Err(Unwritten);
        }
    }
    Ok(())
}

impl Book {
    fn count(&mut self, source: &str, whom: RefusedAccount, why: RefusalReason, now: Time) {
        let minute = now.timestamp_millis().div_euclid(MINUTE_MS);
        if minute != self.minute {
            self.minute = minute;
            self.left.extend(self.entries.drain().map(|(_, entry)| entry).filter(|entry| entry.is_new));
            self.left.truncate(2 * NETWORKS);
        }
        let mut network = network_of(source);
        if !self.entries.contains_key(&network) && self.entries.len() >= NETWORKS {
            network = OTHERS.to_owned();
        }
        let entry = self.entries.entry(network.clone()).or_insert_with(|| RefusedLogin {
            source: if network == OTHERS { OTHERS.to_owned() } else { source.to_owned() },
            network: network.clone(),
            at: now,
            ..RefusedLogin::default()
        });
        if entry.source != source {
            entry.source = network;
        }
        match whom {
            RefusedAccount::Unknown => entry.has_unknown_name = true,
            RefusedAccount::Somebody => entry.has_somebody = true,
            RefusedAccount::User(name) if entry.names.contains(&name) => {}
            RefusedAccount::User(name) if entry.names.len() < NAMES => entry.names.push(name),
            RefusedAccount::User(_) => entry.has_more_names = true,
        }
        if let Some(count) = entry.counts.get_mut(why as usize) {
            *count += 1;
        }
        entry.is_new = true;
    }

    /// Whether what was counted is written at once.
    fn takes_one(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= SECOND) {
            self.since = Some(now);
            self.written = 0;
        }
        self.written = self.written.saturating_add(1);
        self.written <= AT_ONCE
    }

    fn has_unwritten(&self) -> bool {
        !self.left.is_empty() || self.entries.values().any(|entry| entry.is_new)
    }

    fn take_unwritten(&mut self) -> Vec<RefusedLogin> {
        let mut unwritten = std::mem::take(&mut self.left);
        for entry in self.entries.values_mut().filter(|entry| entry.is_new) {
            entry.is_new = false;
            unwritten.push(entry.clone());
        }
        unwritten
    }

    fn mark_written(&mut self, written: &RefusedLogin, id: Option<i64>) {
        match self.same(written) {
            Some(entry) => entry.id = id,
            // The minute has ended meanwhile, and something was counted.
            None => {
                for entry in self.left.iter_mut().filter(|entry| entry.is_as(written)) {
                    entry.id = id;
                }
            }
        }
    }

    fn put_back(&mut self, entry: RefusedLogin) {
        match self.same(&entry) {
            Some(entry) => entry.is_new = true,
            None => self.left.push(entry),
        }
    }

    fn same(&mut self, one: &RefusedLogin) -> Option<&mut RefusedLogin> {
        self.entries.get_mut(&one.network).filter(|entry| entry.is_as(one))
    }
}

impl RefusedLogin {
    fn is_as(&self, other: &Self) -> bool {
        self.network == other.network && self.at == other.at
    }

    fn write(&self, store: &Store) -> Result<Option<i64>, StoreError> {
        let actor = Actor { who: "nobody".to_owned(), source: self.source.clone() };
        store.acting_as(actor).note_again(self.id, "refused login", &self.subject(), &self.detail(), self.at)
    }

    fn subject(&self) -> String {
        let mut users: Vec<String> = self.names.iter().map(|name| format!("user {name}")).collect();
        if self.has_more_names {
            users.push("other users".to_owned());
        }
        if self.has_unknown_name {
            users.push("a name that nobody has".to_owned());
        }
        if self.has_somebody {
            users.push("somebody".to_owned());
        }
        users.join(", ")
    }

    fn detail(&self) -> String {
        let counted = RefusalReason::VARIANTS.iter().zip(self.counts).filter(|(_, count)| *count > 0);
        let lines: Vec<String> = counted.map(|(why, count)| format!("{}: {count}", why.as_str())).collect();
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn at(seconds: i64) -> Time {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    fn unwritten(book: &mut Book) -> Vec<(String, String, String)> {
        let mut entries: Vec<_> = book
            .take_unwritten()
            .into_iter()
            .map(|entry| (entry.source.clone(), entry.subject(), entry.detail()))
            .collect();
        entries.sort();
        entries
    }

    #[test]
    fn one_network_has_one_entry_a_minute() {
        let mut book = Book::default();
        book.count("2001:db8::1", RefusedAccount::User("ada".to_owned()), RefusalReason::Wrong, at(0));
        assert_eq!(
            unwritten(&mut book),
            [("2001:db8::1".to_owned(), "user ada".to_owned(), "a wrong name or password: 1".to_owned())]
        );
        book.count("2001:db8::2", RefusedAccount::Unknown, RefusalReason::Wrong, at(1));
        book.count("2001:db8::2", RefusedAccount::Unknown, RefusalReason::TooSoon, at(59));
        let counted = "a wrong name or password: 2\ntoo soon after wrong ones: 1".to_owned();
        let whom = "user ada, a name that nobody has".to_owned();
        book.count("2001:db8::1", RefusedAccount::Unknown, RefusalReason::Crowded, at(60));
        assert_eq!(
            unwritten(&mut book),
            [
                ("2001:db8::/64".to_owned(), whom, counted),
                (
                    "2001:db8::1".to_owned(),
                    "a name that nobody has".to_owned(),
                    "too many at once: 1".to_owned()
                ),
            ]
        );
        assert!(unwritten(&mut book).is_empty());
    }

    #[test]
    fn a_flood_has_few_entries_and_few_writes() {
        let (mut book, begun) = (Book::default(), Instant::now());
        for n in 0..10_000_u32 {
            let source = std::net::Ipv4Addr::from_bits(n).to_string();
            book.count(&source, RefusedAccount::User(format!("user{n}")), RefusalReason::Wrong, at(1));
        }
        let entries = unwritten(&mut book);
        assert_eq!(entries.len(), NETWORKS + 1);
        let others = entries.iter().find(|(source, ..)| source == OTHERS).unwrap();
        assert!(others.1.len() < 200 && others.2.ends_with(&(10_000 - NETWORKS).to_string()), "{others:?}");
        let written = (0..1000).filter(|_| book.takes_one(begun)).count();
        assert_eq!(written, AT_ONCE as usize);
        assert!(book.takes_one(begun + SECOND));
    }

    #[test]
    fn what_could_not_be_written_is_written_later_and_once() {
        let mut book = Book::default();
        book.count("10.0.0.5", RefusedAccount::Unknown, RefusalReason::Wrong, at(0));
        let entry = book.take_unwritten().remove(0);
        // The minute ends while it is tried, and something else is counted.
        book.count("10.0.0.6", RefusedAccount::Unknown, RefusalReason::Wrong, at(61));
        book.put_back(entry);
        let mut again = book.take_unwritten();
        assert_eq!(again.len(), 2);
        let first = again.remove(0);
        book.mark_written(&first, Some(7));
        book.count("10.0.0.6", RefusedAccount::Unknown, RefusalReason::Wrong, at(62));
        let second = book.take_unwritten().remove(0);
        assert_eq!((second.id, second.counts[0]), (None, 2));
    }
}
