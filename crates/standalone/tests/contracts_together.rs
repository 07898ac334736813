//! The contracts with many callers at once over two ingests, over a restart, and over the other database of each shape.

mod common;

use common::{Inn, Shape, event, notices, webhook};
use innkeeper_testing::client::Client;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::http_sink::HttpSink;
use innkeeper_testing::process::Server;
use serde_json::json;

/// Calls each of these URLs from a thread of its own, all at once; the statuses in order.
fn at_once(urls: &[String]) -> Vec<u16> {
    let barrier = std::sync::Barrier::new(urls.len());
    let mut statuses: Vec<u16> = std::thread::scope(|scope| {
        let calls: Vec<_> = urls
            .iter()
            .map(|url| {
                scope.spawn(|| {
                    barrier.wait();
                    Client::default().get(url).status
                })
            })
            .collect();
        calls.into_iter().map(|call| call.join().expect("a status")).collect()
    });
    statuses.sort_unstable();
    statuses
}

#[test]
fn two_ingests_make_one_reservation_of_many_first_checkins() {
    let inn = Inn::open(Shape::Split);
    let arguments = ["--listen", "127.0.0.1:0", "--database-url", inn.database.url()];
    let other = Server::start("ingest", "", &arguments);
    inn.reserve("shop", "first", json!({}));
    let ping_key = inn.job("shop", "first")["ping_key"].as_str().expect("a key").to_owned();
    for round in 0..10 {
        let gocron = format!("/?cronname=job{round}&account=acme&email=a@example.org&frequency=60");
        let ping = format!("/ping/{ping_key}/job{round}?create=1");
        let both = |path: &str| -> Vec<String> {
            (0..8).flat_map(|_| [inn.at_ingest(path), other.url(path)]).collect()
        };
        assert_eq!(at_once(&both(&gocron)), [201; 16]);
        let mut once = [200; 16];
        once[15] = 201;
        assert_eq!(at_once(&both(&ping)), once, "one of them made it");
        // Both at once, in either order, changing what the other has just read.
        let mixed: Vec<String> = both(&gocron)
            .into_iter()
            .enumerate()
            .map(|(n, url)| format!("{url}{n}"))
            .chain(both(&ping))
            .collect();
        let statuses = at_once(&mixed);
        assert!(statuses.iter().all(|status| [200, 201].contains(status)), "{statuses:?}");
        for app in ["acme", "shop"] {
            let checkins = inn.job(app, &format!("job{round}"))["number_of_checkins"].clone();
            assert_eq!(checkins, 32, "{app}: every answer was a check-in");
        }
    }
    assert_eq!(inn.jobs().len(), 21);
}

#[test]
fn a_restart_forgets_nothing() {
    let arguments = ["--listen", "127.0.0.1:0"];
    let server = Server::start("innkeeper", "", &arguments);
    let client = Client::default();
    let body = json!({ "app": "shop", "component": "backup", "frequency": 5, "time_units": "minutes" });
    assert_eq!(client.post(&server.url("/reservation"), &body).status, 200);
    assert_eq!(client.post(&server.url("/checkin"), &body).status, 200);
    let shown = |server: &Server| {
        let mut jobs = client.get(&server.url("/reservation")).json();
        jobs["result"][0]["time_since_last_checkin"].take();
        jobs
    };
    let before = shown(&server);
    // Without a goodbye.
    let server = Server::start_in(server.into_directory(), "innkeeper", "", &arguments);
    assert_eq!(shown(&server), before);
    assert_eq!(client.post(&server.url("/checkin"), &body).status, 200);
}

#[test]
fn each_shape_works_over_the_other_database_too() {
    for (shape, database) in
        [(Shape::Split, TestDatabase::sqlite()), (Shape::Standalone, TestDatabase::postgres())]
    {
        let sink = HttpSink::start();
        let inn = Inn::over(database, shape, &webhook("hook", &sink));
        inn.reserve("shop", "backup", json!({ "notify": "hook" }));
        let gocron: Vec<String> = (0..16)
            .map(|n| {
                inn.at_ingest(&format!("/?cronname=job{n}&account=acme&email=a@example.org&frequency=6000"))
            })
            .collect();
        assert_eq!(at_once(&gocron), [201; 16]);
        inn.check_in("shop", "backup");
        inn.age(std::time::Duration::from_secs(61));
        assert_eq!(event(&notices(&sink, 1)[0]), "opened shop/backup", "{shape:?}");
        inn.check_in("shop", "backup");
        assert_eq!(event(&notices(&sink, 2)[1]), "recovered shop/backup", "{shape:?}");
        assert_eq!(inn.jobs().len(), 17);
    }
}
