// All rollouts: those that want a person first; what ended; what could begin.

import { useMemo, useState } from "preact/hooks";
import { api, usePolled } from "./api";
import { Confirm, type Deed } from "./dialog";
import type { Line, Lists, PlanDag } from "./model";
import { Arms, Badge, Empty, Loading, Panel, ShareBar, Trouble } from "./parts";
import { toPlan, toRun } from "./place";
import { ago, count, duration, moment, STANDINGS, until, VERDICTS } from "./words";

const EVERY = 3000;
const FEW = 15;

type Filter = "all" | "person" | "flight";

// The DAG with which all rollouts are stopped, and go on: Airflow's permission to run it says who may.
const STOPPING = "rollout_control";

function everything(title: string, command: string, effect: string): Deed {
  return {
    title,
    effect: <p>{effect}</p>,
    button: title,
    tone: command === "go" ? "good" : "bad",
    reason: true,
    act: async (reason) => {
      await api.trigger(STOPPING, { rollout: "everything", command, reason, lasts: "4h" });
      return `${title}: Airflow runs ${STOPPING}, which says what became of it.`;
    },
  };
}

const STOP = everything("Stop everything", "stop", "All rollouts keep their shares, and none is raised, for four hours or until somebody lets them go on. They are watched, and alarm, as ever.");
const GO = everything("Let them go on", "go", "What was stopped goes on from where it stands.");

export function All() {
  const { value, error, again } = usePolled<Lists>(api.lists, EVERY);
  const [text, setText] = useState("");
  const [filter, setFilter] = useState<Filter>("all");
  const [outcome, setOutcome] = useState("");
  const [deed, setDeed] = useState<Deed | null>(null);
  const [done, setDone] = useState<string | null>(null);
  if (!value) return error ? <Trouble error={error} /> : <Loading />;
  const wanted = (each: Line) => matches(each, text);
  const person = value.rollouts.filter((each) => each.wants_a_person);
  const shown = (filter === "person" ? person : value.rollouts).filter(wanted);
  const ended = value.history.filter((each) => wanted(each) && (!outcome || each.standing === outcome));
  return (
    <main class="page">
      <header class="head">
        <div>
          <h1>Rollouts</h1>
          <p class="lede" aria-live="polite">
            {person.length > 0 && <strong class="tone ask">{count(person.length, "wants a person", "want a person")}</strong>}
            <span>{count(value.rollouts.length, "rollout")} in flight</span>
            <span>{count(value.plans.length, "plan")}</span>
          </p>
        </div>
        <div class="tools">
          <input type="search" placeholder="Plan, pool or run" aria-label="Show only those with this text" value={text} onInput={(event) => setText(event.currentTarget.value)} />
          <span class="segments" role="group" aria-label="Which rollouts">
            <button type="button" aria-pressed={filter === "all"} onClick={() => setFilter("all")}>In flight</button>
            <button type="button" aria-pressed={filter === "person"} onClick={() => setFilter("person")}>
              Wants a person <b>{person.length}</b>
            </button>
          </span>
          {value.may_stop && value.rollouts.length > 0 && (value.stops?.length
            ? <button type="button" onClick={() => setDeed(GO)}>Let them go on</button>
            : <button type="button" class="bad" onClick={() => setDeed(STOP)}>Stop everything</button>)}
        </div>
      </header>
      <Trouble error={error} stale />
      {done && <p class="done" role="status"><span aria-hidden="true">✓</span> {done}</p>}
      {(value.stops ?? []).map((stop) => <p class="stop" role="status"><span aria-hidden="true">■</span> {stop.words} <span class="muted">({stop.namespace})</span></p>)}
      <section class="panel wide" aria-label="In flight">
        {shown.length ? <Flight lines={shown} now={value.now} /> : (
          <Empty title={value.rollouts.length ? "Nothing like that is in flight" : "Nothing is in flight"}>
            {value.plans.length ? "Look ahead at a plan below, and start it there." : "Plans are files in include/rollouts; each becomes a DAG."}
          </Empty>
        )}
      </section>
      <div class="columns">
        <Panel title="Ended" extra={<Outcomes lines={value.history} chosen={outcome} choose={setOutcome} />}>
          {ended.length ? <Ended lines={ended} now={value.now} /> : <p class="muted pad">None yet.</p>}
        </Panel>
        <Panel title="Plans">
          {value.plans.length ? <Plans plans={value.plans} now={value.now} /> : <p class="muted pad">There is no plan that you may see.</p>}
        </Panel>
      </div>
      {deed && <Confirm deed={deed} close={(words) => { setDeed(null); if (words !== null) { setDone(words); again(); } }} />}
    </main>
  );
}

