//! Slack's incoming webhooks, and compatible services (Mattermost, Rocket.Chat, Discord's `/slack`).
//!
//! One post contains one notice or several: the headline is the message, and each notice or section is a coloured
//! attachment. For Slack itself an attachment is made of blocks; the compatible services support only a text and
//! fields.
//!
//! A webhook does not return the id of the message that it posted, so a recovery is a separate message and no reply in
//! the alert's thread.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use innkeeper_core::notice::{EventKind, Notice};
use innkeeper_core::secret::Secret;
use innkeeper_core::ways::AlerterKind;
use innkeeper_core::{Clock, Invalid};
use innkeeper_settings::{SecretSource, Section};
use serde_json::{Value, json};

use crate::digest::{self, Digest, Tone};
use crate::http::Poster;
use crate::keys::{self, HttpOptions};
use crate::letter::{Letter, own_of, rendered};
use crate::redactor::Redactor;
use crate::{Alerter, Message, Sent, mentions, words};

/// The most lines of a digest in table form.
const MOST_LINES: usize = 50;
/// Slack's limits: the characters of a text and of a field, and the fields of a section.
const LONGEST_TEXT: usize = 3000;
const LONGEST_FIELD: usize = 1900;
const MOST_FIELDS: usize = 10;
/// The most attachments and blocks of one message. Slack accepts 100 attachments and 50 blocks.
const MOST_ATTACHMENTS: usize = 20;
const MOST_BLOCKS: usize = 45;
/// The most texts of one notice.
const MOST_TEXTS: usize = 20;
/// A value with fewer characters leaves room for another field beside it.
const SHORT: usize = 40;

/// `kind = "slack"`.
#[derive(Debug, Clone)]
pub(crate) struct SlackConfig {
    url: Option<SecretSource>,
    pub(crate) options: HttpOptions,
}

impl SlackConfig {
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        Self { url: keys::required_secret(section, "url", "url_file"), options: HttpOptions::read(section) }
    }

    pub(crate) fn build(&self, clock: Arc<dyn Clock>) -> Result<Box<dyn Alerter>, Invalid> {
        let url = keys::value_of("url", self.url.as_ref())?;
        let shape = Shape::of(&url);
        Ok(Box::new(Slack { poster: Poster::new(&url, &self.options, Redactor::default(), clock)?, shape }))
    }
}

struct Slack {
    poster: Poster,
    shape: Shape,
}

impl Alerter for Slack {
    fn send(&self, message: &Message<'_>) -> Sent {
        let post = post(message.notices, self.shape);
        self.poster.post(&[], post.to_string().as_bytes())
    }

    fn takes_digests(&self) -> bool {
        true
    }

    fn holds(&self, notices: &[Notice]) -> usize {
        holds(notices, self.shape)
    }

    fn kind(&self) -> AlerterKind {
        AlerterKind::Slack
    }

    fn longest(&self) -> Duration {
        self.poster.longest()
    }
}

/// The message format that a service supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Blocks with sections and fields, for Slack itself.
    Blocks,
    /// Attachments with a text and fields, for the compatible services.
    Attachments,
}

impl Shape {
    /// Blocks if the address is Slack's own.
    fn of(url: &Secret) -> Self {
        let host = url::Url::parse(url.reveal()).ok().and_then(|url| url.host_str().map(str::to_owned));
        let is_slack = host.is_some_and(|host| {
            ["slack.com", "slack-gov.com"]
                .iter()
                .any(|own| host == *own || host.ends_with(&format!(".{own}")))
        });
        if is_slack { Self::Blocks } else { Self::Attachments }
    }
}

/// The text of one message, without the output and the facts.
#[derive(Template)]
#[template(path = "slack.txt")]
struct Said<'a> {
    letter: &'a Letter,
    is_one_of_many: bool,
}

#[derive(Template)]
#[template(path = "slack_row.txt")]
struct Row<'a> {
    letter: &'a Letter,
}

