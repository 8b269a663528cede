// Where we are: the part of the address after `#`. And ways out of the frame in which Airflow shows us.

import { useEffect, useState } from "preact/hooks";

export type Place =
  | { page: "all" }
  | { page: "one"; dag: string; run: string }
  | { page: "plan"; dag: string };

export function placeOf(hash: string): Place {
  const parts = hash.replace(/^#\/?/, "").split("/").filter(Boolean).map(decoded);
  if (parts[0] === "rollouts" && parts[1] && parts[2]) return { page: "one", dag: parts[1], run: parts[2] };
  if (parts[0] === "plans" && parts[1]) return { page: "plan", dag: parts[1] };
  return { page: "all" };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export const toAll = "#/";
export const toRun = (dag: string, run: string) => `#/rollouts/${encodeURIComponent(dag)}/${encodeURIComponent(run)}`;
export const toPlan = (dag: string) => `#/plans/${encodeURIComponent(dag)}`;
export const airflowRun = (dag: string, run: string) => `../dags/${encodeURIComponent(dag)}/runs/${encodeURIComponent(run)}`;
export const airflowTask = (dag: string, run: string, task: string) => `${airflowRun(dag, run)}/tasks/${encodeURIComponent(task)}`;

export function usePlace(): Place {
  const [place, set] = useState(() => placeOf(location.hash));
  useEffect(() => {
    const moved = () => {
      set(placeOf(location.hash));
      scrollTo(0, 0);
    };
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, []);
  return place;
}

// Airflow's frame forbids its content to leave it or to open windows, so that the page around it has to.
export function leave(event: MouseEvent): void {
  const link = event.currentTarget as HTMLAnchorElement;
  if (parent === window || event.ctrlKey || event.metaKey) return;
  try {
    const way = parent.document.createElement("a");
    way.href = link.href;
    if (link.target) way.target = link.target;
    way.rel = "noopener";
    parent.document.body.append(way);
    way.click();
    way.remove();
    event.preventDefault();
  } catch {
    // another site's frame: the link does what it can
  }
}

// The theme that people chose in Airflow, else their system's.
export function theme(): "light" | "dark" {
  let chosen: string | null = null;
  try {
    chosen = localStorage.getItem("theme");
  } catch {
    // no storage: the system's
  }
  if (chosen === "light" || chosen === "dark") return chosen;
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

export function useTheme(): "light" | "dark" {
  const [now, set] = useState(theme);
  useEffect(() => {
    const look = () => set(theme());
    const system = matchMedia("(prefers-color-scheme: dark)");
    addEventListener("storage", look);
    system.addEventListener("change", look);
    return () => {
      removeEventListener("storage", look);
      system.removeEventListener("change", look);
    };
  }, []);
  useEffect(() => {
    document.documentElement.dataset.theme = now;
  }, [now]);
  return now;
}
