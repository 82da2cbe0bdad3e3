import types

import pytest

from train.ray_extra import Share, resources


def cluster(*machines, dead=()):
    """Stands for `ray`, connected to machines of so many processors and GPUs."""
    named = [dict(zip(("CPU", "GPU"), map(float, machine), strict=False)) for machine in machines]
    nodes = [{"Alive": True, "Resources": each} for each in named]
    nodes += [{"Alive": False, "Resources": {"CPU": float(each)}} for each in dead]
    total = {key: sum(each.get(key, 0) for each in named) for key in ("CPU", "GPU")}
    total = {key: value for key, value in total.items() if value}
    return types.SimpleNamespace(cluster_resources=lambda: total, nodes=lambda: nodes)


@pytest.mark.parametrize(
    ("machines", "count", "share"),
    [
        ([(8,)], None, Share(1, 8.0, 0.0)),
        ([(8,), (8,)], None, Share(2, 8.0, 0.0)),
        ([(8,)], 3, Share(3, 2.0, 0.0)),
        ([(2,)], 4, Share(4, 0.5, 0.0)),
        ([(16, 4)], None, Share(4, 4.0, 1.0)),
        ([(16, 1)], 2, Share(2, 8.0, 0.5)),
        # One worker cannot have more than a machine has.
        ([(2,), (4,)], 1, Share(1, 4.0, 0.0)),
    ],
)
def test_workers_share_what_there_is(machines, count, share):
    assert resources(cluster(*machines, dead=[64]), count) == share
