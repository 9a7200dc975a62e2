"use strict";
// The page of `vlm2vec serve`: a query of words, a file or both; filters; ranked results.

const PER_PAGE = 24, MOST = 192, CARD = 480, LARGE = 1600, FRAMES = 8;
const KEY = "vlm2vec-key";
const KINDS = { image: ["picture", "pictures"], video: ["video", "videos"], pdf: ["PDF", "PDFs"], text: ["text", "texts"] };
const PLAYS = '<svg viewBox="0 0 16 16" aria-hidden="true"><path d="M4 2.5v11l9-5.5z"/></svg>';
const $ = (id) => document.getElementById(id);
const still = matchMedia("(prefers-reduced-motion: reduce)"), touch = matchMedia("(hover: none)");

const state = { file: null, hits: [], k: PER_PAGE, asked: null, shown: -1, index: null, request: null };

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.filter((child) => child != null));
  return made;
}

// ---- What the server says

class Refusal extends Error {
  constructor(status, message, fix = "") { super(message); this.status = status; this.fix = fix; }
}

function address(path, added = {}) {
  const url = new URL(path.replace(/^\//, ""), document.baseURI);
  for (const [name, value] of Object.entries(added)) url.searchParams.set(name, value);
  return url.href;
}

async function ask(path, options = {}) {
  const key = sessionStorage.getItem(KEY);
  const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  let answer;
  try {
    answer = await fetch(address(path), { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, "The server does not answer.", "Is it still running, and the network there?");
  }
  if (answer.ok) return answer.json();
  const body = await answer.json().catch(() => null);
  if (answer.status === 401) {
    if (keyAsked || sessionStorage.getItem(KEY) === key) await askForKey(Boolean(key)); // else another was typed meanwhile
    return ask(path, options);
  }
  throw refusalOf(answer, body);
}

function refusalOf(answer, body) {
  const wait = answer.headers.get("Retry-After");
  if (answer.status === 429) return new Refusal(429, "The server is busy.", `Try again in ${wait || 1} s.`);
  if (answer.status === 413) return new Refusal(413, "The file is too large for this server.", "Send a smaller one.");
  if (answer.status === 504) return new Refusal(504, "The server took too long.", "Try again, or with a smaller file.");
  const message = (body && body.error && body.error.message) || `The server answered ${answer.status}.`;
  const said = message.replace(/^input 0( \([^)]*\))?: /, "");
  return new Refusal(answer.status, said[0].toUpperCase() + said.slice(1));
}

let keyAsked = null;
function askForKey(wasWrong) {
  keyAsked ??= new Promise((resolve) => {
    sessionStorage.removeItem(KEY);
    $("key-wrong").hidden = !wasWrong;
    const dialog = $("key-dialog");
    if (!dialog.open) dialog.showModal();
    $("key").value = "";
    $("key").focus();
    $("key-form").onsubmit = () => {
      sessionStorage.setItem(KEY, $("key").value.trim());
      keyAsked = null;
      resolve();
    };
  });
  return keyAsked;
}
$("key-dialog").addEventListener("cancel", (event) => event.preventDefault());

// ---- The index

async function describeIndex() {
  let index;
  try {
    index = await ask("/v1/index");
  } catch (error) {
    if (error.status === 404) return explain("There is no index to search", "Start the server with one:", "vlm2vec serve --index FOLDER");
    return showError(error);
  }
  state.index = index;
  document.title = `${index.name} – search`;
  $("name").textContent = index.name;
  const order = Object.keys(KINDS);
  const files = Object.entries(index.files).filter(([, count]) => count).sort(([a], [b]) => order.indexOf(a) - order.indexOf(b));
  const counted = files.map(([kind, count]) => `${count.toLocaleString("en")} ${(KINDS[kind] || [kind, kind])[count === 1 ? 0 : 1]}`);
  $("holds").textContent = index.rows ? counted.join(" · ") || `${index.rows.toLocaleString("en")} rows` : "empty";
  $("holds").append(element("span", { className: "wide", textContent: ` · model ${index.model}` }));
  if (!index.rows) {
    return explain("Nothing is indexed yet", "Fill the index with the files of a folder, then search here:", "vlm2vec index FOLDER");
  }
  fillFilters(index, files.map(([kind]) => kind));
  if (!state.asked) showStart();
}

function fillFilters(index, kinds) {
  const chosen = wanted();
  if (kinds.length > 1) {
    $("kinds").append(...kinds.map((kind) => {
      const input = element("input", { type: "checkbox", value: kind, checked: chosen.kinds.includes(kind) });
      return element("label", { className: "kind-choice" }, input, element("span", { textContent: capital((KINDS[kind] || [kind, kind])[1]) }));
    }));
  }
  const folders = index.folders.map((folder) => folder.name);
  if (chosen.folder && !folders.includes(chosen.folder)) folders.push(chosen.folder);
  if (folders.length > 1) {
    $("folder").append(element("option", { value: "", textContent: "All folders" }));
    const counts = new Map(index.folders.map((folder) => [folder.name, folder.files]));
    for (const name of folders) {
      const count = counts.has(name) ? ` (${counts.get(name).toLocaleString("en")})` : "";
      $("folder").append(element("option", { value: name, textContent: name + count }));
    }
    $("folder").value = chosen.folder;
    $("folder-label").hidden = false;
  }
  $("filters").hidden = kinds.length < 2 && folders.length < 2;
}

const capital = (text) => text[0].toUpperCase() + text.slice(1);

function explain(title, words, command) {
  $("start").replaceChildren(element("h2", { textContent: title }), element("p", { textContent: words }),
    element("pre", {}, element("code", { textContent: command })));
  $("start").hidden = false;
}

function showStart() {
  const samples = state.index.samples;
  $("start").replaceChildren(element("h2", { textContent: "What are you looking for?" }),
    element("p", {}, "Say what a picture shows, what happens in a clip or what a page is about. ",
      element("span", { className: "mouse", textContent: "Or drop, paste or choose a file, to find what is like it." }),
      element("span", { className: "touch", textContent: "Or choose a file, to find what is like it." })),
    samples.length ? element("h3", { textContent: "In this index" }) : "");
  $("start").hidden = false;
  showHits(samples, true);
}

// ---- The query: in the address, so that it can be sent to someone and gone back to

function wanted() {
  const said = new URLSearchParams(location.hash.slice(1));
  return {
    words: said.get("q") || "",
    kinds: (said.get("kind") || "").split(",").filter((kind) => Object.hasOwn(KINDS, kind) || kind === "mixed"),
    folder: said.get("in") || "",
  };
}

function chosenNow() {
  return {
    words: $("words").value.trim(),
    kinds: [...$("kinds").querySelectorAll("input:checked")].map((input) => input.value),
    folder: $("folder").value,
  };
}

function note(query) {
  const said = new URLSearchParams();
  if (query.words) said.set("q", query.words);
  if (query.kinds.length) said.set("kind", query.kinds.join(","));
  if (query.folder) said.set("in", query.folder);
  const hash = said.toString() ? `#${said}` : "";
  if (hash !== location.hash) history.pushState(null, "", hash || location.pathname + location.search);
}

function fromAddress() {
  const query = wanted();
  $("words").value = query.words;
  for (const input of $("kinds").querySelectorAll("input")) input.checked = query.kinds.includes(input.value);
  if ($("folder").options.length) $("folder").value = query.folder;
  if (query.words) search(query);
  else if (!state.file) clear();
}

function clear() {
  state.request?.abort();
  state.asked = null;
  showHits([]);
  $("status").textContent = "";
  $("error").hidden = true;
  $("more").hidden = true;
  busy(false);
  if (state.index?.rows) showStart();
}

// ---- The search

function submit(k = PER_PAGE) {
  const query = chosenNow();
  if (!query.words && !state.file) return clear();
  note(query);
  search(query, k);
}

async function search(query, k = PER_PAGE) {
  state.request?.abort();
  const request = (state.request = new AbortController());
  state.asked = query;
  busy(true);
  $("status").textContent = "Searching…";
  $("error").hidden = true;
  $("start").hidden = true;
  if ($("hits").classList.contains("samples")) showHits([]);
  const begun = performance.now();
  try {
    const answer = await ask("/v1/search", { method: "POST", signal: request.signal, ...bodyOf(query, k) });
    if (state.request !== request) return;
    const before = k > state.k ? state.hits.length : 0;
    state.k = k;
    showHits(answer.data);
    const seconds = (performance.now() - begun) / 1000;
    const count = state.hits.length;
    $("status").textContent = count
      ? `${count} ${count === 1 ? "result" : "results"}, best first, in ${seconds < 10 ? seconds.toFixed(2) : Math.round(seconds)} s`
      : await nothingFound(query);
    $("more").hidden = count < k || k >= MOST;
    if (before && count > before) cards()[before].focus();
  } catch (error) {
    if (error.name === "AbortError" || state.request !== request) return;
    showHits([]);
    $("status").textContent = "";
    $("more").hidden = true;
    showError(error);
    if ([400, 413].includes(error.status) && state.file && !$("page").value.trim()) forget(); // a page can be mended
  } finally {
    if (state.request === request) busy(false);
  }
}

async function nothingFound(query) {
  if (!state.index?.rows) { await describeIndex(); return ""; }
  return query.kinds.length || query.folder ? "Nothing fits these filters." : "Nothing was found.";
}

function bodyOf(query, k) {
  if (!state.file) {
    const body = { query: query.words, k };
    if (query.kinds.length) body.kind = query.kinds;
    if (query.folder) body.under = query.folder;
    return { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  }
  const form = new FormData();
  form.set("file", state.file, state.file.name || "pasted");
  if (query.words) form.set("query", query.words);
  form.set("k", k);
  if (query.kinds.length) form.set("kind", query.kinds.join(","));
  if (query.folder) form.set("under", query.folder);
  const page = $("page").value.trim();
  if (page && isPdf(state.file)) form.set("page", page);
  return { body: form };
}

function busy(is) {
  document.querySelector("main").classList.toggle("busy", is);
  $("hits").setAttribute("aria-busy", is);
}

function showError(error) {
  $("error").replaceChildren(element("p", { textContent: error.message }));
  if (error.fix) $("error").append(element("p", { textContent: error.fix }));
  $("error").hidden = false;
  $("start").hidden = true;
}

// ---- Results

const cards = () => [...$("hits").querySelectorAll(".hit")];

function showHits(hits, areSamples = false) {
  state.hits = hits;
  $("hits").classList.toggle("samples", areSamples);
  $("hits").setAttribute("aria-label", areSamples ? "In this index" : "Results");
  $("hits").replaceChildren(...state.hits.map((hit, number) => element("li", {}, card(hit, number))));
}

function card(hit, number) {
  const name = hit.name.split("/").pop();
  const folder = hit.name.slice(0, -name.length).replace(/\/$/, "");
  const place = momentOf(hit);
  const made = element("a", { className: "hit", title: hit.name }, pictureOf(hit),
    element("span", { className: "words" }, element("span", { className: "file", textContent: shortened(name) }),
      folder ? element("span", { className: "where" }, element("bdi", { textContent: folder })) : null,
      hit.score == null ? null : scoreOf(hit, place)));
  made.setAttribute("aria-label", hit.score == null ? `${name}, ${kindOf(hit)}` : `${hit.rank}. ${name}, ${place || kindOf(hit)}, ${scored(hit)}`);
  if (hit.score != null) made.style.setProperty("--near", nearness(hit));
  made.href = hit.file ? original(hit) : "#";
  made.setAttribute("role", "button");
  made.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    view(number);
  });
  made.addEventListener("keydown", (event) => { if (event.key === " ") { event.preventDefault(); view(number); } });
  return made;
}

// What fits in two lines: of a long name the middle goes, since names often differ at the end.
function shortened(name) {
  const all = [...name];
  return all.length <= 48 ? name : `${all.slice(0, 26).join("")}…${all.slice(-21).join("")}`;
}

const scored = (hit) => `score ${hit.score.toFixed(3)}`;

function scoreOf(hit, place) {
  const bar = element("i");
  bar.style.width = `${Math.max(0, Math.min(100, 100 * hit.score))}%`;
  return element("span", { className: "score" }, element("span", { textContent: place || kindOf(hit) }),
    element("span", { textContent: hit.score.toFixed(3) }), element("span", { className: "meter" }, bar));
}

// How near it is, as a share of how near the best is: what is far from that is drawn paler.
function nearness(hit) {
  const best = state.hits[0].score;
  return best > 0 ? Math.max(0, hit.score / best) : 1;
}

function pictureOf(hit) {
  const made = element("span", { className: "picture" });
  if (hit.thumbnail) {
    const image = element("img", { loading: "lazy", decoding: "async", alt: "", className: hit.kind, src: address(hit.thumbnail, { size: CARD }) });
    image.addEventListener("error", () => image.replaceWith(element("span", { className: "nothing", textContent: "No picture can be shown" })), { once: true });
    made.append(image);
    if (hit.kind === "video") moveWhenPointedAt(made, image, hit);
  } else if (hit.text) {
    made.append(element("span", { className: "excerpt", dir: "auto", textContent: hit.text }));
  } else {
    made.append(element("span", { className: "nothing", textContent: hit.kind }));
  }
  if (hit.kind === "video") made.append(element("span", { className: "plays", innerHTML: PLAYS }));
  return made;
}

function moveWhenPointedAt(place, image, hit) {
  const quiet = image.src;
  place.addEventListener("pointerenter", (event) => {
    if (event.pointerType === "mouse" && !still.matches) image.src = address(hit.thumbnail, { size: CARD, frames: FRAMES });
  });
  place.addEventListener("pointerleave", () => { image.src = quiet; });
}

const kindOf = (hit) => (KINDS[hit.kind] || [hit.kind])[0];

function momentOf(hit) {
  if (hit.page != null) return `page ${hit.page}`;
  if (hit.start != null && hit.end != null) return `${clock(hit.start)}–${clock(hit.end)}`;
  return "";
}

function clock(seconds) {
  const whole = Math.floor(seconds), two = (number) => String(number).padStart(2, "0");
  const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

function original(hit) {
  const url = address(hit.file);
  if (hit.page != null) return `${url}#page=${hit.page}`;
  if (hit.start != null && hit.end != null) return `${url}#t=${hit.start},${hit.end}`;
  return url;
}

// ---- One result, large

function view(number) {
  const hit = state.hits[number];
  if (!hit) return;
  state.shown = number;
  const name = hit.name.split("/").pop();
  $("viewer-name").textContent = name;
  $("viewer-what").textContent = [momentOf(hit) || kindOf(hit), ...(hit.score == null ? [] : [scored(hit)])].join(" · ");
  $("viewer-note").textContent = `${number + 1} of ${state.hits.length}`;
  $("viewer-open").hidden = !hit.file;
  $("viewer-open").href = hit.file ? original(hit) : "#";
  $("viewer-open").replaceChildren("Open", element("span", { className: hit.page == null ? "wide" : "", textContent: hit.page == null ? " the file" : ` page ${hit.page}` }));
  $("previous").disabled = number === 0;
  $("next").disabled = number === state.hits.length - 1;
  emptyStage();
  $("stage").append(large(hit, name));
  if (!$("viewer").open) $("viewer").showModal();
  $("viewer-close").focus();
}

function large(hit, name) {
  if (!hit.thumbnail) return element("pre", { dir: "auto", textContent: hit.text || "There is nothing to show.", tabIndex: 0 });
  const drawn = (added) => {
    const image = element("img", { alt: `${name}, ${momentOf(hit) || kindOf(hit)}`, src: address(hit.thumbnail, { size: CARD }) });
    const whole = element("img", { src: address(hit.thumbnail, { size: LARGE, ...added }) }); // the card's is shown until it is there
    whole.addEventListener("load", () => { image.src = whole.src; });
    return image;
  };
  if (hit.kind !== "video") return drawn({});
  const frames = () => drawn(still.matches ? {} : { size: 960, frames: FRAMES });
  if (hit.start == null) return frames();
  const video = element("video", { controls: true, autoplay: !still.matches, muted: true, playsInline: true, preload: "metadata", src: original(hit) });
  video.setAttribute("aria-label", `${name}, ${momentOf(hit)}`);
  const fallBack = () => {
    if (!video.isConnected) return;
    video.replaceWith(frames());
    $("viewer-note").textContent = "This browser cannot play the file: frames of the moment.";
  };
  video.addEventListener("error", fallBack, { once: true });
  video.addEventListener("loadedmetadata", () => { if (!video.videoWidth) fallBack(); }, { once: true });
  return video;
}

function emptyStage() {
  for (const video of $("stage").querySelectorAll("video")) { video.pause(); video.removeAttribute("src"); video.load(); }
  $("stage").replaceChildren();
}

$("viewer").addEventListener("close", () => {
  emptyStage();
  cards()[state.shown]?.focus();
});
$("viewer").addEventListener("click", (event) => { if (event.target === $("viewer")) $("viewer").close(); });
$("viewer-close").addEventListener("click", () => $("viewer").close());
$("previous").addEventListener("click", () => view(state.shown - 1));
$("next").addEventListener("click", () => view(state.shown + 1));

// ---- A file as the query

const isPdf = (file) => file.type === "application/pdf" || /\.pdf$/i.test(file.name);

function take(file) {
  forget();
  state.file = file;
  const label = isPdf(file) ? "PDF" : file.type.startsWith("video/") || /\.(mkv|avi|mov|mp4|webm)$/i.test(file.name) ? "clip" : "";
  const picture = label || element("img", { alt: "", src: URL.createObjectURL(file) });
  if (!label) picture.addEventListener("error", () => picture.replaceWith("?"), { once: true });
  $("chip-picture").replaceChildren(picture);
  $("chip-name").textContent = file.name || "pasted picture";
  $("chip-page").hidden = !isPdf(file);
  $("page").value = "";
  $("chip").hidden = false;
  $("words").placeholder = "Words beside it, if you like";
  submit();
}

function forget() {
  const image = $("chip-picture").querySelector("img");
  if (image) URL.revokeObjectURL(image.src);
  state.file = null;
  $("file").value = "";
  $("chip").hidden = true;
  $("chip-picture").replaceChildren();
  $("words").placeholder = "Words, or add a file";
}

$("chip-remove").addEventListener("click", () => { forget(); $("words").focus(); submit(); });
$("choose").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", () => { if ($("file").files[0]) take($("file").files[0]); });
document.addEventListener("paste", (event) => {
  const file = event.clipboardData?.files[0];
  if (file && !document.querySelector("dialog[open]")) { event.preventDefault(); take(file); }
});
const hasFiles = (event) => [...(event.dataTransfer?.types || [])].includes("Files");
document.addEventListener("dragover", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  $("drop").hidden = false;
});
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("drop").hidden = true; });
document.addEventListener("drop", (event) => {
  $("drop").hidden = true;
  if (!hasFiles(event)) return;
  event.preventDefault();
  if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
});

