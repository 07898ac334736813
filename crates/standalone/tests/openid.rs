//! Logging in at an OpenID provider: whole logins at a real one. `openid_false.rs` has a false one.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

#[cfg(not(feature = "openid"))]
#[test]
fn a_build_without_it_says_how_to_build() {
    let text = "auth = \"tokens\"\npublic_url = \"https://inn.example.org\"\n[web.openid]\nissuer = \
                \"https://id.example.org\"\nclient_id = \"inn\"\nrole = \"viewer\"\n";
    for (program, command) in [
        ("innkeeper", "cargo build --release --features openid"),
        ("web", "cargo build --release -p innkeeper-web --features openid"),
    ] {
        let said = ["innkeeper.toml:4: web.openid", command];
        common::programs::refused(program, text, &[], &[], &said);
    }
}

#[cfg(feature = "openid")]
mod with_it {
    use std::time::Duration;

    use innkeeper_testing::database::TestDatabase;
    use serde_json::{Value, json};

    use crate::common::instance::Instance;
    use crate::common::openid_instance::*;

    #[test]
    fn somebody_logs_in_at_the_provider_and_is_back_where_they_wanted_to_be() {
        let providers = providers();
        providers.know(&json!({ "ada": { "groups": ["staff", "dev"] } }));
        for client in [BASIC, "client_id = \"public\"\n"] {
            let instance = instance(&providers.real, &format!("{client}{GROUPS}"));
            let mut ada = browser(&instance);
            let login = ada.go("/alerts");
            assert!(login.body.contains(">Log in with 127.0.0.1</a>"), "{login:?}");
            assert!(login.body.contains("href=\"/login/openid?next=/alerts\""), "{login:?}");
            let answer = ada.log_in("/alerts", "ada");
            assert!(is_in(&answer, &ada), "{client}: {answer:?}");
            assert_eq!(users(&instance), ["ada: editor"]);
            assert!(ada.cookie("innkeeper").is_some());
            // Another browser of hers is hers.
            let mut other = browser(&instance);
            assert!(is_in(&other.log_in("/alerts", "ada"), &other));
            assert_eq!(users(&instance).len(), 1);
            assert_eq!(ada.go("/login/openid?next=/nodes").status, 200, "who is in goes on");
            assert!(ada.went.last().unwrap().ends_with("/nodes"));
            assert_eq!(
                log_of(&instance, "add user"),
                ["user ada | 127.0.0.1 | user ada | editor; by OpenID Connect: ada"]
            );
            let logins = log_of(&instance, "log in");
            assert_eq!(logins, ["user ada | 127.0.0.1 | user ada | OpenID Connect"; 2]);
            assert!(log_of(&instance, "refused login").is_empty());
            for secret in ["s3cret", "code=", "eyJ"] {
                assert!(!instance.server.log().contains(secret), "{}", instance.server.log());
            }
        }
    }

    #[test]
    fn the_role_is_what_the_provider_says_each_time() {
        let providers = providers();
        let groups = |groups: Value| providers.know(&json!({ "ada": { "groups": groups } }));
        let instance =
            instance_over(TestDatabase::postgres(), PUBLIC, &providers.real, &format!("{BASIC}{GROUPS}"));
        let refused = |instance: &Instance| {
            let answer = browser(instance).log_in("/alerts", "ada");
            let needed = "one of these in the claim groups: viewer";
            let needed = needed.replace("viewer", "staff (viewer), dev (editor), ops (admin)");
            assert!(answer.status == 403 && answer.body.contains(&needed), "{answer:?}");
        };
        groups(json!(["others"]));
        refused(&instance);
        assert!(users(&instance).is_empty(), "nobody is made");
        groups(json!("staff"));
        let mut first = browser(&instance);
        assert!(is_in(&first.log_in("/alerts", "ada"), &first));
        assert_eq!(users(&instance), ["ada: viewer"]);
        assert_eq!(first.go("/new").status, 403);
        groups(json!(["ops", "staff"]));
        let mut second = browser(&instance);
        assert!(is_in(&second.log_in("/alerts", "ada"), &second));
        assert_eq!(users(&instance), ["ada: admin"]);
        assert!(first.go("/alerts").body.contains("Log in"), "another role ends the sessions of before");
        let settings = second.go("/settings");
        assert!(settings.body.contains("at the provider"), "{settings:?}");
        groups(json!([]));
        refused(&instance);
        assert!(second.go("/alerts").body.contains("Log in"), "no role ends them all");
        let changes = log_of(&instance, "change user");
        assert_eq!(changes.len(), 2, "{changes:?}");
        assert!(changes[0].contains("role: viewer -> admin"));
        let all = log_of(&instance, "refused login").concat();
        assert!(all.contains("OpenID Connect: no role: ") && all.contains("127.0.0.1"), "{all}");
    }

