// Looks at every page and state in a real browser: what is on it, that it can be used by keyboard, and axe's rules.
// `--screenshots FOLDER` takes a picture of each, light and dark; `--readme FOLDER` the two of the README.

import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { chromium } from "playwright-core";

const { CONSOLE, TOKEN, CHROMIUM } = process.env;
const option = (name) => (process.argv.includes(name) ? process.argv[process.argv.indexOf(name) + 1] : null);
const [pictures, readme] = [option("--screenshots"), option("--readme")];
const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

let failed = 0;
let passed = 0;

function check(holds, what) {
  if (holds) passed += 1;
  else {
    failed += 1;
    console.log(`FAILED ${what}`);
  }
}

const browser = await chromium.launch({ executablePath: CHROMIUM, args: ARGUMENTS });

async function open(where, hash, { theme = "light", width = 1440, height = 1000, settle = true, changed = null } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: theme, reducedMotion: "reduce", timezoneId: "UTC" });
  await context.addCookies([{ name: "_token", value: TOKEN, url: CONSOLE }]);
  await context.addInitScript((chosen) => localStorage.setItem("theme", chosen), theme);
  const page = await context.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  if (changed) await page.route(/\/api\//, async (route) => {
    const reply = await route.fetch();
    return route.fulfill({ response: reply, json: changed(await reply.json()) });
  });
  await page.goto(`${CONSOLE}/${where}/inference-rollouts/${hash}`);
  await page.waitForSelector("main, .trouble");
  if (settle) await page.waitForTimeout(150);
  if (settle && (await page.locator(".alpha").count())) await page.waitForSelector(".alpha dd");
  if (settle && (await page.locator(".ladder").count())) await page.waitForSelector("canvas, .charts, .pad.muted");
  return { page, context, errors };
}

async function accessible(page, what) {
  // The debugger puts the rules in: the page's own policy forbids scripts of others, as it should.
  await page.evaluate(AXE);
  const found = await page.evaluate(() => globalThis.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21aa"], rules: { "heading-order": { enabled: true }, "page-has-heading-one": { enabled: true } } }));
  for (const each of found.violations) console.log(`  ${what}: ${each.id}: ${each.help}: ${each.nodes.slice(0, 3).map((node) => `${node.target} ${node.any[0]?.message ?? ""}`).join(" | ")}`);
  check(found.violations.length === 0, `${what}: axe finds ${found.violations.length}`);
}

async function picture(page, name) {
  if (pictures) await page.screenshot({ path: join(pictures, `${name}.png`), fullPage: true });
}

const lists = await (await fetch(`${CONSOLE}/busy/inference-rollouts/api/rollouts`, { headers: { Authorization: `Bearer ${TOKEN}` } })).json();
const every = [...lists.rollouts, ...lists.history];
const hashOf = (standing, plan) => {
  const line = every.find((each) => each.standing === standing && (!plan || each.plan === plan));
  return `#/rollouts/${encodeURIComponent(line.dag)}/${encodeURIComponent(line.run)}`;
};

// What an answer says to people, with something put behind it; what it says to the page stays.
const SAID = new Set(["words", "headline", "reason", "text", "body", "subject", "report", "name", "description", "version", "title", "effect", "watcher", "canary", "stable", "plan", "by", "offer", "undone", "needs"]);
function spoilt(value, suffix, key = "") {
  if (typeof value === "string") return SAID.has(key) ? `${value}${suffix}` : value;
  if (Array.isArray(value)) return value.map((each) => spoilt(each, suffix, ["turning", "warnings", "failures"].includes(key) ? "words" : key));
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, spoilt(each, suffix, name)]));
  return value;
}

// A page that asks again just then is not answered any more.
async function close({ page, context }) {
  await page.unrouteAll({ behavior: "ignoreErrors" });
  await context.close();
}

const chart = (page, title) => page.locator(`[role=img][aria-label^="${title}"]`).getAttribute("aria-label");

if (pictures) await mkdir(pictures, { recursive: true });
if (readme) {
  await mkdir(readme, { recursive: true });
  const all = await open("busy", "#/", { width: 1280, height: 620 });
  await all.page.screenshot({ path: join(readme, "console-all.png") });
  const one = await open("busy", hashOf("running"), { width: 1280, height: 900, theme: "dark" });
  await one.page.screenshot({ path: join(readme, "console-one.png") });
  await browser.close();
  process.exit(0);
}

const STATES = [
  ["running", "Running"], ["question", "Asks you"], ["alarm", "Alarm"], ["unwatched", "Unwatched"], ["paused", "Paused"],
  ["preparing", "Preparing"], ["promoted", "Promoted", "code"], ["rolled back", "Rolled back"],
];

