//! Login at an OpenID provider that lies, is unreachable, or sends nonsense.

#![cfg(feature = "openid")]
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::time::{Duration, Instant};

use common::eventually;
use common::openid::{Browser, Providers};
use common::openid_instance::*;
use innkeeper_testing::client::Client;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::faketime::FakeClock;
use serde_json::{Value, json};

#[test]
fn a_false_token_lets_nobody_in() {
    let providers = providers();
    let instance = false_instance(&providers, "");
    let past = now() - 3600;
    for (knobs, said) in [
        (json!({ "signs": "foreign" }), "signature"),
        (json!({ "signs": "unknown" }), "No matching key"),
        (json!({ "signs": "none" }), "No signature"),
        (json!({ "signs": "hs256" }), "Disallowed signature algorithm"),
        (json!({ "claims": { "iss": providers.real } }), "Invalid issuer"),
        (json!({ "claims": { "iss": null } }), "cannot be read"),
        (json!({ "claims": { "aud": "another" } }), "Invalid audiences"),
        (json!({ "claims": { "aud": ["false", "another"] } }), "another application (azp)"),
        (json!({ "claims": { "aud": ["false", "another"], "azp": "another" } }), "another application (azp)"),
        (json!({ "claims": { "azp": "another" } }), "another application (azp)"),
        (json!({ "claims": { "exp": past } }), "Expired"),
        (json!({ "claims": { "exp": null } }), "cannot be read"),
        (json!({ "claims": { "nonce": "another" } }), "Invalid nonce"),
        (json!({ "claims": { "nonce": null } }), "Invalid nonce"),
        (json!({ "claims": { "at_hash": "AAAAAAAAAAAAAAAAAAAAAA" } }), "at_hash"),
        (json!({ "claims": { "sub": null } }), "cannot be read"),
        (json!({ "claims": { "sub": "" } }), "names no user (sub)"),
        (json!({ "claims": { "sub": "a\nrole: admin" } }), "names no user (sub)"),
        (json!({ "claims": { "sub": "x".repeat(256) } }), "names no user (sub)"),
        (json!({ "tokens": { "id_token": null } }), "no ID token"),
        (json!({ "tokens": { "id_token": "a.b.c" } }), "cannot be read"),
        (json!({ "token": "odd" }), "cannot be read"),
        (
            json!({ "claims": { "groups": null }, "people": { "sub": "f-2", "groups": ["ops"] } }),
            "Invalid subject",
        ),
        (
            json!({ "claims": { "groups": null, "at_hash": null }, "tokens": { "access_token": "a\nb" } }),
            "access token is invalid",
        ),
        (json!({ "iss": "https://another.example.org" }), "(iss)"),
        (json!({ "iss": providers.real }), "(iss)"),
    ] {
        let answer = try_with(&providers, &instance, &knobs);
        assert!(answer.status == 502 && answer.body.contains(said), "{knobs}: {answer:?}");
        assert!(answer.body.contains("cannot be trusted"), "{knobs}: {answer:?}");
        assert_eq!(instance.database.count("users"), 0, "{knobs}");
        assert_eq!(instance.database.count("sessions"), 0, "{knobs}");
    }
    assert!(log_of(&instance, "refused login").concat().contains("cannot be trusted: "));
    // And what is as it should be does, by each kind of key; also for one of several for whom it was made.
    for knobs in [
        json!({}),
        json!({ "iss": providers.fake }),
        json!({ "claims": { "aud": ["another", "false"], "azp": "false" } }),
        json!({ "claims": { "at_hash": null } }),
        json!({ "alg": "ES256" }),
        json!({ "alg": "PS256" }),
        json!({ "alg": "EdDSA" }),
        json!({ "claims": { "groups": null, "preferred_username": null } }),
    ] {
        let answer = try_with(&providers, &instance, &knobs);
        assert!(answer.status == 200 && answer.body.contains("Log out"), "{knobs}: {answer:?}");
    }
    assert_eq!(users(&instance), ["eve: admin"]);
    // A token of a clock that is half a minute behind: by when it is asked for, whatever went before it.
    let answer = try_with(&providers, &instance, &json!({ "claims": { "exp": now() - 30 } }));
    assert!(answer.status == 200 && answer.body.contains("Log out"), "{answer:?}");
}

