//! The context of log lines: the number of a request, a batch or a pass, which every line has that is logged within
//! it.
//!
//! ```
//! let _batch = innkeeper_logging::within("batch", 7);
//! log::warn!("the database does not answer"); // … does not answer batch=7
//! ```

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

thread_local! {
    static CONTEXT: RefCell<Vec<LogScope>> = const { RefCell::new(Vec::new()) };
}

/// A piece of work with a number, such as `batch=7`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogScope {
    kind: &'static str,
    number: u64,
}

impl LogScope {
    /// A scope with this kind (`request`, `batch`, `pass`) and number.
    pub const fn new(kind: &'static str, number: u64) -> Self {
        Self { kind, number }
    }

    /// The number.
    pub const fn number(self) -> u64 {
        self.number
    }

    /// Runs `work` within the scope.
    pub fn run<T>(self, work: impl FnOnce() -> T) -> T {
        let _guard = self.enter();
        work()
    }

    /// Enters the scope on this thread, until the guard is dropped.
    pub fn enter(self) -> Guard {
        CONTEXT.with_borrow_mut(|scopes| scopes.push(self));
        Guard(PhantomData)
    }

    /// A future that is polled within the scope, on any thread.
    pub fn wrap<F: Future>(self, future: F) -> Within<F> {
        Within { scope: self, future }
    }
}

impl fmt::Display for LogScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.kind, self.number)
    }
}

/// Enters the scope with this kind and number on this thread, until the guard is dropped.
pub fn within(kind: &'static str, number: u64) -> Guard {
    LogScope::new(kind, number).enter()
}

/// The scopes of this thread, outermost first, to be entered on another thread.
pub fn current() -> Vec<LogScope> {
    CONTEXT.with_borrow(Clone::clone)
}

/// Runs `work` within all of `scopes`.
pub fn run_within<T>(scopes: &[LogScope], work: impl FnOnce() -> T) -> T {
    let _guards: Vec<Guard> = scopes.iter().map(|scope| scope.enter()).collect();
    work()
}

/// Calls `each` with the kind and number of each scope of this thread.
pub(crate) fn visit(mut each: impl FnMut(&'static str, u64)) {
    // The thread-local value is gone while a thread ends.
    let _ = CONTEXT.try_with(|scopes| {
        if let Ok(scopes) = scopes.try_borrow() {
            scopes.iter().for_each(|scope| each(scope.kind, scope.number));
        }
    });
}

/// Ends a scope when dropped. It cannot be sent to another thread.
#[must_use = "the scope ends with the guard"]
pub struct Guard(PhantomData<*const ()>);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = CONTEXT.try_with(|scopes| scopes.borrow_mut().pop());
    }
}

pin_project_lite::pin_project! {
    /// The future of [`Scope::wrap`].
    pub struct Within<F> {
        scope: LogScope,
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for Within<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _guard = this.scope.enter();
        this.future.poll(context)
    }
}

/// A counter for the scopes of one kind in this process, starting with 1.
#[derive(Debug, Default)]
pub struct Numbers(AtomicU64);

impl Numbers {
    /// A counter that has given no number yet.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// The next number.
    pub fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    fn names() -> Vec<String> {
        current().iter().map(LogScope::to_string).collect()
    }

    #[test]
    fn scopes_nest_and_end() {
        assert_eq!(names(), Vec::<String>::new());
        {
            let _pass = within("pass", 3);
            LogScope::new("batch", 9).run(|| assert_eq!(names(), ["pass=3", "batch=9"]));
            let there = current();
            let elsewhere = std::thread::spawn(move || (names(), run_within(&there, names))).join().unwrap();
            assert_eq!(elsewhere, (vec![], vec!["pass=3".to_owned()]));
            assert_eq!(names(), ["pass=3"]);
        }
        assert_eq!(names(), Vec::<String>::new());
    }

    #[test]
    fn a_future_has_its_scope_only_while_it_is_polled() {
        let mut polls = 0;
        let future = std::future::poll_fn(move |context| {
            polls += 1;
            context.waker().wake_by_ref();
            if polls < 3 { Poll::Pending } else { Poll::Ready(names()) }
        });
        let mut future = pin!(LogScope::new("request", 5).wrap(future));
        let mut context = Context::from_waker(std::task::Waker::noop());
        for _ in 0..2 {
            assert!(future.as_mut().poll(&mut context).is_pending());
            assert_eq!(names(), Vec::<String>::new());
        }
        assert_eq!(future.as_mut().poll(&mut context), Poll::Ready(vec!["request=5".to_owned()]));
    }
}
