// Where a reservation was checked out its page says when and by whom, and offers the way back; a page that was open comes to say so.

import { assert, run } from "./lib/browser.mjs";

await run(async ({ inn, open, check, expect }) => {
  await inn.reserve("shop", "backup");
  await inn.checkIn("shop", "backup", "a note of its past");
  const path = await inn.pathOf("shop", "backup");
  const left = await open(path);
  expect(left, /status of 404/);
  await inn.post("/checkout", { app: "shop", component: "backup" });

  const page = await open(path, { status: 404 });
  const text = await page.locator("main").textContent();
  assert.match(text, /It was checked out .* ago 20\d\d-\d\d-\d\d .* UTC, by an unknown person/);
  await check(page, "checked-out");
  // Whoever had it open is told.
  await left.getByText("It was checked out").waitFor();

  await page.getByRole("button", { name: "Undo the check-out" }).click();
  await page.getByText("It is back").waitFor();
  await page.getByText("a note of its past").waitFor();

  // Its names are taken by another one meanwhile.
  await inn.post("/checkout", { app: "shop", component: "backup" });
  await inn.reserve("shop", "backup");
  const again = await open(path, { status: 404 });
  assert.equal(await again.getByRole("button", { name: "Undo" }).count(), 0);
  await again.getByRole("link", { name: "another reservation of these names" }).click();
  await again.getByRole("heading", { level: 1, name: "shop/backup" }).waitFor();
  assert.notEqual(new URL(again.url()).pathname, path);
});
