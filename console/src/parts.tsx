// Small parts that pages share.

import type { ComponentChildren } from "preact";
import { leave } from "./place";
import type { Line, Standing } from "./model";
import { STANDINGS } from "./words";

export function Badge({ standing }: { standing: Standing }) {
  const { words, sign, tone } = STANDINGS[standing];
  return (
    <span class={`badge ${tone}`}>
      <span class="sign" aria-hidden="true">{sign}</span>
      {words}
    </span>
  );
}

export function Away({ href, blank, children }: { href: string; blank?: boolean; children: ComponentChildren }) {
  return (
    <a href={href} target={blank ? "_blank" : "_top"} rel="noopener" onClick={leave}>
      {children}
    </a>
  );
}

export function Arms({ stable, canary }: { stable: string; canary: string }) {
  if (!stable && !canary) return <span class="arms muted">not known yet</span>;
  return (
    <span class="arms">
      <span class="arm stable">{stable}</span>
      <span class="arrow" aria-label="to"> → </span>
      <span class="arm canary">{canary}</span>
    </span>
  );
}

// The canary's share, with a mark for every share that the plan has.
export function ShareBar({ line }: { line: Line }) {
  const said = line.mirror ? `${line.mirror} % mirrored` : `${line.percent} %`;
  return (
    <span class="share">
      <span class="bar" role="img" aria-label={`${said} of the traffic`}>
        <span class={`fill ${line.mirror ? "mirror" : ""}`} style={{ width: `${line.mirror || line.percent}%` }} />
        {line.shares.filter((each) => each > 0 && each < 100).map((each) => <i style={{ left: `${each}%` }} />)}
      </span>
      <span class="number">{said}</span>
    </span>
  );
}

export function Panel({ title, extra, children, id, wide }: { title: string; extra?: ComponentChildren; children: ComponentChildren; id?: string; wide?: boolean }) {
  return (
    <section class={`panel ${wide ? "wide" : ""}`} id={id}>
      <header>
        <h2>{title}</h2>
        {extra}
      </header>
      {children}
    </section>
  );
}

export function Trouble({ error, stale }: { error: Error | null; stale?: boolean }) {
  if (!error) return null;
  return (
    <p class="trouble" role="alert">
      <strong>{stale ? "What you see may be old." : "This cannot be shown."}</strong> {error.message}
    </p>
  );
}

/** Nothing to show, and what then. Its heading is of the level at which it stands. */
export function Empty({ title, level: Heading, children }: { title: string; level: "h1" | "h2" | "h3"; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <svg viewBox="0 0 48 32" width="72" height="48" aria-hidden="true">
        <path d="M2 28h10v-7h11v-8h11V5h12" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round" />
      </svg>
      <Heading>{title}</Heading>
      <p>{children}</p>
    </div>
  );
}

export function Loading() {
  return (
    <div class="loading" role="status">
      <span class="visually-hidden">Loading</span>
      <i /><i /><i />
    </div>
  );
}