    #[test]
    fn a_claim_that_is_nowhere_lets_nobody_in_and_takes_nothing() {
        let providers = providers();
        let know = |claims: Value| providers.know(&json!({ "ada": claims, "eve": claims }));
        for (more, admins) in [(GROUPS.to_owned(), 1), (format!("role = \"viewer\"\n{GROUPS}"), 2)] {
            let instance = instance(&providers.real, &format!("{BASIC}{more}"));
            know(json!({ "groups": ["ops"] }));
            let mut ada = browser(&instance);
            assert!(is_in(&ada.log_in("/alerts", "ada"), &ada));
            let changes = instance.database.count("audit WHERE action = 'change user'");
            // The mapper is gone, or says nothing.
            for claims in [json!({}), json!({ "groups": null })] {
                know(claims);
                let answer = browser(&instance).log_in("/alerts", "ada");
                assert_eq!(answer.status, 403, "{answer:?}");
                for part in
                    ["nothing in the claim groups", "mapper", "web.openid.scopes, now openid, profile, email"]
                {
                    assert!(answer.body.contains(part), "{part}: {answer:?}");
                }
                assert!(ada.go("/alerts").body.contains("Log out"), "the session goes on");
                assert_eq!(users(&instance), ["ada: admin"]);
            }
            assert_eq!(instance.database.count("audit WHERE action = 'change user'"), changes);
            let refused = log_of(&instance, "refused login").concat();
            assert!(refused.contains("the provider said nothing of the role: 2"), "{refused}");
            // With a role for those whom no value fits, somebody new has that.
            let mut eve = browser(&instance);
            assert_eq!(is_in(&eve.log_in("/alerts", "eve"), &eve), admins == 2);
            assert_eq!(users(&instance).len(), admins);
            // What is there and fits nothing takes it.
            know(json!({ "groups": [] }));
            browser(&instance).log_in("/alerts", "ada");
            assert_eq!(users(&instance)[0], "ada: viewer");
            assert!(ada.go("/alerts").body.contains("Log in"));
        }
    }

    #[test]
    fn who_has_no_role_at_the_provider_has_no_password_here_either() {
        let providers = providers();
        let groups = |groups: Value| providers.know(&json!({ "ada": { "groups": groups } }));
        let instance = instance(&providers.real, &format!("{BASIC}{GROUPS}"));
        groups(json!(["ops"]));
        let mut ada = browser(&instance);
        assert!(is_in(&ada.log_in("/alerts", "ada"), &ada));
        instance.database.execute("UPDATE users SET password = 'a hash'");
        let invited = instance.command(&["invite", "ada"]);
        groups(json!(["others"]));
        assert_eq!(browser(&instance).log_in("/alerts", "ada").status, 403);
        assert_eq!(instance.database.count("users WHERE password IS NOT NULL"), 0);
        assert_eq!(instance.database.count("invitations WHERE user_id IS NOT NULL"), 0, "{invited:?}");
        let change = log_of(&instance, "change user").pop().unwrap();
        assert!(change.starts_with("user ada | 127.0.0.1 | user ada | role: admin -> viewer"), "{change}");
        assert!(change.ends_with("sessions ended, password removed"), "{change}");
        groups(json!(["ops"]));
        let mut again = browser(&instance);
        assert!(is_in(&again.log_in("/alerts", "ada"), &again));
    }

