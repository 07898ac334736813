//! What to paste into a job so that it checks in.

use innkeeper_core::assessed::Assessed;
use innkeeper_core::schedule::Schedule;
use innkeeper_http::curl::CHECK_IN;

/// Names and texts.
pub fn snippets(public_url: &str, assessed: &Assessed) -> Vec<(&'static str, String)> {
    let ping = format!("{public_url}/ping/{}", assessed.reservation.key);
    let schedule = &assessed.reservation.spec.schedule;
    let cron = crontab_time(schedule);
    let zone = schedule.zone();
    let curl = CHECK_IN;
    vec![
        (
            "Crontab",
            match schedule {
                Schedule::Every(_) => format!("{cron}  /usr/local/bin/job && {curl} {ping}"),
                _ => {
                    format!("# by a clock in {zone}\n{cron}  /usr/local/bin/job && {curl} {ping}")
                }
            },
        ),
        (
            "Crontab, with the agent beside the job: start, end, output, figures; nothing is lost while this is away",
            format!("{cron}  /usr/local/bin/innkeeper-agent exec --ping {ping} -- /usr/local/bin/job"),
        ),
        (
            "Shell, with its start and its exit code",
            format!(
                "PING={ping}\n{curl} $PING/start\n/usr/local/bin/job\ncode=$?\n{curl} $PING/$code\nexit $code"
            ),
        ),
        (
            "systemd, in the unit of the job",
            format!(
                "[Service]\nType=oneshot\nExecStartPre=-/usr/bin/{curl} {ping}/start\nExecStart=/usr/local/bin/job\n\
                 ExecStopPost=/bin/sh -c '[ \"$$SERVICE_RESULT\" = success ] && end=0 || end=fail; {curl} {ping}/$$end'{}",
                timer(schedule)
            ),
        ),
        (
            "Python",
            format!(
                "import time, urllib.request\n\ndef ping(end=\"\"):\n    for pause in (1, 2, 4, 8, 16, 0):\n        \
                 try:\n            return urllib.request.urlopen(\"{ping}\" + end, timeout=15).close()\n        \
                 except OSError as error:\n            problem = error\n            time.sleep(pause)\n    \
                 print(\"check-in:\", problem)\n\n\
                 ping(\"/start\")\ntry:\n    work()\nexcept BaseException:\n    ping(\"/fail\")\n    raise\nping()"
            ),
        ),
        (
            "Kubernetes CronJob",
            format!(
                "apiVersion: batch/v1\nkind: CronJob\nmetadata:\n  name: job\nspec:\n  schedule: \"{cron}\"\n  \
                 timeZone: \"{zone}\"\n  concurrencyPolicy: Forbid\n  jobTemplate:\n    spec:\n      backoffLimit: 0\n      \
                 template:\n        spec:\n          restartPolicy: Never\n          containers:\n            \
                 - name: job\n              image: registry.example.org/job\n              \
                 command: [\"/bin/sh\", \"-c\"]\n              args:\n                - |\n                  \
                 ping() {{\n                    for pause in 1 2 4 8 16 0; do\n                      \
                 wget -q -T 15 -O /dev/null {ping}/$1 && return\n                      sleep $pause\n                    \
                 done\n                  }}\n                  \
                 ping start\n                  /usr/local/bin/job\n                  code=$?\n                  \
                 ping $code\n                  exit $code"
            ),
        ),
        (
            "PowerShell",
            format!(
                "function Ping($end) {{\n  foreach ($pause in 1, 2, 4, 8, 16, 0) {{\n    \
                 try {{ $null = Invoke-RestMethod -Uri \"{ping}/$end\" -TimeoutSec 15; return }}\n    \
                 catch {{ $problem = $_; Start-Sleep -Seconds $pause }}\n  }}\n  \
                 Write-Warning \"check-in: $problem\"\n}}\nPing start\n& C:\\jobs\\job.exe\n\
                 Ping $(if ($LASTEXITCODE -eq 0) {{ \"0\" }} else {{ \"fail\" }})"
            ),
        ),
    ]
}

/// The timer of the unit, where the schedule is one of timers.
fn timer(schedule: &Schedule) -> String {
    let Schedule::Calendar(calendar) = schedule else { return String::new() };
    let line = |text: &str| format!("\nOnCalendar={text} {}", calendar.zone());
    let lines: String = calendar.text().split("; ").map(line).collect();
    format!("\n\n# in its timer\n[Timer]{lines}")
}

/// The schedule as a crontab has it; where no five fields say it, a time of each night.
fn crontab_time(schedule: &Schedule) -> String {
    let nightly = || "0 2 * * *".to_owned();
    match schedule {
        Schedule::Cron(cron) => {
            let expression = cron.expression();
            if expression.split_whitespace().count() == 6 { nightly() } else { expression.to_owned() }
        }
        Schedule::Every(period) => match (period.num_seconds() % 60, period.num_minutes()) {
            (0, 1) => "* * * * *".to_owned(),
            (0, minutes) if minutes < 60 && 60 % minutes == 0 => format!("*/{minutes} * * * *"),
            (0, 60) => "0 * * * *".to_owned(),
            (0, minutes) if minutes % 60 == 0 && minutes < 1440 && 1440 % minutes == 0 => {
                format!("0 */{} * * *", minutes / 60)
            }
            (0, 10_080) => "0 2 * * 1".to_owned(),
            _ => nightly(),
        },
        _ => nightly(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    #[test]
    fn a_crontab_has_the_schedule_where_it_can() {
        for (minutes, time) in [
            (1, "* * * * *"),
            (5, "*/5 * * * *"),
            (60, "0 * * * *"),
            (360, "0 */6 * * *"),
            (1440, "0 2 * * *"),
            (7, "0 2 * * *"),
            (10_080, "0 2 * * 1"),
        ] {
            let schedule = Schedule::every(TimeDelta::minutes(minutes)).unwrap();
            assert_eq!(crontab_time(&schedule), time, "{minutes}");
        }
        let cron = |expression: &str| crontab_time(&Schedule::cron(expression, "UTC").unwrap());
        assert_eq!(cron("30 4 * * 1-5"), "30 4 * * 1-5");
        assert_eq!(cron("@hourly"), "@hourly");
        assert_eq!(cron("0 30 4 * * *"), "0 2 * * *");
    }
}
