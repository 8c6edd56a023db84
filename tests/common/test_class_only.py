import inspect

import pytest

from lightning_croloss.common.class_only import class_only


class Base:
    @class_only
    def made(cls, *args, **kwargs):
        """Return what it was called with."""
        return cls, args, kwargs


class Derived(Base):
    pass


def test_the_class_is_that_of_the_call():
    assert Base.made(1, other=2) == (Base, (1,), {"other": 2})
    assert Derived.made() == (Derived, (), {})


def test_a_call_on_an_instance_is_refused():
    with pytest.raises(TypeError, match=r"^Derived\.made returns a new object .*: call it on the class"):
        Derived().made()


def test_an_instance_can_be_inspected():
    assert dict(inspect.getmembers(Derived()))["made"].__doc__ == "Return what it was called with."
