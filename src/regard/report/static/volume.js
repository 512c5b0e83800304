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
    const full = Number(canvas.dataset.full) || Float32Array.from(shown.img, Math.abs).filter(Number.isFinite).reduce((a, b) => Math.max(a, b), 0) || 1;
    const said = look.signed ? "\u00b1" : "";
    document.getElementById("scale").textContent = canvas.dataset.full ? `full colour at ${said}${full.toPrecision(3)}, as in the report` : `full colour at the largest value, ${said}${full.toPrecision(3)}`;
    const update = () => {
      const low = Number(document.getElementById("threshold").value) * full;
      Object.assign(shown, { cal_min: low, cal_max: full, cal_minNeg: -low, cal_maxNeg: -full, colormapType: 1 });
      viewer.setOpacity(viewer.volumes.length - 1, Number(document.getElementById("opacity").value));
      viewer.updateGLVolume();
    };
    for (const name of ["opacity", "threshold"]) document.getElementById(name).addEventListener("input", update);
    viewer.setSliceType(viewer.sliceTypeMultiplanar);
    const at = window.location.hash.slice(1).split(",").map(Number);
    if (at.length === 3 && at.every(Number.isFinite)) viewer.scene.crosshairPos = at;
    update();
    document.documentElement.dataset.ready = "true";
  } catch (error) {
    place.textContent = `The volume cannot be shown by this browser (${error.message}); the report needs no WebGL.`;
    document.documentElement.dataset.ready = "failed";
  }
})();
