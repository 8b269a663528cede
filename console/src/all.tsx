// All rollouts: those that want a person first; what ended; what could begin.

import { useMemo, useState } from "preact/hooks";
import { api, CONTROL, usePolled } from "./api";
import { Confirm, type Deed } from "./dialog";
import type { History, Line, Lists, PlanDag } from "./model";
import { Arms, Badge, Empty, Loading, Panel, ShareBar, Trouble } from "./parts";
import { toPlan, toRun } from "./place";
import { ago, count, duration, moment, STANDINGS, until, VERDICTS } from "./words";

const EVERY = 3000;
const FEW = 15;

type Filter = "all" | "person" | "flight";

const HOURS = [1, 2, 4, 8, 24, 72];

// The switch for all rollouts of all plans' namespaces, in the name of whoever throws it.
function stopAll(user: string): Deed {
  return {
    title: "Stop everything",
    effect: <p>No rollout is raised any more, in any namespace of the plans, until the time is over or somebody lets them go on. They are watched, and alarm, as ever. It is done in your name, {user}.</p>,
    button: "Stop everything",
    tone: "bad",
    reason: true,
    choices: [
      { name: "command", label: "What is in flight", options: [["stop", "keeps the share that it has"], ["send_back", "goes back to stable"]] },
      { name: "lasts", label: "For", options: HOURS.map((hours) => [`${hours}h`, duration(3600 * hours)]), first: "4h" },
    ],
    act: async (reason, { command, lasts }) => {
      await api.control({ rollout: "everything", command: command!, reason, lasts: lasts! });
      return `Stop everything: Airflow runs ${CONTROL}, which says what became of it.`;
    },
  };
}

const GO: Deed = {
  title: "Let them go on",
  effect: <p>What was stopped goes on from where it stands.</p>,
  button: "Let them go on",
  tone: "good",
  reason: true,
  act: async (reason) => {
    await api.control({ rollout: "everything", command: "go", reason });
    return `Let them go on: Airflow runs ${CONTROL}, which says what became of it.`;
  },
};

export function All() {
  const { value, error, again } = usePolled<Lists>(api.lists, EVERY);
  const [text, setText] = useState("");
  const [filter, setFilter] = useState<Filter>("all");
  const [outcome, setOutcome] = useState("");
  const [deed, setDeed] = useState<Deed | null>(null);
  const [done, setDone] = useState<string | null>(null);
  const past = useHistory(value);
  if (!value) return error ? <main class="page"><Trouble error={error} /></main> : <Loading />;
  const wanted = (each: Line) => matches(each, text);
  const person = value.rollouts.filter((each) => each.wants_a_person);
  const shown = (filter === "person" ? person : value.rollouts).filter(wanted);
  const ended = past.lines.filter((each) => wanted(each) && (!outcome || each.standing === outcome));
  const stopped = Boolean(value.stops?.length);
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
          {value.may_stop && stopped && <button type="button" onClick={() => setDeed(GO)}>Let them go on</button>}
          {value.may_stop && !stopped && (value.rollouts.length > 0 || value.plans.length > 0) && <button type="button" class="bad" onClick={() => setDeed(stopAll(value.user))}>Stop everything</button>}
        </div>
      </header>
      <Trouble error={error} stale />
      {done && <p class="done" role="status"><span aria-hidden="true">✓</span> {done}</p>}
      {(value.stops ?? []).map((stop) => <p class="stop" role="status"><span aria-hidden="true">■</span> {stop.words} <span class="muted">({stop.namespace})</span></p>)}
      <section class="panel wide" aria-label="In flight">
        {shown.length ? <Flight lines={shown} now={value.now} /> : (
          <Empty level="h2" title={value.rollouts.length ? "Nothing like that is in flight" : "Nothing is in flight"}>
            {value.plans.length ? "Look ahead at a plan below, and start it there." : "Plans are files in include/rollouts; each becomes a DAG."}
          </Empty>
        )}
      </section>
      <div class="columns">
        <Panel title="Ended" extra={<Outcomes lines={past.lines} chosen={outcome} choose={setOutcome} />}>
          {ended.length ? <Ended lines={ended} now={value.now} /> : <p class="muted pad">{past.lines.length ? "None like that." : "None yet."}</p>}
          <Trouble error={past.error} />
          {past.older !== null && <button class="more" type="button" disabled={past.busy} onClick={past.more}>Older ones</button>}
        </Panel>
        <Panel title="Plans">
          {value.plans.length ? <Plans plans={value.plans} now={value.now} /> : <p class="muted pad">There is no plan that you may see.</p>}
        </Panel>
      </div>
      {deed && <Confirm deed={deed} close={(words) => { setDeed(null); if (words !== null) { setDone(words); again(); } }} />}
    </main>
  );
}

