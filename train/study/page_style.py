"""What the page of a report carries of its own: its style, and the script that sorts tables."""

STYLE = """
:root { color-scheme: light dark; --line: #8886; --head: #8882; --link: #0b57a4; }
@media (prefers-color-scheme: dark) { :root { --link: #8cc2ff; } }
* { box-sizing: border-box; }
body { margin: 0; font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 76rem; margin: 0 auto; padding: 1rem; }
h1, h2, p, li, figcaption { overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; }
h2 { font-size: 1.2rem; line-height: 1.3; margin: 2.5rem 0 0.5rem; }
p, ul, figcaption { max-width: 48rem; }
a { color: var(--link); }
.scroll { overflow-x: auto; width: fit-content; max-width: 100%; margin: 0.75rem 0;
  border: 1px solid var(--line); border-radius: 4px; }
table { border-collapse: collapse; font-size: 0.875rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.3rem 0.6rem; text-align: left; font-weight: normal; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
tbody tr:last-child > * { border-bottom: 0; }
tbody th { white-space: normal; min-width: 8rem; max-width: 16rem; }
.number { text-align: right; }
thead th { background: var(--head); padding: 0; vertical-align: bottom; }
thead button { all: unset; box-sizing: border-box; width: 100%; padding: 0.4rem 0.6rem;
  min-width: 6rem; cursor: pointer; font-weight: 600; text-align: inherit; white-space: normal; }
thead button::after { content: "\\a0\\2195"; opacity: 0.4; }
th[aria-sort=ascending] button::after { content: "\\a0\\2191"; opacity: 1; }
th[aria-sort=descending] button::after { content: "\\a0\\2193"; opacity: 1; }
thead button:focus-visible, .scroll:focus-visible { outline: 2px solid var(--link);
  outline-offset: -2px; }
td code { display: inline-block; max-width: 24rem; overflow: hidden; text-overflow: ellipsis;
  vertical-align: middle; }
td .copy { margin-right: 0.5rem; font: inherit; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; padding: 0.5rem; background: var(--head);
  border-radius: 4px; font-size: 0.875rem; }
figure { margin: 0; }
figure img { display: block; width: clamp(32rem, 90vw, 42rem); background: white; }
figcaption, .note, .files { font-size: 0.875rem; margin: 0.5rem 0; }
"""

SCRIPT = """
"use strict";
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const up = heading.getAttribute("aria-sort") !== "ascending";
      headings.forEach((other) => other.setAttribute("aria-sort", "none"));
      heading.setAttribute("aria-sort", up ? "ascending" : "descending");
      const value = (row) => row.cells[column].dataset.value;
      const compare = (a, b) => heading.classList.contains("number")
        ? Number(a) - Number(b)
        : a.localeCompare(b, "en", { numeric: true });
      const rows = [...body.rows];
      rows.sort((first, second) => {
        const a = value(first), b = value(second);
        if (a === undefined || b === undefined) {
          return (a === undefined) - (b === undefined);  // What is not there comes last.
        }
        return up ? compare(a, b) : compare(b, a);
      });
      body.append(...rows);
    });
  });
}
for (const button of document.querySelectorAll(".copy")) {
  button.addEventListener("click", async () => {
    const code = button.parentElement.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "copied";
    } catch {  // Not allowed to: the reader copies what is marked.
      getSelection().selectAllChildren(code);
    }
  });
}
"""
