import { render } from "preact";
import { describe, expect, it } from "vitest";
import { Markdown } from "../src/markdown";

function html(text: string): string {
  const box = document.createElement("div");
  render(<Markdown text={text} />, box);
  return box.innerHTML;
}

describe("markdown", () => {
  it("shows tables, lists, diffs, bold and code", () => {
    const shown = html("**a -> b: promoted**\n\n| step | why |\n| ---: | --- |\n| 1 | fine |\n\n```diff\n- old\n+ new\n```\n- stays: `x`");
    expect(shown).toContain("<strong>a -&gt; b: promoted</strong>");
    expect(shown).toContain('<td class="right">1</td>');
    expect(shown).toContain('<span class="minus">- old\n</span><span class="plus">+ new\n</span>');
    expect(shown).toContain("<li>stays: <code>x</code></li>");
  });
  it("folds many warnings up, and shows few", () => {
    expect(html("Warning: one\nWarning: two")).toBe('<div class="markdown"><ul class="warnings"><li>one</li><li>two</li></ul></div>');
    expect(html("Warning: a\nWarning: b\nWarning: c\nWarning: d")).toContain("<summary class=\"warnings\">△ 4 warnings</summary>");
  });
  it("lets no markup of others in, and no link", () => {
    const shown = html("<img src=x onerror=alert(1)> [click](javascript:alert(1)) &lt;b&gt; \\[not a link\\]");
    expect(shown).not.toMatch(/<img|<a |<b>|href/);
    expect(shown).toContain("click");
    expect(shown).toContain("[not a link]");
  });
  it("keeps a bar that is text in its cell", () => {
    expect(html("| a |\n| --- |\n| x \\| y |")).toContain("<td class=\"\">x | y</td>");
  });
});
