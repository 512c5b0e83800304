"""The methods, a folder per family, and what captum brings."""

from regard.core.registry import Registry

__all__ = ["METHODS"]

_CAM = "regard.explainers.cam"
_GRADIENT = "regard.explainers.gradient"
_PERTURBATION = "regard.explainers.perturbation"
_LEARNED = "regard.explainers.learned"
_ATTENTION = "regard.explainers.attention"
_PROPAGATION = "regard.explainers.propagation"
_CAPTUM = "regard.explainers.from_captum"

METHODS = Registry(
    "method",
    "regard.explainers",
    {
        "grad-cam": (f"{_CAM}.grad_cam:GradCAM", "mean gradient times activation", "score"),
        "grad-cam++": (f"{_CAM}.grad_cam_pp:GradCAMPlusPlus", "Grad-CAM with pixel-wise weights", "score"),
        "hires-cam": (f"{_CAM}.hires_cam:HiResCAM", "gradient times activation, place by place", "contribution"),
        "layer-cam": (f"{_CAM}.layer_cam:LayerCAM", "positive gradient times activation", "score"),
        "eigen-grad-cam": (f"{_CAM}.eigen_grad_cam:EigenGradCAM", "main component of gradient x activation", "score"),
        "ablation-cam": (f"{_CAM}.ablation_cam:AblationCAM", "channels weighted by what their removal does", "score"),
        "score-cam": (f"{_CAM}.score_cam:ScoreCAM", "channels weighted by what they let through", "score"),
        "random-cam": (f"{_CAM}.random_cam:RandomCAM", "random channel weights: the control", "score"),
        "grad-ram": (f"{_CAM}.grad_ram:GradRAM", "Grad-CAM for regression: the sign is kept", "score"),
        "grad-ramp": (f"{_CAM}.grad_ramp:GradRAMP", "parts of the output, place by place", "contribution"),
        "crm": (f"{_CAM}.crm:CRM", "what removing a cell of the layer does", "effect"),
        "gradient": (f"{_GRADIENT}.gradient:Gradient", "derivative of the output", "sensitivity"),
        "input-x-gradient": (
            f"{_GRADIENT}.input_x_gradient:InputXGradient",
            "derivative times the difference to a reference",
            "contribution",
        ),
        "integrated-gradients": (
            f"{_GRADIENT}.integrated_gradients:IntegratedGradients",
            "derivative along the way from a reference",
            "contribution",
        ),
        "expected-gradients": (
            f"{_GRADIENT}.expected_gradients:ExpectedGradients",
            "integrated gradients averaged over references",
            "contribution",
        ),
        "smoothgrad": (f"{_GRADIENT}.smoothgrad:SmoothGrad", "derivative averaged over noise", "sensitivity"),
        "guided-backpropagation": (
            f"{_GRADIENT}.guided_backpropagation:GuidedBackpropagation",
            "derivative with negative signals stopped",
            "score",
        ),
        "lam": (f"{_GRADIENT}.lam:LAM", "derivative along a way of less and less blur", "contribution"),
        "occlusion": (f"{_PERTURBATION}.occlusion:Occlusion", "what hiding a window does", "effect"),
        "rise": (f"{_PERTURBATION}.rise:RISE", "covariance of the output with random masks", "effect"),
        "lime": (f"{_PERTURBATION}.lime:LIME", "linear surrogate over superpixels or supervoxels", "effect"),
        "shapley-exact": (
            f"{_PERTURBATION}.shapley_exact:ShapleyExact",
            "exact Shapley values of up to twelve parts or columns",
            "contribution",
        ),
        "kernel-shap": (
            f"{_PERTURBATION}.kernel_shap:KernelSHAP",
            "Shapley values of parts or columns by weighted least squares",
            "contribution",
        ),
        "noise-map": (f"{_LEARNED}.noise_map:NoiseMap", "how little noise a place bears: noise tolerance", "score"),
        "attention-rollout": (
            f"{_ATTENTION}.attention_rollout:AttentionRollout",
            "attention multiplied through a transformer's blocks",
            "score",
        ),
        "gradient-rollout": (
            f"{_ATTENTION}.gradient_rollout:GradientRollout",
            "attention times its positive gradient, through the blocks",
            "score",
        ),
        "lrp": (f"{_PROPAGATION}.lrp:LRP", "relevance divided layer by layer, also in attention", "contribution"),
        "deeplift": (f"{_CAPTUM}:DeepLIFT", "differences propagated from a reference (captum)", "contribution"),
        "shapley": (
            f"{_CAPTUM}:ShapleySampling",
            "Shapley values of parts or columns by sampling (captum)",
            "contribution",
        ),
    },
)
"""Name to class, one line, and quantity of the signed form."""
