"""Regard shows what a medical-imaging network looks at, and measures whether that picture is true."""

import importlib
from importlib.metadata import version as _version
from typing import Any

__version__ = _version("regard")

_HOMES = {
    "BlackBox": "regard.models",
    "CRM": "regard.explainers.cam.crm",
    "AblationCAM": "regard.explainers.cam.ablation_cam",
    "AttentionRollout": "regard.explainers.attention.attention_rollout",
    "Chain": "regard.models",
    "Contrast": "regard.core.image_target",
    "EdgeStrength": "regard.core.image_target",
    "EigenGradCAM": "regard.explainers.cam.eigen_grad_cam",
    "Ensemble": "regard.models",
    "ErrorTo": "regard.core.image_target",
    "Expectation": "regard.core.target",
    "ExpectedGradients": "regard.explainers.gradient.expected_gradients",
    "Explanation": "regard.core.explanation",
    "GradCAM": "regard.explainers.cam.grad_cam",
    "GradCAMPlusPlus": "regard.explainers.cam.grad_cam_pp",
    "GradRAM": "regard.explainers.cam.grad_ram",
    "GradRAMP": "regard.explainers.cam.grad_ramp",
    "Gradient": "regard.explainers.gradient.gradient",
    "GradientRollout": "regard.explainers.attention.gradient_rollout",
    "GuidedBackpropagation": "regard.explainers.gradient.guided_backpropagation",
    "HiResCAM": "regard.explainers.cam.hires_cam",
    "InputXGradient": "regard.explainers.gradient.input_x_gradient",
    "IntegratedGradients": "regard.explainers.gradient.integrated_gradients",
    "LAM": "regard.explainers.gradient.lam",
    "KernelSHAP": "regard.explainers.perturbation.kernel_shap",
    "LIME": "regard.explainers.perturbation.lime",
    "LRP": "regard.explainers.propagation.lrp",
    "LayerCAM": "regard.explainers.cam.layer_cam",
    "Logit": "regard.core.target",
    "Mean": "regard.core.image_target",
    "Model": "regard.models",
    "ModelCard": "regard.models",
    "Occlusion": "regard.explainers.perturbation.occlusion",
    "Output": "regard.core.target",
    "Preflight": "regard.probing",
    "Probability": "regard.core.target",
    "RISE": "regard.explainers.perturbation.rise",
    "RandomCAM": "regard.explainers.cam.random_cam",
    "ReferenceValue": "regard.references",
    "RegardError": "regard.core.errors",
    "ScoreCAM": "regard.explainers.cam.score_cam",
    "ShapleyExact": "regard.explainers.perturbation.shapley_exact",
    "SmoothGrad": "regard.explainers.gradient.smoothgrad",
    "Volume": "regard.core.volume",
    "Voxel": "regard.core.image_target",
    "explain": "regard.case.explaining",
    "explain_case": "regard.case.explaining",
    "load_model": "regard.models",
    "methods": "regard.explainers.describe",
    "preflight": "regard.probing",
    "read": "regard.io",
}

__all__ = sorted([*_HOMES, "__version__"], key=str.lower)


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'regard' has no attribute '{name}'")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
