//! Passkeys over HTTP: what no browser sends. What browsers do is in `browser/passkeys.mjs`.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use common::instance::{Caller, FORM, Instance, nobody};
use innkeeper_testing::client::Client;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::process::Server;

/// Where the browsers of these tests say they are.
const HERE: &str = "http://localhost:4711";
const PASSWORD: &str = "correct+horse";

/// An instance whose pages are at `url`, as the configuration says.
fn instance_at(url: &str, web: &str) -> Instance {
    let database = TestDatabase::sqlite();
    let config = format!(
        "auth = \"tokens\"\npublic_url = \"{url}\"\n[ingest]\nlisten = \"127.0.0.1:0\"\nworkers = 1\n[web]\n{web}\n"
    );
    let server = Server::start("innkeeper", &config, &["--database-url", database.url()]);
    Instance { server, client: Client::new(std::time::Duration::from_secs(60)), database }
}

/// Shows the name and the password; returns who waits for the second factor.
fn half_in(instance: &Instance, name: &'static str) -> Caller {
    let answer = instance.log_in(name, PASSWORD);
    let to = answer.header("location").unwrap_or_default();
    assert!(answer.status == 303 && to.starts_with("/login/second?"), "{answer:?}");
    let cookies = answer.headers.iter().filter(|(name, _)| name == "set-cookie").map(|(_, value)| value);
    let cookie = cookies.clone().find(|cookie| cookie.starts_with("innkeeper-second=")).unwrap();
    assert!(!cookies.clone().any(|cookie| cookie.starts_with("innkeeper=")), "a session: {answer:?}");
    let cookie = format!("innkeeper-form={FORM}; {}", cookie.split(';').next().unwrap());
    Caller { name, headers: vec![("cookie".to_owned(), cookie)], csrf: FORM.to_owned() }
}

fn audit_log(instance: &Instance) -> Vec<String> {
    instance
        .database
        .texts("SELECT who || ' | ' || action || ' | ' || subject || ' | ' || detail FROM audit ORDER BY id")
}

#[cfg(feature = "passkeys")]
mod with_passkeys {
    use std::time::Duration;

    use innkeeper_testing::authenticator::VirtualAuthenticator;
    use innkeeper_testing::client::Response;
    use serde_json::Value;

    use super::*;

    fn instance() -> Instance {
        instance_at(HERE, "")
    }

    /// As a form's field: percent-encoded.
    fn encoded(text: &str) -> String {
        text.bytes().map(|byte| format!("%{byte:02X}")).collect()
    }

    /// Asks for a challenge to make a passkey by.
    fn challenge(instance: &Instance, caller: &Caller, path: &str) -> Value {
        let answer = instance.submit(caller, path, &format!("name=Phone&password={PASSWORD}"));
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        answer.json()
    }

    fn to_add(instance: &Instance, caller: &Caller) -> Value {
        challenge(instance, caller, "/account/passkeys/begin")
    }

