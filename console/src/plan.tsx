// Before it starts: what a rollout of this plan would do, and the button.

import { useState } from "preact/hooks";
import { api, usePolled } from "./api";
import { Confirm, type Deed } from "./dialog";
import { Markdown } from "./markdown";
import type { PlanPage } from "./model";
import { Arms, Away, Empty, Loading, Panel, Trouble } from "./parts";
import { airflowRun, toAll, toRun } from "./place";
import { ago, duration, moment, until } from "./words";

const EVERY = 3000;

export function PlanView({ dag }: { dag: string }) {
  const { value, error, again } = usePolled<PlanPage>(api.plan(dag), EVERY);
  const [deed, setDeed] = useState<Deed | null>(null);
  const [looking, setLooking] = useState<string | null>(null);
  if (!value) {
    return error ? <main class="page"><Empty level="h1" title="No plan here">{error.message}</Empty></main> : <Loading />;
  }
  const { plan, forecast } = value;
  const now = value.now;
  const waits = looking !== null && forecast?.run !== looking;

  const look = async () => {
    try {
      setLooking((await api.start(dag, true)).dag_run_id);
      again();
    } catch (problem) {
      setDeed({ title: "It cannot be looked ahead", effect: <p>{(problem as Error).message}</p>, button: "Try again", reason: false, act: async () => (await look(), "") });
    }
  };
  const start: Deed = {
    title: `Start ${plan?.name ?? dag}?`,
    effect: <p>Preflight checks everything again and refuses what cannot work. Then {plan?.canary ?? "the canary"} is brought up, and gets traffic step by step, judged at each.</p>,
    button: "Start the rollout",
    tone: "good",
    reason: false,
    act: async () => {
      const run = (await api.start(dag, false)).dag_run_id;
      location.hash = toRun(dag, run);
      return "";
    },
  };

  return (
    <main class="page">
      <nav class="crumbs" aria-label="Where you are"><a href={toAll}>Rollouts</a></nav>
      <header class="head one">
        <div>
          <h1>{plan?.name ?? dag}</h1>
          {plan && <p class="subject"><Arms stable={plan.stable} canary={plan.canary} /></p>}
        </div>
        {value.may_edit && !value.invalid && (
          <div class="tools">
            <button type="button" onClick={() => void look()} disabled={waits}>{waits ? "Looking ahead …" : "Look ahead"}</button>
            <button type="button" class="strong good" disabled={value.in_flight !== null} onClick={() => setDeed(start)}>Start the rollout</button>
          </div>
        )}
      </header>
      <Trouble error={error} stale />
      {value.invalid && <p class="trouble" role="alert">{value.description}</p>}
      {value.paused && <p class="warning"><span aria-hidden="true">△</span> The DAG is paused in Airflow: a run waits until it is unpaused.</p>}
      {value.in_flight && <p class="stop"><span aria-hidden="true">▸</span> A run is in flight: <a href={toRun(dag, value.in_flight)}>{value.in_flight}</a></p>}
      <div class="split">
        <div>
          <Panel title="What it would do" extra={forecast ? <span class="muted">as of {ago(forecast.at, now)} ago, <Away href={airflowRun(dag, forecast.run)}>{forecast.run}</Away></span> : undefined}>
            <div class="pad">
              {forecast?.text ? <Markdown text={forecast.text} /> : forecast?.refused ? <p class="trouble">{forecast.refused}</p> : (
                <Empty level="h3" title="Nobody has looked ahead yet">
                  Looking ahead runs preflight alone: it reads the cluster, writes nothing, and says what changes and what stays, what each step can detect, and when it ends.
                </Empty>
              )}
            </div>
          </Panel>
        </div>
        <div>
          {plan && (
            <Panel title="Plan">
              <dl class="facts">
                {plan.description && <div class="whole"><dd>{plan.description}</dd></div>}
                <div><dt>Kind</dt><dd>{plan.kind}</dd></div>
                <div><dt>Namespace</dt><dd>{plan.namespace}</dd></div>
                {plan.needs && <div><dt>The canary takes</dt><dd>{plan.needs}</dd></div>}
                <div><dt>Judged by</dt><dd>{plan.metrics.join(", ")}</dd></div>
                <div><dt>Observed every</dt><dd>{duration(plan.interval)}</dd></div>
                <div><dt>False alarms</dt><dd>at most 1 in {Math.round(1 / plan.alpha)}</dd></div>
                <div><dt>Starts</dt><dd>{value.next ? <span title={moment(value.next)}>{until(value.next, now)}</span> : "by hand"}{plan.schedule && <small> {plan.schedule}</small>}</dd></div>
                {plan.windows.map((window) => <div><dt>Window</dt><dd>{window}</dd></div>)}
                {plan.blackouts.map((blackout) => <div><dt>Blackout</dt><dd>{blackout}</dd></div>)}
              </dl>
            </Panel>
          )}
          {plan && (
            <Panel title="Steps">
              <ol class="steps">
                {plan.steps.map((step, place) => (
                  <li>
                    <span>{place + 1}</span>
                    <span class="bar" aria-hidden="true"><span class="fill" style={{ width: `${step.mirror || step.weight}%` }} /></span>
                    <b>{step.mirror ? `${step.mirror} % mirrored` : `${step.weight} %`}</b>
                    <span class="muted">{duration(plan.initial_delay)} + {duration(step.bake)}</span>
                  </li>
                ))}
              </ol>
            </Panel>
          )}
        </div>
      </div>
      {deed && <Confirm deed={deed} close={() => { setDeed(null); again(); }} />}
    </main>
  );
}
