//! A build that knows no provider.

use innkeeper_core::Time;
use innkeeper_node::config::OpenIdConfig;

use super::{Beginning, OpenIdTrouble, Person, Returned};

/// There is none: a configuration with one is refused.
pub(crate) enum Provider {}

impl Provider {
    pub fn new(_: &OpenIdConfig, _: &str) -> anyhow::Result<Self> {
        anyhow::bail!("[web.openid] needs a build with the feature openid")
    }

    pub fn begin(&self, _: &Beginning) -> Result<String, OpenIdTrouble> {
        match *self {}
    }

    pub fn end(&self, _: &Beginning, _: &Returned, _: Time) -> Result<Person, OpenIdTrouble> {
        match *self {}
    }

    pub fn needed(&self) -> String {
        match *self {}
    }

    pub fn role_follows(&self) -> bool {
        match *self {}
    }

    pub fn trusts_names(&self) -> bool {
        match *self {}
    }
}
