//! The section `[web.openid]`: login at an OpenID provider.

use std::path::PathBuf;

use innkeeper_alerter::is_loopback;
use innkeeper_core::access::UserRole;
use innkeeper_core::claims::{ClaimPath, ClaimRules};
use innkeeper_core::names::one_line;
use innkeeper_core::secret::Secret;
use innkeeper_settings::{Findings, Origin, Section, Setting, Table, Value};
use url::Url;

/// The most scopes, and the most claim values of one role.
const MOST_SCOPES: usize = 50;
const MOST_VALUES: usize = 100;
/// The default scopes.
const SCOPES: [&str; 3] = ["openid", "profile", "email"];
const NAME_CLAIM: &str = "preferred_username";

/// `[web.openid]`.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenIdConfig {
    /// The provider's issuer identifier.
    pub issuer: String,
    /// The client id of this instance at the provider.
    pub client_id: String,
    /// The client secret; `None` for a public client.
    pub client_secret: Option<Secret>,
    /// The requested scopes, which include `openid`.
    pub scopes: Vec<String>,
    /// The rules that derive a name and a role from claims.
    pub rules: ClaimRules,
    /// Whether a person with the name of an existing user is taken for that user.
    pub trust_names: bool,
    /// The label of the login button.
    pub label: String,
    /// Root certificates to trust in addition to the system's.
    pub ca_file: Option<PathBuf>,
}

impl OpenIdConfig {
    /// Reads the section from `web`; `None` without an issuer.
    pub(crate) fn read(web: &mut Table, findings: &mut Findings) -> Option<Self> {
        let mut table = take(web, "openid", "web.openid", findings);
        let begins = table.values().next().map(|setting| setting.origin.clone());
        let roles_origin = table.get("roles").map(|setting| setting.origin.clone());
        let roles = take(&mut table, "roles", "web.openid.roles", findings);

        let mut section = Section::new("web.openid", table, findings);
        let issuer_origin = section.origin("issuer");
        let issuer = section.parsed("issuer", None, |text| issuer(text).map(Some));
        let client_id = section.parsed("client_id", String::new(), |text| {
            one_line("client_id", text, 500)
                .map(|()| text.trim().to_owned())
                .map_err(|invalid| invalid.problem)
        });
        let client_secret = section.secret("client_secret", "client_secret_file").map(|(secret, _)| secret);
        let mut scopes = section.list("scopes", MOST_SCOPES, scope);
        let name = section.parsed("name_claim", ClaimPath::parse("name_claim", NAME_CLAIM).ok(), |text| {
            ClaimPath::parse("name_claim", text).map(Some).map_err(|invalid| invalid.problem)
        });
        let roles_claim_origin = section.origin("roles_claim");
        let roles_claim = section.parsed("roles_claim", None, |text| match text {
            "" => Ok(None),
            text => ClaimPath::parse("roles_claim", text).map(Some).map_err(|invalid| invalid.problem),
        });
        let otherwise = section.parsed("role", None, |text| match text {
            "" => Ok(None),
            text => UserRole::parse("role", text).map(Some).map_err(|invalid| invalid.problem),
        });
        let trust_names = section.flag("trust_names", false);
        let label = section.parsed("label", String::new(), |text| {
            one_line("label", text, 100).map(|()| text.trim().to_owned()).map_err(|invalid| invalid.problem)
        });
        let ca_file = section.parsed("ca_file", None, |path| {
            Ok::<_, String>(Some(PathBuf::from(path)).filter(|path| !path.as_os_str().is_empty()))
        });
        if begins.is_some() && issuer.is_none() && issuer_origin == Origin::Default {
            section.refuse(
                "issuer",
                begins.clone().unwrap_or(Origin::Default),
                "is missing; write the address of the provider, or \"\" for none",
            );
        }
        let is_on = issuer.as_ref().is_some_and(|issuer| !issuer.is_empty());
        if is_on && client_id.is_empty() {
            section.refuse(
                "client_id",
                issuer_origin.clone(),
                "is missing; the provider gives it to each application that is made there",
            );
        }
        section.finish();

        let mut section = Section::new("web.openid.roles", roles, findings);
        let [admin, editor, viewer] =
            ["admin", "editor", "viewer"].map(|role| section.list(role, MOST_VALUES, value));
        section.finish();

        let issuer = issuer.filter(|_| is_on)?;
        let has_values = [&admin, &editor, &viewer].iter().any(|values| !values.is_empty());
        let problem = match (&roles_claim, has_values, otherwise) {
            (Some(_), false, _) => Some((
                roles_claim_origin,
                "web.openid.roles_claim",
                "needs roles; write which of its values make an admin, an editor, a viewer: roles = { admin = [\"ops\"] }",
            )),
            (None, true, _) => Some((
                roles_origin.unwrap_or(Origin::Default),
                "web.openid.roles",
                "needs roles_claim; write in which claim these values are",
            )),
            (None, false, None) => Some((
                issuer_origin,
                "web.openid",
                "lets nobody in; write roles_claim and roles, or write role for everybody whom the provider knows",
            )),
            _ => None,
        };
        if let Some((origin, key, what)) = problem {
            findings.problem(origin, key, what);
        }
        if scopes.is_empty() {
            scopes = SCOPES.map(str::to_owned).to_vec();
        }
        if !scopes.iter().any(|scope| scope == "openid") {
            scopes.insert(0, "openid".to_owned());
        }
        let label = match label.as_str() {
            "" => format!("Log in with {}", Url::parse(&issuer).ok()?.host_str().unwrap_or_default()),
            _ => label,
        };
        let rules = ClaimRules { name: name?, roles: roles_claim, admin, editor, viewer, otherwise };
        Some(Self { issuer, client_id, client_secret, scopes, rules, trust_names, label, ca_file })
    }
}

