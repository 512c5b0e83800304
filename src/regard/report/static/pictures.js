"use strict";
// A panel as one picture: its planes with their letters, the bar, the unit.
const pictures = (() => {
  const { number } = values;

  function save(panel, choice) {
    const shown = [...panel.querySelectorAll(".pane canvas")];
    const [gap, top, bottom] = [12, 40, choice.map ? 84 : 40];
    const wide = Math.max(640, shown.reduce((sum, c) => sum + c.width + gap, gap));
    const canvas = new OffscreenCanvas(wide, top + Math.max(...shown.map((c) => c.height)) + bottom);
    const context = canvas.getContext("2d");
    context.fillStyle = "#0a0c0f";
    context.fillRect(0, 0, canvas.width, canvas.height);
    const write = (text, x, y, align = "center") => {
      Object.assign(context, { fillStyle: "#f4f6f8", font: "16px sans-serif", textAlign: align });
      context.fillText(text, x, y);
    };
    write(choice.title, gap, 26, "left");
    let x = gap;
    for (const picture of shown) {
      context.drawImage(picture, x, top);
      const letters = [...picture.parentElement.querySelectorAll("span")].map((s) => s.textContent);
      const [w, h] = [picture.width, picture.height];
      const places = [[14, h / 2], [w - 14, h / 2], [w / 2, 20], [w / 2, h - 8]];
      letters.forEach((letter, i) => write(letter, x + places[i][0], top + places[i][1]));
      x += w + gap;
    }
    const under = canvas.height - bottom;
    if (choice.map) {
      const { map } = choice;
      context.drawImage(panel.querySelector(".legend canvas"), wide / 2 - 200, under + 12, 400, 12);
      const low = map.signed ? number(-map.scale, 3) : "0";
      write(`${low} to ${number(map.scale, 3)}: ${map.quantity} [${map.unit}]`, wide / 2, under + 46);
    }
    write("Research use only; not a diagnostic device.", wide / 2, canvas.height - 12);
    canvas.convertToBlob({ type: "image/png" }).then((blob) => tables.save(`${choice.title}.png`, [blob], "image/png"));
  }

  return { save };
})();
