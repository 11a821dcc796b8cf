"use strict";
document.documentElement.classList.add("js");

const POLL_MS = 3000;
const PATIENCE_MS = 15000;
const CALM = 10; /* answers in a row that nothing has changed: from then on every other turn is left out */
const byId = (id) => document.getElementById(id);
let etag = null;
let isAway = false;
let unchanged = 0;
let turn = 0;

/* --- live: the page is asked for again, and what stands in it is put in place of what stood there --- */

async function poll() {
  const main = byId("main");
  if (document.hidden || !("live" in main.dataset)) return;
  try {
    const headers = etag ? { "If-None-Match": etag } : {};
    const answer = await fetch(location.href, { headers, cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
    away(false);
    unchanged = answer.status === 304 ? unchanged + 1 : 0;
    if (answer.status === 304) return;
    const isFirst = etag === null;
    etag = answer.headers.get("ETag");
    if (!isFirst || !answer.ok) swap(await answer.text());
  } catch {
    away(true);
  }
}

function swap(text) {
  const main = byId("main");
  if (main.querySelector("input:focus, select:focus")) return;
  const fresh = new DOMParser().parseFromString(text, "text/html");
  const next = fresh.getElementById("main");
  if (!next || next.innerHTML === main.innerHTML) return;
  const focused = main.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  keepPictures(main, next);
  main.replaceWith(document.adoptNode(next));
  document.title = fresh.title;
  if (focused) next.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  begin();
}

function keepPictures(old, next) {
  const known = new Map([...old.querySelectorAll("img")].map((img) => [img.getAttribute("src"), img]));
  for (const img of next.querySelectorAll("img")) {
    const before = known.get(img.getAttribute("src"));
    if (!before || before.alt !== img.alt) continue;
    known.delete(img.getAttribute("src"));
    img.replaceWith(before);
  }
}

function away(now) {
  if (now !== isAway) byId("away").hidden = !now;
  isAway = now;
}

/* --- one picture: backgrounds, slider, keys --- */

function paint() {
  const viewer = document.querySelector(".viewer");
  const chosen = viewer?.querySelector('input[name="paper"]:checked');
  if (!chosen) return;
  const colour = chosen.dataset.colour ?? (chosen.value === "own" ? byId("own").value : "");
  viewer.classList.toggle("coloured", colour !== "");
  viewer.style.setProperty("--own", colour || "transparent");
  remember("paper", chosen.value);
  remember("own", byId("own").value);
}

function compare() {
  const cut = byId("cut");
  if (!cut) return;
  byId("stage").style.setProperty("--cut", `${cut.value}%`);
  remember("compare", document.querySelector('input[name="compare"]:checked').value);
}

function remember(name, value) {
  try {
    localStorage.setItem(`rembg-watch ${name}`, value);
  } catch {}
}

function recalled(name) {
  try {
    return localStorage.getItem(`rembg-watch ${name}`);
  } catch {
    return null;
  }
}

function choose(name) {
  const wanted = recalled(name);
  for (const one of document.querySelectorAll(`input[name="${name}"]`)) if (one.value === wanted) one.checked = true;
}

function next(name) {
  const all = [...document.querySelectorAll(`input[name="${name}"]`)];
  if (!all.length) return;
  all[(all.findIndex((one) => one.checked) + 1) % all.length].checked = true;
  paint();
  compare();
}

const KEYS = {
  ArrowLeft: () => byId("earlier")?.click(),
  ArrowRight: () => byId("later")?.click(),
  u: () => byId("up")?.click(),
  z: () => byId("zoom")?.click(),
  b: () => next("paper"),
  s: () => next("compare"),
  a: () => byId("act-approve")?.click(),
  r: () => byId("act-reject")?.click(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) return;
  const act = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (act && document.querySelector(".viewer")) {
    event.preventDefault();
    act();
  }
});

document.addEventListener("input", (event) => {
  if (event.target.id === "own") byId("paper-own").checked = true;
  paint();
  compare();
});

/* a picture whose file is gone says so, in place of a broken image */
const missing = (img) => img.closest(".tile, .paper")?.classList.add("missing");
document.addEventListener("error", (event) => event.target.matches?.("img") && missing(event.target), true);

function begin() {
  if (recalled("own") && byId("own")) byId("own").value = recalled("own");
  choose("paper");
  choose("compare");
  paint();
  compare();
  for (const one of document.querySelectorAll("[data-colour]")) one.nextElementSibling.style.setProperty("--dot", one.dataset.colour);
  for (const img of document.querySelectorAll(".tile img, .paper img")) if (img.complete && !img.naturalWidth) missing(img);
}

begin();
setInterval(() => {
  turn += 1;
  if (unchanged < CALM || turn % 2 === 0) poll();
}, POLL_MS);
document.addEventListener("visibilitychange", poll);
