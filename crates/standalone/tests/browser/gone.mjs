// A page that stays open while its server goes says so within 15 seconds, and how old it is; when the server is back the page
// goes on. Without an answer, and with a refused connection.

import { execFileSync } from "node:child_process";
import { assert, run } from "./lib/browser.mjs";

await run(async ({ inn, open, check, expect, given }) => {
  const [pid] = given;
  const signal = (name) => execFileSync("kill", [`-${name}`, pid]);
  await inn.reserve("shop", "backup");
  await inn.ping("shop", "backup", "/3", "it is broken");
  const job = await inn.pathOf("shop", "backup");
  await inn.shows(job, "still open");
  await inn.shows("/status", "(1 down) Reservations");

  const list = await open("/status");
  const one = await open(job);
  const form = await open("/new");
  const typing = await open("/status");
  await typing.getByRole("searchbox", { name: "App or component" }).fill("ba");
  // A zone that this browser does not know, as those of before have some.
  await form.evaluate(() => {
    document.querySelector("#live").dataset.zone = "Mars/Olympus";
  });
  const pages = [list, one, form, typing];
  const notice = (page) => page.getByRole("alert");
  for (const page of pages) assert.equal(await notice(page).isVisible(), false);
  const icon = (page) => page.locator("link[rel=icon]").getAttribute("href");
  assert.equal(await list.title(), "(1 down) Reservations · innkeeper");
  assert.match(decodeURIComponent(await icon(list)), /fill='#b3261e'.*>1<\/text>/);
  // Long enough for more than one look; nothing is said while all is well.
  const watched = Date.now();
  while (Date.now() - watched < 14_000) {
    for (const page of pages) assert.equal(await notice(page).isVisible(), false);
    await list.waitForTimeout(500);
  }

  // It stands still: connections are taken, and nothing comes back.
  const stopped = Date.now();
  signal("STOP");
  for (const page of pages) await notice(page).waitFor({ timeout: 15_000 });
  assert.ok(Date.now() - stopped < 15_500, `after ${Date.now() - stopped} ms`);
  for (const page of pages) assert.match(await notice(page).textContent(), /Innkeeper does not answer\. This page is as it was .* ago, at 20\d\d-.* \(UTC\)\./);
  assert.equal(await list.title(), "Not answering · (1 down) Reservations · innkeeper");
  assert.match(decodeURIComponent(await icon(list)), /fill='#5b646e'/);
  const said = await notice(list).textContent();
  await list.waitForFunction((said) => document.querySelector("#gone").textContent !== said, said);
  await check(one, "gone");

  signal("CONT");
  for (const page of pages) await notice(page).waitFor({ state: "hidden", timeout: 40_000 });
  assert.equal(await list.title(), "(1 down) Reservations · innkeeper");
  assert.match(decodeURIComponent(await icon(list)), /fill='#b3261e'/);
  assert.equal(await typing.getByRole("searchbox", { name: "App or component" }).inputValue(), "ba");
  await inn.ping("shop", "backup", "");
  await list.waitForFunction(() => document.title === "Reservations · innkeeper");
  assert.equal(await icon(list), "/assets/favicon.svg");

  // It is gone for good.
  for (const page of pages) expect(page, /ERR_CONNECTION|ERR_EMPTY|ERR_SOCKET|Failed to load|failed/);
  const killed = Date.now();
  signal("KILL");
  for (const page of pages) await notice(page).waitFor({ timeout: 15_000 });
  assert.ok(Date.now() - killed < 15_500, `after ${Date.now() - killed} ms`);
  assert.match(decodeURIComponent(await icon(list)), /fill='#5b646e'.*>\?<\/text>/);
});
