// Every page, with something of each kind on it.

import { assert, eventually, run } from "./lib/browser.mjs";

await run(async ({ inn, open, check }) => {
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
    if (action === "") await eventually("its alert's end", async () => !(await inn.shows(path, "<h2>Alerts")).includes("still open"));
  }

  await inn.reserve("shop", "snoozed");
  await inn.post("/snooze", { app: "shop", component: "snoozed", duration: 10, time_units: "hours" });

  await inn.reserve("shop", "missed", { ...seconds(1), alert_msg: "It is {app}/{component}." });
  await inn.shows("/alerts", "shop/missed");

  // A gateway that fell silent holds what stands behind it.
  await inn.fetch("/?cronname=gateway&account=site&email=log&frequency=1&site=1");
  await inn.fetch("/?cronname=behind&account=site&email=log&frequency=2");

  const long = "a-name-that-is-as-long-as-a-name-may-be-".repeat(4).slice(0, 150);
  await inn.reserve(long, long, { owner: long, tags: [long, "x"], description: long.repeat(3), notify: "gone" });
  await inn.ping(long, long, "/1", long.repeat(20));

  await inn.shows("/deliveries", "no such");
  await inn.shows(await inn.pathOf("shop", "missed"), "delivered");
  await inn.shows("/nodes", "silent");
  await inn.shows(await inn.pathOf("site", "behind"), "state-held");
  await inn.shows(await inn.pathOf(long, long), "state-waiting");

  const pages = [
    ["status", "/status"],
    ["status-filtered", "/status?q=shop&owner=ada"],
    ["status-nothing-fits", "/status?q=nothing"],
    ["alerts", "/alerts"],
    ["deliveries", "/deliveries"],
    ["bad-guests", "/badguests"],
    ["nodes", "/nodes"],
    ["reservation-long", await inn.pathOf(long, long)],
    ["reservation-held", await inn.pathOf("site", "behind")],
  ];
  const states = { new: "new", up: "up", cron: "up", running: "running", late: "late", failed: "down", missed: "down", recovered: "up", snoozed: "snoozed" };
  for (const component of Object.keys(states)) pages.push([`reservation-${component}`, await inn.pathOf("shop", component)]);

  const page = await open("/");
  assert.equal(await page.title(), "Reservations · innkeeper");
  for (const [name, path] of pages) {
    await page.goto(path);
    const state = states[name.replace("reservation-", "")];
    if (state && name.startsWith("reservation-")) assert.equal(await page.locator("h1 .state").textContent(), state, name);
    await check(page, name);
  }
});
