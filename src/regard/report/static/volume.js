"use strict";
(async () => {
  const canvas = document.getElementById("volume");
  const place = document.getElementById("place");
  const { map, scan, unsigned } = canvas.dataset;
  try {
    const viewer = new niivue.Niivue({
      backColor: [0.04, 0.05, 0.06, 1], isRadiologicalConvention: true, crosshairColor: [0.48, 0.89, 0.92, 0.8], crosshairWidth: 0.5,
      show3Dcrosshair: true, sagittalNoseLeft: true,
      onLocationChange: (location) => { place.textContent = location.string; },
    });
    viewer.addColormap("above", { R: [196, 246, 255], G: [84, 134, 212], B: [16, 18, 92], A: [0, 120, 224], I: [0, 128, 255] });
    viewer.addColormap("below", { R: [40, 38, 120], G: [92, 132, 214], B: [196, 240, 255], A: [0, 120, 224], I: [0, 128, 255] });
    viewer.addColormap("size", { R: [108, 206, 252], G: [24, 52, 226], B: [130, 112, 120], A: [0, 120, 224], I: [0, 128, 255] });
    await viewer.attachToCanvas(canvas);
    const overlay = { url: map, colormap: unsigned ? "size" : "above", opacity: 0.8 };
    if (!unsigned) overlay.colormapNegative = "below";
    await viewer.loadVolumes(scan ? [{ url: scan, colormap: "gray" }, overlay] : [overlay]);
    const shown = viewer.volumes[viewer.volumes.length - 1];
    const sizes = Float32Array.from(shown.img, Math.abs).filter(Number.isFinite).sort();
    const notable = sizes.filter((size) => size > 0 && size >= 1e-3 * sizes[sizes.length - 1]);
    const full = notable[Math.floor(0.995 * (notable.length - 1))] || 1;
    document.getElementById("scale").textContent = `full colour at ±${full.toPrecision(3)}, the 99.5th percentile of |value| over 0.1 % of its largest`;
    const update = () => {
      const low = Number(document.getElementById("threshold").value) * full;
      Object.assign(shown, { cal_min: low, cal_max: full, cal_minNeg: -low, cal_maxNeg: -full, colormapType: 1 });
      viewer.setOpacity(viewer.volumes.length - 1, Number(document.getElementById("opacity").value));
      viewer.updateGLVolume();
    };
    for (const name of ["opacity", "threshold"]) document.getElementById(name).addEventListener("input", update);
    viewer.setSliceType(viewer.sliceTypeMultiplanar);
    update();
    document.documentElement.dataset.ready = "true";
  } catch (error) {
    place.textContent = `The volume cannot be shown by this browser (${error.message}); the report needs no WebGL.`;
    document.documentElement.dataset.ready = "failed";
  }
})();
