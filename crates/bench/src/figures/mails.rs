//! Many overdue at one instant, to one mail recipient.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use innkeeper_testing::smtp_sink::SmtpSink;

use crate::table::{Row, commas};
use crate::world::World;
use crate::world::database::{WITH_HOOK, now_ms, sleep_until};
use crate::world::roles::Roles;

/// What is a handful.
const HANDFUL: f64 = 10.0;

/// Fifty thousand at once: how many mails, and how soon the last was taken.
pub fn fifty_thousand_to_one_mailbox(world: &mut World) -> Result<Vec<Row>> {
    let mailbox = SmtpSink::plain();
    let mail = format!(
        "[alerter.mail]\nkind = \"smtp\"\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\nfrom = \"innkeeper@example.org\"\n",
        mailbox.port()
    );
    let patience = Duration::from_secs(world.conditions.pick(90, 90, 30));
    let lead = Duration::from_secs(world.conditions.pick(15, 15, 5));
    let database = world.many()?;
    let silent = WITH_HOOK.min(database.reservations() / 2);
    database.begin(86_400_000)?;
    let roles = Roles::start(database, &mail)?;
    let instant = database.silence(silent, "ops@example.org", lead, 0)?;
    sleep_until(instant)?;
    let end = Instant::now() + patience;
    // Counted only when nothing waits: counting takes longer than what is measured.
    let delivered = "SELECT CASE WHEN EXISTS (SELECT 1 FROM deliveries WHERE alerter = 'mail' AND state = 'waiting') THEN 0
        ELSE (SELECT COUNT(*) FROM deliveries WHERE alerter = 'mail' AND state = 'delivered') END";
    while database.number(delivered)? < silent as f64 {
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
