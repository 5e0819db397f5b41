"use strict";
(() => {
  const study = JSON.parse(document.getElementById("study").textContent);
  const element = (id) => document.getElementById(id);
  const pictures = [element("picture-1"), element("picture-2")];
  const choices = [element("choose-1"), element("choose-2")];
  const waiting = "Press Enter or the button to see the pair.";
  const answers = [];
  let session = null;
  let order = [];
  let position = -1;
  let shownAt = 0;
  let shownMs = [null, null];
  let state = "start"; // start, ready, showing, asking, told, end

  const below = (limit) => {
    // rejection keeps every number as likely as the others
    const most = 2 ** 32 - (2 ** 32 % limit);
    const drawn = new Uint32Array(1);
    do crypto.getRandomValues(drawn); while (drawn[0] >= most);
    return drawn[0] % limit;
  };
  const shuffle = (items) => {
    const mixed = [...items];
    for (let last = mixed.length - 1; last > 0; last--) {
      const other = below(last + 1);
      [mixed[last], mixed[other]] = [mixed[other], mixed[last]];
    }
    return mixed;
  };
  // both pairs of a block change sides or neither does: the film stays first as often as second
  const turn = (block) => {
    const turned = below(2) === 1;
    return block.map((pair) => ({ ...pair, pictures: turned ? [...pair.pictures].reverse() : pair.pictures }));
  };
  const arrange = (blocks) => shuffle(blocks.flatMap(turn));
  const hash = (token) => {
    let value = 0x811c9dc5;
    for (const byte of new TextEncoder().encode(`${study.study}:${token}`)) {
      value = Math.imul(value ^ byte, 0x01000193) >>> 0;
    }
    return value.toString(16).padStart(8, "0");
  };
  const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const painted = () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
  const say = (text) => { element("said").textContent = text; };

  const describe = () => {
    const pair = order[position];
    const kind = pair.mark ? "Practice pair" : "Pair";
    const same = order.filter((other) => Boolean(other.mark) === Boolean(pair.mark));
    return `${kind} ${same.indexOf(pair) + 1} of ${same.length}: which one is the real film?`;
  };

  const advance = () => {
    position += 1;
    if (position === order.length) return finish();
    state = "ready";
    pictures.forEach((picture) => picture.classList.remove("shown"));
    order[position].pictures.forEach((token, index) => {
      pictures[index].src = `data:image/png;base64,${study.pictures[token]}`;
    });
    choices.forEach((button) => { button.hidden = true; });
    element("show").hidden = false;
    element("show").textContent = "Show the pictures";
    element("position").textContent = describe();
    say(waiting);
    element("show").focus();
  };

  const show = async () => {
    state = "showing";
    element("show").hidden = true;
    element("position").focus();
    await Promise.all(pictures.map((picture) => picture.decode()));
    say("");
    if (study.seconds === null) {
      pictures.forEach((picture) => picture.classList.add("shown"));
      await painted();
      shownMs = [null, null];
    } else {
      for (const [index, picture] of pictures.entries()) {
        picture.classList.add("shown");
        await painted();
        const since = performance.now();
        await sleep(study.seconds * 1000);
        picture.classList.remove("shown");
        shownMs[index] = Math.round(performance.now() - since);
      }
    }
    ask();
  };

  const ask = () => {
    choices.forEach((button) => { button.hidden = false; });
    say("Your answer: picture 1 or picture 2?");
    shownAt = performance.now();
    state = "asking";
  };

  const choose = (index) => {
    const pair = order[position];
    answers.push({
      pair: pair.token,
      shown: pair.pictures,
      chosen: pair.pictures[index],
      shown_ms: [...shownMs],
      response_ms: Math.round(performance.now() - shownAt),
    });
    if (!pair.mark) return advance();
    const right = hash(pair.pictures[index]) === pair.mark;
    const real = right ? index + 1 : 2 - index;
    say(`${right ? "Right" : "Wrong"}: picture ${real} is the real film.`);
    pictures.forEach((picture) => picture.classList.add("shown"));
    choices.forEach((button) => { button.hidden = true; });
    element("show").hidden = false;
    element("show").textContent = "Next pair";
    element("show").focus();
    state = "told";
  };

  const finish = () => {
    state = "end";
    session.finished = new Date().toISOString();
    session.answers = answers;
    element("trial").hidden = true;
    element("end").hidden = false;
    element("answers").value = JSON.stringify(session);
    element("done").focus();
  };

  const save = () => {
    const file = new Blob([JSON.stringify(session, null, 1)], { type: "application/json" });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(file);
    link.download = `answers-${study.study}-${session.reader}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    state = "saved";
    element("saved").textContent = `Saved as ${link.download} where your browser keeps downloads.`;
  };

  const press = () => {
    if (state === "ready") show();
    else if (state === "told") advance();
  };

  element("who").addEventListener("submit", (event) => {
    event.preventDefault();
    session = {
      format: study.format,
      study: study.study,
      reader: element("reader").value,
      experience: element("experience").value,
      seconds: study.seconds,
      started: new Date().toISOString(),
    };
    order = [...arrange(study.practice), ...arrange(study.scored)];
    element("start").hidden = true;
    element("trial").hidden = false;
    advance();
  });
  element("show").addEventListener("click", press);
  element("save").addEventListener("click", save);
  choices.forEach((button, index) => button.addEventListener("click", () => {
    if (state === "asking") choose(index);
  }));
  document.addEventListener("keydown", (event) => {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || state !== "asking") return;
    const index = { 1: 0, ArrowLeft: 0, 2: 1, ArrowRight: 1 }[event.key];
    if (index === undefined) return;
    event.preventDefault();
    choose(index);
  });
  window.addEventListener("beforeunload", (event) => {
    if (state !== "start" && state !== "saved") event.preventDefault();
  });
})();
