// A reservation's life by clicks alone: made, looked after, changed, shown, checked out and brought back.

import { assert, eventually, run } from "./lib/browser.mjs";

await run(async ({ inn, open, check, expect }) => {
  const page = await open("/new");
  const said = async (text) => page.getByRole("status").getByText(text).waitFor();
  const state = page.locator("h1 .state");
  const press = async (name) => {
    await Promise.all([page.waitForNavigation(), page.getByRole("button", { name, exact: true }).click()]);
  };
  const stay = () => page.evaluate(() => (window.innkeeperMarker = "the same page"));
  const stayed = async () => assert.equal(await page.evaluate(() => window.innkeeperMarker), "the same page");

  // The schedule is explained as it is typed.
  const explained = page.locator("#explained");
  const times = explained.locator("li");
  await stay();
  await page.getByLabel("Frequency").fill("2");
  await page.getByLabel("Time units").selectOption("hours");
  await explained.getByText("Expected 2 hours after each check-in, 1 minute grace.").waitFor();
  const instants = (await times.allTextContents()).map((text) => Date.parse(text.replace(" UTC", "Z").replace(" ", "T")));
  assert.deepEqual(
    instants.slice(1).map((at, index) => at - instants[index]),
    [2, 2, 2, 2].map((hours) => hours * 3_600_000),
  );
  await page.getByLabel("Cron expression").fill("30 2 * * *");
  await page.getByLabel("Time zone").fill("Asia/Tokyo");
  await times.first().getByText("02:30 JST").waitFor();
  assert.equal(await times.filter({ hasText: / 02:30 JST$/ }).count(), 5);
  assert.ok(await page.getByRole("radio", { name: "By cron" }).isChecked(), "whoever types a cron expression means it");
  await page.getByLabel("Cron expression").fill("61 * * * *");
  await explained.getByText(/^cron: .*61/).waitFor();
  assert.equal(await times.count(), 0);
  await page.getByLabel("Calendar expressions").fill("Mon..Sun 02:30");
  await times.first().getByText("02:30 JST").waitFor();
  assert.ok(await page.getByRole("radio", { name: "By calendar" }).isChecked());
  await page.getByLabel("Calendar expressions").fill("25:00");
  await explained.getByText(/^calendar: .*hour: 25 is not 0 to 23/).waitFor();
  await page.getByLabel("Cron expression").fill("30 2 * * *");
  await page.getByLabel("Time zone").fill("Europe/Atlantis");
  await explained.getByText(/^time_zone: .*Atlantis/).waitFor();
  await stayed();

  // What does not fit is said where it stands, and what fits is kept.
  expect(page, /status of 400/);
  await page.getByLabel("App", { exact: true }).fill("shop");
  await page.getByLabel("Component").fill("backup");
  await page.getByLabel("Owner").fill("Grace Hopper");
  await page.getByLabel("Notify", { exact: true }).fill("gone, nobody-knows");
  await press("Make the reservation");
  await page.getByRole("alert").getByText("Some fields are not valid").waitFor();
  assert.deepEqual(await page.locator("[aria-invalid]").evaluateAll((fields) => fields.map(({ name }) => name)), ["time_zone", "notify"]);
  assert.equal(await page.getByLabel("Owner").inputValue(), "Grace Hopper");
  assert.equal(await page.getByLabel("Notify", { exact: true }).inputValue(), "gone, nobody-knows");
  await check(page, "new-refused");

  await page.getByLabel("Notify", { exact: true }).fill("gone");
  await page.getByLabel("Frequency").fill("2");
  await page.getByLabel("Time units").selectOption("seconds");
  await page.getByLabel("Grace").fill("0s");
  await page.getByLabel("Tags").fill("nightly, eu");
  await page.getByLabel("Description").fill("Look at\nthe runbook.");
  assert.ok(await page.getByRole("radio", { name: "At an interval" }).isChecked());
  await press("Make the reservation");
  await said("The reservation is made.");
  await page.getByRole("heading", { level: 1, name: "shop/backup" }).waitFor();
  const path = new URL(page.url()).pathname;
  const { ping_url } = await inn.job("shop", "backup");

  // It goes overdue and recovers before one's eyes.
  await stay();
  await state.getByText("down").waitFor();
  await page.getByText("It is still open").waitFor();
  let beats = true;
  const beating = (async () => {
    while (beats) {
      await inn.checkIn("shop", "backup", "the first night");
      await new Promise((resolve) => setTimeout(resolve, 400));
    }
  })();
  await state.getByText("up").waitFor();
  await stayed();

  // Changed: something wrong first.
  await page.getByRole("link", { name: "Change", exact: true }).click();
  await page.getByRole("heading", { level: 1, name: "Change shop/backup" }).waitFor();
  beats = false;
  await beating;
  assert.equal(await page.getByLabel("Description").inputValue(), "Look at\nthe runbook.");
  await page.getByLabel("Time units").selectOption("hours");
  await page.getByLabel("Grace").fill("soon");
  await page.getByLabel("Owner").fill("Ada");
  await press("Save");
  assert.equal(await page.locator("[aria-invalid]").getAttribute("name"), "grace");
  assert.equal(await page.locator("[aria-invalid]").inputValue(), "soon");
  assert.equal(await page.getByLabel("Owner").inputValue(), "Ada");
  await page.getByLabel("Grace").fill("10m");
  await press("Save");
  await said("The reservation is changed.");
  await page.getByText("every 2 hours, 10 minutes grace").waitFor();
  await inn.checkIn("shop", "backup", "the second night");

  // Somebody else's change in between is not lost unseen.
  await page.goto(`${path}/edit`);
  await inn.reserve("shop", "backup", { owner: "Eve", frequency: 3 });
  await page.getByLabel("Owner").fill("Bob");
  await press("Save");
  await page.getByRole("alert").getByText("somebody else changed this reservation").waitFor();
  await check(page, "edit-outdated");
  assert.equal((await inn.job("shop", "backup")).owner, "Eve");
  assert.equal(await page.getByLabel("Owner").inputValue(), "Bob");
  await press("Save");
  await said("The reservation is changed.");
  assert.equal((await inn.job("shop", "backup")).owner, "Bob");

  // Snoozed, by the list and by hand, and woken.
  await page.getByLabel("Snooze for").selectOption("4 hours");
  await press("Snooze");
  await said("It is snoozed.");
  await state.getByText("snoozed").waitFor();
  await check(page, "snoozed");
  await page.getByLabel("Or for another time").fill("30m");
  await press("Snooze");
  await page.locator("dt", { hasText: "Snoozed until" }).locator("+ dd").getByText(/^in (29|30) minutes/).waitFor();
  await press("Resume");
  await said("The snooze has ended");
  await state.getByText("up").waitFor();
  assert.equal(await page.getByRole("button", { name: "Resume" }).count(), 0);

  // A copy is another reservation.
  await page.getByRole("link", { name: "Copy" }).click();
  assert.equal(await page.getByLabel("Component").inputValue(), "backup-copy");
  assert.equal(await page.getByLabel("Owner").inputValue(), "Bob");
  await page.getByLabel("Component").fill("backup");
  await press("Make the reservation");
  await page.getByText("there is a reservation shop/backup already").waitFor();
  await page.getByLabel("Component").fill("backup-copy");
  await press("Make the reservation");
  await page.getByRole("heading", { level: 1, name: "shop/backup-copy" }).waitFor();
  assert.notEqual(new URL(page.url()).pathname, path);

  // Its people are reached by a test.
  await page.goto(path);
  await press("Send a test alert");
  await said("A test alert is on its way");
  await inn.shows("/deliveries", "Test alert: shop/backup");
  await page.goto("/deliveries");
  await page.getByRole("row", { name: "Test alert: shop/backup" }).getByText("gone").waitFor();
  await page.getByRole("row", { name: "opened" }).getByRole("link", { name: "shop/backup", exact: true }).waitFor();
  await check(page, "test-alert");

  // A badge, for whoever has its address.
  await page.goto(path);
  await press("Make a badge");
  const badge = page.getByRole("img", { name: "Badge of shop/backup" });
  await eventually("the picture", () => badge.evaluate((picture) => picture.complete && picture.naturalWidth > 0));
  const address = await badge.getAttribute("src");
  await page.locator("pre", { hasText: address }).waitFor();
  assert.match(await (await inn.fetch(address)).text(), /backup: up/);
  await check(page, "badge");

  // A status page, for whoever has the link.
  await page.goto("/settings");
  await page.getByLabel("Name of the app or tag").fill("shop");
  await page.getByRole("textbox", { name: "Title" }).fill("The shop's jobs");
  await press("Show it");
  const link = page.getByRole("row", { name: "The shop's jobs" }).getByRole("link");
  const outside = await open(await link.getAttribute("href"));
  await outside.getByRole("heading", { level: 1, name: "The shop's jobs" }).waitFor();
  await outside.getByRole("row", { name: "backup-copy" }).waitFor();
  assert.equal(await outside.locator("nav, main a, form").count(), 0, "nothing leads inside");
  assert.equal(await outside.getByText("Bob").count(), 0);
  await check(outside, "public");
  const shown = new URL(outside.url()).pathname;
  await outside.close();
  await page.getByRole("row", { name: "The shop's jobs" }).getByRole("button", { name: "Stop showing" }).click();
  await link.waitFor({ state: "detached" });
  await page.getByText("badge of a reservation").waitFor();
  await (await open(shown, { status: 404 })).getByText("nothing is shown under this link").waitFor();

  // Checked out, and back as if nothing had been.
  await page.goto(path);
  await press("Check out");
  await said("shop/backup is checked out.");
  assert.equal(await page.locator("td a", { hasText: /^shop\/backup$/ }).count(), 0);
  await check(page, "checked-out");
  assert.deepEqual((await inn.jobs()).map(({ component }) => component), ["backup-copy"]);
  await press("Undo");
  await said("It is back");
  assert.equal(new URL(page.url()).pathname, path);
  for (const note of ["the first night", "the second night"]) await page.locator(".notes", { hasText: note }).first().waitFor();
  const back = await inn.job("shop", "backup");
  assert.deepEqual([back.ping_url, back.owner], [ping_url, "Bob"]);
  await inn.ping("shop", "backup");
});
