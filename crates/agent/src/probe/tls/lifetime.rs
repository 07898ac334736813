//! The remaining lifetime of certificates, and when it is too short.

use chrono::{SecondsFormat, TimeDelta};
use innkeeper_core::Time;
use innkeeper_core::duration::words;
use innkeeper_settings::Section;

use super::facts::CertificateFacts;
use crate::probe::outcome::{ProbeOutcome, ProbeStatus};

/// By default a certificate should be renewed in the last third of its lifetime, but not earlier than this before its
/// end.
const AT_MOST: TimeDelta = TimeDelta::days(21);
const LONGEST: TimeDelta = TimeDelta::days(3650);

/// Thresholds of the remaining lifetime.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Thresholds {
    /// Warning if less remains. By default a third of the lifetime, at most 21 days.
    warn: Option<TimeDelta>,
    /// Critical if less remains.
    critical: TimeDelta,
}

impl Thresholds {
    /// Reads `warn_left` and `min_left`.
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        let bounds = TimeDelta::zero()..=LONGEST;
        let unset = TimeDelta::seconds(-1);
        let warn = section.duration("warn_left", unset, bounds.clone());
        let critical = section.duration("min_left", TimeDelta::zero(), bounds);
        Self { warn: Some(warn).filter(|warn| *warn != unset), critical }
    }

    fn warn_for(&self, certificate: &CertificateFacts) -> TimeDelta {
        self.warn.unwrap_or_else(|| (certificate.lifetime() / 3).min(AT_MOST))
    }

    /// The worst status of the certificates that count at `now`, and its text. None if all remain valid for long
    /// enough.
    pub(crate) fn judge(&self, used: &[CertificateFacts], now: Time) -> Option<(ProbeStatus, String)> {
        let judged = used.iter().enumerate().filter_map(|(at, certificate)| {
            let whose = if at == 0 {
                "certificate".to_owned()
            } else {
                format!("certificate of {:?}", certificate.called())
            };
            if let Err(problem) = holds(certificate, now) {
                return Some((ProbeStatus::Critical, problem));
            }
            let left = certificate.not_after - now;
            let status = match left {
                left if left < self.critical => ProbeStatus::Critical,
                left if left < self.warn_for(certificate) => ProbeStatus::Warning,
                _ => return None,
            };
            Some((
                status,
                format!("its {whose} expires in {}, at {}", words(left), day(certificate.not_after)),
            ))
        });
        // Of two with the same status, the one closer to the server counts.
        judged.reduce(|worst, next| if next.0 > worst.0 { next } else { worst })
    }
}

/// Whether a certificate is valid at `now`. The error names the current time as well, because this machine's clock
/// may be wrong.
pub(super) fn holds(certificate: &CertificateFacts, now: Time) -> Result<(), String> {
    let here = now.to_rfc3339_opts(SecondsFormat::Secs, true);
    let whose = format!("the certificate of {:?}", certificate.called());
    if now > certificate.not_after {
        let ago = words(now - certificate.not_after);
        let day = day(certificate.not_after);
        return Err(format!("{whose} has expired {ago} ago, {day} (the time here is {here})"));
    }
    if now < certificate.not_before {
        let day = day(certificate.not_before);
        return Err(format!("{whose} is not valid yet, but only from {day} on (the time here is {here})"));
    }
    Ok(())
}

/// Adds the remaining days of the certificate that expires first, and of the server's own.
pub(crate) fn figures(outcome: ProbeOutcome, used: &[CertificateFacts], now: Time) -> ProbeOutcome {
    let days = |certificate: &CertificateFacts| {
        let seconds = (certificate.not_after - now).num_seconds() as f64;
        (seconds / 864.0).floor() / 100.0
    };
    let Some(own) = used.first() else { return outcome };
    let least = used.iter().map(days).fold(f64::INFINITY, f64::min);
    outcome.figure("days_left", least, "d").figure("leaf_days_left", days(own), "d")
}

pub(crate) fn day(time: Time) -> String {
    time.format("%Y-%m-%d %H:%M UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    fn lasting(days: i64) -> CertificateFacts {
        let not_before = DateTime::UNIX_EPOCH + TimeDelta::days(10_000);
        CertificateFacts {
            subject: "a.example".into(),
            issuer: "b".into(),
            names: Vec::new(),
            not_before,
            not_after: not_before + TimeDelta::days(days),
            subject_raw: vec![1],
            issuer_raw: vec![2],
        }
    }

    #[test]
    fn what_is_too_short_is_relative_to_the_lifetime() {
        let usual = Thresholds::default();
        for (lifetime, fine, short) in [(90, 22, 20), (397, 22, 20), (6, 3, 1), (30, 11, 9), (3650, 22, 20)] {
            let certificate = lasting(lifetime);
            let at = |left| certificate.not_after - TimeDelta::days(left);
            let used = [certificate.clone()];
            assert_eq!(usual.judge(&used, at(fine)), None, "{lifetime} days");
            assert_eq!(usual.judge(&used, at(short)).unwrap().0, ProbeStatus::Warning, "{lifetime} days");
        }
    }

    #[test]
    fn the_dates_count_to_the_second_and_the_time_here_is_told() {
        let certificate = lasting(90);
        let second = TimeDelta::seconds(1);
        assert_eq!(holds(&certificate, certificate.not_after), Ok(()));
        assert_eq!(holds(&certificate, certificate.not_before), Ok(()));
        let late = holds(&certificate, certificate.not_after + second).unwrap_err();
        assert!(
            late.contains("has expired 1 second ago") && late.contains("the time here is 1997"),
            "{late}"
        );
        let early = holds(&certificate, certificate.not_before - second).unwrap_err();
        assert!(early.contains("not valid yet") && early.contains("the time here is"), "{early}");
    }

    #[test]
    fn the_worst_of_the_chain_counts() {
        let (own, authority) = (lasting(90), CertificateFacts { subject: "CA".into(), ..lasting(80) });
        let now = own.not_after - TimeDelta::days(5);
        let (status, what) = Thresholds::default().judge(&[own.clone(), authority], now).unwrap();
        assert_eq!(status, ProbeStatus::Critical);
        assert!(what.contains("\"CA\" has expired 5 days ago"), "{what}");
        let days = Thresholds { warn: Some(TimeDelta::zero()), critical: TimeDelta::hours(121) };
        assert_eq!(days.judge(&[own], now).unwrap().0, ProbeStatus::Critical, "fractions of days count");
    }
}