for (const [name, hash, where] of [["all", "#/", "busy"], ["stopped", "#/", "stopped"], ["empty", "#/", "empty"], ["plan", "#/plans/rollout_llm", "busy"], ["no-such", "#/rollouts/rollout_llm/none", "busy"]]) {
  const { page, context, errors } = await open(where, hash);
  await picture(page, name);
  const unexpected = errors.filter((error) => name !== "no-such" || !error.includes("404"));
  check(unexpected.length === 0, `${name}: ${unexpected.join("; ")}`);
  await accessible(page, name);
  await close({ page, context });
}

for (const [standing, words, plan] of STATES) {
  const { page, context, errors } = await open("busy", hashOf(standing, plan));
  await picture(page, `one-${standing.replaceAll(" ", "-")}`);
  check((await page.textContent(".headline .badge")).includes(words), `${standing}: its badge`);
  check(errors.length === 0, `${standing}: ${errors.join("; ")}`);
  const broken = await page.evaluate(() => {
    const inside = (each) => { const range = document.createRange(); range.selectNodeContents(each); return [...range.getClientRects()]; };
    const figures = [...document.querySelectorAll(".events time, .figures td.right")];
    return figures.filter((each) => new Set(inside(each).map((line) => line.top)).size > 1).map((each) => each.textContent);
  });
  check(broken.length === 0, `${standing}: in two lines: ${broken}`);
  await accessible(page, standing);
  await close({ page, context });
}

{ // both kinds of evidence against their lines, the queue, and where to look further
  const { page, context } = await open("busy", hashOf("running"), { theme: "dark" });
  const evidence = await chart(page, "Evidence");
  check(/worse .*good enough .*alarm at 100.*good enough at 20/.test(evidence), `evidence: ${evidence}`);
  for (const title of ["Requests a second", "Failed requests", "Time to first token, p95", "Time per output token, p95", "Time in the queue, p95", "Running or waiting"]) {
    check((await chart(page, title)).includes("canary "), `${title}: a chart`);
  }
  const links = await page.locator("main a").evaluateAll((all) => all.map((link) => link.getAttribute("href")));
  check(links.some((href) => href?.endsWith("/tasks/step_3.judge")), "a link to the task of the step");
  await accessible(page, "running, dark");
  await close({ page, context });
}

{ // a promotion is undone, and everything stopped, by the DAG that commands, with a reason
  const { page, context } = await open("busy", hashOf("promoted", "code"));
  const sent = [];
  await page.route("**/rollout_control/dagRuns", (route) => {
    sent.push(route.request().postDataJSON().conf);
    return route.fulfill({ json: { dag_run_id: "manual__1" } });
  });
  await page.getByRole("button", { name: "Undo the promotion" }).click();
  check(await page.locator("dialog button.strong").isDisabled(), "no undo without a reason");
  await page.locator("dialog input").fill("it rambles");
  await picture(page, "dialog-undo");
  await page.locator("dialog button.strong").click();
  await page.waitForSelector(".done");
  await page.goto(`${CONSOLE}/busy/inference-rollouts/#/`);
  await page.getByRole("button", { name: "Stop everything" }).click();
  await page.getByLabel("For").selectOption("8h");
  await page.getByLabel("Why").fill("incident 42");
  await accessible(page, "a dialog");
  await picture(page, "dialog-stop");
  await page.locator("dialog button.strong").click();
  await page.waitForSelector(".done");
  check(JSON.stringify(sent) === JSON.stringify([{ rollout: "code", command: "undo", reason: "it rambles" }, { rollout: "everything", command: "stop", reason: "incident 42", lasts: "8h" }]), `commanded: ${JSON.stringify(sent)}`);
  await close({ page, context });
}

{ // who stopped everything, why and until when; and the way on
  const { page, context } = await open("stopped", "#/", { theme: "dark" });
  check(/held until 2026-11-26 22:40:00 UTC by mara: the gateway/.test(await page.textContent(".stop")), "who stopped everything");
  check(await page.getByRole("button", { name: "Let them go on" }).isVisible(), "it can go on");
  await accessible(page, "stopped, dark");
  await close({ page, context });
}

{ // history goes on beyond its first page
  const page1 = (json) => (json.plans ? { ...json, older: 1 } : json);
  const { page, context } = await open("busy", "#/", { changed: page1 });
  const before = await page.locator(".ended li").count();
  await page.route("**/api/history?before=1", (route) => route.fulfill({ json: { now: lists.now, history: [{ ...lists.history[0], run: "an older run" }], older: null } }));
  await page.getByRole("button", { name: "Older ones" }).click();
  await page.waitForFunction((count) => document.querySelectorAll(".ended li").length === count, before + 1);
  check((await page.getByRole("button", { name: "Older ones" }).count()) === 0, "history ends");
  await close({ page, context });
}

