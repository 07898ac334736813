// Names and notes that people from outside chose: whatever is in them is shown, and does nothing.

import { assert, run } from "./lib/browser.mjs";

const markup = `<script>alert(1)</script><img src=x onerror="alert(2)">"'&amp;`;
// Each turns round what follows it, up to the end of its paragraph unless it is closed in.
const turned = "\u202eabc\u2066def\u2067ghi\u202bjkl";
const hebrew = "\u05d2\u05d9\u05d1\u05d5\u05d9";
const emoji = "🛎\ufe0f👩‍👩‍👧‍👦🏳️‍🌈e\u0301\u0301\u0301";
const names = [markup, turned, hebrew, emoji];

// What stands beside a name stays where it belongs: behind it, where it comes after it.
async function inOrder(page) {
  const wrong = await page.locator("h1, td").evaluateAll((places) => {
    const range = document.createRange();
    // As far as it is on one line.
    const boxOf = (node) => {
      range.selectNode(node);
      const pieces = [...range.getClientRects()].filter(({ width }) => width > 0);
      const height = Math.max(...pieces.map(({ bottom }) => bottom)) - Math.min(...pieces.map(({ top }) => top));
      return pieces.length > 0 && height < 30 ? [range.getBoundingClientRect()] : [];
    };
    return places.flatMap((place) => {
      const boxes = [...place.childNodes].filter((node) => node.textContent.trim() !== "").flatMap(boxOf);
      const turned = boxes.some((box, at) => at > 0 && Math.abs(box.bottom - boxes[at - 1].bottom) < 10 && box.left < boxes[at - 1].right - 1);
      return turned ? [place.outerHTML] : [];
    });
  });
  assert.deepEqual(wrong, [], page.url());
}

await run(async ({ inn, open, check }) => {
  for (const [index, name] of names.entries()) {
    await inn.reserve("hostile", name, {
      owner: name,
      description: `${name} ${markup}`,
      tags: [name.slice(0, 40), "plain"],
      alert_msg: name,
      notify: "gone, refusing",
    });
    await inn.checkIn("hostile", name, `${name}\n${turned} ${emoji}`);
    if (index < 3) await inn.ping("hostile", name, "/fail", `${name}\n${turned}`);
    await inn.reserve(name, "plain");
    await inn.reserve("neighbour", `plain-${index}`, { owner: "ada", tags: ["plain"] });
    if (index < 3) await inn.shows("/deliveries", "room.");
  }
  for (const name of names.slice(0, 3)) await inn.shows(await inn.pathOf("hostile", name), "state-dead");

  const page = await open("/status");
  // As they were given, each in a link of its own.
  const shown = await page.locator("td:nth-child(2) > a:first-child").allTextContents();
  for (const name of names) {
    assert.ok(shown.includes(`hostile/${name}`), `hostile/${name} in ${shown.join("\n")}`);
    assert.ok(shown.includes(`${name}/plain`), `${name}/plain in ${shown.join("\n")}`);
  }
  for (const name of names) {
    const tag = page.getByRole("link", { name: name.slice(0, 40), exact: true });
    assert.equal(new URL(await tag.first().getAttribute("href"), page.url()).searchParams.get("tag"), name.slice(0, 40));
  }
  await inOrder(page);
  await check(page, "status");

  await page.goto(`/status?${new URLSearchParams({ q: markup, owner: turned })}`);
  assert.equal(await page.getByRole("searchbox", { name: "App or component" }).inputValue(), markup);
  await check(page, "status-searched");

  for (const [index, name] of names.entries()) {
    await page.goto(await inn.pathOf("hostile", name));
    assert.equal((await page.title()).replace(/^\(\d down\) /, ""), `hostile/${name} · innkeeper`);
    const heading = page.locator("h1");
    assert.ok((await heading.textContent()).startsWith(`hostile/${name} `), await heading.textContent());
    assert.equal(await page.locator(".notes").last().textContent(), `${name}\n${turned} ${emoji}`);
    await inOrder(page);
    await check(page, `reservation-${index}`);
  }

  for (const name of ["alerts", "badguests", "deliveries"]) {
    await page.goto(`/${name}`);
    await inOrder(page);
    await check(page, name);
  }
  assert.equal(await page.locator("main b, main i, main img, main script").count(), 0);
});
