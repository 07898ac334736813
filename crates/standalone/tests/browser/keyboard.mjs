// Whoever has no mouse gets everywhere, and sees where they are.

import { assert, run } from "./lib/browser.mjs";

// What has the focus: its text, whether that can be seen, and where the content begins.
const focused = (page) =>
  page.evaluate(() => {
    const element = document.activeElement;
    if (!element || element === document.body) return null;
    const style = getComputedStyle(element);
    const box = element.getBoundingClientRect();
    const onScreen = box.bottom > 0 && box.right > 0 && box.top < innerHeight && box.left < innerWidth;
    const marked = (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== "none";
    return {
      element: element.localName,
      text: (element.getAttribute("aria-label") ?? element.textContent).trim(),
      visible: onScreen && marked,
    };
  });

await run(async ({ inn, open }) => {
  await inn.reserve("shop", "backup", { tags: ["nightly"] });
  await inn.ping("shop", "backup", "/1", "what it said");
  await inn.shows("/alerts", "shop/backup");

  for (const width of [1440, 390]) {
    for (const path of ["/status", "/alerts", "/deliveries", "/badguests", "/nodes", "/new", "/settings", await inn.pathOf("shop", "backup")]) {
      const page = await open(path, { width });
      const links = await page.locator("header a").allTextContents();
      const stops = [];
      for (;;) {
        await page.keyboard.press("Tab");
        const stop = await focused(page);
        if (!stop) break;
        assert.ok(stop.visible, `${path} at ${width}: ${JSON.stringify(stop)} is not seen to have the focus`);
        stops.push(stop.text);
        assert.ok(stops.length < 200, `${path}: the focus goes round in circles: ${stops.join(", ")}`);
      }
      assert.deepEqual(stops.slice(0, links.length + 1), ["Skip to the content", ...links], path);
      // Everything that a mouse could use was on the way.
      // A group of radio buttons is one stop.
      const usable = await page.locator("main a[href], main button, main input:not([type=hidden], [type=radio]:not(:checked)), main select, main textarea, main [tabindex='0']").count();
      assert.equal(stops.length, links.length + 1 + usable, `${path} at ${width}: ${stops.join(", ")}`);
      await page.close();
    }
  }

  // The first stop leads past the navigation, and from there on into the content.
  const page = await open("/status");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "live");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.closest("main") !== null), true);

  // And a job is opened by the keyboard alone.
  for (let stop = null; stop?.text !== "shop/backup"; stop = await focused(page)) await page.keyboard.press("Tab");
  await Promise.all([page.waitForNavigation(), page.keyboard.press("Enter")]);
  await page.getByRole("heading", { level: 1, name: "shop/backup" }).waitFor();
});
