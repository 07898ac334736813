//! `wrk`, a load generator in C that sends as fast as responses arrive. Its scripts choose a random job for each
//! request.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::http::Ask;

impl Ask {
    /// The body of Lua's `request`, for the jobs from 0 to `jobs`, exclusive.
    fn lua(self, jobs: u64) -> String {
        match self {
            Self::CheckIn => format!(
                r#"
local head = "POST /checkin HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: "
function request()
    local body = '{{"app":"bench","component":"job-' .. math.random(0, {last}) .. '"}}'
    return head .. #body .. "\r\n\r\n" .. body
end
"#,
                last = jobs - 1
            ),
            // The key of a job, as world/loader.rs makes it.
            Self::Ping => format!(
                r#"
function request()
    local n = math.random(0, {last})
    return string.format("GET /ping/%08x-0000-4000-8000-%012x HTTP/1.1\r\nHost: bench\r\n\r\n", n * 2654435761 % 4294967296, n)
end
"#,
                last = jobs - 1
            ),
        }
    }
}

const COMMON: &str = r#"
local threads = 0
function setup(thread)
    threads = threads + 1
    thread:set("seed", threads)
end
function init()
    math.randomseed(os.time() * 100 + seed)
end
function done(summary, latency)
    io.write(string.format(
        'RESULT {"requests":%d,"took_us":%d,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d,"p50_us":%d,"p99_us":%d,"most_us":%d}\n',
        summary.requests, summary.duration, summary.errors.connect, summary.errors.read, summary.errors.write,
        summary.errors.status, summary.errors.timeout, latency:percentile(50), latency:percentile(99), latency.max))
end
"#;

/// The results of a run.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Run {
    requests: u64,
    took_us: f64,
    connect: u64,
    read: u64,
    write: u64,
    status: u64,
    timeout: u64,
    p50_us: f64,
    p99_us: f64,
    most_us: f64,
}

impl Run {
    /// Responses a second.
    pub fn rate(&self) -> f64 {
        self.requests as f64 * 1e6 / self.took_us
    }

    /// The median latency, in ms.
    pub fn p50_ms(&self) -> f64 {
        self.p50_us / 1000.0
    }

    /// The 99th percentile of the latency, in ms.
    pub fn p99_ms(&self) -> f64 {
        self.p99_us / 1000.0
    }

    /// The longest latency, in ms.
    pub fn most_ms(&self) -> f64 {
        self.most_us / 1000.0
    }
}

/// Sends requests to `address` over `connections` for `seconds`. Its script is written to `directory`. Fails if a
/// response has a status other than 2xx or a connection breaks.
pub fn run(
    directory: &Path,
    address: SocketAddr,
    ask: Ask,
    jobs: u64,
    connections: usize,
    seconds: u64,
) -> Result<Run> {
    let script = directory.join(format!("{ask:?}-{jobs}.lua"));
    std::fs::write(&script, COMMON.to_owned() + &ask.lua(jobs))?;
    let done = Command::new("wrk")
        .args(["--threads", "2", "--latency", "--timeout", "10s"])
        .args(["--connections", &connections.to_string(), "--duration", &format!("{seconds}s")])
        .arg("--script")
        .arg(&script)
        .arg(format!("http://{address}/"))
        .stdin(Stdio::null())
        .output()
        .context("wrk does not start; run scripts/bench, which installs it")?;
    let text = String::from_utf8_lossy(&done.stdout);
    let result = text
        .lines()
        .find_map(|line| line.strip_prefix("RESULT "))
        .with_context(|| format!("wrk: {text}{}", String::from_utf8_lossy(&done.stderr)))?;
    let run: Run = serde_json::from_str(result)?;
    let errors = run.connect + run.read + run.write + run.status + run.timeout;
    ensure!(run.requests > 0, "wrk was answered nothing: {result}");
    ensure!(errors == 0, "wrk saw errors, so the figure does not count: {result}");
    Ok(run)
}
