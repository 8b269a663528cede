// All charts of a rollout on one time axis, with what happened as marks across them.

import uPlot from "uplot";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Happening, Lines, Series } from "./model";
import { clock, figure, percent, seconds } from "./words";

type Points = (number | null)[];

interface Curve { label: string; values: Points; colour: string; dash?: number[]; width?: number; stepped?: boolean; fill?: string }
interface Rule { at: number; label: string; colour: string }

export interface ChartOf {
  title: string;
  wide?: boolean;
  unit: (value: number | null | undefined) => string;
  times: number[];
  curves: Curve[];
  log?: boolean;
  signs?: boolean;
  rules?: Rule[];
  most?: number;
  note?: string;
}

const HEIGHT = 132;
const TALL = 168;
const LEAST = 0.01; // evidence below that is drawn there
const SYNC = "rollout";

export function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function arms(lines: Lines): Curve[] {
  return [
    { label: "stable", values: lines.stable, colour: colour("stable"), dash: [5, 3] },
    { label: "canary", values: lines.canary, colour: colour("canary"), width: 2 },
  ];
}

// The value that stood at each of these times.
export function stepped(steps: [number, number][], times: number[]): Points {
  return times.map((time) => {
    let value: number | null = null;
    for (const [since, share] of steps) if (since <= time) value = share;
    return value;
  });
}

export function chartsOf(series: Series, quantile: "p50" | "p95" | "p99"): ChartOf[] {
  const { times } = series;
  const all = [...new Set([...times, ...series.asked.flatMap(([at]) => [at - 0.001, at])])].sort((a, b) => a - b);
  const observed = new Map(times.map((time, place) => [time, series.observed[place]]));
  return [
    {
      title: "Share of the canary",
      wide: true,
      signs: true,
      unit: (value) => percent(value),
      times: all,
      most: 1,
      curves: [
        { label: "asked", values: stepped(series.asked, all), colour: colour("canary"), stepped: true, width: 2, fill: colour("canary-wash") },
        { label: "observed", values: all.map((time) => observed.get(time) ?? null), colour: colour("fg-muted"), dash: [2, 3] },
      ],
    },
    evidenceOf(series),
    { title: "Requests a second", unit: figure, times, curves: arms(series.requests) },
    { title: `Failed requests (${series.failures_title})`, unit: (value) => percent(value), times, curves: arms(series.failures) },
    ...series.latencies.map((each) => ({
      title: `${each.title[0]!.toUpperCase()}${each.title.slice(1)}, ${quantile}`,
      unit: seconds,
      times,
      curves: arms(each[quantile]),
      note: each[quantile].canary.some((value) => value !== null && value >= each.end) ? `${seconds(each.end)} stands for all above` : undefined,
    })),
    ...(series.load ? [{ title: "Running or waiting in the servers", unit: figure, times: series.load.times, curves: arms(series.load) }] : []),
  ];
}

// Both kinds of evidence, each against its own line, on one logarithmic axis.
export function evidenceOf(series: Series): ChartOf {
  const [worse, good] = [new Map(series.evidence), new Map(series.goodness)];
  const times = [...new Set([...worse.keys(), ...good.keys()])].sort((a, b) => a - b);
  const values = (found: Map<number, number>) => times.map((time) => (found.has(time) ? Math.max(found.get(time)!, LEAST) : null));
  const rules: Rule[] = [{ at: series.alarm_at, label: `alarm at ${figure(series.alarm_at)}`, colour: colour("bad") }];
  if (series.good_at !== null) rules.push({ at: series.good_at, label: `good enough at ${figure(series.good_at)}`, colour: colour("good") });
  return {
    title: "Evidence",
    wide: true,
    unit: figure,
    times,
    log: true,
    curves: [
      { label: "that it is worse", values: values(worse), colour: colour("canary"), width: 2 },
      ...(series.good_at !== null ? [{ label: "that it is good enough", values: values(good), colour: colour("good"), width: 2, dash: [8, 3] }] : []),
    ],
    rules,
    note: series.good_at !== null && !good.size ? "proof is asked for in the last step with both arms" : undefined,
  };
}

