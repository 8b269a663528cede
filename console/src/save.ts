// The page as one HTML file that needs nothing else: pictures and styles are in it, buttons are not.

const LEFT_OUT = "button, input, dialog, nav, .tools, .segments, script";

export async function save(name: string): Promise<void> {
  const file = new Blob([await whole()], { type: "text/html" });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = `${name.replace(/[^\w.-]+/g, "-")}.html`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export async function whole(): Promise<string> {
  const page = document.querySelector("main")!;
  const copy = page.cloneNode(true) as HTMLElement;
  const drawn = copy.querySelectorAll(".uplot");
  page.querySelectorAll(".uplot canvas").forEach((canvas, place) => {
    const picture = document.createElement("img");
    picture.src = (canvas as HTMLCanvasElement).toDataURL("image/png");
    picture.style.width = "100%";
    picture.alt = "";
    drawn[place]?.replaceWith(picture);
  });
  copy.querySelectorAll("details").forEach((each) => each.setAttribute("open", ""));
  copy.querySelectorAll(LEFT_OUT).forEach((each) => each.remove());
  copy.querySelectorAll("a").forEach((link) => link.removeAttribute("href"));
  const styles = [...document.styleSheets].flatMap((sheet) => [...sheet.cssRules].map((rule) => rule.cssText)).join("\n");
  const head = `<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title></title><style></style>`;
  const saved = document.implementation.createHTMLDocument();
  saved.documentElement.dataset.theme = document.documentElement.dataset.theme ?? "light";
  saved.head.innerHTML = head;
  saved.title = document.title;
  saved.querySelector("style")!.textContent = styles;
  const foot = saved.createElement("footer");
  foot.className = "saved";
  foot.textContent = `Saved ${new Date().toISOString().slice(0, 19)}Z`;
  saved.body.append(copy, foot);
  return `<!doctype html>\n${saved.documentElement.outerHTML}`;
}
