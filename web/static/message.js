// The page of a message: keys, acts that go on to the next message, and what the list left for it.
"use strict";
(() => {
  const { $, act, call, keys, notice, later } = postern;
  const page = document.querySelector(".letter");
  if (!page) return;
  const id = page.dataset.id, may = (page.dataset.may || "").split(" "), why = (page.dataset.why || "").split(" ");
  let list = null;
  try { list = JSON.parse(sessionStorage.getItem("list")); } catch { list = null; }
  const at = list?.ids?.indexOf(id) ?? -1;
  const beside = (step) => at >= 0 ? list.ids[at + step] : undefined;
  const back = () => (list && at >= 0 ? list.url : $("to-list").getAttribute("href"));
  const go = (step) => {
    const to = beside(step);
    if (to) location.assign("/m/" + to);
    else if (step > 0 && at >= 0) location.assign(back());
    else return false;
  };
  sessionStorage.setItem("at", id);

  // What is done with a message that is finished goes on to the next one; the undo goes along.
  async function does(verb, reason) {
    if (!may.includes(verb)) {
      if (verb === "release" && may.includes("ask")) return open("ask");
      return notice("That cannot be done with this message, or not by you.", true);
    }
    if (why.includes(verb) && !reason?.trim()) return open(verb);
    const done = await act({ do: verb, ids: [id], ...(reason && { reason }) });
    if (!done) return;
    if (!done.id) later(done.words);
    const to = beside(1);
    if (list?.ids) { list.ids = list.ids.filter((x) => x !== id); sessionStorage.setItem("list", JSON.stringify(list)); }
    location.assign(to ? "/m/" + to : back());
  }
  function open(name) {
    const d = $(name);
    if (!d) return notice("That cannot be done with this message, or not by you.", true);
    d.open = true;
    (d.querySelector("input[required]") || d.querySelector("input:not([type=hidden]), select, textarea, button"))?.focus();
  }
  const tab = (name) => { const a = document.querySelector(`.tabs a[href$="tab=${name}"]`); if (a) { a.click(); return; } return false; };
  const close = () => { const d = document.querySelector("details.menu[open]"); if (!d) return false; d.open = false; d.querySelector("summary").focus(); };
  keys({
    j: () => go(1), k: () => go(-1), Escape: () => { if (close() === false) location.assign(back()); },
    r: () => { does("release"); }, d: () => { does("delete"); }, s: () => { does("spam"); }, R: () => { open("allow"); },
    h: () => tab("headers"), v: () => tab("raw"), e: () => { const x = $("explain"); x.scrollIntoView(); x.focus({ preventScroll: true }); },
    f: () => location.assign("/?from=" + encodeURIComponent(page.dataset.sender || "<>")),
    g: () => location.assign("/?q=" + encodeURIComponent(`subject == ${JSON.stringify(page.dataset.subject)}`)),
  });
  addEventListener("keydown", (e) => { if (e.key === "Escape" && e.target.closest(".panel")) { e.preventDefault(); close(); } }, true);

  document.addEventListener("submit", (e) => {
    const verb = e.target.dataset.act;
    if (verb) { e.preventDefault(); does(verb, e.target.elements.reason?.value); }
    const stay = e.target.dataset.stay;
    if (stay) { e.preventDefault(); act({ do: stay, ids: [id] }).then((done) => { if (done) { later(done.words); location.reload(); } }); }
  });
  // One menu at a time, and a click beside it closes it.
  document.addEventListener("toggle", (e) => {
    if (e.target.matches?.("details.menu") && e.target.open) for (const d of document.querySelectorAll("details.menu[open]")) if (d !== e.target) d.open = false;
  }, true);
  document.addEventListener("click", (e) => { if (!e.target.closest("details.menu")) for (const d of document.querySelectorAll("details.menu[open]")) d.open = false; });

  document.addEventListener("DOMContentLoaded", () => {
    if (at >= 0) $("to-list").href = list.url;
    for (const [name, step] of [["prev", -1], ["next", 1]]) {
      const to = beside(step);
      if (to) { $(name).href = "/m/" + to; $(name).hidden = false; }
    }
    if (location.hash === "#ask") open("ask");
    if (location.hash === "#allow") open("allow");
    // Looked at by this person; nobody waits for it.
    if ("new" in page.dataset && may.includes("seen")) call("POST", "/acts", { do: "seen", ids: [id] }).catch(() => {});
  });
})();
