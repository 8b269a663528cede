// A question before something is done: what will happen, why it is done, and the button.

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

export interface Choice { name: string; label: string; options: [value: string, words: string][]; first?: string }
export type Chosen = Record<string, string>;

export interface Deed {
  title: string;
  effect: ComponentChildren;
  button: string;
  tone?: "bad" | "good";
  reason: boolean;
  choices?: Choice[];
  act: (reason: string, chosen: Chosen) => Promise<string>;
}

export function Confirm({ deed, close }: { deed: Deed; close: (done: string | null) => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [reason, setReason] = useState("");
  const [chosen, setChosen] = useState<Chosen>(() => Object.fromEntries((deed.choices ?? []).map(({ name, options, first }) => [name, first ?? options[0]![0]])));
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState("");
  useEffect(() => dialog.current?.showModal(), []);

  const act = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    try {
      close(await deed.act(reason.trim(), chosen));
    } catch (problem) {
      setError((problem as Error).message);
      setBusy(false);
    }
  };

  return (
    <dialog ref={dialog} onClose={() => close(null)} aria-labelledby="deed">
      <form onSubmit={act}>
        <h2 id="deed">{deed.title}</h2>
        <div class="effect">{deed.effect}</div>
        {(deed.choices ?? []).map(({ name, label, options }) => (
          <label>
            {label}
            <select value={chosen[name]} onChange={(event) => setChosen({ ...chosen, [name]: event.currentTarget.value })}>
              {options.map(([value, words]) => <option value={value}>{words}</option>)}
            </select>
          </label>
        ))}
        {deed.reason && (
          <label>
            Why
            <input value={reason} maxLength={500} required autofocus onInput={(event) => setReason(event.currentTarget.value)} placeholder="It stands in the report, in Events and on the claim" />
          </label>
        )}
        {error && <p class="trouble" role="alert">{error}</p>}
        <footer>
          <button type="button" onClick={() => close(null)}>Keep as it is</button>
          <button type="submit" class={`strong ${deed.tone ?? ""}`} disabled={busy || (deed.reason && !reason.trim())}>{deed.button}</button>
        </footer>
      </form>
    </dialog>
  );
}
