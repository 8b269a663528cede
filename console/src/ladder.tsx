// The steps of a rollout from left to right: as high as their shares, filled as far as they came.

import type { Rollout, Rung, Series } from "./model";
import { Away } from "./parts";
import { airflowTask } from "./place";
import { duration, figure, percent, VERDICTS } from "./words";

const SIGNS = { passed: "✓", now: "▸", next: "", failed: "✕", skipped: "–" } as const;
const SAID = { passed: "passed", now: "now", next: "to come", failed: "failed", skipped: "not reached" } as const;

export function Ladder({ rollout, series }: { rollout: Rollout; series: Series | null }) {
  return (
    <ol class="ladder" aria-label="Steps">
      {rollout.ladder.map((rung) => <Step key={rung.step} rung={rung} rollout={rollout} observed={observedIn(rung, series)} />)}
    </ol>
  );
}

// The canary's share of the requests that were counted in a step; null where none were.
export function observedIn(rung: Rung, series: Series | null): number | null {
  if (!series || rung.since === null) return null;
  let [canary, all] = [0, 0];
  series.times.forEach((time, place) => {
    if (time < rung.since! || (rung.until !== null && time > rung.until + 1)) return;
    const [c, s] = [series.requests.canary[place] ?? 0, series.requests.stable[place] ?? 0];
    canary += c;
    all += c + s;
  });
  return all ? canary / all : null;
}

function baked(rung: Rung, rollout: Rollout): number {
  if (rung.state === "passed") return 1;
  const progress = rollout.status?.progress;
  if (rung.state === "now" && rollout.status?.step === rung.step && progress) return progress.bake ? Math.min(1, progress.baked / progress.bake) : 1;
  return 0;
}

// The task that does something for a step now, or did last.
export function taskOf(rung: Rung, tasks: Record<string, string>): string | undefined {
  return ["ask", "judge", "shift"].map((name) => `step_${rung.step}.${name}`).find((task) => tasks[task] && !["none", "skipped", "removed", "upstream_failed"].includes(tasks[task]!));
}

function Step({ rung, rollout, observed }: { rung: Rung; rollout: Rollout; observed: number | null }) {
  const done = baked(rung, rollout);
  const task = taskOf(rung, rollout.tasks ?? {});
  const share = rung.mirror ? `${rung.mirror} % mirrored` : `${rung.percent ?? rung.weight} %`;
  const changed = rung.percent !== null && rung.percent !== rung.weight && !rung.mirror;
  return (
    <li class={`rung ${rung.state}`} aria-current={rung.state === "now" ? "step" : undefined}>
      <div class="column" aria-hidden="true">
        <span class="height" style={{ height: `${Math.max(6, rung.mirror || rung.percent || rung.weight)}%` }}>
          <span class="baked" style={{ height: `${100 * done}%` }} />
        </span>
        {observed !== null && <span class="observed" style={{ bottom: `${100 * observed}%` }} />}
      </div>
      <div class="text">
        <b>{share}</b>
        <span class="state">{SIGNS[rung.state]} {SAID[rung.state]}</span>
        {task && <small><Away href={airflowTask(rollout.line.dag, rollout.line.run, task)}>{task.replace(/^.*\./, "")} task</Away></small>}
        {changed && <small>plan: {rung.weight} %</small>}
        <small>{observed === null ? `bakes ${duration(rung.bake)}` : `observed ${percent(observed)}`}</small>
        {rung.verdict && <small title={rung.reason}>{VERDICTS[rung.verdict] ?? rung.verdict}, evidence {figure(rung.evidence)}</small>}
      </div>
    </li>
  );
}
