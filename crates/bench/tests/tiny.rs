//! Tests of the benchmark: every figure measures something (how fast does not matter), and a figure that counts
//! nothing fails the run. Otherwise, a sweeper that draws no conclusions could yield good figures without anybody
//! noticing.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use innkeeper_testing::cluster::programs;
use innkeeper_testing::process::program;
use tempfile::TempDir;

fn run(benchmark: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(benchmark);
    command.arg("--tiny").arg("--postgres").arg(programs()).args(arguments);
    command.output().expect("the benchmark starts")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout))
}

#[test]
fn every_figure_measures_something() {
    let directory = TempDir::new().unwrap();
    let (json, table) = (directory.path().join("json"), directory.path().join("table"));
    let output = run(
        &program("innkeeper-bench"),
        &["--json", json.to_str().unwrap(), "--markdown", table.to_str().unwrap()],
    );
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    let json: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    let rows = json["rows"].as_array().unwrap();
    let figures = said.lines().filter(|line| line.starts_with("== ")).count();
    assert!(figures >= 19 && rows.len() >= figures, "{said}");
    for row in rows {
        let value = &row["numbers"]["value"];
        assert!(row["target"] == "" || value.is_f64(), "a target, and nothing measured: {row}");
        // Unlike speed, memory does not depend on the machine or the kind of build.
        let is_of_lists = row["figure"].as_str().is_some_and(|figure| figure.starts_with("lists of "));
        assert!(!is_of_lists || row["verdict"] == "ok", "{row}");
    }
    let table = std::fs::read_to_string(table).unwrap();
    assert_eq!(table.lines().filter(|line| line.starts_with("| ")).count(), rows.len() + 1, "{table}");
}

/// The benchmark runs the programs in its own directory. Here the sweeper is one whose alerts go where nobody counts
/// them.
#[test]
fn a_figure_that_counts_no_alerts_fails_the_run() {
    let directory = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for name in ["innkeeper-bench", "bench-sink", "ingest", "web"] {
        std::fs::hard_link(program(name), directory.path().join(name)).unwrap();
    }
    let sweeper = directory.path().join("sweeper");
    let script = format!(
        "#!/bin/sh\nsed -i 's#/hook\"#/nowhere\"#' innkeeper.toml\nexec {} \"$@\"\n",
        program("sweeper").display()
    );
    std::fs::write(&sweeper, script).unwrap();
    std::fs::set_permissions(&sweeper, std::fs::Permissions::from_mode(0o755)).unwrap();
    let output = run(&directory.path().join("innkeeper-bench"), &["--only", "storm-1000"]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("of 1000 silent jobs 0 were told of"), "{said}");
    assert!(said.contains("could not be measured: 1,000 overdue at one instant"), "{said}");
}
