// What the API answers. Times are Unix seconds, shares 0 to 1, durations seconds.

export type Standing =
  | "astray" | "question" | "alarm" | "unwatched" | "paused" | "running" | "preparing"
  | "rolled back" | "restored, not yet confirmed" | "let go" | "not started" | "promoted" | "dry run" | "over";

export interface Line {
  dag: string;
  run: string;
  plan: string;
  stable: string;
  canary: string;
  standing: Standing;
  wants_a_person: boolean;
  percent: number;
  mirror: number;
  step: number;
  steps: number;
  shares: number[];
  words: string;
  verdict: string;
  watcher: string;
  since: number | null;
  began: number | null;
  ended: number | null;
  ends_about: number | null;
  by: string;
  may_edit?: boolean;
}

export interface Plan {
  name: string;
  kind: string;
  description: string;
  namespace: string;
  stable: string;
  canary: string;
  metrics: string[];
  steps: { weight: number; mirror: number; bake: number }[];
  initial_delay: number;
  interval: number;
  alpha: number;
  schedule: string;
  needs: string;
  windows: string[];
  blackouts: string[];
}

export interface PlanDag {
  dag: string;
  description: string;
  paused: boolean;
  next: number | null;
  invalid: boolean;
  plan: Plan | null;
  may_edit: boolean;
}

export interface Stop { namespace: string; words: string }

export interface Lists {
  now: number;
  user: string;
  rollouts: Line[];
  history: Line[];
  plans: PlanDag[];
  older: number | null;
  stops?: Stop[];
  may_stop: boolean;
}

// A page of what ended; `older` is what to ask for to see more.
export interface History { now: number; history: Line[]; older: number | null }

export interface Rung {
  step: number;
  weight: number;
  mirror: number;
  bake: number;
  state: "passed" | "now" | "next" | "failed" | "skipped";
  percent: number | null;
  since: number | null;
  until: number | null;
  verdict: string;
  reason: string;
  evidence: number | null;
}

export interface Happening { time: number; kind: string; text: string }

export interface Pod {
  name: string;
  ready: boolean;
  phase: string;
  restarts: number;
  version: string;
  since: number | null;
  died: number | null;
}

export interface ArmShare { n: number; bad: number; share: number | null }

export interface Row {
  metric: string;
  title: string;
  threshold: number | null;
  canary: ArmShare;
  stable: ArmShare;
  evidence: number;
  alarm_at: number | null;
  goodness: number | null;
  needed: number | null;
}

export interface Totals { requests: number; rate: number | null; errors: number | null; latency_p95: number | null }

export interface Judgement {
  verdict: string;
  reason: string;
  step: number;
  weight: number;
  time: number;
  progress: number;
  evidence: number;
  alarm_at: number;
  rows: Row[];
  canary: Totals;
  stable: Totals;
  warnings: string[];
}

export interface Question {
  task: string;
  subject: string;
  body: string;
  options: string[];
  default: string;
  asked: number;
}

export interface Status {
  headline: string;
  percent: number;
  mirror: number;
  phase: string;
  step: number;
  steps: number;
  since: number;
  watcher: string;
  progress: { verdict: string; reason: string; evidence: number; alarm_at: number; baked: number; bake: number } | null;
}

export interface Rollout {
  now: number;
  may_edit: boolean;
  may_control: boolean;
  line: Line;
  status: Status | null;
  question: Question | null;
  failures: string[];
  report: string | null;
  ladder: Rung[];
  events: Happening[];
  plan?: Plan;
  pods?: { canary: Pod[]; stable: Pod[] } | null;
  pods_unknown?: string;
  judgement?: Judgement | null;
  turning?: string[];
  cost?: { requests: number; failed: number; excess: number; accelerator_hours: number | null };
  graph?: string;
  commands?: Command[];
  aftermath?: { offer: string; undone: string };
  tasks?: Record<string, string>;
  record?: { step: number; time: number; verdict: string; reason: string; evidence: number }[];
}

export interface Command { what: string; title: string; effect: string }

export type Arm = "canary" | "stable";
export type Lines = Record<Arm, (number | null)[]>;

export interface Series {
  now: number;
  over: boolean;
  times: number[];
  requests: Lines;
  failures: Lines;
  failures_title: string;
  observed: (number | null)[];
  latencies: { metric: string; title: string; end: number; p50: Lines; p95: Lines; p99: Lines }[];
  evidence: [number, number][];
  alarm_at: number;
  goodness: [number, number][];
  good_at: number | null;
  load: { times: number[]; canary: (number | null)[]; stable: (number | null)[] } | null;
  asked: [number, number][];
}

export interface Rejudged {
  over: boolean;
  steps: number;
  alpha: number;
  alphas: number[];
  was: Outcome & { alpha: number };
  would: Outcome;
}

export interface Outcome { verdict: string; reason: string; seconds: number }

export interface PlanPage extends PlanDag {
  now: number;
  forecast: { run: string; at: number | null; text: string | null; refused: string | null } | null;
  in_flight: string | null;
}
