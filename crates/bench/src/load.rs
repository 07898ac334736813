//! Check-ins at a given rate over connections that stay open: one thread, one event loop.
//!
//! The rate is kept whatever the server does: a request that cannot be sent when it is due waits here, and its time counts
//! from when it was due. Without a rate each connection asks again as soon as it is answered.

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

/// How long answers are waited for after the last request.
const PATIENCE: Duration = Duration::from_secs(15);

/// What is offered to whom.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The server.
    pub address: SocketAddr,
    /// Connections, opened before the first request.
    pub connections: usize,
    /// Requests a second; none for as many as are answered.
    pub rate: Option<f64>,
    /// The end: after so many requests.
    pub most: Option<u64>,
    /// The end: after so long.
    pub lasts: Option<Duration>,
    /// The jobs that check in, one after the other, round and round: `job-FROM` up to before `job-TO`.
    pub jobs: std::ops::Range<u64>,
    /// How they check in.
    pub ask: Ask,
}

/// What became of it.
#[derive(Default)]
pub struct Outcome {
    /// Connections that could not be opened, or broke.
    pub broken: u64,
    /// Requests that were sent.
    pub offered: u64,
    /// Requests that were answered 2xx.
    pub acknowledged: u64,
    /// Requests that were answered otherwise.
    pub refused: u64,
    /// From when a request was due to its answer.
    pub latency: Histogram,
    /// Answers in each second since the beginning.
    pub per_second: Vec<u64>,
    /// From the beginning to the last request sent.
    pub last_sent: Duration,
    /// From the beginning to the last answer.
    pub last_answer: Duration,
}

impl Outcome {
    /// An error unless there were requests, and each was answered 2xx.
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

    /// Answers a second, over the whole time.
    pub fn rate(&self) -> f64 {
        self.acknowledged as f64 / self.last_answer.as_secs_f64().max(0.001)
    }
}

/// A load that goes on while something else is measured; stopped when dropped.
pub struct Background {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Outcome>>>,
}

impl Background {
    /// Starts it.
    pub fn start(plan: Plan) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        Self { stop, thread: Some(std::thread::spawn(move || run(&plan, &flag))) }
    }

    /// Ends it.
    pub fn finish(mut self) -> Result<Outcome> {
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
    /// Since when its request is due, from the beginning.
    due: Duration,
}

/// Has each job check in once, so that a measurement begins as on any later day: what ingest remembers, what Postgres keeps in
/// memory and has written whole since the last checkpoint.
pub fn warm_up(address: SocketAddr, ask: Ask, jobs: u64) -> Result<()> {
    let ask = ask.before();
    let plan =
        Plan { address, connections: 256, rate: None, most: Some(jobs), lasts: None, jobs: 0..jobs, ask };
    run(&plan, &AtomicBool::new(false))?.all_acknowledged()
}

/// Runs the plan to its end, or until `stop`.
pub fn run(plan: &Plan, stop: &AtomicBool) -> Result<Outcome> {
    let mut poll = Poll::new()?;
    let mut outcome = Outcome::default();
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
    plan: &'a Plan,
    connections: Vec<Connection>,
    idle: VecDeque<usize>,
    in_flight: usize,
    next_job: u64,
    request: Vec<u8>,
    buffer: Vec<u8>,
    begun: Instant,
    outcome: Outcome,
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
        // Closed or broken. An idle one stays in the row and fails when it is used.
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
