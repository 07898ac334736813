//! The one error for invalid input: the field, what is wrong with it, and what is allowed.

use std::borrow::Cow;

/// A value from outside that was refused.
///
/// Its text may be shown to the person who sent the value: it names the field and says what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Invalid {
    /// The field as the sender knows it (`frequency`, `app`, `cronname`).
    pub field: Cow<'static, str>,
    /// What is wrong with it, and what is allowed.
    pub problem: String,
}

impl Invalid {
    /// An error about `field`.
    pub fn new(field: impl Into<Cow<'static, str>>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }

    /// The same problem under the sender's name for the field (gocron says `account` for `app`).
    #[must_use]
    pub fn called(mut self, field: impl Into<Cow<'static, str>>) -> Self {
        self.field = field.into();
        self
    }
}
