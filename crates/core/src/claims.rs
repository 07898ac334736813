//! Claims of an OpenID provider about a person, and the name and role that follow from them.
//!
//! A claim is named by its path: `groups`, or `realm_access.roles` for a member of an object. A claim whose own name
//! contains dots (`https://example.org/roles`) is found under its full name.

use serde_json::Value;

use crate::Invalid;
use crate::access::{UserRole, account_name};
use crate::names::one_line;

/// The claim that counts only if the provider has verified it.
const EMAIL: &str = "email";
const EMAIL_VERIFIED: &str = "email_verified";
/// The claim that lists claims available from other sources (OpenID Connect Core 5.6.2).
const CLAIM_NAMES: &str = "_claim_names";

/// The path of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimPath(String);

impl ClaimPath {
    /// Reads `groups` or `realm_access.roles`.
    ///
    /// # Errors
    /// An empty path, or one longer than a line.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, Invalid> {
        one_line(field, text, 200)?;
        if text.trim() != text || text.is_empty() {
            return Err(Invalid::new(
                field,
                "is no claim; write its name, or a path as in realm_access.roles",
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// The path as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value at this path.
    pub fn find<'c>(&self, claims: &'c Value) -> Option<&'c Value> {
        find(claims, &self.0)
    }
}

fn find<'c>(claims: &'c Value, path: &str) -> Option<&'c Value> {
    if let Some(found) = claims.get(path) {
        return Some(found).filter(|found| !found.is_null());
    }
    path.match_indices('.').find_map(|(at, _)| find(claims.get(&path[..at])?, &path[at + 1..]))
}

/// The rules that derive a name and a role from claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimRules {
    /// The claim with the name.
    pub name: ClaimPath,
    /// The claim with the roles; `None` if the provider does not decide roles.
    pub roles: Option<ClaimPath>,
    /// The values of that claim that make somebody an admin.
    pub admin: Vec<String>,
    /// The values that make somebody an editor.
    pub editor: Vec<String>,
    /// The values that make somebody a viewer.
    pub viewer: Vec<String>,
    /// The role of a person whom no value fits; `None` if that person may not log in.
    pub otherwise: Option<UserRole>,
}

impl ClaimRules {
    /// Whether these claims contain everything that the rules need.
    pub fn are_answered_by(&self, claims: &Value) -> bool {
        self.stated_name(claims).is_some()
            && self.roles.as_ref().is_none_or(|path| path.find(claims).is_some())
    }

    /// The name from the first of these sources that has it. A name is never combined from two sources.
    ///
    /// # Errors
    /// The problem with the name, worded for people.
    pub fn name_in(&self, sources: &[&Value]) -> Result<String, String> {
        let claim = self.name.as_str();
        let Some(name) = sources.iter().find_map(|claims| self.stated_name(claims)) else {
            let is_unverified = claim == EMAIL && sources.iter().any(|claims| claims.get(EMAIL).is_some());
            return Err(match is_unverified {
                true => "the provider does not say that it has verified your mail address (email_verified)"
                    .to_owned(),
                false => format!("the provider says no name: there is no text in the claim {claim}"),
            });
        };
        account_name("name", name)
            .map_err(|invalid| format!("the name in the claim {claim} cannot be taken: {}", invalid.problem))
    }

