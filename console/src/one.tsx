// One rollout: where it is, why, what next; and, when it is over, its report.

import { useMemo, useState } from "preact/hooks";
import { api, CONTROL, usePolled } from "./api";
import { Charts } from "./charts";
import { Confirm, type Deed } from "./dialog";
import { Ladder } from "./ladder";
import { Markdown } from "./markdown";
import type { Command, Happening, Pod, Rollout, Series } from "./model";
import { Arms, Away, Badge, Empty, Loading, Panel, Trouble } from "./parts";
import { airflowRun, airflowTask, toAll } from "./place";
import { save } from "./save";
import { Alpha, Turning, Why } from "./verdict";
import { ago, clock, count, duration, figure, moment, until, VERDICTS } from "./words";

const EVERY = 2000;

export function One({ dag, run, theme }: { dag: string; run: string; theme: string }) {
  const { value, error, again } = usePolled<Rollout>(api.rollout(dag, run), EVERY);
  const over = value ? value.line.ended !== null : false;
  const charted = usePolled<Series>(value?.plan ? api.series(dag, run) : null, EVERY, (each) => over && each.over);
  const [deed, setDeed] = useState<Deed | null>(null);
  const [done, setDone] = useState<string | null>(null);
  const events = useMemo(() => value?.events ?? [], [value]);
  if (!value) {
    if (!error) return <Loading />;
    return <main class="page"><Crumbs /><Empty level="h1" title="No rollout here">{error.message} A run of another kind of DAG has no page in Rollouts.</Empty></main>;
  }
  const { line } = value;
  return (
    <main class="page">
      <Crumbs />
      <header class="head one">
        <div>
          <h1>{line.plan}</h1>
          <p class="subject"><Arms stable={line.stable} canary={line.canary} /></p>
        </div>
        <Controls dag={dag} run={run} rollout={value} choose={setDeed} />
      </header>
      <Trouble error={error} stale />
      {done && <p class="done" role="status"><span aria-hidden="true">✓</span> {done}</p>}
      {value.aftermath?.undone && <p class="stop" role="status"><span aria-hidden="true">↩</span> This promotion: {value.aftermath.undone}</p>}
      <Headline rollout={value} />
      {value.question && <Asked dag={dag} run={run} rollout={value} choose={setDeed} />}
      {value.ladder.length > 0 && <section class="panel wide" aria-label="Steps"><Ladder rollout={value} series={charted.value} /></section>}
      <div class="split">
        <div>
          <Panel title="Both arms, evidence and share over time" extra={value.graph ? <Away href={value.graph} blank>Prometheus</Away> : undefined}>
            <Trouble error={charted.error} stale={charted.value !== null} />
            {charted.value ? <Charts series={charted.value} events={events} theme={theme} /> : value.plan ? <Loading /> : <p class="muted pad">Charts begin when preflight has frozen the plan.</p>}
          </Panel>
          <Events events={events} dag={dag} run={run} />
          <DecisionRecord rollout={value} />
          {value.report && <Panel title="Report"><div class="pad"><Markdown text={value.report} /></div></Panel>}
        </div>
        <div>
          <Why rollout={value} />
          <Turning rollout={value} />
          <Alpha dag={dag} run={run} rollout={value} />
          <Pods rollout={value} />
          <Cost rollout={value} />
        </div>
      </div>
      {deed && <Confirm deed={deed} close={(words) => { setDeed(null); if (words !== null) { setDone(words); again(); } }} />}
    </main>
  );
}

function Crumbs() {
  return <nav class="crumbs" aria-label="Where you are"><a href={toAll}>Rollouts</a></nav>;
}

function Headline({ rollout }: { rollout: Rollout }) {
  const { line, now } = rollout;
  const next = rollout.ladder.find((rung) => rung.state === "next");
  const facts: [string, string][] = line.ended
    ? [["Began", moment(line.began)], ["Took", line.began ? duration(line.ended - line.began) : "–"], ["Started by", line.by || "its schedule"]]
    : [
        [line.standing === "alarm" ? "This step began" : "At this share for", line.standing === "alarm" ? clock(line.since ?? line.began) : ago(line.since ?? line.began, now)],
        ["Next", line.standing === "alarm" ? `all traffic back on ${line.stable}` : next ? (next.mirror ? `${next.mirror} % mirrored` : `${next.weight} %`) : "promotion"],
        ["Ends about", line.ends_about ? `${until(line.ends_about, now)}` : "–"],
        ["Watched by", (line.watcher || "nobody yet").replace(/\/\d+/, "")],
      ];
  return (
    <section class={`headline ${line.standing.replace(/[ ,]+/g, "-")}`} aria-label="Where it is" aria-live="polite">
      <div class="big"><b>{line.mirror || line.percent}<small> %</small></b><span>{line.mirror ? "mirrored to the canary" : line.ended ? "on the canary when it ended" : "of the traffic on the canary"}</span></div>
      <div class="says">
        <Badge standing={line.standing} />
        <p>{headline(rollout)}</p>
      </div>
      <dl>{facts.map(([name, fact]) => <div><dt>{name}</dt><dd>{fact}</dd></div>)}</dl>
    </section>
  );
}

