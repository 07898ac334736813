// The browser: every page that a script opens is watched, and `check` looks at one from all sides.
//
//   import { assert, run } from "./lib/browser.mjs";
//
//   await run(async ({ inn, open, check }) => {
//     const page = await open("/alerts");
//     assert.equal(await page.locator("h1").textContent(), "Alerts");
//     await check(page, "alerts");
//   });
//
// Fails besides what the script asserts: any console error, exception, violation of the page's policy, failed request, request
// to another origin, dialog. What a script brings about on purpose it names with `expect(page, /pattern/)`.

import assert from "node:assert/strict";
import { existsSync, mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, join } from "node:path";
import { chromium } from "playwright-core";
import { Inn } from "./inn.mjs";
import { look, lookAtTables } from "./look.mjs";

export { assert };
export { eventually } from "./inn.mjs";

const axe = createRequire(import.meta.url)("axe-core").source;
const script = basename(process.argv[1], ".mjs");
const screenshots = process.env.INNKEEPER_SCREENSHOTS ?? "target/screenshots";
// How long one script may take, and how long one step of it.
const deadline = 150_000;
const patience = 30_000;

const views = [1440, 390].flatMap((width) =>
  ["light", "dark"].map((scheme) => ({ width, height: width === 390 ? 844 : 900, scheme })),
);

// Where tables have the least room for their columns: beside those of `views`, what lies between.
const between = [721, 900, 1024, 1200];

// Runs one script. `test` gets `inn` (see inn.mjs), the `browser`, and `open`, `check` and
// `expect` as they are described below; `given` is what the test gave it beside the URL.
export async function run(test) {
  const url = process.argv[2];
  if (!url) throw new Error(`usage: node ${script}.mjs URL`);
  setTimeout(() => {
    console.error(`${script}: it took longer than ${deadline / 1000} s`);
    process.exit(1);
  }, deadline).unref();
  mkdirSync(screenshots, { recursive: true });
  const browser = await chromium.launch({
    executablePath: browserProgram(),
    args: ["--no-sandbox", "--disable-dev-shm-usage", "--no-proxy-server"],
  });
  const instance = new Instance(browser, url);
  const failures = [];
  try {
    await test({ inn: new Inn(url), given: process.argv.slice(3), browser, open: instance.open, check: instance.check, expect: instance.expect });
  } catch (error) {
    failures.push(error.stack ?? String(error));
    await instance.photographFailure();
  }
  failures.push(...instance.problems());
  await browser.close();
  for (const failure of failures) console.error(`${script}: ${failure}`);
  process.exitCode = failures.length === 0 ? 0 : 1;
}

function browserProgram() {
  const given = process.env.INNKEEPER_TEST_CHROMIUM;
  const programs = given ? [given] : ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
  const found = programs.find(existsSync);
  if (!found) {
    throw new Error(
      `no browser at ${programs.join(", ")}: run scripts/test, which installs Chromium on Debian, or set INNKEEPER_TEST_CHROMIUM to the path of a Chromium or Chrome`,
    );
  }
  return found;
}

class Instance {
  #browser;
  #url;
  // Each page that was opened, and what went wrong on it: { javascript, problems, expected }
  #watched = new Map();
  // What `check` has found.
  #findings = [];

  constructor(browser, url) {
    this.#browser = browser;
    this.#url = url;
  }