    /// The same of one who has a passkey already, and shows it.
    fn to_add_beside(instance: &Instance, caller: &Caller, phone: &mut VirtualAuthenticator) -> Value {
        let shown = shown(instance, caller, phone);
        let fields = format!("name=Phone&password={PASSWORD}&credential={shown}");
        let answer = instance.submit(caller, "/account/passkeys/begin", &fields);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// What a passkey makes of what the account asks of it, as a field.
    fn shown(instance: &Instance, caller: &Caller, phone: &mut VirtualAuthenticator) -> String {
        encoded(&phone.sign(&challenge(instance, caller, "/account/passkeys/ask")).to_string())
    }

    fn to_log_in(instance: &Instance, caller: &Caller) -> Value {
        challenge(instance, caller, "/login/second/passkey/begin")
    }

    fn finish(instance: &Instance, caller: &Caller, path: &str, credential: &Value) -> Response {
        let fields = format!("name=Phone&next=/alerts&credential={}", encoded(&credential.to_string()));
        instance.submit(caller, path, &fields)
    }

    fn finish_adding(instance: &Instance, caller: &Caller, credential: &Value) -> Response {
        finish(instance, caller, "/account/passkeys/finish", credential)
    }

    fn finish_login(instance: &Instance, caller: &Caller, credential: &Value) -> Response {
        finish(instance, caller, "/login/second/passkey/finish", credential)
    }

    /// Adds a passkey in a session.
    fn add(instance: &Instance, caller: &Caller) -> (VirtualAuthenticator, Response) {
        let mut authenticator = VirtualAuthenticator::at(HERE);
        let made = authenticator.make(&to_add(instance, caller));
        let answer = finish_adding(instance, caller, &made);
        (authenticator, answer)
    }

    fn passkeys(instance: &Instance) -> i64 {
        instance.database.count("passkeys")
    }

    fn is_in(answer: &Response) -> bool {
        answer.status == 303 && answer.header("location") == Some("/alerts")
    }

    #[test]
    fn a_passkey_is_added_and_lets_in_after_the_password() {
        let instance = instance();
        let admin = instance.user("admin");
        let elsewhere = instance.session("admin", &instance.log_in("admin", PASSWORD));
        let (mut phone, answer) = add(&instance, &admin);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.body.contains("Recovery codes") && answer.body.contains("The second factor is on."));
        assert_eq!(instance.send(&elsewhere, "GET", "/account", true, "").status, 303, "it came in without");
        let made = VirtualAuthenticator::at(HERE).make(&to_add_beside(&instance, &admin, &mut phone));
        let second = finish_adding(&instance, &admin, &made);
        assert_eq!(
            (second.status, second.header("location")),
            (303, Some("/account#passkeys")),
            "{second:?}"
        );

        let half = half_in(&instance, "admin");
        assert_eq!(instance.send(&half, "GET", "/account", true, "").status, 303, "not in yet");
        let page = instance.send(&half, "GET", "/login/second", true, "");
        assert!(page.body.contains("Use a passkey") && page.body.contains("a recovery code"), "{page:?}");
        let asked = to_log_in(&instance, &half);
        assert_eq!(asked["publicKey"]["rpId"], "localhost");
        assert_eq!(asked["publicKey"]["allowCredentials"].as_array().unwrap().len(), 2);
        let signed = phone.sign(&asked);
        let answer = finish_login(&instance, &half, &signed);
        assert!(is_in(&answer), "{answer:?}");
        let session = instance.session("admin", &answer);
        let page = instance.send(&session, "GET", "/account", true, "");
        assert!(page.body.contains("password and passkey"), "{page:?}");
        // The same again lets nobody in, from this browser or another.
        assert_eq!(finish_login(&instance, &half, &signed).status, 401);
        assert_eq!(finish_login(&instance, &half_in(&instance, "admin"), &signed).status, 401);
        let log = audit_log(&instance);
        for entry in [
            "user admin | add passkey | user admin | Phone",
            "user admin | log in | user admin | password and passkey",
        ] {
            assert!(log.iter().any(|line| line == entry), "{entry}: {log:#?}");
        }
        assert!(
            log.iter()
                .any(|line| line.contains("refuse passkey") && line.contains("there was no such request"))
        );
    }

    #[test]
    fn a_ceremony_is_of_one_session_and_taken_once() {
        let instance = instance();
        let (admin, editor) = (instance.user("admin"), instance.user("editor"));
        let elsewhere = instance.session("admin", &instance.log_in("admin", PASSWORD));
        let mut key = VirtualAuthenticator::at(HERE);
        let made = key.make(&to_add(&instance, &admin));
        for other in [&elsewhere, &editor] {
            let answer = finish_adding(&instance, other, &made);
            assert!(answer.status == 400 && answer.body.contains("Begin again."), "{answer:?}");
        }
        // Nor by one that they begun themselves: its challenge is another.
        to_add(&instance, &editor);
        let answer = finish_adding(&instance, &editor, &made);
        assert!(answer.status == 400 && answer.body.contains("The passkey is refused"), "{answer:?}");
        assert_eq!(passkeys(&instance), 0);
        assert_eq!(finish_adding(&instance, &admin, &made).status, 200);
        let again = finish_adding(&instance, &admin, &made);
        assert!(again.status == 400 && again.body.contains("Begin again."), "{again:?}");
        assert_eq!(passkeys(&instance), 1);

        // Whoever has it already does not have it twice, and no more does anybody else.
        let (mut phone, _) = add(&instance, &editor);
        let to_editor = to_add_beside(&instance, &editor, &mut phone);
        let to_admin = to_add_beside(&instance, &admin, &mut key);
        for (caller, asked, problem) in
            [(&editor, to_editor, "The passkey is refused"), (&admin, to_admin, "belongs to a user already")]
        {
            let answer = finish_adding(&instance, caller, &phone.make(&asked));
            assert!(answer.status == 400 && answer.body.contains(problem), "{answer:?}");
        }
        assert_eq!(passkeys(&instance), 2);

        // One login's is not another's, nor a session's, nor another user's.
        let (one, other, admins) =
            (half_in(&instance, "editor"), half_in(&instance, "editor"), half_in(&instance, "admin"));
        let asked = to_log_in(&instance, &one);
        to_log_in(&instance, &admins);
        let signed = phone.sign(&asked);
        assert_eq!(finish_login(&instance, &other, &signed).status, 401);
        assert_eq!(finish_login(&instance, &admins, &signed).status, 401);
        let signed = phone.sign(&challenge(&instance, &editor, "/account/passkeys/ask"));
        assert_eq!(finish_login(&instance, &other, &signed).status, 401);
        assert_eq!(finish_login(&instance, &nobody(), &signed).status, 401);
        let signed = phone.sign(&asked);
        assert!(is_in(&finish_login(&instance, &one, &signed)));
    }

