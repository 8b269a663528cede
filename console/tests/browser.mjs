// A real browser that does what it is told: a line of JSON on standard input, a line of JSON for the answer.
// An order is {who, do, ...}: each WHO has cookies and a page of their own. `at` is a selector of Playwright; inside
// a frame it stands after ` >>> `, and the frame's before it.

import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const PATIENCE = 60_000; // ms
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ARGUMENTS });
const pages = new Map();

async function pageOf(who) {
  if (!pages.has(who)) {
    const context = await browser.newContext({ viewport: { width: 1440, height: 1000 }, reducedMotion: "reduce", timezoneId: "UTC" });
    context.setDefaultTimeout(PATIENCE);
    pages.set(who, await context.newPage());
  }
  return pages.get(who);
}

function located(page, at) {
  const [inner, frame] = at.split(" >>> ").reverse();
  return (frame ? page.frameLocator(frame) : page).locator(inner).first();
}

const DEEDS = {
  goto: async (page, { url }) => void (await page.goto(url)),
  wait: async (page, { at }) => void (await located(page, at).waitFor()),
  click: async (page, { at }) => void (await located(page, at).click()),
  fill: async (page, { at, text }) => void (await located(page, at).fill(text)),
  text: async (page, { at }) => await located(page, at).innerText(),
  evaluate: async (page, { code }) => await page.evaluate(code),
};

for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  let answer;
  try {
    answer = { value: (await DEEDS[order.do](await pageOf(order.who), order)) ?? null };
  } catch (problem) {
    answer = { error: String(problem) };
  }
  console.log(JSON.stringify(answer));
}
await browser.close();
