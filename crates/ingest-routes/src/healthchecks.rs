//! The addresses of Healthchecks' pings.

use innkeeper_core::access::Permission;
use innkeeper_http::description::{Description, Method, Parameter};

/// The group of the protocol.
pub const GROUP: &str = "Healthchecks";

/// The methods of each address.
pub const PING_METHODS: [Method; 3] = [Method::Get, Method::Post, Method::Put];

/// The permission for pings: none, because the key in the address is the credential.
pub const PERMISSION: Permission = Permission::Nothing;

/// Ping addresses with one part: the key of the reservation.
pub const ONE: [&str; 4] =
    ["/ping/{first}", "/ping/{first}/", "/{first:[0-9a-fA-F-]{36}}", "/{first:[0-9a-fA-F-]{36}}/"];

/// Ping addresses with two parts: a key and an action, or the app's ping key and a slug. No page's path begins with a
/// ping key.
pub const TWO: [&str; 6] = [
    "/ping/{first}/{second}",
    "/ping/{first}/{second}/",
    "/{first:[0-9a-fA-F-]{36}}/{second}",
    "/{first:[0-9a-fA-F-]{36}}/{second}/",
    "/{first:[0-9a-f]{32}}/{second}",
    "/{first:[0-9a-f]{32}}/{second}/",
];

/// Ping addresses with three parts: the app's ping key, a slug, and an action.
pub const THREE: [&str; 4] = [
    "/ping/{first}/{second}/{third}",
    "/ping/{first}/{second}/{third}/",
    "/{first:[0-9a-f]{32}}/{second}/{third}",
    "/{first:[0-9a-f]{32}}/{second}/{third}/",
];

/// Addresses that answer `OPTIONS`, by which a browser asks whether another site's page may ping (CORS preflight).
pub const PREFLIGHTS: [&str; 4] = [
    "/ping/{tail:.+}",
    "/{first:[0-9a-fA-F-]{36}}",
    "/{first:[0-9a-fA-F-]{36}}/{tail:.*}",
    "/{first:[0-9a-f]{32}}/{tail:.+}",
];

const FIRST: Parameter = Parameter::path(
    "first",
    "the key of the reservation (a UUID), or the app's ping key",
    "018d2c4e-0000-4000-8000-000000000000",
);
const SECOND: Parameter = Parameter::path("second", "the slug, or what happened", "start");
const THIRD: Parameter = Parameter::path("third", "what happened", "0");
const RUN: Parameter = Parameter::query("rid", "a UUID that pairs a start with its end", "");
const STATE: Parameter = Parameter::query("state", "what happened; also `run`, `complete` and `ok`", "");
const FIGURE: Parameter = Parameter::query("figure", "a figure, once for each", "rows=1200");
const CREATE: Parameter = Parameter::query("create", "1 makes the reservation of a slug", "");

const DETAILS: &str = "What happened is `start`, `fail`, `log`, an exit status from `0` to `255`, or what systemd says of a unit that \
     failed (`TERM`, `timeout`); without it, a success. `state` in the query wins over it. Of a body, however long, the beginning and the \
     end are kept, 10,000 bytes in all; of one that is slow, stands still or is cut off, what came of it. A success whose body has no \
     length before it (a stream) and breaks off is kept as output, and answered 400.";

/// The description of a ping address, for any method. The summary says what the address consists
/// of.
const fn ping(path: &'static str, summary: &'static str, parameters: &'static [Parameter]) -> Description {
    let mut ping = Description::get(path, PERMISSION, GROUP, summary)
        .with(parameters)
        .answers("200", "`OK`; `201` when it made its reservation");
    ping.details = DETAILS;
    ping.failure = "the reason in plain words";
    ping
}

/// All addresses with all methods.
pub(crate) fn routes() -> Vec<Description> {
    type Kind = (&'static [&'static str], [&'static str; 2], &'static [Parameter]);
    let kinds: [Kind; 3] = [
        (
            &ONE,
            ["Ping by the key of a reservation", "Ping by the key of a reservation, without /ping"],
            &[FIRST, RUN, STATE, FIGURE, CREATE],
        ),
        (
            &TWO,
            [
                "Ping by a key and what happened, or by the app's ping key and a slug",
                "Ping by a key and what happened, or by the app's ping key and a slug, without /ping",
            ],
            &[FIRST, SECOND, RUN, STATE, FIGURE, CREATE],
        ),
        (
            &THREE,
            [
                "Ping by the app's ping key, a slug, and what happened",
                "Ping by the app's ping key, a slug, and what happened, without /ping",
            ],
            &[FIRST, SECOND, THIRD, RUN, STATE, FIGURE, CREATE],
        ),
    ];
    let mut routes = Vec::new();
    for (paths, [below_ping, bare], parameters) in kinds {
        for path in paths {
            let summary = if path.starts_with("/ping/") { below_ping } else { bare };
            let ping = ping(path, summary, parameters);
            routes.extend(PING_METHODS.map(|method| Description { method, ..ping }));
        }
    }
    routes
}
