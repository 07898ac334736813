//! The readers of what the pages and the API are asked, for the fuzz targets: each as its handler calls it, without the
//! database.

use actix_web::web::Query;

use crate::api::declared::DeclaredDocument;
use crate::api::reading::{self, ReadQuery};
use crate::api::reservations::{LISTED_BY, read_cursor, write_cursor};
use crate::pages::status_query::StatusQuery;

/// A place in a list, as the API's `next` or in the query of a page.
pub fn cursor(text: &str) {
    if let Ok(cursor) = read_cursor(text) {
        let written = write_cursor(&cursor).unwrap_or_default();
        assert_eq!(read_cursor(&written).ok(), Some(cursor));
    }
    if let Ok(asked) = ReadQuery::of_query(text, &LISTED_BY) {
        drop((asked.limit(), asked.text("cursor").map(read_cursor)));
    }
    let Ok(query) = Query::<StatusQuery>::from_query(text) else { return };
    if query.filter().is_ok() {
        let cursor = query.cursor();
        let address = query.address(Some(&cursor));
        let again =
            address.split_once('?').and_then(|(_, query)| Query::<StatusQuery>::from_query(query).ok());
        let again = again.map_or_else(|| StatusQuery::default().cursor(), |query| query.cursor());
        assert_eq!(again, cursor, "{address}");
    }
}

/// A declared set, as JSON and as TOML.
pub fn document(body: &[u8]) {
    let read = [reading::json::<DeclaredDocument>(body), reading::toml::<DeclaredDocument>(body)];
    for document in read.into_iter().flatten() {
        let written = serde_json::to_vec(&document).unwrap_or_default();
        assert!(reading::json::<DeclaredDocument>(&written).is_ok());
    }
}