    #[test]
    fn a_login_begins_at_the_public_address_and_nobody_goes_in_circles() {
        let providers = providers();
        providers.know(&json!({ "ada": { "groups": ["ops"] } }));
        let instance = instance(&providers.real, &format!("{BASIC}{GROUPS}"));
        // By the address of the machine.
        let answer = instance.client.get(&instance.server.url("/login/openid?next=/alerts"));
        let public = format!("{PUBLIC}/login/openid?next=%2Falerts&moved=1");
        assert_eq!((answer.status, answer.header("location")), (303, Some(public.as_str())), "{answer:?}");
        let cookies = answer.headers.iter().filter(|(name, _)| name == "set-cookie");
        assert!(cookies.into_iter().all(|(_, cookie)| !cookie.contains("-openid=")), "{answer:?}");
        assert_eq!(instance.database.count("openid_logins"), 0);
        let mut ada = browser(&instance);
        assert!(ada.send("GET", &public, "").header("location").unwrap().starts_with(&providers.real));
        // Behind a proxy that gives another name.
        let answer = instance.client.get(&instance.server.url("/login/openid?next=%2Falerts&moved=1"));
        assert!(answer.header("location").unwrap().starts_with(&providers.real), "{answer:?}");
        // And one that says by which name it was reached.
        let headers = [("x-forwarded-host", "inn.example")];
        let answer =
            instance.client.send("GET", &instance.server.url("/login/openid"), &headers, b"").unwrap();
        assert!(answer.header("location").unwrap().starts_with(&providers.real), "{answer:?}");
    }

    #[test]
    fn a_role_of_everybody_is_an_admins_to_change() {
        let providers = providers();
        providers.know(&json!({ "ada": {} }));
        let instance = instance(&providers.real, &format!("{BASIC}role = \"viewer\"\n"));
        browser(&instance).log_in("/alerts", "ada");
        assert_eq!(users(&instance), ["ada: viewer"]);
        instance.command(&["invite", "ada", "--role", "editor"]);
        let mut ada = browser(&instance);
        assert!(is_in(&ada.log_in("/alerts", "ada"), &ada));
        assert_eq!(users(&instance), ["ada: editor"]);
    }

    #[test]
    fn a_second_factor_is_the_providers_to_ask_for() {
        let providers = providers();
        providers.know(&json!({ "ada": {} }));
        let more = format!("{BASIC}role = \"admin\"\n[web]\nsecond_factor = \"everybody\"\n");
        let instance = instance(&providers.real, &more);
        let mut ada = browser(&instance);
        assert!(is_in(&ada.log_in("/alerts", "ada"), &ada), "nothing is to be set up here");
        assert!(ada.cookie("innkeeper-device-1").is_none(), "no password makes a browser known");
        let account = ada.go("/account");
        assert_eq!(account.status, 200);
        assert!(account.body.contains("You have no password here"), "{account:?}");
        assert!(account.body.contains("data-label=\"Came in by\">OpenID Connect<"), "{account:?}");
        assert!(!account.body.contains("id=\"second-factor\""), "{account:?}");
        let settings = ada.go("/settings");
        assert!(settings.body.contains("data-label=\"Second factor\">at the provider"), "{settings:?}");
        let methods = instance.database.texts("SELECT method FROM sessions");
        assert_eq!((methods, instance.database.count("totp_setups")), (vec!["openid".to_owned()], 0));
    }

