//! Sends check-ins at a given rate over persistent connections, with one thread and an event loop.
//!
//! The rate does not depend on the server. A request that cannot be sent when it is due waits, and its latency counts
//! from the time when it was due. Without a rate, each connection sends the next request as soon as it has a
//! response.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::histogram::Histogram;
use crate::http::{self, Ask};

/// Longest wait for responses after the last request.
const PATIENCE: Duration = Duration::from_secs(15);

/// The load to generate.
#[derive(Debug, Clone)]
pub struct LoadPlan {
    /// The server.
    pub address: SocketAddr,
    /// Connections, opened before the first request.
    pub connections: usize,
    /// Requests a second; none to send as fast as responses arrive.
    pub rate: Option<f64>,
    /// Ends after this many requests.
    pub most: Option<u64>,
    /// Ends after this time.
    pub lasts: Option<Duration>,
    /// The jobs that check in, in a cycle: `job-FROM` to `job-TO`, exclusive.
    pub jobs: std::ops::Range<u64>,
    /// The kind of request.
    pub ask: Ask,
}

/// The result of a load.
#[derive(Default)]
pub struct LoadOutcome {
    /// Connections that could not be opened, or broke.
    pub broken: u64,
    /// Number of requests sent.
    pub offered: u64,
    /// Number of responses with a status 2xx.
    pub acknowledged: u64,
    /// Number of responses with another status.
    pub refused: u64,
    /// Time from when a request was due to its response.
    pub latency: Histogram,
    /// Number of responses in each second since the beginning.
    pub per_second: Vec<u64>,
    /// Time from the beginning to the last request.
    pub last_sent: Duration,
    /// Time from the beginning to the last response.
    pub last_answer: Duration,
}

impl LoadOutcome {
    /// Fails unless there were requests and each got a status 2xx.
    pub fn all_acknowledged(&self) -> Result<()> {
        ensure!(
            self.offered > 0 && self.broken == 0 && self.refused == 0 && self.acknowledged == self.offered,
            "of {} check-ins {} were acknowledged, {} refused; {} connections broke",
            self.offered,
            self.acknowledged,
            self.refused,
            self.broken
        );
        Ok(())
    }

    /// Acknowledged requests a second, over the whole time.
    pub fn rate(&self) -> f64 {
        self.acknowledged as f64 / self.last_answer.as_secs_f64().max(0.001)
    }
}

/// A load in another thread during a measurement. Stopped when dropped.
pub struct Background {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<LoadOutcome>>>,
}

impl Background {
    /// Starts the load.
    pub fn start(plan: LoadPlan) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        Self { stop, thread: Some(std::thread::spawn(move || run(&plan, &flag))) }
    }

    /// Stops the load and returns its result.
    pub fn finish(mut self) -> Result<LoadOutcome> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(outcome)) => outcome,
            _ => anyhow::bail!("the load generator died"),
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    /// When the request was due, counted from the beginning.
    due: Duration,
}

/// Makes each job check in once, so that a measurement begins in a warm state: the caches of ingest and Postgres are
/// filled, and full pages were written since the last checkpoint.
pub fn warm_up(address: SocketAddr, ask: Ask, jobs: u64) -> Result<()> {
    let ask = ask.before();
    let plan =
        LoadPlan { address, connections: 256, rate: None, most: Some(jobs), lasts: None, jobs: 0..jobs, ask };
    run(&plan, &AtomicBool::new(false))?.all_acknowledged()
}