export function matches(line: Line, text: string): boolean {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const all = [line.plan, line.stable, line.canary, line.run, line.words, STANDINGS[line.standing].words].join(" ").toLowerCase();
  return words.every((word) => all.includes(word));
}

function Flight({ lines, now }: { lines: Line[]; now: number }) {
  return (
    <table class="flight">
      <thead>
        <tr>
          <th scope="col">Plan</th>
          <th scope="col">State</th>
          <th scope="col">Share of the canary</th>
          <th scope="col">Step</th>
          <th scope="col">Verdict</th>
          <th scope="col">Since</th>
          <th scope="col">Ends about</th>
          <th scope="col">Watched by</th>
        </tr>
      </thead>
      <tbody>
        {lines.map((line) => (
          <tr key={`${line.dag}/${line.run}`} class={line.wants_a_person ? "wants" : ""}>
            <td>
              <a class="row" href={toRun(line.dag, line.run)}>{line.plan}</a>
              <Arms stable={line.stable} canary={line.canary} />
            </td>
            <td><Badge standing={line.standing} /></td>
            <td><ShareBar line={line} /></td>
            <td class="nowrap">{line.steps ? `${line.step} of ${line.steps}` : "–"}</td>
            <td class="words"><Verdict line={line} /></td>
            <td class="nowrap">{ago(line.since ?? line.began, now)}</td>
            <td class="nowrap">{until(line.ends_about, now)}</td>
            <td class="watcher">{watcher(line.watcher)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Verdict({ line }: { line: Line }) {
  const said = line.words.split(" - ").slice(1).filter((part) => !part.startsWith("watched by")).join(" · ") || line.words;
  return (
    <span title={line.words}>
      {line.verdict && <b>{VERDICTS[line.verdict] ?? line.verdict}</b>} {said}
    </span>
  );
}

// `triggerer host/123 since 12:00:00Z`: the process is of no use in a list.
export function watcher(words: string): string {
  return words.replace(/\/\d+/, "").replace(/,? since .*$/, "") || "–";
}

function Ended({ lines, now }: { lines: Line[]; now: number }) {
  const [most, setMost] = useState(12);
  return (
    <>
      <ul class="ended">
        {lines.slice(0, most).map((line) => (
          <li key={`${line.dag}/${line.run}`}>
            <Badge standing={line.standing} />
            <div>
              <a class="row" href={toRun(line.dag, line.run)}>{line.plan}</a> <Arms stable={line.stable} canary={line.canary} />
              <p title={line.words}>{line.words.replace(/\*\*/g, "")}</p>
            </div>
            <span class="when" title={moment(line.ended)}>
              {line.ended ? `${ago(line.ended, now)} ago` : "–"}
              {line.began && line.ended ? <small>took {duration(line.ended - line.began)}</small> : null}
            </span>
          </li>
        ))}
      </ul>
      {lines.length > most && <button class="more" type="button" onClick={() => setMost(most + 50)}>Show {Math.min(50, lines.length - most)} more</button>}
    </>
  );
}

function Outcomes({ lines, chosen, choose }: { lines: Line[]; chosen: string; choose: (outcome: string) => void }) {
  const counts = useMemo(() => {
    const found = new Map<string, number>();
    for (const line of lines) found.set(line.standing, (found.get(line.standing) ?? 0) + 1);
    return [...found];
  }, [lines]);
  return (
    <span class="chips" role="group" aria-label="Which outcomes">
      {counts.map(([standing, number]) => (
        <button type="button" aria-pressed={chosen === standing} onClick={() => choose(chosen === standing ? "" : standing)}>
          {STANDINGS[standing as keyof typeof STANDINGS].words} <b>{number}</b>
        </button>
      ))}
    </span>
  );
}

function Plans({ plans, now }: { plans: PlanDag[]; now: number }) {
  const [all, setAll] = useState(false);
  return (
    <>
    <ul class="plans">
      {(all ? plans : plans.slice(0, FEW)).map((each) => (
        <li key={each.dag}>
          <div>
            <a class="row" href={toPlan(each.dag)}>{each.plan?.name ?? each.dag.replace(/^rollout_/, "")}</a>
            {each.plan && <Arms stable={each.plan.stable} canary={each.plan.canary} />}
            {each.invalid && <p class="tone bad">{each.description}</p>}
          </div>
          <span class="when">
            {each.next ? <span title={moment(each.next)}>starts {until(each.next, now)}</span> : <span class="muted">by hand</span>}
            {each.paused && <small>paused in Airflow</small>}
          </span>
        </li>
      ))}
    </ul>
    {plans.length > FEW && !all && <button class="more" type="button" onClick={() => setAll(true)}>Show all {plans.length}</button>}
    </>
  );
}