// What ended: the newest, which the list is polled with, and the older ones that somebody asked for.
function useHistory(lists: Lists | null) {
  const [pages, setPages] = useState<History[]>([]);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<Error | null>(null);
  const older = pages.length ? pages[pages.length - 1]!.older : lists?.older ?? null;
  const more = async () => {
    setBusy(true);
    try {
      const page = await api.get<History>(api.history(older!));
      setPages((was) => [...was, page]);
      setError(null);
    } catch (problem) {
      setError(problem as Error);
    }
    setBusy(false);
  };
  return { lines: joined(lists?.history ?? [], pages), older, more: () => void more(), busy, error };
}

// Each run once: what ends while somebody looks moves the newest page on.
export function joined(newest: Line[], pages: History[]): Line[] {
  const found = new Map<string, Line>();
  for (const line of [...pages.flatMap((page) => page.history), ...newest]) found.set(`${line.dag}/${line.run}`, line);
  return [...found.values()].sort((a, b) => (b.ended ?? 0) - (a.ended ?? 0));
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
      {line.verdict && <><b>{VERDICTS[line.verdict] ?? line.verdict}</b> · </>}{said}
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
              <a class="row" href={toRun(line.dag, line.run)}>{line.plan}</a> {line.stable && <Arms stable={line.stable} canary={line.canary} />}
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

// In the order in which they start: tonight's, later ones, and those that somebody starts.
export function byStart(plans: PlanDag[], now: number): [when: string, plans: PlanDag[]][] {
  const starts = plans.filter((each) => each.next !== null && !each.paused && !each.invalid).sort((a, b) => a.next! - b.next!);
  const rest = plans.filter((each) => !starts.includes(each));
  const soon = (each: PlanDag) => each.next! - now < 86400;
  const groups: [string, PlanDag[]][] = [["Next 24 hours", starts.filter(soon)], ["Later", starts.filter((each) => !soon(each))], ["Started by hand, or paused", rest]];
  return groups.filter(([, found]) => found.length);
}

function Plans({ plans, now }: { plans: PlanDag[]; now: number }) {
  const [all, setAll] = useState(false);
  let room = all ? plans.length : FEW;
  return (
    <>
      {byStart(plans, now).map(([when, found]) => {
        const shown = found.slice(0, room);
        room -= shown.length;
        return shown.length > 0 && (
          <div key={when}>
            <h3 class="group">{when} <small>{found.length}</small></h3>
            <ul class="plans">{shown.map((each) => <PlanLine key={each.dag} plan={each} now={now} />)}</ul>
          </div>
        );
      })}
      {plans.length > FEW && !all && <button class="more" type="button" onClick={() => setAll(true)}>Show all {plans.length}</button>}
    </>
  );
}

function PlanLine({ plan: each, now }: { plan: PlanDag; now: number }) {
  const windows = each.plan?.windows ?? [];
  return (
    <li>
      <div>
        <a class="row" href={toPlan(each.dag)}>{each.plan?.name ?? each.dag.replace(/^rollout_/, "")}</a>
        {each.plan && <Arms stable={each.plan.stable} canary={each.plan.canary} />}
        {each.invalid && <p class="tone bad">{each.description}</p>}
        {windows.length > 0 && <p class="muted"><small>moves {windows.join("; ")}</small></p>}
      </div>
      <span class="when">
        {each.next && <span title={each.plan?.schedule}>{moment(each.next)}</span>}
        {each.next && !each.paused && <small>{until(each.next, now)}</small>}
        {each.paused && <small class="tone warn">paused in Airflow</small>}
      </span>
    </li>
  );
}
