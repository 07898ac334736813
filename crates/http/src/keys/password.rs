//! Passwords, hashed with argon2id and the parameters that OWASP recommends (19 MiB, two passes): the defaults of the
//! crate.
//!
//! One password is hashed at a time, in one block of memory that is passed from one request to the
//! next, and returned to the system when nobody waits. The holder of the [`HashingTurn`] has it.
//! Waiting requests occupy no thread, and the queues are short: known devices have a queue of their
//! own, which goes first. At most two requests of one user wait there, and four of one network
//! among the strangers. Requests that do not fit are refused at once.

use std::collections::VecDeque;

use argon2::password_hash::{self, Output, ParamsString, PasswordHash, Salt, SaltString};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// The most requests in each queue.
const LINE: usize = 16;
/// The most requests of one user in the queue of known devices.
const OF_ONE_USER: usize = 2;
/// The most requests of one network in the queue of strangers.
const OF_ONE_NETWORK: usize = 4;
/// The most blocks of 1 KiB that a hash may demand; one that demands more was not made here.
const MOST_BLOCKS: usize = 256 * 1024;

/// The queues of this process.
static QUEUE: Queue = Queue::new();

/// The queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords are being checked")]
pub struct Crowded;

/// The sender of a waiting request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting<'n> {
    /// This user, on a device in which they have logged in before, or with a link to choose a password.
    Known(&'n str),
    /// Somebody unknown from this network.
    Stranger(&'n str),
}

/// Waits until passwords may be hashed.
///
/// # Errors
/// The queue is full; reported at once.
pub async fn turn(who: Waiting<'_>) -> Result<HashingTurn, Crowded> {
    QUEUE.turn(who).await
}

struct Queue(Mutex<Lines>);

/// The queues, in order of arrival, and the (empty) memory while nobody holds it.
struct Lines {
    /// Whether the last turn that was waited for went to a known device. The next then goes to a stranger, if one
    /// waits: somebody with an account must not be able to lock out all others.
    was_known: bool,
    memory: Option<Vec<Block>>,
    known: Waiters,
    strangers: Waiters,
}

/// The waiting requests, each with its user or network.
struct Waiters(VecDeque<(String, oneshot::Sender<HashingTurn>)>);

impl Waiters {
    const fn new() -> Self {
        Self(VecDeque::new())
    }

    fn forget_who_left(&mut self) {
        self.0.retain(|(_, sender)| !sender.is_closed());
    }

    /// Adds a waiting request of `whom`, if there is room and fewer than `most` of the same wait.
    fn take_in(&mut self, whom: &str, most: usize) -> Option<oneshot::Receiver<HashingTurn>> {
        self.forget_who_left();
        let of_one = self.0.iter().filter(|(known, _)| known == whom).count();
        if self.0.len() >= LINE || of_one >= most {
            return None;
        }
        let (sender, called) = oneshot::channel();
        self.0.push_back((whom.to_owned(), sender));
        Some(called)
    }

    fn next(&mut self) -> Option<oneshot::Sender<HashingTurn>> {
        self.0.pop_front().map(|(_, sender)| sender)
    }
}

impl Queue {
    const fn new() -> Self {
        let lines = Lines {
            was_known: false,
            memory: Some(Vec::new()),
            known: Waiters::new(),
            strangers: Waiters::new(),
        };
        Self(Mutex::new(lines))
    }

    async fn turn(&'static self, who: Waiting<'_>) -> Result<HashingTurn, Crowded> {
        let called = {
            let mut lines = self.0.lock();
            if let Some(memory) = lines.memory.take() {
                return Ok(HashingTurn { queue: self, memory: Some(memory) });
            }
            match who {
                Waiting::Known(user) => lines.known.take_in(user, OF_ONE_USER),
                Waiting::Stranger(network) => lines.strangers.take_in(network, OF_ONE_NETWORK),
            }
            .ok_or(Crowded)?
        };
        called.await.map_err(|_| Crowded)
    }

    /// Passes the memory to the next request in the queue, or returns it to the system.
    fn pass_on(&'static self, mut memory: Vec<Block>) {
        loop {
            let next = {
                let mut lines = self.0.lock();
                match lines.next() {
                    Some(next) => next,
                    None => {
                        lines.memory = Some(Vec::new());
                        return;
                    }
                }
            };
            let Err(mut unwanted) = next.send(HashingTurn { queue: self, memory: Some(memory) }) else {
                return;
            };
            // The waiting request has gone, so the turn comes back.
            let Some(given_back) = unwanted.memory.take() else { return };
            memory = given_back;
        }
    }
}

impl Lines {
    /// The next request: known devices first, but after each of them a stranger.
    fn next(&mut self) -> Option<oneshot::Sender<HashingTurn>> {
        let mut of = |known: bool| {
            let line = if known { &mut self.known } else { &mut self.strangers };
            line.next().map(|next| (next, known))
        };
        let known_first = !self.was_known;
        let (next, was_known) = of(known_first).or_else(|| of(!known_first)).unzip();
        self.was_known = was_known.unwrap_or_default();
        next
    }
}

/// The right to hash passwords. Dropping it passes it on.
pub struct HashingTurn {
    queue: &'static Queue,
    /// None after it was passed on.
    memory: Option<Vec<Block>>,
}

impl std::fmt::Debug for HashingTurn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HashingTurn")
    }
}

