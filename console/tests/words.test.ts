import { describe, expect, it } from "vitest";
import { duration, figure, percent, seconds, until } from "../src/words";

describe("figures", () => {
  it("shows what matters of a number", () => {
    expect([0.4361, 12.34, 1350, 0, 2.2e23, null].map(figure)).toEqual(["0.436", "12.3", "1,350", "0", "2.2e23", "–"]);
  });
  it("shows shares in percent, small ones with a digit more", () => {
    expect([0.0036, 0.5, 0, null].map((each) => percent(each))).toEqual(["0.4 %", "50 %", "0 %", "–"]);
  });
  it("shows short times in milliseconds", () => {
    expect([0.25, 1.5, undefined].map(seconds)).toEqual(["250 ms", "1.5 s", "–"]);
  });
});

describe("durations", () => {
  it("are as people say them", () => {
    expect([7, 95, 3600, 5460, 90000].map(duration)).toEqual(["7 s", "1 min 35 s", "1 h", "1 h 31 min", "1 d 1 h"]);
  });
  it("to come are rough", () => {
    expect([until(1031, 1000), until(1100, 1000), until(990, 1000), until(null, 1000)]).toEqual(["in 40 s", "in 2 min", "now", "–"]);
  });
});
