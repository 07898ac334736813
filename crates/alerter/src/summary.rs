//! The weekly summary as a message: `templates/summary.txt` and, for mail, `templates/summary.html`.

use askama::Template;
use innkeeper_core::duration;
use innkeeper_core::summary::{DownJob, Recovered, Summary};

use crate::letter::rendered;
use crate::words;

#[derive(Template)]
#[template(path = "summary.txt")]
struct PlainSummary<'a> {
    summary: &'a Summary,
}

#[derive(Template)]
#[template(path = "summary.html")]
struct HtmlSummary<'a> {
    summary: &'a Summary,
}

/// The summary as plain text: a few short lines for each job.
pub fn text(summary: &Summary) -> String {
    rendered(&PlainSummary { summary }).trim_end().to_owned() + "\n"
}

/// The summary as a part of an HTML page.
pub(crate) fn html(summary: &Summary) -> String {
    rendered(&HtmlSummary { summary })
}

fn counted(reservations: i64) -> String {
    duration::counted(reservations, "reservation")
}

/// For example "once" or "4 times".
fn times(n: i64) -> String {
    if n == 1 { "once".to_owned() } else { format!("{n} times") }
}

/// For example "failed since Wed 25 Nov 04:24".
fn since(summary: &Summary, down: &DownJob) -> String {
    format!("{} since {}", down.what, summary.moment(down.since))
}

/// For example "and 3 times before, within 7 days".
fn before(n: i64) -> String {
    if n == 0 { String::new() } else { format!("and {} before, within 7 days", times(n)) }
}

/// For example "failed 4 times" or "failed on Wed 25 Nov 04:24".
fn was(summary: &Summary, one: &Recovered) -> String {
    match one.times {
        1 => format!("{} on {}", one.what, summary.moment(one.opened_at)),
        n => format!("{} {}", one.what, times(n)),
    }
}

/// For example "2 hours in all"; "2 hours" if it happened once.
fn in_all(one: &Recovered) -> String {
    if one.times == 1 { one.down_in_all() } else { format!("{} in all", one.down_in_all()) }
}

/// For example "last on Wed 25 Nov 04:24, for 2 hours"; empty if it happened once.
fn last(summary: &Summary, one: &Recovered) -> String {
    match one.times {
        1 => String::new(),
        _ => format!("last on {}, for {}", summary.moment(one.opened_at), one.down_last()),
    }
}