    #[test]
    fn a_ceremony_ends_after_five_minutes_and_a_half() {
        let instance = instance();
        let admin = instance.user("admin");
        let made = VirtualAuthenticator::at(HERE).make(&to_add(&instance, &admin));
        instance.database.age(Duration::from_secs(331));
        let answer = finish_adding(&instance, &admin, &made);
        assert!(answer.status == 400 && answer.body.contains("Begin again."), "{answer:?}");
        let (mut phone, _) = add(&instance, &admin);
        let half = half_in(&instance, "admin");
        let signed = phone.sign(&to_log_in(&instance, &half));
        instance.database.age(Duration::from_secs(331));
        let answer = finish_login(&instance, &half, &signed);
        assert!(answer.status == 401 && answer.body.contains("Begin again."), "{answer:?}");
        let answer = instance.submit(&half, "/login/second/passkey/begin", "");
        assert_eq!(answer.status, 409, "{answer:?}");
        assert!(answer.json()["message"].as_str().unwrap().contains("Begin again."));
    }

    #[test]
    fn a_copy_of_a_passkey_is_refused_and_written_down() {
        let instance = instance();
        let admin = instance.user("admin");
        let (mut phone, _) = add(&instance, &admin);
        let log_in = |phone: &mut VirtualAuthenticator| {
            let half = half_in(&instance, "admin");
            let signed = phone.sign(&to_log_in(&instance, &half));
            finish_login(&instance, &half, &signed)
        };
        assert!(is_in(&log_in(&mut phone)) && is_in(&log_in(&mut phone)));
        phone.signed = 0;
        for _ in 0..2 {
            let answer = log_in(&mut phone);
            assert!(answer.status == 401 && answer.body.contains("The passkey is refused"), "{answer:?}");
        }
        // Both begin before either has signed.
        let (one, other) = (half_in(&instance, "admin"), half_in(&instance, "admin"));
        let (for_one, for_other) = (to_log_in(&instance, &one), to_log_in(&instance, &other));
        phone.signed = 10;
        let signed = phone.sign(&for_one);
        phone.signed = 10;
        let copied = phone.sign(&for_other);
        assert!(is_in(&finish_login(&instance, &one, &signed)));
        assert_eq!(finish_login(&instance, &other, &copied).status, 401);
        let log = audit_log(&instance);
        let refused: Vec<_> = log.iter().filter(|line| line.contains("refuse passkey")).collect();
        let copy = "user admin | refuse passkey | user admin | the signature counter of \"Phone\" has not increased, so there may be a \
                    copy of it";
        assert_eq!(refused, [copy; 3]);
        assert!(log.iter().any(|line| line.contains("the right password, and a wrong passkey")), "{log:#?}");
    }

    #[test]
    fn wrong_passkeys_are_counted_as_wrong_codes_are() {
        let instance = instance();
        let admin = instance.user("admin");
        let (mut phone, _) = add(&instance, &admin);
        let mut other = VirtualAuthenticator::at(HERE);
        let wrong = |half: &Caller, other: &mut VirtualAuthenticator| {
            let signed = other.sign(&to_log_in(&instance, half));
            finish_login(&instance, half, &signed)
        };
        let half = half_in(&instance, "admin");
        for attempt in 0..5 {
            let answer = wrong(&half, &mut other);
            assert!(answer.status == 401 && answer.body.contains("is refused"), "{attempt}: {answer:?}");
        }
        // As if there had been more, so that what follows is not in a hurry.
        instance.database.execute("UPDATE login_failures SET failures = 11 WHERE who LIKE 'codes of %'");
        // Of this login there were enough, and of this network for now.
        let answer = instance.submit(&half, "/login/second/passkey/begin", "");
        assert_eq!(answer.status, 409, "{answer:?}");
        let half = half_in(&instance, "admin");
        let signed = phone.sign(&to_log_in(&instance, &half));
        let answer = finish_login(&instance, &half, &signed);
        assert_eq!(answer.status, 429, "the right one must wait, too: {answer:?}");
        assert_eq!(instance.submit(&half, "/login/second", "code=123456").status, 429, "as must codes");
        instance.database.age(Duration::from_secs(120));
        let signed = phone.sign(&to_log_in(&instance, &half));
        let answer = finish_login(&instance, &half, &signed);
        assert!(is_in(&answer), "{answer:?}");
    }

