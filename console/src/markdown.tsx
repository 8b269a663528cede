// The markdown that rollouts write: paragraphs, lists, tables, diffs, bold, code. No markup of others gets in:
// text becomes text nodes, and a link is not followed anywhere.

import type { ComponentChildren, VNode } from "preact";

export function Markdown({ text }: { text: string }) {
  return <div class="markdown">{blocks(text)}</div>;
}

export function blocks(text: string): VNode[] {
  const lines = text.split("\n");
  const out: VNode[] = [];
  let at = 0;
  while (at < lines.length) {
    const line = lines[at]!;
    if (line.startsWith("```")) {
      const end = lines.indexOf("```", at + 1);
      const stop = end < 0 ? lines.length : end;
      out.push(<Diff lines={lines.slice(at + 1, stop)} />);
      at = stop + 1;
    } else if (line.startsWith("|")) {
      const stop = after(lines, at, (each) => each.startsWith("|"));
      out.push(table(lines.slice(at, stop)));
      at = stop;
    } else if (line.startsWith("- ")) {
      const stop = after(lines, at, (each) => each.startsWith("- "));
      out.push(<ul>{lines.slice(at, stop).map((each) => <li>{inline(each.slice(2))}</li>)}</ul>);
      at = stop;
    } else if (line.startsWith(WARNING)) {
      const stop = after(lines, at, (each) => each.startsWith(WARNING));
      out.push(warnings(lines.slice(at, stop).map((each) => each.slice(WARNING.length))));
      at = stop;
    } else {
      if (line.trim()) out.push(<p>{inline(line.replace(/^#+ /, ""))}</p>);
      at += 1;
    }
  }
  return out;
}

const WARNING = "Warning: ";

// Many are folded up: what they warn of stands in a table as well.
function warnings(said: string[]): VNode {
  const list = <ul class="warnings">{said.map((each) => <li>{inline(each)}</li>)}</ul>;
  return said.length < 4 ? list : <details><summary class="warnings">△ {said.length} warnings</summary>{list}</details>;
}

function after(lines: string[], from: number, belongs: (line: string) => boolean): number {
  let at = from;
  while (at < lines.length && belongs(lines[at]!)) at += 1;
  return at;
}

function cells(line: string): string[] {
  return line.trim().replace(/^\|/, "").replace(/\|$/, "").split(/(?<!\\)\|/).map((cell) => cell.trim());
}

function table(lines: string[]): VNode {
  const [head, rule, ...rows] = lines.map(cells);
  const right = (rule ?? []).map((cell) => cell.endsWith(":"));
  const cell = (Tag: "th" | "td") => (text: string, place: number) => <Tag class={right[place] ? "right" : ""}>{inline(text)}</Tag>;
  return (
    <div class="scroll">
      <table>
        <thead><tr>{(head ?? []).map(cell("th"))}</tr></thead>
        <tbody>{rows.map((row) => <tr>{row.map(cell("td"))}</tr>)}</tbody>
      </table>
    </div>
  );
}

export function Diff({ lines }: { lines: string[] }) {
  const kind = (line: string) => (line.startsWith("+") ? "plus" : line.startsWith("-") ? "minus" : "");
  return <pre class="diff" tabIndex={0}>{lines.map((line) => <span class={kind(line)}>{`${line}\n`}</span>)}</pre>;
}

const PARTS = /(\*\*.+?\*\*|`[^`]+`|\[[^\]]*\]\([^)]*\))/;

export function inline(text: string): ComponentChildren[] {
  return text.split(PARTS).map((part) => {
    if (part.startsWith("**") && part.length > 4) return <strong>{inline(part.slice(2, -2))}</strong>;
    if (part.startsWith("`") && part.length > 2) return <code>{plain(part.slice(1, -1))}</code>;
    const link = /^\[([^\]]*)\]\([^)]*\)$/.exec(part);
    return link ? plain(link[1]!) : plain(part);
  });
}

const ENTITIES: Record<string, string> = { "&lt;": "<", "&gt;": ">", "&amp;": "&" };

function plain(text: string): string {
  return text.replace(/&(?:lt|gt|amp);/g, (entity) => ENTITIES[entity]!).replace(/\\([|[\]])/g, "$1");
}
