// A provider's button: over to the provider and back, with and without JavaScript.

import { assert, run } from "./lib/browser.mjs";

await run(async ({ given, open, check, expect }) => {
  const [provider] = given;
  for (const javascript of [true, false]) {
    const page = await open("/alerts", { javascript });
    expect(page, new RegExp(`: request to another origin: ${provider}/authorize`));
    await page.getByRole("heading", { level: 1, name: "Log in" }).waitFor();
    if (javascript) await check(page, "login");
    await page.getByRole("link", { name: "Log in with the house’s keys" }).click();
    await page.getByRole("heading", { level: 1, name: "Alerts" }).waitFor();
    assert.equal(new URL(page.url()).pathname, "/alerts");
    assert.equal(await page.locator(".who a").textContent(), "eve");
    await page.goto("/settings");
    await page.getByRole("cell", { name: "at the provider", exact: true }).first().waitFor();
    if (javascript) await check(page, "settings");
    await page.getByRole("button", { name: "Log out" }).click();
    await page.getByRole("heading", { level: 1, name: "Log in" }).waitFor();
    await page.context().close();
  }
});