#[test]
fn a_clock_that_was_ahead_refuses_no_token_after() {
    let (providers, clock) = (providers(), FakeClock::ahead(86_400));
    let variables = clock.variables();
    let variables: Vec<(&str, &str)> =
        variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let more = format!("client_id = \"false\"\n{GROUPS}");
    let instance = instance_under(&variables, TestDatabase::sqlite(), PUBLIC, &providers.fake, &more);
    let answer = try_with(&providers, &instance, &json!({}));
    assert!(answer.status == 502 && answer.body.contains("Expired"), "{answer:?}");
    // The time that the nodes share comes back slowly; the provider knows nothing of it.
    clock.set(0);
    let answer = try_with(&providers, &instance, &json!({}));
    assert!(answer.status == 200 && answer.body.contains("Log out"), "{answer:?}");
}

/// Seconds since 1970.
fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn a_provider_that_is_away_or_mad_leaves_the_passwords() {
    let providers = providers();
    for (knobs, said) in [
        (json!({ "discovery": "away" }), "500"),
        (json!({ "discovery": "odd" }), "cannot be read"),
        (json!({ "discovery": "huge" }), "more than 1048576 bytes"),
        (json!({ "discovery": "slow" }), "did not answer within 10 s"),
        (json!({ "discovery": "elsewhere" }), "302"),
        (json!({ "jwks": "away" }), "500"),
        (json!({ "description": { "issuer": "https://another.example.org" } }), "write issuer just as"),
        (json!({ "description": { "jwks_uri": "http://10.255.255.1/jwks" } }), "without TLS"),
        (json!({ "description": { "jwks_uri": "https://169.254.169.254/jwks" } }), "metadata address"),
        (json!({ "description": { "jwks_uri": "file:///etc/passwd" } }), "cannot be had"),
        (json!({ "description": { "authorization_endpoint": "http://id.example.org/" } }), "without TLS"),
        (json!({ "description": { "authorization_endpoint": "javascript:alert(1)" } }), "without TLS"),
    ] {
        let instance = false_instance(&providers, "");
        let answer = try_with(&providers, &instance, &knobs);
        assert!(answer.status == 503 && answer.body.contains(said), "{knobs}: {answer:?}");
        assert!(answer.body.contains("does not work just now"), "{knobs}: {answer:?}");
        assert!(answer.body.contains("name=\"password\""), "{knobs}: {answer:?}");
        assert_eq!(browser(&instance).go("/login/openid").status, 503);
        if said == "500" {
            instance.user("admin");
            providers.misbehave(&json!({}));
            eventually("the provider is asked again", || {
                (browser(&instance).go("/login/openid?next=/alerts").status == 200).then_some(())
            });
        }
    }
    for (knobs, said) in [
        (json!({ "token": "away" }), ""),
        (json!({ "token": "huge" }), "more than 1048576 bytes"),
        (json!({ "claims": { "groups": null }, "userinfo": "away" }), "500"),
        (json!({ "description": { "token_endpoint": null } }), "is incomplete"),
    ] {
        let instance = false_instance(&providers, "");
        let answer = try_with(&providers, &instance, &knobs);
        assert!(matches!(answer.status, 502 | 503) && answer.body.contains(said), "{knobs}: {answer:?}");
        assert_eq!(instance.database.count("users"), 0);
    }
    // One that has none of these addresses.
    let closed = instance("http://127.0.0.1:9", &format!("client_id = \"x\"\n{GROUPS}"));
    let answer = browser(&closed).go("/login/openid");
    assert!(answer.status == 503 && answer.body.contains("could not be reached"), "{answer:?}");
    assert!(log_of(&closed, "refused login")[0].contains("the provider was away: 1"));
}

#[test]
fn new_keys_are_fetched_when_one_is_unknown_and_once_a_minute() {
    let providers = providers();
    let instance = false_instance(&providers, "");
    let is_in = |knobs: Value| try_with(&providers, &instance, &knobs).status == 200;
    assert!(is_in(json!({})));
    assert_eq!(providers.asked("discovery"), 1);
    providers.rotate();
    assert!(is_in(json!({})), "the new key is found");
    assert_eq!((providers.asked("discovery"), providers.asked("jwks")), (2, 2));
    for _ in 0..5 {
        assert!(!is_in(json!({ "signs": "unknown" })));
    }
    assert_eq!(providers.asked("jwks"), 2, "a flood of unknown keys is none of requests");
    assert!(is_in(json!({})));
}

#[test]
fn an_answer_says_who_gives_it_where_that_was_announced() {
    let providers = providers();
    let announced = |more: Value| {
        let mut knobs = json!({ "description": { "authorization_response_iss_parameter_supported": true } });
        knobs.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        knobs
    };
    let instance = false_instance(&providers, "");
    let answer = try_with(&providers, &instance, &announced(json!({})));
    assert!(answer.status == 502 && answer.body.contains("(iss)"), "{answer:?}");
    let answer = try_with(&providers, &instance, &announced(json!({ "error": "access_denied" })));
    assert!(answer.status == 502 && answer.body.contains("(iss)"), "{answer:?}");
    assert_eq!(try_with(&providers, &instance, &announced(json!({ "iss": providers.fake }))).status, 200);
}

