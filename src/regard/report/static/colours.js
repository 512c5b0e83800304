"use strict";
// From number to colour, as regard.report.colours does it: the report, the 3D page and a notebook's cell draw with this.
const colours = (() => {
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

  // Row of the colour table for a share of the scale, -1 to 1; 127 is zero of a signed table, 0 of an unsigned one.
  const rowOf = (share, signed) => Math.floor((signed ? (clamp(share, -1, 1) + 1) * 127 : clamp(share, 0, 1) * 254) + 0.5);

  // Opacity of a share of the scale, 0 to 1.
  function alpha(share, look, opacity = 1, threshold = 0) {
    if (Number.isNaN(share) || Math.abs(share) < threshold) return 0;
    return (look.table[4 * rowOf(share, look.signed) + 3] / 255) * opacity;
  }

  /* Lay a map over a grey image: red, green, blue, alpha of each pixel, 0 to 255.
     grey: 0 to 1; share: map over scale, NaN where not seen, null for the image alone; look: table, signed, unresolved
     (colour), stripe; hidden: where the sign is not resolved; opacity, threshold; columns: of the picture, for stripes
     in its own pixels, 0 for none. */
  function paint(grey, share, look, { hidden = null, opacity = 1, threshold = 0, columns = 0 } = {}) {
    const painted = new Uint8ClampedArray(4 * grey.length);
    for (let i = 0, p = 0; i < grey.length; i += 1, p += 4) {
      const ground = Number.isNaN(grey[i]) ? 0 : 255 * clamp(grey[i], 0, 1);
      let dense = 0;
      let colour = share ? look.unresolved : [0, 0, 0];
      let from = 0;
      if (share && Number.isNaN(share[i])) {
        const { period, width } = look.stripe;
        if (columns && (Math.floor(i / columns) + (i % columns)) % period < width) [colour, dense] = [look.stripe.colour, look.stripe.alpha];
      } else if (share && Math.abs(share[i]) >= threshold) {
        const at = 4 * rowOf(share[i], look.signed);
        dense = alpha(share[i], look, opacity, threshold);
        if (hidden && hidden[i]) dense *= look.dulled;
        else [colour, from] = [look.table, at];
      }
      for (let k = 0; k < 3; k += 1) painted[p + k] = ground * (1 - dense) + colour[from + k] * dense;
      painted[p + 3] = 255;
    }
    return painted;
  }

  // 256 entries of one sign of the table, from nothing to full colour, for a viewer that takes a colour map.
  function half(look, sign) {
    const map = { R: [], G: [], B: [], A: [], I: [] };
    for (let i = 0; i < 256; i += 1) {
      const at = 4 * rowOf((sign * i) / 255, look.signed);
      [..."RGBA"].forEach((channel, k) => map[channel].push(look.table[at + k]));
      map.I.push(i);
    }
    return map;
  }

  return { alpha, clamp, half, paint, rowOf };
})();
if (typeof module === "object") module.exports = colours;
