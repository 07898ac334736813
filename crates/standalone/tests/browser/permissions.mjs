// Who comes in, and how far: the first admin, a viewer, an editor, a token, and whoever has none of that.

import { assert, run } from "./lib/browser.mjs";

await run(async ({ inn, given, open, check, expect }) => {
  const [setup] = given;
  const press = async (page, name) => {
    await Promise.all([page.waitForNavigation(), page.getByRole("button", { name, exact: true }).click()]);
  };
  const path = (page) => new URL(page.url()).pathname;
  const heading = (page, name) => page.getByRole("heading", { level: 1, name }).waitFor();
  // The browser itself would hold these back; the server has to say it, too.
  const unchecked = (page) => page.locator("form.box").evaluate((form) => (form.noValidate = true));
  const choose = async (page, password, again = password) => {
    await page.getByLabel("Password, at least 12 characters").fill(password);
    await page.getByLabel("The same again").fill(again);
    await press(page, "Log in");
  };

  // Nobody gets past the login, and nobody is told what is behind it.
  const closed = await open("/deliveries");
  assert.equal(new URL(closed.url()).search, "?next=%2Fdeliveries");
  await heading(closed, "Log in");
  assert.equal(await closed.locator("nav").count(), 0);
  await check(closed, "login");
  await closed.close();

  // The first admin.
  const page = await open(setup);
  expect(page, /status of (400|401|403|404)/);
  await heading(page, "The first admin");
  await check(page, "setup");
  await page.getByLabel("Name").fill("ada");
  await choose(page, "correct horse", "correct house");
  await page.getByRole("alert").getByText("was not typed the same both times").waitFor();
  assert.equal(await page.getByLabel("Name").inputValue(), "ada");
  await check(page, "setup-refused");
  await unchecked(page);
  await choose(page, "short");
  await page.getByRole("alert").getByText(/12/).waitFor();
  assert.equal(path(page), setup);
  await choose(page, "correct horse");
  await heading(page, "Reservations");
  assert.equal(await page.locator(".who a").textContent(), "ada");
  await page.goto(setup);
  await page.getByText("this link was used").waitFor();
  await check(page, "setup-again");

  // Out, and in again, to where one was going.
  await press(page, "Log out");
  await heading(page, "Log in");
  await page.goto("/alerts");
  await heading(page, "Log in");
  await page.getByLabel("Name").fill("ada");
  await page.getByLabel("Password").fill("wrong horse");
  const [refused] = await Promise.all([page.waitForResponse("**/login"), press(page, "Log in")]);
  assert.equal(refused.status(), 401);
  await page.getByRole("alert").getByText("The name or the password is wrong.").waitFor();
  assert.equal(await page.getByLabel("Name").inputValue(), "ada");
  await check(page, "login-refused");
  await page.getByLabel("Password").fill("correct horse");
  await press(page, "Log in");
  await heading(page, "Alerts");
  assert.equal(path(page), "/alerts");

  // A token: its secret is shown once, and opens the instance to a program.
  const make = async (action, name, fill) => {
    await page.goto("/settings");
    const form = page.locator(`form[action="/settings/${action}"]`);
    await form.getByLabel(/^Name of the (token|user)$/).fill(name);
    await fill(form);
    await Promise.all([page.waitForNavigation(), form.getByRole("button").click()]);
    await check(page, action === "tokens" ? "settings-secret" : `settings-link-${name}`);
    return page.locator(".done pre").textContent();
  };
  assert.equal((await fetch(`${inn.url}/reservation`)).status, 401);
  inn.token = await make("tokens", "deploy", async (form) => {
    for (const box of await form.getByRole("checkbox").all()) await box.check();
  });
  assert.match(inn.token, /^ik_/);
  await inn.reserve("shop", "backup");
  await inn.checkIn("shop", "backup");
  await page.goto("/settings");
  await page.getByRole("row", { name: "deploy" }).waitFor();
  assert.ok(!(await page.content()).includes(inn.token), "the secret is shown once");

  // A viewer sees, and changes nothing.
  const invite = async (name, role) => {
    const link = await make("users", name, (form) => form.getByLabel("Role").selectOption(role));
    const guest = await open(new URL(link).pathname);
    expect(guest, /status of 403/);
    await heading(guest, `Choose a password, ${name}`);
    await choose(guest, `seven ducks beneath a bridge, ${name}`);
    await heading(guest, "Reservations");
    return guest;
  };
  const job = await inn.pathOf("shop", "backup");
  // What a page does not offer may still be sent.
  const send = async (guest, action, fields = {}) => {
    await Promise.all([
      guest.waitForNavigation(),
      guest.evaluate(
        ([action, fields]) => {
          const form = document.querySelector("form[action='/logout']").cloneNode(true);
          for (const [name, value] of Object.entries(fields)) {
            const field = form.querySelector(`[name=${name}]`) ?? form.appendChild(document.createElement("input"));
            Object.assign(field, { name, value });
          }
          form.action = action;
          document.body.append(form);
          form.submit();
        },
        [action, fields],
      ),
    ]);
  };
  const viewer = await invite("vera", "viewer");
  await check(viewer, "viewer");
  for (const place of ["/status", job, "/settings", "/nodes"]) {
    await viewer.goto(place);
    assert.equal(await viewer.locator("main form[method=post]").count(), 0, place);
    assert.equal(await viewer.getByRole("link", { name: /New reservation|Change|Copy/ }).count(), 0, place);
  }
  for (const place of ["/new", `${job}/edit`, "/settings/audit"]) {
    await viewer.goto(place);
    await heading(viewer, "Permission denied");
  }
  await check(viewer, "not-for-you");
  await viewer.goto(job);
  await send(viewer, `${job}/check-out`);
  await heading(viewer, "Permission denied");
  assert.equal((await inn.jobs()).length, 1);

  // An editor changes reservations, and sees no users.
  const editor = await invite("ed", "editor");
  await editor.getByRole("link", { name: "New reservation" }).click();
  await editor.getByLabel("App", { exact: true }).fill("shop");
  await editor.getByLabel("Component").fill("by-ed");
  await press(editor, "Make the reservation");
  await heading(editor, "shop/by-ed");
  await editor.goto("/settings");
  await editor.getByRole("heading", { name: "Tokens" }).waitFor();
  assert.equal(await editor.getByRole("heading", { name: "Users" }).count(), 0);
  assert.ok(!(await editor.locator("main").textContent()).includes("vera"));
  await check(editor, "editor-settings");
  await send(editor, "/settings/users", { name: "mallory", role: "admin" });
  await heading(editor, "Permission denied");
  await editor.goto("/settings/audit");
  await heading(editor, "Permission denied");

  // A form that another site had sent does not know what ours know.
  await editor.goto(job);
  await send(editor, `${job}/check-out`, { csrf: "x".repeat(43) });
  await editor.getByText("this form is too old").waitFor();
  await check(editor, "old-form");
  assert.equal((await inn.jobs()).length, 2);

  // The admin sees who did what, and gives and takes.
  await page.goto("/settings/audit");
  await page.getByRole("row", { name: "shop/by-ed" }).getByText("user ed").waitFor();
  assert.equal(await page.getByText("mallory").count(), 0);
  await check(page, "audit");
  await page.goto("/settings");
  await page.getByLabel("Role of vera").selectOption("editor");
  await page.getByRole("row", { name: "vera" }).getByRole("button", { name: "Change" }).click();
  // Who has another role logs in again.
  const enter = async () => {
    await heading(viewer, "Log in");
    await viewer.getByLabel("Name").fill("vera");
    await viewer.getByLabel("Password").fill("seven ducks beneath a bridge, vera");
    await press(viewer, "Log in");
  };
  await page.locator("tr", { hasText: "vera" }).locator("option[selected]", { hasText: "editor" }).waitFor({ state: "attached" });
  await viewer.goto("/status");
  await enter();
  await viewer.getByRole("link", { name: "New reservation" }).waitFor();
  await page.getByRole("row", { name: "vera" }).getByRole("button", { name: "Remove" }).click();
  await page.getByRole("row", { name: "vera" }).waitFor({ state: "detached" });
  await viewer.goto("/status");
  expect(viewer, /status of 401/);
  await enter();
  await viewer.getByRole("alert").getByText("The name or the password is wrong.").waitFor();
  await check(page, "settings");

  // What is shown outside needs no login.
  await page.getByLabel("Name of the app or tag").fill("shop");
  await press(page, "Show it");
  const outside = await open(await page.getByRole("row", { name: "page of the app shop" }).getByRole("link").getAttribute("href"));
  await heading(outside, "shop");
  await outside.getByRole("row", { name: "by-ed" }).waitFor();
});
