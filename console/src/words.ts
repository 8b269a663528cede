// Figures and times as people read them.

import type { Standing } from "./model";

export const NONE = "–";

export function percent(share: number | null | undefined, digits = 1): string {
  if (share === null || share === undefined) return NONE;
  const value = 100 * share;
  return `${value !== 0 && Math.abs(value) < 10 ? value.toFixed(digits) : Math.round(value)} %`;
}

export function figure(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e6 || size < 1e-3)) return value.toExponential(1).replace("e+", "e");
  if (size >= 1000) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(3)));
}

export function seconds(value: number | null | undefined): string {
  if (value === null || value === undefined) return NONE;
  return value < 1 ? `${Math.round(1000 * value)} ms` : `${figure(value)} s`;
}

export function duration(value: number): string {
  const whole = Math.max(0, Math.round(value));
  const [days, hours, minutes, rest] = [
    Math.floor(whole / 86400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60, whole % 60,
  ];
  if (days) return hours ? `${days} d ${hours} h` : `${days} d`;
  if (hours) return minutes ? `${hours} h ${minutes} min` : `${hours} h`;
  if (minutes) return minutes < 10 && rest ? `${minutes} min ${rest} s` : `${minutes} min`;
  return `${rest} s`;
}

export function ago(time: number | null | undefined, now: number): string {
  return time ? duration(now - time) : NONE;
}

export function until(time: number | null | undefined, now: number): string {
  if (!time) return NONE;
  return time <= now ? "now" : `in ${duration(roughly(time - now))}`;
}

function roughly(left: number): number {
  const unit = left <= 60 ? 10 : 60;
  return Math.max(1, Math.ceil(left / unit)) * unit;
}

export function clock(time: number | null | undefined): string {
  if (!time) return NONE;
  return new Date(1000 * time).toLocaleTimeString("en-GB");
}

export function moment(time: number | null | undefined): string {
  if (!time) return NONE;
  const date = new Date(1000 * time);
  return `${date.toLocaleDateString("en-GB", { day: "numeric", month: "short" })} ${date.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" })}`;
}

export function count(number: number, one: string, many = `${one}s`): string {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

// Each standing: the words of its badge, a sign that is told apart without colour, and the colour's name.
export const STANDINGS: Record<Standing, { words: string; sign: string; tone: string }> = {
  astray: { words: "Astray", sign: "✕", tone: "bad" },
  question: { words: "Asks you", sign: "?", tone: "ask" },
  alarm: { words: "Alarm", sign: "!", tone: "bad" },
  unwatched: { words: "Unwatched", sign: "◌", tone: "warn" },
  paused: { words: "Paused", sign: "‖", tone: "still" },
  running: { words: "Running", sign: "▸", tone: "run" },
  preparing: { words: "Preparing", sign: "…", tone: "still" },
  "rolled back": { words: "Rolled back", sign: "↩", tone: "back" },
  "restored, not yet confirmed": { words: "Unconfirmed", sign: "↩", tone: "warn" },
  "let go": { words: "Let go", sign: "○", tone: "warn" },
  "dry run": { words: "Looked ahead", sign: "·", tone: "still" },
  "not started": { words: "Not started", sign: "·", tone: "still" },
  promoted: { words: "Promoted", sign: "✓", tone: "good" },
  over: { words: "Over", sign: "·", tone: "still" },
};

export const VERDICTS: Record<string, string> = {
  advance: "good",
  inconclusive: "undecided yet",
  "no data": "no data",
  ask: "asks",
  rollback: "worse",
};
