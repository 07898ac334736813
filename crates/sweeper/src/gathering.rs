//! Who is being written to. A recipient gets one message at a time, so that what comes meanwhile gathers and goes out together;
//! and while the sweep works off a backlog, whoever has been told already hears of the rest when it is through.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::TimeDelta;
use innkeeper_core::Time;
use innkeeper_store::Sending;

/// The longest that messages gather: one that hangs, or a backlog that takes long, keeps the others for no longer.
const LONGEST: TimeDelta = TimeDelta::seconds(10);

/// The recipients of one alerter, in this process. Clones share them.
#[derive(Clone, Default)]
pub struct Gathering(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    backlog: bool,
    told: HashMap<String, Told>,
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
        let mut state = self.state();
        let backlog = state.backlog;
        state.told.retain(|_, told| now - told.at < LONGEST && (told.under_way || backlog));
        let gathering: Vec<&str> = state.told.keys().map(String::as_str).collect();
        let claimed = claim(&gathering)?;
        if let Some(sending) = &claimed {
            state.told.insert(sending.recipient.clone(), Told { at: now, under_way: true });
        }
        Ok(claimed)
    }

    /// The message to `recipient` is out of hands.
    pub fn done(&self, recipient: &str, now: Time) {
        if let Some(told) = self.state().told.get_mut(recipient) {
            *told = Told { at: now, under_way: false };
        }
    }

    /// Whether the sweep has more to look at than it has seen. Returns whether that was so before.
    pub fn backlog(&self, backlog: bool) -> bool {
        std::mem::replace(&mut self.state().backlog, backlog)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