// What the status says, without what stands beside it already.
export function headline(rollout: Rollout): string {
  const parts = rollout.line.words.replace(/\*\*/g, "").split(" - ");
  if (rollout.line.ended || parts.length === 1) return parts.join(" - ");
  const rest = parts.slice(1).filter((part) => !part.startsWith("watched by"));
  const words = rest.join(", ");
  return `${words.charAt(0).toUpperCase()}${words.slice(1)}.`;
}

function Controls({ dag, run, rollout, choose }: { dag: string; run: string; rollout: Rollout; choose: (deed: Deed) => void }) {
  const commands = rollout.may_edit ? rollout.commands ?? [] : [];
  const offer = rollout.may_control ? rollout.aftermath?.offer : "";
  return (
    <div class="tools">
      <span class="quiet"><Away href={airflowRun(dag, run)}>Airflow run</Away></span>
      <button type="button" onClick={() => void save(`${rollout.line.plan} ${run}`)}>Save as HTML</button>
      {commands.map((command) => (
        <button type="button" class={command.what === "abort" ? "bad" : ""} onClick={() => choose(deedOf(dag, run, command))}>{command.title}</button>
      ))}
      {offer && <button type="button" class="bad" onClick={() => choose(undoing(rollout, offer))}>Undo the promotion</button>}
    </div>
  );
}

function undoing(rollout: Rollout, offer: string): Deed {
  return {
    title: "Undo the promotion",
    effect: <p>{offer}</p>,
    button: "Undo the promotion",
    tone: "bad",
    reason: true,
    act: async (reason) => {
      await api.control({ rollout: rollout.line.plan, command: "undo", reason });
      return `Airflow runs ${CONTROL}, which undoes it and watches it, or says why not.`;
    },
  };
}

function deedOf(dag: string, run: string, command: Command): Deed {
  return {
    title: command.title,
    effect: <p>{command.effect}</p>,
    button: command.title,
    tone: command.what === "abort" ? "bad" : undefined,
    reason: true,
    act: async (why) => (await api.command(dag, run, command.what, why)).words,
  };
}

function Asked({ dag, run, rollout, choose }: { dag: string; run: string; rollout: Rollout; choose: (deed: Deed) => void }) {
  const question = rollout.question!;
  return (
    <section class="asked" aria-label="A question to you">
      <header>
        <span class="sign" aria-hidden="true">?</span>
        <h2>{question.subject}</h2>
        <span class="muted">asked {ago(question.asked, rollout.now)} ago</span>
      </header>
      <Body text={question.body} />
      {rollout.may_edit ? (
        <footer>
          {question.options.map((option) => (
            <button
              type="button"
              class={`strong ${option === "Roll back" ? "bad" : "good"}`}
              onClick={() => choose({
                title: `${option}?`,
                effect: <p>{question.subject}</p>,
                button: option,
                tone: option === "Roll back" ? "bad" : "good",
                reason: false,
                act: async () => (await api.answer(dag, run, question.task, option), `You answered “${option}”.`),
              })}
            >
              {option}
            </button>
          ))}
        </footer>
      ) : <p class="muted">Who may edit runs of this DAG can answer.</p>}
    </section>
  );
}

// The figures of a question stand below as well, so that here they can be opened.
function Body({ text }: { text: string }) {
  const lines = text.split("\n");
  const [from, to] = [lines.findIndex((line) => line.startsWith("Figures")), lines.findIndex((line) => line.startsWith("- **"))];
  if (from < 0 || to < from) return <Markdown text={text} />;
  return (
    <>
      <Markdown text={lines.slice(0, from).join("\n")} />
      <details><summary>Figures when it was asked</summary><Markdown text={lines.slice(from, to).join("\n")} /></details>
      <Markdown text={lines.slice(to).join("\n")} />
    </>
  );
}

function Pods({ rollout }: { rollout: Rollout }) {
  if (rollout.line.ended || (!rollout.pods && !rollout.pods_unknown)) return null;
  return (
    <Panel title="Pods">
      {rollout.pods ? (
        <div class="pods">
          {(["canary", "stable"] as const).map((side) => <PodList side={side} pool={rollout.line[side]} pods={rollout.pods![side]} now={rollout.now} />)}
        </div>
      ) : <p class="muted pad">{rollout.pods_unknown}</p>}
    </Panel>
  );
}

