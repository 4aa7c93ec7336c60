// Keys, acts, notices and times for all pages. Without it every page works by links and forms.
"use strict";
const postern = (() => {
  const $ = (id) => document.getElementById(id);
  document.documentElement.classList.add("js");

  // Requests that change something carry the token of the page.
  const token = () => document.body.dataset.token || "";
  document.addEventListener("htmx:config:request", (e) => { e.detail.ctx.request.headers["X-CSRF-Token"] = token(); });

  async function call(method, path, body) {
    const headers = { "X-CSRF-Token": token(), Accept: "application/json" };
    if (body) headers["Content-Type"] = "application/json";
    let answer;
    try {
      answer = await fetch("/api/v1" + path, { method, headers, body: body && JSON.stringify(body), credentials: "same-origin" });
    } catch {
      throw new Error("The server does not answer. Nothing was done as far as is known.");
    }
    if (answer.status === 204) return {};
    const data = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error(data.detail || "That did not work (" + answer.status + ").");
    return data;
  }

  // Notices. One that can be undone stays for as long as that is so, also on the next page.
  let timer = 0, undoable = null;
  function element(tag, text, attributes = {}) {
    const e = document.createElement(tag);
    if (text) e.textContent = text;
    for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
    return e;
  }
  function notice(words, bad) {
    clearInterval(timer);
    undoable = null;
    sessionStorage.removeItem("undo");
    const box = element("div", "", { class: bad ? "toast bad" : "toast" });
    box.append(element("p", words));
    $("toast").replaceChildren(box);
    timer = setInterval(() => { clearInterval(timer); box.remove(); }, bad ? 15000 : 6000);
    return box;
  }
  function offerUndo(words, id, due, ids) {
    const box = notice(words);
    clearInterval(timer);
    undoable = { id, words, due, ids };
    sessionStorage.setItem("undo", JSON.stringify(undoable));
    const button = element("button", "Undo", { type: "button", id: "undo" });
    const key = element("kbd", "u", { "aria-hidden": "true" });
    button.append(" ", key);
    button.addEventListener("click", undo);
    const seconds = element("span", "", { class: "num soft", "aria-hidden": "true" });
    box.append(button, seconds);
    const tick = () => {
      const left = Math.ceil((new Date(due) - Date.now()) / 1000);
      seconds.textContent = left + " s";
      if (left > 0) return;
      clearInterval(timer);
      undoable = null;
      sessionStorage.removeItem("undo");
      document.dispatchEvent(new CustomEvent("postern:final", { detail: ids }));
      box.remove();
    };
    tick();
    timer = setInterval(tick, 500);
  }
  async function undo() {
    const button = $("undo-button"); // of the page after an act on many
    if (!undoable && button && !button.disabled) { button.click(); return; }
    if (!undoable) return notice("There is nothing to undo.");
    const it = undoable;
    try {
      await call("DELETE", "/acts/" + encodeURIComponent(it.id));
      notice("Undone.");
      document.dispatchEvent(new CustomEvent("postern:undone", { detail: it.ids }));
    } catch (e) {
      notice(e.message, true);
    }
  }
  // act does something that can be undone, and says what came of it.
  async function act(body) {
    try {
      const done = await call("POST", "/acts", { ...body, undoing: true });
      const failed = (done.items || []).find((i) => i.result !== "done" && i.result !== "already");
      if (failed) { notice(failed.words, true); return null; }
      if (done.id) offerUndo(done.words, done.id, done.due, body.ids || []);
      else notice(done.words);
      return done;
    } catch (e) {
      notice(e.message, true);
      return null;
    }
  }

  // Keys. They can be switched off (WCAG 2.1.4), and never act while somebody types.
  const map = {};
  const keys = (more) => Object.assign(map, more);
  const typing = (t) => t.isContentEditable || /^(textarea|select)$/i.test(t.tagName) || (t.tagName === "INPUT" && !/^(checkbox|radio|button|submit)$/.test(t.type));
  document.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || e.defaultPrevented || document.querySelector("dialog[open]")) return;
    if (typing(e.target)) { if (e.key === "Escape") e.target.blur(); return; }
    if (localStorage.getItem("keys") === "off" && e.key !== "?") return;
    const f = map[e.key];
    if (f && f(e) !== false) e.preventDefault();
  });
  function help() {
    const d = $("keys");
    if (!d) return false;
    const on = $("keys-on");
    on.checked = localStorage.getItem("keys") !== "off";
    on.onchange = () => localStorage.setItem("keys", on.checked ? "on" : "off");
    d.showModal();
  }
  keys({ "?": help, u: undo, "/": () => { const q = $("q"); if (!q) { location.assign("/"); return; } q.focus(); q.select(); } });

  // Times are the browser's own.
  const two = (n) => String(n).padStart(2, "0");
  const month = (t) => t.toLocaleDateString("en-GB", { month: "short" });
  function short(t) {
    const now = new Date(), clock = two(t.getHours()) + ":" + two(t.getMinutes());
    if (t.toDateString() === now.toDateString()) return clock;
    if (t.getFullYear() === now.getFullYear()) return t.getDate() + " " + month(t) + " " + clock;
    return t.getDate() + " " + month(t) + " " + t.getFullYear();
  }
  function times(root) {
    for (const e of root.querySelectorAll("time[data-short]:not([data-local])")) {
      const t = new Date(e.dateTime);
      e.dataset.local = "";
      e.textContent = short(t);
      e.title = t.toLocaleString(undefined, { dateStyle: "full", timeStyle: "long" });
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    times(document);
    for (const b of document.querySelectorAll("[data-keys]")) { b.hidden = false; b.addEventListener("click", help); }
    const form = $("undo-form");
    if (form) setTimeout(() => { $("undo-button").disabled = true; }, Math.max(0, new Date(form.querySelector("time").dateTime) - Date.now()));
    try {
      const left = JSON.parse(sessionStorage.getItem("undo") || "null");
      if (left && new Date(left.due) > Date.now()) offerUndo(left.words, left.id, left.due, left.ids);
      const said = sessionStorage.getItem("said");
      sessionStorage.removeItem("said");
      if (said && !left) notice(said);
    } catch { sessionStorage.removeItem("undo"); }
  });
  document.addEventListener("htmx:after:swap", () => times(document));
  return { $, act, call, keys, notice, element, later: (words) => sessionStorage.setItem("said", words) };
})();
