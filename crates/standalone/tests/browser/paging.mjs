// A thousand reservations, by clicks alone.

import { assert, run } from "./lib/browser.mjs";

const many = 1000;

await run(async ({ inn, open, check }) => {
  const names = Array.from({ length: many }, (_, index) => `job-${String(index).padStart(4, "0")}`);
  const waiting = [...names];
  const reserveAll = async () => {
    for (let name = waiting.pop(); name; name = waiting.pop()) await inn.reserve("shop", name);
  };
  await Promise.all(Array.from({ length: 4 }, reserveAll));

  const page = await open("/status");
  await page.getByText(`${many} reservations`).waitFor();
  const seen = [];
  const next = page.getByRole("link", { name: "Next page" });
  for (let pages = 1; ; pages++) {
    seen.push(...(await page.locator("td:nth-child(2) > a:first-child").allTextContents()));
    if (pages === 2) await check(page, "second-page");
    if ((await next.count()) === 0) break;
    assert.ok(pages < many, "it has no end");
    await Promise.all([page.waitForNavigation(), next.click()]);
  }
  assert.deepEqual(
    seen,
    names.map((name) => `shop/${name}`),
  );
  await page.getByRole("link", { name: "First page" }).click();
  await page.getByText("shop/job-0000").waitFor();

  // And found: what stands on the last page is one search away.
  await page.getByRole("searchbox", { name: "App or component" }).fill("JOB-0999");
  await page.keyboard.press("Enter");
  await page.waitForURL("**q=JOB-0999**");
  assert.deepEqual(await page.locator("td:nth-child(2) > a:first-child").allTextContents(), ["shop/job-0999"]);
});