    #[test]
    fn who_says_no_at_the_provider_is_told_so() {
        let providers = providers();
        providers.know(&json!({ "ada": { "groups": ["ops"] } }));
        let real = instance(&providers.real, &format!("{BASIC}{GROUPS}"));
        let mut ada = browser(&real);
        let form = ada.go("/login/openid");
        let abort = form.body.split("href=\"").find(|rest| rest.contains("/abort")).unwrap();
        let answer = ada.go(abort.split('"').next().unwrap());
        assert!(answer.status == 403 && answer.body.contains("access_denied"), "{answer:?}");
        assert!(answer.body.contains("name=\"password\""), "the form for a password stands there still");
        // A provider's words are text, and not many.
        let instance = false_instance(&providers, "");
        let answer = try_with(&providers, &instance, &json!({ "error": "access_denied" }));
        assert!(
            answer.status == 403 && answer.body.contains("access_denied: access_denied: &#60;script&#62;"),
            "{answer:?}"
        );
        assert!(!answer.body.contains("<script>alert") && !answer.body.contains(&"x".repeat(301)));
        assert!(log_of(&instance, "refused login")[0].contains("the provider did not let them in: 1"));
    }

    #[test]
    fn only_the_browser_that_began_ends_a_login_and_once() {
        let providers = providers();
        providers.know(&json!({ "ada": { "groups": ["ops"] }, "mallory": { "groups": ["ops"] } }));
        let instance = instance(&providers.real, &format!("{BASIC}{GROUPS}"));
        // Mallory's code, in a browser that began nothing, and in one that began another.
        let (mut mallory, mut ada) = (browser(&instance), browser(&instance));
        let callback = mallory.up_to_callback("/alerts", "mallory");
        for _ in 0..2 {
            let answer = ada.go(&callback);
            assert_eq!(answer.status, 400, "{answer:?}");
            assert!(answer.body.contains("not begun in this browser") && ada.cookie("innkeeper").is_none());
            assert!(instance.database.count("sessions") == 0, "nobody is in");
            ada.send("GET", "/login/openid", "");
        }
        assert!(users(&instance).is_empty());
        assert!(is_in(&mallory.go(&callback), &mallory), "it is mallory's still");
        mallory.forget();
        assert_eq!(mallory.go(&callback).status, 400);
        // Once: replayed with the cookie of before, it makes no session.
        let own = ada.up_to_callback("/alerts", "ada");
        assert!(is_in(&ada.go(&own), &ada));
        ada.log_out();
        assert_eq!(ada.go(&own).status, 400, "replayed");
        assert!(ada.cookie("innkeeper").is_none());
        // Two tabs, each of which ends.
        let mut tabs = browser(&instance);
        let (one, two) = (tabs.up_to_callback("/alerts", "ada"), tabs.up_to_callback("/nodes", "ada"));
        let changed = one.replace("state=", "state=x");
        assert_eq!(tabs.go(&changed).status, 400);
        assert_eq!(tabs.send("GET", &two, "").header("location"), Some("/nodes"));
        assert_eq!(tabs.send("GET", &one, "").header("location"), Some("/alerts"));
        // Nothing holds for longer than ten minutes.
        let mut late = browser(&instance);
        let callback = late.up_to_callback("/alerts", "ada");
        instance.database.age(Duration::from_secs(601));
        assert_eq!(late.go(&callback).status, 400);
        for path in ["", "?state=", "?code=a&state=b", "?error=access_denied", "?code=a&code=b", "?state=%00"]
        {
            let answer = browser(&instance).send("GET", &format!("/login/openid/callback{path}"), "");
            assert_eq!(answer.status, 400, "{path}: {answer:?}");
        }
        let refused = log_of(&instance, "refused login").concat();
        assert!(refused.contains("not begun in this browser, or over: "), "{refused}");
        // What is kept of a login is no secret of its: neither what is in the cookie, nor what the provider brings back.
        let mut begun = browser(&instance);
        begun.send("GET", "/login/openid", "");
        let kept = instance.database.texts("SELECT hash FROM openid_logins");
        assert!(!kept.is_empty() && kept.iter().all(|hash| hash.len() == 64), "{kept:?}");
        assert!(!kept.contains(begun.cookie("innkeeper-openid").unwrap()));
    }

