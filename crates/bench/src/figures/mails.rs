//! Many jobs that become overdue at once or within a second, reported by mail: the number of messages per recipient.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use innkeeper_testing::smtp_sink::SmtpSink;

use crate::table::{Row, commas};
use crate::world::World;
use crate::world::database::{WITH_HOOK, now_ms, sleep_until};
use crate::world::roles::Roles;

/// The target of the large storm, in mails.
const HANDFUL: f64 = 10.0;
/// The target of the small storm, in mails per recipient: the first message and a digest.
const TWO: f64 = 2.0;
/// The jobs of the small storm, and its recipients.
const FEW: u64 = 30;
const PEOPLE: [&str; 2] = ["ops@example.org", "dba@example.org"];

/// The number of delivered mails, once none is waiting. Counting them takes longer than the delivery that is
/// measured.
const DELIVERED: &str =
    "SELECT CASE WHEN EXISTS (SELECT 1 FROM deliveries WHERE alerter = 'mail' AND state = 'waiting') THEN 0
    ELSE (SELECT COUNT(*) FROM deliveries WHERE alerter = 'mail' AND state = 'delivered') END";

fn mail_to(mailbox: &SmtpSink) -> String {
    format!(
        "[alerter.mail]\nkind = \"smtp\"\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\nfrom = \"innkeeper@example.org\"\n",
        mailbox.port()
    )
}

/// Thirty jobs within a second: the mails for each of two people, and the time until the first.
pub fn thirty_within_a_second(world: &mut World) -> Result<Vec<Row>> {
    let mailbox = SmtpSink::plain();
    let lead = Duration::from_secs(5);
    let database = world.many()?;
    database.begin(86_400_000)?;
    let roles = Roles::start(database, &mail_to(&mailbox))?;
    let instant = database.silence(FEW, &PEOPLE.join(", "), lead, 1000 / FEW as i64)?;
    sleep_until(instant)?;
    let end = Instant::now() + Duration::from_secs(60);
    let mut first = None;
    while database.number(DELIVERED)? < (FEW * PEOPLE.len() as u64) as f64 {
        if first.is_none() && !mailbox.mails().is_empty() {
            first = Some(now_ms() - instant);
        }
        if Instant::now() > end {
            return roles.explain(Err(anyhow!("not everything was mailed within a minute")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let took = (now_ms() - instant) as f64 / 1000.0;
    let first = first.unwrap_or_default() as f64 / 1000.0;
    database.has_alerted(FEW)?;
    let mails = mailbox.mails();
    let of = |person: &str| mails.iter().filter(|mail| mail.to.iter().any(|to| to == person)).count();
    let most = PEOPLE.iter().map(|person| of(person)).max().unwrap_or_default();
    Ok(vec![
        Row::new(
            &format!("{FEW} overdue within a second to each of two mail recipients"),
            format!("{most} mails"),
        )
        .at_most(most as f64, TWO, " mails")
        .under(format!("for each of them; the first taken after {first:.1} s, the last after {took:.1} s"))
        .with("first_s", first)
        .with("took_s", took),
    ])
}

/// Fifty thousand jobs at once: the number of mails, and the time until the last is accepted.
pub fn fifty_thousand_to_one_mailbox(world: &mut World) -> Result<Vec<Row>> {
    let mailbox = SmtpSink::plain();
    let mail = mail_to(&mailbox);
    let patience = Duration::from_secs(world.conditions.pick(180, 180, 60));
    let lead = Duration::from_secs(world.conditions.pick(15, 15, 5));
    let database = world.many()?;
    let silent = WITH_HOOK.min(database.reservations() / 2);
    database.begin(86_400_000)?;
    let roles = Roles::start(database, &mail)?;
    let instant = database.silence(silent, "ops@example.org", lead, 0)?;
    sleep_until(instant)?;
    let end = Instant::now() + patience;
    while database.number(DELIVERED)? < silent as f64 {
        if Instant::now() > end {
            let mailed = Err(anyhow!("not everything was mailed within {patience:?}"));
            return roles.explain(mailed);
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    database.has_alerted(silent)?;
    let took = (now_ms() - instant) as f64 / 1000.0;
    let mails = mailbox.mails();
    let megabytes = mails.iter().map(|mail| mail.raw.len()).sum::<usize>() as f64 / 1e6;
    let usage = roles.sweeper.usage()?;
    Ok(vec![
        Row::new(
            &format!("{} overdue at one instant to one mail recipient", commas(silent as f64)),
            format!("{} mails", mails.len()),
        )
        .at_most(mails.len() as f64, HANDFUL, " mails")
        .under(format!(
            "all of them taken after {took:.1} s, {megabytes:.1} MB in all; sweeper RSS {:.0} MB at its peak",
            usage.peak_rss_mb
        ))
        .with("took_s", took)
        .with("sweeper_rss_mb", usage.peak_rss_mb),
    ])
}
