// What somebody sees who has just started Innkeeper.

import { assert, run } from "./lib/browser.mjs";

await run(async ({ open, check }) => {
  const page = await open("/");
  await page.getByText("There are no reservations yet").waitFor();
  for (const [link, heading] of [
    ["Reservations", "Reservations"],
    ["Alerts", "Alerts"],
    ["Deliveries", "Deliveries"],
    ["Bad guests", "Bad guests"],
    ["Nodes", "Nodes"],
  ]) {
    await page.getByRole("navigation").getByRole("link", { name: link, exact: true }).click();
    await page.getByRole("heading", { level: 1, name: heading, exact: true }).waitFor();
    assert.equal(await page.locator("nav [aria-current=page]").textContent(), link);
    await check(page, heading.toLowerCase().replace(" ", "-"));
  }
});