// ---- Form and keyboard

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (touch.matches) document.activeElement.blur(); // so that the keyboard goes, and the results are seen
  submit();
});
$("filters").addEventListener("change", () => { if (state.asked) submit(); });
$("more").addEventListener("click", () => search(state.asked, Math.min(MOST, state.k + PER_PAGE)));

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if ($("viewer").open) {
    if (event.target.tagName === "VIDEO") return;
    if (event.key === "ArrowRight" && !$("next").disabled) view(state.shown + 1);
    if (event.key === "ArrowLeft" && !$("previous").disabled) view(state.shown - 1);
    return;
  }
  if (document.querySelector("dialog[open]")) return;
  const typing = event.target.matches("input:not([type=checkbox]), select, textarea");
  if (event.key === "/" && !typing) {
    event.preventDefault();
    $("words").focus();
    $("words").select();
  } else if (event.key === "Escape") {
    if (event.target.classList.contains("hit")) $("words").focus();
    else if (event.target === $("words") && ($("words").value || state.file)) { $("words").value = ""; forget(); submit(); }
  } else if (event.key === "ArrowDown" && event.target === $("words")) {
    const first = cards()[0];
    if (first) { event.preventDefault(); first.focus(); }
  } else if (event.key.startsWith("Arrow") && event.target.classList.contains("hit")) {
    move(event);
  }
});

function move(event) {
  const all = cards(), at = all.indexOf(event.target);
  const columns = all.filter((one) => one.offsetTop === all[0].offsetTop).length;
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[event.key];
  if (!step) return;
  event.preventDefault();
  const next = all[at + step];
  if (next) next.focus();
  else if (event.key === "ArrowUp") $("words").focus();
}

addEventListener("popstate", fromAddress);
addEventListener("scroll", () => document.querySelector("header").classList.toggle("stuck", scrollY > 8), { passive: true });

describeIndex();
fromAddress();
