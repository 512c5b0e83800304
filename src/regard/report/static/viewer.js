"use strict";
// One image with its maps: planes, method switch, side by side, outlines, readings.
const Viewer = (() => {
  const { clamp } = colours;
  const { apply, half, make, number, unpack } = values;

  class Viewer {
    constructor(element, scene, looks) {
      this.element = element;
      this.scene = scene;
      this.looks = looks;
      this.at = scene.start.slice();
      this.opacity = 1;
      this.threshold = 0;
      this.window = scene.image.window.slice();
      this.flat = scene.planes.length === 1;
      this.choices = scene.maps.map((map) => ({ title: map.name, map }));
      this.choices.push({ title: "image alone" });
      if (scene.output) this.choices.push({ title: scene.output.name || "network's output", output: scene.output });
      if (this.flat) this.choices.unshift(...this.choices.splice(scene.maps.length));
      this.all = this.flat;
      this.chosen = this.flat ? this.choices.findIndex((c) => c.map) : 0;
      this.strides = [1, scene.shape[0], scene.shape[0] * scene.shape[1]];
    }

    async start() {
      const { scene } = this;
      this.image = await unpack(scene.image.data, 2);
      this.outlines = [];
      for (const { name, colour, shown, data } of scene.outlines) this.outlines.push({ name, colour, shown, inside: await unpack(data, 1) });
      if (scene.output) scene.output.values = await unpack(scene.output.data, 2);
      for (const map of scene.maps) {
        map.values = await unpack(map.data, 2);
        map.hidden = map.unresolved ? await unpack(map.unresolved, 1) : null;
      }
      this.controls();
      this.stage = make("div", this.element, { className: this.flat ? "stage flat" : "stage" });
      this.sliders();
      this.reading = make("dl", this.element, { className: "reading" });
      make("p", this.element, { className: "hint" }, this.hint());
      this.lay();
      new ResizeObserver(() => this.draw()).observe(this.stage);
      // Paper shows all maps: what cannot be pressed there would be lost.
      addEventListener("beforeprint", () => { this.before = this.all; this.all = true; this.lay(); });
      addEventListener("afterprint", () => { this.all = this.before; this.lay(); });
    }

    controls() {
      const { scene } = this;
      const bar = make("div", this.element, { className: "bar" });
      const group = make("div", bar, { className: "choice" });
      group.setAttribute("role", "group");
      group.setAttribute("aria-label", "Map");
      const press = () => {
        this.buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(!this.all && i === this.chosen)));
        this.together.setAttribute("aria-pressed", String(this.all));
      };
      this.buttons = this.choices.map((choice, i) => make("button", group, {
        type: "button", onclick: () => { this.chosen = i; this.all = false; press(); this.lay(); },
      }, choice.title));
      this.together = make("button", group, {
        type: "button", onclick: () => { this.all = !this.all; press(); this.lay(); },
      }, "side by side");
      press();
      this.range(bar, "opacity", 0, 1, 0.02, 1, (v) => { this.opacity = v; });
      this.range(bar, "hide below", 0, 0.95, 0.01, 0, (v) => { this.threshold = v; }, (v) => this.least(v));
      for (const outline of this.outlines) {
        const label = make("label", bar, { className: "outlined" });
        make("input", label, { type: "checkbox", checked: outline.shown, onchange: (e) => { outline.shown = e.target.checked; this.draw(); } });
        make("span", label, { className: "swatch" }).style.background = outline.colour;
        label.append(`outline of ${outline.name}`);
      }
      const [low, high] = scene.image.window;
      const span = high - low;
      const narrow = (centre, width) => { this.window = [centre - width / 2, centre + width / 2]; };
      const rewindow = () => narrow((low + high) / 2 - Number(level.value) * span, span / 2 ** Number(contrast.value));
      const level = this.range(bar, "brightness", -1, 1, 0.01, 0, rewindow);
      const contrast = this.range(bar, "contrast", -2, 3, 0.02, 0, rewindow);
      if (scene.unit === "HU") {
        const presets = make("div", bar, { className: "choice" });
        const known = { "soft tissue": [40, 400], lung: [-600, 1500], bone: [400, 1800], brain: [40, 80] };
        for (const [name, [centre, width]] of Object.entries(known)) {
          make("button", presets, { type: "button", onclick: () => { narrow(centre, width); this.draw(); } }, name);
        }
      }
    }

    // The threshold in words: a share of the scale and, of one map, its value.
    least(share) {
      const { map } = this.choices[this.chosen];
      const value = map && !this.all ? ` (${number(share * map.scale, 3)} ${map.unit})` : "";
      return `${Math.round(share * 100)} % of scale${value}`;
    }

    range(parent, name, min, max, step, value, change, say) {
      const label = make("label", parent, {}, name);
      const input = make("input", label, { type: "range", min, max, step });
      input.value = value;
      const output = say ? make("span", label, { className: "quiet" }, say(value)) : null;
      input.addEventListener("input", () => {
        change(Number(input.value));
        if (output) output.textContent = say(Number(input.value));
        this.draw();
      });
      return input;
    }

    sliders() {
      this.positions = [];
      if (this.flat) return;
      const row = make("div", this.element, { className: "slices" });
      for (const plane of this.scene.planes) {
        const axis = plane.axes[2];
        const input = this.range(row, plane.name, 0, this.scene.shape[axis] - 1, 1, this.at[axis], (v) => { this.at[axis] = v; });
        this.positions.push([axis, input]);
      }
    }

    hint() {
      const { scene } = this;
      const parts = [this.flat ? "Click or drag to read values." : "Click or drag to move, scroll or use the arrow keys to change slice."];
      const across = scene.planes.find((p) => p.letters && "RL".includes(p.letters[0]));
      if (across) parts.push(`The patient's left is at the ${across.letters[0] === "R" ? "right" : "left"} of the picture.`);
      if (scene.oblique > 3) parts.push(`The scan is oblique by ${scene.oblique}°: planes follow its voxels.`);
      if (scene.maps.some((m) => m.unseen)) parts.push("Striped: not seen by the network.");
      if (scene.maps.some((m) => m.hidden)) parts.push("Grey in a map: its sign is not resolved.");
      if (scene.block > 1) {
        parts.push(`Shown coarser to keep the page small: every value is the mean of up to ${scene.block} voxels a side; ${document.body.classList.contains("frame") ? "the explanation itself is whole" : "the maps in the folder maps are whole"}.`);
      }
      return parts.join(" ");
    }

    lay() {
      const { scene } = this;
      this.stage.replaceChildren();
      this.panes = [];
      for (const [i, choice] of this.choices.entries()) {
        if (!this.all && i !== this.chosen) continue;
        const panel = make("div", this.stage, { className: "panel" });
        const title = make("h5", panel, {}, choice.title);
        make("button", title, { type: "button", onclick: () => pictures.save(panel, choice) }, "save picture");
        const panes = make("div", panel, { className: "panes" });
        for (const plane of scene.planes) this.pane(panes, plane, choice);
        if (choice.map) this.legend(panel, choice.map);
      }
      this.draw();
    }

    pane(parent, plane, choice) {
      const { scene } = this;
      const [c, r, t] = plane.axes;
      const width = scene.shape[c] * scene.spacing[c];
      const height = Math.max(scene.shape[r] * scene.spacing[r], width * 0.06);
      const box = make("figure", parent, { className: "pane" });
      box.style.flex = `${width} 1 0`;
      box.style.maxWidth = `${Math.round((620 * width) / height)}px`;
      const label = this.flat ? null : make("figcaption", box);
      const around = make("div", box, { className: "around" });
      const canvas = make("canvas", around, { tabIndex: 0 });
      canvas.style.aspectRatio = `${width} / ${height}`;
      canvas.dataset.plane = plane.name;
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `${plane.name}, ${choice.title}`);
      if (plane.letters) ["w", "e", "n", "s"].forEach((side, i) => make("span", around, { className: side }, plane.letters[i]));
      this.panes.push({ plane, choice, canvas, label });
      const move = (event) => {
        const bounds = canvas.getBoundingClientRect();
        this.at[c] = clamp(Math.floor(((event.clientX - bounds.left) / bounds.width) * scene.shape[c]), 0, scene.shape[c] - 1);
        this.at[r] = clamp(Math.floor(((event.clientY - bounds.top) / bounds.height) * scene.shape[r]), 0, scene.shape[r] - 1);
        this.draw();
      };
      canvas.addEventListener("pointerdown", (event) => {
        if (event.isTrusted) canvas.setPointerCapture(event.pointerId);
        this.dragging = true;
        move(event);
      });
      canvas.addEventListener("pointermove", (event) => { if (this.dragging) move(event); });
      canvas.onpointerup = canvas.onpointercancel = () => { this.dragging = false; };
      const step = (axis, by) => {
        this.at[axis] = clamp(this.at[axis] + by, 0, scene.shape[axis] - 1);
        this.draw();
      };
      if (!this.flat) {
        const wheel = (event) => { event.preventDefault(); step(t, Math.sign(event.deltaY)); };
        canvas.addEventListener("wheel", wheel, { passive: false });
      }
      canvas.addEventListener("keydown", (event) => {
        const [across, down] = this.flat ? [c, r] : [t, t];
        const moves = { ArrowLeft: [across, -1], ArrowRight: [across, 1], ArrowUp: [down, -1], ArrowDown: [down, 1] };
        if (!moves[event.key]) return;
        event.preventDefault();
        step(...moves[event.key]);
      });
    }

    legend(panel, map) {
      const box = make("div", panel, { className: "legend" });
      const canvas = make("canvas", box, { width: 255, height: 1 });
      const context = canvas.getContext("2d");
      const share = Float64Array.from({ length: 255 }, (_, i) => (map.signed ? i / 127 - 1 : i / 254));
      const painted = colours.paint(new Float64Array(255).fill(this.looks.ground), share, this.look(map));
      const picture = new ImageData(painted, 255, 1);
      context.putImageData(picture, 0, 0);
      const ticks = make("div", box, { className: "ticks" });
      for (const value of map.signed ? [-map.scale, 0, map.scale] : [0, map.scale]) make("span", ticks, {}, number(value, 3));
      make("div", box, {}, `${map.quantity} [${map.unit}]`);
      make("div", box, { className: "how" }, map.sign);
    }

    look(map) {
      return map.signed ? this.looks.signed : this.looks.unsigned;
    }

    draw() {
      if (this.pending) return;
      this.pending = true;
      queueMicrotask(() => {
        this.pending = false;
        for (const pane of this.panes) this.paint(pane);
        for (const [axis, input] of this.positions) input.value = this.at[axis];
        this.read();
      });
    }

    paint({ plane, choice, canvas, label }) {
      const { scene } = this;
      const [c, r, t] = plane.axes;
      const [columns, rows] = [scene.shape[c], scene.shape[r]];
      const [dc, dr] = [this.strides[c], this.strides[r]];
      const offset = this.at[t] * this.strides[t];
      const levels = choice.output || scene.image;
      const source = choice.output ? choice.output.values : this.image;
      const [low, high] = choice.output && choice.output.unit !== scene.unit ? choice.output.window : this.window;
      const { map } = choice;
      const grey = new Float64Array(columns * rows);
      const share = map ? new Float64Array(columns * rows) : null;
      const hidden = map && map.hidden ? new Uint8Array(columns * rows) : null;
      const stripes = new ImageData(columns, rows);
      let unseen = false;
      for (let y = 0, i = 0; y < rows; y += 1) {
        for (let x = 0; x < columns; x += 1, i += 1) {
          const at = offset + x * dc + y * dr;
          grey[i] = source[at] === 65535 ? NaN : (levels.low + levels.step * source[at] - low) / (high - low);
          if (!map) continue;
          share[i] = (half[map.values[at]] * map.step) / map.scale;
          if (hidden) hidden[i] = map.hidden[at];
          if (Number.isNaN(share[i])) {
            stripes.data[4 * i + 3] = 255;
            unseen = true;
          }
        }
      }
      const { opacity, threshold } = this;
      const picture = new ImageData(colours.paint(grey, share, map && this.look(map), { hidden, opacity, threshold }), columns, rows);
      const dense = window.devicePixelRatio || 1;
      const width = Math.max(1, Math.round(canvas.clientWidth * dense));
      const height = Math.max(1, Math.round(canvas.clientHeight * dense));
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
      const context = canvas.getContext("2d");
      context.imageSmoothingEnabled = true;
      context.imageSmoothingQuality = "high";
      context.drawImage(this.native(picture), 0, 0, width, height);
      if (unseen) context.drawImage(this.striped(stripes, width, height), 0, 0);
      const scale = [width / columns, height / rows];
      for (const outline of this.outlines) {
        if (outline.shown) this.contour(context, outline, offset, dc, dr, columns, rows, scale, dense);
      }
      this.cross(context, this.at[c], this.at[r], scale, width, height, dense);
      if (label) label.textContent = `${plane.name} ${this.at[t] + 1}/${scene.shape[t]}`;
    }

    native(picture) {
      const canvas = new OffscreenCanvas(picture.width, picture.height);
      canvas.getContext("2d").putImageData(picture, 0, 0);
      return canvas;
    }

    striped(mask, width, height) {
      const canvas = new OffscreenCanvas(width, height);
      const context = canvas.getContext("2d");
      context.imageSmoothingEnabled = false;
      context.drawImage(this.native(mask), 0, 0, width, height);
      context.globalCompositeOperation = "source-in";
      const { period, width: wide, colour, alpha } = this.looks.signed.stripe;
      const tile = new ImageData(period, period);
      for (let y = 0, p = 0; y < period; y += 1) {
        for (let x = 0; x < period; x += 1, p += 4) tile.data.set([...colour, (x + y) % period < wide ? 255 * alpha : 0], p);
      }
      context.fillStyle = context.createPattern(this.native(tile), "repeat");
      context.fillRect(0, 0, width, height);
      return canvas;
    }

    contour(context, outline, offset, dc, dr, columns, rows, [sx, sy], dense) {
      const inside = (x, y) => x >= 0 && y >= 0 && x < columns && y < rows && outline.inside[offset + x * dc + y * dr] > 0;
      context.beginPath();
      for (let y = 0; y <= rows; y += 1) {
        for (let x = 0; x <= columns; x += 1) {
          for (const [down, across] of [[1, 0], [0, 1]]) {
            if (inside(x, y) === inside(x - down, y - across)) continue;
            context.moveTo(x * sx, y * sy);
            context.lineTo((x + across) * sx, (y + down) * sy);
          }
        }
      }
      context.lineCap = "square";
      for (const [colour, width] of [["#000000", 3.5], [outline.colour, 1.5]]) {
        context.strokeStyle = colour;
        context.lineWidth = width * dense;
        context.stroke();
      }
    }

    cross(context, column, row, [sx, sy], width, height, dense) {
      const [x, y] = [(column + 0.5) * sx, (row + 0.5) * sy];
      const gap = 9 * dense;
      context.strokeStyle = "rgba(122, 226, 235, 0.75)";
      context.lineWidth = dense;
      context.beginPath();
      for (const [x0, y0, x1, y1] of [[0, y, x - gap, y], [x + gap, y, width, y], [x, 0, x, y - gap], [x, y + gap, x, height]]) {
        context.moveTo(x0, y0);
        context.lineTo(x1, y1);
      }
      context.stroke();
    }

    read() {
      const { scene } = this;
      const at = this.at.reduce((sum, index, axis) => sum + index * this.strides[axis], 0);
      const voxel = apply(scene.index, this.at).map((v) => Math.round(v));
      const rows = [];
      if (scene.geometry) {
        rows.push(["voxel (i, j, k)", voxel.join(", ")]);
        rows.push(["position (x, y, z), RAS mm", apply(scene.mm, this.at).map((v) => number(Number(v.toFixed(1)))).join(", ")]);
      } else {
        rows.push(["column, row", voxel.slice(0, 2).join(", ")]);
      }
      const value = (levels, values) => (values[at] === 65535 ? "–" : number(levels.low + levels.step * values[at]));
      rows.push(["image", `${value(scene.image, this.image)} ${scene.unit}`]);
      if (scene.output) rows.push([scene.output.name || "network's output", `${value(scene.output, scene.output.values)} ${scene.output.unit}`]);
      for (const map of scene.maps) {
        const relevance = half[map.values[at]] * map.step;
        const said = Number.isNaN(relevance) ? "not seen by the network" : `${number(relevance, 3)} ${map.unit}`;
        rows.push([map.name, map.hidden && map.hidden[at] ? `${said} (sign not resolved)` : said]);
      }
      this.reading.replaceChildren();
      for (const [name, text] of rows) {
        const box = make("div", this.reading);
        for (const [tag, said] of [["dt", name], ["dd", text]]) make(tag, box, {}, said);
      }
    }
  }

  return Viewer;
})();
