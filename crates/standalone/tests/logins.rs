//! Logins under attack: guesses in great number, from many addresses and all at once, and the owner who wants in
//! meanwhile.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::instance::{Caller, FORM, Instance, nobody};
use innkeeper_testing::client::{Client, Response};

/// As the proxy in front of it says who calls.
const BEHIND_A_PROXY: &str = "trusted_proxies = [\"127.0.0.1\"]\n";
const RIGHT: &str = "correct+horse";

/// Somebody without a session who calls from `source`.
fn from(source: &str) -> Caller {
    let mut caller = nobody();
    caller.headers.push(("x-forwarded-for".to_owned(), source.to_owned()));
    caller
}

/// The same from a browser that has these cookies.
fn from_device(source: &str, device: &str) -> Caller {
    let mut caller = from(source);
    caller.headers[0].1 = format!("innkeeper-form={FORM}; {device}");
    caller
}

fn try_password(instance: &Instance, caller: &Caller, name: &str, password: &str) -> Response {
    instance.submit(caller, "/login", &format!("name={name}&password={password}"))
}

/// The cookies by which a login makes a browser known.
fn device_of(answer: &Response) -> String {
    let cookies = answer.headers.iter().filter(|(name, _)| name == "set-cookie");
    let device = cookies.map(|(_, value)| value).find(|value| value.starts_with("innkeeper-device"));
    let device = device.unwrap_or_else(|| panic!("the browser is not known from now on: {answer:?}"));
    assert!(device.contains("HttpOnly") && device.contains("SameSite=Strict"), "{device}");
    device.split(';').next().unwrap().to_owned()
}

/// Megabytes of memory that the process has, and the most that it ever had.
fn memory(instance: &Instance) -> (f64, f64) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", instance.server.pid())).unwrap();
    let kilobytes = |name: &str| -> f64 {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    (kilobytes("VmRSS:") / 1024.0, kilobytes("VmHWM:") / 1024.0)
}

/// Wrong passwords of `name` from `count` addresses, `at_once` at a time. How many were answered with each status.
fn guess(instance: &Instance, name: &str, count: usize, at_once: usize) -> Vec<(u16, usize)> {
    let next = AtomicUsize::new(0);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let guessers: Vec<_> = (0..at_once)
            .map(|_| {
                scope.spawn(|| {
                    let mut statuses = Vec::new();
                    loop {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        if n >= count {
                            return statuses;
                        }
                        let source = format!("203.0.{}.{}", n / 250, n % 250 + 1);
                        statuses.push(try_password(instance, &from(&source), name, "wrong").status);
                    }
                })
            })
            .collect();
        guessers.into_iter().flat_map(|guesser| guesser.join().unwrap()).collect()
    });
    let mut counts: Vec<(u16, usize)> = Vec::new();
    for status in statuses {
        match counts.iter_mut().find(|(known, _)| *known == status) {
            Some((_, count)) => *count += 1,
            None => counts.push((status, 1)),
        }
    }
    counts.sort_unstable();
    counts
}

#[test]
fn guesses_from_a_thousand_addresses_take_no_memory() {
    let instance = Instance::open(BEHIND_A_PROXY);
    // Before the first password of all: the memory in which each is hashed is counted, too.
    assert_eq!(instance.send(&from("192.0.2.1"), "GET", "/login", true, "").status, 200);
    let (before, _) = memory(&instance);
    // Of many accounts, since one is soon asked for no more.
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| {
                while let n @ 0..1000 = next.fetch_add(1, Ordering::Relaxed) {
                    let source = format!("203.0.{}.{}", n / 250, n % 250 + 1);
                    let answer = try_password(&instance, &from(&source), &format!("user{n}"), "wrong");
                    assert!(matches!(answer.status, 401 | 429 | 503), "{answer:?}");
                }
            });
        }
    });
    let (after, most) = memory(&instance);
    println!("from {before:.1} MB to {after:.1} MB, {most:.1} MB at most");
    assert!(after - before < 25.0, "from {before} MB to {after} MB");
    // 19 of them are where one is hashed.
    assert!(most - before < 30.0, "from {before} MB to {most} MB for a moment");
}

