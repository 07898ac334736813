// My account in a browser: a second factor from its set-up to the login with it, recovery codes, sessions, colours.

import { createHmac } from "node:crypto";
import { assert, run } from "./lib/browser.mjs";

// The code of an authenticator app with this key, so many steps from now (RFC 6238).
const codeOf = (key, steps) => {
  const bits = [...key.replaceAll(" ", "")].map((letter) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(letter).toString(2).padStart(5, "0")).join("");
  const bytes = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const step = Buffer.alloc(8);
  step.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30000) + steps));
  const hash = createHmac("sha1", bytes).update(step).digest();
  const number = hash.readUInt32BE(hash.at(-1) & 15) & 0x7fffffff;
  return String(number % 1000000).padStart(6, "0");
};

// That of the step before is taken until this step ends: where that is soon, the next is waited for.
const codeOfBefore = async (key) => {
  const left = 30000 - (Date.now() % 30000);
  if (left < 15000) await new Promise((resolve) => setTimeout(resolve, left));
  return codeOf(key, -1);
};

await run(async ({ given, open, check, expect }) => {
  const press = async (page, name) => {
    await Promise.all([page.waitForNavigation(), page.getByRole("button", { name, exact: true }).click()]);
  };
  const heading = (page, name) => page.getByRole("heading", { level: 1, name, exact: true }).waitFor();
  const choosePassword = async (page) => {
    await page.getByLabel("Password, at least 12 characters").fill("correct horse");
    await page.getByLabel("The same again").fill("correct horse");
    await press(page, "Log in");
  };
  const logIn = async (page, name) => {
    await heading(page, "Log in");
    await page.getByLabel("Name").fill(name);
    await page.getByLabel("Password").fill("correct horse");
    await press(page, "Log in");
  };
  const giveCode = async (page, code) => {
    await page.locator("#code").fill(code);
    await press(page, "Log in");
  };
  const page = await open(given[0]);
  expect(page, /status of (400|401|403|404)/);
  await page.getByLabel("Name").fill("ada");
  await choosePassword(page);
  await heading(page, "Reservations");

  // Her name leads to her account, where another session is seen and ended.
  const other = await open("/alerts", { width: 390, height: 844 });
  await logIn(other, "ada");
  await heading(other, "Alerts");
  await page.getByRole("link", { name: "ada", exact: true }).click();
  await heading(page, "My account");
  const row = page.getByRole("row").filter({ hasText: "Chrome on Linux" });
  assert.equal(await row.count(), 2);
  assert.equal(await page.getByText("(this one)").count(), 1);
  await check(page, "account");
  await page.getByRole("button", { name: /^End the session of Chrome on Linux/ }).click();
  await page.waitForURL("**/account#sessions");
  assert.equal(await row.count(), 1);
  await other.goto("/alerts");
  await other.getByText("You were logged out").waitFor();
  await check(other, "logged-out");

  // Another password; a wrong one of before is refused.
  const change = async (now) => {
    await page.getByLabel("Current password").fill(now);
    await page.getByLabel("New password, at least 12 characters").fill("correct horse");
    await page.getByLabel("The same again").fill("correct horse");
    await press(page, "Change the password");
  };
  await change("wrong horse");
  await page.getByRole("alert").getByText("The password is wrong.").waitFor();
  await change("correct horse");
  await page.getByRole("status").getByText("The password is changed.").waitFor();

  // A second factor is set up.
  await page.getByRole("link", { name: "Set up an authenticator app" }).click();
  await heading(page, "Second factor");
  await check(page, "second-factor");
  await page.getByLabel("Your password").fill("correct horse");
  await press(page, "Set up an authenticator app");
  const key = await page.locator("pre").textContent();
  assert.match(key, /^([A-Z2-7]{4} ){7}[A-Z2-7]{4}$/);
  const picture = page.getByRole("img", { name: "A QR code with the key below" });
  assert.ok(await picture.evaluate((image) => image.complete && image.naturalWidth > 200), "the picture is shown");
  await check(page, "second-factor-key");
  await page.getByLabel("Then give the code that the app shows").fill("000000");
  await press(page, "Turn it on");
  await page.getByRole("alert").getByText("The code is wrong.").waitFor();
  assert.equal(await page.locator("pre").textContent(), key);
  await check(page, "second-factor-refused");
  await page.getByLabel("Then give the code that the app shows").fill(await codeOfBefore(key));
  await press(page, "Turn it on");
  await heading(page, "Recovery codes");
  const codes = (await page.locator(".done pre").textContent()).trim().split("\n");
  assert.equal(codes.length, 10);
  await check(page, "recovery-codes");
  await page.getByRole("link", { name: "I have kept them" }).click();
  await heading(page, "Reservations");

  // A login asks for it, and goes on to where one was going.
  await press(page, "Log out");
  await page.goto("/alerts?q=backup");
  await logIn(page, "ada");
  await heading(page, "Second factor of ada");
  assert.ok(await page.locator("#code").evaluate((field) => field === document.activeElement));
  await check(page, "login-second");
  await giveCode(page, "000000");
  await page.getByRole("alert").getByText("The code is wrong").waitFor();
  await giveCode(page, codeOf(key, 0));
  await heading(page, "Alerts");
  assert.equal(new URL(page.url()).search, "?q=backup");

  // Without the phone, without JavaScript, on a telephone.
  const still = await open("/status", { width: 390, height: 844, javascript: false });
  await logIn(still, "ada");
  await giveCode(still, codes[0].toLowerCase());
  await heading(still, "Reservations");
  await page.goto("/account");
  await page.getByText("Recovery codes left: 9").waitFor();
  await check(page, "account-with-factor");

  // Colours: chosen, whatever the system has; on the login, too, since the browser keeps them.
  const ground = (page) => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const [light, dark] = ["rgb(251, 250, 247)", "rgb(20, 23, 26)"];
  const choose = async (page, theme) => {
    await page.goto("/account");
    await page.getByLabel("Colours").selectOption(theme);
    await press(page, "Save");
    assert.equal(await page.getByLabel("Colours").inputValue(), theme);
  };
  for (const guest of [page, still]) {
    for (const [theme, onLight, onDark] of [["dark", dark, dark], ["light", light, light], ["system", light, dark]]) {
      await choose(guest, theme);
      for (const [scheme, colour] of [["light", onLight], ["dark", onDark]]) {
        await guest.emulateMedia({ colorScheme: scheme });
        assert.equal(await ground(guest), colour, `${theme} on ${scheme}`);
      }
      await guest.emulateMedia({ colorScheme: null });
      if (guest === page && theme !== "system") await check(page, `theme-${theme}`);
    }
  }
  await choose(page, "dark");
  await page.goto("/status");
  await check(page, "status-dark");

  // An admin requires one of somebody, who does nothing before.
  await page.goto("/settings");
  await page.getByLabel("Name of the user").fill("vera");
  const form = page.locator("form[action='/settings/users']");
  await Promise.all([page.waitForNavigation(), form.getByRole("button").click()]);
  const link = await page.locator(".done pre").textContent();
  await page.getByRole("button", { name: "Require a second factor of vera" }).click();
  await page.getByRole("button", { name: "Stop requiring a second factor of vera" }).waitFor();
  await page.getByRole("row", { name: "vera" }).getByText("has yet to set one up").waitFor();
  await page.goto("/settings");
  await check(page, "settings-users");
  const vera = await open(new URL(link).pathname, { width: 390, height: 844 });
  await choosePassword(vera);
  await vera.getByText("You must have a second factor here.").waitFor();
  await check(vera, "must-set-up");
  await vera.goto("/status");
  await heading(vera, "Second factor");
  await vera.getByLabel("Then give the code that the app shows").fill(codeOf(await vera.locator("pre").textContent(), 0));
  await press(vera, "Turn it on");
  await vera.getByRole("link", { name: "I have kept them" }).click();
  await heading(vera, "Reservations");
  await page.goto("/settings/audit");
  await page.getByRole("row", { name: /set up second factor/ }).first().waitFor();
  await choose(page, "system");
});
