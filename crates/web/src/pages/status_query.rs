//! The filter, the order and the place of a page of reservations, as they stand in its address.

use innkeeper_core::names::one_line;
use innkeeper_core::sla::State;
use innkeeper_core::{Invalid, Time};
use innkeeper_store::{Filter, ListCursor};
use serde::Deserialize;

/// The longest text that is looked for, characters.
const LONGEST: usize = 500;

/// The orders that a page can have, and their words.
pub const SORTS: [(&str, &str); 4] = [
    ("worst", "Worst first"),
    ("name", "By name"),
    ("newest", "Newest first"),
    ("silent", "Longest silent first"),
];

/// See above. Fields that a form leaves empty count as not given.
#[derive(Debug, Default, Deserialize)]
pub struct StatusQuery {
    #[serde(default)]
    pub q: String,
    #[serde(default)]
    pub app: String,
    #[serde(default)]
    pub tag: String,
    #[serde(default)]
    pub owner: String,
    #[serde(default)]
    pub state: String,
    #[serde(default)]
    pub sort: String,
    after_app: Option<String>,
    after_component: Option<String>,
    after_down: Option<bool>,
    /// What was just checked out.
    pub checked_out: Option<i64>,
    after_id: Option<i64>,
    after_at: Option<i64>,
}

impl StatusQuery {
    /// Which reservations.
    ///
    /// # Errors
    /// An order or a state that does not exist, or a text that is longer than any name.
    pub fn filter(&self) -> Result<Filter, Invalid> {
        let after = [("after_app", &self.after_app), ("after_component", &self.after_component)];
        let after = after.into_iter().filter_map(|(field, text)| Some((field, text.as_ref()?)));
        let texts = [("q", &self.q), ("app", &self.app), ("tag", &self.tag), ("owner", &self.owner)];
        texts.into_iter().chain(after).try_for_each(|(field, text)| one_line(field, text, LONGEST))?;
        let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        if !self.sort.is_empty() && !SORTS.iter().any(|(sort, _)| *sort == self.sort) {
            let allowed = SORTS.map(|(sort, _)| sort).join(", ");
            return Err(Invalid::new("sort", format!("{:?} is no order; allowed: {allowed}", self.sort)));
        }
        Ok(Filter {
            text: given(&self.q),
            app: given(&self.app),
            tag: given(&self.tag),
            owner: given(&self.owner),
            state: given(&self.state).map(|word| State::parse("state", &word)).transpose()?,
            ..Filter::default()
        })
    }

    /// Where the page begins.
    pub fn cursor(&self) -> ListCursor {
        let name = || self.after_app.clone().zip(self.after_component.clone());
        match self.sort.as_str() {
            "newest" => self.after_id.map_or(ListCursor::newest(), |before| ListCursor::Newest { before }),
            "silent" => self.after_id.map_or(ListCursor::silent(), |id| ListCursor::Silent {
                last: self.after_at.and_then(Time::from_timestamp_millis),
                id,
            }),
            // Those of one state are as bad as each other.
            sort if sort == "name" || !self.state.trim().is_empty() => {
                name().map_or(ListCursor::name(), |(app, component)| ListCursor::Name { app, component })
            }
            _ => name().map_or(ListCursor::worst(), |(app, component)| ListCursor::Worst {
                down: self.after_down.unwrap_or_default(),
                app,
                component,
            }),
        }
    }

    /// Whether not all reservations are asked for.
    pub fn is_filtered(&self) -> bool {
        [&self.q, &self.app, &self.tag, &self.owner, &self.state].iter().any(|text| !text.trim().is_empty())
    }

    /// Whether those of this state are asked for.
    pub fn is_in(&self, state: &str) -> bool {
        self.state.trim() == state
    }

    /// Whether this is their order.
    pub fn is_sorted(&self, sort: &str) -> bool {
        self.sort == sort || (self.sort.is_empty() && sort == SORTS[0].0)
    }

    /// Whether this is not the first page.
    pub fn is_further(&self) -> bool {
        self.after_app.is_some() || self.after_id.is_some()
    }

    /// The address of the first page.
    pub fn first(&self) -> String {
        self.address(None)
    }

    /// The address of the page behind `cursor`.
    pub fn address(&self, cursor: Option<&ListCursor>) -> String {
        let fields = [
            ("q", &self.q),
            ("app", &self.app),
            ("tag", &self.tag),
            ("owner", &self.owner),
            ("state", &self.state),
            ("sort", &self.sort),
        ];
        let mut pairs: Vec<(&str, String)> = fields
            .into_iter()
            .filter(|(_, value)| !value.trim().is_empty())
            .map(|(key, value)| (key, value.clone()))
            .collect();
        match cursor {
            Some(ListCursor::Worst { down, app, component }) => pairs.extend([
                ("after_down", down.to_string()),
                ("after_app", app.clone()),
                ("after_component", component.clone()),
            ]),
            Some(ListCursor::Name { app, component }) => {
                pairs.extend([("after_app", app.clone()), ("after_component", component.clone())]);
            }
            Some(ListCursor::Newest { before }) => pairs.push(("after_id", before.to_string())),
            Some(ListCursor::Silent { last, id }) => {
                pairs.push(("after_id", id.to_string()));
                pairs.extend(last.map(|last| ("after_at", last.timestamp_millis().to_string())));
            }
            None => {}
        }
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        if query.is_empty() { "/status".to_owned() } else { format!("/status?{query}") }
    }
}
