"""The anatomical parameters of one torso."""

from dataclasses import dataclass

__all__ = ["TorsoShape"]


@dataclass(frozen=True)
class TorsoShape:
    """Everything a torso is rendered from; the origin is the centre of L1's body.

    Lengths are in mm, densities of mineral in mg/cm3. The ranges are ours: of the size of adult anatomy, not fitted to
    a measured population.

    Parameters
    ----------
    name, seed
        Case id and cohort: key of the textures.
    sex, age, height
        ``"female"`` or ``"male"``; years; stature.
    half_width, front, back
        Outer surface of the muscles at L1: half width, and distance before and behind the centre of L1's body.
    subcutaneous
        Fat under the skin at the side; the front has 0.8 and the back 0.6 of it.
    visceral
        Fat inside the abdomen, 0 to 1.
    wall
        Thickness of the abdominal wall's muscles.
    psoas, paraspinal
        Size of these muscles relative to the mean.
    muscle_hu, infiltration
        Muscle without fat [HU]; share of fat between the fibres, 0 to 1.
    liver_hu, spleen_hu, kidney_hu, blood_hu, fat_hu
        Soft tissue [HU] at 120 kVp without contrast agent.
    kidney, kidney_shift
        Half length of the kidneys, and their height above the usual.
    liver, spleen
        Size relative to the mean.
    lordosis, kyphosis, scoliosis
        Depth of the lumbar and thoracic curve; shift of the lower and upper spine to the right.
    vertebra
        Scale of L1 and of all vertebrae, 1 for the sizes below.
    body_width, body_depth, body_height
        L1's body.
    waist, concavity
        Relative narrowing at mid-height; depth of the endplates' hollow.
    cortex, endplate, posterior_cortex
        Thickness of the shell at the side, at the endplates, and of the posterior elements.
    pedicle, lamina
        Half widths.
    spinous, transverse
        Lengths of the processes.
    canal_width, canal_depth
        Spinal canal.
    disc
        Height of the disc below L1.
    trabecular, cortical
        Mineral density of L1's trabecular bone (bone with marrow) in the body, and of its compact bone [mg/cm3].
    other_trabecular, other_cortical
        The same of all other bones, which follow L1's in a population but are no part of its label.
    skeleton
        Scale of the other bones' density.
    posterior_ratio
        Density inside the posterior elements relative to the body's.
    texture
        Standard deviation of trabecular density relative to its mean.
    marrow_fat
        Share of fat in the marrow, 0 to 1.
    aorta, aortic_calcium
        Radius of the aorta; calcification, 0 to 1.
    bowel_gas, stool
        Shares of the bowel filled with gas and with stool, 0 to 1.
    chest_width, chest_depth
        Rib cage relative to the mean.
    lung
        Height of the lungs above L1 relative to the mean (depth of breath).
    heart
        Size of the heart relative to the mean.
    table_gap, table_mark
        Distance from the back to the table; opacity of a mark on the table, 0 to 1.
    """

    name: str
    seed: int
    sex: str
    age: float
    height: float
    half_width: float = 142.0
    front: float = 118.0
    back: float = 86.0
    subcutaneous: float = 20.0
    visceral: float = 0.5
    wall: float = 13.0
    psoas: float = 1.0
    paraspinal: float = 1.0
    muscle_hu: float = 52.0
    infiltration: float = 0.3
    liver_hu: float = 55.0
    spleen_hu: float = 46.0
    kidney_hu: float = 32.0
    blood_hu: float = 42.0
    fat_hu: float = -102.0
    kidney: float = 54.0
    kidney_shift: float = 0.0
    liver: float = 1.0
    spleen: float = 1.0
    lordosis: float = 12.0
    kyphosis: float = 30.0
    scoliosis: float = 0.0
    vertebra: float = 1.0
    body_width: float = 42.0
    body_depth: float = 31.0
    body_height: float = 26.0
    waist: float = 0.1
    concavity: float = 1.6
    cortex: float = 1.0
    endplate: float = 1.1
    posterior_cortex: float = 1.9
    pedicle: float = 4.5
    lamina: float = 3.6
    spinous: float = 30.0
    transverse: float = 22.0
    canal_width: float = 22.0
    canal_depth: float = 16.0
    disc: float = 8.0
    trabecular: float = 130.0
    cortical: float = 950.0
    other_trabecular: float = 130.0
    other_cortical: float = 950.0
    skeleton: float = 1.0
    posterior_ratio: float = 1.8
    texture: float = 0.25
    marrow_fat: float = 0.5
    aorta: float = 10.0
    aortic_calcium: float = 0.2
    bowel_gas: float = 0.4
    stool: float = 0.4
    chest_width: float = 1.0
    chest_depth: float = 1.0
    lung: float = 1.0
    heart: float = 1.0
    table_gap: float = 4.0
    table_mark: float = 0.0
