// Sends the controls' values and puts the answer in its place; one request at a time, the latest values always last.
"use strict";
(() => {
  const form = document.getElementById("controls"), shown = document.getElementById("shown");
  if (!form) return;
  document.documentElement.classList.add("scripted");
  let busy = false, again = false;
  const address = () => new URLSearchParams(new FormData(form)).toString();

  async function show() {
    if (busy) { again = true; return; }
    busy = true;
    const begun = performance.now(), query = address();
    shown.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(form.dataset.shown + "?" + query);
      const html = await answer.text();
      if (!answer.headers.get("content-type").startsWith("text/html")) throw new Error(answer.statusText);
      shown.innerHTML = html;
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
    if (from.type === "range") form.elements[from.dataset.of].value = from.value;
    if (from.type === "number") form.querySelector(`[data-of="${from.name}"]`).value = from.value;
    if (from.type === "checkbox") form.elements[from.dataset.of].value = from.checked ? "1" : "0";
    if ("anew" in from.dataset) { location.search = "?" + address(); return; }
    show();
  });
  form.addEventListener("submit", (event) => { event.preventDefault(); show(); });
  shown.addEventListener("click", (event) => {
    const button = event.target.closest("[data-set]");
    if (!button) return;
    for (const [name, value] of Object.entries(JSON.parse(button.dataset.set))) {
      const field = form.elements[name];
      field.value = value;
      const twin = form.querySelector(`[data-of="${name}"]`);
      if (twin && twin.type === "checkbox") twin.checked = value === "1"; else if (twin) twin.value = value;
    }
    show();
  });
})();
