// Every page, with something of each kind on it.

import { assert, eventually, run } from "./lib/browser.mjs";

await run(async ({ inn, open, check, expect }) => {
  const seconds = (frequency) => ({ frequency, time_units: "seconds" });
  await inn.reserve("shop", "new", { description: "Not heard of yet.", owner: "ada" });

  await inn.reserve("shop", "up", { owner: "ada", tags: ["nightly", "db"], max_run: "1h", notify: "gone" });
  for (const action of ["/start", "", "/log", "/start", "/3", ""]) await inn.ping("shop", "up", action, "rows: 1,204\nall fine");

  await inn.reserve("shop", "cron", { frequency: undefined, time_units: undefined, cron: "0 2 * * *", time_zone: "Europe/Berlin" });
  await inn.checkIn("shop", "cron", "a note");

  await inn.reserve("shop", "running", { max_run: "1h" });
  await inn.ping("shop", "running", "/start");

  await inn.reserve("shop", "late", { ...seconds(1), grace: "1h" });
  await inn.checkIn("shop", "late");

  await inn.reserve("shop", "failed", { notify: "gone, refusing", owner: "bob" });
  await inn.ping("shop", "failed", "/2", "Traceback (most recent call last):\n  File \"job.py\", line 3\n".repeat(20));

  await inn.reserve("shop", "recovered");
  for (const action of ["/fail", "", "/fail", ""]) {
    await inn.ping("shop", "recovered", action);
    const path = await inn.pathOf("shop", "recovered");
    await inn.shows(path, action === "" ? "state-up" : "still open");
    if (action === "") await eventually("its alert's end", async () => !(await inn.shows(path, "<h1>")).includes("still open"));
  }

  await inn.reserve("shop", "snoozed");
  await inn.post("/snooze", { app: "shop", component: "snoozed", duration: 10, time_units: "hours" });

  await inn.reserve("shop", "missed", { ...seconds(1), alert_msg: "It is {app}/{component}." });
  await inn.shows("/alerts", "shop/missed");

  // A gateway that fell silent holds what stands behind it.
  // By POST: what fetch sends with GET looks like a browser's.
  await inn.post("/", { cronname: "gateway", account: "site", email: "log", frequency: 1, site: 1 });
  await inn.post("/", { cronname: "behind", account: "site", email: "log", frequency: 2 });

  const long = "a-name-that-is-as-long-as-a-name-may-be-".repeat(4).slice(0, 150);
  await inn.reserve(long, long, { owner: long, tags: [long.slice(0, 50), "x"], description: long.repeat(3), notify: "gone" });
  await inn.ping(long, long, "/1", long.repeat(20));

  // Of the instance itself: what is shown outside; tokens and users are there.
  const page = await open("/settings");
  await check(page, "settings-unshared");
  const add = async (action, fields) => {
    const form = page.locator(`form[action="${action}"]`);
    for (const [label, text] of Object.entries(fields)) await form.getByLabel(label, { exact: true }).fill(text);
    await Promise.all([page.waitForNavigation(), form.getByRole("button").click()]);
  };
  await add("/settings/shares", { "Name of the app or tag": "shop", Title: "The shop" });
  await add("/settings/shares", { "Name of the app or tag": long });
  // While the instance is open, the command line alone makes tokens and users, and has.
  assert.equal(await page.getByRole("button", { name: /^Make (token|user)$/ }).count(), 0);
  expect(page, /status of 400/);
  await add("/settings/alerters/gone/test", {});
  await check(page, "settings-test-failed");
  const shared = await page.getByRole("row", { name: "The shop" }).getByRole("link").getAttribute("href");

  // Each with a text that is there once it stands as it is meant to.
  const state = (word) => `state-${word}`;
  const up = await inn.pathOf("shop", "up");
  const pages = [
    ["reservation-new", await inn.pathOf("shop", "new"), state("new")],
    ["reservation-up", await inn.pathOf("shop", "up"), state("up")],
    ["reservation-cron", await inn.pathOf("shop", "cron"), state("up")],
    ["reservation-running", await inn.pathOf("shop", "running"), state("running")],
    ["reservation-late", await inn.pathOf("shop", "late"), state("late")],
    ["reservation-failed", await inn.pathOf("shop", "failed"), state("down")],
    ["reservation-recovered", await inn.pathOf("shop", "recovered"), state("up")],
    ["reservation-snoozed", await inn.pathOf("shop", "snoozed"), state("snoozed")],
    ["reservation-missed", await inn.pathOf("shop", "missed"), "delivered"],
    ["reservation-held", await inn.pathOf("site", "behind"), state("held")],
    ["reservation-long", await inn.pathOf(long, long), state("waiting")],
    ["status", "/status", "shop/up"],
    ["status-filtered", "/status?q=shop&owner=ada", "Show all"],
    ["status-nothing-fits", "/status?q=nothing", "No reservation matches"],
    ["status-by-name", "/status?app=shop&tag=nightly&sort=name", "Show all"],
    ["status-newest", "/status?sort=newest", "shop/up"],
    ["status-silent", "/status?sort=silent&state=down", "Show all"],
    ["new", "/new", "Make the reservation"],
    ["copy", `/new?copy=${up.split("/").pop()}`, "up-copy"],
    ["edit", `${await inn.pathOf("shop", "cron")}/edit`, "Europe/Berlin"],
    ["edit-long", `${await inn.pathOf(long, long)}/edit`, "Save"],
    ["settings", "/settings", "The shop"],
    ["display", "/account", "Colours"],
    ["audit", "/settings/audit", "vera"],
    ["public", shared, "The shop"],
    ["alerts", "/alerts", "shop/missed"],
    ["deliveries", "/deliveries", "room."],
    ["bad-guests", "/badguests", "shop/recovered"],
    ["nodes", "/nodes", "peer north"],
  ];
  await page.goto("/");
  assert.match(await page.title(), /^\(\d+ down\) Reservations · innkeeper$/);
  for (const [name, path, text] of pages) {
    await inn.shows(path, text);
    await page.goto(path);
    await check(page, name);
  }
  assert.equal(await page.locator("h1 + .scroll .state-silent").count(), 1, "the node that crashed");
  assert.equal(await page.locator("h2", { hasText: "Blind windows" }).locator("~ .scroll tbody tr").count(), 1);

  for (const [name, path, status, title] of [
    ["not-found", "/status/999999", 404, "Nothing here"],
    ["not-fitting", "/status?state=nonsense", 400, "Invalid request"],
    ["not-shown", "/public/nothing", 404, "Nothing here"],
  ]) {
    const refused = await open(path, { status });
    await refused.getByRole("heading", { level: 1, name: title }).waitFor();
    await check(refused, name);
  }
});
