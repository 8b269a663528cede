// Looks at every page and state in a real browser: what is on it, that it can be used by keyboard, and axe's rules.
// `--screenshots FOLDER` takes a picture of each, light and dark; `--readme FOLDER` the two of the README.

import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { chromium } from "playwright-core";

const { CONSOLE, TOKEN, CHROMIUM } = process.env;
const option = (name) => (process.argv.includes(name) ? process.argv[process.argv.indexOf(name) + 1] : null);
const [pictures, readme] = [option("--screenshots"), option("--readme")];
const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
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

async function open(where, hash, { theme = "light", width = 1440, height = 1000, settle = true } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: theme, reducedMotion: "reduce", timezoneId: "UTC" });
  await context.addCookies([{ name: "_token", value: TOKEN, url: CONSOLE }]);
  await context.addInitScript((chosen) => localStorage.setItem("theme", chosen), theme);
  const page = await context.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  await page.goto(`${CONSOLE}/${where}/inference-rollouts/${hash}`);
  await page.waitForSelector("main, .trouble");
  if (settle) await page.waitForTimeout(150);
  if (settle && (await page.locator(".alpha").count())) await page.waitForSelector(".alpha dd");
  if (settle && (await page.locator(".ladder").count())) await page.waitForSelector("canvas, .charts, .pad.muted");
  return { page, context, errors };
}

async function accessible(page, what) {
  // The rules are put in past the page's own policy, which forbids scripts of others as it should.
  const client = await page.context().newCDPSession(page);
  await client.send("Page.setBypassCSP", { enabled: true });
  await page.reload();
  await page.waitForSelector("main");
  await page.waitForTimeout(600);
  await page.addScriptTag({ path: AXE });
  const found = await page.evaluate(() => globalThis.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21aa"] }));
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

for (const [name, hash] of [["all", "#/"], ["plan", "#/plans/rollout_llm"], ["no-such", "#/rollouts/rollout_llm/none"]]) {
  const { page, context, errors } = await open("busy", hash);
  await picture(page, name);
  const unexpected = errors.filter((error) => name !== "no-such" || !error.includes("404"));
  check(unexpected.length === 0, `${name}: ${unexpected.join("; ")}`);
  if (name !== "no-such") await accessible(page, name);
  await context.close();
}

for (const [standing, words, plan] of STATES) {
  const { page, context, errors } = await open("busy", hashOf(standing, plan));
  await picture(page, `one-${standing.replaceAll(" ", "-")}`);
  check((await page.textContent(".headline .badge")).includes(words), `${standing}: its badge`);
  check(errors.length === 0, `${standing}: ${errors.join("; ")}`);
  if (["running", "question", "rolled back"].includes(standing)) await accessible(page, standing);
  await context.close();
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
  await context.close();
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
  await context.close();
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
  await context.close();
}

for (const [where, name] of [["empty", "empty"], ["many", "many"]]) {
  const { page, context, errors } = await open(where, "#/", { height: 1200 });
  await picture(page, name);
  check(errors.length === 0, `${name}: ${errors.join("; ")}`);
  if (name === "many") check((await page.locator(".flight tbody tr").count()) === 200, "200 rollouts");
  await context.close();
}

if (pictures) {
  for (const [name, hash] of [["all", "#/"], ["one-running", hashOf("running")], ["one-question", hashOf("question")], ["one-alarm", hashOf("alarm")], ["plan", "#/plans/rollout_llm"]]) {
    const { page, context } = await open("busy", hash, { theme: "dark" });
    await picture(page, `dark-${name}`);
    await context.close();
  }
  const { page, context } = await open("busy", hashOf("running"), { width: 700 });
  await picture(page, "narrow");
  await context.close();
}

{ // how soon a page can be used
  const { page, context } = await open("busy", "#/", { settle: false });
  const ready = await page.evaluate(() => performance.getEntriesByType("navigation")[0].domContentLoadedEventEnd);
  console.log(`all pages loaded and interactive after ${Math.round(ready)} ms`);
  await context.close();
}

await browser.close();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
