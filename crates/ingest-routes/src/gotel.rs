//! GoTel's routes that change something. `web` has the one that lists.

use innkeeper_core::access::Permission;
use innkeeper_core::reservation::document::{FIELDS, Form};
use innkeeper_http::description::FieldKind::{Boolean, Integer, List, Object, Text};
use innkeeper_http::description::{Body, Description, Field, FieldKind};

/// The group of the protocol.
pub const GROUP: &str = "GoTel";

const APP: Field = Field::required("app", Text);
const COMPONENT: Field = Field::required("component", Text);

/// The fields of a reservation as GoTel's clients write them. The two names come first and are required.
const RESERVATION_FIELDS: [Field; FIELDS.len()] = {
    let mut fields = [APP; FIELDS.len()];
    let mut place = 2;
    fields[1] = COMPONENT;
    while place < FIELDS.len() {
        let (name, form) = FIELDS[place];
        fields[place] = Field::optional(name, kind_of(form));
        place += 1;
    }
    fields
};

const fn kind_of(form: Form) -> FieldKind {
    match form {
        Form::Text | Form::Recipients | Form::Duration | Form::Reminders => Text,
        Form::Integer => Integer,
        Form::Flag => Boolean,
        Form::List => List,
    }
}

/// Makes or changes a reservation.
pub const RESERVATION: Description = Description::post(
    "/reservation",
    Permission::Manage,
    GROUP,
    "Make a reservation, or change the fields that are given; no others are taken",
    Body {
        fields: &RESERVATION_FIELDS,
        example: r#"{"app":"shop","component":"backup","frequency":1,"time_units":"hours","notify":""}"#,
    },
)
.answers("200", "`\"OK\"`");

/// Checks in.
pub const CHECKIN: Description = Description::post(
    "/checkin",
    Permission::CheckIn,
    GROUP,
    "Check in; 2xx means that it is committed",
    Body {
        fields: &[APP, COMPONENT, Field::optional("notes", Text), Field::optional("figures", Object)],
        example: r#"{"app":"shop","component":"backup","figures":{"rows":1200}}"#,
    },
);

/// Snoozes.
pub const SNOOZE: Description =
    Description::post("/snooze", Permission::Manage, GROUP, "Let nothing alert for a while", SNOOZE_BODY);

/// The same under its older name.
pub const PAUSE: Description =
    Description::post("/pause", Permission::Manage, GROUP, "The same as /snooze", SNOOZE_BODY);

const SNOOZE_BODY: Body = Body {
    fields: &[APP, COMPONENT, Field::required("duration", Integer), Field::required("time_units", Text)],
    example: r#"{"app":"shop","component":"backup","duration":2,"time_units":"hours"}"#,
};

/// Checks out.
pub const CHECKOUT: Description = Description::post(
    "/checkout",
    Permission::Manage,
    GROUP,
    "Remove a reservation",
    Body { fields: &[APP, COMPONENT], example: r#"{"app":"shop","component":"backup"}"# },
);

pub(crate) const ROUTES: [Description; 5] = [RESERVATION, CHECKIN, SNOOZE, PAUSE, CHECKOUT];
