"""What griffe does not know: a configuration class that is `@strict` takes its annotated fields as keywords."""

from __future__ import annotations

from typing import Any

from griffe import Attribute, Class, Extension, Function, Parameter, ParameterKind, Parameters

KEYWORD = ParameterKind.keyword_only


class StrictConfigs(Extension):
    """Gives such classes an `__init__`, so that their fields are shown with types and defaults."""

    def on_class_members(self, *, cls: Class, **_: Any) -> None:
        """After a class was read."""
        if "__init__" in cls.members or not any(str(each.value) == "strict" for each in cls.decorators):
            return
        members = [
            each for each in cls.members.values() if isinstance(each, Attribute) and "property" not in each.labels
        ]
        fields = [each for each in members if each.annotation is not None]
        taken = [Parameter(e.name, annotation=e.annotation, kind=KEYWORD, default=e.value) for e in fields]
        made = Function("__init__", parameters=Parameters(Parameter("self"), *taken), returns="None")
        cls.set_member("__init__", made)
