//! The second factor of a login: who must have one, and how a session was authenticated.

use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::access::UserRole;
use crate::{Invalid, word};

/// Who must have a second factor (`web.second_factor`). An admin can also require one of a single
/// user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "lowercase")]
pub enum RequiredOf {
    /// Nobody; users may set one up.
    #[strum(serialize = "optional")]
    Nobody,
    /// Admins.
    Admins,
    /// Everybody who logs in with a password.
    Everybody,
}

impl RequiredOf {
    /// The word for it in the configuration.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Reads `optional`, `admins` or `everybody`.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, Invalid> {
        word::parse(field, text)
    }

    /// Whether a user of this role must have one.
    pub fn includes(self, role: UserRole) -> bool {
        match self {
            Self::Nobody => false,
            Self::Admins => role == UserRole::Admin,
            Self::Everybody => true,
        }
    }
}

/// The kind of a second factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Factor {
    /// A code of an authenticator app.
    Code,
    /// A passkey.
    Passkey,
    /// A recovery code.
    RecoveryCode,
}

/// How a session was authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginMethod {
    /// The password alone.
    Password,
    /// The password and a second factor.
    PasswordAnd(Factor),
    /// An OpenID provider, which may demand factors of its own.
    OpenId,
}

impl LoginMethod {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Password,
        Self::PasswordAnd(Factor::Code),
        Self::PasswordAnd(Factor::Passkey),
        Self::PasswordAnd(Factor::RecoveryCode),
        Self::OpenId,
    ];

    /// The stored form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::PasswordAnd(Factor::Code) => "code",
            Self::PasswordAnd(Factor::Passkey) => "passkey",
            Self::PasswordAnd(Factor::RecoveryCode) => "recovery code",
            Self::OpenId => "openid",
        }
    }

    /// Reads the stored form. A value from a newer version counts as the password alone, the method with the most
    /// demands.
    pub fn stored(text: &str) -> Self {
        Self::ALL.into_iter().find(|method| method.as_str() == text).unwrap_or(Self::Password)
    }

    /// The words for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::PasswordAnd(Factor::Code) => "password and code",
            Self::PasswordAnd(Factor::Passkey) => "password and passkey",
            Self::PasswordAnd(Factor::RecoveryCode) => "password and recovery code",
            Self::OpenId => "OpenID Connect",
        }
    }

    /// Whether Innkeeper's own second factor can be required for it.
    pub fn is_by_password(self) -> bool {
        match self {
            Self::Password | Self::PasswordAnd(_) => true,
            Self::OpenId => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_required_of_whom_the_configuration_says() {
        let of = |text: &str| {
            let required = RequiredOf::parse("web.second_factor", text).unwrap();
            UserRole::ALL.iter().map(|role| required.includes(*role)).collect::<Vec<_>>()
        };
        assert_eq!(of("optional"), [false; 3]);
        assert_eq!(of("admins"), [false, false, true]);
        assert_eq!(of("everybody"), [true; 3]);
        let problem = RequiredOf::parse("second_factor", "all").unwrap_err().to_string();
        assert!(problem.contains("allowed: optional, admins, everybody"), "{problem}");
    }

    #[test]
    fn a_method_reads_back_as_it_was_stored() {
        for method in LoginMethod::ALL {
            assert_eq!(LoginMethod::stored(method.as_str()), method);
        }
        assert_eq!(LoginMethod::stored("something newer"), LoginMethod::Password);
    }
}