/// Generates the load of `plan` until its end, or until `stop` is set.
pub fn run(plan: &LoadPlan, stop: &AtomicBool) -> Result<LoadOutcome> {
    let mut poll = Poll::new()?;
    let mut outcome = LoadOutcome::default();
    let mut connections = Vec::with_capacity(plan.connections);
    for number in 0..plan.connections {
        match connect(plan.address) {
            Ok(mut stream) => {
                let token = Token(connections.len());
                poll.registry().register(&mut stream, token, Interest::READABLE)?;
                connections.push(Connection { stream, received: Vec::new(), due: Duration::ZERO });
            }
            Err(error) if number == 0 => return Err(error).context("no connection to the server"),
            Err(_) => outcome.broken += 1,
        }
    }
    let mut load = Load {
        plan,
        idle: (0..connections.len()).collect(),
        connections,
        in_flight: 0,
        next_job: plan.jobs.start,
        request: Vec::new(),
        buffer: vec![0; 16 * 1024],
        begun: Instant::now(),
        outcome,
    };
    let mut events = Events::with_capacity(1024);
    loop {
        let now = load.begun.elapsed();
        let over = stop.load(Ordering::Relaxed)
            || plan.lasts.is_some_and(|lasts| now >= lasts)
            || plan.most.is_some_and(|most| load.outcome.offered >= most);
        if !over {
            load.send_what_is_due(now);
        }
        let nobody = load.in_flight == 0 && load.idle.is_empty();
        if (over && load.in_flight == 0) || nobody || now > load.outcome.last_sent + PATIENCE {
            return Ok(load.outcome);
        }
        match poll.poll(&mut events, Some(Duration::from_millis(1))) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in &events {
            load.read(event.token().0);
        }
    }
}

struct Load<'a> {
    plan: &'a LoadPlan,
    connections: Vec<Connection>,
    idle: VecDeque<usize>,
    in_flight: usize,
    next_job: u64,
    request: Vec<u8>,
    buffer: Vec<u8>,
    begun: Instant,
    outcome: LoadOutcome,
}

impl Load<'_> {
    fn send_what_is_due(&mut self, now: Duration) {
        let most = self.plan.most.unwrap_or(u64::MAX);
        let due = self.plan.rate.map_or(most, |rate| ((now.as_secs_f64() * rate) as u64).min(most));
        while self.outcome.offered < due {
            let Some(number) = self.idle.pop_front() else { return };
            let since =
                self.plan.rate.map(|rate| Duration::from_secs_f64(self.outcome.offered as f64 / rate));
            self.send(number, since.unwrap_or(now));
        }
    }

    fn send(&mut self, number: usize, due: Duration) {
        self.request.clear();
        http::write_request(&mut self.request, self.plan.ask, self.next_job);
        self.next_job += 1;
        if self.next_job >= self.plan.jobs.end {
            self.next_job = self.plan.jobs.start;
        }
        self.outcome.offered += 1;
        self.outcome.last_sent = self.begun.elapsed();
        let connection = &mut self.connections[number];
        connection.due = due;
        match connection.stream.write(&self.request) {
            Ok(written) if written == self.request.len() => self.in_flight += 1,
            _ => self.outcome.broken += 1,
        }
    }

    fn read(&mut self, number: usize) {
        let connection = &mut self.connections[number];
        loop {
            match connection.stream.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(read) => connection.received.extend_from_slice(&self.buffer[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => break,
            }
            let Some((status, length)) = http::whole_answer(&connection.received) else { continue };
            connection.received.drain(..length);
            let now = self.begun.elapsed();
            let outcome = &mut self.outcome;
            if (200..300).contains(&status) {
                outcome.acknowledged += 1;
            } else {
                outcome.refused += 1;
            }
            outcome.latency.record(now.saturating_sub(connection.due));
            outcome.last_answer = now;
            let second = now.as_secs() as usize;
            if outcome.per_second.len() <= second {
                outcome.per_second.resize(second + 1, 0);
            }
            outcome.per_second[second] += 1;
            self.in_flight -= 1;
            self.idle.push_back(number);
            return;
        }
        // The connection was closed or broke. An idle one stays in the queue, and fails when it is used.
        if !self.idle.contains(&number) {
            self.outcome.broken += 1;
            self.in_flight = self.in_flight.saturating_sub(1);
        }
    }
}

fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = std::net::TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(TcpStream::from_std(stream))
}