impl Drop for HashingTurn {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            self.queue.pass_on(memory);
        }
    }
}

impl HashingTurn {
    /// Hashes a new password, with its salt and parameters in the result. Blocks for some hundredths of a second.
    ///
    /// # Errors
    /// The system provides no randomness.
    pub fn hash(&mut self, password: &str) -> anyhow::Result<String> {
        let mut salt = [0; 16];
        getrandom::fill(&mut salt)?;
        let params = Params::default();
        let output = self.output(Argon2::default(), password, &salt, Params::DEFAULT_OUTPUT_LEN)?;
        let salt = SaltString::encode_b64(&salt).map_err(unusable)?;
        let hash = PasswordHash {
            algorithm: Algorithm::default().ident(),
            version: Some(Version::default().into()),
            params: ParamsString::try_from(&params).map_err(unusable)?,
            salt: Some(salt.as_salt()),
            hash: Some(output),
        };
        Ok(hash.to_string())
    }

    /// Whether the password has the known hash. Without one, takes as long and returns false.
    ///
    /// # Errors
    /// The known hash is malformed or demands too much memory.
    pub fn verify(&mut self, password: &str, known: Option<&str>) -> anyhow::Result<bool> {
        let Some(known) = known else {
            self.hash(password)?;
            return Ok(false);
        };
        let known = PasswordHash::new(known).map_err(unusable)?;
        let (Some(salt), Some(expected)) = (known.salt, known.hash) else {
            anyhow::bail!("argon2: a hash without its salt, or without itself");
        };
        let algorithm = Algorithm::try_from(known.algorithm).map_err(unusable)?;
        let version = known.version.map_or(Ok(Version::default()), Version::try_from);
        let version = version.map_err(|error| anyhow::anyhow!("argon2: {error}"))?;
        let params = Params::try_from(&known).map_err(unusable)?;
        let mut decoded = [0; Salt::MAX_LENGTH];
        let salt = salt.decode_b64(&mut decoded).map_err(unusable)?;
        let output = self.output(Argon2::new(algorithm, version, params), password, salt, expected.len())?;
        // In constant time.
        Ok(output == expected)
    }

    fn output(
        &mut self,
        argon2: Argon2<'_>,
        password: &str,
        salt: &[u8],
        length: usize,
    ) -> anyhow::Result<Output> {
        let blocks = argon2.params().block_count();
        anyhow::ensure!(blocks <= MOST_BLOCKS, "argon2: a hash that takes {blocks} KiB of memory");
        let memory = self.memory.get_or_insert_default();
        if memory.len() < blocks {
            memory.resize(blocks, Block::default());
        }
        let mut output = vec![0; length];
        argon2
            .hash_password_into_with_memory(password.as_bytes(), salt, &mut output, memory)
            .map_err(|error| anyhow::anyhow!("argon2: {error}"))?;
        Output::new(&output).map_err(unusable)
    }
}