for (const [name, hash] of [["all", "#/"], ["question", hashOf("question")], ["promoted", hashOf("promoted", "code")], ["plan", "#/plans/rollout_llm"]]) {
  { // others' text is text
    const { page, context } = await open("busy", hash, { changed: (json) => spoilt(json, ' <img src=x onerror="document.title=1"><b>bold</b>') });
    check((await page.textContent("main")).includes("<img src=x"), `${name}: others' text is shown`);
    check((await page.locator("main img, main b:text-is('bold')").count()) === 0 && (await page.title()) !== "1", `${name}: others' text is no markup`);
    await close({ page, context });
  }
  { // long names break, and nothing is beyond the edge of a narrow window
    const { page, context } = await open("busy", hash, { width: 420, changed: (json) => spoilt(json, `-${"very-long-name-".repeat(5)}end`) });
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    check(wide <= 0, `${name}: ${wide} px beyond the edge`);
    await picture(page, `long-${name}`);
    await close({ page, context });
  }
}

{ // those that want a person are first; what is typed filters; the keyboard gets in
  const { page, context } = await open("busy", "#/");
  check((await page.textContent(".flight tbody tr:first-child .badge")).includes("Asks you"), "who wants a person is first");
  await page.fill("input[type=search]", "chat");
  check((await page.locator(".flight tbody tr").count()) === 1, "the list is filtered");
  await page.fill("input[type=search]", "");
  await page.getByRole("button", { name: /Wants a person/ }).press("Enter");
  check((await page.locator(".flight tbody tr").count()) === lists.rollouts.filter((each) => each.wants_a_person).length, "only those that want a person");
  await page.locator(".flight a.row").first().focus();
  await page.keyboard.press("Enter");
  await page.waitForSelector(".asked");
  check(page.url().includes("#/rollouts/"), "a rollout opens by keyboard");
  await close({ page, context });
}

{ // a question is answered by a click, through Airflow's own API
  const { page, context } = await open("busy", hashOf("question"));
  let sent = null;
  await page.route("**/hitlDetails", (route) => {
    sent = route.request().postDataJSON();
    return route.fulfill({ json: {} });
  });
  await page.getByRole("button", { name: "Go on" }).click();
  check(await page.locator("dialog[open]").isVisible(), "it asks once more");
  await picture(page, "dialog");
  await page.keyboard.press("Escape");
  check(sent === null && (await page.locator("dialog[open]").count()) === 0, "Escape does nothing");
  await page.getByRole("button", { name: "Go on" }).click();
  await page.locator("dialog button.strong").click();
  await page.waitForSelector(".done");
  check(JSON.stringify(sent) === '{"chosen_options":["Go on"]}', "the answer is sent");
  await close({ page, context });
}

{ // another alpha is asked of the server; the page is saved as one file
  const { page, context } = await open("busy", hashOf("rolled back"));
  await page.locator(".alpha input").focus();
  await page.keyboard.press("End");
  await page.waitForFunction(() => document.querySelector(".alpha output")?.textContent.includes("0.2"));
  await page.waitForSelector(".alpha dd");
  check((await page.textContent(".alpha dl")).includes("worse after"), "judged again");
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Save as HTML" }).click()]);
  const path = join(await mkdtemp(join(tmpdir(), "console-")), "saved.html");
  await download.saveAs(path);
  const saved = await (await browser.newContext()).newPage();
  await saved.goto(`file://${path}`);
  check((await saved.locator("img").count()) > 3 && (await saved.locator("button").count()) === 0, "the saved page has its charts and no buttons");
  check((await saved.textContent("body")).includes("Rolled back"), "the saved page says how it ended");
  await picture(saved, "saved");
  await rm(dirname(path), { recursive: true });
  await close({ page, context });
}

{ // two hundred
  const { page, context, errors } = await open("many", "#/", { height: 1200 });
  if (pictures) await page.screenshot({ path: join(pictures, "many.png") });
  check(errors.length === 0, `many: ${errors.join("; ")}`);
  check((await page.locator(".flight tbody tr").count()) === 200, "200 rollouts");
  await close({ page, context });
}

if (pictures) {
  for (const [name, hash] of [["all", "#/"], ["one-running", hashOf("running")], ["one-question", hashOf("question")], ["one-alarm", hashOf("alarm")], ["one-rolled-back", hashOf("rolled back")], ["one-promoted", hashOf("promoted", "code")], ["plan", "#/plans/rollout_llm"]]) {
    const { page, context } = await open("busy", hash, { theme: "dark" });
    await picture(page, `dark-${name}`);
    await close({ page, context });
  }
  const { page, context } = await open("busy", hashOf("running"), { width: 700 });
  await picture(page, "narrow");
  await close({ page, context });
}

{ // how soon a page can be used
  const { page, context } = await open("busy", "#/", { settle: false });
  const ready = await page.evaluate(() => performance.getEntriesByType("navigation")[0].domContentLoadedEventEnd);
  console.log(`all pages loaded and interactive after ${Math.round(ready)} ms`);
  await close({ page, context });
}

await browser.close();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
