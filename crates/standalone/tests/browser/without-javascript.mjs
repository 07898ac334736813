// Pages are whole as they come from the server.

import { assert, run } from "./lib/browser.mjs";

await run(async ({ inn, open, check }) => {
  for (let index = 0; index < 60; index++) await inn.reserve("shop", `job-${index}`, { owner: index % 2 ? "ada" : "bob" });
  await inn.ping("shop", "job-1", "/1", "what it said");
  await inn.shows("/alerts", "shop/job-1");

  const still = { javascript: false };
  const page = await open("/", still);
  assert.equal(await page.locator("tbody tr").count(), 50);
  await page.getByRole("link", { name: "Next page" }).click();
  await page.getByRole("link", { name: "First page" }).waitFor();
  assert.equal(await page.locator("tbody tr").count(), 10);

  await page.getByRole("textbox", { name: "Owner" }).fill("ada");
  await page.getByRole("button", { name: "Show" }).click();
  await page.getByRole("link", { name: "Show all" }).waitFor();
  assert.equal(await page.locator("tbody tr").count(), 30);
  await check(page, "filtered");

  await page.getByRole("link", { name: "shop/job-1", exact: true }).click();
  await page.getByText("what it said").waitFor();
  assert.match(await page.locator("main time").first().textContent(), / ago$|^in |^just now$|^now$/);
  await check(page, "reservation");

  for (const [link, text] of [
    ["Alerts", "shop/job-1"],
    ["Deliveries", "Nothing waits"],
    ["Bad guests", "shop/job-1"],
    ["Nodes", "alive"],
  ]) {
    await page.getByRole("navigation").getByRole("link", { name: link, exact: true }).click();
    await page.getByRole("heading", { level: 1, name: link, exact: true }).waitFor();
    await page.getByText(text).first().waitFor();
    await check(page, link.toLowerCase().replace(" ", "-"));
  }
});