fn unusable(error: password_hash::Error) -> anyhow::Error {
    anyhow::anyhow!("argon2: {error}")
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};

    use super::*;

    fn queue() -> &'static Queue {
        Box::leak(Box::new(Queue::new()))
    }

    #[actix_web::test]
    async fn a_password_is_recognised() {
        let mut turn = queue().turn(Waiting::Known("ada")).await.unwrap();
        let known = turn.hash("correct horse").unwrap();
        assert!(known.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{known}");
        assert!(turn.verify("correct horse", Some(&known)).unwrap());
        assert!(!turn.verify("correct horses", Some(&known)).unwrap());
        assert!(!turn.verify("correct horse", None).unwrap());
        assert!(turn.verify("x", Some("plain")).is_err());
        // Hashes of older versions, with other parameters, made by the crate itself.
        let params = Params::new(1024, 3, 1, None).unwrap();
        let other = Argon2::new(Algorithm::Argon2i, Version::V0x10, params);
        let salt = SaltString::from_b64("c29tZXNhbHQ").unwrap();
        for argon2 in [other, Argon2::default()] {
            let older = argon2.hash_password(b"password", &salt).unwrap().to_string();
            assert!(turn.verify("password", Some(&older)).unwrap(), "{older}");
            assert!(!turn.verify("passwords", Some(&older)).unwrap());
        }
        assert!(turn.verify("x", Some(&known.replace("m=19456", "m=4000000"))).is_err(), "4 GB");
        // The crate itself also verifies our hash.
        let parsed = PasswordHash::new(&known).unwrap();
        assert!(Argon2::default().verify_password(b"correct horse", &parsed).is_ok());
    }

    #[actix_web::test]
    async fn known_devices_go_first_and_strangers_wait_in_short_lines() {
        let queue = queue();
        let waker = Waker::noop();
        let mut context = Context::from_waker(waker);
        let first = queue.turn(Waiting::Stranger("a")).await.unwrap();
        let mut strangers: Vec<_> =
            (0..OF_ONE_NETWORK).map(|_| Box::pin(queue.turn(Waiting::Stranger("a")))).collect();
        for stranger in &mut strangers {
            assert!(stranger.as_mut().poll(&mut context).is_pending());
        }
        let one_more = queue.turn(Waiting::Stranger("a")).await;
        assert_eq!(one_more.unwrap_err(), Crowded, "one more of one network");
        let mut known = pin!(queue.turn(Waiting::Known("ada")));
        assert!(known.as_mut().poll(&mut context).is_pending());
        drop(first);
        let Poll::Ready(Ok(turn)) = known.as_mut().poll(&mut context) else {
            panic!("a known device goes first")
        };
        assert!(strangers[0].as_mut().poll(&mut context).is_pending());
        // A request that is given up delays nobody, even if it was its turn.
        let mut leaves = Box::pin(queue.turn(Waiting::Stranger("b")));
        assert!(leaves.as_mut().poll(&mut context).is_pending());
        drop(turn);
        for stranger in strangers {
            drop(stranger.await.unwrap());
        }
        drop(leaves);
        assert!(
            pin!(queue.turn(Waiting::Stranger("c"))).poll(&mut context).is_ready(),
            "nobody holds it any more"
        );
    }

    #[actix_web::test]
    async fn a_line_that_is_full_is_said_at_once() {
        let queue = queue();
        let _turn = queue.turn(Waiting::Known("ada")).await.unwrap();
        let mut context = Context::from_waker(Waker::noop());
        let networks: Vec<String> = (0..LINE).map(|n| n.to_string()).collect();
        let mut waiting: Vec<_> =
            networks.iter().map(|network| Box::pin(queue.turn(Waiting::Stranger(network)))).collect();
        for one in &mut waiting {
            assert!(one.as_mut().poll(&mut context).is_pending());
        }
        assert_eq!(queue.turn(Waiting::Stranger("other")).await.unwrap_err(), Crowded);
        // A known device has a queue of its own, and a request that was given up takes no place.
        assert!(pin!(queue.turn(Waiting::Known("ada"))).poll(&mut context).is_pending());
        waiting.pop();
        assert!(pin!(queue.turn(Waiting::Stranger("other"))).poll(&mut context).is_pending());
    }

    #[actix_web::test]
    async fn the_known_keep_no_stranger_out() {
        let queue = queue();
        let mut context = Context::from_waker(Waker::noop());
        let turn = queue.turn(Waiting::Known("vic")).await.unwrap();
        let mut again: Vec<_> = (0..2).map(|_| Box::pin(queue.turn(Waiting::Known("vic")))).collect();
        let mut stranger = pin!(queue.turn(Waiting::Stranger("a")));
        assert!(stranger.as_mut().poll(&mut context).is_pending());
        for one in &mut again {
            assert!(one.as_mut().poll(&mut context).is_pending());
        }
        drop(turn);
        drop(again.remove(0).await.unwrap());
        // Another request of the same user comes before the stranger has had a turn.
        let mut third = pin!(queue.turn(Waiting::Known("vic")));
        assert!(third.as_mut().poll(&mut context).is_pending());
        let turn = stranger.await.unwrap();
        assert!(third.as_mut().poll(&mut context).is_pending());
        drop(turn);
        drop(again.remove(0).await.unwrap());
        drop(third.await.unwrap());
    }

    #[actix_web::test]
    async fn one_user_does_not_fill_the_line_of_the_known() {
        let queue = queue();
        let _turn = queue.turn(Waiting::Known("vic")).await.unwrap();
        let mut context = Context::from_waker(Waker::noop());
        let mut waiting: Vec<_> =
            (0..OF_ONE_USER).map(|_| Box::pin(queue.turn(Waiting::Known("vic")))).collect();
        for one in &mut waiting {
            assert!(one.as_mut().poll(&mut context).is_pending());
        }
        assert_eq!(queue.turn(Waiting::Known("vic")).await.unwrap_err(), Crowded);
        assert!(pin!(queue.turn(Waiting::Known("ada"))).poll(&mut context).is_pending());
    }
}