export function Charts({ series, events, theme }: { series: Series; events: Happening[]; theme: string }) {
  const [quantile, setQuantile] = useState<"p50" | "p95" | "p99">("p95");
  const charts = chartsOf(series, quantile);
  const from = Math.min(...series.asked.map(([at]) => at), ...series.times, ...series.evidence.map(([at]) => at));
  const to = Math.max(...series.times, ...series.evidence.map(([at]) => at), ...series.asked.map(([at]) => at), from + 30);
  if (!series.times.length && !series.evidence.length) {
    return <p class="muted pad">No counts yet: charts begin with the first step.</p>;
  }
  return (
    <div>
      <div class="chart-head">
        <span class="legend"><i class="key canary" /> canary <i class="key stable" /> stable <Marks events={events} /></span>
        <span class="segments" role="group" aria-label="Percentile of times">
          {(["p50", "p95", "p99"] as const).map((each) => (
            <button type="button" aria-pressed={each === quantile} onClick={() => setQuantile(each)}>{each}</button>
          ))}
        </span>
      </div>
      <div class="charts">
        {charts.map((chart) => <Chart key={`${chart.title}${theme}`} chart={chart} range={[from, to]} events={events} />)}
      </div>
    </div>
  );
}

function Chart({ chart, range, events }: { chart: ChartOf; range: [number, number]; events: Happening[] }) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const latest = useRef({ chart, range, events });
  latest.current = { chart, range, events };
  const shape = chart.curves.map((curve) => curve.label).join();

  useLayoutEffect(() => {
    const host = box.current!;
    const made = new uPlot(options(host.clientWidth, latest), data(latest.current.chart), host);
    plot.current = made;
    const resized = new ResizeObserver(() => made.setSize({ width: host.clientWidth, height: height(chart) }));
    resized.observe(host);
    return () => {
      resized.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [shape, chart.log]);

  useEffect(() => {
    plot.current?.setData(data(chart));
  }, [chart]);

  return (
    <figure class={`chart ${chart.wide ? "wide" : ""}`}>
      <figcaption>
        <span>{chart.title}{chart.wide && chart.curves.map((curve) => <small class="legend"><i class="key" style={{ borderTopColor: curve.colour, borderTopStyle: curve.dash ? "dashed" : "solid" }} />{curve.label}</small>)}</span>
        <span class="latest">{chart.note ?? ""}</span>
      </figcaption>
      <div ref={box} role="img" aria-label={said(chart)} />
    </figure>
  );
}

// What a chart says, for those who do not see it: the latest value of each line.
export function said(chart: ChartOf): string {
  const last = (values: Points) => [...values].reverse().find((value) => value !== null);
  const lines = chart.curves.map((curve) => `${curve.label} ${chart.unit(last(curve.values))}`);
  const rules = (chart.rules ?? []).map((rule) => rule.label);
  return `${chart.title}: ${[...lines, ...rules].join(", ")}`;
}

function data(chart: ChartOf): uPlot.AlignedData {
  return [chart.times, ...chart.curves.map((curve) => curve.values)] as uPlot.AlignedData;
}

type Latest = { current: { chart: ChartOf; range: [number, number]; events: Happening[] } };

function options(width: number, latest: Latest): uPlot.Options {
  const { chart } = latest.current;
  const faint = colour("grid");
  const axis = { stroke: colour("fg-muted"), font: "11px system-ui, sans-serif", ticks: { show: false }, grid: { stroke: faint, width: 1 } };
  return {
    width,
    height: height(chart),
    padding: [chart.signs ? 20 : 10, 26, 0, 0],
    cursor: { sync: { key: SYNC }, points: { size: 6 }, drag: { x: false, y: false } },
    legend: { show: false },
    scales: {
      x: { time: true, range: () => latest.current.range },
      y: chart.log
        ? { distr: 3, range: (_, low) => [Math.min(0.1, low || 0.1), ceiling(latest.current.chart)] }
        : { range: (_, __, high) => [0, latest.current.chart.most ?? (Math.max(high ?? 0, 0) * 1.15 || 1)] },
    },
    axes: [
      { ...axis, size: 26, space: 72, incrs: INCREMENTS, values: (_, splits) => splits.map((time) => shortClock(time, latest.current.range)) },
      {
        ...axis,
        size: 58,
        space: 28,
        values: (_, splits) => splits.map((value) => (chart.log ? power(value) : chart.unit(value))),
        filter: (_, splits) => splits,
        ...(chart.log ? { splits: (_: uPlot, __: number, low: number, high: number) => powers(low, high) } : {}),
      },
    ],
    series: [
      {},
      ...chart.curves.map((curve): uPlot.Series => ({
        label: curve.label,
        stroke: curve.colour,
        width: curve.width ?? 1.5,
        ...(curve.dash ? { dash: curve.dash } : {}),
        ...(curve.fill ? { fill: curve.fill } : {}),
        ...(curve.stepped ? { paths: uPlot.paths.stepped!({ align: 1 }) } : {}),
        points: { show: false },
        spanGaps: true,
      })),
    ],
    hooks: { drawClear: [(plot) => marks(plot, latest)], draw: [(plot) => rules(plot, latest)], setCursor: [(plot) => pointed(plot, latest)] },
  };
}

function height(chart: ChartOf): number {
  return chart.log ? TALL : HEIGHT;
}

// The top of a logarithmic axis: a decade above all its lines, where what is beyond them leaves it.
export function ceiling(chart: ChartOf): number {
  return 10 ** (Math.ceil(Math.log10(Math.max(1, ...(chart.rules ?? []).map((rule) => rule.at))) - 1e-9) + 1);
}

// Powers of ten, at most six of them.
export function powers(low: number, high: number): number[] {
  const [first, last] = [Math.ceil(Math.log10(low) - 1e-9), Math.floor(Math.log10(high) + 1e-9)];
  const stride = Math.max(1, Math.ceil((last - first) / 5));
  return Array.from({ length: Math.floor((last - first) / stride) + 1 }, (_, place) => 10 ** (first + place * stride));
}

const RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹";

// A power of ten as it stands on an axis.
export function power(value: number): string {
  const exponent = Math.round(Math.log10(value));
  if (Math.abs(exponent) <= 4) return figure(value);
  return `10${exponent < 0 ? "⁻" : ""}${[...String(Math.abs(exponent))].map((digit) => RAISED[Number(digit)]).join("")}`;
}

// Seconds between two labels of the time axis.
const INCREMENTS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800];

