"""The best smaller version of a module's two maps, by what it puts out on some tokens.

Both minimise Σ ‖y − y'‖² over tokens, y being what the module adds to a token and y' what the
smaller one does. The tokens enter through the second moments of what the second map reads
(`fishpal.compression.moments`), so that nothing is trained.
"""

import torch
from torch import Tensor

RIDGE = 1e-8  # of the mean square, added to each: units that no token wakes leave moments singular


def cut_lora(a: Tensor, b: Tensor, moment: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """B A of the best lower rank, as its two factors.

    With A' = C A and M = Σ (A x)(A x)ᵀ = L Lᵀ the sum is ‖B L − B' C L‖², whose minimum is the
    truncated singular value decomposition of B L (Eckart & Young 1936): of the outputs, not of
    the weights, as in SVD-LLM (Wang et al. 2024, §3.2). A component's two vectors are as long, one
    to the other, as A and B were, so that a step of the same rate goes on moving both.

    Args:
        a, b: (r, d_in) and (d_out, r).
        moment: (r, r), of A x.
        rank: at most r.

    Returns:
        (rank, d_in) and (d_out, rank).
    """
    half = torch.linalg.cholesky(_ridged(moment))
    u, s, vt = torch.linalg.svd(b.double() @ half, full_matrices=False)
    read = torch.linalg.solve_triangular(half, vt[:rank], upper=False, left=False) @ a.double()
    written = u[:, :rank] * s[:rank]
    wanted = a.double().norm() / b.double().norm()
    factor = (wanted * written.norm(dim=0) / read.norm(dim=1)).sqrt()
    factor = torch.where(factor.isfinite() & (factor > 0), factor, 1.0)  # of what is all zeros
    return (read * factor[:, None]).to(a.dtype), (written / factor).to(b.dtype)


def cut_adapter(
    up: Tensor, bias: Tensor, moment: Tensor, size: int
) -> tuple[list[int], Tensor, Tensor]:
    """The inner units to keep, and what then maps them to the output.

    Units go one by one, each time the one whose loss the others can make good best, by least
    squares: the optimal brain surgeon (Hassibi & Stork 1993) on a layer's own outputs, as in
    channel pruning (He, Zhang & Sun 2017). With M the moments of the units that are left (and of
    the constant, which stays) and U their map, taking unit j out adds ‖U_j‖² / (M⁻¹)_jj to the
    sum, and changes U by −U_j (M⁻¹)_j / (M⁻¹)_jj.

    Args:
        up, bias: (d, b) and (d).
        moment: (b + 1, b + 1), of the units and a constant 1.
        size: at most b.

    Returns:
        `size` units in their order, (d, size) and (d).
    """
    whole = _ridged(moment)
    inverse = torch.linalg.inv(whole)
    wide = torch.cat([up, bias[:, None]], dim=1).double()
    maps, units = wide, list(range(up.shape[1]))
    while len(units) > size:
        diagonal = inverse.diagonal()
        worst = int((maps[:, :-1].square().sum(0) / diagonal[:-1]).argmin())
        row = inverse[worst] / diagonal[worst]
        left = [i for i in range(len(inverse)) if i != worst]
        maps = (maps - maps[:, [worst]] * row)[:, left]
        inverse = (inverse - inverse[:, [worst]] * row)[left][:, left]
        del units[worst]
    kept = [*units, len(whole) - 1]
    best = torch.linalg.solve(whole[kept][:, kept], whole[kept] @ wide.mT).mT  # free of round-off
    return units, best[:, :-1].to(up.dtype), best[:, -1].to(bias.dtype)


def _ridged(moment: Tensor) -> Tensor:
    square = moment.diagonal().mean().clamp_min(torch.finfo(moment.dtype).tiny)
    return moment + RIDGE * square * torch.eye(len(moment), dtype=moment.dtype).to(moment)
