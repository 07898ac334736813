// A failed job's page begins with the end of what it wrote: in full on request, without terminal codes, on a telephone as well.

import { assert, eventually, run } from "./lib/browser.mjs";

await run(async ({ inn, open, check }) => {
  const lines = Array.from({ length: 60 }, (_, number) => `\x1b[32mstep ${number}\x1b[0m of 60`);
  const log = [
    ...lines,
    "copying  1%\rcopying 50%\rcopying 100%",
    "see \x1b]8;;https://example.org/\x1b\\the manual\x1b]8;;\x1b\\",
    `a-path-without-any-blank/${"directory/".repeat(30)}file`,
    "\x1b[1;31mERROR\x1b[0m No space left on device",
    "",
  ].join("\r\n");
  await inn.reserve("shop", "backup");
  await inn.ping("shop", "backup", "/7", log);
  const path = await inn.pathOf("shop", "backup");
  await inn.shows(path, "still open");

  const page = await open(path, { width: 390, height: 844 });
  const end = page.locator("section.output > pre");
  const text = await end.textContent();
  assert.equal(text.split("\n").length, 20, text);
  assert.match(text, /\ncopying 100%\nsee the manual\na-path-.*file\nERROR No space left on device$/);
  assert.ok(!text.includes("step 3 ") && text.includes("step 59 of 60"), text);
  assert.ok(!/[\x00-\x08\x0b-\x1f]/.test(await page.locator("main").textContent()), "no control character is left");
  // Its last line is on the first screen of a telephone.
  const last = await end.evaluate((pre) => {
    const range = document.createRange();
    range.setStart(pre.firstChild, pre.firstChild.length - 5);
    range.setEnd(pre.firstChild, pre.firstChild.length);
    return range.getBoundingClientRect().bottom;
  });
  assert.ok(last < 2 * 844, `the end stands at ${last} px`);
  assert.ok(await end.evaluate((pre) => pre.compareDocumentPosition(document.querySelector(".actions")) & 4), "it comes first");

  // What somebody has unfolded stays so while the page keeps itself up to date.
  await page.getByText("The whole output").click();
  const whole = page.locator("#whole-output pre");
  assert.match(await whole.textContent(), /^step 0 of 60\n/);
  await page.locator("h1").evaluate((heading) => (heading.id = "as-it-was"));
  await page.locator("#as-it-was").waitFor({ state: "detached" });
  assert.ok(await whole.isVisible());
  await check(page, "failed");

  // Output that came apart from the failure is found, and none is left after a success.
  await inn.ping("shop", "backup", "/log", "said before");
  await inn.ping("shop", "backup", "/fail", "");
  await page.reload();
  assert.equal(await end.textContent(), "said before");
  await inn.ping("shop", "backup", "");
  await eventually("no output", async () => {
    await page.reload();
    return (await end.count()) === 0;
  });
  const quiet = await open(path, { javascript: false });
  assert.equal(await quiet.locator("section.output").count(), 0);
});
