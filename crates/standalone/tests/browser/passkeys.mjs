// Passkeys as a second factor, by authenticators of Chromium's own: added, named, used, removed; and what is refused.

import { assert, run } from "./lib/browser.mjs";

const password = "correct horse";

await run(async ({ inn, given, open, check, expect }) => {
  const press = async (page, name) => {
    await Promise.all([page.waitForNavigation(), page.getByRole("button", { name, exact: true }).click()]);
  };
  const heading = (page, name) => page.getByRole("heading", { level: 1, name }).waitFor();
  const showPassword = async (page) => {
    await page.getByLabel("Name").fill("ada");
    await page.getByLabel("Password").fill(password);
    await press(page, "Log in");
  };
  const page = await open(given[0]);
  expect(page, /status of (400|401|403|409)/);
  await page.getByLabel("Name").fill("ada");
  await page.getByLabel("Password, at least 12 characters").fill(password);
  await page.getByLabel("The same again").fill(password);
  await press(page, "Log in");

  // Only one of the authenticators is at hand at a time.
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("WebAuthn.enable");
  let plugged;
  const plug = async (options = {}) => {
    const { authenticatorId } = await devtools.send("WebAuthn.addVirtualAuthenticator", {
      options: {
        protocol: "ctap2",
        transport: "internal",
        hasResidentKey: true,
        hasUserVerification: true,
        isUserVerified: true,
        automaticPresenceSimulation: true,
        ...options,
      },
    });
    plugged = authenticatorId;
  };
  const credentials = async () => (await devtools.send("WebAuthn.getCredentials", { authenticatorId: plugged })).credentials;
  const unplug = async () => {
    const kept = await credentials();
    await devtools.send("WebAuthn.removeVirtualAuthenticator", { authenticatorId: plugged });
    return kept;
  };
  const put = async (credential) => devtools.send("WebAuthn.addCredential", { authenticatorId: plugged, credential });

  // The first one, in a page that says what it is for.
  await plug();
  await page.goto("/account/second-factor");
  await page.getByRole("heading", { level: 2, name: "Or a passkey" }).waitFor();
  await check(page, "set-up");
  await page.goto("/account");
  await check(page, "account-without");
  const add = async (name, given = password) => {
    await page.getByLabel("Name of the passkey").fill(name);
    await page.getByLabel("Your password", { exact: true }).fill(given);
    await page.getByRole("button", { name: "Add a passkey" }).click();
  };
  // Beside another, which is shown, or a recovery code.
  const addBeside = async (name, code = "") => {
    const form = page.locator("form[action='/account/passkeys/finish']");
    if (code) {
      await form.getByLabel("Recovery code").fill(code);
    } else {
      await form.getByRole("button", { name: "Show a passkey instead" }).click();
      await form.getByPlaceholder("A passkey is shown instead").waitFor();
    }
    await add(name);
  };
  const problem = (text) => page.getByRole("alert").getByText(text).waitFor();
  await add("Laptop", "wrong horse");
  await problem("The password is wrong.");
  assert.equal((await credentials()).length, 0, "nothing is made before the password is right");
  await add("Laptop");
  await heading(page, "Recovery codes");
  await check(page, "recovery-codes");
  const codes = (await page.locator("pre").textContent()).trim().split(/\s+/);
  assert.equal(codes.length, 10);
  await page.getByRole("link", { name: "I have kept them" }).click();
  const row = (name) => page.getByRole("row", { name: new RegExp(`^${name} `) });
  await row("Laptop").getByText("never").waitFor();
  await addBeside("The same");
  await problem("has a passkey of this account already");
  // What was shown is not taken twice: it is asked for again.
  assert.equal(await page.locator("#passkey-code").isEnabled(), true);
  await check(page, "account-refused");

  // Another name.
  await row("Laptop").getByText("Change").click();
  await check(page, "account-change");
  await page.getByLabel("Another name of Laptop").fill("Blue laptop");
  await press(page, "Rename");
  await row("Blue laptop").waitFor();

  // A key without a way to make sure of its user.
  const [laptop] = await unplug();
  await plug({ transport: "usb", hasResidentKey: false, hasUserVerification: false });
  await addBeside("Key", codes[9]);
  await row("Key").waitFor();
  const [key] = await unplug();

  // Out, and in again by the password and either of them.
  const sent = [];
  page.on("request", (request) => {
    if (request.url().endsWith("/login/second/passkey/finish")) sent.push(request.postData());
  });
  const logIn = async (to = "/alerts") => {
    await press(page, "Log out");
    await page.goto(to);
    await showPassword(page);
    await heading(page, "Second factor of ada");
  };
  await plug();
  await put(laptop);
  await logIn();
  assert.equal(new URL(page.url()).pathname, "/login/second");
  await check(page, "second");
  await press(page, "Use a passkey");
  await heading(page, "Alerts");
  await page.goto("/account");
  await row("Blue laptop").getByText("ago").or(row("Blue laptop").getByText("just now")).first().waitFor();
  await page.getByRole("row", { name: /this one.*password and passkey/ }).waitFor();
  const [used] = await unplug();
  assert.ok(used.signCount > laptop.signCount);
  await plug({ transport: "usb", hasResidentKey: false, hasUserVerification: false });
  await put(key);
  await logIn("/nodes");
  await press(page, "Use a passkey");
  await heading(page, "Nodes");

  // What was sent once is worth nothing.
  const status = (path, body) =>
    page.evaluate(
      async ([path, body]) => {
        const headers = { "content-type": "application/x-www-form-urlencoded" };
        return (await fetch(path, { method: "POST", headers, body, redirect: "manual" })).status;
      },
      [path, body],
    );
  assert.equal(sent.length, 2);
  await logIn();
  const csrf = await page.locator("[name=csrf]").first().inputValue();
  const replayed = new URLSearchParams(sent[0]);
  replayed.set("csrf", csrf);
  assert.equal(await status("/login/second/passkey/finish", replayed.toString()), 401);
  await page.goto("/alerts");
  await heading(page, "Log in");

  // One that is not of this account, and does as if it were.
  await unplug();
  await plug();
  await page.goto("/login?next=/alerts");
  await showPassword(page);
  const { privateKey } = await (async () => {
    const pair = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign"]);
    const bytes = await crypto.subtle.exportKey("pkcs8", pair.privateKey);
    return { privateKey: Buffer.from(bytes).toString("base64") };
  })();
  await put({ ...laptop, privateKey, signCount: 1000 });
  await press(page, "Use a passkey");
  await problem("The passkey is refused: ");
  await check(page, "second-refused");

  // A copy from before it was used.
  await unplug();
  await plug();
  await put(laptop);
  await press(page, "Use a passkey");
  await problem("The passkey is refused: ");

  // None at hand: a recovery code does.
  await unplug();
  await page.getByLabel("Or a recovery code").fill(codes[0]);
  await press(page, "Log in");
  await heading(page, "Alerts");

  // A passkey stands in for a code.
  await plug();
  await put(used);
  await page.goto("/account");
  await page.getByText("Recovery codes left: 8").waitFor();
  const renewing = page.locator("form[action='/account/recovery-codes']");
  await renewing.getByLabel("Password", { exact: true }).fill(password);
  await renewing.getByRole("button", { name: "Show a passkey instead" }).click();
  await renewing.getByPlaceholder("A passkey is shown instead").waitFor();
  await check(page, "account-shown");
  await press(page, "Make new recovery codes");
  await heading(page, "Recovery codes");
  const renewed = (await page.locator("pre").textContent()).trim().split(/\s+/);

  // Without JavaScript there is the code, and at another name of this machine, too.
  const plain = await open("/login?next=/alerts", { javascript: false });
  await plain.getByLabel("Name").fill("ada");
  await plain.getByLabel("Password").fill(password);
  await press(plain, "Log in");
  assert.equal(await plain.locator("noscript p").innerText(), "Passkeys need JavaScript.");
  assert.ok(await plain.getByRole("button", { name: "Use a passkey" }).isDisabled());
  await check(plain, "second-without-javascript");
  const elsewhere = await open("/login");
  expect(elsewhere, /to another origin/);
  await elsewhere.goto(`${inn.url.replace("localhost", "127.0.0.1")}/login`);
  await showPassword(elsewhere);
  await elsewhere.getByText(/Passkeys work at http:\/\/localhost:\d+; this page was opened at/).waitFor();
  assert.ok(await elsewhere.getByRole("button", { name: "Use a passkey" }).isDisabled());

  // Removed one after the other; then the password is enough.
  for (const name of ["Blue laptop", "Key"]) {
    await page.goto("/account");
    await row(name).getByText("Change").click();
    await page.getByLabel(`Your password, to remove ${name}`).fill(password);
    const form = page.locator("form[action$='/remove']").filter({ hasText: `to remove ${name}` });
    if (name === "Key") {
      // The key itself is not at hand.
      await form.getByLabel("Recovery code").fill(renewed[0]);
    } else {
      await form.getByRole("button", { name: "Show a passkey instead" }).click();
      await form.getByPlaceholder("A passkey is shown instead").waitFor();
      await check(page, "account-remove");
    }
    await press(page, "Remove");
    assert.equal(await row(name).count(), 0);
  }
  await press(page, "Log out");
  await page.goto("/alerts");
  await showPassword(page);
  await heading(page, "Alerts");
});
