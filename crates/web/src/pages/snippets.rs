//! Lines to paste into a job.

use innkeeper_store::Listed;

/// What to paste into a job so that it checks in.
pub fn snippets(public_url: &str, listed: &Listed) -> Vec<(&'static str, String)> {
    let ping = format!("{public_url}/ping/{}", listed.reservation.key);
    vec![
        ("Crontab", format!("0 2 * * *  /usr/local/bin/job && curl -fsS -m 15 --retry 3 {ping}")),
        (
            "Shell, with its start and its exit code",
            format!("curl -fsS -m 15 {ping}/start; /usr/local/bin/job; curl -fsS -m 15 --retry 3 {ping}/$?"),
        ),
        (
            "systemd, in the unit of the job",
            format!("[Service]\nExecStartPost=/usr/bin/curl -fsS -m 15 --retry 3 {ping}"),
        ),
        ("Python", format!("import urllib.request\nurllib.request.urlopen(\"{ping}\", timeout=15)")),
        ("PowerShell", format!("Invoke-RestMethod -Uri {ping} -TimeoutSec 15")),
        (
            "Kubernetes CronJob, as the container's command",
            format!(
                "command: [\"/bin/sh\", \"-c\", \"/usr/local/bin/job && wget -q -T 15 -O /dev/null {ping}\"]"
            ),
        ),
    ]
}
