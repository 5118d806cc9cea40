"""Fusion in the middle beside fusion at the input: one configuration of a plan for several encoders joins another plan.

Both plans are for the same cases, memory and time, and cases are prepared alike wherever they have the same grid.
"""

from __future__ import annotations

from dataclasses import replace

from ..plan import Plan


def with_middle(plan: Plan, fused: Plan) -> Plan:
    """``plan`` with its default configuration as ``fused`` has it: ``3d_fullres_middle``, ``2d_middle_attention``.

    Of a plan that has no configuration of that name (a coarser grid is planned where patches are small), its own
    default joins.
    """
    fusion = fused.fusion
    assert fusion is not None, "a plan for fusion in the middle says so"
    name = plan.default if plan.default in fused.configurations else fused.default
    one = fused.configurations[name]
    why = (
        f"beside: {name} with fusion in the middle, planned by itself: one training of it may take as much memory and "
        "time as one of any other configuration"
    )
    joined = {f"{name}_{fusion.suffix}": replace(one, reasons=(why, *one.reasons))}
    return replace(plan, configurations=plan.configurations | joined, beside=(*plan.beside, fusion))