    #[test]
    fn what_changes_passkeys_wants_the_password_and_the_pages_own_form() {
        let instance = instance();
        let (admin, editor) = (instance.user("admin"), instance.user("editor"));
        let begin = |fields: &str| instance.submit(&admin, "/account/passkeys/begin", fields);
        let answer = begin("name=Phone&password=wrong");
        assert_eq!(
            (answer.status, answer.json()["message"].as_str().unwrap()),
            (409, "The password is wrong.")
        );
        assert_eq!(begin(&format!("name=&password={PASSWORD}")).status, 400);
        let answer = instance.submit(&admin, "/account/passkeys/finish", "name=Phone");
        assert!(answer.status == 400 && answer.body.contains("need JavaScript"), "{answer:?}");
        let (mut phone, answer) = add(&instance, &admin);
        assert_eq!(answer.status, 200);
        let id = instance.database.number("SELECT id FROM passkeys").unwrap();
        let (rename, remove) =
            (format!("/account/passkeys/{id}/name"), format!("/account/passkeys/{id}/remove"));
        for path in [
            &*rename,
            &remove,
            "/account/passkeys/begin",
            "/account/passkeys/finish",
            "/account/passkeys/ask",
        ] {
            let answer =
                instance.send(&admin, "POST", path, true, &format!("csrf=wrong&name=x&password={PASSWORD}"));
            assert_eq!(answer.status, 403, "{path}: {answer:?}");
        }
        assert_eq!(instance.submit(&editor, &rename, "name=Mine").status, 404);
        assert_eq!(instance.submit(&editor, &remove, &format!("password={PASSWORD}")).status, 404);
        assert_eq!(instance.submit(&admin, &rename, "name=").status, 400);
        let answer = instance.submit(&admin, &rename, "name=%3Cb%3EOld%3C%2Fb%3E");
        assert_eq!((answer.status, answer.header("location")), (303, Some("/account#passkeys")));
        let page = instance.send(&admin, "GET", "/account", true, "");
        assert!(page.body.contains("&lt;b&gt;Old") || page.body.contains("&#60;b&#62;Old"), "{page:?}");
        assert!(!page.body.contains("<b>Old"));
        assert_eq!(instance.submit(&admin, &remove, "password=wrong").status, 400);
        assert_eq!(passkeys(&instance), 1);
        let alone = instance.submit(&admin, &remove, &format!("password={PASSWORD}"));
        assert!(alone.status == 400 && alone.body.contains("The code is wrong"), "{alone:?}");
        assert_eq!(passkeys(&instance), 1);
        let fields = format!("password={PASSWORD}&credential={}", shown(&instance, &admin, &mut phone));
        assert_eq!(instance.submit(&admin, &remove, &fields).status, 303);
        assert_eq!((passkeys(&instance), instance.database.count("recovery_codes")), (0, 0));
        assert_eq!(
            instance.log_in("admin", PASSWORD).header("location"),
            Some("/alerts"),
            "the password is enough"
        );
    }