pub(crate) fn post(notices: &[Notice], shape: Shape) -> Value {
    let headline = escape(&digest::headline(notices));
    json!({ "text": headline, "attachments": attachments(&digest::folded(notices), shape) })
}

/// How many of these notices, from the first on, one post can hold.
fn holds(notices: &[Notice], shape: Shape) -> usize {
    // The texts by people alone give a first upper bound.
    let mut characters = 0;
    let is_too_much = |notice: &Notice| {
        characters += own_of(notice).chars().count();
        characters > MOST_ATTACHMENTS * LONGEST_TEXT
    };
    let mut held = notices.iter().position(is_too_much).unwrap_or(notices.len());
    while held > 1 {
        let attachments = attachments(&digest::folded(&notices[..held]), shape);
        let blocks =
            attachments.iter().filter_map(|one| one["blocks"].as_array()).map(Vec::len).sum::<usize>();
        if attachments.len() <= MOST_ATTACHMENTS && blocks <= MOST_BLOCKS {
            return held;
        }
        held -= held.div_ceil(8);
    }
    1
}

fn attachments(notices: &[Notice], shape: Shape) -> Vec<Value> {
    match notices {
        [notice] => whole(notice, &Letter::of(notice), false, shape),
        _ if notices.len() <= digest::MOST_WHOLE => digest::worst_first(notices)
            .iter()
            .flat_map(|notice| whole(notice, &Letter::of(notice), true, shape))
            .collect(),
        _ => table(notices, shape),
    }
}

/// One message in full: one attachment, or several if the texts by people are too long for one.
fn whole(notice: &Notice, letter: &Letter, is_one_of_many: bool, shape: Shape) -> Vec<Value> {
    let said = rendered(&Said { letter, is_one_of_many });
    let said = match (notice.event, said.trim()) {
        // An older version wrote summaries as tables, whose columns need a fixed-width font.
        (EventKind::Summary, said) if notice.summary.is_none() => fenced(said),
        (_, said) => words::cut(said, MOST_TEXTS * (LONGEST_TEXT - 10)),
    };
    let mut said: Vec<&str> = words::pieces(&said, LONGEST_TEXT);
    let last = said.pop().unwrap_or_default();
    let output = match letter.output.as_str() {
        "" => String::new(),
        output => format!("{}\n{}", letter.output_title, fenced(&escape(output))).trim_start().to_owned(),
    };
    let open = letter.url.as_ref().map(|url| link(url, "Open in Innkeeper")).unwrap_or_default();
    let facts =
        letter.facts_beside_link().map(|fact| (fact.label, words::cut(&escape(&fact.value), LONGEST_FIELD)));
    let colour = colour(Tone::of(notice));
    let fallback = escape(&letter.subject);
    match shape {
        Shape::Blocks => {
            let texts = said.into_iter().chain([last, &output, &open]).filter(|text| !text.is_empty());
            let mut blocks: Vec<Value> = texts.map(section).collect();
            let fields: Vec<Value> = facts
                .take(MOST_FIELDS)
                .map(|(label, value)| mrkdwn(&format!("*{label}*\n{value}")))
                .collect();
            if !fields.is_empty() {
                let before_link = blocks.len() - usize::from(!open.is_empty());
                blocks.insert(before_link, json!({ "type": "section", "fields": fields }));
            }
            vec![json!({ "color": colour, "fallback": fallback, "blocks": blocks })]
        }
        Shape::Attachments => {
            let texts = [last, &output, &open].into_iter().filter(|text| !text.is_empty());
            let text = texts.collect::<Vec<&str>>().join("\n");
            let fields: Vec<Value> = facts
                .map(|(label, value)| json!({ "title": label, "value": value, "short": value.chars().count() < SHORT }))
                .collect();
            let before = said.iter().map(
                |text| json!({ "color": colour, "fallback": fallback, "text": text, "mrkdwn_in": ["text"] }),
            );
            let last = json!({ "color": colour, "fallback": fallback, "text": text, "fields": fields, "mrkdwn_in": ["text", "fields"] });
            before.chain([last]).collect()
        }
    }
}