// What tells the pods of one pool apart is at the end of their names.
export function tail(name: string, pool: string): string {
  return name.startsWith(`${pool}-`) ? `…${name.slice(pool.length)}` : name;
}

function PodList({ side, pool, pods, now }: { side: "canary" | "stable"; pool: string; pods: Pod[]; now: number }) {
  const ready = pods.filter((pod) => pod.ready).length;
  return (
    <div>
      <h3><i class={`key ${side}`} aria-hidden="true" /> {side} <small>{pool}, {ready} of {pods.length} ready</small></h3>
      <ul>
        {pods.map((pod) => (
          <li>
            <span class={`dot ${pod.ready ? "good" : "warn"}`} aria-hidden="true">{pod.ready ? "●" : "○"}</span>
            <span class="name" title={pod.name}>{tail(pod.name, pool)}</span>
            <span class="muted">{pod.version}</span>
            <span class={pod.ready ? "muted" : "tone warn"}>{pod.ready ? <><span class="visually-hidden">ready for </span>{ago(pod.since, now)}</> : pod.phase === "Running" ? "not ready" : pod.phase}</span>
            <span class={pod.restarts ? "tone warn" : "muted"}>{count(pod.restarts, "restart")}</span>
          </li>
        ))}
      </ul>
    </div>
  );
}

function Cost({ rollout }: { rollout: Rollout }) {
  const cost = rollout.cost;
  if (!cost || !cost.requests) return null;
  return (
    <Panel title={rollout.line.ended ? "What it cost" : "What it has cost so far"}>
      <dl class="cost">
        <div><dt>Requests on the canary</dt><dd>{cost.requests.toLocaleString("en")}</dd></div>
        <div><dt>Failed</dt><dd>{cost.failed.toLocaleString("en")}</dd></div>
        <div><dt>More than stable would have</dt><dd>{figure(Math.round(cost.excess))}</dd></div>
        {cost.accelerator_hours !== null && <div><dt>Accelerator hours</dt><dd>{figure(cost.accelerator_hours)}</dd></div>}
      </dl>
    </Panel>
  );
}

function DecisionRecord({ rollout }: { rollout: Rollout }) {
  const record = rollout.record ?? [];
  if (!record.length) return null;
  return (
    <Panel title="Decision record" extra={<span class="muted">{count(record.length, "observation")} of steps that were judged</span>}>
      <details class="record">
        <summary>Observation by observation</summary>
        <div class="scroll">
          <table>
            <thead><tr><th scope="col">Time</th><th scope="col">Step</th><th scope="col">Verdict</th><th scope="col" class="right">Evidence</th><th scope="col">Why</th></tr></thead>
            <tbody>
              {record.map((line) => (
                <tr><td class="nowrap">{clock(line.time)}</td><td>{line.step}</td><td class="nowrap">{VERDICTS[line.verdict] ?? line.verdict}</td><td class="right">{figure(line.evidence)}</td><td class={line.reason ? "" : "muted"}>{line.reason || "nothing changed"}</td></tr>
              ))}
            </tbody>
          </table>
        </div>
      </details>
    </Panel>
  );
}

const KINDS: { [kind: string]: [string, string] | undefined; event: [string, string] } = {
  start: ["▸", "run"], raise: ["↑", "run"], passed: ["✓", "good"], alarm: ["!", "bad"], question: ["?", "ask"], answer: ["?", "ask"],
  restored: ["↩", "back"], promoted: ["✓", "good"], restart: ["↻", "warn"], drift: ["≠", "bad"], warning: ["△", "warn"], event: ["·", "still"],
};

function Events({ events, dag, run }: { events: Happening[]; dag: string; run: string }) {
  const [all, setAll] = useState(false);
  const told = [...events].reverse();
  const shown = all ? told : told.slice(0, 8);
  if (!told.length) return null;
  return (
    <Panel title="Events" extra={<Away href={airflowTask(dag, run, "report")}>Tasks</Away>}>
      <ol class="events">
        {shown.map((event) => {
          const [sign, tone] = KINDS[event.kind] ?? KINDS.event;
          return (
            <li>
              <time title={moment(event.time)}>{clock(event.time)}</time>
              <span class={`dot ${tone}`} aria-hidden="true">{sign}</span>
              <span>{event.text}</span>
            </li>
          );
        })}
      </ol>
      {told.length > 8 && <button class="more" type="button" onClick={() => setAll(!all)}>{all ? "Show the latest" : `Show all ${told.length}`}</button>}
    </Panel>
  );
}
