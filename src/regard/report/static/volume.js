"use strict";
// A volume in 3D, in the colours and at the scale of the report.
(async () => {
  const canvas = document.getElementById("volume");
  const place = document.getElementById("place");
  const { look, radiological } = JSON.parse(document.getElementById("looks").textContent);
  const { map, scan } = canvas.dataset;
  try {
    const viewer = new niivue.Niivue({
      backColor: [0.04, 0.05, 0.06, 1], isRadiologicalConvention: radiological, crosshairColor: [0.48, 0.89, 0.92, 0.8], crosshairWidth: 0.5,
      show3Dcrosshair: true, sagittalNoseLeft: true,
      onLocationChange: (location) => {
        place.textContent = location.string;
        // The other maps of the case open at the same place.
        const at = location.frac ? `#${[...location.frac].map((v) => v.toFixed(4)).join(",")}` : "";
        for (const link of document.querySelectorAll("nav.choice a")) link.hash = at;
      },
    });
    viewer.addColormap("above", colours.half(look, 1));
    viewer.addColormap("below", colours.half(look, -1));
    await viewer.attachToCanvas(canvas);
    const overlay = { url: map, colormap: "above", opacity: 1 };
    if (look.signed) overlay.colormapNegative = "below";
    await viewer.loadVolumes(scan ? [{ url: scan, colormap: "gray" }, overlay] : [overlay]);
    const shown = viewer.volumes[viewer.volumes.length - 1];
    const { scl_slope: slope, scl_inter: inter } = shown.hdr;
    const numbers = Float32Array.from(shown.img, (v) => v * (slope || 1) + (inter || 0));
    const largest = numbers.reduce((most, v) => (Number.isFinite(v) ? Math.max(most, Math.abs(v)) : most), 0) || 1;
    const full = Number(canvas.dataset.full) || largest;
    const said = look.signed ? "\u00b1" : "";
    document.getElementById("scale").textContent = `full colour at ${said}${full.toPrecision(3)}, ${canvas.dataset.full ? "as in the report" : "the largest value"}`;
    // NiiVue draws a colour map without its opacity: a second volume holds the opacity of every voxel.
    const density = shown.clone();
    density.hdr = { ...shown.hdr, datatypeCode: 16, numBitsPerVoxel: 32, scl_slope: 1, scl_inter: 0 };
    Object.assign(density, { id: "density", opacity: 0, colormap: "gray", colormapNegative: "", cal_min: 0, cal_max: 1 });
    density.img = new Float32Array(numbers.length);
    viewer.addVolume(density);
    Object.assign(shown, {
      cal_min: 0, cal_max: full, cal_minNeg: 0, cal_maxNeg: -full, colormapType: 0, modulateAlpha: 1,
      modulationImage: viewer.volumes.length - 1,
    });
    const update = () => {
      const options = ["opacity", "threshold"].map((name) => Number(document.getElementById(name).value));
      density.img.forEach((_, i) => { density.img[i] = colours.alpha(numbers[i] / full, look, ...options); });
      viewer.updateGLVolume();
    };
    for (const name of ["opacity", "threshold"]) document.getElementById(name).addEventListener("input", update);
    viewer.setSliceType(viewer.sliceTypeMultiplanar);
    const at = window.location.hash.slice(1).split(",").map(Number);
    const start = canvas.dataset.start.split(",").map(Number);
    if (at.length === 3 && at.every(Number.isFinite)) viewer.scene.crosshairPos = at;
    else if (start.length === 3) viewer.scene.crosshairPos = viewer.mm2frac(start);
    update();
    document.documentElement.dataset.ready = "true";
  } catch (error) {
    place.textContent = `The volume cannot be shown by this browser (${error.message}); the report needs no WebGL.`;
    document.documentElement.dataset.ready = "failed";
  }
})();
