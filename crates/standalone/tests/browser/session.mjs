// A session ends when nothing is heard of it for a while, here for twenty seconds.

import { assert, run } from "./lib/browser.mjs";

await run(async ({ given, open }) => {
  const page = await open(given[0]);
  const ended = () => new Promise((resolve) => setTimeout(resolve, 22000));
  const logIn = async () => {
    await page.getByRole("heading", { level: 1, name: "Log in" }).waitFor();
    await page.getByLabel("Name").fill("ada");
    await page.getByLabel("Password").fill("correct horse");
    await Promise.all([page.waitForNavigation(), page.getByRole("button", { name: "Log in" }).click()]);
  };
  await page.getByLabel("Name").fill("ada");
  await page.getByLabel("Password, at least 12 characters").fill("correct horse");
  await page.getByLabel("The same again").fill("correct horse");
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByRole("heading", { level: 1, name: "Reservations" }).waitFor();

  await ended();
  await page.goto("/status?q=backup&sort=name");
  await logIn();
  const { pathname, search } = new URL(page.url());
  assert.equal(pathname + search, "/status?q=backup&sort=name");

  // Where it ends under a form, the form is not sent for somebody unknown.
  await page.goto("/new");
  await page.getByLabel("App", { exact: true }).fill("shop");
  await page.getByLabel("Component").fill("backup");
  await ended();
  await page.getByRole("button", { name: "Make the reservation" }).click();
  await logIn();
  await page.getByText("No reservation").or(page.getByText("There are no reservations yet")).first().waitFor();

  // A page left open does not go on showing what only those may see who are logged in, and its own looks keep no session alive.
  await page.goto("/alerts");
  await page.waitForURL("**/login?next=%2Falerts");
  await page.getByText("You were logged out").waitFor();
  const asked = [];
  page.on("request", (request) => asked.push(new URL(request.url()).pathname));
  await ended();
  assert.deepEqual([...new Set(asked)], ["/healthcheck"], "it does not ask on for what it may not see");
  await logIn();
  await page.getByRole("heading", { level: 1, name: "Alerts" }).waitFor();
});
