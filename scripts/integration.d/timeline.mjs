// Opens the page of a session with some 10,000 events in headless Chromium, as a person would.
//
// usage: node timeline.mjs PHI INSTALLED BROWSER
//
// PHI is the binary, INSTALLED the directory whose node_modules holds playwright-core, BROWSER the
// Chromium to start. The page and a screenshot of it are left in INSTALLED/timeline. The exit code is
// 1 if anything is not as it should be.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [phi, installed, browser] = process.argv.slice(2);
const { chromium } = createRequire(join(installed, "package.json"))("playwright-core");

const EVENTS_MIN = 10_000;
const TURNS = 720;
/** A page whose work is linear opens in less, also on a slow machine that does other things too. */
const OPEN_MS_MAX = 60_000;
const DEADLINE_MS = 300_000;
const HOSTILE = "</script><script>document.title='broken out'</script></pre></details>\u202e";

/** A model that calls tools for many turns, now and then fails first, and writes hostile text. */
function script() {
  const call = (name, given) => ({ name, arguments: given });
  const replies = Array.from({ length: TURNS }, (_, turn) => ({
    thinking: "What is there? I look around, then I decide.",
    text: turn % 50 === 7 ? `Step ${turn} ${HOSTILE}` : `Step ${turn}: I look at the files and read one.`,
    tool_calls: [
      call("list_files", { glob: "*.txt" }),
      call("read_file", { path: turn % 9 === 4 ? "missing.txt" : "notes.txt" }),
      call("search", { pattern: "todo" }),
      call("list_files", { path: "." }),
      call("read_file", { path: "notes.txt", limit: 1 }),
    ],
    ...(turn % 40 === 3 ? { errors: [{ kind: "overloaded", message: "no capacity" }] } : {}),
  }));
  return [...replies, { text: "Done." }];
}

function run(directory, ...given) {
  const ran = spawnSync(phi, given, {
    cwd: join(directory, "work"),
    env: { PATH: process.env.PATH, HOME: directory, PHI_STORE: join(directory, "store") },
    encoding: "utf8",
    maxBuffer: 1 << 28,
    timeout: DEADLINE_MS,
  });
  assert.equal(ran.status, 0, `phi ${given[0]} ${given[1]}: ${ran.error ?? ran.stderr.slice(-2_000)}`);
  return ran.stdout;
}

/** Makes the session and its page; returns how many events it has. */
function make(directory, page) {
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(join(directory, "work"), { recursive: true });
  writeFileSync(join(directory, "work", "notes.txt"), `todo: ${HOSTILE}\n`.repeat(20));
  writeFileSync(join(directory, "script.json"), JSON.stringify(script()));
  const limits = ["--max-turns", String(TURNS + 10)];
  run(directory, "run", "Look around.", "--script", join(directory, "script.json"), "--session", "long", ...limits);
  const events = run(directory, "sessions", "events", "long").trimEnd().split("\n").length;
  run(directory, "sessions", "show", "long", "--html", page);
  return events;
}

/** Looks at the page. */
async function look(page, file, events) {
  const faults = [];
  const requests = [];
  page.on("console", (message) => faults.push(message.text()));
  page.on("pageerror", (error) => faults.push(String(error)));
  page.on("request", (request) => requests.push(request.url()));
  const address = pathToFileURL(file).href;
  const began = performance.now();
  await page.goto(address, { waitUntil: "load" });
  const shown = await page.locator("#count").textContent();
  const took = performance.now() - began;
  assert.equal(shown, `${events.toLocaleString("en")} events`, "every event is there");
  assert.equal(await page.locator("details.event").count(), events, "every event is a row");
  assert.match(await page.title(), /^long/, "nothing breaks out of the page");
  assert.equal(await page.locator("script").count(), 1, "the only script is the page's own");
  assert.ok(took < OPEN_MS_MAX, `the page opened in ${Math.round(took)} ms`);

  // An event opens by the keyboard alone, and shows what it says.
  await page.keyboard.press("n");
  await page.keyboard.press("j");
  await page.keyboard.press("Enter");
  const opened = page.locator("details.event[open]");
  assert.equal(await opened.count(), 1, "one event is open");
  assert.match(await opened.locator("pre").innerText(), /^type: /, "it shows what it says");

  // An address opens its event, however far down it is.
  await page.goto(`${address}#e${events - 20}`);
  const last = page.locator(`#e${events - 20}`);
  await last.locator("pre").waitFor({ state: "visible" });

  await page.locator("#filter").fill("missing.txt");
  await page.waitForFunction(() => document.getElementById("count").textContent.includes(" of "));
  const found = await page.locator("details.event:not([hidden])").count();
  assert.ok(found > 0 && found < events / 4, `a filter leaves ${found} events`);
  await page.locator("#filter").fill("");
  await page.waitForFunction(() => !document.getElementById("count").textContent.includes(" of "));

  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const before = await ground();
  await page.locator("#theme").click();
  assert.notEqual(await ground(), before, "the theme changes");
  await page.locator("#theme").click();
  assert.equal(await ground(), before, "and back");

  assert.deepEqual(faults, [], "nothing is reported on the console");
  const others = requests.filter((url) => !url.startsWith(address) && !url.startsWith("data:"));
  assert.deepEqual(others, [], "nothing is loaded");
  return took;
}

const directory = join(installed, "timeline");
const file = join(directory, "long.html");
const events = make(directory, file);
assert.ok(events >= EVENTS_MIN, `${events} events`);
const started = await chromium.launch({
  executablePath: browser,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"],
});
try {
  const page = await started.newPage({ viewport: { width: 1280, height: 900 }, colorScheme: "light" });
  page.setDefaultTimeout(60_000);
  const took = await look(page, file, events);
  await page.goto("about:blank");
  await page.goto(pathToFileURL(file).href);
  await page.screenshot({ path: join(directory, "long.png") });
  const mebibytes = (statSync(file).size / (1 << 20)).toFixed(1);
  console.log(`ok the page of ${events} events (${mebibytes} MiB) opened in ${Math.round(took)} ms`);
} finally {
  await started.close();
}
