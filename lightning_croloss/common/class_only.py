"""class_only: a class method that refuses to be called on an instance."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    class_only = classmethod  # what a type checker sees
else:

    class class_only(classmethod):
        """A class method that makes a new object: called on an instance, its result would be overlooked."""

        def __get__(self, instance: Any, owner: type | None = None) -> Any:
            """Return the method, or in its place, for an instance, a function that raises ``TypeError``."""
            method = super().__get__(None, owner or type(instance))
            if instance is None:
                return method

            @functools.wraps(method)
            def refused(*args: Any, **kwargs: Any) -> None:
                call = f"{method.__self__.__name__}.{method.__name__}"
                raise TypeError(
                    f"{call} returns a new object and leaves this one as it is: call it on the class, and "
                    "use what it returns"
                )

            return refused
