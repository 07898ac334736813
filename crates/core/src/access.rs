//! Permissions: what a route needs, what a caller has, and the one comparison of the two.
//!
//! | need | users | tokens |
//! |---|---|---|
//! | nothing | everybody | everybody |
//! | known | everybody who logged in | every token |
//! | set up, account | everybody who logged in, of their own account | none |
//! | check in | editor, admin | scope `checkin` |
//! | read | viewer, editor, admin | scope `read` |
//! | manage | editor, admin | scope `manage` |
//! | administer | admin | none |
//!
//! A token may be bound to apps. Its scopes then hold for these apps only, and it may do nothing that is not about one
//! app.

use strum::{EnumString, IntoStaticStr, VariantArray};
use unicode_normalization::UnicodeNormalization as _;

use crate::names::{AppName, one_line};
use crate::{Invalid, word};

/// The most apps to which a token can be bound.
pub const MOST_APPS: usize = 50;

/// What a user may do.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, EnumString, IntoStaticStr, VariantArray,
)]
#[strum(serialize_all = "lowercase")]
pub enum UserRole {
    /// May see everything except users, tokens and the audit log.
    Viewer,
    /// May also create, change, snooze and check out reservations, and check in.
    Editor,
    /// May also manage users and tokens, and see the audit log.
    Admin,
}

impl UserRole {
    /// All roles, from the fewest rights to the most.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// Reads `viewer`, `editor` or `admin`.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, Invalid> {
        word::parse(field, text)
    }

    /// The role's name in the configuration, the API and the database.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// What a token may do.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, EnumString, IntoStaticStr, VariantArray,
)]
#[strum(serialize_all = "lowercase")]
pub enum Scope {
    /// Check in.
    CheckIn,
    /// See reservations, messages, nodes and metrics.
    Read,
    /// Create, change, snooze and check out reservations.
    Manage,
}

impl Scope {
    /// All of them.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The scope's name in the API and the database.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Reads a list of `checkin`, `read` and `manage`. Repeats are dropped; the list must not be empty.
    pub fn parse_list<'t>(texts: impl Iterator<Item = &'t str>) -> Result<Vec<Self>, Invalid> {
        let mut scopes = Vec::new();
        for text in texts.map(str::trim).filter(|text| !text.is_empty()) {
            let scope = word::parse("scopes", text)?;
            if !scopes.contains(&scope) {
                scopes.push(scope);
            }
        }
        if scopes.is_empty() {
            let problem = format!("is empty; give at least one of {}", word::allowed::<Self>());
            return Err(Invalid::new("scopes", problem));
        }
        scopes.sort();
        Ok(scopes)
    }
}

/// What a route demands of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Nothing: everybody may call it.
    Nothing,
    /// The caller is authenticated, with whatever rights.
    Known,
    /// The caller is a user, and the route is about the caller's own account.
    Account,
    /// Like [`Self::Account`], but allowed even while the user must first set up a second factor.
    SetUp,
    /// The caller may check in for the app that the request names.
    CheckIn,
    /// The caller may see what belongs to the caller's apps.
    Read,
    /// The caller may see what belongs to no app: nodes, messages, metrics.
    ReadAll,
    /// The caller may change reservations of the caller's apps.
    Manage,
    /// The caller may change what belongs to no app.
    ManageAll,
    /// The caller may manage users and tokens.
    Administer,
}

impl Permission {
    /// The scope that a token needs for this permission; `None` where no scope is needed, or where none suffices.
    pub fn scope(self) -> Option<Scope> {
        match self {
            Self::Nothing | Self::Known | Self::Account | Self::SetUp | Self::Administer => None,
            Self::CheckIn => Some(Scope::CheckIn),
            Self::Read | Self::ReadAll => Some(Scope::Read),
            Self::Manage | Self::ManageAll => Some(Scope::Manage),
        }
    }

    /// Whether the permission is about the whole instance rather than one app.
    pub fn is_for_all(self) -> bool {
        matches!(self, Self::ReadAll | Self::ManageAll | Self::Administer)
    }

    /// Whether the permission is about the caller's own account.
    pub fn is_own(self) -> bool {
        matches!(self, Self::Account | Self::SetUp)
    }

    /// Whether routes with this permission change something.
    pub fn changes(self) -> bool {
        !matches!(
            self,
            Self::Nothing | Self::Known | Self::Account | Self::SetUp | Self::Read | Self::ReadAll
        )
    }
}

/// What a caller may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    scopes: Vec<Scope>,
    administers: bool,
    /// `None`: every app.
    apps: Option<Vec<AppName>>,
}

/// The right that a caller lacks, worded so that it can follow "you may not do this: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MissingPermission {
    /// A scope, or a role that has it.
    #[error("it needs the scope {} (editors have them all, viewers have read)", .0.as_str())]
    Scope(Scope),
    /// The role admin.
    #[error("it needs the role admin")]
    Admin,
    /// A token that is bound to no app.
    #[error("it is not about one app, and this token is bound to {0}")]
    Unbound(String),
    /// A token that is bound to this app too.
    #[error("this token is bound to {bound}, and this is about {app}")]
    App {
        /// The apps that the token has.
        bound: String,
        /// The app that was asked for.
        app: String,
    },
}

