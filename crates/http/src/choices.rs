//! The reader's choices for the pages: colours and a time zone. They are kept in cookies, so that nobody needs an
//! account for them.

use actix_web::HttpRequest;
use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};
use chrono_tz::Tz;
use innkeeper_core::{Invalid, word};
use strum::{EnumString, IntoStaticStr, VariantArray};

use super::{Authenticator, Caller};

const ZONE: &str = "innkeeper-zone";
const THEME: &str = "innkeeper-theme";
/// The lifetime of the cookies.
const KEPT: Duration = Duration::days(400);

/// The colours of the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "lowercase")]
pub enum Theme {
    /// Dark text on light ground.
    Light,
    /// Light text on dark ground.
    Dark,
}

impl Theme {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Reads `light` or `dark`; `None` for `system`.
    ///
    /// # Errors
    /// The text is none of these words.
    pub fn parse(field: &'static str, text: &str) -> Result<Option<Self>, Invalid> {
        if text == "system" {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| {
            Invalid::new(field, format!("{text:?}; allowed: system, {}", word::allowed::<Self>()))
        })
    }
}

/// Reads the caller's choices from the cookies. Invalid values are ignored.
pub(super) fn read(request: &HttpRequest, caller: &mut Caller) {
    caller.zone = request.cookie(ZONE).and_then(|cookie| cookie.value().parse().ok());
    caller.theme =
        request.cookie(THEME).and_then(|cookie| Theme::parse(THEME, cookie.value()).ok().flatten());
}

impl Authenticator {
    /// The cookie with the chosen time zone; `None` removes it.
    pub fn zone_cookie(&self, zone: Option<Tz>) -> Cookie<'static> {
        self.choice(ZONE, zone.map(Tz::name))
    }

    /// The cookie with the chosen colours; `None` removes it.
    pub fn theme_cookie(&self, theme: Option<Theme>) -> Cookie<'static> {
        self.choice(THEME, theme.map(Theme::as_str))
    }

    fn choice(&self, name: &'static str, chosen: Option<&'static str>) -> Cookie<'static> {
        let mut cookie = self.cookie(name, chosen.unwrap_or_default().to_owned(), SameSite::Lax);
        match chosen {
            Some(_) => cookie.set_max_age(KEPT),
            None => cookie.make_removal(),
        }
        cookie
    }
}