    /// Whoever has found an open session, and knows the password.
    #[test]
    fn the_password_alone_puts_no_factor_beside_another() {
        let instance = instance();
        let admin = instance.user("admin");
        let (_, answer) = add(&instance, &admin);
        let codes = answer.body.split("<pre tabindex=\"0\">").nth(1).unwrap().split("</pre>").next().unwrap();
        let codes: Vec<&str> = codes.split_whitespace().collect();
        let another =
            instance.submit(&admin, "/account/passkeys/begin", &format!("name=x&password={PASSWORD}"));
        assert_eq!(another.status, 409, "{another:?}");
        assert!(another.json()["message"].as_str().unwrap().contains("The code is wrong"));
        let app = |fields: &str| instance.submit(&admin, "/account/second-factor", fields);
        let answer = app(&format!("password={PASSWORD}"));
        assert!(answer.status == 400 && answer.body.contains("The code is wrong"), "{answer:?}");
        assert!(
            answer.body.contains("id=\"factor-code\"") && answer.body.contains("passkeys.js"),
            "{answer:?}"
        );
        assert_eq!((instance.database.count("totp_setups"), instance.database.count("ceremonies")), (0, 0));
        assert_eq!(app(&format!("password=wrong&code={}", codes[0])).status, 400);
        assert_eq!(app(&format!("password={PASSWORD}&code={}", codes[0])).status, 303);
        assert_eq!(instance.database.count("totp_setups"), 1);
        let fields = format!("name=x&password={PASSWORD}&code={}", codes[1]);
        assert_eq!(instance.submit(&admin, "/account/passkeys/begin", &fields).status, 200);
    }

    /// It made sure of its user when it was added. Whoever has shown the password may read why it does not help.
    #[test]
    fn whose_passkey_is_refused_reads_why_and_what_else_there_is() {
        let instance = instance();
        let admin = instance.user("admin");
        let (mut phone, _) = add(&instance, &admin);
        let half = half_in(&instance, "admin");
        let asked = to_log_in(&instance, &half);
        assert_eq!(asked["publicKey"]["userVerification"], "required");
        phone.verifies = false;
        let answer = finish_login(&instance, &half, &phone.sign(&asked));
        assert_eq!(answer.status, 401, "{answer:?}");
        for text in ["your finger, face or PIN", "a recovery code instead"] {
            assert!(answer.body.contains(text), "{text}: {answer:?}");
        }
        phone.verifies = true;
        let signed = phone.sign(&to_log_in(&instance, &half));
        assert!(is_in(&finish_login(&instance, &half, &signed)));
    }

    #[test]
    fn a_passkey_stands_in_for_a_code_where_recovery_codes_are_made() {
        let instance = instance();
        let admin = instance.user("admin");
        let (mut phone, _) = add(&instance, &admin);
        let before = instance.database.texts("SELECT hash FROM recovery_codes ORDER BY hash");
        let renew = |credential: &Value, password: &str| {
            let fields = format!("password={password}&credential={}", encoded(&credential.to_string()));
            instance.submit(&admin, "/account/recovery-codes", &fields)
        };
        let signed = phone.sign(&challenge(&instance, &admin, "/account/passkeys/ask"));
        assert_eq!(renew(&signed, "wrong").status, 400);
        let answer = renew(&signed, PASSWORD);
        assert!(answer.status == 200 && answer.body.contains("Recovery codes"), "{answer:?}");
        let after = instance.database.texts("SELECT hash FROM recovery_codes ORDER BY hash");
        assert!(before.len() == after.len() && before != after);
        let answer = renew(&signed, PASSWORD);
        assert!(answer.status == 400 && answer.body.contains("The passkey is refused"), "{answer:?}");
    }

    #[test]
    fn a_passkey_is_the_second_factor_that_everybody_must_have() {
        let instance = instance_at(HERE, "second_factor = \"everybody\"");
        let admin = instance.command(&["invite", "ada", "--role", "admin"]);
        let at = admin.find("/setup/").unwrap();
        let path = admin[at..].split_whitespace().next().unwrap();
        let answer = instance.submit(&nobody(), path, &format!("password={PASSWORD}&again={PASSWORD}"));
        let to = answer.header("location").unwrap_or_default();
        assert!(answer.status == 303 && to.starts_with("/account/second-factor"), "{answer:?}");
        let cookie =
            answer.headers.iter().filter(|(name, _)| name == "set-cookie").find_map(|(_, value)| {
                value.starts_with("innkeeper=").then(|| value.split(';').next().unwrap())
            });
        let headers = vec![("cookie".to_owned(), cookie.unwrap().to_owned())];
        let mut ada = Caller { name: "ada", headers, csrf: String::new() };
        let page = instance.send(&ada, "GET", "/account/second-factor", true, "");
        assert!(page.body.contains("You must have a second factor") && page.body.contains("Or a passkey"));
        ada.csrf =
            page.body.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        assert_eq!(instance.send(&ada, "GET", "/alerts", true, "").status, 303, "everything else waits");
        let refused = instance.submit(&ada, "/account/passkeys/finish", "name=Phone");
        assert!(refused.status == 400 && refused.body.contains("need JavaScript"), "{refused:?}");
        let (mut phone, answer) = add(&instance, &ada);
        assert!(answer.status == 200 && answer.body.contains("Recovery codes"), "{answer:?}");
        assert_eq!(instance.send(&ada, "GET", "/alerts", true, "").status, 200);
        let half = half_in(&instance, "ada");
        let signed = phone.sign(&to_log_in(&instance, &half));
        assert!(is_in(&finish_login(&instance, &half, &signed)));
    }