/// Many messages: one line for each, and the texts by people in full.
fn table(notices: &[Notice], shape: Shape) -> Vec<Value> {
    let mut attachments = Vec::new();
    for part in Digest::bounded(notices, MOST_LINES).parts {
        let mut texts = vec![format!("*{}*", part.title)];
        let mut add = |line: &str| match texts.last_mut() {
            Some(text) if text.chars().count() + line.chars().count() < LONGEST_TEXT => {
                text.push('\n');
                text.push_str(line);
            }
            _ => texts.extend(words::pieces(line, LONGEST_TEXT).into_iter().map(str::to_owned)),
        };
        for letter in &part.letters {
            add(rendered(&Row { letter }).trim_end());
        }
        if part.more > 0 {
            add(&digest::more(part.more));
        }
        let colour = colour(part.tone);
        attachments.extend(texts.iter().map(|text| match shape {
            Shape::Blocks => json!({ "color": colour, "fallback": part.title, "blocks": [section(text)] }),
            Shape::Attachments => {
                json!({ "color": colour, "fallback": part.title, "text": text, "mrkdwn_in": ["text"] })
            }
        }));
    }
    attachments
}

fn section(text: &str) -> Value {
    json!({ "type": "section", "text": mrkdwn(text) })
}

fn mrkdwn(text: &str) -> Value {
    json!({ "type": "mrkdwn", "text": text })
}

/// The end of an escaped text as a code block. Backticks that would close the block early are replaced.
fn fenced(text: &str) -> String {
    let text = text.replace("```", "\u{2018}\u{2018}\u{2018}");
    let surplus = text.chars().count().saturating_sub(LONGEST_TEXT - 40);
    let end: String = text.chars().skip(surplus).collect();
    // A cut may fall within an escaped character, so the text starts at the next line.
    let end = if surplus == 0 { &end[..] } else { end.split_once('\n').map_or(&end[..], |(_, rest)| rest) };
    format!("```\n{end}\n```")
}

fn colour(tone: Tone) -> &'static str {
    match tone {
        Tone::Trouble => "danger",
        Tone::Warning => "warning",
        Tone::Good => "good",
        Tone::Neutral => "#808080",
    }
}

/// The escaped texts by people. A code block that they leave open would include all that follows, so it is closed.
fn own(letter: &Letter) -> String {
    let mut own = escape(&letter.own);
    if own.matches("```").count() % 2 == 1 {
        own.push_str("\n```");
    }
    own
}

