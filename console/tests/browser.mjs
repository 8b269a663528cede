// A real browser that does what it is told: a line of JSON on standard input, a line of JSON for an answer.
// {"as": WHO, "do": "goto", "url"} | {"do": "click" | "text" | "count" | "wait", "at": SELECTOR}
// | {"do": "fill", "at", "text"} | {"do": "picture", "path"}. Each WHO has cookies and a page of their own.

import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const PATIENCE = 30_000; // ms
const ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ARGUMENTS });
const pages = new Map();

async function pageOf(who) {
  if (!pages.has(who)) {
    const context = await browser.newContext({ viewport: { width: 1440, height: 1000 }, reducedMotion: "reduce", timezoneId: "UTC" });
    context.setDefaultTimeout(PATIENCE);
    const page = await context.newPage();
    page.errors = [];
    page.on("pageerror", (error) => page.errors.push(String(error)));
    pages.set(who, page);
  }
  return pages.get(who);
}

// Also inside a frame, where the selector of one stands before ` >>> `.
function locate(page, at) {
  const [inner, frame] = at.split(" >>> ").reverse();
  return (frame ? page.frameLocator(frame) : page).locator(inner).first();
}

const DEEDS = {
  goto: async (page, { url }) => void (await page.goto(url)),
  click: async (page, { at }) => void (await locate(page, at).click()),
  fill: async (page, { at, text }) => void (await locate(page, at).fill(text)),
  wait: async (page, { at }) => void (await locate(page, at).waitFor()),
  text: async (page, { at }) => await locate(page, at).innerText(),
  count: async (page, { at }) => await page.locator(at).count(),
  picture: async (page, { path }) => void (await page.screenshot({ path, fullPage: true })),
  eval: async (page, { code }) => await page.evaluate(code),
  errors: async (page) => page.errors,
};

for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  let answer;
  try {
    answer = { value: (await DEEDS[order.do](await pageOf(order.as), order)) ?? null };
  } catch (problem) {
    answer = { error: String(problem) };
  }
  console.log(JSON.stringify(answer));
}
await browser.close();
