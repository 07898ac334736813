//! The last part of a ping address, or a `state` in its query, as a kind of check-in.

use crate::checkin::CheckInKind;

/// The kind of check-in that a word stands for, and the exit status if the word gives one. `None` for an unknown word.
///
/// - Healthchecks' words: the empty word, `start`, `fail`, `log`, and an exit status from 0 to 255.
/// - The values that systemd passes to `ExecStopPost=`: `$EXIT_STATUS` (for a signal such as `TERM` the exit status is
///   128 plus its number, as in a shell) and `$SERVICE_RESULT` (`success`, `exit-code`, `timeout`, …).
pub fn of_path(word: &str) -> Option<(CheckInKind, Option<i32>)> {
    match word {
        "" | "success" => Some((CheckInKind::Success, None)),
        "start" => Some((CheckInKind::Start, None)),
        "fail" => Some((CheckInKind::Fail, None)),
        "log" => Some((CheckInKind::Log, None)),
        status if status.bytes().all(|byte| byte.is_ascii_digit()) => {
            let code = i32::from(status.parse::<u8>().ok()?);
            let kind = if code == 0 { CheckInKind::Success } else { CheckInKind::Fail };
            Some((kind, Some(code)))
        }
        result if RESULTS.contains(&result) => Some((CheckInKind::Fail, None)),
        name => {
            let code = signal(name).map(|number| 128 + number).or_else(|| status_called(name))?;
            Some((CheckInKind::Fail, Some(code)))
        }
    }
}

/// Like [`of_path`], for a `state` in a query: in upper or lower case, and with the words of Cronitor too.
pub fn of_state(word: &str) -> Option<(CheckInKind, Option<i32>)> {
    match word.to_ascii_lowercase().as_str() {
        "run" => of_path("start"),
        "complete" | "ok" | "tick" => of_path(""),
        lower => of_path(lower).or_else(|| of_path(&word.to_ascii_uppercase())),
    }
}

/// The values of `$SERVICE_RESULT` and `$EXIT_CODE` that mean failure (systemd.exec(5)).
const RESULTS: [&str; 12] = [
    "protocol",
    "timeout",
    "exit-code",
    "signal",
    "core-dump",
    "watchdog",
    "exec-condition",
    "oom-kill",
    "start-limit-hit",
    "resources",
    "killed",
    "dumped",
];

/// Signal numbers on Linux by name; some signals have two names.
const SIGNALS: [(&str, i32); 34] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// The first and the last real-time signal, as the C library numbers them.
const REAL_TIME: (i32, i32) = (34, 64);

/// The exit status that a shell reports for a program ended by this signal: 143 for `SIGTERM`.
pub fn status_of_signal(name: &str) -> Option<i32> {
    signal(name).map(|number| 128 + number)
}

/// The number of a signal: `TERM`, `SIGTERM`, `RTMIN`, `RTMIN+3`, `RTMAX-1`.
fn signal(name: &str) -> Option<i32> {
    let name = name.strip_prefix("SIG").unwrap_or(name);
    if let Some((_, number)) = SIGNALS.iter().find(|(known, _)| *known == name) {
        return Some(*number);
    }
    let digits = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<i32>().ok().filter(|_| is_number)
    };
    let (first, last) = REAL_TIME;
    let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(""), _) => first,
        (Some(more), _) => first.checked_add(digits(more.strip_prefix('+')?)?)?,
        (_, Some("")) => last,
        (_, Some(less)) => last.checked_sub(digits(less.strip_prefix('-')?)?)?,
        (None, None) => return None,
    };
    Some(number).filter(|number| (first..=last).contains(number))
}

/// The names of the exit statuses that systemd itself sets, from 200 on (systemd.exec(5)). A status
/// without a name has an empty text.
const STATUSES: [&str; 46] = [
    "CHDIR",
    "NICE",
    "FDS",
    "EXEC",
    "MEMORY",
    "LIMITS",
    "OOM_ADJUST",
    "SIGNAL_MASK",
    "STDIN",
    "STDOUT",
    "CHROOT",
    "IOPRIO",
    "TIMERSLACK",
    "SECUREBITS",
    "SETSCHEDULER",
    "CPUAFFINITY",
    "GROUP",
    "USER",
    "CAPABILITIES",
    "CGROUP",
    "SETSID",
    "CONFIRM",
    "STDERR",
    "",
    "PAM",
    "NETWORK",
    "NAMESPACE",
    "NO_NEW_PRIVILEGES",
    "SECCOMP",
    "SELINUX_CONTEXT",
    "PERSONALITY",
    "APPARMOR_PROFILE",
    "ADDRESS_FAMILIES",
    "RUNTIME_DIRECTORY",
    "",
    "CHOWN",
    "SMACK_PROCESS_LABEL",
    "KEYRING",
    "STATE_DIRECTORY",
    "CACHE_DIRECTORY",
    "LOGS_DIRECTORY",
    "CONFIGURATION_DIRECTORY",
    "NUMA_POLICY",
    "CREDENTIALS",
    "",
    "BPF",
];

fn status_called(name: &str) -> Option<i32> {
    let place = STATUSES.iter().position(|known| *known == name && !name.is_empty())?;
    i32::try_from(place).ok().map(|place| 200 + place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkin::CheckInKind::{Fail, Log, Start, Success};

    #[test]
    fn words_of_a_path() {
        for (word, kind, code) in [
            ("", Success, None),
            ("success", Success, None),
            ("start", Start, None),
            ("fail", Fail, None),
            ("log", Log, None),
            ("0", Success, Some(0)),
            ("007", Fail, Some(7)),
            ("255", Fail, Some(255)),
            ("TERM", Fail, Some(143)),
            ("KILL", Fail, Some(137)),
            ("SIGSEGV", Fail, Some(139)),
            ("ABRT", Fail, Some(134)),
            ("RTMIN", Fail, Some(162)),
            ("RTMIN+3", Fail, Some(165)),
            ("RTMAX-1", Fail, Some(191)),
            ("RTMAX", Fail, Some(192)),
            ("EXEC", Fail, Some(203)),
            ("STDERR", Fail, Some(222)),
            ("PAM", Fail, Some(224)),
            ("CHOWN", Fail, Some(235)),
            ("BPF", Fail, Some(245)),
            ("oom-kill", Fail, None),
            ("exit-code", Fail, None),
            ("killed", Fail, None),
        ] {
            assert_eq!(of_path(word), Some((kind, code)), "{word:?}");
        }
        for unknown in [
            "256",
            "-1",
            "START",
            "stop",
            "Term",
            "term",
            "SIG",
            "RTMIN+31",
            "RTMIN3",
            "RTMIN+",
            "RTMAX+1",
            "RTMAX-31",
            "exited",
            "1.5",
            "99999999999",
        ] {
            assert_eq!(of_path(unknown), None, "{unknown:?}");
        }
    }

    #[test]
    fn words_of_a_query() {
        for (word, kind, code) in [
            ("run", Start, None),
            ("RUN", Start, None),
            ("start", Start, None),
            ("complete", Success, None),
            ("ok", Success, None),
            ("tick", Success, None),
            ("fail", Fail, None),
            ("Fail", Fail, None),
            ("log", Log, None),
            ("3", Fail, Some(3)),
            ("term", Fail, Some(143)),
            ("TERM", Fail, Some(143)),
        ] {
            assert_eq!(of_state(word), Some((kind, code)), "{word:?}");
        }
        assert_eq!(of_state("done"), None);
    }
}