/// Escapes Slack's three special characters. Without `<`, and with each `@` separated from its name, the text cannot
/// mention a channel or a person.
fn escape(text: &str) -> String {
    mentions::silenced(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn link(url: &str, text: &str) -> String {
    format!("<{}|{}>", escape(url).replace('|', "%7C"), escape(text).replace('|', "¦"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slack_itself_gets_blocks_and_what_is_compatible_attachments() {
        for (url, shape) in [
            ("https://hooks.slack.com/services/T/B/x", Shape::Blocks),
            ("https://hooks.slack-gov.com/services/T/B/x", Shape::Blocks),
            ("https://chat.example.org/hooks/x", Shape::Attachments),
            ("https://hooks.slack.com.example.org/x", Shape::Attachments),
            ("https://notslack.com/x", Shape::Attachments),
        ] {
            assert_eq!(Shape::of(&Secret::new(url)), shape, "{url}");
        }
    }

    #[test]
    fn nothing_that_is_said_rings_for_anybody() {
        let call = "@channel <!channel> x@here (@ada) ops@example.org";
        let notice = serde_json::json!({
            "event": "opened", "instance": call, "subject": call, "text": call, "at": "2026-11-20T02:05:00Z",
            "url": "https://inn.example.org/@here",
            "alert": {
                "id": 7, "dedup_key": "k", "cause": "failed", "reason": call, "exit_code": 1,
                "opened_at": "2026-11-20T02:05:00Z", "closed_at": null, "since": "2026-11-20T02:05:00Z",
                "reservation_id": 3, "app": call, "component": call, "owner": call, "description": call,
                "tags": [call], "notify": call, "schedule": call, "last_checkin_at": null, "checkins": 1,
                "notes": call, "own_text": call, "time_zone": "UTC", "source": call, "also_told": [call], "jobs": 2,
                "why": { "reason": "failed", "at": "2026-11-20T02:05:00Z", "exit_code": 1, "in_a_row": 1 },
                "expected": call, "runbook": format!("https://wiki.example.org/@channel {call}")
            }
        });
        let told: Notice = serde_json::from_value(notice).unwrap();
        let mut of_operator = told.clone();
        (of_operator.event, of_operator.alert) = (EventKind::Operator, None);
        let mut summary = told.clone();
        (summary.event, summary.alert) = (EventKind::Summary, None);
        for notices in
            [vec![told.clone()], vec![of_operator], vec![summary], vec![told.clone(); 5], vec![told; 40]]
        {
            for shape in [Shape::Blocks, Shape::Attachments] {
                let said = post(&notices, shape).to_string();
                assert!(said.contains("ops@example.org"), "{said}");
                for called in ["@channel", "@here", "@ada", "<!", "<@"] {
                    assert!(!said.contains(called), "{shape:?} {called}: {said}");
                }
            }
        }
    }

    #[test]
    fn blocks_keep_slacks_bounds() {
        let notice = serde_json::json!({
            "event": "opened", "instance": "inn", "subject": "DOWN shop/backup: failed", "text": "", "at": "2026-11-20T02:05:00Z",
            "url": "https://inn.example.org/status/3",
            "alert": {
                "id": 7, "dedup_key": "k", "cause": "failed", "reason": "Failed.", "exit_code": 1,
                "opened_at": "2026-11-20T02:05:00Z", "closed_at": null, "since": "2026-11-20T02:05:00Z",
                "reservation_id": 3, "app": "shop", "component": "backup", "owner": "ops", "description": "d".repeat(4000),
                "tags": ["db"], "notify": "ops", "schedule": "every 5 minutes", "last_checkin_at": null, "checkins": 1,
                "notes": "<first>\n".repeat(240) + "last", "own_text": "&".repeat(4000), "time_zone": "UTC",
                "why": { "reason": "failed", "at": "2026-11-20T02:05:00Z", "exit_code": 1, "in_a_row": 1 },
                "source": "10.1.1.11", "also_told": ["oncall"], "jobs": 2, "expected": "each day at 03:00",
                "runbook": "https://wiki.example.org/x"
            }
        });
        let notice: Notice = serde_json::from_value(notice).unwrap();
        for notices in [vec![notice.clone()], vec![notice.clone(); 5], vec![notice; 40]] {
            let post = post(&notices, Shape::Blocks);
            let attachments = post["attachments"].as_array().unwrap();
            assert!(!attachments.is_empty());
            for block in attachments.iter().flat_map(|one| one["blocks"].as_array().unwrap()) {
                let text = block["text"]["text"].as_str().unwrap_or_default();
                assert!(text.chars().count() <= 3000, "{text}");
                let fields = block["fields"].as_array().map_or(&[][..], Vec::as_slice);
                assert!(fields.len() <= 10);
                assert!(fields.iter().all(|field| field["text"].as_str().unwrap().chars().count() <= 2000));
            }
            if notices.len() <= digest::MOST_WHOLE {
                let blocks = attachments[0]["blocks"].as_array().unwrap();
                let texts: Vec<&str> =
                    blocks.iter().filter_map(|block| block["text"]["text"].as_str()).collect();
                let is_output =
                    |text: &&str| text.starts_with("```\n&lt;first&gt;\n") && text.ends_with("\nlast\n```");
                let output = texts.iter().position(is_output).unwrap();
                assert_eq!(blocks[output + 1]["fields"][0]["text"], "*Exit status*\n1");
                let said = texts[..output].concat();
                assert_eq!(said.matches("&amp;").count(), 4000, "the words of people are whole");
                assert!(said.contains("failed on Fri 20 Nov"), "and so is what happened: {said}");
            }
        }
    }

    #[test]
    fn many_words_of_people_are_several_posts_and_none_is_lost() {
        let opened = |n: usize, own: &str| -> Notice {
            serde_json::from_value(serde_json::json!({
                "event": "opened", "instance": "inn", "subject": format!("DOWN shop/job-{n}: failed"), "text": "",
                "at": "2026-11-20T02:05:00Z", "url": "https://inn.example.org/status/3",
                "alert": {
                    "id": n, "dedup_key": "k", "cause": "failed", "reason": "Failed.", "exit_code": 1,
                    "opened_at": "2026-11-20T02:05:00Z", "closed_at": null, "since": "2026-11-20T02:05:00Z",
                    "reservation_id": 3, "app": "shop", "component": format!("job-{n}"), "owner": "ops",
                    "description": "", "tags": [], "notify": "ops", "schedule": "every 5 minutes",
                    "last_checkin_at": null, "checkins": 1, "notes": "", "own_text": own, "time_zone": "UTC",
                    "why": { "reason": "failed", "at": "2026-11-20T02:05:00Z", "exit_code": 1, "in_a_row": 1 }
                }
            }))
            .unwrap()
        };
        for (count, words, at_most) in [(1000, 250, 10), (60, 4000, 8), (10, 4000, 2), (12, 7900, 4)] {
            let notices: Vec<Notice> =
                (0..count).map(|n| opened(n, &format!("{}<{n}>", "ü ".repeat(words / 2)))).collect();
            for shape in [Shape::Blocks, Shape::Attachments] {
                let (mut rest, mut posts, mut said) = (&notices[..], 0, String::new());
                while !rest.is_empty() {
                    let held = holds(rest, shape);
                    let post = post(&rest[..held], shape);
                    let attachments = post["attachments"].as_array().unwrap();
                    assert!(attachments.len() <= MOST_ATTACHMENTS, "{}", attachments.len());
                    for one in attachments {
                        let blocks = one["blocks"].as_array().map_or(&[][..], Vec::as_slice);
                        let blocks = blocks.iter().filter_map(|block| block["text"]["text"].as_str());
                        said.extend(blocks.chain(one["text"].as_str()));
                    }
                    assert_eq!(super::holds(&rest[..held], shape), held, "a repeat is cut in the same way");
                    (rest, posts) = (&rest[held..], posts + 1);
                }
                assert!(posts <= at_most, "{count} jobs are {posts} posts");
                assert_eq!(said.matches('ü').count(), count * (words / 2));
                assert!((0..count).all(|n| said.contains(&format!("&lt;{n}&gt;"))));
            }
        }
    }

    #[test]
    fn a_fixed_width_that_people_begin_ends_with_their_words() {
        let mut letter = Letter::row(
            &serde_json::from_value(serde_json::json!({
                "event": "operator", "instance": "inn", "subject": "s", "text": "t",
                "at": "2026-11-20T02:05:00Z", "url": null, "alert": null
            }))
            .unwrap(),
        );
        letter.own = "Run this:\n```\nmake <it>".to_owned();
        assert_eq!(own(&letter), "Run this:\n```\nmake &lt;it&gt;\n```");
        letter.own = "```a```".to_owned();
        assert_eq!(own(&letter), "```a```");
    }
}