#[test]
fn the_secret_goes_as_the_provider_takes_it() {
    let providers = providers();
    let by = |methods: Value| json!({ "secretInForm": true, "description": { "token_endpoint_auth_methods_supported": methods } });
    let secret = "client_secret = \"hunter2\"\n";
    let with_secret = |providers: &Providers| {
        instance(&providers.fake, &format!("client_id = \"false\"\n{secret}{GROUPS}"))
    };
    let instance = with_secret(&providers);
    assert_eq!(try_with(&providers, &instance, &by(json!(["client_secret_post"]))).status, 200);
    let instance = with_secret(&providers);
    let answer = try_with(&providers, &instance, &by(json!(["private_key_jwt"])));
    assert!(answer.status == 503 && answer.body.contains("client_secret_post"), "{answer:?}");
    let instance = with_secret(&providers);
    let answer = try_with(&providers, &instance, &by(json!(["client_secret_basic"])));
    assert!(answer.body.contains("check client_id and client_secret"), "{answer:?}");
    assert!(
        log_of(&instance, "refused login")[0].contains("did not accept this program, or its own code: 1")
    );
    assert!(answer.status == 502 && answer.body.contains("invalid_client"), "{answer:?}");
}

#[test]
fn nobody_is_sent_elsewhere_and_the_cookies_are_this_hosts() {
    let providers = providers();
    let instance = instance_over(
        TestDatabase::sqlite(),
        "https://inn.example",
        &providers.fake,
        &format!("client_id = \"false\"\n{GROUPS}"),
    );
    let mut eve = Browser::new("https://inn.example", &instance.server.url(""));
    let long = format!("/{}", "x".repeat(3000));
    for next in ["//evil.example", "https://evil.example", "/%5Cevil.example", "/a%0d%0aX:%20y", &long] {
        let begun = eve.send("GET", &format!("/login/openid?next={next}"), "");
        let cookie = begun.headers.iter().find(|(_, value)| value.contains("-openid=")).unwrap();
        for part in
            ["__Host-innkeeper-openid=", "HttpOnly", "SameSite=Lax", "Secure", "Path=/", "Max-Age=600"]
        {
            assert!(cookie.1.contains(part), "{cookie:?}");
        }
        let to = begun.header("location").unwrap();
        for part in [
            "code_challenge_method=S256",
            "nonce=",
            "response_type=code",
            "scope=openid+profile+email+groups",
        ] {
            assert!(to.contains(part), "{to}");
        }
        assert!(to.contains("redirect_uri=https%3A%2F%2Finn.example%2Flogin%2Fopenid%2Fcallback"), "{to}");
        let to = to.to_owned();
        let back = eve.send("GET", &to, "").header("location").unwrap().to_owned();
        let answer = eve.send("GET", &back, "");
        assert_eq!(answer.header("location"), Some("/status"), "{next}: {answer:?}");
        eve.forget();
    }
    let answer = Client::default().get(&instance.server.url("/login/openid/callback"));
    assert_eq!(answer.status, 400);
}

#[test]
fn many_who_wait_for_a_slow_provider_keep_nobody_else() {
    let providers = providers();
    let instance = false_instance(&providers, "");
    providers.misbehave(&json!({ "discovery": "slow" }));
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..30)
            .map(|_| scope.spawn(|| browser(&instance).send("GET", "/login/openid", "").status))
            .collect();
        eventually("the provider is asked", || (providers.asked("discovery") > 0).then_some(()));
        for path in ["/healthz", "/login", "/login"] {
            let begun = Instant::now();
            assert_eq!(instance.client.get(&instance.server.url(path)).status, 200);
            // Sooner than the provider's time is over (10 s): so nobody waited for it.
            assert!(begun.elapsed() < Duration::from_secs(8), "{path}: {:?}", begun.elapsed());
        }
        let statuses: Vec<u16> = waiting.into_iter().map(|one| one.join().unwrap()).collect();
        assert_eq!(statuses, [503; 30]);
    });
    // Those who have a seat at most, though the machine be slow.
    assert!(providers.asked("discovery") <= 8, "{} times", providers.asked("discovery"));
}

#[test]
fn beginnings_without_end_are_few() {
    let providers = providers();
    let instance = false_instance(&providers, "");
    for _ in 0..130 {
        assert_eq!(browser(&instance).send("GET", "/login/openid", "").status, 303);
    }
    assert_eq!(instance.database.count("openid_logins"), 100);
}
