//! The description of a route: its method, path and permission, by which it is registered, and its documentation.
//!
//! A description is plain data beside the handler, so that the registered routes and those in the OpenAPI document are
//! the same. The code that generates that document decides on its layout.

use actix_web::http;
use innkeeper_core::access::Permission;

/// The group of routes for those who operate Innkeeper.
pub(crate) const WATCHING: &str = "Watching";

/// A route.
#[derive(Debug, Clone, Copy)]
pub struct Description {
    /// Its method; `GET` includes `HEAD`.
    pub method: Method,
    /// Its path, as it is registered: `/cron/{account}`, `/{first:[0-9a-f]{32}}/{second}`.
    pub path: &'static str,
    /// The permission that it needs.
    pub permission: Permission,
    /// The permission of another form of the same route, such as `GET /` without a query.
    pub other_permission: Option<Permission>,
    /// The group under which it is documented: `GoTel`.
    pub group: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// Further explanation; empty where the summary is enough.
    pub details: &'static str,
    /// The parameters in its path and its query.
    pub parameters: &'static [Parameter],
    /// Its body; none where it takes none.
    pub body: Option<DescribedBody>,
    /// The successful response: the status, and its content.
    pub answer: (&'static str, &'static str),
    /// The responses to failures.
    pub failure: &'static str,
}

/// The method of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `POST`
    Post,
    /// `PUT`
    Put,
}

/// A part of a path or of a query: a text.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Whether it is in the path or in the query.
    pub place: ParameterPlace,
    /// What it means.
    pub description: &'static str,
    /// A value; empty for none.
    pub example: &'static str,
}

/// The place of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterPlace {
    /// In the path. It cannot be left out.
    Path,
    /// In the query. It can be left out.
    Query,
}

/// A body: a JSON object.
#[derive(Debug, Clone, Copy)]
pub struct DescribedBody {
    /// Its fields.
    pub fields: &'static [DescribedField],
    /// A complete body, as JSON.
    pub example: &'static str,
}

/// A field of a body.
#[derive(Debug, Clone, Copy)]
pub struct DescribedField {
    /// Its name.
    pub name: &'static str,
    /// The kind of its value.
    pub kind: FieldKind,
    /// Whether it is required.
    pub required: bool,
}

/// The kind of a field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// A text.
    Text,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// An object.
    Object,
    /// A list of texts.
    List,
}

/// The usual response to failures.
pub const FAILURE: &str = "`{\"success\":false,\"message\":\"…\",\"field\":\"…\"}` with an honest status: `400` names the field, `404`, \
     `413` over 64 KiB, `503` with `Retry-After` while the database is away";

impl Description {
    /// A `GET` route that answers JSON.
    pub const fn get(
        path: &'static str,
        permission: Permission,
        group: &'static str,
        summary: &'static str,
    ) -> Self {
        Self::of(Method::Get, path, permission, group, summary)
    }

    /// A `POST` route that takes a body and answers JSON.
    pub const fn post(
        path: &'static str,
        permission: Permission,
        group: &'static str,
        summary: &'static str,
        body: DescribedBody,
    ) -> Self {
        let mut description = Self::of(Method::Post, path, permission, group, summary);
        description.body = Some(body);
        description
    }

    /// A route of this method that takes no body and answers JSON.
    pub const fn of(
        method: Method,
        path: &'static str,
        permission: Permission,
        group: &'static str,
        summary: &'static str,
    ) -> Self {
        Self {
            method,
            path,
            permission,
            other_permission: None,
            group,
            summary,
            details: "",
            parameters: &[],
            body: None,
            answer: ("200", "JSON"),
            failure: FAILURE,
        }
    }

    /// Sets the successful response.
    #[must_use]
    pub const fn answers(mut self, status: &'static str, what: &'static str) -> Self {
        self.answer = (status, what);
        self
    }

    /// Sets the parameters.
    #[must_use]
    pub const fn with(mut self, parameters: &'static [Parameter]) -> Self {
        self.parameters = parameters;
        self
    }
}

impl From<Method> for http::Method {
    fn from(method: Method) -> Self {
        match method {
            Method::Get => Self::GET,
            Method::Post => Self::POST,
            Method::Put => Self::PUT,
        }
    }
}

impl Parameter {
    /// A part of the path.
    pub const fn path(name: &'static str, description: &'static str, example: &'static str) -> Self {
        Self { name, place: ParameterPlace::Path, description, example }
    }

    /// A part of the query.
    pub const fn query(name: &'static str, description: &'static str, example: &'static str) -> Self {
        Self { name, place: ParameterPlace::Query, description, example }
    }
}

impl DescribedField {
    /// A required field.
    pub const fn required(name: &'static str, kind: FieldKind) -> Self {
        Self { name, kind, required: true }
    }

    /// An optional field.
    pub const fn optional(name: &'static str, kind: FieldKind) -> Self {
        Self { name, kind, required: false }
    }
}