function shortClock(time: number, [from, to]: [number, number]): string {
  return to - from > 480 ? clock(time).slice(0, 5) : clock(time);
}

// What is marked in the charts: its colour, its sign, and its words in the legend.
const MARKS: Record<string, [colour: string, sign: string, words: string]> = {
  raise: ["fg-muted", "↑", "raise"], question: ["ask", "?", "question"], answer: ["ask", "✎", "answer"], alarm: ["bad", "!", "alarm"],
  restored: ["back", "↩", "went back"], promoted: ["good", "✓", "promoted"], restart: ["warn", "↻", "restart of a pod"], drift: ["bad", "≠", "drift"],
  warning: ["warn", "△", "warning"],
};

function Marks({ events }: { events: Happening[] }) {
  const found = Object.entries(MARKS).filter(([kind]) => events.some((event) => event.kind === kind));
  return <>{found.map(([kind, [tone, sign, words]]) => <span key={kind} class="mark"><b style={{ color: `var(--${tone})` }} aria-hidden="true">{sign}</b> {words}</span>)}</>;
}

function marks(plot: uPlot, latest: Latest): void {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left - 8 * devicePixelRatio, 0, bbox.width + 16 * devicePixelRatio, bbox.top + bbox.height);
  ctx.clip();
  for (const event of latest.current.events) {
    const mark = MARKS[event.kind];
    const [from, to] = latest.current.range;
    if (!mark || event.time < from || event.time > to) continue;
    const x = Math.round(plot.valToPos(event.time, "x", true));
    ctx.strokeStyle = ctx.fillStyle = colour(mark[0]);
    if (latest.current.chart.signs) {
      ctx.font = `600 ${12 * devicePixelRatio}px system-ui, sans-serif`;
      ctx.textAlign = "center";
      ctx.textBaseline = "bottom";
      ctx.fillText(mark[1], x, bbox.top - 3 * devicePixelRatio);
    }
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash(event.kind === "raise" ? [2 * devicePixelRatio, 3 * devicePixelRatio] : []);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
  }
  ctx.restore();
}

function rules(plot: uPlot, latest: Latest): void {
  const { ctx, bbox } = plot;
  for (const rule of latest.current.chart.rules ?? []) {
    const y = Math.round(plot.valToPos(rule.at, "y", true));
    if (y < bbox.top || y > bbox.top + bbox.height) continue;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = rule.colour;
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([6 * devicePixelRatio, 4 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
    ctx.textAlign = "left";
    ctx.textBaseline = "bottom";
    ctx.fillText(rule.label, bbox.left + 6 * devicePixelRatio, y - 3 * devicePixelRatio);
    ctx.restore();
  }
}

// The values under the pointer, beside the title.
function pointed(plot: uPlot, latest: Latest): void {
  const { chart } = latest.current;
  const place = plot.cursor.idx;
  const label = plot.root.closest("figure")?.querySelector(".latest");
  if (!label) return;
  const time = place === null || place === undefined ? undefined : chart.times[place];
  label.textContent = time === undefined || plot.cursor.left! < 0
    ? (chart.note ?? "")
    : `${clock(time)}  ${chart.curves.map((curve) => `${curve.label} ${chart.unit(curve.values[place!])}`).join("  ")}`;
}
