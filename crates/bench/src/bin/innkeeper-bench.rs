//! Runs the figures and prints the table. Started by `scripts/bench`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use innkeeper_bench::figures::{FIGURES, Figure};
use innkeeper_bench::table::{Row, TargetVerdict, markdown, short_markdown};
use innkeeper_bench::world::program::take_complaints;
use innkeeper_bench::world::{Conditions, Extent, World};
use serde_json::json;
use structopt::StructOpt;

/// Innkeeper's benchmark.
#[derive(Debug, StructOpt)]
#[structopt(name = "innkeeper-bench")]
struct Options {
    /// Only these figures, separated by commas; --list names them.
    #[structopt(long, use_delimiter = true)]
    only: Vec<String>,
    /// Shorter runs: to see that it works, not to compare.
    #[structopt(long)]
    quick: bool,
    /// As little as shows that every figure measures something; its numbers say nothing.
    #[structopt(long, conflicts_with = "quick")]
    tiny: bool,
    /// Writes the rows to this file, too.
    #[structopt(long, parse(from_os_str))]
    json: Option<PathBuf>,
    /// Writes the table as the README has it to this file: figure, measured, target.
    #[structopt(long, parse(from_os_str))]
    markdown: Option<PathBuf>,
    /// Names the figures.
    #[structopt(long)]
    list: bool,
    /// How many reservations are many; 1,000,000, and 2,000 in a tiny run.
    #[structopt(long)]
    reservations: Option<u64>,
    /// Tells after each figure which statements cost Postgres most (pg_stat_statements).
    #[structopt(long)]
    statements: bool,
    /// The directory of Postgres's programs.
    #[structopt(long, parse(from_os_str), default_value = "/usr/lib/postgresql/15/bin")]
    postgres: PathBuf,
}

fn main() -> ExitCode {
    match run(&Options::from_args()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("innkeeper-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every figure could be measured. A missed target is no failure.
fn run(options: &Options) -> Result<bool> {
    if options.list {
        FIGURES.iter().for_each(|figure| println!("{:14} {}", figure.name, figure.about));
        return Ok(true);
    }
    let chosen = chosen(&options.only)?;
    let extent = match (options.quick, options.tiny) {
        (_, true) => Extent::Tiny,
        (true, _) => Extent::Quick,
        _ => Extent::Full,
    };
    let reservations = options.reservations.unwrap_or(if options.tiny { 2000 } else { 1_000_000 });
    let conditions = Conditions {
        extent,
        reservations,
        few: 50_000.min(reservations.div_ceil(4)),
        statements: options.statements,
        postgres: options.postgres.clone(),
    };
    let machine = machine();
    let begun = Instant::now();
    let mut world = World::new(conditions)?;
    let mut rows = Vec::new();
    for figure in chosen {
        eprintln!("== {}: {}", figure.name, figure.about);
        let since = Instant::now();
        // The components of `innkeeper-testing` panic if they fail.
        let measured = catch_unwind(AssertUnwindSafe(|| (figure.measure)(&mut world)));
        let mut new = match measured {
            Ok(Ok(new)) => new,
            Ok(Err(error)) => vec![Row::failed(figure.about, &format!("{error:#}"))],
            Err(_) => vec![Row::failed(figure.about, "panicked, see above")],
        };
        if new.is_empty() {
            new.push(Row::failed(figure.about, "measured nothing"));
        }
        if let Some(first) = new.first_mut() {
            take_complaints().iter().for_each(|complaint| first.remark(complaint));
        }
        eprint!("{}", markdown(&new));
        eprintln!("({:.0} s)", since.elapsed().as_secs_f32());
        if options.statements
            && let Ok(cluster) = world.running_cluster()
        {
            eprintln!("{}", cluster.take_statements()?);
        }
        rows.extend(new);
    }
    let settings = world.settings_if_started()?;
    drop(world);
    println!("\n{machine}\n{settings}\n{}", took(options, begun));
    println!("\n{}", markdown(&rows));
    let failed: Vec<&str> =
        rows.iter().filter(|row| row.verdict == TargetVerdict::Failed).map(Row::figure).collect();
    if !failed.is_empty() {
        eprintln!("could not be measured: {}", failed.join("; "));
    }
    if let Some(path) = &options.markdown {
        write(path, &format!("{}\n{machine}; {settings}\n", short_markdown(&rows)))?;
    }
    if let Some(path) = &options.json {
        let rows: Vec<_> = rows.iter().map(Row::json).collect();
        let all = json!({ "machine": machine, "postgres": settings, "quick": options.quick, "tiny": options.tiny, "rows": rows });
        write(path, &(serde_json::to_string_pretty(&all)? + "\n"))?;
    }
    Ok(failed.is_empty())
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn chosen(only: &[String]) -> Result<Vec<&'static Figure>> {
    for name in only {
        if !FIGURES.iter().any(|figure| figure.name == name) {
            let known: Vec<&str> = FIGURES.iter().map(|figure| figure.name).collect();
            bail!("there is no figure {name}; these are: {}", known.join(", "));
        }
    }
    let wanted = |figure: &&Figure| only.is_empty() || only.iter().any(|name| name == figure.name);
    Ok(FIGURES.iter().filter(wanted).collect())
}

/// A description of the machine.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let after = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = after(&read("/proc/cpuinfo"), "model name");
    let memory = after(&read("/proc/meminfo"), "MemTotal");
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{cores} cores ({model}), {memory}, Linux {}", kernel.trim())
}

fn took(options: &Options, begun: Instant) -> String {
    let how = if options.quick || options.tiny { ", short runs: not for comparisons" } else { "" };
    format!("Everything on this one machine, load generators included; {} s{how}", begun.elapsed().as_secs())
}
