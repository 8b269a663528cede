// Speaks to our API, and to Airflow's own where a thing is Airflow's: to start a run, to answer a question.

import { useEffect, useRef, useState } from "preact/hooks";

export class Refused extends Error {
  constructor(readonly status: number, message: string) {
    super(message);
  }
}

const AIRFLOW = "../api/v2";
export const CONTROL = "rollout_control";
const HEADERS = { "Content-Type": "application/json", "X-Inference-Rollouts": "1" };

async function answer<T>(path: string, init?: RequestInit): Promise<T> {
  const reply = await fetch(path, { credentials: "same-origin", ...init });
  const body = await reply.json().catch(() => ({}));
  if (!reply.ok) throw new Refused(reply.status, words(body.detail) || `${reply.status} ${reply.statusText}`);
  return body as T;
}

function words(detail: unknown): string {
  if (typeof detail === "string") return detail;
  if (Array.isArray(detail)) return detail.map((each) => each?.msg ?? String(each)).join("; ");
  const { reason, message } = (detail ?? {}) as { reason?: string; message?: string }; // as Airflow says it of its database
  return [reason, message].filter(Boolean).join(". ");
}

const run = (dag: string, id: string) => `${encodeURIComponent(dag)}/${encodeURIComponent(id)}`;

export const api = {
  lists: "api/rollouts",
  history: (before: number) => `api/history?before=${before}`,
  rollout: (dag: string, id: string) => `api/rollouts/${run(dag, id)}`,
  series: (dag: string, id: string) => `api/rollouts/${run(dag, id)}/series`,
  rejudged: (dag: string, id: string, alpha: number) => `api/rollouts/${run(dag, id)}/rejudged?alpha=${alpha}`,
  plan: (dag: string) => `api/plans/${encodeURIComponent(dag)}`,

  get: <T>(path: string) => answer<T>(path),

  command: (dag: string, id: string, what: string, why: string) =>
    answer<{ words: string }>(`api/rollouts/${run(dag, id)}/commands`, {
      method: "POST",
      headers: HEADERS,
      body: JSON.stringify({ what, why }),
    }),

  trigger: (dag: string, conf: object) =>
    answer<{ dag_run_id: string }>(`${AIRFLOW}/dags/${encodeURIComponent(dag)}/dagRuns`, {
      method: "POST",
      headers: HEADERS,
      body: JSON.stringify({ logical_date: null, conf }),
    }),

  // By the DAG that commands all rollouts: who triggers it commands, and its run watches what it began. Who stops
  // everything may have paused all DAGs before: a run of it would wait then, and nothing would be stopped.
  control: async (conf: { rollout: string; command: string; reason: string; lasts?: string }) => {
    const dag = await answer<{ is_paused?: boolean }>(`${AIRFLOW}/dags/${CONTROL}`).catch(() => ({ is_paused: false }));
    if (dag.is_paused) throw new Refused(409, `The DAG ${CONTROL} is paused in Airflow, so that nothing would happen. Unpause it, then try again.`);
    return api.trigger(CONTROL, conf);
  },

  start: (dag: string, dryRun: boolean) => api.trigger(dag, dryRun ? { dry_run: true } : {}),

  answer: (dag: string, id: string, task: string, option: string) =>
    answer<unknown>(
      `${AIRFLOW}/dags/${encodeURIComponent(dag)}/dagRuns/${encodeURIComponent(id)}/taskInstances/${encodeURIComponent(task)}/-1/hitlDetails`,
      { method: "PATCH", headers: HEADERS, body: JSON.stringify({ chosen_options: [option] }) },
    ),
};

export interface Polled<T> {
  value: T | null;
  error: Refused | Error | null;
  again: () => void;
}

// Asks again every so often while somebody looks, until `done` with what was answered.
export function usePolled<T>(path: string | null, every: number, done: (value: T) => boolean = () => false): Polled<T> {
  const [state, set] = useState<{ path: string | null; value: T | null; error: Error | null }>({ path, value: null, error: null });
  const ask = useRef<() => void>(() => {});
  const mine = state.path === path;
  const wanted = useRef<string | null>(null);
  wanted.current = mine && state.value !== null && state.error === null && done(state.value) ? null : path;
  useEffect(() => {
    if (path === null) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let gone = false;
    const later = () => {
      clearTimeout(timer); // rounds may overlap: one timer is enough for all of them
      if (!gone) timer = setTimeout(tick, every);
    };
    const round = async () => {
      clearTimeout(timer);
      try {
        const value = await api.get<T>(path);
        if (!gone) set({ path, value, error: null });
      } catch (error) {
        if (!gone) set((was) => ({ path, value: was.path === path ? was.value : null, error: error as Error }));
      }
      later();
    };
    const tick = () => (document.hidden || wanted.current !== path ? later() : void round());
    ask.current = () => void round();
    document.addEventListener("visibilitychange", tick);
    tick();
    return () => {
      gone = true;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", tick);
    };
  }, [path, every]);
  return { value: mine ? state.value : null, error: mine ? state.error : null, again: () => ask.current() };
}
