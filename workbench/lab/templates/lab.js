// Sends the controls' values and puts the answer in its place; one request at a time, the latest values always last.
"use strict";
(() => {
  const form = document.getElementById("controls"), shown = document.getElementById("shown");
  if (!form) return;
  document.documentElement.classList.add("scripted");
  let busy = false, again = false;
  const field = (name) => form.querySelector(`[name="${name}"]`);  // form.elements finds ids, too
  const address = () => new URLSearchParams(new FormData(form)).toString();

  // A handle with a power stands at a place from 0 to 1; its number is low + (high - low) place^power.
  const ends = (handle) => [Number(handle.dataset.low), Number(handle.dataset.high)];
  function numberOf(handle) {
    if (!handle.dataset.power) return handle.value;
    const [low, high] = ends(handle), exact = low + (high - low) * Number(handle.value) ** Number(handle.dataset.power);
    return String(Math.min(Math.max(Number(exact.toPrecision(3)), low), high));
  }
  function put(handle, value) {
    const [low, high] = ends(handle);
    if (!handle.dataset.power) { handle.value = value; return; }
    handle.value = Math.max((Number(value) - low) / (high - low), 0) ** (1 / Number(handle.dataset.power));
    handle.setAttribute("aria-valuetext", value);
  }
  // Another table, or another of its terms, starts anew: ranges of numbers are its own.
  function anew() {
    const kept = [...form.querySelectorAll("[data-anew]")].map((field) => [field.name, field.value]);
    location.search = "?" + new URLSearchParams(kept).toString();
  }

  function replace(html) {  // whoever was in there stays at the same button, or in the same card
    const held = shown.contains(document.activeElement) && document.activeElement !== shown ? document.activeElement : null;
    const card = held && held.closest("[data-card]"), words = held && held.textContent;
    shown.innerHTML = html;
    if (!held) return;
    const part = (card && shown.querySelector(`[data-card="${card.dataset.card}"]`)) || shown;
    const same = [...part.querySelectorAll("button")].find((button) => button.textContent === words);
    (same || part).focus({ preventScroll: true });
  }

  async function show() {
    if (busy) { again = true; return; }
    busy = true;
    const begun = performance.now(), query = address();
    shown.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(form.dataset.shown + "?" + query);
      const html = await answer.text();
      if (!answer.headers.get("content-type").startsWith("text/html")) throw new Error(answer.statusText);
      replace(html);
      history.replaceState(null, "", "?" + query);
    } catch (error) {
      shown.innerHTML = '<p class="trouble" role="alert">The lab does not answer. Is it still running where it was started?</p>';
    }
    requestAnimationFrame(() => setTimeout(() => {
      shown.dataset.milliseconds = performance.now() - begun;
      shown.dataset.query = query;
      shown.removeAttribute("aria-busy");
      busy = false;
      if (again) { again = false; show(); }
    }));
  }

  form.addEventListener("input", (event) => {
    const from = event.target;
    if (from.type === "range") {
      field(from.dataset.of).value = numberOf(from);
      if (from.dataset.power) from.setAttribute("aria-valuetext", numberOf(from));
    }
    if (from.type === "number") put(form.querySelector(`[data-of="${from.name}"]`), from.value);
    if (from.type === "checkbox") field(from.dataset.of).value = from.checked ? "1" : "0";
    if ("anew" in from.dataset) { anew(); return; }
    show();
  });
  form.addEventListener("submit", (event) => { event.preventDefault(); show(); });
  shown.addEventListener("click", (event) => {
    const button = event.target.closest("[data-set]");
    if (!button) return;
    for (const [name, value] of Object.entries(JSON.parse(button.dataset.set))) {
      field(name).value = value;
      const twin = form.querySelector(`[data-of="${name}"]`);
      if (twin && twin.type === "checkbox") twin.checked = value === "1"; else if (twin) put(twin, value);
    }
    show();
  });

  const work = document.getElementById("work");
  if (!work) return;
  const [start, stop, running, found] = ["start", "stop", "running", "found"].map((name) => work.querySelector("." + name));
  const bar = running.querySelector("progress"), status = running.querySelector("[role=status]");
  let job = "", latest = "";

  function end(text) {
    job = "";
    running.hidden = true;
    start.disabled = false;
    if (text) { found.innerHTML = '<p class="trouble" role="alert"></p>'; found.firstChild.textContent = text; }
  }

  async function follow(key) {
    while (job === key) {
      const state = await (await fetch(work.dataset.jobs + key)).json();
      if (job !== key) return;
      status.textContent = state.text;
      if (state.share === null) bar.removeAttribute("value"); else bar.value = state.share;
      if (state.ended) {
        end(state.html ? "" : state.text);
        if (state.html) found.innerHTML = state.html;
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
  }

  async function begin(keyOf) {
    start.disabled = true;
    found.replaceChildren();
    status.textContent = "starting";
    bar.removeAttribute("value");
    running.hidden = false;
    try {
      job = latest = await keyOf();
      if (job) await follow(job);
    } catch (error) {
      end("The lab does not answer. Is it still running where it was started?");
    }
  }

  start.addEventListener("click", () => begin(async () => {
    const state = await (await fetch(work.dataset.start + "?" + address(), { method: "POST" })).json();
    if (!state.key) end(state.text);
    return state.key;
  }));
  stop.addEventListener("click", () => fetch(work.dataset.jobs + job, { method: "DELETE" }));

  // The same page, loaded again with the same values, finds its computation, running or ended.
  const place = "computation of " + location.pathname;
  const [key, query] = JSON.parse(sessionStorage.getItem(place) || '["", ""]');
  addEventListener("pagehide", () => sessionStorage.setItem(place, JSON.stringify([latest, address()])));
  if (key && query === address()) begin(async () => key);
})();