  // open(path, options) opens a page in a context of its own, or in that of `from`, which shares its cookies. Options: `width`
  // (1440), `height`, `scheme` ("light"), `javascript` (true), `status` (200) which the answer must have.
  open = async (path, { width = 1440, height = 900, scheme = "light", javascript = true, status = 200, from } = {}) => {
    const context =
      from?.context() ??
      (await this.#browser.newContext({
        baseURL: this.#url,
        viewport: { width, height },
        colorScheme: scheme,
        javaScriptEnabled: javascript,
        reducedMotion: "reduce",
      }));
    const page = await context.newPage();
    page.setDefaultTimeout(patience);
    await this.#watch(page, javascript);
    if (status >= 400) this.expect(page, new RegExp(`status of ${status}`));
    const answer = await page.goto(path);
    assert.equal(answer.status(), status, path);
    return page;
  };

  // expect(page, pattern): what fits is no problem on this page.
  expect = (page, pattern) => {
    this.#watched.get(page).expected.push(pattern);
  };

  // check(page, name) looks at the page as it stands, on a wide and on a narrow screen, light and dark: what axe finds serious, text
  // that is cut, covered or pushed out; takes its picture; and on screens between them at its tables. The page is put back
  // afterwards, and the script goes on: what was found fails it at its end, so that one run shows everything.
  check = async (page, name) => {
    const before = page.viewportSize();
    const { javascript } = this.#watched.get(page);
    if (javascript) await hold(page);
    const found = [];
    for (const { width, height, scheme } of views) {
      const view = `${name}-${width}-${scheme}`;
      await page.setViewportSize({ width, height });
      await page.emulateMedia({ colorScheme: scheme });
      // Colours depend on the scheme, and what stands where on the width.
      if (scheme === "light") found.push(...(await page.evaluate(look)).map((finding) => `${view}: ${finding}`));
      if (javascript) found.push(...(await accessibility(page, scheme)).map((finding) => `${view}: ${finding}`));
      await page.screenshot({ path: join(screenshots, `${script}-${view}.png`), fullPage: true, animations: "disabled" });
    }
    await page.emulateMedia({ colorScheme: "light" });
    for (const width of [...between, 1440, 390]) {
      await page.setViewportSize({ width, height: 900 });
      const view = `${name}-${width}`;
      found.push(...(await page.evaluate(lookAtTables)).map((finding) => `${view}: ${finding}`));
      if (between.includes(width)) found.push(...(await page.evaluate(look)).map((finding) => `${view}: ${finding}`));
    }
    if (javascript) await release(page);
    await page.setViewportSize(before);
    await page.emulateMedia({ colorScheme: null });
    this.#findings.push(...found);
  };

  // What went wrong on any page.
  problems() {
    const unexpected = ({ problems, expected }) => problems.filter((problem) => !expected.some((pattern) => pattern.test(problem)));
    return [...this.#findings, ...[...this.#watched.values()].flatMap(unexpected)];
  }

  async photographFailure() {
    for (const [number, page] of [...this.#watched.keys()].entries()) {
      const path = join(screenshots, `${script}-failed-${number}.png`);
      await page.screenshot({ path, timeout: 5000 }).then(
        () => console.error(`${script}: ${page.url()} is shown in ${path}`),
        () => {},
      );
    }
  }

  async #watch(page, javascript) {
    const watched = { javascript, problems: [], expected: [] };
    this.#watched.set(page, watched);
    const problem = (text) => watched.problems.push(`${page.url()}: ${text}`);
    page.on("console", (message) => message.type() === "error" && problem(`console: ${message.text()}`));
    page.on("pageerror", (error) => problem(`exception: ${error.stack ?? error}`));
    page.on("dialog", async (dialog) => {
      problem(`dialog: ${dialog.message()}`);
      await dialog.dismiss();
    });
    page.on("request", (request) => {
      const { origin, protocol } = new URL(request.url());
      if (origin !== this.#url && protocol !== "data:") problem(`request to another origin: ${request.url()}`);
    });
    page.on("requestfailed", (request) => {
      const { errorText } = request.failure();
      // What was under way when the page was left.
      if (errorText !== "net::ERR_ABORTED") problem(`failed request: ${request.url()}: ${errorText}`);
    });
    await page.addInitScript(() => {
      document.addEventListener("securitypolicyviolation", (event) =>
        console.error(`the policy forbids ${event.violatedDirective}: ${event.blockedURI} ${event.sample}`),
      );
    });
  }
}

// Keeps the page as it is while it is looked at: what it fetches comes after `release`, and no time goes by.
async function hold(page) {
  await page.evaluate(() => {
    const { fetch } = window;
    const { now } = Date;
    const at = now();
    Date.now = () => at;
    const released = new Promise((resolve) => {
      window.innkeeperRelease = () => {
        window.fetch = fetch;
        Date.now = now;
        resolve();
      };
    });
    window.fetch = async (...given) => {
      await released;
      return fetch(...given);
    };
  });
}

async function release(page) {
  await page.evaluate(() => window.innkeeperRelease());
}

// What axe finds that keeps people out. It is evaluated by the debugger, which the page's policy does not bind.
async function accessibility(page, scheme) {
  if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(axe);
  // Dark pages differ from light ones in nothing but their colours.
  const rules = scheme === "dark" ? { runOnly: ["color-contrast"] } : {};
  const violations = await page.evaluate(
    async (rules) => (await window.axe.run(document, { resultTypes: ["violations"], ...rules })).violations,
    rules,
  );
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .flatMap(({ id, help, nodes }) =>
      nodes.map(({ target, html, any }) => `axe ${id}: ${help}: ${target.join(" ")}: ${html} ${any.map((one) => one.message).join("; ")}`),
    );
}