    #[test]
    fn other_tabs_and_the_way_back_lead_on_who_is_in() {
        let providers = providers();
        providers.know(&json!({ "ada": { "groups": ["ops"] } }));
        let instance = instance(&providers.real, &format!("{BASIC}{GROUPS}"));
        let mut ada = browser(&instance);
        let callback = ada.up_to_callback("/alerts", "ada");
        assert!(is_in(&ada.go(&callback), &ada));
        let session = ada.cookie("innkeeper").cloned();
        // Back and reload; a state that was never one; a tab that was restored after the login was over.
        for path in
            [callback.as_str(), &callback, "/login/openid/callback", "/login/openid/callback?code=a&state=b"]
        {
            let answer = ada.go(path);
            assert!(answer.status == 200 && answer.body.contains("Log out"), "{path}: {answer:?}");
            assert!(ada.went.last().unwrap().ends_with("/status"), "{:?}", ada.went);
        }
        assert_eq!(ada.cookie("innkeeper").cloned(), session);
        let mut late = browser(&instance);
        let (one, two) = (late.up_to_callback("/alerts", "ada"), late.up_to_callback("/nodes", "ada"));
        assert!(is_in(&late.go(&one), &late));
        instance.database.age(Duration::from_secs(601));
        assert!(late.go(&two).body.contains("Log out"));
        assert!(log_of(&instance, "refused login").is_empty());
    }

    #[test]
    fn a_name_that_a_user_has_is_not_taken_over_unless_names_are_trusted() {
        let providers = providers();
        providers.know(&json!({ "admin": { "groups": ["dev"] } }));
        let database = TestDatabase::sqlite();
        let more = format!("{BASIC}{GROUPS}");
        let instance = instance_over(database, PUBLIC, &providers.real, &more);
        instance.command(&["invite", "admin", "--role", "admin"]);
        let mut mallory = browser(&instance);
        let answer = mallory.log_in("/alerts", "admin");
        assert!(
            answer.status == 403 && answer.body.contains("There is a user admin here already"),
            "{answer:?}"
        );
        assert!(answer.body.contains("trust_names") && mallory.cookie("innkeeper").is_none());
        assert_eq!(
            (users(&instance), instance.database.count("identities")),
            (vec!["admin: admin".to_owned()], 0)
        );
        let Instance { server, database, .. } = instance;
        drop(server);
        let trusting = format!("trust_names = true\n{more}");
        let instance = instance_over(database, PUBLIC, &providers.real, &trusting);
        let mut admin = browser(&instance);
        assert!(is_in(&admin.log_in("/alerts", "admin"), &admin));
        assert_eq!(users(&instance), ["admin: editor"]);
        assert!(log_of(&instance, "change user").concat().contains("comes by OpenID Connect: admin"));
        // The provider made them anew.
        instance.database.execute("UPDATE identities SET subject = 'before'");
        let answer = browser(&instance).log_in("/alerts", "admin");
        assert!(answer.status == 403 && answer.body.contains("by another subject (sub)"), "{answer:?}");
        assert!(
            answer.body.contains("remove that user") && !answer.body.contains("trust_names"),
            "{answer:?}"
        );
    }

    #[test]
    fn an_address_is_a_name_once_it_is_verified_and_a_role_may_lie_deep() {
        let providers = providers();
        let ada = |verified: Value| {
            providers.know(&json!({ "ada": {
            "email": "ada@example.org", "email_verified": verified, "realm_access": { "roles": ["ops"] },
        } }));
        };
        let more =
            "name_claim = \"email\"\nroles_claim = \"realm_access.roles\"\nroles = { admin = [\"ops\"] }\n";
        let instance = instance(&providers.real, &format!("{BASIC}{more}"));
        ada(json!(false));
        let answer = browser(&instance).log_in("/alerts", "ada");
        assert!(answer.status == 403 && answer.body.contains("email_verified"), "{answer:?}");
        assert!(users(&instance).is_empty());
        ada(json!(true));
        let mut browser = browser(&instance);
        assert!(is_in(&browser.log_in("/alerts", "ada"), &browser));
        assert_eq!(users(&instance), ["ada@example.org: admin"]);
    }
}
