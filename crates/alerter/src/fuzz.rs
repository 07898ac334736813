//! Composes messages for the fuzz targets as the alerters do, and sends none.

use innkeeper_core::Time;
use innkeeper_core::notice::Notice;
use lettre::Address;
use lettre::message::Mailbox;

use crate::message::KeyedNotice;
use crate::slack::{self, Shape};
use crate::smtp::mail;
use crate::{Message, logbook};

/// The headers that a mail may have.
const HEADERS: [&str; 14] = [
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "Auto-Submitted",
    "X-Auto-Response-Suppress",
    "X-Innkeeper-Event",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Content-Disposition",
];

/// Composes these notices in every format, and checks that no text of a reservation becomes a header of a mail, a line
/// of the log, or a mention of a whole channel.
pub fn write(notices: &[Notice]) {
    let address = || Address::new("innkeeper", "example.org");
    if let (Ok(from), Ok(to)) = (address(), address()) {
        let message = Message { notices, recipient: None, key: "k" };
        if let Ok(mail) = mail::compose(&message, &Mailbox::new(None, from), &to, Time::UNIX_EPOCH) {
            let (head, _) = mail.split_once("\r\n\r\n").unwrap_or((&mail, ""));
            for line in head.split("\r\n").filter(|line| !line.starts_with([' ', '\t'])) {
                let name = line.split_once(':').map_or(line, |(name, _)| name);
                assert!(HEADERS.contains(&name), "a header {name:?} in {head}");
            }
            assert!(mail.is_ascii(), "{mail:?}");
        }
    }
    for shape in [Shape::Blocks, Shape::Attachments] {
        let post = slack::post(notices, shape).to_string();
        assert!(!post.contains("<!"), "{post}");
    }
    for notice in notices {
        let line = logbook::line(notice, "k");
        assert!(!line.contains(['\n', '\r']), "{line:?}");
        assert!(KeyedNotice::json(notice, "k").is_ok());
    }
}
