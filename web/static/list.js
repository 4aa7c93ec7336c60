// The list: moving, choosing and acting by keys; completion in the query box; news of new mail.
"use strict";
(() => {
  const { $, act, keys, notice, element } = postern;
  const rows = () => [...document.querySelectorAll(".row")];
  const link = (row) => row.querySelector(".subject");
  const box = (row) => row.querySelector("input[name=id]");
  let last = null;
  const current = () => document.activeElement?.closest?.(".row") || (last && document.contains(last) ? last : null);

  function go(step) {
    const all = rows();
    if (!all.length) return null;
    const at = all.indexOf(current());
    const row = all[at < 0 ? (step > 0 ? 0 : all.length - 1) : Math.min(Math.max(at + step, 0), all.length - 1)];
    link(row).focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
    last = row;
    if (at === all.length - 1 && step > 0) document.querySelector(".more a")?.click();
    return row;
  }

  // Choosing.
  const picked = () => rows().filter((r) => box(r)?.checked);
  function choose(row, on) {
    if (!row || !box(row)) return;
    box(row).checked = on ?? !box(row).checked;
    tally();
  }
  function tally() {
    const bar = document.querySelector(".bar");
    if (!bar) return;
    const all = rows().filter(box), n = picked().length, whole = $("pick-all")?.value === "1";
    for (const r of all) r.classList.toggle("picked", box(r).checked);
    if (n < all.length && whole) $("pick-all").value = "";
    const everything = $("pick-all")?.value === "1";
    $("picked").textContent = everything ? "All that match are chosen, " : n ? n + " chosen of " : "";
    bar.classList.toggle("some", n > 0);
    const page = $("pick-page");
    if (page) { page.checked = n > 0 && n === all.length; page.indeterminate = n > 0 && n < all.length; }
    if ($("pick-match")) $("pick-match").hidden = !(n > 0 && n === all.length && !everything && document.querySelector(".more"));
  }
  function everything() {
    if (!$("pick-all")) return;
    for (const r of rows()) choose(r, true);
    $("pick-all").value = "1";
    tally();
  }
  document.addEventListener("change", (e) => {
    if (e.target.id === "pick-page") { const on = e.target.checked; for (const r of rows()) { if (box(r)) box(r).checked = on; } tally(); }
    if (e.target.name === "id") { last = e.target.closest(".row"); tally(); }
  });

  // Acting: on what is chosen, by way of a summary; else on the row under the cursor, at once.
  const can = (row, verb) => (row.dataset.may || "").split(" ").includes(verb);
  async function does(verb) {
    if (picked().length) {
      const button = document.querySelector(`.bar button[value="${verb}"]`);
      if (button) button.click();
      return;
    }
    const row = current();
    if (!row) return notice("Choose a message first: j and k move.");
    if (!can(row, verb)) {
      if (verb === "release" && can(row, "ask")) return open("?tab=text#ask");
      return notice("That cannot be done with this message, or not by you.", true);
    }
    const reason = (row.dataset.why || "").split(" ").includes(verb) ? await whyOf(verb) : "";
    if (reason === null) return link(row).focus();
    const done = await act({ do: verb, ids: [row.dataset.id], ...(reason && { reason }) });
    if (!done) return;
    row.classList.add("going");
    if (!done.id) row.remove();
    go(1);
  }
  // whyOf asks for the reason that the site wants; null when nothing is to be done after all.
  function whyOf(verb) {
    const d = $("why"), field = $("why-text");
    const name = { release: "Release", delete: "Delete", spam: "Report as spam" }[verb];
    $("why-title").textContent = name + ": why?";
    d.querySelector("button.main").textContent = name;
    field.value = "";
    d.returnValue = "";
    d.showModal();
    field.focus();
    return new Promise((told) => d.addEventListener("close", () => told(d.returnValue === "go" && field.value.trim() ? field.value.trim() : null), { once: true }));
  }
  document.addEventListener("postern:final", (e) => { for (const id of e.detail || []) $("r-" + id)?.remove(); });
  document.addEventListener("postern:undone", (e) => { for (const id of e.detail || []) { const r = $("r-" + id); r?.classList.remove("going"); if (r) { link(r).focus(); } } });

  function open(rest) {
    const row = current();
    if (row) location.assign(link(row).pathname + rest);
  }
  const find = (name, value) => location.assign(location.pathname + "?" + name + "=" + encodeURIComponent(value));
  keys({
    j: () => { go(1); }, k: () => { go(-1); }, x: () => choose(current()),
    J: () => { choose(current(), true); choose(go(1), true); }, K: () => { choose(current(), true); choose(go(-1), true); },
    "*": everything, Escape: () => { for (const r of rows()) choose(r, false); },
    Enter: (e) => { if (e.target.closest("a, button, summary, label, input")) return false; open(""); },
    r: () => { does("release"); }, d: () => { does("delete"); }, s: () => { does("spam"); },
    R: () => open("?act=allow#allow"), h: () => open("?tab=headers"), v: () => open("?tab=raw"), e: () => open("#explain"),
    f: () => { const r = current(); if (r) find("from", r.dataset.sender || "<>"); },
    g: () => { const r = current(); if (r) find("q", `subject == ${JSON.stringify(r.dataset.subject)}`); },
  });

  // The message page goes on to the next one by what stands here; on the way back the cursor is where it was.
  addEventListener("pagehide", () => {
    sessionStorage.setItem("list", JSON.stringify({ url: location.pathname + location.search, ids: rows().filter((r) => !r.classList.contains("going")).map((r) => r.dataset.id) }));
    sessionStorage.setItem("at", current()?.dataset.id || "");
  });
  document.addEventListener("DOMContentLoaded", () => {
    tally();
    $("pick-match")?.addEventListener("click", everything);
    const row = $("r-" + sessionStorage.getItem("at"));
    if (row && document.activeElement === document.body) link(row).focus();
    suggest();
    news();
  });
  document.addEventListener("htmx:after:swap", tally);

  // New mail is told, and what one reads stays where it is.
  function news() {
    const place = document.querySelector("#arrived a");
    if (!place || document.body.dataset.area !== "held" || !window.EventSource) return;
    let source = null, n = 0;
    const listen = () => {
      if (source || document.hidden) return;
      source = new EventSource("/api/v1/held/events");
      source.addEventListener("held", () => { n++; place.textContent = n + " new: show"; place.hidden = false; });
    };
    document.addEventListener("visibilitychange", () => { if (document.hidden) { source?.close(); source = null; } else listen(); });
    addEventListener("pagehide", () => source?.close());
    listen();
  }

  // Completion: fields whose name has what stands before the caret.
  function suggest() {
    const q = $("q"), list = $("words");
    if (!q || !list?.dataset.words) return;
    const words = JSON.parse(list.dataset.words);
    q.setAttribute("role", "combobox");
    q.setAttribute("aria-controls", "words");
    q.setAttribute("aria-autocomplete", "list");
    let at = -1;
    const close = () => { list.hidden = true; at = -1; q.setAttribute("aria-expanded", "false"); q.removeAttribute("aria-activedescendant"); };
    const stem = () => /[a-z_.]+$/i.exec(q.value.slice(0, q.selectionStart))?.[0] || "";
    const take = (name) => {
      const end = q.selectionStart, begin = end - stem().length;
      q.setRangeText(name + " ", begin, end, "end");
      close();
      q.focus();
    };
    const mark = (i) => {
      const all = [...list.children];
      at = (i + all.length) % all.length;
      all.forEach((li, n) => li.setAttribute("aria-selected", String(n === at)));
      all[at].scrollIntoView({ block: "nearest" });
      q.setAttribute("aria-activedescendant", all[at].id);
    };
    q.addEventListener("input", () => {
      const s = stem().toLowerCase();
      const fits = s.length < 2 ? [] : words.filter((w) => w[0].includes(s) && w[0] !== s).slice(0, 9);
      list.replaceChildren(...fits.map((w, i) => {
        const li = element("li", "", { role: "option", id: "word-" + i, "aria-selected": "false" });
        li.append(element("code", w[0]), element("span", w[1]));
        li.addEventListener("mousedown", (e) => { e.preventDefault(); take(w[0]); });
        return li;
      }));
      if (fits.length) { at = -1; list.hidden = false; q.setAttribute("aria-expanded", "true"); q.removeAttribute("aria-activedescendant"); } else close();
    });
    q.addEventListener("keydown", (e) => {
      if (list.hidden) return;
      if (e.key === "ArrowDown") mark(at + 1);
      else if (e.key === "ArrowUp") mark(at < 0 ? -1 : at - 1);
      else if ((e.key === "Enter" || e.key === "Tab") && at >= 0) take(words.find((w) => w[0] === list.children[at].firstChild.textContent)[0]);
      else if (e.key === "Escape") { close(); e.stopPropagation(); }
      else return;
      e.preventDefault();
    });
    q.addEventListener("blur", close);
    q.setAttribute("aria-expanded", "false");
  }
})();
