use super::*;
use crate::config::{Overrides, load};
use crate::report::{Names, ReportKind};

/// Runs a pass over a spool with an entry for each destination. The agent has no server configured.
fn pass(destinations: &[Destination]) -> Pass {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("agent.toml");
    std::fs::write(&file, "").unwrap();
    let mut config = load(&Overrides { config: Some(file), server: None }).config;
    config.server = None;
    let api = Api::new(&config).unwrap();
    let state = StateDirectory::open(Some(&directory.path().join("state"))).unwrap();
    let spool = Spool::open(&state, config.spool).unwrap();
    for destination in destinations {
        let report =
            SpooledReport::new(Some(Names::parse("a/b").unwrap()), ReportKind::Success, Stamp::now());
        let entry = SpoolEntry { destination: destination.clone(), reports: vec![report], terms: None };
        spool.add(uuid::Uuid::new_v4(), &entry).unwrap();
    }
    ReportSender { spool: &spool, api: &api, state: &state }.pass(Instant::now() + PATIENCE)
}

#[test]
fn the_servers_trouble_is_told_apart_from_that_of_others() {
    let port = innkeeper_testing::ports::closed_port();
    let dead = Destination::Ping(format!("http://127.0.0.1:{port}/ping/1"));
    let of_ping = pass(std::slice::from_ref(&dead));
    assert!(matches!(of_ping.trouble, Some(ApiTrouble::Unreachable { .. })), "{of_ping:?}");
    assert_eq!(of_ping.server_trouble, None);
    for both in [[Destination::Server(None), dead.clone()], [dead, Destination::Server(None)]] {
        let of_both = pass(&both);
        assert_eq!(of_both.server_trouble, Some(ApiTrouble::NoServer));
        assert!(matches!(of_both.trouble, Some(ApiTrouble::Unreachable { .. })), "{of_both:?}");
    }
}

#[test]
fn patience_is_kept_for_each_destination() {
    let directory = tempfile::tempdir().unwrap();
    let state = StateDirectory::open(Some(directory.path())).unwrap();
    let (server, ping) =
        (Destination::Server(None), Destination::Ping("https://h.example/ping/1".to_owned()));
    let busy = |wait| ApiTrouble::Busy { place: String::new(), status: 503, retry_after: Some(wait) };
    keep_patience(&state, &ping, &busy(Duration::from_secs(3600)));
    be_patient(&state, &server).unwrap();
    be_patient(&state, &ping).unwrap_err();
    keep_patience(&state, &ping, &busy(Duration::ZERO));
    be_patient(&state, &ping).unwrap();
    let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
    assert!(left.is_empty(), "one that is over leaves no file: {left:?}");
}
