"use strict";
// Numbers as the page holds them, and as it says them.
const values = (() => {
  // float16 to float: browsers learn it only now, so all 65536 values are tabulated.
  const half = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits += 1) {
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    const size = exponent === 0 ? fraction * 2 ** -24
      : exponent === 31 ? (fraction ? NaN : Infinity) : (1 + fraction / 1024) * 2 ** (exponent - 15);
    half[bits] = bits & 0x8000 ? -size : size;
  }

  async function unpack(text, width) {
    const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
    if (width === 1) return bytes;
    const n = bytes.length / 2;
    const values = new Uint16Array(n);
    for (let i = 0; i < n; i += 1) values[i] = bytes[i] | (bytes[n + i] << 8);
    return values;
  }

  function make(tag, parent, properties = {}, text = "") {
    const element = document.createElement(tag);
    Object.assign(element, properties);
    if (text) element.textContent = text;
    if (parent) parent.append(element);
    return element;
  }

  function number(value, digits = 4) {
    if (!Number.isFinite(value)) return "–";
    if (value === 0) return "0";
    const size = Math.abs(value);
    let text = size >= 1e-4 && size < 1e6 ? String(Number(value.toPrecision(digits))) : value.toExponential(digits - 1);
    text = text.replace(/e\+?(-?\d+)$/, (_, power) => ` × 10${[...power].map((c) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[c] ?? "⁻").join("")}`);
    return text.replaceAll("-", "−");
  }

  const apply = (matrix, p) => matrix.map((row) => row[0] * p[0] + row[1] * p[1] + row[2] * p[2] + row[3]);

  return { apply, half, make, number, unpack };
})();