#[test]
fn forty_guesses_at_once_from_one_address_take_no_memory_and_are_counted_first() {
    let instance = Instance::open("");
    assert_eq!(instance.send(&nobody(), "GET", "/login", true, "").status, 200);
    let (before, _) = memory(&instance);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let tries: Vec<_> =
            (0..40).map(|_| scope.spawn(|| instance.log_in("admin", "wrong").status)).collect();
        tries.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let looked_at = statuses.iter().filter(|status| **status == 401).count();
    assert!((1..=5).contains(&looked_at), "{looked_at} were looked at: {statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 401 | 429 | 503)), "{statuses:?}");
    let (after, most) = memory(&instance);
    assert!(
        after - before < 25.0 && most - before < 25.0,
        "from {before} MB to {after} MB, {most} MB at most"
    );
}

#[test]
fn the_addresses_of_one_network_are_counted_as_one_and_keep_nobody_else_out() {
    let instance = Instance::open(BEHIND_A_PROXY);
    instance.user("admin");
    let statuses: Vec<u16> = (1..=40)
        .map(|n| try_password(&instance, &from(&format!("2001:db8:1:2::{n:x}")), "admin", "wrong").status)
        .collect();
    let looked_at = statuses.iter().filter(|status| **status == 401).count();
    assert!(looked_at <= 6, "{statuses:?}");
    // Of many accounts no more than of one address: twenty, and then the wait doubles from a second on.
    let begun = Instant::now();
    let statuses: Vec<u16> = (1..=60)
        .map(|n| {
            try_password(&instance, &from(&format!("2001:db8:1:3::{n:x}")), &format!("user{n}"), "wrong")
                .status
        })
        .collect();
    let looked_at = statuses.iter().filter(|status| **status == 401).count();
    let most = 21 + (begun.elapsed().as_secs() + 1).ilog2() as usize;
    assert!(looked_at <= most, "{looked_at} of at most {most}: {statuses:?}");
    // Nobody else waits for them: the owner at home, on a device that was never here.
    let answer = try_password(&instance, &from("2001:db8:1:4::1"), "admin", RIGHT);
    assert_eq!(answer.status, 303, "{answer:?}");
    let answer = try_password(&instance, &from("198.51.100.7"), "admin", RIGHT);
    assert_eq!(answer.status, 303, "{answer:?}");
}

#[test]
fn a_known_device_comes_in_whatever_others_guess() {
    let instance = Instance::open(BEHIND_A_PROXY);
    instance.user("admin");
    let first = try_password(&instance, &from("198.51.100.7"), "admin", RIGHT);
    let device = device_of(&first);
    // From everywhere, also from where the owner is.
    guess(&instance, "admin", 60, 4);
    for _ in 0..30 {
        try_password(&instance, &from("198.51.100.7"), "admin", "wrong");
    }
    assert_eq!(
        try_password(&instance, &from("198.51.100.7"), "admin", RIGHT).status,
        429,
        "a stranger waits"
    );
    let owner = from_device("198.51.100.7", &device);
    let answer = try_password(&instance, &owner, "admin", RIGHT);
    assert_eq!(answer.status, 303, "{answer:?}");

    // And while a flood fills whatever waits.
    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (instance, ends) = (&instance, &ends);
        for guesser in 0..24 {
            scope.spawn(move || {
                for n in 0.. {
                    if ends.load(Ordering::Relaxed) {
                        return;
                    }
                    let source = format!("10.{guesser}.{}.{}", n / 250, n % 250 + 1);
                    try_password(instance, &from(&source), &format!("user{guesser}-{n}"), "wrong");
                }
            });
        }
        std::thread::sleep(Duration::from_secs(2));
        for n in 0..5 {
            let begun = Instant::now();
            let answer = try_password(instance, &owner, "admin", RIGHT);
            if answer.status != 303 || begun.elapsed() > Duration::from_secs(20) {
                ends.store(true, Ordering::Relaxed);
            }
            assert_eq!(answer.status, 303, "{n}: {answer:?}");
            assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        }
        ends.store(true, Ordering::Relaxed);
    });
}

