"""The names of the kernels."""

from lightning_croloss.losses import KERNELS, Kernel
from tests.losses.cases import public_classes


def test_the_registry_holds_every_kernel_under_its_name():
    assert {kernel.name: kernel for kernel in public_classes(Kernel)} == KERNELS
