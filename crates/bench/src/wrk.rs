//! `wrk`, a load generator in C that sends as fast as responses arrive. Its scripts choose a random job for each
//! request.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::http::Ask;

impl Ask {
    /// The Lua script with `request`, for the jobs from 0 to `jobs`, exclusive.
    fn lua(self, jobs: u64) -> String {
        let request = match self {
            Self::CheckIn => "checkin(job())",
            Self::Ping => "ping(job(), \"\")",
            Self::Start => "ping(job(), \"/start\")",
            Self::StartAndEnd => "start_and_end()",
            Self::RunWithId => "run_with_id()",
            Self::ExitStatus => "exit_status(job(), \"/0\")",
            Self::Figures => "figures(job())",
            Self::Gocron => "gocron(job())",
            Self::Mix => "mix()",
        };
        format!("local last = {}\n{REQUESTS}\nfunction request()\n    return {request}\nend\n", jobs - 1)
    }
}

/// The requests by which jobs check in. A key is as world/loader.rs makes it. Bodies differ from request to request.
const REQUESTS: &str = r#"
local function job()
    return math.random(0, last)
end
local function post(path, body)
    return "POST " .. path .. " HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body
end
local function checkin(n)
    return post("/checkin", '{"app":"bench","component":"job-' .. n .. '"}')
end
local function figures(n)
    local rows = string.format('"rows":%d,"bytes":%.1f,"errors":0', math.random(0, 1000), math.random() * 1e9)
    return post("/checkin", '{"app":"bench","component":"job-' .. n .. '","figures":{' .. rows .. '}}')
end
local function key(n)
    return string.format("%08x-0000-4000-8000-%012x", n * 2654435761 % 4294967296, n)
end
local function ping(n, suffix)
    return "GET /ping/" .. key(n) .. suffix .. " HTTP/1.1\r\nHost: bench\r\n\r\n"
end
local lines = string.rep("2026-12-01 02:00:01 copied a file that is named here\n", 20)
local function exit_status(n, suffix)
    local body = string.format("run %010d of job %d\n", math.random(0, 2147483647), n) .. lines
    return post("/ping/" .. key(n) .. suffix, string.sub(body, 1, 1000))
end
local function gocron(n)
    return "GET /?cronname=job-" .. n .. "&account=bench&email=log&frequency=300 HTTP/1.1\r\nHost: bench\r\n\r\n"
end
-- What was started, oldest first: an end is sent only when its start was answered, so many requests later.
local going, first, later = {}, 1, 256
local function begin(n, run)
    going[#going + 1] = { n, run }
end
local function over()
    if #going - first < later then
        return nil
    end
    local one = going[first]
    going[first] = false
    first = first + 1
    return one
end
local turn = false
local function start_and_end()
    turn = not turn
    local one = turn and over()
    if one then
        return ping(one[1], "")
    end
    local n = job()
    begin(n)
    return ping(n, "/start")
end
local function run_with_id()
    turn = not turn
    local one = turn and over()
    if one then
        return ping(one[1], "?rid=" .. one[2])
    end
    local n = job()
    local run = string.format("%08x-%04x-4000-8000-%012x", math.random(0, 2147483647), math.random(0, 65535), math.random(0, 2147483647))
    begin(n, run)
    return ping(n, "/start?rid=" .. run)
end
local function mix()
    local n = job()
    local class = n % 20
    if class < 12 then
        return checkin(n)
    elseif class >= 19 then
        return exit_status(n, "/fail")
    elseif class >= 17 then
        return exit_status(n, "/0")
    end
    turn = not turn
    local one = turn and over()
    if one then
        return ping(one[1], "")
    end
    begin(n)
    return ping(n, "/start")
end
"#;

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
