"""A small table of parameters and the sparse gradients of a few steps."""

import torch
from torch import nn


def rows_of_steps(steps, rows=9, touched=4):
    generator = torch.Generator().manual_seed(3)
    for _ in range(steps):
        ids = torch.randint(0, rows, (touched,), generator=generator)  # some of them twice
        yield ids, torch.randn(touched, 3, generator=generator, dtype=torch.float64)


def sparse(ids, values, rows=9):
    return torch.sparse_coo_tensor(ids.unsqueeze(0), values, (rows, 3))


def parameters():
    torch.manual_seed(0)
    start = torch.randn(9, 3, dtype=torch.float64)
    return nn.Parameter(start.clone()), nn.Parameter(start.clone())


def set_entry(content, path, value):
    """Set an entry of nested dictionaries and lists, or delete it if the value is an ellipsis."""
    for step in path[:-1]:
        content = content[step]
    if value is Ellipsis:
        del content[path[-1]]
    else:
        content[path[-1]] = value
