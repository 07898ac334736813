//! The authorities that the system trusts. They are reloaded every hour, because they change during the lifetime of a
//! service.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::pki_types::TrustAnchor;

const READ_AGAIN: Duration = Duration::from_secs(3600);

type Anchors = Arc<Vec<TrustAnchor<'static>>>;

static SYSTEM: Mutex<Option<(Instant, Anchors)>> = Mutex::new(None);

/// The system's authorities; empty if there are none.
pub(super) fn of_system() -> Anchors {
    let mut kept = SYSTEM.lock().unwrap_or_else(PoisonError::into_inner);
    match &*kept {
        Some((read, anchors)) if read.elapsed() < READ_AGAIN => Arc::clone(anchors),
        _ => {
            let certificates = rustls_native_certs::load_native_certs().certs;
            let anchors = certificates
                .iter()
                .filter_map(|certificate| webpki::anchor_from_trusted_cert(certificate).ok())
                .map(|anchor| anchor.to_owned());
            let anchors = Arc::new(anchors.collect::<Vec<_>>());
            *kept = Some((Instant::now(), Arc::clone(&anchors)));
            anchors
        }
    }
}
