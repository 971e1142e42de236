"""A module's smaller self, from what it read."""

from copy import deepcopy

import torch

from fishpal.compression.moments import Moments
from fishpal.compression.reconstruction import cut_adapter, cut_lora
from fishpal.compression.sizes import compressible
from fishpal.encoders.ports import LayerShape
from fishpal.modules import Adapter, CandidateModule
from fishpal.modules.attach import build_module
from fishpal.params.module_options import ModuleOptions


@torch.no_grad()
def cut_module(
    module: CandidateModule, moments: Moments, shape: LayerShape, options: ModuleOptions
) -> CandidateModule:
    """A new module of the sizes of `options`, that puts out most nearly what this one does; a copy
    of it where it cannot be made smaller."""
    if not compressible(module):
        return deepcopy(module)
    smaller = build_module(str(module.kind), module.layer, shape, options, seed=0)
    tensors, key = module.kept(), (module.layer, str(module.kind))
    if isinstance(module, Adapter):
        size, moment = options.adapter.bottleneck, moments[*key, "up"]
        units, up, bias = cut_adapter(module.up, module.up_bias, moment, size)
        tensors |= {"down": module.down[units], "down_bias": module.down_bias[units]}
        tensors |= {"up": up, "up_bias": bias}
    else:
        for site in module.sites:
            a, b = module.factors(site)
            found = cut_lora(a, b, moments[*key, site][:-1, :-1], options.lora.rank)
            tensors |= dict(zip((f"{site}_a", f"{site}_b"), found, strict=True))
    smaller.load_kept(tensors)
    return smaller.to(next(module.parameters()).device)
