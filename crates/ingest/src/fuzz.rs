//! The parsers of HTTP input, for the fuzz targets: each as its handler calls it, without the database.

use std::sync::LazyLock;

use actix_web::dev::{Path, ResourceDef, Url};
use actix_web::http::Uri;
use innkeeper_core::Invalid;
use innkeeper_core::excerpt::Excerpt;
use innkeeper_core::names::AlerterName;
use innkeeper_core::reminders::Reminders;
use innkeeper_core::reservation::Patch;
use innkeeper_ingest_routes::healthchecks::{ONE, THREE, TWO};
use innkeeper_store::Target;

use crate::fields::Fields;
use crate::{gocron, gotel, healthchecks, reports};

static ADDRESSES: LazyLock<Vec<(usize, ResourceDef)>> = LazyLock::new(|| {
    let of = |count, patterns: &[&'static str]| -> Vec<_> {
        patterns.iter().map(|pattern| (count, ResourceDef::new(*pattern))).collect()
    };
    [of(1, &ONE), of(2, &TWO), of(3, &THREE)].concat()
});

/// Parses a ping: its path and query, and the output of its job.
pub fn ping(address: &[u8], log: &[u8]) {
    let notes = Excerpt::of(log).text();
    assert!(!notes.contains('\0'), "no database takes a NUL");
    let Ok(uri) = Uri::try_from(address) else { return };
    for (count, resource) in ADDRESSES.iter() {
        let mut path = Path::new(Url::new(uri.clone()));
        if !resource.capture_match_info(&mut path) {
            continue;
        }
        let parts = match count {
            1 => path.load().map(|first| vec![first]),
            2 => path.load().map(|(first, second)| vec![first, second]),
            _ => path.load().map(|(first, second, third)| vec![first, second, third]),
        };
        let Ok(parts): Result<Vec<String>, _> = parts else { continue };
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let Ok((target, word)) = healthchecks::addressed(&parts) else { continue };
        if let Target::Slug { ping_key, slug } = target {
            assert!(ping_key.is_ascii() && slug.is_ascii() && !ping_key.contains('\0'));
        }
        if let Ok(pinged) = healthchecks::pinged(uri.query().unwrap_or_default(), word) {
            assert!(pinged.exit_code.is_none_or(|code| (0..=255).contains(&code)));
            assert!(pinged.warnings.len() <= 6);
        }
    }
}

/// Parses a body as each kind of request of GoTel, gocron and agents.
pub fn body(body: &[u8]) {
    let alerters: Vec<_> = AlerterName::parse("alerters", "ops").into_iter().collect();
    if let Ok((fields, is_listed)) = gotel::reservation_fields(body) {
        drop(gotel::names(&fields));
        drop(fields.refuse_unknown());
        keeps(gotel::patch(&fields, is_listed, Reminders::Never, &alerters));
    }
    if let Ok(said) = gotel::said(body) {
        assert!(!said.notes.contains('\0') && said.passed_over.len() <= 11);
    }
    if let Ok(fields) = Fields::from_json(body, &gotel::SNOOZE, &gotel::PASSED) {
        drop(gotel::names(&fields));
        drop(gotel::snoozed_for(&fields).map(|duration| duration.span()));
    }
    if let Ok(fields) = Fields::from_json(body, &gotel::CHECKOUT, &gotel::PASSED) {
        drop(gotel::names(&fields));
    }
    if let Ok(fields) = gocron::body_fields(body) {
        wished(&fields);
    }
    for checkin in reports::read(body) {
        let report = checkin.report.as_ref();
        assert!(checkin.at <= checkin.arrived_at() && !checkin.notes.contains('\0'));
        assert!(report.is_some_and(|report| report.signal.iter().all(|signal| signal.is_ascii())));
    }
}

/// Parses the query of a gocron check-in.
pub fn query(query: &str) {
    if let Ok(fields) = Fields::from_query(query, &gocron::FIELDS) {
        wished(&fields);
    }
}

fn wished(fields: &Fields) {
    drop(fields.app("account"));
    drop(fields.component("cronname"));
    drop(fields.unknown());
    keeps(gocron::patch(fields).map(|(patch, _)| patch));
}

/// Checks that a patch that passed the checks passes them again.
fn keeps(patch: Result<Patch, Invalid>) {
    if let Ok(patch) = patch {
        assert!(patch.clone().checked().is_ok(), "{patch:?}");
    }
}