    fn stated_name<'c>(&self, claims: &'c Value) -> Option<&'c str> {
        let is_verified = match claims.get(EMAIL_VERIFIED) {
            Some(Value::Bool(is_verified)) => *is_verified,
            Some(Value::String(text)) => text == "true",
            _ => false,
        };
        if self.name.as_str() == EMAIL && !is_verified {
            return None;
        }
        self.name.find(claims)?.as_str()
    }

    /// The highest role that matches the first source with the claim, or [`Self::otherwise`]. A claim that is absent
    /// from every source says nothing about the role; see [`Self::are_silent_on_roles`].
    pub fn role_in(&self, sources: &[&Value]) -> Option<UserRole> {
        let path = self.roles.as_ref();
        let said = path.and_then(|path| sources.iter().find_map(|claims| path.find(claims)));
        let says = |value: &String| match said {
            Some(Value::String(text)) => text == value,
            Some(Value::Array(list)) => list.iter().any(|entry| entry.as_str() == Some(value)),
            _ => false,
        };
        UserRole::ALL
            .iter()
            .rev()
            .copied()
            .find(|role| self.values_of(*role).iter().any(says))
            .or(self.otherwise)
    }

    /// Whether no source has the claim with the roles.
    pub fn are_silent_on_roles(&self, sources: &[&Value]) -> bool {
        self.roles.as_ref().is_some_and(|path| sources.iter().all(|claims| path.find(claims).is_none()))
    }

    /// The message for a person about whose role the provider, asked for these scopes, said nothing.
    pub fn unsaid(&self, sources: &[&Value], scopes: &[String]) -> String {
        let claim = self.roles.as_ref().map(ClaimPath::as_str).unwrap_or_default();
        let is_elsewhere = sources
            .iter()
            .any(|claims| claims.get(CLAIM_NAMES).is_some_and(|names| names.get(claim).is_some()));
        let mend = match is_elsewhere {
            true => "it only says where the claim can be had (_claim_names), as Entra does for members of many groups; \
                     have it give app roles, or only the groups of this application"
                .to_owned(),
            false => format!(
                "an admin adds, at the provider, the mapper that fills it, or here the scope that asks for it \
                 (web.openid.scopes, now {})",
                scopes.join(", ")
            ),
        };
        format!(
            "the provider says nothing in the claim {claim}, so your role is not known, and nothing is changed: {mend}"
        )
    }

    /// The values that give somebody this role.
    pub fn values_of(&self, role: UserRole) -> &[String] {
        match role {
            UserRole::Admin => &self.admin,
            UserRole::Editor => &self.editor,
            UserRole::Viewer => &self.viewer,
        }
    }

    /// Whether the rules can make somebody an admin.
    pub fn make_admins(&self) -> bool {
        !self.admin.is_empty() || self.otherwise == Some(UserRole::Admin)
    }

    /// The message for a person without a role: the values that would give one.
    pub fn needed(&self) -> String {
        let Some(path) = &self.roles else { return "nobody has a role by this configuration".to_owned() };
        let values: Vec<String> = UserRole::ALL
            .iter()
            .copied()
            .flat_map(|role| {
                self.values_of(role).iter().map(move |value| format!("{value} ({})", role.as_str()))
            })
            .collect();
        format!(
            "the provider must give you one of these in the claim {}: {}",
            path.as_str(),
            values.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules(name: &str, roles: &str) -> ClaimRules {
        let of = |value: &str| vec![value.to_owned()];
        ClaimRules {
            name: ClaimPath::parse("name_claim", name).unwrap(),
            roles: Some(ClaimPath::parse("roles_claim", roles).unwrap()),
            admin: of("ops"),
            editor: of("dev"),
            viewer: of("staff"),
            otherwise: None,
        }
    }

    #[test]
    fn the_highest_role_that_fits_wins() {
        let groups = rules("sub", "groups");
        let role = |claim: Value| groups.role_in(&[&json!({ "groups": claim })]);
        assert_eq!(role(json!(["staff", "ops", "dev"])), Some(UserRole::Admin));
        assert_eq!(role(json!(["staff", "dev"])), Some(UserRole::Editor));
        assert_eq!(role(json!("staff")), Some(UserRole::Viewer));
        for nothing in
            [json!([]), json!("ops,dev"), json!("OPS"), json!([["ops"]]), json!({ "ops": true }), json!(null)]
        {
            assert_eq!(role(nothing.clone()), None, "{nothing}");
        }
        let open = ClaimRules { otherwise: Some(UserRole::Viewer), ..groups.clone() };
        assert_eq!(open.role_in(&[&json!({})]), Some(UserRole::Viewer));
        assert_eq!(open.role_in(&[&json!({ "groups": "ops" })]), Some(UserRole::Admin));
        // Only the first source that has the claim counts.
        let two = [&json!({ "groups": [] }), &json!({ "groups": ["ops"] })];
        assert_eq!(groups.role_in(&two), None);
        assert_eq!(groups.role_in(&[&json!({}), two[1]]), Some(UserRole::Admin));
    }

    #[test]
    fn a_claim_that_is_nowhere_says_nothing_of_a_role() {
        let groups = rules("sub", "realm_access.roles");
        let is_silent = |claims: Value| groups.are_silent_on_roles(&[&json!({}), &claims]);
        for nowhere in
            [json!({}), json!({ "realm_access": {} }), json!({ "realm_access": { "roles": null } })]
        {
            assert!(is_silent(nowhere.clone()), "{nowhere}");
        }
        for there in [json!([]), json!(""), json!(["others"]), json!(7)] {
            assert!(!is_silent(json!({ "realm_access": { "roles": there } })), "{there}");
        }
        assert!(!ClaimRules { roles: None, ..groups.clone() }.are_silent_on_roles(&[&json!({})]));
        let scopes = ["openid".to_owned(), "groups".to_owned()];
        let told = groups.unsaid(&[&json!({})], &scopes);
        for part in ["claim realm_access.roles", "mapper", "(web.openid.scopes, now openid, groups)"] {
            assert!(told.contains(part), "{told}");
        }
        let entra = json!({ "_claim_names": { "groups": "src1" } });
        assert!(rules("sub", "groups").unsaid(&[&entra], &scopes).contains("app roles"));
    }

    #[test]
    fn a_path_leads_into_objects_and_a_dot_may_be_part_of_a_name() {
        let claims = json!({ "a": { "b": { "c": 1 }, "b.c": 2 }, "a.b": 3, "https://example.org/roles": "ops", "n": null });
        let found = |path: &str| ClaimPath::parse("f", path).unwrap().find(&claims).cloned();
        assert_eq!(found("a.b"), Some(json!(3)));
        assert_eq!(found("a.b.c"), Some(json!(2)));
        assert_eq!(found("https://example.org/roles"), Some(json!("ops")));
        for path in ["a.x", "n", "x", "a.b.c.d", ".", "a..b"] {
            assert_eq!(found(path), None, "{path}");
        }
        for path in ["", " groups", "a\nb"] {
            assert!(ClaimPath::parse("f", path).is_err(), "{path:?}");
        }
    }

    #[test]
    fn a_mail_address_is_a_name_once_it_is_verified() {
        let mail = rules("email", "groups");
        let verified = |value: Value| json!({ "email": "ada@example.org", "email_verified": value });
        assert_eq!(mail.name_in(&[&verified(json!(true))]).unwrap(), "ada@example.org");
        for no in [json!(false), json!("false"), json!(null), json!(1)] {
            assert!(mail.name_in(&[&verified(no.clone())]).unwrap_err().contains("email_verified"), "{no}");
        }
        // The `email_verified` of one source does not verify an address from another source.
        let apart = [&json!({ "email": "ada@example.org" }), &json!({ "email_verified": true })];
        assert!(mail.name_in(&apart).is_err());
        assert!(!mail.are_answered_by(apart[0]));
    }

    #[test]
    fn a_name_is_one_that_a_user_can_have() {
        let rules = rules("preferred_username", "groups");
        let named = |name: Value| rules.name_in(&[&json!({ "preferred_username": name })]);
        assert_eq!(named(json!("ada")).unwrap(), "ada");
        for no in [json!(""), json!(" ada"), json!("a\nb"), json!("x".repeat(101)), json!(7), json!(["ada"])]
        {
            assert!(named(no.clone()).is_err(), "{no}");
        }
    }
}
