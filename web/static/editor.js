// The editor of rules: line numbers, the Tab key, and going to the place of an error.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const text = document.getElementById("text"), gutter = document.getElementById("gutter");
  if (!text) return;
  const number = () => {
    const n = text.value.split("\n").length;
    if (gutter.childElementCount === 0 && gutter.textContent.trim().split("\n").length === n) return;
    gutter.textContent = Array.from({ length: n }, (_, i) => i + 1).join("\n") + "\n";
  };
  text.addEventListener("input", number);
  text.addEventListener("scroll", () => { gutter.scrollTop = text.scrollTop; });
  number();
  function goTo(line, column) {
    const lines = text.value.split("\n");
    const at = lines.slice(0, line - 1).reduce((n, l) => n + l.length + 1, 0) + Math.max(0, column - 1);
    text.focus();
    text.setSelectionRange(at, Math.min(at + 1, text.value.length));
    text.scrollTop = Math.max(0, (line - 6) * parseFloat(getComputedStyle(text).lineHeight));
  }
  document.addEventListener("click", (e) => {
    const a = e.target.closest("a[data-line]");
    if (a) { e.preventDefault(); goTo(Number(a.dataset.line), Number(a.dataset.column)); }
  });
  // An unfinished draft is not lost by a click on a link.
  let dirty = false;
  text.addEventListener("input", () => { dirty = true; });
  text.form.addEventListener("submit", () => { dirty = false; });
  addEventListener("beforeunload", (e) => { if (dirty) e.preventDefault(); });
});
