"""The methods, a folder per family: ``cam``, ``gradient``, ``perturbation``, and what captum brings."""

from regard.core.registry import Registry

__all__ = ["METHODS"]

METHODS = Registry(
    "method",
    "regard.explainers",
    {
        "grad-cam": ("regard.explainers.cam.grad_cam:GradCAM", "mean gradient times activation", "score"),
        "grad-cam++": ("regard.explainers.cam.grad_cam_pp:GradCAMPlusPlus", "Grad-CAM with pixel-wise weights", "score"),
        "hires-cam": ("regard.explainers.cam.hires_cam:HiResCAM", "gradient times activation, place by place", "contribution"),
        "layer-cam": ("regard.explainers.cam.layer_cam:LayerCAM", "positive gradient times activation", "score"),
        "eigen-grad-cam": ("regard.explainers.cam.eigen_grad_cam:EigenGradCAM", "first component of gradient times activation", "score"),
        "ablation-cam": ("regard.explainers.cam.ablation_cam:AblationCAM", "channels weighted by what their removal does", "score"),
        "score-cam": ("regard.explainers.cam.score_cam:ScoreCAM", "channels weighted by what they let through", "score"),
        "random-cam": ("regard.explainers.cam.random_cam:RandomCAM", "random channel weights: the control", "score"),
        "grad-ram": ("regard.explainers.cam.grad_ram:GradRAM", "Grad-CAM for regression: the sign is kept", "score"),
        "grad-ramp": ("regard.explainers.cam.grad_ramp:GradRAMP", "place by place, for regression: parts of the output", "contribution"),
        "crm": ("regard.explainers.cam.crm:CRM", "what removing a cell of the layer does", "effect"),
        "gradient": ("regard.explainers.gradient.gradient:Gradient", "derivative of the output", "sensitivity"),
        "input-x-gradient": ("regard.explainers.gradient.input_x_gradient:InputXGradient", "derivative times the difference to a reference", "contribution"),
        "integrated-gradients": ("regard.explainers.gradient.integrated_gradients:IntegratedGradients", "derivative along the way from a reference", "contribution"),
        "smoothgrad": ("regard.explainers.gradient.smoothgrad:SmoothGrad", "derivative averaged over noise", "sensitivity"),
        "guided-backpropagation": ("regard.explainers.gradient.guided_backpropagation:GuidedBackpropagation", "derivative with negative signals stopped", "score"),
        "lam": ("regard.explainers.gradient.lam:LAM", "derivative along a way of less and less blur", "contribution"),
        "occlusion": ("regard.explainers.perturbation.occlusion:Occlusion", "what hiding a window does", "effect"),
        "rise": ("regard.explainers.perturbation.rise:RISE", "covariance of the output with random masks", "effect"),
        "lime": ("regard.explainers.perturbation.lime:LIME", "linear surrogate over superpixels or supervoxels", "effect"),
        "deeplift": ("regard.explainers.from_captum:DeepLIFT", "differences propagated from a reference (captum)", "contribution"),
        "shapley": ("regard.explainers.from_captum:ShapleySampling", "Shapley values of supervoxels by sampling (captum)", "contribution"),
    },
)  # fmt: skip
"""Name to class, one line, and quantity of the signed form."""
