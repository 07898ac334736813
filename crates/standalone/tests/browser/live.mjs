// A page that stays open shows what happens, and is never loaded again.

import { assert, run } from "./lib/browser.mjs";

await run(async ({ inn, open, check }) => {
  await inn.reserve("shop", "canary", { frequency: 2, time_units: "seconds" });
  await inn.checkIn("shop", "canary");
  for (let index = 0; index < 30; index++) await inn.reserve("shop", `other-${index}`);
  const list = await open("/status");
  const one = await open(await inn.pathOf("shop", "canary"), { from: list });
  const pages = [list, one];
  // Where somebody types or has chosen something, nothing moves; where a link or a button has the focus, it keeps it.
  const typing = await open("/status");
  await typing.getByRole("searchbox", { name: "App or component" }).focus();
  const chosen = await open(new URL(one.url()).pathname);
  await chosen.getByLabel("Snooze for").selectOption("1 day");
  await chosen.getByRole("link", { name: "Copy" }).focus();
  const still = [typing, chosen];
  for (const page of still) await page.locator("h1").evaluate((heading) => (heading.id = "as-it-was"));
  await list.getByRole("link", { name: "shop/canary", exact: true }).focus();
  await one.getByRole("button", { name: "Check out" }).focus();
  const focused = (page) => page.evaluate(() => document.activeElement.textContent);
  for (const page of pages) {
    await page.evaluate(() => {
      window.innkeeperMarker = "the same page";
    });
  }
  const states = [list.getByRole("row", { name: "shop/canary" }).locator(".state"), one.locator("h1 .state")];
  const become = async (word) => {
    for (const state of states) await state.filter({ hasText: new RegExp(`^${word}$`) }).waitFor();
  };

  await become("down");
  await one.getByText("still open").waitFor();
  assert.equal(await one.locator(".state-up").count(), 0);

  assert.deepEqual([await focused(list), await focused(one)], ["shop/canary", "Check out"]);

  // Without a jump: who has scrolled down stays there.
  await list.evaluate(() => scrollTo(0, 200));
  // From now on each hour, or it would be overdue again before anybody has seen it.
  await inn.reserve("shop", "canary");
  await inn.checkIn("shop", "canary", "back again");
  await become("up");
  await one.getByText("back again").waitFor();
  await one.getByText("still open").waitFor({ state: "detached" });
  // A row above may have become a line shorter.
  const place = await list.evaluate(() => scrollY);
  assert.ok(Math.abs(place - 200) < 60, `scrolled to ${place}`);

  // Its times go on by themselves, each second.
  const time = one.locator("dl time").first();
  const before = await time.textContent();
  await one.waitForFunction(([time, before]) => time.textContent !== before, [await time.elementHandle(), before]);

  for (const page of pages) {
    assert.equal(await page.evaluate(() => window.innkeeperMarker), "the same page");
    assert.equal(await page.evaluate(() => performance.getEntriesByType("navigation").length), 1);
  }
  assert.deepEqual([await focused(list), await focused(one)], ["shop/canary", "Check out"]);
  for (const page of still) assert.equal(await page.locator("#as-it-was").count(), 1);
  assert.equal(await chosen.getByLabel("Snooze for").inputValue(), "1d");
  await check(one, "recovered");
});
