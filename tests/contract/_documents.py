"""The texts of the generated documents."""

import json

import yaml

from tests.contract._asyncapi import document
from tests.contract._schemas import MODELS, standalone

_MADE = "# Generated from schemas/idalloc_schemas by `make contract`: change it there.\n"


class _Plain(yaml.SafeDumper):
    """Writes texts of several lines as blocks, and what occurs twice in full."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: _Plain, text: str) -> yaml.Node:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Plain.add_representer(str, _text)


def documents() -> dict[str, str]:
    """Give each document by its path below `docs/contract`."""
    found = {
        f"schemas/{model.__name__}.json": json.dumps(standalone(model), indent=2) + "\n"
        for model in MODELS
    }
    written = yaml.dump(document(), Dumper=_Plain, sort_keys=False, width=100)
    return found | {"asyncapi.yaml": _MADE + written}