impl Rights {
    /// All rights: those of every caller where `auth` is `open`.
    pub fn all() -> Self {
        Self::of_role(UserRole::Admin)
    }

    /// No rights.
    pub fn none() -> Self {
        Self { scopes: Vec::new(), administers: false, apps: None }
    }

    /// The rights of a user with this role.
    pub fn of_role(role: UserRole) -> Self {
        let scopes = if role == UserRole::Viewer { vec![Scope::Read] } else { Scope::ALL.to_vec() };
        Self { scopes, administers: role == UserRole::Admin, apps: None }
    }

    /// The rights of a token. An empty `apps` means every app.
    pub fn of_token(scopes: Vec<Scope>, apps: Vec<AppName>) -> Self {
        Self { scopes, administers: false, apps: (!apps.is_empty()).then_some(apps) }
    }

    /// Checks that these rights suffice for `permission`. For [`Permission::CheckIn`], [`Permission::Read`] and
    /// [`Permission::Manage`] the caller must also check the app with [`Rights::cover`].
    pub fn suffice_for(&self, permission: Permission) -> Result<(), MissingPermission> {
        if permission == Permission::Administer && !self.administers {
            return Err(MissingPermission::Admin);
        }
        if let Some(scope) = permission.scope().filter(|scope| !self.scopes.contains(scope)) {
            return Err(MissingPermission::Scope(scope));
        }
        match &self.apps {
            Some(apps) if permission.is_for_all() => Err(MissingPermission::Unbound(listed(apps))),
            _ => Ok(()),
        }
    }

    /// Checks that these rights extend to `app`.
    pub fn cover(&self, app: &str) -> Result<(), MissingPermission> {
        match &self.apps {
            Some(apps) if !apps.iter().any(|own| own.as_str() == app) => {
                Err(MissingPermission::App { bound: listed(apps), app: app.to_owned() })
            }
            _ => Ok(()),
        }
    }

    /// The scopes; the right to administer is separate ([`Rights::administer`]).
    pub fn scopes(&self) -> &[Scope] {
        &self.scopes
    }

    /// Whether they include managing users and tokens.
    pub fn administer(&self) -> bool {
        self.administers
    }

    /// The apps to which they are limited; `None` for every app.
    pub fn apps(&self) -> Option<&[AppName]> {
        self.apps.as_deref()
    }

    /// Whether these rights contain all of `other`'s. Nobody may grant more rights than they have.
    pub fn include(&self, other: &Self) -> bool {
        let apps = match (&self.apps, &other.apps) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(others)) => others.iter().all(|app| own.contains(app)),
        };
        apps && other.scopes.iter().all(|scope| self.scopes.contains(scope))
            && (self.administers || !other.administers)
    }
}

fn listed(apps: &[AppName]) -> String {
    apps.iter().map(AppName::as_str).collect::<Vec<_>>().join(", ")
}

/// Checks the name of a user or token: one line of 1 to 100 characters, without blanks at its ends and without
/// invisible characters.
pub fn account_name(field: &'static str, text: &str) -> Result<String, Invalid> {
    one_line(field, text, 100)?;
    if text.trim().is_empty() || text.trim() != text {
        return Err(Invalid::new(field, "give a name of 1 to 100 characters, without blanks at its ends"));
    }
    if let Some(c) = text.chars().find(|c| is_invisible(*c)) {
        return Err(Invalid::new(
            field,
            format!("has U+{:04X}, which nobody sees; use characters that are shown", c as u32),
        ));
    }
    Ok(text.to_owned())
}

/// Checks the name of a new user: as [`account_name`] does, and its letters must not mix Latin, Greek and Cyrillic,
/// some of whose letters look the same.
pub fn new_user_name(field: &'static str, text: &str) -> Result<String, Invalid> {
    let name = account_name(field, text)?;
    let mut alphabets = name.nfkc().filter_map(alphabet);
    if let Some(first) = alphabets.next()
        && let Some(other) = alphabets.find(|alphabet| *alphabet != first)
    {
        return Err(Invalid::new(
            field,
            format!("mixes {first} letters with {other} ones, of which some look the same; use one alphabet"),
        ));
    }
    Ok(name)
}

/// Whether people would confuse two names: they differ only in case, width, blanks, or the encoding of accents.
pub fn look_alike(one: &str, other: &str) -> bool {
    let folded = |name: &str| -> String {
        let lower: String = name.nfkc().collect::<String>().to_lowercase();
        lower.nfkc().filter(|c| !is_invisible(*c) && !c.is_whitespace()).collect()
    };
    folded(one) == folded(other)
}

