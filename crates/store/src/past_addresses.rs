//! The slugs of reservations whose checkout can be undone. A slug is the address of a reservation
//! within its app.

use std::collections::HashSet;

use diesel::prelude::*;
use innkeeper_core::slug;
use serde_json::Value;

use crate::StoreError;
use crate::connection::AnyConnection;
use crate::schema::checkouts;

/// The addresses of a reservation that an older version has checked out. Only the kept reservation
/// contains them.
fn addresses_in(component: &str, kept: &str) -> Vec<String> {
    let kept: Value = match serde_json::from_str(kept) {
        Ok(kept) => kept,
        Err(error) => {
            log::error!("the addresses of {component:?}, which was checked out, cannot be read: {error}");
            return Vec::new();
        }
    };
    let address = |name: &str| kept["reservation"][name].as_str().map(str::to_owned);
    // A reservation that was checked out before slugs were stored has the slug that was made of its
    // name.
    let slug = address("slug").filter(|slug| !slug.is_empty()).unwrap_or_else(|| slug::of_before(component));
    std::iter::once(slug).chain(address("old_slug")).filter(|slug| !slug.is_empty()).collect()
}

/// The slug and the old slug of the latest reservation that was checked out under these names.
pub(crate) fn latest_addresses(
    connection: &mut AnyConnection,
    app: &str,
    component: &str,
) -> Result<Vec<String>, StoreError> {
    let latest: Option<(Option<String>, Option<String>, String)> = checkouts::table
        .filter(checkouts::app.eq(app))
        .filter(checkouts::component.eq(component))
        .order((checkouts::checked_out_at.desc(), checkouts::reservation_id.desc()))
        .select((checkouts::slug, checkouts::old_slug, checkouts::reservation))
        .first(connection)
        .optional()?;
    Ok(match latest {
        None => Vec::new(),
        Some((Some(slug), old_slug, _)) => std::iter::once(slug).chain(old_slug).collect(),
        Some((None, _, kept)) => addresses_in(component, &kept),
    })
}

/// Which of `wanted` are addresses of reservations of the app whose checkout can be undone. Those
/// of `component` are left out.
pub(crate) fn addresses_among(
    connection: &mut AnyConnection,
    app: &str,
    component: &str,
    wanted: &[String],
) -> Result<HashSet<String>, StoreError> {
    let others =
        || checkouts::table.filter(checkouts::app.eq(app)).filter(checkouts::component.ne(component));
    let now = others().filter(checkouts::slug.eq_any(wanted)).select(checkouts::slug.assume_not_null());
    let before =
        others().filter(checkouts::old_slug.eq_any(wanted)).select(checkouts::old_slug.assume_not_null());
    let older =
        others().filter(checkouts::slug.is_null()).select((checkouts::component, checkouts::reservation));
    let mut found: HashSet<String> = now.load(connection)?.into_iter().collect();
    found.extend(before.load::<String>(connection)?);
    // Checkouts of an older version, which has no column of slugs. They exist for a day after an
    // upgrade.
    let older: Vec<(String, String)> = older.load(connection)?;
    let older = older.iter().flat_map(|(component, kept)| addresses_in(component, kept));
    found.extend(older.filter(|address| wanted.contains(address)));
    Ok(found)
}
