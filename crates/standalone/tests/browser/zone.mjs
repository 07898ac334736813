// Dates stand beside relative times, on a telephone as well; the zone is always said, and one zone can be chosen for all.

import { assert, run } from "./lib/browser.mjs";

const zoned = /\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)? (UTC|CES?T|JST)/;

await run(async ({ inn, open, check, expect }) => {
  await inn.reserve("shop", "hourly", { notify: "gone" });
  await inn.reserve("shop", "berlin", { frequency: undefined, time_units: undefined, cron: "0 2 * * *", time_zone: "Europe/Berlin" });
  for (const job of ["hourly", "berlin"]) for (const action of ["", "/2"]) await inn.ping("shop", job, action);
  const job = await inn.pathOf("shop", "berlin");
  await inn.shows("/alerts", "shop/berlin");
  const paths = ["/status", job, "/alerts", "/deliveries", "/badguests", "/nodes", "/settings/audit"];

  for (const javascript of [true, false]) {
    const page = await open("/status", { width: 390, height: 844, javascript });
    for (const path of paths) {
      await page.goto(path);
      // Beside each distance there is its date, and it is visible.
      const alone = await page.locator("time[data-relative]").evaluateAll((times) =>
        times
          .filter((time) => {
            const beside = (time.closest("li") ?? time.closest("dd, p, td"))?.querySelectorAll(".exact, .at") ?? [];
            return ![...beside].some((one) => one.checkVisibility() && / [A-Z]{2,}|[+-]\d\d$/.test(one.textContent));
          })
          .map((time) => time.parentElement.outerHTML),
      );
      assert.deepEqual(alone, [], path);
    }
  }

  const page = await open("/status");
  const row = (name) => page.getByRole("row", { name: `shop/${name}` });
  assert.match(await row("berlin").textContent(), / CES?T/);
  assert.match(await row("hourly").textContent(), / UTC/);
  const choose = async (page, zone) => {
    await page.getByRole("link", { name: "Another zone" }).click();
    await page.getByLabel("Times in").selectOption(zone);
    await page.getByRole("button", { name: "Save" }).click();
    assert.equal(await page.getByLabel("Times in").inputValue(), zone);
  };
  await choose(page, "Asia/Tokyo");
  await page.goto("/status");
  for (const name of ["berlin", "hourly"]) {
    const text = await row(name).textContent();
    assert.ok(/ JST/.test(text) && !/ UTC| CES?T/.test(text), text);
  }
  for (const path of paths) {
    await page.goto(path);
    const exact = await page.locator(".exact").allTextContents();
    for (const text of exact) assert.match(text, /JST$/, path);
    if (!path.startsWith("/settings")) assert.match(await page.locator(".times").textContent(), /^Times are in Asia\/Tokyo\./);
  }
  await check(page, "chosen");
  // And taken back, also without JavaScript.
  await page.goto("/status");
  await choose(page, "");
  await page.goto(job);
  assert.match(await page.locator(".exact").first().textContent(), zoned);
  assert.ok(!(await page.locator("main").textContent()).includes("JST"));
  const still = await open("/alerts", { javascript: false, width: 390, height: 844 });
  await choose(still, "Asia/Tokyo");
  await still.goto("/alerts");
  assert.match(await still.locator(".exact").first().textContent(), /JST$/);
  assert.deepEqual((await still.context().cookies()).filter(({ name }) => name === "innkeeper-zone").map(({ value }) => value), ["Asia/Tokyo"]);

  // What no list offers is refused, and what is meant is named.
  await page.goto("/account");
  expect(page, /status of 400/);
  await page.getByLabel("Times in").evaluate((zones) => zones.add(new Option("Europe/Berlim", "Europe/Berlim", true, true)));
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("heading", { level: 1, name: "Invalid request" }).waitFor();
  assert.match(await page.locator("main").textContent(), /Europe\/Berlin/);
});
