//! GoTel's routes that change something. Its route that lists is in `web`.

use innkeeper_core::access::Permission;
use innkeeper_core::reservation::document::{FIELDS, ValueForm};
use innkeeper_http::description::FieldKind::{Boolean, Integer, List, Object, Text};
use innkeeper_http::description::{DescribedBody, DescribedField, Description, FieldKind};

/// The group of the protocol.
pub const GROUP: &str = "GoTel";

const APP: DescribedField = DescribedField::required("app", Text);
const COMPONENT: DescribedField = DescribedField::required("component", Text);

/// The fields of a reservation as GoTel's clients write them. The two names come first and are required.
const RESERVATION_FIELDS: [DescribedField; FIELDS.len()] = {
    let mut fields = [APP; FIELDS.len()];
    let mut place = 2;
    fields[1] = COMPONENT;
    while place < FIELDS.len() {
        let (name, form) = FIELDS[place];
        fields[place] = DescribedField::optional(name, kind_of(form));
        place += 1;
    }
    fields
};

const fn kind_of(form: ValueForm) -> FieldKind {
    match form {
        ValueForm::Text | ValueForm::Recipients | ValueForm::Duration | ValueForm::Reminders => Text,
        ValueForm::Integer => Integer,
        ValueForm::Flag => Boolean,
        ValueForm::List => List,
    }
}

/// Makes or changes a reservation.
pub const RESERVATION: Description = Description::post(
    "/reservation",
    Permission::Manage,
    GROUP,
    "Make a reservation, or change the fields that are given; no others are taken",
    DescribedBody {
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
    DescribedBody {
        fields: &[
            APP,
            COMPONENT,
            DescribedField::optional("notes", Text),
            DescribedField::optional("figures", Object),
        ],
        example: r#"{"app":"shop","component":"backup","figures":{"rows":1200}}"#,
    },
);

/// Snoozes a reservation.
pub const SNOOZE: Description =
    Description::post("/snooze", Permission::Manage, GROUP, "Let nothing alert for a while", SNOOZE_BODY);

/// The same as [`SNOOZE`], under its older name.
pub const PAUSE: Description =
    Description::post("/pause", Permission::Manage, GROUP, "The same as /snooze", SNOOZE_BODY);

const SNOOZE_BODY: DescribedBody = DescribedBody {
    fields: &[
        APP,
        COMPONENT,
        DescribedField::required("duration", Integer),
        DescribedField::required("time_units", Text),
    ],
    example: r#"{"app":"shop","component":"backup","duration":2,"time_units":"hours"}"#,
};

/// Checks out a reservation.
pub const CHECKOUT: Description = Description::post(
    "/checkout",
    Permission::Manage,
    GROUP,
    "Remove a reservation",
    DescribedBody { fields: &[APP, COMPONENT], example: r#"{"app":"shop","component":"backup"}"# },
);

pub(crate) const ROUTES: [Description; 5] = [RESERVATION, CHECKIN, SNOOZE, PAUSE, CHECKOUT];
