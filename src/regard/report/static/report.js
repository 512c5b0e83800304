"use strict";
// The page: the first viewer at once, further ones as they are scrolled to.
(async () => {
  const parse = (id) => JSON.parse(document.getElementById(id).textContent);
  const looks = parse("looks");
  const EAGER = 4;

  async function show(element) {
    if (element.dataset.state) return;
    element.dataset.state = "shown";
    element.classList.remove("later");
    try {
      await new Viewer(element, parse(`scene-${element.dataset.scene}`), looks).start();
    } catch (error) {
      const said = document.createElement("p");
      said.className = "warning";
      said.textContent = `The images cannot be shown by this browser (${error.message}). Pictures of the maps are in the folder maps.`;
      element.append(said);
    }
  }

  const viewers = [...document.querySelectorAll(".viewer[data-scene]")];
  const all = async () => { for (const element of viewers) await show(element); };
  for (const table of document.querySelectorAll("main table")) tables.enhance(table);
  for (const button of document.querySelectorAll("button.all")) {
    button.hidden = viewers.length <= EAGER;
    button.onclick = async () => { button.disabled = true; await all(); button.hidden = true; };
  }
  if (viewers.length <= EAGER) await all();
  else {
    await show(viewers[0]);
    const near = new IntersectionObserver((entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        near.unobserve(target);
        show(target);
      }
    }, { rootMargin: "800px 0px" });
    for (const element of viewers.slice(1)) near.observe(element);
  }
  // Paper does not scroll: what has not been drawn yet says so there.
  addEventListener("beforeprint", () => {
    for (const element of viewers) {
      if (element.dataset.state) continue;
      element.classList.remove("later");
      const said = Object.assign(document.createElement("p"), { className: "warning unprinted" });
      said.textContent = "Not drawn: press \u201cdraw all cases\u201d before printing. The pictures of its maps are in the folder maps.";
      element.append(said);
    }
  });
  addEventListener("afterprint", () => {
    for (const said of document.querySelectorAll(".unprinted")) {
      said.parentElement.classList.add("later");
      said.remove();
    }
  });
  document.documentElement.dataset.ready = "true";
})();
