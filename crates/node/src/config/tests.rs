//! Which configurations are accepted and refused, and the wording of the problems.

use super::*;

fn with(text: &str, environment: &[(&str, &str)], overrides: &Overrides) -> Result<Config, ConfigError> {
    let root = innkeeper_settings::parse("f.toml", text)?;
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    read(Role::Standalone, None, root, environment, overrides).map(|(config, _)| config)
}

fn from_env(environment: &[(&str, &str)]) -> Config {
    with(MAIL, environment, &Overrides::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn problems(text: &str) -> String {
    match Config::from_toml(Role::Standalone, text) {
        Ok(_) => panic!("taken: {text}"),
        Err(error) => error.to_string().replace("innkeeper.toml:", "f:"),
    }
}

const MAIL: &str = "[alerter.mail]\nkind = 'smtp'\nhost = 'smtp.example.org'\nfrom = 'inn@example.org'\n";

#[test]
fn each_problem_names_its_line_its_key_and_what_is_allowed() {
    for (text, said) in [
        (
            "\ninstanse = 'x'",
            "f:2: instanse: unknown key; allowed: allow_open, allowed_hosts, auth, data_dir, instance, log, log_format, operator, public_url, subjects",
        ),
        (
            "[ingest]\n\nqueu = 1",
            "f:3: ingest.queu: unknown key; allowed: batch, commit_timeout, listen, queue, rate_per_source, reports_back, trusted_proxies, workers",
        ),
        (
            "[alerter.x]\nkind = 'log'\nurl = 'a'",
            "f:3: alerter.x.url: unknown key; allowed for kind = \"log\": enabled, kind, summary",
        ),
        (
            "[ingets]\nqueue = 1",
            "f:1: ingets: unknown section; allowed: alerter, database, expect, heartbeat, history, ingest, mail_loop, peer, sweeper, web",
        ),
        ("ingest = 3", "f:1: ingest: is a whole number; it is a section, write [ingest]"),
        ("instance = ''", "f:1: instance: is empty"),
        ("instance = \"a\\nb\"", "f:1: instance: has the control character U+000A"),
        ("public_url = 'inn.example.org'", "f:1: public_url: \"inn.example.org\" is not a URL"),
        ("public_url = 'ftp://inn.example.org'", "is no web address; write http://host:port"),
        ("public_url = 'http://inn/?a=b'", "has a query or fragment"),
        ("auth = 'none'", "f:1: auth: \"none\" is not known; write \"open\" or \"tokens\""),
        (
            "allowed_hosts = ['inn.example.org', 'http://inn.example.org']",
            "f:1: allowed_hosts: \"http://inn.example.org\" is no name of a host; write it as in \"inn.example.org\"",
        ),
        (
            "allowed_hosts = 'inn.example.org:8080'",
            "f:1: allowed_hosts: \"inn.example.org:8080\" is no name of a host",
        ),
        ("allow_open = 'maybe'", "f:1: allow_open: \"maybe\" is neither true nor false"),
        ("operator = 'Ops Team'", "f:1: operator: \"Ops Team\" is neither a mail address nor"),
        (
            "operator = ['ops']",
            "f:1: operator: ops is not a configured alerter; there are: log. Add [alerter.ops]",
        ),
        ("operator = 'a@example.org'", "a@example.org is a mail address, but no alerter has kind = \"smtp\""),
        ("operator = [3]", "f:1: operator: has a whole number in its list"),
        (
            "[database]\nurl = 'mysql://root:hunter2@db/x'",
            "f:2: database.url: the scheme mysql:// is not known; write sqlite://",
        ),
        (
            "[database]\nurl_file = '/nowhere/x'",
            "f:2: database.url_file: cannot read the secret from \"/nowhere/x\"",
        ),
        (
            "[database]\nurl = 'sqlite://x'\nurl_file = '/etc/hostname'",
            "f:3: database.url_file: cannot be combined with url; give one of the two",
        ),
        (
            "[database]\npool_size = 0",
            "f:2: database.pool_size: 0 is out of bounds; write a whole number from 1 to 1000",
        ),
        ("[ingest]\nlisten = '8080'", "f:2: ingest.listen: \"8080\" is not an address with a port"),
        (
            "[ingest]\ncommit_timeout = '8 parsecs'",
            "f:2: ingest.commit_timeout: \"8 parsecs\" is not a duration; write a number and a unit",
        ),
        (
            "[ingest]\ncommit_timeout = 8",
            "f:2: ingest.commit_timeout: is a whole number; write a text in quotes",
        ),
        ("[ingest]\ncommit_timeout = '1d'", "\"1d\" is out of bounds; at least 100ms, at most 5m"),
        (
            "[ingest]\ntrusted_proxies = ['proxy']",
            "f:2: ingest.trusted_proxies: \"proxy\" is neither an address nor a network",
        ),
        ("[ingest]\nqueue = 1.5", "f:2: ingest.queue: is a fraction; write a whole number"),
        ("[ingest]\nqueue = -1", "f:2: ingest.queue: -1 is out of bounds"),
        (
            "[history]\nkeep_checkins = 50",
            "f:2: history.keep_checkins: 50 is out of bounds; write a whole number from 51",
        ),
        ("[sweeper]\nlease = '1s'", "f:2: sweeper.lease: \"1s\" is out of bounds; at least 5s"),
        ("[alerter.Ops]\nkind = 'log'", "f:1: alerter.Ops: is not a name; allowed: 1 to 50 of a–z"),
        ("[alerter.ops]", "f:1: alerter.ops: the key kind is missing; allowed: smtp, slack"),
        ("[alerter.ops]\nkind = 'sms'", "f:2: alerter.ops.kind: \"sms\" is not known; allowed: smtp, slack"),
        ("[alerter.log]\nkind = 'webhook'", "f:2: alerter.log.kind: the name log is kept for kind = \"log\""),
        ("[alerter.mail]\nkind = 'smtp'\nhost = 'x'", "f:1: alerter.mail: the key from is missing"),
        (
            "[alerter.mail]\nkind = 'smtp'\nhost = 'x'\nfrom = 'y@x.org'\nusername = 'u'\npassword = 12345",
            "f:6: alerter.mail.password: ",
        ),
        (
            "[alerter.mail]\nkind = 'smtp'\nhost = 'x'\nfrom = 'y@x.org'\ntimeout = '5'",
            "f:5: alerter.mail.timeout: \"5\" has no unit",
        ),
        ("alerter = { ops = 1 }", "f:1: alerter.ops: is a whole number; an alerter is a section"),
    ] {
        let found = problems(text);
        assert!(found.contains(said), "{text}\n  said: {found}");
        assert_eq!(found.lines().count(), 1, "{text}\n  said: {found}");
        assert!(!found.contains("hunter2") && !found.contains("12345"), "{found}");
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let found = problems(
        "a = 1\n[ingest]\nb = 2\nqueue = 'x'\n[alerter.ops]\nkind = 'log'\nc = 3\nd = 4\n[history]\nkeep_days = 0",
    );
    let places: Vec<&str> = found.lines().map(|line| line.split(": ").nth(1).unwrap()).collect();
    assert_eq!(
        places,
        ["a", "ingest.queue", "ingest.b", "history.keep_days", "alerter.ops.c", "alerter.ops.d"]
    );
}

#[test]
fn an_open_listener_beyond_loopback_must_be_wanted() {
    for listen in ["0.0.0.0:8080", "192.0.2.1:8080", "[::]:8080", "[2001:db8::1]:80"] {
        let found = problems(&format!("[ingest]\nlisten = '{listen}'"));
        assert!(
            found.starts_with(&format!("f:2: ingest.listen: {listen} can be reached from other machines")),
            "{found}"
        );
        assert!(found.contains("set allow_open = true (INNKEEPER_ALLOW_OPEN=true)"), "{found}");
        Config::from_toml(Role::Ingest, &format!("auth = 'tokens'\n[ingest]\nlisten = '{listen}'"))
            .unwrap_or_else(|error| panic!("{error}"));
        Config::from_toml(Role::Ingest, &format!("allow_open = true\n[ingest]\nlisten = '{listen}'"))
            .unwrap();
        Config::from_toml(Role::Sweeper, &format!("[ingest]\nlisten = '{listen}'")).unwrap();
        assert!(Config::from_toml(Role::Web, &format!("[web]\nlisten = '{listen}'")).is_err());
        Config::from_toml(Role::Ingest, &format!("[web]\nlisten = '{listen}'")).unwrap();
    }
    for listen in ["127.0.0.1:0", "127.8.0.1:80", "[::1]:8080", "localhost:8080", "[::ffff:127.0.0.1]:80"] {
        Config::from_toml(Role::Standalone, &format!("[ingest]\nlisten = '{listen}'")).unwrap();
    }
}

#[test]
fn the_environment_sets_every_type_over_the_file() {
    let config = from_env(&[
        ("PATH", "/bin"),
        ("INNKEEPER_INSTANCE", "inn 2"),
        ("INNKEEPER_PUBLIC_URL", "https://inn.example.org/monitor/"),
        ("INNKEEPER_ALLOW_OPEN", "yes"),
        ("INNKEEPER_OPERATOR", "a@example.org, b@example.org,log"),
        ("INNKEEPER_DATABASE_URL", "postgres://db/inn"),
        ("INNKEEPER_DATABASE_POOL_SIZE", "3"),
        ("INNKEEPER_INGEST_LISTEN", "0.0.0.0:80"),
        ("INNKEEPER_INGEST_COMMIT_TIMEOUT", "2s"),
        ("INNKEEPER_INGEST_TRUSTED_PROXIES", "10.0.0.5,10.1.0.0/16"),
        ("INNKEEPER_SWEEPER_REMIND_EVERY", "0s"),
        ("INNKEEPER_HISTORY_KEEP_DAYS", ""),
        ("INNKEEPER_ALERTER_MAIL_PORT", "2525"),
        ("INNKEEPER_ALERTER_MAIL_SUMMARY", "true"),
        ("INNKEEPER_ALERTER_MAIL_USERNAME", "inn"),
        ("INNKEEPER_ALERTER_MAIL_PASSWORD", "12345"),
    ]);
    assert_eq!(config.instance, "inn 2");
    assert_eq!(config.public_url, "https://inn.example.org/monitor");
    assert!(config.allow_open);
    assert_eq!(
        config.operator.iter().map(Recipient::as_str).collect::<Vec<_>>(),
        ["a@example.org", "b@example.org", "log"]
    );
    assert_eq!((config.database.url(), config.database.pool_size), ("postgres://db/inn", 3));
    assert_eq!(config.database.kind, DatabasePlace::Postgres);
    assert_eq!(config.ingest.listen.to_string(), "0.0.0.0:80");
    assert_eq!(config.ingest.commit_timeout.as_secs(), 2);
    assert_eq!(
        config.ingest.trusted_proxies,
        crate::TrustedProxies::new(vec!["10.0.0.5/32".parse().unwrap(), "10.1.0.0/16".parse().unwrap()])
    );
    assert_eq!(config.sweeper.remind_every, innkeeper_core::reminders::Reminders::Never);
    assert_eq!(config.history.keep_days, 30, "an empty variable is none");
    assert!(config.knows_alerter("mail") && config.knows_alerter("log") && !config.knows_alerter("ops"));
    let mail = &config.alerters[&AlerterName::parse("x", "mail").unwrap()];
    assert!(mail.summary);
    assert!(format!("{mail:?}").contains("2525"), "{mail:?}");
    assert!(!format!("{config:?}").contains("12345"));
}

#[test]
fn what_the_agent_is_told_and_tells_a_job_is_passed_over() {
    let variables = innkeeper_settings::AGENTS_VARIABLES.map(|name| format!("INNKEEPER_{name}"));
    let mut environment: Vec<(&str, &str)> = variables.iter().map(|name| (name.as_str(), "x")).collect();
    environment.push(("INNKEEPER_RUN", "6f9619ff-8b86-4011-b42d-00c04fc964ff"));
    with(MAIL, &environment, &Overrides::default()).unwrap();
}

#[test]
fn a_variable_that_fits_nothing_is_an_error_that_names_it() {
    for (name, said) in [
        (
            "INNKEEPER_INGEST_LISTN",
            "the environment variable INNKEEPER_INGEST_LISTN: ingest.listn: unknown key; allowed: batch",
        ),
        ("INNKEEPER_PORT", "the environment variable INNKEEPER_PORT: port: unknown key; allowed: allow_open"),
        (
            "INNKEEPER_ALERTER_OPS_URL",
            "INNKEEPER_ALERTER_OPS_URL: belongs to no alerter; there are: log, mail",
        ),
        ("INNKEEPER_ALERTER_MAIL_COLOUR", "INNKEEPER_ALERTER_MAIL_COLOUR: alerter.mail.colour: unknown key"),
        ("INNKEEPER_INGEST_QUEUE", "INNKEEPER_INGEST_QUEUE: ingest.queue: \"hunter\" is not a number"),
    ] {
        let error = with(MAIL, &[(name, "hunter")], &Overrides::default()).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn a_variable_finds_the_alerter_with_the_longest_fitting_name() {
    let hooks = "[alerter.ops]\nkind = 'webhook'\n[alerter.ops-eu]\nkind = 'webhook'\n";
    let config = with(
        hooks,
        &[("INNKEEPER_ALERTER_OPS_URL", "http://a/"), ("INNKEEPER_ALERTER_OPS_EU_URL", "http://b/")],
        &Overrides::default(),
    )
    .unwrap();
    for (name, alerter) in &config.alerters {
        alerter.build(name, std::sync::Arc::new(innkeeper_core::SystemClock)).map(drop).unwrap();
    }
    let twins = "[alerter.a-b]\nkind = 'log'\n[alerter.a_b]\nkind = 'log'\n";
    let error = with(twins, &[("INNKEEPER_ALERTER_A_B_SUMMARY", "true")], &Overrides::default()).unwrap_err();
    assert!(error.to_string().contains("fits two alerters"), "{error}");
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let flags = Overrides {
        listen: Some("127.0.0.1:3".to_owned()),
        database_url: Some("sqlite://flag.db".to_owned()),
        data_dir: Some(directory.path().join("new").display().to_string()),
        ..Overrides::default()
    };
    let file = "[ingest]\nlisten = '127.0.0.1:1'\n[database]\nurl_file = '/nowhere'\n";
    let environment =
        [("INNKEEPER_INGEST_LISTEN", "127.0.0.1:2"), ("INNKEEPER_DATABASE_URL", "postgres://db/x")];
    let config = with(file, &environment, &flags).unwrap();
    assert_eq!(config.ingest.listen.port(), 3);
    let path = directory.path().join("new/flag.db");
    assert_eq!(config.database.url(), format!("sqlite://{}", path.display()));
    assert_eq!(config.database.kind, DatabasePlace::Sqlite { path });

    let config = with(file, &environment, &Overrides::default()).unwrap();
    assert_eq!((config.ingest.listen.port(), config.database.url()), (2, "postgres://db/x"));

    let both =
        [("INNKEEPER_DATABASE_URL", "postgres://db/x"), ("INNKEEPER_DATABASE_URL_FILE", "/etc/hostname")];
    let error = with("", &both, &Overrides::default()).unwrap_err();
    assert!(error.to_string().contains("cannot be combined with url"), "{error}");
    let bad = Overrides { listen: Some("x".to_owned()), ..Overrides::default() };
    assert!(with("", &[], &bad).unwrap_err().to_string().starts_with("--listen: ingest.listen: "));
}

#[test]
fn secrets_come_from_files_without_their_line_break() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("url");
    let text = format!("[database]\nurl_file = '{}'\n", path.display());
    std::fs::write(&path, "postgres://inn:hunter2@db/inn\n").unwrap();
    let config = with(&text, &[], &Overrides::default()).unwrap();
    assert_eq!(config.database.url(), "postgres://inn:hunter2@db/inn");
    assert_eq!(config.database.masked_url(), "postgres://inn:…@db/inn");
    assert!(!format!("{config:?} {}", config.summary()).contains("hunter2"));
    for (content, said) in
        [("", "is empty"), ("\n \n", "is empty"), (&*"x".repeat(70_000), "larger than 64 KiB")]
    {
        std::fs::write(&path, content).unwrap();
        let error = with(&text, &[], &Overrides::default()).unwrap_err().to_string();
        assert!(error.starts_with("f.toml:2: database.url_file: ") && error.contains(said), "{error}");
    }
}

#[test]
fn the_data_directory_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("a/b");
    let config = with(&format!("data_dir = '{}'", data.display()), &[], &Overrides::default()).unwrap();
    config.create_data_dir().unwrap();
    config.create_data_dir().unwrap();
    assert_eq!(std::fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
    std::fs::write(directory.path().join("file"), "").unwrap();
    let config =
        with(&format!("data_dir = '{}/file/x'", directory.path().display()), &[], &Overrides::default())
            .unwrap();
    assert!(config.create_data_dir().unwrap_err().to_string().starts_with("f.toml:1: data_dir: cannot make"));
}

#[test]
fn sign_on_believes_a_header_of_its_own_and_a_network_of_ones_own() {
    for header in [
        "Host",
        "Cookie",
        "Authorization",
        "X-Forwarded-For",
        "x-forwarded-host",
        "X-Forwarded-Proto",
        "Content-Type",
        "Content-Length",
        "Accept",
        "Accept-Language",
        "User-Agent",
        "Origin",
        "Referer",
        "X-Real-IP",
        "Forwarded",
        "Via",
        "Sec-Fetch-Site",
        "If-None-Match",
        "Transfer-Encoding",
        "Connection",
        "Proxy-Authorization",
        "X-CSRF-Token",
        "Set-Cookie",
        "X-Forwarded-Groups",
        "From",
        "X-Request-Id",
        "Alt-Used",
        "Ping-From",
        "Service-Worker",
        "DPR",
        "Downlink",
        "Http2-Settings",
        "Destination",
        "X-Amzn-Trace-Id",
        "X-B3-TraceId",
        "Baggage",
        "X-Api-Key",
        "X-Original-URL",
    ] {
        let found = problems(&format!("[web]\nsign_on_header = '{header}'"));
        assert!(
            found.starts_with(&format!("f:2: web.sign_on_header: {header} means something else")),
            "{found}"
        );
    }
    for header in [
        "X-Forwarded-User",
        "x-forwarded-email",
        "Remote-User",
        "X-Auth-Request-User",
        "X-WebAuth-User",
        "X-Amzn-Oidc-Identity",
        "Cf-Access-Authenticated-User-Email",
        "Tailscale-User-Login",
        "X-Authentik-Username",
        "X-Goog-Authenticated-User-Email",
        "X-MS-CLIENT-PRINCIPAL-NAME",
        "SSL-Client-S-DN-CN",
        "",
    ] {
        Config::from_toml(Role::Standalone, &format!("[web]\nsign_on_header = '{header}'")).unwrap();
    }
    let each_key = [("web", "sign_on_proxies"), ("ingest", "trusted_proxies")];
    for networks in [
        "'0.0.0.0/0'",
        "'::/0'",
        "'10.0.0.5', '0.0.0.0/0'",
        "'0.0.0.0/1', '128.0.0.0/1'",
        "'128.0.0.0/2'",
        "'2000::/3'",
        "'::ffff:0.0.0.0/96'",
        "'127.0.0.1/0'",
        "'::/64'",
        "'::/96'",
        "'::ffff:0:0:0/96'",
        "'64:ff9b::/96'",
        "'64:ff9b:1::/48'",
        "'64:ff9b:1:abcd::/96'",
        "'64:ff9b::/97', '64:ff9b::8000:0/97'",
        "'2002::/16'",
        "'2002::/17', '2002:8000::/17'",
        "'2001::/32'",
        "'2001:0:4136:e378::/64'",
        "'2000::/8'",
    ] {
        for (section, key) in each_key {
            let found = problems(&format!("[{section}]\n{key} = [{networks}]"));
            assert!(
                found.starts_with(&format!("f:2: {section}.{key}: believes all of")),
                "{networks}: {found}"
            );
        }
    }
    for networks in [
        "'10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16'",
        "'fc00::/7', '127.0.0.1'",
        "'::1', '2001:db8::/32', '2002:a00::/24', '64:ff9b::10.0.0.0/104'",
        "'10.0.0.5'",
        "",
    ] {
        for (section, key) in each_key {
            Config::from_toml(Role::Standalone, &format!("[{section}]\n{key} = [{networks}]")).unwrap();
        }
    }
}

#[test]
fn the_mail_loop_looks_nowhere_where_only_the_machine_itself_should() {
    let of = |host: &str| {
        let text = format!(
            "{MAIL}[mail_loop]\nhost = '{host}'\nusername = 'a'\npassword = 'b'\nto = 'a@example.org'\n"
        );
        crate::alerters::check(&Config::from_toml(Role::Standalone, &text).unwrap())
    };
    for host in ["169.254.169.254", "[fe80::1]", "metadata.google.internal", "0xa9fea9fe"] {
        let found = of(host).unwrap_err().to_string();
        assert!(found.contains("mail_loop.host: ") && found.contains("link-local"), "{host}: {found}");
    }
    of("imap.example.org").unwrap();
}

#[test]
fn the_mail_loop_sends_its_password_nowhere_in_the_clear() {
    let with_host = |host: &str, tls: &str| {
        format!(
            "{MAIL}[mail_loop]\nhost = '{host}'\ntls = '{tls}'\nusername = 'a'\npassword = 'hunter2'\nto = 'a@example.org'\n"
        )
    };
    for host in ["imap.example.org", "10.0.0.1", "::ffff:10.0.0.1"] {
        let found = problems(&with_host(host, "none"));
        assert!(
            found.starts_with("f:7: mail_loop.tls: is \"none\", which would send the password"),
            "{found}"
        );
        Config::from_toml(Role::Standalone, &with_host(host, "implicit")).unwrap();
    }
    for host in ["localhost", "127.0.0.1", "::1"] {
        Config::from_toml(Role::Standalone, &with_host(host, "none")).unwrap();
    }
}

/// A configuration with every section and key: the annotated one, taken from its comments.
fn whole() -> String {
    include_str!("../../../../deploy/innkeeper.toml")
        .lines()
        .map(|line| {
            line.strip_prefix('#').filter(|rest| !rest.is_empty() && !rest.starts_with(' ')).unwrap_or(line)
        })
        .filter(|line| {
            line.split_once(" = ").is_none_or(|(key, _)| key == "ca_file" || !key.ends_with("_file"))
        })
        .map(|line| match line {
            // Without a provider the login has no other keys.
            "issuer = \"\"" => "issuer = \"https://id.example.org\"\n".to_owned(),
            "client_id = \"\"" => "client_id = \"inn\"\n".to_owned(),
            "role = \"\"" => "role = \"viewer\"\n".to_owned(),
            "auth = \"open\"" => "auth = \"tokens\"\n".to_owned(),
            line => format!("{line}\n"),
        })
        .collect()
}

/// All values of a configuration, without their places.
fn said(config: &Config) -> String {
    let config = Config { file: None, places: Places::default(), marks: Marks::default(), ..config.clone() };
    format!("{config:?}")
}

#[test]
fn every_boolean_key_takes_the_same_words_wherever_it_is_set() {
    let root = || innkeeper_settings::parse("f.toml", &whole()).unwrap();
    let load = |root: Table, environment: &[(String, String)]| {
        // The sweeper has no use for the login, but reads its keys in any build.
        read(Role::Sweeper, None, root, environment.iter().cloned(), &Overrides::default())
    };
    let (_, findings) = load(root(), &[]).unwrap();
    let flags: std::collections::BTreeSet<String> = findings.flags.into_iter().collect();
    for known in ["allow_open", "web.openid.trust_names", "alerter.mail.summary", "alerter.ops.enabled"] {
        assert!(flags.contains(known), "{known}: {flags:?}");
    }
    for key in flags {
        // The log cannot be parked.
        let values: &[bool] = if key == "alerter.log.enabled" { &[true] } else { &[true, false] };
        let set = |value: innkeeper_settings::Value| {
            let mut root = root();
            let mut table = &mut root;
            let (sections, last) = key.rsplit_once('.').unwrap_or(("", &key));
            for section in sections.split('.').filter(|section| !section.is_empty()) {
                let innkeeper_settings::Value::Table(inner) = &mut table.get_mut(section).unwrap().value
                else {
                    panic!("{section}")
                };
                table = inner;
            }
            let origin = Origin::Default;
            table.insert(last.to_owned(), innkeeper_settings::Setting { value, origin });
            root
        };
        let mut both = Vec::new();
        for value in values {
            let (config, _) = load(set(innkeeper_settings::Value::Bool(*value)), &[]).unwrap();
            let expected = said(&config);
            let words = innkeeper_settings::FLAG_WORDS.iter().filter(|(_, flag)| flag == value);
            for word in words.flat_map(|(word, _)| [(*word).to_owned(), word.to_uppercase()]) {
                let (config, _) = load(set(innkeeper_settings::Value::Text(word.clone())), &[]).unwrap();
                assert_eq!(said(&config), expected, "{key} = {word:?}");
                let variable = format!("INNKEEPER_{}", key.to_uppercase().replace('.', "_"));
                let (config, _) = load(root(), &[(variable.clone(), word.clone())])
                    .unwrap_or_else(|error| panic!("{variable}={word}: {error}"));
                assert_eq!(said(&config), expected, "{variable}={word}");
            }
            both.push(expected);
        }
        assert!(both.len() == 1 || both[0] != both[1], "{key} says nothing");
        for wrong in ["maybe", "2", "ja", "t"] {
            let error =
                load(set(innkeeper_settings::Value::Text(wrong.to_owned())), &[]).unwrap_err().to_string();
            let what = format!(
                "{key}: {wrong:?} is neither true nor false; allowed: true, yes, on, 1, false, no, off, 0"
            );
            assert!(error.contains(&what), "{error}");
        }
    }
}

#[test]
fn an_alerter_and_a_peer_can_be_made_by_the_environment_alone() {
    let environment = [
        ("INNKEEPER_OPERATOR", "ops@example.org,on_call"),
        ("INNKEEPER_ALERTER_MAIL_KIND", "smtp"),
        ("INNKEEPER_ALERTER_MAIL_HOST", "mx.example.org"),
        ("INNKEEPER_ALERTER_MAIL_FROM", "inn@example.org"),
        ("INNKEEPER_ALERTER_ON_CALL_KIND", "webhook"),
        ("INNKEEPER_ALERTER_ON_CALL_URL", "https://example.org/hunter2"),
        ("INNKEEPER_ALERTER_LOG_SUMMARY", "yes"),
        ("INNKEEPER_PEER_NORTH_URL", "https://north.example.org/hunter2"),
        ("INNKEEPER_PEER_NORTH_ADMIN", "on_call"),
    ];
    let config = with("", &environment, &Overrides::default()).unwrap_or_else(|error| panic!("{error}"));
    let kinds: Vec<_> =
        config.alerters.iter().map(|(name, alerter)| (name.as_str(), alerter.kind().as_str())).collect();
    assert_eq!(kinds, [("log", "log"), ("mail", "smtp"), ("on_call", "webhook")]);
    assert_eq!(config.peers.len(), 1);
    let shown = config.summary().to_string();
    assert!(
        shown.contains("alerter.mail.host = … (the environment variable INNKEEPER_ALERTER_MAIL_HOST)"),
        "{shown}"
    );
    assert!(!shown.contains("hunter2"), "{shown}");
    for (more, said) in [
        (
            ("INNKEEPER_ALERTER_MAIL_PROT", "25"),
            "INNKEEPER_ALERTER_MAIL_PROT: alerter.mail.prot: unknown key; allowed for kind = \"smtp\"",
        ),
        (
            ("INNKEEPER_ALERTER_MAIL_PORT", "0"),
            "INNKEEPER_ALERTER_MAIL_PORT: alerter.mail.port: 0 is out of bounds",
        ),
        (
            ("INNKEEPER_ALERTER_FAX_KIND", "fax"),
            "INNKEEPER_ALERTER_FAX_KIND: alerter.fax.kind: \"fax\" is not known; allowed: smtp",
        ),
        (("INNKEEPER_ALERTER_BAD!_KIND", "log"), "INNKEEPER_ALERTER_BAD!_KIND: alerter.bad!: is not a name"),
        (
            ("INNKEEPER_ALERTER_CHAT_KIND", "slack"),
            "INNKEEPER_ALERTER_CHAT_KIND: alerter.chat.url: is missing; give url or url_file",
        ),
        (
            ("INNKEEPER_ALERTER_MAIL_PASSWORD_FILE", "/x"),
            "INNKEEPER_ALERTER_MAIL_PASSWORD_FILE: alerter.mail.username: is missing beside password",
        ),
    ] {
        let environment = [&environment[..], &[more]].concat();
        let error = with("", &environment, &Overrides::default()).unwrap_err().to_string();
        assert!(error.contains(said) && error.lines().count() == 1, "{error}");
    }
}

#[test]
fn an_alerter_that_is_parked_keeps_its_name_and_is_checked_as_ever() {
    let parked = format!("{MAIL}enabled = false\n[alerter.ops]\nkind = 'log'\nenabled = 'no'\n");
    let config =
        with(&format!("operator = ['a@example.org', 'ops']\n{parked}"), &[], &Overrides::default()).unwrap();
    assert!(config.knows_alerter("ops") && config.can_mail());
    assert_eq!(config.ways_out().parked().collect::<Vec<_>>(), ["mail", "ops"]);
    assert!(config.summary().to_string().contains("smtp, parked (enabled = false)"));
    let unreached = crate::heartbeat::Operator::unreached(&config).join("\n");
    assert!(
        unreached.contains("operator: mail is parked") && unreached.contains("operator: ops is parked"),
        "{unreached}"
    );
    assert!(problems(&format!("{parked}colour = 1")).contains("alerter.ops.colour: unknown key"));
}
