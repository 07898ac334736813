//! What every page shows around its content.

use crate::Desk;

/// The header of a page.
pub struct Frame<'a> {
    pub instance: &'a str,
    pub public_url: &'a str,
    path: &'static str,
}

impl<'a> Frame<'a> {
    pub fn of(desk: &'a Desk, path: &'static str) -> Self {
        Self { instance: &desk.instance, public_url: &desk.public_url, path }
    }

    pub fn is_current(&self, path: &str) -> bool {
        path == self.path
    }

    pub fn pages(&self) -> [(&'static str, &'static str); 5] {
        [
            ("/status", "Reservations"),
            ("/alerts", "Alerts"),
            ("/deliveries", "Deliveries"),
            ("/badguests", "Bad guests"),
            ("/nodes", "Nodes"),
        ]
    }
}
