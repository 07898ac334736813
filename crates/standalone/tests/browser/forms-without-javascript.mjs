// The main path by plain forms.

import { assert, run } from "./lib/browser.mjs";

await run(async ({ inn, open, check }) => {
  const page = await open("/", { javascript: false });
  const press = async (name) => {
    await Promise.all([page.waitForNavigation(), page.getByRole("button", { name, exact: true }).click()]);
  };
  await page.getByRole("link", { name: "Make the first one" }).click();
  await page.getByRole("textbox", { name: "App" }).fill("shop");
  await page.getByRole("textbox", { name: "Component" }).fill("backup");
  await page.getByRole("radio", { name: "By cron" }).check();
  await page.getByLabel("Cron expression").fill("0 2 * * *");
  await page.getByLabel("Time zone").fill("Asia/Tokyo");
  await press("Explain the schedule");
  assert.equal(await page.locator("#explained li", { hasText: / 02:00 JST$/ }).count(), 5);
  assert.equal(await page.getByRole("textbox", { name: "Component" }).inputValue(), "backup");
  await check(page, "explained");
  await press("Make the reservation");
  await page.getByText("The reservation is made.").waitFor();
  const { ping_url } = await inn.job("shop", "backup");
  await inn.checkIn("shop", "backup", "a note to keep");

  await page.getByLabel("Snooze for").selectOption("1 day");
  await press("Snooze");
  await page.locator("h1 .state-snoozed").waitFor();
  await press("Resume");
  await page.locator("h1 .state-up").waitFor();

  await page.getByRole("link", { name: "Change", exact: true }).click();
  await page.getByRole("textbox", { name: "Owner" }).fill("ada");
  await press("Save");
  await page.getByRole("link", { name: "ada" }).waitFor();

  await press("Check out");
  await page.getByText("shop/backup is checked out.").waitFor();
  await check(page, "checked-out");
  await press("Undo");
  await page.getByText("It is back").waitFor();
  await page.getByText("a note to keep").waitFor();
  assert.equal((await inn.job("shop", "backup")).ping_url, ping_url);
});
