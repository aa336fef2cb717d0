"""A program that distributes itself becomes the one process that it would be alone."""

from __future__ import annotations

from textwrap import dedent

import libcst as cst
import pytest

from bessemer.conversion.normal.distribution import take_out_distribution
from bessemer.conversion.normal.places import Places
from bessemer.conversion.sources import Source

CASES = {
    "wrappers are what they wrap, and `module` is the model": (
        """
        from torch import nn
        from torch.nn.parallel import DistributedDataParallel as DDP
        model = DDP(make(), device_ids=[0])
        other = nn.DataParallel(make()).cuda()
        print(model.module.state_dict(), other.module, tree.module)
        """,
        """
        from torch import nn
        from torch.nn.parallel import DistributedDataParallel as DDP
        model = make()
        other = make().cuda()
        print(model.state_dict(), other, tree.module)
        """,
    ),
    "a model that is only wrapped is left as it is": (
        """
        from torch import nn
        def build(model, several):
            if several:
                model = nn.DataParallel(model)
            return model
        """,
        """
        from torch import nn
        def build(model, several):
            return model
        """,
    ),
    "a model that is applied on several devices is applied": (
        """
        from torch import nn
        y = nn.parallel.data_parallel(net, x, range(2)) + nn.parallel.data_parallel(net, (a, b))
        """,
        """
        from torch import nn
        y = net(x) + net(a, b)
        """,
    ),
    "launchers are calls": (
        """
        import torch.multiprocessing as mp
        mp.spawn(work, args=(4, options), nprocs=4)
        mp.spawn(work, given)
        """,
        """
        import torch.multiprocessing as mp
        work(0, 4, options)
        mp.spawn(work, given)
        """,
    ),
    "functions that only met the others go, with their calls": (
        """
        import os
        import torch.distributed as dist
        def meet(rank, size):
            '''Meet the others.'''
            os.environ["MASTER_ADDR"] = "localhost"
            dist.init_process_group("nccl", rank=rank, world_size=size)
        def leave():
            dist.destroy_process_group()
        def main(rank):
            meet(rank, 2)
            train(rank)
            leave()
        """,
        """
        import os
        import torch.distributed as dist
        def main(rank):
            train(rank)
        """,
    ),
    "who and how many": (
        """
        import os
        import torch
        from torch import distributed
        rank = int(os.environ["LOCAL_RANK"])
        size = os.environ.get("WORLD_SIZE", 1) if "RANK" in os.environ else distributed.get_world_size()
        if distributed.is_available() and distributed.is_initialized():
            distributed.barrier()
        torch.cuda.set_device(rank)
        home = os.environ["HOME"]
        """,
        """
        import os
        import torch
        from torch import distributed
        rank = 0
        size = 1 if False else 1
        if distributed.is_available() and False:
            pass
        home = os.environ["HOME"]
        """,
    ),
    "samples are dealt by the run": (
        """
        from torch.utils.data.distributed import DistributedSampler
        sampler = DistributedSampler(data)
        plain = DistributedSampler(data, shuffle=False)
        for epoch in range(3):
            sampler.set_epoch(epoch)
            train(epoch)
        """,
        """
        import torch
        from torch.utils.data.distributed import DistributedSampler
        sampler = torch.utils.data.RandomSampler(data)
        plain = torch.utils.data.SequentialSampler(data)
        for epoch in range(3):
            train(epoch)
        """,
    ),
    "others of the same names": (
        """
        import os
        def all_reduce(x):
            return x
        class DataParallel:
            pass
        all_reduce(DataParallel())
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":16:8"
        """,
        None,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_one_process(name: str) -> None:
    before, after = CASES[name]
    text = dedent(before).lstrip("\n")
    places = Places()
    tree = places.enter(Source("train.py", text, cst.parse_module(text)))
    alone = take_out_distribution(tree, places)
    assert alone.module.code == (text if after is None else dedent(after).lstrip("\n"))
    assert bool(alone.rewrites) == (after is not None)
    assert all(x.where.startswith("train.py:") and x.kind == "distribution" for x in alone.rewrites)