    #[test]
    fn an_admins_reset_removes_passkeys() {
        let instance = instance();
        let (admin, editor) = (instance.user("admin"), instance.user("editor"));
        add(&instance, &editor);
        let id = instance.database.number("SELECT id FROM users WHERE name = 'editor'").unwrap();
        let page = instance.send(&admin, "GET", "/settings", true, "");
        assert!(page.body.contains("has one"), "{page:?}");
        let answer = instance.submit(&admin, &format!("/settings/users/{id}/second-factor/remove"), "");
        assert_eq!(answer.status, 303, "{answer:?}");
        assert_eq!((passkeys(&instance), instance.database.count("recovery_codes")), (0, 0));
        assert_eq!(
            instance.send(&editor, "GET", "/account", true, "").status,
            303,
            "the sessions have ended"
        );
        assert_eq!(instance.log_in("editor", PASSWORD).header("location"), Some("/alerts"));
    }

    #[test]
    fn an_address_without_passkeys_says_why() {
        let instance = Instance::open("");
        let admin = instance.user("admin");
        for path in ["/account", "/account/second-factor"] {
            let page = instance.send(&admin, "GET", path, true, "");
            assert!(!page.body.contains("data-passkey"), "{path}");
        }
        let page = instance.send(&admin, "GET", "/account", true, "");
        assert!(page.body.contains("Passkeys need an address with https and a name, or http://localhost"));
        let fields = format!("name=Phone&password={PASSWORD}");
        let answer = instance.submit(&admin, "/account/passkeys/begin", &fields);
        assert_eq!(answer.status, 409, "{answer:?}");
        assert!(answer.json()["message"].as_str().unwrap().contains("http://localhost"));
        // Whoever has one from when there were some can use a recovery code.
        instance.database.execute(
            "INSERT INTO passkeys (user_id, credential_id, credential, name, created_at) SELECT id, 'x', '{}', 'Phone', 0 FROM users",
        );
        let half = half_in(&instance, "admin");
        let page = instance.send(&half, "GET", "/login/second", true, "");
        assert!(
            page.body.contains("Your passkey cannot be used here.") && page.body.contains("Recovery code")
        );
        assert_eq!(finish_login(&instance, &half, &Value::Null).status, 409);
    }
}

/// Whoever has a passkey is not let in without it, by a build that knows none.
#[cfg(not(feature = "passkeys"))]
#[test]
fn a_build_without_passkeys_lets_nobody_in_without_theirs() {
    let instance = instance_at(HERE, "");
    let admin = instance.user("admin");
    let page = instance.send(&admin, "GET", "/account", true, "");
    assert!(
        page.body.contains("built without passkeys (cargo build --release --features passkeys;"),
        "{page:?}"
    );
    assert!(!page.body.contains("data-passkey"));
    instance.database.execute(
        "INSERT INTO passkeys (user_id, credential_id, credential, name, created_at) SELECT id, 'x', '{}', 'Phone', 0 FROM users",
    );
    let half = half_in(&instance, "admin");
    let page = instance.send(&half, "GET", "/login/second", true, "");
    assert!(page.body.contains("Your passkey cannot be used here.") && page.body.contains("Recovery code"));
    assert!(page.body.contains("built without passkeys"), "{page:?}");
    for path in ["/login/second/passkey/begin", "/login/second/passkey/finish"] {
        assert_eq!(instance.submit(&half, path, "credential=x").status, 404, "{path}");
    }
    let id = instance.database.number("SELECT id FROM passkeys").unwrap();
    for path in ["begin", "finish", "ask", &format!("{id}/remove"), &format!("{id}/name")] {
        let answer =
            instance.submit(&admin, &format!("/account/passkeys/{path}"), &format!("password={PASSWORD}"));
        assert_eq!(answer.status, 404, "{path}");
    }
    assert_eq!(instance.send(&nobody(), "GET", "/assets/passkeys.js", false, "").status, 404);
    assert!(!audit_log(&instance).iter().any(|line| line.contains("passkey")));
}
