//! Who is being written to. A recipient gets one message at a time, so that what comes meanwhile gathers and goes out together;
//! and while the sweep works off a backlog, whoever has been told already hears of the rest when it is through.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::TimeDelta;
use innkeeper_core::Time;
use innkeeper_store::Sending;

/// The longest that messages gather: one that hangs, or a backlog that takes long, keeps the others for no longer.
const LONGEST: TimeDelta = TimeDelta::seconds(10);

/// The recipients of one alerter, in this process. Clones share them.
#[derive(Clone, Default)]
pub struct Gathering {
    told: Arc<Mutex<HashMap<String, Told>>>,
    /// Beside the lock, which is held while a sender claims: the sweep must not wait for that.
    backlog: Arc<AtomicBool>,
}

struct Told {
    at: Time,
    under_way: bool,
}

impl Gathering {
    /// Claims by `claim`, which is given those for whom messages gather at `now`. One sender at a time.
    ///
    /// # Errors
    /// Those of `claim`.
    pub fn claim<E>(
        &self,
        now: Time,
        claim: impl FnOnce(&[&str]) -> Result<Option<Sending>, E>,
    ) -> Result<Option<Sending>, E> {
        let mut all = self.told();
        let backlog = self.backlog.load(Ordering::SeqCst);
        // By its size, so that nobody waits for a clock that has returned from the future.
        all.retain(|_, told| (now - told.at).abs() < LONGEST && (told.under_way || backlog));
        let gathering: Vec<&str> = all.keys().map(String::as_str).collect();
        let claimed = claim(&gathering)?;
        if let Some(sending) = &claimed {
            all.insert(sending.recipient.clone(), Told { at: now, under_way: true });
        }
        Ok(claimed)
    }

    /// The message to `recipient` is out of hands.
    pub fn done(&self, recipient: &str, now: Time) {
        if let Some(told) = self.told().get_mut(recipient) {
            *told = Told { at: now, under_way: false };
        }
    }

    /// Says whether the sweep has more to look at than it has seen. Returns whether that was so before.
    pub fn backlog(&self, backlog: bool) -> bool {
        self.backlog.swap(backlog, Ordering::SeqCst)
    }

    fn told(&self) -> MutexGuard<'_, HashMap<String, Told>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Time {
        Time::from_timestamp(1_000_000 + second, 0).unwrap()
    }

    /// Who is left out of a claim that finds something for `found`.
    fn left_out(gathering: &Gathering, second: i64, found: Option<&str>) -> Vec<String> {
        let mut left_out = Vec::new();
        let claim = |except: &[&str]| -> Result<Option<Sending>, ()> {
            left_out = except.iter().map(|recipient| (*recipient).to_owned()).collect();
            let sending =
                |to: &str| Sending { key: String::new(), recipient: to.to_owned(), deliveries: Vec::new() };
            Ok(found.map(sending))
        };
        gathering.claim(at(second), claim).unwrap();
        left_out.sort();
        left_out
    }

    #[test]
    fn a_recipient_gets_one_at_a_time_and_no_other_waits() {
        let gathering = Gathering::default();
        assert!(left_out(&gathering, 0, Some("a")).is_empty());
        assert_eq!(left_out(&gathering, 1, Some("b")), ["a"]);
        assert_eq!(left_out(&gathering, 2, None), ["a", "b"]);
        gathering.done("a", at(3));
        assert_eq!(left_out(&gathering, 3, None), ["b"]);
        assert!(
            left_out(&gathering, 11, None).is_empty(),
            "one that hangs holds up the others for ten seconds"
        );
        gathering.done("b", at(12));
        assert!(left_out(&gathering, 12, None).is_empty());
    }

    #[test]
    fn who_was_told_waits_for_the_end_of_a_backlog_or_ten_seconds() {
        let gathering = Gathering::default();
        assert!(!gathering.backlog(true));
        left_out(&gathering, 0, Some("a"));
        gathering.done("a", at(1));
        assert_eq!(left_out(&gathering, 10, None), ["a"]);
        assert!(left_out(&gathering, 11, Some("a")).is_empty());
        gathering.done("a", at(12));
        assert_eq!(left_out(&gathering, 13, None), ["a"]);
        assert!(gathering.backlog(false));
        assert!(left_out(&gathering, 13, None).is_empty());
    }

    #[test]
    fn a_claim_that_fails_holds_nobody() {
        let gathering = Gathering::default();
        assert_eq!(gathering.claim(at(0), |_| Err("away")), Err("away"));
        assert!(left_out(&gathering, 0, None).is_empty());
    }
}
