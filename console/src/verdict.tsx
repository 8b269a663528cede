// Why: what the judge says, the figures behind it, what would change it, and another alpha.

import { useEffect, useRef, useState } from "preact/hooks";
import { api, usePolled } from "./api";
import type { Judgement, Rejudged, Rollout, Row } from "./model";
import { Panel, Trouble } from "./parts";
import { duration, figure, percent, VERDICTS } from "./words";

const EVERY = 2000;

export function Why({ rollout }: { rollout: Rollout }) {
  const judgement = rollout.judgement;
  // The status tells what was so when it was last published, so that of a step that is judged its judgement comes first.
  const said = judgement?.reason ?? rollout.status?.progress?.reason;
  return (
    <Panel id="why" title="Why">
      {said ? <p class="reason">{said}</p> : <p class="muted pad">Nothing has been judged yet.</p>}
      {rollout.failures.map((failure) => <p class="trouble">{failure}</p>)}
      {judgement && <Evidence judgement={judgement} />}
      {(judgement?.warnings ?? []).map((warning) => <p class="warning"><span aria-hidden="true">△</span> {warning}</p>)}
    </Panel>
  );
}

export function Turning({ rollout }: { rollout: Rollout }) {
  if (!rollout.turning?.length) return null;
  return (
    <Panel id="turning" title="What would change the verdict">
      <ul class="turning">
        {rollout.turning.map((sentence) => {
          const [kind, ...rest] = sentence.split(": ");
          return <li class={kind === "To alarm" ? "alarm" : "pass"}><b>{kind}</b><span>{rest.join(": ")}</span></li>;
        })}
      </ul>
    </Panel>
  );
}

function Evidence({ judgement }: { judgement: Judgement }) {
  return (
    <div class="scroll">
      <table class="figures">
        <caption class="visually-hidden">Figures by metric</caption>
        <thead>
          <tr><th scope="col">Bad requests</th><th scope="col" class="right">canary</th><th scope="col" class="right">stable</th><th scope="col">evidence of alarm</th></tr>
        </thead>
        <tbody>
          {judgement.rows.map((row) => <Figures key={row.metric} row={row} />)}
          <tr class="all">
            <th scope="row">Of all requests</th>
            <td class="right">{judgement.canary.requests.toLocaleString("en")}</td>
            <td class="right">{judgement.stable.requests.toLocaleString("en")}</td>
            <td><Gauge value={judgement.evidence} alarm={judgement.alarm_at} /></td>
          </tr>
        </tbody>
      </table>
    </div>
  );
}

function Figures({ row }: { row: Row }) {
  return (
    <tr class={row.alarm_at === null ? "shown-only" : ""}>
      <th scope="row">{row.title}{row.threshold !== null && <small> over {row.threshold} s</small>}</th>
      <td class="right" title={`${row.canary.bad} of ${row.canary.n}`}>{percent(row.canary.share)}</td>
      <td class="right" title={`${row.stable.bad} of ${row.stable.n}`}>{percent(row.stable.share)}</td>
      <td>{row.alarm_at === null ? <span class="muted">shown only</span> : <Gauge value={row.evidence} alarm={row.alarm_at} />}</td>
    </tr>
  );
}

// Evidence on a log scale, from a tenth to the alarm.
export function place(value: number, alarm: number): number {
  const log = (each: number) => Math.log10(Math.max(each, 0.1)) + 1;
  return Math.min(1, Math.max(0, log(value) / log(alarm)));
}

function Gauge({ value, alarm }: { value: number; alarm: number }) {
  const part = place(value, alarm);
  return (
    <span class={`gauge ${part >= 1 ? "over" : value >= 10 ? "strong" : value >= Math.sqrt(10) ? "some" : ""}`}>
      <span class="track" aria-hidden="true"><span style={{ width: `${100 * part}%` }} /></span>
      <span>{figure(value)} <small>of {figure(alarm)}</small></span>
    </span>
  );
}

export function Alpha({ dag, run, rollout }: { dag: string; run: string; rollout: Rollout }) {
  const plan = rollout.plan?.alpha ?? 0.01;
  const [chosen, choose] = useState<number | null>(null);
  const latest = useRef<Rejudged | null>(null);
  const alphas = latest.current?.alphas ?? [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2];
  const at = nearest(alphas, chosen ?? plan);
  const alpha = alphas[at] ?? plan;
  const wanted = useStill(alpha, 150);
  const judged = rollout.ladder.some((rung) => rung.since !== null);
  const decided = rollout.ladder.filter((rung) => rung.state === "passed" || rung.state === "failed").length;
  const over = rollout.line.ended !== null; // a step is known to be decided before its record is there
  const { value, error } = usePolled<Rejudged>(judged ? api.rejudged(dag, run, wanted) : null, EVERY, (each) => (over && each.over) || each.steps >= decided);
  latest.current = value ?? latest.current;
  const result = error ? null : latest.current;
  if (!judged) return null;
  return (
    <Panel title="Judged again under another alpha">
      <div class="alpha">
        <label>
          <span>False alarms in {Math.round(1 / alpha).toLocaleString("en")} good rollouts: at most 1</span>
          <input type="range" min={0} max={alphas.length - 1} step={1} value={at} aria-valuetext={`alpha ${alpha}`} onInput={(event) => choose(alphas[Number(event.currentTarget.value)] ?? null)} />
          <span class="ends"><span>stricter proof</span><output>alpha {alpha}{alpha === plan ? " (the plan's)" : ""}</output><span>sooner alarms</span></span>
        </label>
        <Trouble error={error} />
        {result && (
          <dl>
            <dt>As it was</dt><dd>{sentence(result.was)}</dd>
            <dt>Would be</dt><dd class={result.would.verdict === result.was.verdict ? "" : "changed"}>{sentence(result.would) === sentence(result.was) ? "the same" : sentence(result.would)}</dd>
          </dl>
        )}
      </div>
    </Panel>
  );
}

function nearest(values: number[], wanted: number): number {
  return values.reduce((best, value, place) => (Math.abs(value - wanted) < Math.abs(values[best]! - wanted) ? place : best), 0);
}

function sentence(outcome: { verdict: string; reason: string; seconds: number }): string {
  return `${VERDICTS[outcome.verdict] ?? outcome.verdict} after ${duration(outcome.seconds)}: ${outcome.reason}`;
}

// What a value is once it has not changed for so many milliseconds.
function useStill<T>(value: T, still: number): T {
  const [kept, keep] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => keep(() => value), still);
    return () => clearTimeout(timer);
  }, [value, still]);
  return kept;
}
