//! Splits a sending of several messages into parts: each holds as much as one message may, or less if that is refused.

use std::collections::VecDeque;

use innkeeper_alerter::Alerter;
use innkeeper_core::notice::Notice;
use innkeeper_store::{Delivery, Sending};

/// Splits the sending into parts that this alerter's messages can hold.
///
/// The key of a part is derived from the messages in it, so that a part that is sent again has the same key.
pub(crate) fn of(alerter: &dyn Alerter, sending: Sending) -> VecDeque<Sending> {
    let notices: Vec<Notice> = sending.deliveries.iter().map(|delivery| delivery.notice.clone()).collect();
    let mut parts = VecDeque::new();
    let mut rest = under_its_key(sending);
    let mut begin = 0;
    loop {
        let held = alerter.holds(&notices[begin..]).max(1);
        if held >= rest.deliveries.len() {
            parts.push_back(rest);
            return parts;
        }
        let (part, after) = split(rest, held);
        parts.push_back(part);
        rest = after;
        begin += held;
    }
}

/// Splits a sending of several messages into halves.
pub(crate) fn halves(sending: Sending) -> (Sending, Sending) {
    let half = sending.deliveries.len().div_ceil(2);
    split(sending, half)
}

/// Splits off the first `count` messages; returns them and the others.
fn split(mut sending: Sending, count: usize) -> (Sending, Sending) {
    let deliveries = sending.deliveries.split_off(count);
    let after = Sending { key: sending.key.clone(), recipient: sending.recipient.clone(), deliveries };
    (under_its_key(sending), under_its_key(after))
}

/// The sending under the key that belongs to its messages. A key that is not one of several messages stays as it is.
///
/// The store's key of several messages is the key of the first, their number, and the sum of their ids: `KEY+3+42`.
fn under_its_key(mut sending: Sending) -> Sending {
    let mut parts = sending.key.rsplitn(3, '+');
    let (sum, count, first) = (parts.next(), parts.next(), parts.next());
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<i64>().ok());
    if let (Some(_), Some(_), Some(first)) = (number(sum), number(count), first) {
        let sum: i64 = sending.deliveries.iter().map(|Delivery { id, .. }| id).sum();
        sending.key = format!("{first}+{}+{sum}", sending.deliveries.len());
    }
    sending
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_has_the_same_key_however_it_came_about() {
        let notice: Notice = serde_json::from_value(serde_json::json!({
            "event": "operator", "instance": "inn", "subject": "s", "text": "t",
            "at": "2026-11-20T02:05:00Z", "url": null, "alert": null
        }))
        .expect("it is a notice");
        let delivery = |id: i64| Delivery {
            id,
            notice: notice.clone(),
            attempts: 0,
            created_at: notice.at,
            next_at: notice.at,
        };
        let of = |key: &str, ids: &[i64]| Sending {
            key: key.to_owned(),
            recipient: String::new(),
            deliveries: ids.iter().map(|id| delivery(*id)).collect(),
        };
        let (first, second) = halves(of("k+5+25", &[3, 4, 5, 6, 7]));
        assert_eq!((first.key.as_str(), second.key.as_str()), ("k+3+12", "k+2+13"));
        let (fourth, fifth) = halves(second);
        assert_eq!((fourth.key.as_str(), fifth.key.as_str()), ("k+1+6", "k+1+7"));
        assert_eq!(under_its_key(of("k+5+25", &[6, 7])).key, "k+2+13", "claimed again by itself");
        assert_eq!(under_its_key(of("k+5+25", &[3, 4, 5, 6, 7])).key, "k+5+25");
        assert_eq!(under_its_key(of("0a-1b", &[3])).key, "0a-1b");
    }
}
