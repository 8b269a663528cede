import { describe, expect, it } from "vitest";
import { matches, watcher } from "../src/all";
import { powers, said, stepped } from "../src/charts";
import { observedIn } from "../src/ladder";
import type { Line, Rung, Series } from "../src/model";
import { headline } from "../src/one";
import { airflowRun, placeOf, toRun } from "../src/place";
import { place } from "../src/verdict";

const line = { plan: "llm", stable: "llm-pool", canary: "llm-new", run: "r1", words: "20 % (step 1 of 3) - baking 5 s of 1 min - watched by triggerer a/7 since 12:00:00Z", standing: "running", ended: null } as Line;

describe("addresses", () => {
  it("lead to a run and back, whatever it is called", () => {
    const hash = toRun("rollout_llm", "manual__2026-11-26T18:00:00+00:00/x");
    expect(placeOf(hash)).toEqual({ page: "one", dag: "rollout_llm", run: "manual__2026-11-26T18:00:00+00:00/x" });
    expect(placeOf("#/rollouts/%E0%A4%A/r")).toEqual({ page: "one", dag: "%E0%A4%A", run: "r" });
    expect(placeOf("#/nonsense")).toEqual({ page: "all" });
    expect(airflowRun("a b", "r/1")).toBe("../dags/a%20b/runs/r%2F1");
  });
});

describe("lists", () => {
  it("are filtered by all words, in any order", () => {
    expect([matches(line, "RUNNING llm-new"), matches(line, "llm other"), matches(line, " ")]).toEqual([true, false, true]);
  });
  it("name who watches without its process", () => {
    expect([watcher("triggerer a/7 since 12:00:00Z"), watcher("nobody, since b/1 was last seen 9 s ago"), watcher("")]).toEqual(["triggerer a", "nobody", "–"]);
  });
});

describe("one rollout", () => {
  it("says in its headline what does not stand beside it", () => {
    expect(headline({ line } as never)).toBe("Baking 5 s of 1 min.");
  });
  it("counts the share of a step from what was counted in it alone", () => {
    const series = { times: [10, 20, 30], requests: { canary: [1, 20, null], stable: [9, 60, null] } } as unknown as Series;
    expect(observedIn({ since: 15, until: null } as Rung, series)).toBe(0.25);
    expect(observedIn({ since: 40, until: null } as Rung, series)).toBeNull();
  });
});

describe("charts", () => {
  it("step where something was asked", () => {
    expect(stepped([[10, 0.05], [20, 0.2]], [5, 10, 19, 20])).toEqual([null, 0.05, 0.05, 0.2]);
  });
  it("have few powers of ten on their axis", () => {
    expect(powers(0.1, 1000)).toEqual([0.1, 1, 10, 100, 1000]);
    expect(powers(0.1, 1e24).length).toBeLessThanOrEqual(6);
  });
  it("say their latest values to those who do not see them", () => {
    const chart = { title: "Share", unit: (value: number | null | undefined) => `${value}`, times: [1, 2], curves: [{ label: "asked", values: [0.1, null], colour: "" }], rules: [{ at: 1, label: "alarm at 100", colour: "" }] };
    expect(said(chart)).toBe("Share: asked 0.1, alarm at 100");
  });
  it("place evidence between a tenth and the alarm", () => {
    expect([place(0.01, 100), place(100, 100), place(1e9, 100)]).toEqual([0, 1, 1]);
    expect(place(1, 100)).toBeCloseTo(1 / 3);
  });
});
