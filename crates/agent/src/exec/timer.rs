//! A timer on the boot clock, which also expires while the machine sleeps.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

/// A file descriptor that becomes readable at the time set last.
#[derive(Debug)]
pub struct JobTimer(OwnedFd);

impl JobTimer {
    /// A timer that is not set.
    ///
    /// # Errors
    /// There is no free descriptor, or the system has no such timers.
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Self(timerfd_create(TimerfdClockId::Boottime, flags)?))
    }

    /// Sets the timer to expire at `at`, in milliseconds of the boot clock.
    ///
    /// # Errors
    /// The system call failed.
    pub fn set(&self, at: u64) -> io::Result<()> {
        let mut value = timespec(Duration::from_millis(at));
        // A value of zero would disarm the timer.
        value.tv_nsec += 1;
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        timerfd_settime(&self.0, TimerfdTimerFlags::ABSTIME, &Itimerspec { it_interval, it_value: value })?;
        Ok(())
    }
}

impl AsFd for JobTimer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Converts a duration into the type of the system calls.
pub fn timespec(span: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(span.subsec_nanos()),
    }
}

/// A duration in whole milliseconds.
pub fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
