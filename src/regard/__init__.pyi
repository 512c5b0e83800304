"""Public names of Regard, for type checkers; at run time each is loaded when it is first used."""

from regard.case.explaining import explain as explain
from regard.case.explaining import explain_case as explain_case
from regard.core.errors import RegardError as RegardError
from regard.core.explanation import Explanation as Explanation
from regard.core.image_target import (
    Contrast as Contrast,
)
from regard.core.image_target import (
    EdgeStrength as EdgeStrength,
)
from regard.core.image_target import (
    ErrorTo as ErrorTo,
)
from regard.core.image_target import (
    Mean as Mean,
)
from regard.core.image_target import (
    Voxel as Voxel,
)
from regard.core.target import Expectation as Expectation
from regard.core.target import Logit as Logit
from regard.core.target import Output as Output
from regard.core.target import Probability as Probability
from regard.core.volume import Volume as Volume
from regard.explainers.attention.attention_rollout import AttentionRollout as AttentionRollout
from regard.explainers.attention.gradient_rollout import GradientRollout as GradientRollout
from regard.explainers.cam.ablation_cam import AblationCAM as AblationCAM
from regard.explainers.cam.crm import CRM as CRM
from regard.explainers.cam.eigen_grad_cam import EigenGradCAM as EigenGradCAM
from regard.explainers.cam.grad_cam import GradCAM as GradCAM
from regard.explainers.cam.grad_cam_pp import GradCAMPlusPlus as GradCAMPlusPlus
from regard.explainers.cam.grad_ram import GradRAM as GradRAM
from regard.explainers.cam.grad_ramp import GradRAMP as GradRAMP
from regard.explainers.cam.hires_cam import HiResCAM as HiResCAM
from regard.explainers.cam.layer_cam import LayerCAM as LayerCAM
from regard.explainers.cam.random_cam import RandomCAM as RandomCAM
from regard.explainers.cam.score_cam import ScoreCAM as ScoreCAM
from regard.explainers.describe import methods as methods
from regard.explainers.gradient.expected_gradients import ExpectedGradients as ExpectedGradients
from regard.explainers.gradient.gradient import Gradient as Gradient
from regard.explainers.gradient.guided_backpropagation import GuidedBackpropagation as GuidedBackpropagation
from regard.explainers.gradient.input_x_gradient import InputXGradient as InputXGradient
from regard.explainers.gradient.integrated_gradients import IntegratedGradients as IntegratedGradients
from regard.explainers.gradient.lam import LAM as LAM
from regard.explainers.gradient.smoothgrad import SmoothGrad as SmoothGrad
from regard.explainers.perturbation.kernel_shap import KernelSHAP as KernelSHAP
from regard.explainers.perturbation.lime import LIME as LIME
from regard.explainers.perturbation.occlusion import Occlusion as Occlusion
from regard.explainers.perturbation.rise import RISE as RISE
from regard.explainers.perturbation.shapley_exact import ShapleyExact as ShapleyExact
from regard.explainers.propagation.lrp import LRP as LRP
from regard.io import read as read
from regard.models import (
    BlackBox as BlackBox,
)
from regard.models import (
    Chain as Chain,
)
from regard.models import (
    Ensemble as Ensemble,
)
from regard.models import (
    Model as Model,
)
from regard.models import (
    ModelCard as ModelCard,
)
from regard.models import (
    load_model as load_model,
)
from regard.probing import Preflight as Preflight
from regard.probing import preflight as preflight
from regard.references import ReferenceValue as ReferenceValue

__version__: str
__all__: list[str]
