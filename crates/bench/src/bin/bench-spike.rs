//! The load of `load.rs` by hand, against any running ingest: by default the top of the hour, 60,000 check-ins offered within
//! two seconds on 2,000 connections. The jobs are those of the benchmark, `bench/job-0` and on.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Result;
use innkeeper_bench::http::Ask;
use innkeeper_bench::load::{self, LoadPlan};
use structopt::StructOpt;

/// Offers check-ins at a given rate, whatever the server does.
#[derive(Debug, StructOpt)]
#[structopt(name = "bench-spike")]
struct Options {
    /// The server: ADDRESS:PORT.
    address: SocketAddr,
    /// Connections, opened before the first check-in.
    #[structopt(long, default_value = "2000")]
    connections: usize,
    /// Check-ins a second; 0 for as many as are answered.
    #[structopt(long, default_value = "30000")]
    rate: f64,
    /// Check-ins in all.
    #[structopt(long, default_value = "60000")]
    count: u64,
    /// Seconds after which nothing more is offered.
    #[structopt(long)]
    seconds: Option<u64>,
    /// Jobs that check in, in turns.
    #[structopt(long, default_value = "1000000")]
    jobs: u64,
}

fn main() -> ExitCode {
    match run(&Options::from_args()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-spike: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let plan = LoadPlan {
        address: options.address,
        connections: options.connections,
        rate: (options.rate > 0.0).then_some(options.rate),
        most: Some(options.count),
        lasts: options.seconds.map(Duration::from_secs),
        jobs: 0..options.jobs,
        ask: Ask::CheckIn,
    };
    let outcome = load::run(&plan, &AtomicBool::new(false))?;
    println!(
        "{} offered within {:.2} s; {} acknowledged, the last after {:.2} s; {} refused, {} connections broken",
        outcome.offered,
        outcome.last_sent.as_secs_f64(),
        outcome.acknowledged,
        outcome.last_answer.as_secs_f64(),
        outcome.refused,
        outcome.broken
    );
    let latency = &outcome.latency;
    println!(
        "{:.0}/s; from due to answered: p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms",
        outcome.rate(),
        latency.quantile_ms(0.5),
        latency.quantile_ms(0.99),
        latency.most_ms()
    );
    outcome.all_acknowledged()
}