#[test]
fn what_does_not_fit_is_answered_at_once_and_says_so() {
    let instance = Instance::open(BEHIND_A_PROXY);
    let refused: Vec<(Duration, Response)> = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..100)
            .map(|n| {
                let instance = &instance;
                scope.spawn(move || {
                    let client = Client::new(Duration::from_secs(60));
                    let source = format!("203.0.113.{n}");
                    let cookie = format!("innkeeper-form={FORM}");
                    let headers =
                        [("x-forwarded-for", source.as_str()), ("cookie", &cookie), ("accept", "text/html")];
                    let body = format!("csrf={FORM}&name=user{n}&password=wrong");
                    let begun = Instant::now();
                    let url = instance.server.url("/login");
                    let answer = client.send("POST", &url, &headers, body.as_bytes()).unwrap();
                    (begun.elapsed(), answer)
                })
            })
            .collect();
        tries.into_iter().map(|one| one.join().unwrap()).filter(|(_, answer)| answer.status != 401).collect()
    });
    assert!(!refused.is_empty(), "each of a hundred was hashed");
    for (took, answer) in refused {
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
        assert!(answer.body.contains("passwords are being checked"), "{answer:?}");
        assert!(took < Duration::from_secs(10), "{took:?}");
    }
}

#[test]
fn a_device_is_known_to_one_user_until_the_password_changes() {
    let instance = Instance::open(BEHIND_A_PROXY);
    instance.user("admin");
    instance.user("editor");
    let device = device_of(&try_password(&instance, &from("198.51.100.7"), "admin", RIGHT));
    let wrong_from_everywhere = |name: &str| {
        instance.database.execute("DELETE FROM login_failures");
        guess(&instance, name, 60, 4);
    };
    let enters = |name: &str, device: &str| {
        try_password(&instance, &from_device("198.51.100.8", device), name, RIGHT).status
    };
    wrong_from_everywhere("editor");
    let of_editor = device.replace("device-1", "device-2");
    assert_ne!(of_editor, device);
    assert_eq!(enters("editor", &of_editor), 429, "the device of another user");
    wrong_from_everywhere("admin");
    let (name, shown) = device.split_once('=').unwrap();
    let (said, signature) = shown.rsplit_once('.').unwrap();
    for forged in
        [format!("{name}={said}."), format!("{name}={said}.AAAA"), format!("{name}=x{said}.{signature}")]
    {
        assert_eq!(enters("admin", &forged), 429, "{forged}");
    }
    assert_eq!(enters("admin", &device), 303);
    // Its own wrong ones make it wait, and nobody else.
    let statuses: Vec<u16> = (0..7)
        .map(|_| try_password(&instance, &from_device("198.51.100.7", &device), "admin", "wrong").status)
        .collect();
    assert_eq!(statuses, [401, 401, 401, 401, 401, 429, 429]);
    instance.database.execute("DELETE FROM login_failures");
    assert_eq!(enters("admin", &device), 303);

    let said = instance.command(&["invite", "admin"]);
    let path = &said[said.find("/setup/").unwrap()..].split_whitespace().next().unwrap();
    let chosen = "password=another+stable+horse&again=another+stable+horse";
    let answer = instance.submit(&nobody(), path, chosen);
    assert_eq!(answer.status, 303, "{answer:?}");
    device_of(&answer);
    wrong_from_everywhere("admin");
    let answer =
        try_password(&instance, &from_device("198.51.100.7", &device), "admin", "another+stable+horse");
    assert_eq!(answer.status, 429, "the device of an older password");
}

