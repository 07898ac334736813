//! gocron's routes for check-ins. Its routes that list are in `web`.

use innkeeper_core::access::Permission;
use innkeeper_http::description::FieldKind::{Boolean, Integer, Object, Text};
use innkeeper_http::description::{DescribedBody, DescribedField, Description, Parameter};

/// The group of the protocol.
pub const GROUP: &str = "gocron";

const ANSWER: (&str, &str) = ("201", "checked in (with a query or a body); `200` without");

/// Checks in with a query. Without a query this is GoTel's liveness check, open to everybody.
pub const BY_QUERY: Description = Description {
    other_permission: Some(Permission::Nothing),
    parameters: &[
        Parameter::query("cronname", "the component", "backup"),
        Parameter::query("account", "the app", "shop"),
        Parameter::query("email", "who hears of it, with commas; any text is taken", "ops@example.org"),
        Parameter::query("frequency", "a check-in every so many seconds", "300"),
        Parameter::query("site", "1 for an Internet gateway", "0"),
        Parameter::query("figure", "a figure, once for each", "rows=1200"),
    ],
    ..Description::get(
        "/",
        Permission::Manage,
        GROUP,
        "With a query: check in, and make or change the reservation; without one: are you there?",
    )
    .answers(ANSWER.0, ANSWER.1)
};

/// Checks in with a body.
pub const BY_BODY: Description = Description::post(
    "/",
    Permission::Manage,
    GROUP,
    "Check in, and make or change the reservation",
    DescribedBody {
        fields: &[
            DescribedField::required("cronname", Text),
            DescribedField::required("account", Text),
            DescribedField::required("email", Text),
            DescribedField::required("frequency", Integer),
            DescribedField::optional("site", Boolean),
            DescribedField::optional("figures", Object),
        ],
        example: r#"{"cronname":"backup","account":"shop","email":"ops@example.org","frequency":300}"#,
    },
)
.answers(ANSWER.0, ANSWER.1);

pub(crate) const ROUTES: [Description; 2] = [BY_QUERY, BY_BODY];
