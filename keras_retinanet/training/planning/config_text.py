"""A planned config as YAML: each setting below the reason for it."""

import textwrap
from collections.abc import Sequence
from typing import Any

import yaml

from keras_retinanet.training.planning.decision import Decision

_WIDTH = 100


def config_text(decisions: Sequence[Decision], *, title: str, limits: Sequence[str] = ()) -> str:
    """Return the YAML file of decisions; `load_config` reads it back.

    Args:
        title: the first sentence.
        limits: what the data cannot give.
    """
    lines = _comment(title)
    if limits:
        lines += ["#", "# Before you start:"]
        for limit in limits:
            lines += _comment(f"- {limit}", more="#   ")
    for section in dict.fromkeys(decision.key.partition(".")[0] for decision in decisions):
        lines += ["", f"{section}:"]
        reason = None
        for decision in decisions:
            name, _, setting = decision.key.partition(".")
            if name != section:
                continue
            if decision.reason != reason:  # one reason may be that of several settings
                reason = decision.reason
                lines += _comment(reason, first="  # ", more="  # ")
            lines.append(f"  {setting}: {_flow(decision.value)}")
    return "\n".join(lines) + "\n"


def _flow(value: Any) -> str:
    """Return a value as YAML in one line."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000)
    return text.removesuffix("...\n").strip()


def _comment(text: str, *, first: str = "# ", more: str = "# ") -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent=first, subsequent_indent=more, break_long_words=False
    )
