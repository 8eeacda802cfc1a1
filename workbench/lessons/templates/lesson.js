// A guess is recorded, then the answer is shown beside it.
"use strict";
(() => {
  const right = new Map(), questions = document.querySelectorAll("form.question");
  for (const form of questions) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const key = form.dataset.key, said = new FormData(form).get(key);
      const answer = document.getElementById("answer-" + key), { near, shown } = answer.dataset;
      const typed = form.querySelector("[type=number]");
      const good = typed ? Math.abs(Number(said) - Number(answer.dataset.answer)) <= Number(near) : said === answer.dataset.answer;
      const praise = good ? (typed ? " That is near enough." : " Right.") : "";
      answer.querySelector(".verdict").textContent = `You said ${said}; computed: ${shown}.${praise}`;
      for (const part of [answer, ...document.querySelectorAll(`[data-after="${key}"]`)]) part.hidden = false;
      if (!right.has(key)) right.set(key, good);
      form.querySelector("button").textContent = "Guess again";
      const count = [...right.values()].filter(Boolean).length;
      document.querySelector(".score").textContent =
        `${count} of ${right.size} first guesses near enough; ${questions.length} questions in all.`;
      answer.focus();
    });
  }
})();