/// Removes the section `name` from its parent; an absent section is empty.
fn take(table: &mut Table, name: &str, path: &'static str, findings: &mut Findings) -> Table {
    match table.remove(name) {
        None => Table::new(),
        Some(Setting { value: Value::Table(table), .. }) => table,
        Some(Setting { value, origin }) => {
            findings.problem(origin, path, format!("is {}; it is a section, write [{path}]", value.kind()));
            Table::new()
        }
    }
}

/// Checks the issuer and returns it exactly as written, because the provider must use the same text; empty for none.
fn issuer(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(String::new());
    }
    let allowed = "write it as the provider does, https://id.example.org/realm";
    let url = Url::parse(text).map_err(|error| format!("{text:?} is not an address ({error}); {allowed}"))?;
    let is_here = url.scheme() == "http"
        && url.host_str().is_some_and(|host| is_loopback(host.trim_matches(['[', ']'])));
    if url.scheme() != "https" && !is_here {
        return Err(format!(
            "{text:?} does not begin with https://, and leads to another machine; {allowed}"
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("has a user or password in it; {allowed}"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("{text:?} has a query or fragment; {allowed}"));
    }
    if text.ends_with("/.well-known/openid-configuration") {
        return Err(
            "is the address of its description; leave out /.well-known/openid-configuration".to_owned()
        );
    }
    Ok(text.to_owned())
}

/// Checks a scope token of RFC 6749.
fn scope(text: &str) -> Result<String, String> {
    let is_word =
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'));
    match is_word && text.len() <= 200 {
        true => Ok(text.to_owned()),
        false => Err(format!("{text:?} is no scope; write single words, as in [\"openid\", \"profile\"]")),
    }
}

fn value(text: &str) -> Result<String, String> {
    match text.is_empty() || text.len() > 500 {
        true => Err("has a value that is empty, or longer than 500 bytes".to_owned()),
        false => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use crate::Role;
    use crate::config::checks;
    use crate::config::{Config, ConfigError, Overrides};
    use innkeeper_settings::Findings;

    const TOP: &str = "auth = 'tokens'\npublic_url = 'https://inn.example.org'\n";
    const WHOLE: &str = "[web.openid]\nissuer = 'https://id.example.org/realm'\nclient_id = 'inn'\n";

    /// Loads the text as a role without pages does, which accepts the section in any build.
    fn load(text: &str) -> Result<Config, ConfigError> {
        Config::from_toml(Role::Ingest, text)
    }

    fn problems(text: &str) -> String {
        match load(text) {
            Ok(_) => panic!("taken: {text}"),
            Err(error) => error.to_string().replace("innkeeper.toml:", "f:"),
        }
    }

    #[test]
    fn a_provider_is_read_with_its_defaults() {
        let text = format!(
            "{TOP}{WHOLE}roles_claim = 'groups'\nroles = {{ admin = ['ops', 'a,b'], viewer = 'staff' }}\n"
        );
        let config = load(&text).unwrap_or_else(|error| panic!("{error}"));
        let openid = config.web.openid.clone().unwrap();
        assert_eq!(openid.issuer, "https://id.example.org/realm");
        assert_eq!(openid.scopes, ["openid", "profile", "email"]);
        assert_eq!(openid.label, "Log in with id.example.org");
        assert_eq!(openid.rules.name.as_str(), "preferred_username");
        assert_eq!((openid.rules.admin.len(), &openid.rules.viewer[0]), (2, &"staff".to_owned()));
        assert!(openid.client_secret.is_none() && !openid.trust_names && openid.ca_file.is_none());
        let role_alone =
            load(&format!("{TOP}{WHOLE}role = 'viewer'\nscopes = ['groups']\nclient_secret = 'hunter2'\n"));
        let role_alone = role_alone.unwrap();
        assert_eq!(role_alone.web.openid.clone().unwrap().scopes, ["openid", "groups"]);
        assert!(!format!("{role_alone:?}{}", role_alone.summary()).contains("hunter2"));
        let off = load("[web.openid]\nissuer = ''\nclient_id = 'inn'\n").unwrap();
        assert!(off.web.openid.is_none() && load("[web.openid]\n").unwrap().web.openid.is_none());
    }

    #[test]
    fn everything_wrong_with_a_provider_has_its_line() {
        for (more, said) in [
            ("", "f:4: web.openid: lets nobody in; write roles_claim and roles, or write role"),
            ("roles_claim = 'groups'", "f:6: web.openid.roles_claim: needs roles"),
            ("roles_claim = 'groups'\nrole = 'viewer'", "f:6: web.openid.roles_claim: needs roles"),
            ("[web.openid.roles]\nadmin = ['ops']", "f:6: web.openid.roles: needs roles_claim"),
            ("role = 'root'", "f:6: web.openid.role: \"root\"; allowed: viewer, editor, admin"),
            ("role = 'viewer'\nscopes = ['a b']", "f:7: web.openid.scopes: \"a b\" is no scope"),
            ("role = 'viewer'\nname_claim = ''", "f:7: web.openid.name_claim: is no claim"),
            ("role = 'viewer'\nlabel = \"a\\nb\"", "f:7: web.openid.label: has the control character"),
            (
                "role = 'viewer'\nclient_secret_file = '/nowhere'",
                "f:7: web.openid.client_secret_file: cannot read",
            ),
            (
                "role = 'viewer'\nclient_secret = 'a'\nclient_secret_file = '/nowhere'",
                "web.openid.client_secret_file",
            ),
            (
                "role = 'viewer'\ntrust = true",
                "f:7: web.openid.trust: unknown key; allowed: ca_file, client_id,",
            ),
            (
                "roles = { owner = ['x'] }\nroles_claim = 'g'",
                "web.openid.roles.owner: unknown key; allowed: admin, editor, viewer",
            ),
            (
                "roles_claim = 'g'\nroles = { admin = [''] }",
                "f:7: web.openid.roles.admin: has a value that is empty",
            ),
            (
                "roles = 'ops'\nroles_claim = 'g'",
                "f:6: web.openid.roles: is a text; it is a section, write [web.openid.roles]",
            ),
        ] {
            let found = problems(&format!("{TOP}{WHOLE}{more}"));
            assert!(found.contains(said), "{more}: {found}");
        }
        let without = problems(&format!("{TOP}[web.openid]\nclient_id = 'inn'\nrole = 'viewer'"));
        assert!(without.contains("f:4: web.openid.issuer: is missing"), "{without}");
        let without = problems(&format!("{TOP}[web.openid]\nissuer = 'https://id'\nrole = 'viewer'"));
        assert!(without.contains("f:4: web.openid.client_id: is missing"), "{without}");
        assert!(problems("[web]\nopenid = true").contains("f:2: web.openid: is"), "no section");
    }

    #[test]
    fn an_issuer_is_reached_over_tls_or_on_this_machine() {
        let with = |issuer: &str| {
            load(&format!("{TOP}[web.openid]\nissuer = '{issuer}'\nclient_id = 'inn'\nrole = 'viewer'"))
        };
        for issuer in
            ["https://id.example.org/", "http://127.0.0.1:8080/realm", "http://localhost", "http://[::1]:1"]
        {
            assert_eq!(with(issuer).unwrap().web.openid.unwrap().issuer, issuer);
        }
        for (issuer, said) in [
            ("http://id.example.org", "does not begin with https://"),
            ("http://10.0.0.5", "does not begin with https://"),
            ("ftp://127.0.0.1", "does not begin with https://"),
            ("id.example.org", "is not an address"),
            ("https://a:b@id.example.org", "has a user or password"),
            ("https://id.example.org?a=b", "has a query or fragment"),
            ("https://id.example.org/.well-known/openid-configuration", "leave out /.well-known"),
        ] {
            let found = with(issuer).unwrap_err().to_string();
            assert!(found.contains(said) && found.contains(":4: web.openid.issuer"), "{issuer}: {found}");
        }
        for issuer in ["https://169.254.169.254", "https://metadata.google.internal/x"] {
            let found = crate::alerters::check(&with(issuer).unwrap()).unwrap_err().to_string();
            assert!(
                found.contains(":4: web.openid.issuer: is a link-local or cloud metadata address"),
                "{found}"
            );
        }
        let text = format!("{TOP}{WHOLE}role = 'viewer'\nca_file = '/nowhere'");
        let found = crate::alerters::check(&load(&text).unwrap()).unwrap_err().to_string();
        assert!(found.contains(":7: web.openid.ca_file"), "{found}");
    }

    #[test]
    fn what_does_not_go_with_it_is_said() {
        for (text, said) in [
            ("public_url = 'https://inn'\n", "set auth = \"tokens\""),
            ("auth = 'tokens'\n", "needs public_url"),
            (
                "auth = 'tokens'\npublic_url = 'https://inn'\nweb.sign_on_header = 'Remote-User'\n",
                "choose one of the two",
            ),
        ] {
            let found = problems(&format!("{text}{WHOLE}role = 'viewer'"));
            assert!(found.contains("web.openid: ") && found.contains(said), "{found}");
        }
        let config = load(&format!("{TOP}{WHOLE}role = 'viewer'")).unwrap();
        let mut findings = Findings::default();
        checks::openid(&config, None, &mut findings);
        assert!(findings.problems.is_empty());
        checks::openid(&config, Some("cargo build -p x"), &mut findings);
        let found = ConfigError(findings.problems).to_string();
        assert!(
            found.contains(
                ":4: web.openid: needs a build that supports it: cargo build -p x (the image has it"
            ),
            "{found}"
        );
    }

    #[test]
    fn the_environment_reaches_it() {
        let environment = [
            ("AUTH", "tokens"),
            ("PUBLIC_URL", "https://inn.example.org"),
            ("WEB_OPENID_ISSUER", "https://id.example.org"),
            ("WEB_OPENID_CLIENT_ID", "inn"),
            ("WEB_OPENID_CLIENT_SECRET", "hunter2"),
            ("WEB_OPENID_ROLES_CLAIM", "groups"),
            ("WEB_OPENID_ROLES_ADMIN", "ops, root"),
        ];
        let environment = environment.map(|(name, value)| (format!("INNKEEPER_{name}"), value.to_owned()));
        let read =
            crate::config::read(Role::Ingest, None, Default::default(), environment, &Overrides::default());
        let (config, _) = read.unwrap_or_else(|error| panic!("{error}"));
        let openid = config.web.openid.unwrap();
        assert_eq!(openid.client_secret.unwrap().reveal(), "hunter2");
        assert_eq!(openid.rules.roles.unwrap().as_str(), "groups");
        assert_eq!(openid.rules.admin, ["ops", "root"]);
    }
}