/// Whether a character has no width or changes the direction of others (Unicode's `Default_Ignorable_Code_Point`,
/// which contains the `Bidi_Control` characters), or is a filler or blank that is displayed as nothing.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}'
        | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
        | '\u{2800}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}'
        | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

fn alphabet(c: char) -> Option<&'static str> {
    if !c.is_alphabetic() {
        return None;
    }
    match c {
        'a'..='z' | 'A'..='Z' | '\u{C0}'..='\u{24F}' | '\u{1E00}'..='\u{1EFF}' => Some("Latin"),
        '\u{370}'..='\u{3FF}' | '\u{1F00}'..='\u{1FFF}' => Some("Greek"),
        '\u{400}'..='\u{52F}' | '\u{1C80}'..='\u{1C8F}' | '\u{A640}'..='\u{A69F}' => Some("Cyrillic"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(scopes: &[Scope]) -> Rights {
        Rights::of_token(scopes.to_vec(), vec![AppName::parse("shop").unwrap()])
    }

    #[test]
    fn a_name_has_nothing_that_nobody_sees() {
        for name in ["Ada Lovelace", "ada@example.org", "Åse", "李小龍", "юлия", "عائشة", "αλέξης", "d'Arc-2"]
        {
            assert_eq!(new_user_name("name", name).as_deref(), Ok(name));
        }
        for name in [
            "",
            " ada",
            "ada\n",
            "a\u{200B}da",
            "\u{202E}ada",
            "ada\u{2066}",
            "a\u{AD}da",
            "ada\u{FE0F}",
            "\u{3164}",
        ] {
            assert!(account_name("name", name).is_err(), "{name:?}");
        }
        for name in ["аda", "ad\u{430}", "αda", "Юlia"] {
            let problem = new_user_name("name", name).unwrap_err().problem;
            assert!(problem.contains("use one alphabet"), "{name}: {problem}");
            assert!(account_name("name", name).is_ok(), "one that there is comes in: {name}");
        }
        assert!(look_alike("Ada", "aDA") && look_alike("ada", "ａｄａ") && look_alike("Å se", "a\u{30A}se"));
        assert!(!look_alike("ada", "ade") && !look_alike("ada", "ada2"));
    }

    #[test]
    fn each_right_is_just_what_the_table_says() {
        let all = [
            Permission::Nothing,
            Permission::CheckIn,
            Permission::Read,
            Permission::ReadAll,
            Permission::Manage,
            Permission::ManageAll,
            Permission::Administer,
        ];
        let may = |rights: &Rights| all.map(|permission| u8::from(rights.suffice_for(permission).is_ok()));
        for (rights, expected) in [
            (Rights::none(), [1, 0, 0, 0, 0, 0, 0]),
            (Rights::all(), [1, 1, 1, 1, 1, 1, 1]),
            (Rights::of_role(UserRole::Viewer), [1, 0, 1, 1, 0, 0, 0]),
            (Rights::of_role(UserRole::Editor), [1, 1, 1, 1, 1, 1, 0]),
            (Rights::of_token(vec![Scope::CheckIn], vec![]), [1, 1, 0, 0, 0, 0, 0]),
            (Rights::of_token(vec![Scope::Read], vec![]), [1, 0, 1, 1, 0, 0, 0]),
            (Rights::of_token(vec![Scope::Manage], vec![]), [1, 0, 0, 0, 1, 1, 0]),
            (bound(Scope::ALL), [1, 1, 1, 0, 1, 0, 0]),
        ] {
            assert_eq!(may(&rights), expected, "{rights:?}");
        }
    }

    #[test]
    fn a_bound_token_reaches_its_apps_alone() {
        assert!(bound(Scope::ALL).cover("shop").is_ok());
        let missing = bound(Scope::ALL).cover("shopping").unwrap_err();
        assert!(missing.to_string().contains("bound to shop, and this is about shopping"), "{missing}");
        assert!(Rights::all().cover("anything").is_ok());
    }

    #[test]
    fn nobody_gives_away_more_than_they_have() {
        let manage = Rights::of_token(vec![Scope::Manage], vec![]);
        assert!(manage.include(&bound(&[Scope::Manage])));
        assert!(!manage.include(&bound(&[Scope::Read])));
        assert!(!bound(&[Scope::Manage]).include(&manage));
        assert!(!manage.include(&Rights::all()) && Rights::all().include(&manage));
    }

    #[test]
    fn what_cannot_be_taken_is_said() {
        assert_eq!(UserRole::parse("role", "root").unwrap_err().field, "role");
        assert_eq!(Scope::parse_list(["checkin", "write"].into_iter()).unwrap_err().field, "scopes");
        assert!(Scope::parse_list([""].into_iter()).is_err());
        assert_eq!(
            Scope::parse_list(["read", "checkin", "read"].into_iter()).unwrap(),
            [Scope::CheckIn, Scope::Read]
        );
        assert!(account_name("name", " ada").is_err() && account_name("name", "ada\n").is_err());
    }
}
