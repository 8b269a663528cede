import { describe, expect, it } from "vitest";
import { byStart, joined, matches, watcher } from "../src/all";
import { ceiling, evidenceOf, power, powers, said, stepped } from "../src/charts";
import { observedIn, taskOf } from "../src/ladder";
import type { Line, PlanDag, Rung, Series } from "../src/model";
import { headline, tail } from "../src/one";
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

describe("history", () => {
  const ended = (run: string, at: number) => ({ ...line, run, ended: at }) as Line;
  it("has each run once, the newest first, whatever ends meanwhile", () => {
    const older = [{ now: 0, history: [ended("b", 2), ended("a", 1)], older: null }];
    expect(joined([ended("c", 3), ended("b", 2)], older).map((each) => each.run)).toEqual(["c", "b", "a"]);
  });
});

describe("plans", () => {
  const plan = (dag: string, next: number | null, paused = false) => ({ dag, next, paused, invalid: false }) as PlanDag;
  it("stand in the order in which they start; what is paused does not", () => {
    const groups = byStart([plan("by hand", null), plan("late", 90000), plan("second", 200), plan("first", 100), plan("paused", 50, true)], 0);
    expect(groups.map(([, found]) => found.map((each) => each.dag))).toEqual([["first", "second"], ["late"], ["by hand", "paused"]]);
  });
});

describe("one rollout", () => {
  it("shows of a pod what tells it from others", () => {
    expect([tail("llm-new-5d9c7-k2x4p", "llm-new"), tail("other-1", "llm-new")]).toEqual(["…-5d9c7-k2x4p", "other-1"]);
  });
  it("leads to the task that works on a step", () => {
    const tasks = { "step_1.shift": "success", "step_1.judge": "deferred", "step_1.ask": "none", "step_2.shift": "none" };
    expect([1, 2].map((step) => taskOf({ step } as Rung, tasks))).toEqual(["step_1.judge", undefined]);
  });
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
  it("show both kinds of evidence, each against its line", () => {
    const series = { evidence: [[10, 0.5], [20, 0.001]], goodness: [[20, 30]], alarm_at: 100, good_at: 20 } as unknown as Series;
    const chart = evidenceOf(series);
    expect(chart.curves.map((curve) => curve.values)).toEqual([[0.5, 0.01], [null, 30]]);
    expect(chart.rules!.map((rule) => rule.label)).toEqual(["alarm at 100", "good enough at 20"]);
    expect(ceiling(chart)).toBe(1000);
    expect(evidenceOf({ ...series, good_at: null }).curves).toHaveLength(1);
  });
  it("write powers of ten", () => {
    expect([0.1, 100, 1e15, 1e-7].map(power)).toEqual(["0.1", "100", "10¹⁵", "10⁻⁷"]);
  });
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