#[test]
fn every_refused_login_stands_in_the_audit_log_and_a_flood_fills_it_not() {
    let instance = Instance::open(BEHIND_A_PROXY);
    let admin = instance.user("admin");
    let entries = || -> Vec<(String, String, String)> {
        let log = instance.send(&admin, "GET", "/api/v1/audit?limit=200", false, "").json();
        let text = |entry: &serde_json::Value, name: &str| entry[name].as_str().unwrap().to_owned();
        let entries = log["entries"].as_array().unwrap_or_else(|| panic!("{log}"));
        entries
            .iter()
            .filter(|entry| entry["action"] == "refused login")
            .map(|entry| (text(entry, "source"), text(entry, "subject"), text(entry, "detail")))
            .collect()
    };
    assert_eq!(try_password(&instance, &from("203.0.113.9"), "admin", "wrong").status, 401);
    let first = entries();
    assert_eq!(first.len(), 1, "{first:?}");
    assert_eq!((first[0].0.as_str(), first[0].1.as_str()), ("203.0.113.9", "user admin"));
    assert!(first[0].2.contains("a wrong name or password: 1"), "{first:?}");
    // What somebody typed into the wrong field is written nowhere.
    assert_eq!(try_password(&instance, &from("203.0.113.10"), "my-own-secret-word", "wrong").status, 401);
    assert!(
        entries().iter().any(|(source, subject, _)| source == "203.0.113.10" && subject.contains("nobody"))
    );
    let kept = instance.database.texts("SELECT who || source || subject || detail FROM audit").concat()
        + &instance.database.texts("SELECT who FROM login_failures").concat()
        + &instance.server.log();
    assert!(!kept.contains("my-own-secret-word"), "{kept}");

    let before = instance.database.count("audit");
    guess(&instance, "admin", 400, 8);
    let begun = Instant::now();
    let counted = loop {
        let counted: u64 = entries()
            .iter()
            .flat_map(|(_, _, detail)| detail.lines().map(str::to_owned).collect::<Vec<_>>())
            .map(|line| line.rsplit(": ").next().unwrap().parse::<u64>().unwrap())
            .sum();
        if counted == 402 || begun.elapsed() > Duration::from_secs(10) {
            break counted;
        }
        std::thread::sleep(Duration::from_millis(200));
    };
    assert_eq!(counted, 402, "each is counted");
    let after = instance.database.count("audit");
    // A minute may end in between.
    assert!(after - before <= 42, "from {before} to {after}");
}

#[test]
fn passwords_that_everybody_chooses_are_refused_and_those_of_before_go_on() {
    let instance = Instance::open("");
    let said = instance.command(&["invite", "grace", "--role", "editor"]);
    let path = said[said.find("/setup/").unwrap()..].split_whitespace().next().unwrap().to_owned();
    let page = instance.send(&nobody(), "GET", &path, true, "");
    assert!(page.body.contains("at least 12 characters"), "{page:?}");
    for weak in [
        "short-one-1",
        "password1234",
        "Qwertyuiop123",
        "grace-grace-grace",
        "innkeeper2024",
        "aaaaaaaaaaaaaaa",
    ] {
        let answer = instance.submit(&nobody(), &path, &format!("password={weak}&again={weak}"));
        assert_eq!(answer.status, 400, "{weak}: {answer:?}");
        assert!(
            answer.body.contains("too short") || answer.body.contains("an attacker tries"),
            "{weak}: {answer:?}"
        );
    }
    let answer = instance.submit(&nobody(), &path, "password=vier+blaue+Esel&again=vier+blaue+Esel");
    assert_eq!(answer.status, 303, "{answer:?}");
    // Of "password", as an older version may have taken it.
    instance.database.execute(
        "UPDATE users SET password = '$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$PL01amPyeUuxG7H0vIr5X+qHkZvWnHmGBGXFYvh8z2E'",
    );
    assert_eq!(instance.log_in("grace", "password").status, 303, "of an older version");
}
