// Keeps the list of mails fresh, says in the title how many are new, and lets a hint fill the reply box.
"use strict";

const list = document.querySelector("#letters");
let shown = list.innerHTML;

function tell() {
  const fresh = list.querySelectorAll("a.new").length;
  document.title = fresh ? `(${fresh}) Mailbox` : "Mailbox";
}

async function refresh() {
  try {
    const answer = await fetch(`/list?open=${encodeURIComponent(list.dataset.open)}`);
    const content = answer.ok ? await answer.text() : shown;
    if (content !== shown) {
      list.innerHTML = shown = content;
      tell();
    }
    document.body.classList.remove("ended");
  } catch {
    document.body.classList.add("ended");
  }
}

document.addEventListener("click", (event) => {
  const hint = event.target.closest("button[data-text]");
  if (hint) {
    const box = document.querySelector("textarea");
    box.value = hint.dataset.text;
    box.focus();
  }
});

tell();
setInterval(refresh, 1500);
